// CO-RE: values of relocations, the choice among candidates, and patching (see core.hpp).

#include "vm/elf/core.hpp"

#include <algorithm>
#include <optional>

#include "vm/base/try.hpp"

namespace skep::core {
namespace {

// What a field relocation kind asks of one spec.
struct FieldValue {
    uint64_t value = 0;
    uint32_t size = 0;  // for loads; 0: a bit field
    uint32_t type = 0;
    bool validate = true;
};

std::unexpected<Error> unfit(const Spec& spec, std::string_view what) {
    return fail(ErrorCode::CoreMismatch,
                "CO-RE: " + std::string(what) + " of '" + spec.btf->type_name(spec.root) + "'");
}

Result<FieldValue> element_value(CoreKind kind, const Spec& spec) {
    const Accessor& last = spec.steps.back();
    const uint32_t size = spec.btf->size_of(last.type).value_or(0);
    if (kind == CoreKind::FieldByteOffset) return FieldValue{spec.bit_offset / 8, size, last.type};
    if (kind == CoreKind::FieldByteSize) return FieldValue{size};
    return unfit(spec, "an array element has no " + std::string(name_of(kind)));
}

// Where a bit field is loaded from: the smallest aligned power of two of bytes that holds it, at
// least as large as its declared type.
struct Container {
    uint64_t byte_offset = 0;
    uint32_t bytes = 0;
};
std::optional<Container> container_of(uint64_t bit_offset, uint32_t bits, uint32_t bytes) {
    if (bytes == 0) return std::nullopt;
    Container c{bit_offset / 8 / bytes * bytes, bytes};
    while (bit_offset + bits - c.byte_offset * 8 > uint64_t{c.bytes} * 8) {
        if (c.bytes >= 8) return std::nullopt;
        c.bytes *= 2;
        c.byte_offset = bit_offset / 8 / c.bytes * c.bytes;
    }
    return c;
}

Result<FieldValue> field_value(CoreKind kind, const Spec& spec) {
    const Accessor& last = spec.steps.back();
    if (last.name.empty()) return element_value(kind, spec);
    const BtfMember member = spec.btf->type(last.type).member(last.index);
    const BtfType type = spec.btf->resolved(member.type);
    const bool bit_field = member.bit_size != 0;
    Container c{spec.bit_offset / 8, spec.btf->size_of(type.id()).value_or(0)};
    uint32_t bits = member.bit_size;
    if (bit_field) {
        const auto container = container_of(spec.bit_offset, bits, type.size());
        if (!container) return unfit(spec, "a bit field wider than 8 bytes");
        c = *container;
    } else {
        bits = c.bytes * 8;
    }
    switch (kind) {
        case CoreKind::FieldByteOffset:
            return FieldValue{c.byte_offset, bit_field ? 0 : c.bytes, type.id(), !bit_field};
        case CoreKind::FieldByteSize: return FieldValue{c.bytes, 0, 0, !bit_field};
        case CoreKind::FieldSigned: {
            const bool is_signed = type.is_any_enum()
                                       ? type.kind_flag()
                                       : type.is(BtfKind::Int) && type.int_info().is_signed;
            return FieldValue{is_signed};
        }
        case CoreKind::FieldLshiftU64:
            return FieldValue{64 - (spec.bit_offset + bits - c.byte_offset * 8), 0, 0, !bit_field};
        case CoreKind::FieldRshiftU64: return FieldValue{uint64_t{64} - bits};
        case CoreKind::FieldExists: return FieldValue{1};
        case CoreKind::TypeIdLocal:
        case CoreKind::TypeIdTarget:
        case CoreKind::TypeExists:
        case CoreKind::TypeSize:
        case CoreKind::TypeMatches:
        case CoreKind::EnumvalExists:
        case CoreKind::EnumvalValue: break;
    }
    return unfit(spec, "not a field");
}

// A load of another size is right for pointers and for unsigned numbers; sign or struct would be
// lost in any other.
bool may_resize(const BtfType& a, const BtfType& b) {
    if (a.is(BtfKind::Ptr) && b.is(BtfKind::Ptr)) return true;
    return a.is(BtfKind::Int) && b.is(BtfKind::Int) && !a.int_info().is_signed &&
           !b.int_info().is_signed;
}

Result<Resolution> resolve_field(CoreKind kind, const Spec& local, const Spec* target) {
    Resolution r;
    if (kind == CoreKind::FieldExists) {
        r.original = 1;
        r.value = target != nullptr;
        return r;
    }
    SKEP_TRY(const FieldValue original, field_value(kind, local));
    r.original = original.value;
    r.validate = original.validate;
    r.original_size = original.size;
    if (target == nullptr) {
        r.poison = true;
        return r;
    }
    SKEP_TRY(const FieldValue found, field_value(kind, *target));
    r.value = found.value;
    r.size = found.size;
    if (r.original_size != r.size)
        r.bad_size = !may_resize(local.btf->type(original.type), target->btf->type(found.type));
    return r;
}

uint64_t type_value(CoreKind kind, const Spec& spec) {
    if (kind == CoreKind::TypeIdTarget) return spec.root;
    if (kind == CoreKind::TypeSize) return spec.btf->size_of(spec.root).value_or(0);
    return 1;
}

uint64_t enumerator_value(const Spec& spec) {
    return spec.btf->resolved(spec.root).enumerator(spec.enumerator).value;
}

// The relocation's result for one candidate (null: for none).
Result<Resolution> resolve_one(CoreKind kind, const Spec& local, const Spec* target) {
    if (is_field_kind(kind)) return resolve_field(kind, local, target);
    Resolution r;
    if (is_type_kind(kind)) {
        r.original = type_value(kind, local);
        r.value = target != nullptr ? type_value(kind, *target) : 0;
        r.validate = kind != CoreKind::TypeIdTarget;
        return r;
    }
    if (kind == CoreKind::EnumvalExists) {
        r.original = 1;
        r.value = target != nullptr;
        return r;
    }
    r.original = enumerator_value(local);
    if (target != nullptr) r.value = enumerator_value(*target);
    r.poison = target == nullptr;
    return r;
}

// "struct sk_buff::len", "enum x::A", "struct s" for messages.
std::string describe(const Spec& spec, CoreKind kind) {
    std::string text = spec.btf->type_name(spec.root);
    if (is_enum_kind(kind))
        return text +
               "::" + std::string(spec.btf->resolved(spec.root).enumerator(spec.enumerator).name);
    const char* separator = "::";
    for (size_t i = 0; i < spec.steps.size(); ++i) {
        const Accessor& step = spec.steps[i];
        if (!step.name.empty()) {
            text += separator + std::string(step.name);
            separator = ".";
        } else if (i > 0 || step.index != 0) {
            text += "[" + std::to_string(step.index) + "]";
        }
    }
    return text;
}

}  // namespace

std::string_view name_of(CoreKind kind) {
    switch (kind) {
        case CoreKind::FieldByteOffset: return "byte_off";
        case CoreKind::FieldByteSize: return "byte_sz";
        case CoreKind::FieldExists: return "field_exists";
        case CoreKind::FieldSigned: return "signed";
        case CoreKind::FieldLshiftU64: return "lshift_u64";
        case CoreKind::FieldRshiftU64: return "rshift_u64";
        case CoreKind::TypeIdLocal: return "local_type_id";
        case CoreKind::TypeIdTarget: return "target_type_id";
        case CoreKind::TypeExists: return "type_exists";
        case CoreKind::TypeSize: return "type_size";
        case CoreKind::EnumvalExists: return "enumval_exists";
        case CoreKind::EnumvalValue: return "enumval_value";
        case CoreKind::TypeMatches: return "type_matches";
    }
    return "unknown";
}

Result<Resolver::Candidates*> Resolver::candidates_of(uint32_t type) {
    const auto found = cache_.find(type);
    if (found != cache_.end()) return &found->second;
    const BtfType local = local_.type(type);
    const std::string_view name = essential_name(local.name());
    Candidates candidates;
    for (const uint32_t id : target_->candidates(name)) {
        const BtfType t = target_->type(id);
        const bool kind = t.kind() == local.kind() || (t.is_any_enum() && local.is_any_enum());
        if (kind && essential_name(t.name()) == name) candidates.ids.push_back(id);
    }
    return &cache_.emplace(type, std::move(candidates)).first->second;
}

Result<Resolution> Resolver::resolve(const CoreRelocation& relocation) {
    SKEP_TRY(const Spec local, parse_spec(local_, relocation));
    const CoreKind kind = relocation.kind;
    if (kind == CoreKind::TypeIdLocal) {
        Resolution r;
        r.original = r.value = relocation.type;
        r.validate = false;
        return r;
    }
    const std::string what = describe(local, kind);
    if (local_.type(relocation.type).name().empty())
        return fail(ErrorCode::CoreMismatch, "CO-RE: an anonymous type cannot be searched for");
    if (target_ == nullptr)
        return fail(ErrorCode::BtfNeeded,
                    "CO-RE: '" + what +
                        "' needs the BTF of a target kernel, and none was given or allowed");
    SKEP_TRY(Candidates* const candidates, candidates_of(relocation.type));
    std::optional<Resolution> chosen;
    Spec chosen_spec;
    std::vector<uint32_t> kept;
    for (const uint32_t id : candidates->ids) {
        Spec spec;
        if (!match_spec(local, kind, *target_, id, spec)) continue;
        SKEP_TRY(Resolution r, resolve_one(kind, local, &spec));
        kept.push_back(id);
        if (!chosen) {
            chosen = std::move(r);
            chosen_spec = std::move(spec);
        } else if (spec.bit_offset != chosen_spec.bit_offset || r.poison != chosen->poison ||
                   r.value != chosen->value) {
            return fail(ErrorCode::CoreAmbiguous,
                        "CO-RE: '" + what + "' is " + std::to_string(chosen->value) + " in type " +
                            std::to_string(chosen_spec.root) + " and " + std::to_string(r.value) +
                            " in type " + std::to_string(id) + " of the target");
        }
    }
    if (chosen) {
        candidates->ids = std::move(kept);
    } else {
        SKEP_TRY(chosen, resolve_one(kind, local, nullptr));
    }
    chosen->what = std::string(name_of(kind)) + " of " + what;
    return *std::move(chosen);
}

namespace {

std::unexpected<Error> mismatch(const Resolution& r, std::string_view what) {
    return fail(ErrorCode::CoreMismatch, "CO-RE " + r.what + ": " + std::string(what));
}

std::unexpected<Error> wrong_value(const Resolution& r, uint64_t found) {
    return mismatch(r, "the instruction holds " + std::to_string(static_cast<int64_t>(found)) +
                           ", the object's types say " +
                           std::to_string(static_cast<int64_t>(r.original)));
}

RawInsn poison() { return {kClassJmp | kCodeCall, 0, 0, kPoisonHelper}; }

uint32_t access_bytes(uint8_t opcode) {
    switch (opcode & kSizeMask) {
        case 0x00: return 4;
        case 0x08: return 2;
        case 0x10: return 1;
        default: return 8;
    }
}

std::optional<uint8_t> size_bits(uint32_t bytes) {
    switch (bytes) {
        case 4: return 0x00;
        case 2: return 0x08;
        case 1: return 0x10;
        case 8: return 0x18;
        default: return std::nullopt;
    }
}

Result<void> patch_access(RawInsn& insn, const Resolution& r) {
    if (r.validate && static_cast<uint64_t>(int64_t{insn.off}) != r.original)
        return wrong_value(r, static_cast<uint64_t>(int64_t{insn.off}));
    if (r.value > INT16_MAX)
        return mismatch(r, "offset " + std::to_string(r.value) + " does not fit in 16 bits");
    insn.off = static_cast<int16_t>(r.value);
    if (r.size == r.original_size) return {};
    if (access_bytes(insn.opcode) != r.original_size)
        return mismatch(r, "the access has " + std::to_string(access_bytes(insn.opcode)) +
                               " bytes, the field " + std::to_string(r.original_size));
    const auto bits = size_bits(r.size);
    if (!bits) return mismatch(r, "a field of " + std::to_string(r.size) + " bytes is no access");
    insn.opcode = static_cast<uint8_t>((insn.opcode & ~kSizeMask) | *bits);
    return {};
}

}  // namespace

Result<bool> patch(std::vector<RawInsn>& slots, uint32_t at, const Resolution& r) {
    RawInsn& insn = slots[at];
    const uint8_t insn_class = insn.opcode & kClassMask;
    const bool wide = insn.opcode == 0x18;
    if (wide && at + 1 >= slots.size()) return mismatch(r, "the instruction is cut off");
    const bool is_access =
        insn_class == kClassLdx || insn_class == kClassSt || insn_class == kClassStx;
    // A value that must match is checked before the size, as the instruction may not be ours at
    // all.
    if (!r.poison && is_access && r.bad_size && r.validate &&
        static_cast<uint64_t>(int64_t{insn.off}) != r.original)
        return wrong_value(r, static_cast<uint64_t>(int64_t{insn.off}));
    if (r.poison || (is_access && r.bad_size)) {
        if (wide) slots[at + 1] = poison();
        insn = poison();
        return true;
    }
    if (is_access) {
        SKEP_CHECK(patch_access(insn, r));
        return false;
    }
    if ((insn_class == kClassAlu || insn_class == kClassAlu64) && (insn.opcode & kSourceReg) == 0) {
        if (r.validate && static_cast<uint64_t>(int64_t{insn.imm}) != r.original)
            return wrong_value(r, static_cast<uint64_t>(int64_t{insn.imm}));
        insn.imm = static_cast<int32_t>(r.value);
        return false;
    }
    if (wide && insn.src() == 0) {
        const uint64_t old = static_cast<uint32_t>(insn.imm) |
                             static_cast<uint64_t>(static_cast<uint32_t>(slots[at + 1].imm)) << 32;
        if (r.validate && old != r.original) return wrong_value(r, old);
        insn.imm = static_cast<int32_t>(r.value);
        slots[at + 1].imm = static_cast<int32_t>(r.value >> 32);
        return false;
    }
    return mismatch(
        r, "an instruction with opcode " + std::to_string(insn.opcode) + " cannot be relocated");
}

}  // namespace skep::core
