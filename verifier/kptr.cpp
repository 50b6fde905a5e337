// kptrs: pointers to objects that a map value, or an object that programs allocate, keeps; and
// loads and stores of such objects.
//
// What a kptr points to is a struct of the kernel or, if the kernel has none of that name, one of
// the program's own. An object goes into a kptr, and comes out, through bpf_kptr_xchg only; loads
// give pointers that may be null, which are good for as long as RCU keeps the object, or untrusted.
#include <algorithm>
#include <array>

#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/btf_walk.hpp"
#include "verifier/call_info.hpp"
#include "verifier/each_cell.hpp"
#include "vm/btf/special_fields.hpp"

namespace skep::verifier {
namespace {

// Types of the kernel whose objects RCU keeps (Linux 6.18).
constexpr std::array<std::string_view, 5> kRcuProtected = {"task_struct", "cgroup", "bpf_cpumask",
                                                           "bpf_crypto_ctx", "prog_test_ref_kfunc"};

constexpr uint8_t kTrust = flag::kTrusted | flag::kRcu;

std::string type_name(const ObjectDesc& desc) {
    return desc.btf == nullptr ? desc.name : std::string(desc.btf->type(desc.btf_id).name());
}

bool has_kptr(const std::vector<SpecialField>& fields) {
    return std::ranges::any_of(fields, [](const SpecialField& f) { return is_kptr(f.kind); });
}

}  // namespace

const std::vector<SpecialField>& Analyzer::object_fields(const ObjectDesc& desc) {
    for (const auto& [known, fields] : object_fields_)
        if (known.btf == desc.btf && known.btf_id == desc.btf_id) return fields;
    std::vector<SpecialField> fields;
    if (desc.btf != nullptr && !is_kernel(desc))
        if (auto found = special_fields(*desc.btf, desc.btf_id, FieldScope::Object))
            fields = *std::move(found);
    object_fields_.emplace_back(desc, std::move(fields));
    return object_fields_.back().second;
}

// The special fields of what `holder` points to: a map value or an object; null: it has none.
const std::vector<SpecialField>* Analyzer::fields_of(const Cell& holder) {
    if (holder.type == CellType::MapValue) return &map_of(holder).fields;
    if (holder.type == CellType::Btf && (holder.flags & flag::kAlloc) != 0)
        return &object_fields(objects_[holder.object]);
    return nullptr;
}

// A map value, or an object as it was allocated: whose lock may be taken.
bool Analyzer::holds_locks(const Cell& cell) const {
    constexpr uint8_t kOthers =
        flag::kMaybeNull | flag::kNonOwn | flag::kRcu | flag::kUntrusted | flag::kPercpu;
    if (cell.type == CellType::MapValue) return !cell.maybe_null();
    return cell.type == CellType::Btf && (cell.flags & flag::kAlloc) != 0 &&
           (cell.flags & kOthers) == 0;
}

bool Analyzer::has_lock(const Cell& cell) {
    const std::vector<SpecialField>* fields = fields_of(cell);
    return fields != nullptr && std::ranges::any_of(*fields, [](const SpecialField& f) {
               return f.kind == FieldKind::SpinLock || f.kind == FieldKind::ResSpinLock;
           });
}

bool Analyzer::kptr_target(const Cell& holder, const SpecialField& field, ObjectDesc& out) {
    const Btf* own =
        holder.type == CellType::MapValue ? map_of(holder).btf.get() : objects_[holder.object].btf;
    const Btf* kernel = options_.kernel_btf.get();
    if (own == nullptr || !own->has(field.btf_id))
        return reject(ErrorCode::SpecialFieldAccess,
                      "the map has to have BTF: it says what the kptr at %u points to",
                      field.offset);
    const BtfType type = own->resolved(field.btf_id);
    out = {.size = type.size(), .btf_id = type.id(), .btf = own, .name = {}};
    if (kernel == nullptr) {
        // Where no kernel is named, these are its types, and all others the program's.
        if (std::ranges::find(kRcuProtected, type.name()) != kRcuProtected.end())
            out = {.size = 0, .btf_id = 0, .btf = nullptr, .name = std::string(type.name())};
        return true;
    }
    if (const uint32_t id = kernel->find(type.name(), BtfKind::Struct); id != 0)
        out = {.size = kernel->type(id).size(), .btf_id = id, .btf = kernel, .name = {}};
    return true;
}

// A load or store of 8 bytes at the start of a kptr of a map value.
bool Analyzer::access_kptr(const Cell& cell, unsigned reg, const SpecialField& field, bool store,
                           const Cell* value, Cell* out) {
    if (insn_at(slot_).kind == Kind::Atomic)
        return reject(ErrorCode::SpecialFieldAccess,
                      "kptr in map can only be accessed using BPF_MEM instruction mode");
    ObjectDesc target;
    if (!kptr_target(cell, field, target)) return false;
    if (!store) {
        *out = pointer(CellType::Btf, flag::kMaybeNull, object_index(target));
        out->id = fresh_id();
        const bool protects =
            field.kind == FieldKind::KptrPercpu ||
            (field.kind == FieldKind::KptrRef &&
             (!is_kernel(target) ||
              std::ranges::find(kRcuProtected, type_name(target)) != kRcuProtected.end()));
        if (field.kind == FieldKind::Uptr) {
            // The host's own memory, of the struct's size.
            *out = pointer(CellType::Mem, flag::kMaybeNull,
                           object_index({.size = target.size, .name = {}}));
            out->id = fresh_id();
        } else if (!protects || !in_rcu_section()) {
            out->flags |= flag::kUntrusted;
        } else {
            out->flags |= flag::kRcu;
            if (field.kind == FieldKind::KptrPercpu)
                out->flags |= flag::kPercpu;
            else if (!is_kernel(target))
                out->flags |= flag::kAlloc;
        }
        return true;
    }
    if (field.kind != FieldKind::KptrUntrusted)
        return reject(ErrorCode::SpecialFieldAccess,
                      field.kind == FieldKind::Uptr ? "store to uptr disallowed: R%u"
                                                    : "store to referenced kptr disallowed: R%u",
                      reg);
    if (insn_at(slot_).is_imm) {
        if (insn_at(slot_).imm == 0) return true;
        return reject(ErrorCode::SpecialFieldAccess,
                      "BPF_ST imm must be 0 when storing to kptr at off=%u", field.offset);
    }
    if (value->is_scalar() && num(*value).is_const(0)) {
        need(*value);
        return true;
    }
    return kptr_matches(field, target, *value, insn_at(slot_).src);
}

bool Analyzer::is_or_contains(const ObjectDesc& object, int64_t off, const ObjectDesc& wanted,
                              bool exact) const {
    if (off == 0 && object.btf == wanted.btf && object.btf_id == wanted.btf_id &&
        object.name == wanted.name)
        return true;
    if (exact || off < 0 || object.btf != wanted.btf || object.btf == nullptr) return false;
    uint32_t id = object.btf_id;
    auto at = static_cast<uint64_t>(off);
    for (unsigned depth = 0; depth < kMaxBtfDepth; ++depth) {
        const BtfType type = object.btf->resolved(id);
        if (!type.is_composite()) return false;
        bool found = false;
        for (uint32_t i = 0; i < type.count() && !found; ++i) {
            const BtfMember member = type.member(i);
            const BtfType inner = object.btf->resolved(member.type);
            if (member.bit_size != 0 || !inner.is_composite() || at < member.offset() ||
                at >= uint64_t{member.offset()} + inner.size())
                continue;
            at -= member.offset();
            id = inner.id();
            found = true;
        }
        if (!found) return false;
        if (at == 0 && id == wanted.btf_id) return true;
    }
    return false;
}

// Whether `cell`, in register `reg`, is a pointer that the kptr may hold.
bool Analyzer::kptr_matches(const SpecialField& field, const ObjectDesc& wanted, const Cell& cell,
                            unsigned reg) {
    const auto bad = [&] {
        return reject(ErrorCode::BadArgumentType,
                      "invalid kptr access, R%u type=%s%s expected=ptr_%s%s", reg,
                      name_of_cell(cell).c_str(),
                      cell.type != CellType::Btf ? "" : type_name(objects_[cell.object]).c_str(),
                      type_name(wanted).c_str(),
                      field.kind == FieldKind::KptrUntrusted ? " or untrusted_ptr_" : "");
    };
    if (cell.type != CellType::Btf) return bad();
    const ObjectDesc& object = objects_[cell.object];
    uint8_t allowed = flag::kMaybeNull;
    if (is_kernel(object)) {
        allowed |= kTrust;
        if (field.kind == FieldKind::KptrUntrusted) allowed |= flag::kUntrusted;
    } else {
        allowed |= flag::kAlloc;
        if (field.kind == FieldKind::KptrPercpu) allowed |= flag::kPercpu;
    }
    if ((cell.flags & ~allowed) != 0) return bad();
    if (!check_constant_offset(cell, reg, name_of_cell(cell).c_str(), true)) return false;
    return is_or_contains(object, cell.off, wanted, field.kind != FieldKind::KptrUntrusted) ||
           bad();
}

// First argument of bpf_kptr_xchg.
bool Analyzer::kptr_slot_argument(CallInfo& call, unsigned reg) {
    const Cell cell = st().reg(reg);
    const std::vector<SpecialField>* fields = fields_of(cell);
    if (fields == nullptr || cell.maybe_null() || (cell.flags & flag::kUntrusted) != 0)
        return bad_argument(call, reg - 1, cell, "map_value, ptr_");
    if (!num(cell).is_const())
        return reject(ErrorCode::SpecialFieldAccess,
                      "R%u doesn't have constant offset. kptr has to be at the constant offset",
                      reg);
    if (!has_kptr(*fields))
        return reject(ErrorCode::SpecialFieldAccess, "R%u points to what has no valid kptr", reg);
    const int64_t at = int64_t{cell.off} + static_cast<int64_t>(num(cell).value());
    const SpecialField* field = field_at(*fields, at);
    if (field == nullptr || !is_kptr(field->kind))
        return reject(ErrorCode::SpecialFieldAccess, "off=%lld doesn't point to kptr",
                      static_cast<long long>(at));
    if (field->kind == FieldKind::KptrUntrusted)
        return reject(ErrorCode::SpecialFieldAccess, "off=%lld kptr isn't referenced kptr",
                      static_cast<long long>(at));
    ObjectDesc target;
    if (!kptr_target(cell, *field, target)) return false;
    call.kptr = field;
    call.kptr_object = object_index(target);
    return true;
}

// Second argument of bpf_kptr_xchg, not the constant null.
bool Analyzer::kptr_value_argument(CallInfo& call, unsigned reg) {
    const Cell cell = st().reg(reg);
    if (cell.type != CellType::Btf || (cell.flags & (flag::kUntrusted | flag::kNonOwn)) != 0)
        return bad_argument(call, reg - 1, cell, "ptr_, trusted_ptr_, rcu_ptr_");
    return kptr_matches(*call.kptr, objects_[call.kptr_object], cell, reg);
}

// The reference that bpf_kptr_xchg takes over. A per-CPU object can still be read for as long as
// RCU keeps it.
bool Analyzer::give_to_kptr(const CallInfo& call) {
    const uint32_t ref = call.release_ref;
    if (ref == 0) return true;
    if (in_rcu_section()) {
        constexpr uint8_t kBoth = flag::kAlloc | flag::kPercpu;
        update_cells(
            st(),
            [&](const Cell& c) {
                return c.type == CellType::Btf && c.ref == ref && (c.flags & kBoth) == kBoth;
            },
            [](Cell& c) {
                c.ref = 0;
                c.flags = static_cast<uint8_t>((c.flags & ~flag::kAlloc) | flag::kRcu);
            });
    }
    return release_reference(ref);
}

Cell Analyzer::kptr_result(const CallInfo& call) {
    Cell r0 = pointer(CellType::Btf, flag::kMaybeNull, call.kptr_object);
    if (is_kernel(objects_[call.kptr_object])) return r0;
    r0.flags |= flag::kAlloc;
    if (call.kptr->kind == FieldKind::KptrPercpu) r0.flags |= flag::kPercpu;
    return r0;
}

bool Analyzer::access_allocated(const Cell& cell, unsigned reg, int64_t off, unsigned size, bool,
                                Cell* out) {
    const ObjectDesc desc = objects_[cell.object];
    const bool held = cell.ref != 0 || (cell.flags & (flag::kNonOwn | flag::kRcu)) != 0;
    if (!held || (cell.flags & flag::kUntrusted) != 0)
        return reject(ErrorCode::BadArgumentType,
                      "R%u: an allocated object must have a referenced id", reg);
    for (const SpecialField& field : object_fields(desc))
        if (off < field.offset + int64_t{field.size} && off + size > field.offset)
            return reject(ErrorCode::SpecialFieldAccess,
                          "direct access to %s is disallowed: R%u reaches it at %lld",
                          name_of_field(field.kind), reg, static_cast<long long>(off));
    if (off > UINT32_MAX / 2)
        return reject(ErrorCode::OutOfBoundsAccess, "R%u is ptr_ invalid access: off=%lld", reg,
                      static_cast<long long>(off));
    const BtfStep step =
        walk_struct(*desc.btf, desc.btf_id, static_cast<uint32_t>(off), size, false);
    if (step.kind == BtfStep::Kind::Beyond || step.kind == BtfStep::Kind::Straddle)
        return reject(ErrorCode::OutOfBoundsAccess, "%s", step.message.c_str());
    if (out != nullptr) *out = loaded(size);
    return true;
}

}  // namespace skep::verifier
