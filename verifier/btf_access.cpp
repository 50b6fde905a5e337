// Typed kernel objects: what loads through them give, and which arguments they fit.
#include <algorithm>
#include <array>

#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/btf_walk.hpp"
#include "verifier/call_info.hpp"
#include "verifier/kfunc_call.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::verifier {
namespace {

// Without BTF: whether one struct is the other, or a socket that starts with it.
bool same_or_socket(std::string_view is, std::string_view wanted) {
    if (is == wanted) return true;
    const bool sock = is.ends_with("sock") && is != "socket";
    const bool full = sock && is != "tcp_timewait_sock" && is != "tcp_request_sock";
    return (wanted == "sock_common" && sock) || (wanted == "sock" && full);
}

// Fields of struct bpf_tcp_sock that are 8 bytes wide; the others are 4.
constexpr bool tcp_sock_access(int64_t off, unsigned size) {
    constexpr int64_t kSize = 112;
    if (off < 0 || off >= kSize || off % size != 0) return false;
    const bool wide = off >= 80 && off < 96;  // bytes_received, bytes_acked
    return wide ? size == 8 : size == 4;
}

// struct bpf_sock as the context of cgroup programs has it, without what only these may do.
bool sock_access(int64_t off, unsigned size) {
    return off >= 0 && off < kSockCtx.size &&
           kSockCtx.access(static_cast<uint32_t>(off), size, false) != nullptr;
}

}  // namespace

bool Analyzer::socket_field_allowed(CellType type, int64_t off, unsigned size) const {
    switch (type) {
        case CellType::TcpSock: return tcp_sock_access(off, size);
        case CellType::XdpSock: return off == 0 && size == 4;
        case CellType::SockCommon:
            // Not type, protocol, mark and priority, which only full sockets have.
            return (off < 8 || off >= 24) && sock_access(off, size);
        case CellType::Socket: return sock_access(off, size);
        default: return false;
    }
}

bool Analyzer::context_pointer_maybe_null(const CtxField& field) const {
    if (field.kind == CtxFieldKind::SockCommonPtr) return true;
    const ProgKind kind = program_.type->kind;
    return kind == ProgKind::SockOps || kind == ProgKind::SkLookup;
}

Cell Analyzer::btf_object(std::string_view name, uint8_t flags) {
    const Btf* btf = options_.kernel_btf.get();
    const uint32_t id = btf == nullptr ? 0 : btf->find(name, BtfKind::Struct);
    if (id == 0) return pointer(CellType::Btf, flags, object_index({.name = std::string(name)}));
    return pointer(CellType::Btf, flags,
                   object_index({.size = btf->type(id).size(), .btf_id = id, .btf = btf}));
}

bool Analyzer::access_btf(const Cell& cell, unsigned reg, int32_t off, unsigned size, bool store,
                          Cell* out) {
    const bool own =
        (cell.flags & flag::kAlloc) != 0 ||
        (num(cell).is_const() && int64_t{cell.off} + off >= 0 &&
         may_write_kernel_object(objects_[cell.object],
                                 static_cast<uint64_t>(int64_t{cell.off} + off) + num(cell).value(),
                                 size));
    if (store && !own)
        return reject(ErrorCode::ReadOnlyMemory,
                      "only read is supported: R%u points to a kernel object", reg);
    if ((cell.flags & (flag::kUser | flag::kPercpu)) != 0)
        return reject(ErrorCode::NotAPointer, "R%u is ptr_ access %s memory: off=%d", reg,
                      (cell.flags & flag::kUser) != 0 ? "user" : "percpu", off);
    const int64_t at = int64_t{cell.off} + off;
    if (!num(cell).is_const())
        return reject(ErrorCode::UnboundedOffset,
                      "R%u is ptr_ invalid variable offset: off=%lld, "
                      "var_off=%s",
                      reg, static_cast<long long>(at), to_string(num(cell)).c_str());
    const int64_t offset = at + static_cast<int64_t>(num(cell).value());
    const ObjectDesc& desc = objects_[cell.object];
    if (desc.btf == nullptr)
        return unsupported(ErrorCode::BtfNeeded,
                           "loads through a typed kernel pointer need the kernel's BTF");
    if (offset < 0)
        return reject(ErrorCode::OutOfBoundsAccess,
                      "R%u is ptr_%s invalid negative access: off=%lld", reg,
                      std::string(desc.btf->type(desc.btf_id).name()).c_str(),
                      static_cast<long long>(offset));
    if ((cell.flags & flag::kAlloc) != 0)
        return access_allocated(cell, reg, offset, size, store, out);
    if (offset > UINT16_MAX * int64_t{1024})
        return reject(ErrorCode::OutOfBoundsAccess, "R%u is ptr_ invalid access: off=%lld", reg,
                      static_cast<long long>(offset));
    const bool untrusted = (cell.flags & flag::kUntrusted) != 0;
    const BtfStep step =
        walk_struct(*desc.btf, desc.btf_id, static_cast<uint32_t>(offset), size, untrusted);
    if (step.kind == BtfStep::Kind::Beyond || step.kind == BtfStep::Kind::Straddle)
        return reject(ErrorCode::OutOfBoundsAccess, "%s", step.message.c_str());
    if (out == nullptr) return true;
    if (step.kind == BtfStep::Kind::Number) {
        *out = loaded(size);
        return true;
    }
    *out = pointer(
        CellType::Btf, walked_flags(cell, step),
        object_index(
            {.size = desc.btf->type(step.target).size(), .btf_id = step.target, .btf = desc.btf}));
    if (out->maybe_null()) out->id = fresh_id();
    return true;
}

// How far a pointer that was loaded through another can be trusted: as far as that one if Linux
// lists the member as safe, or if what it points to lives as long as the RCU section.
uint8_t Analyzer::walked_flags(const Cell& from, const BtfStep& step) const {
    const Btf& btf = *objects_[from.object].btf;
    const auto tags =
        static_cast<uint8_t>((step.user ? flag::kUser : 0) | (step.percpu ? flag::kPercpu : 0));
    if ((from.flags & flag::kUntrusted) != 0) return flag::kUntrusted;
    if ((from.flags & (flag::kTrusted | flag::kRcu)) == 0) return tags;
    const auto listed = [&](std::string_view list) {
        return is_listed(btf, objects_[from.object].btf_id, step, list);
    };
    if (listed("safe_trusted")) return flag::kTrusted;
    if (listed("safe_trusted_or_null")) return flag::kTrusted | flag::kMaybeNull;
    if (!in_rcu_section() || from.maybe_null()) return flag::kUntrusted;
    if (listed("safe_rcu")) return flag::kRcu;
    if (step.rcu || listed("safe_rcu_or_null")) return flag::kRcu | flag::kMaybeNull;
    return tags != 0 ? tags : step.in_union ? flag::kUntrusted : uint8_t{0};
}

bool Analyzer::btf_argument(CallInfo& call, unsigned index, const ArgSpec& spec) {
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    if (cell.type != CellType::Btf &&
        !(spec.object == ObjectKind::Sock && cell.type == CellType::Socket))
        return bad_argument(call, index, cell, "ptr_, trusted_ptr_, rcu_ptr_");
    const bool unsafe = (cell.flags & (flag::kUntrusted | flag::kUser | flag::kPercpu)) != 0;
    if ((cell.maybe_null() && !spec.has(arg_flag::kNullable)) ||
        (cell.type == CellType::Btf && unsafe))
        return bad_argument(call, index, cell, "ptr_, trusted_ptr_, rcu_ptr_");
    if (!check_constant_offset(cell, reg, "ptr_", true)) return false;
    const bool any_sock = spec.kind == ArgKind::BtfSockCommon;
    const std::string_view wanted = any_sock ? "sock_common" : object_name(spec.object);
    if (cell.type != CellType::Btf || wanted.empty()) return true;
    const ObjectDesc& desc = objects_[cell.object];
    if (desc.btf == nullptr) {
        if (cell.off == 0 && same_or_socket(desc.name, wanted)) return true;
    } else if (same_or_first_member(*desc.btf, desc.btf_id, wanted, cell.off)) {
        return true;
    }
    const std::string_view is =
        desc.btf == nullptr ? std::string_view(desc.name) : desc.btf->type(desc.btf_id).name();
    return reject(ErrorCode::BadArgumentType, "R%u is of type %s but %s is expected", reg,
                  std::string(is).c_str(), std::string(wanted).c_str());
}

// Whether the object at `off` of type `id` is, or starts with, a `wanted`.
bool Analyzer::same_or_first_member(const Btf& btf, uint32_t id, std::string_view wanted,
                                    int32_t off) const {
    uint32_t at = off < 0 ? 0 : static_cast<uint32_t>(off);
    for (unsigned depth = 0; depth < 16; ++depth) {
        const BtfType type = btf.resolved(id);
        if (at == 0 && essential_name(type.name()) == wanted) return true;
        if (!type.is_composite()) return false;
        bool found = false;
        for (uint32_t i = 0; i < type.count() && !found; ++i) {
            const BtfMember member = type.member(i);
            const auto size = btf.size_of(member.type);
            if (member.bit_size != 0 || !size || at < member.offset() ||
                at >= member.offset() + *size)
                continue;
            at -= member.offset();
            id = member.type;
            if (btf.resolved(id).is(BtfKind::Array)) {
                id = btf.flatten(btf.resolve(id)).element;
                const uint32_t element = btf.size_of(id).value_or(0);
                if (element == 0) return false;
                at %= element;
            }
            found = true;
        }
        if (!found) return false;
    }
    return false;
}

bool Analyzer::btf_result(CallInfo& call, Cell& r0) {
    const HelperProto& proto = call.helper->proto;
    if (call.kptr != nullptr) {
        r0 = kptr_result(call);
        return true;
    }
    const std::string_view name = object_name(proto.ret_object);
    r0 = btf_object(name, flag::kTrusted);
    if (proto.ret == RetKind::BtfObjectOrNull) r0.flags |= flag::kMaybeNull;
    return true;
}

bool Analyzer::percpu_result(CallInfo& call, Cell& r0) {
    r0 = call.percpu;
    r0.flags = static_cast<uint8_t>(call.helper->proto.ret == RetKind::PercpuMemOrNull
                                        ? flag::kMaybeNull | flag::kTrusted
                                        : flag::kTrusted);
    const ObjectDesc desc = objects_[call.percpu.object];
    // An object of the program's, which RCU keeps.
    if (desc.btf != nullptr && !is_kernel(desc)) {
        r0.ref = 0;
        r0.flags = static_cast<uint8_t>((r0.flags & flag::kMaybeNull) | flag::kAlloc | flag::kRcu);
        return true;
    }
    if (desc.btf != nullptr && !desc.btf->resolved(desc.btf_id).is_composite()) {
        r0.type = CellType::Mem;
        r0.flags = static_cast<uint8_t>((r0.flags & flag::kMaybeNull) | flag::kReadOnly);
    }
    return true;
}

// r = address of a kernel variable.
bool Analyzer::step_kernel_variable(const Insn& insn) {
    const auto found = program_.externs.find(slot_);
    const Btf* btf = options_.kernel_btf.get();
    uint32_t var = 0;
    if (found == program_.externs.end()) {
        // A raw program names the variable by its type id.
        if (btf == nullptr)
            return unsupported(ErrorCode::BtfNeeded,
                               "the address of a kernel variable needs its BTF");
        var = static_cast<uint32_t>(insn.imm);
        if (btf->has(var) && btf->type(var).is(BtfKind::Func)) {
            set_reg(insn.dst, pointer(CellType::Mem, flag::kReadOnly, object_index({})));
            return true;
        }
        if (!btf->has(var) || !btf->type(var).is(BtfKind::Var))
            return reject(ErrorCode::ReservedField, "pseudo btf_id %u in ldimm64 isn't KIND_VAR",
                          var);
    } else {
        const ExternRef& ref = found->second;
        var = btf == nullptr ? 0 : btf->find(ref.name, BtfKind::Var);
        if (var == 0 && kfunc_address(insn)) return true;
        if (var == 0 && ref.weak) {
            set_reg(insn.dst, constant(0));
            return true;
        }
        if (var == 0)
            return unsupported(ErrorCode::BtfNeeded,
                               "kernel variable %s is not in the BTF that was given",
                               ref.name.c_str());
    }
    const uint32_t type_id = btf->resolve(btf->type(var).type());
    const BtfType type = btf->type(type_id);
    const auto size = btf->size_of(type_id);
    const bool percpu = is_percpu_variable(*btf, var);
    Cell cell = pointer(CellType::Btf, flag::kTrusted,
                        object_index({.size = size.value_or(0), .btf_id = type_id, .btf = btf}));
    if (percpu) {
        cell.flags = flag::kPercpu;
    } else if (!type.is_composite()) {
        cell.type = CellType::Mem;
        cell.flags = flag::kReadOnly;
    }
    set_reg(insn.dst, cell);
    return true;
}

// The address of a kernel function that exists: a pointer to nothing that can be read.
bool Analyzer::kfunc_address(const Insn& insn) {
    if (kfunc_at(slot_).status != KfuncRef::Status::Known) return false;
    set_reg(insn.dst, pointer(CellType::Mem, flag::kReadOnly, object_index({})));
    return true;
}

bool Analyzer::is_percpu_variable(const Btf& btf, uint32_t var) const {
    const uint32_t section = btf.find(".data..percpu", BtfKind::Datasec);
    if (section == 0) return false;
    const BtfType type = btf.type(section);
    for (uint32_t i = 0; i < type.count(); ++i)
        if (type.section_var(i).type == var) return true;
    return false;
}

namespace {
// The head of struct bpf_map, for where there is no BTF.
struct MapHeadField {
    uint8_t off, size;
    bool is_pointer;
};
constexpr MapHeadField kMapHead[] = {
    {0, 32, false},  // sha
    {32, 4, false},  // excl
    {40, 8, true},   // ops
    {48, 8, true},   // inner_map_meta
    {56, 8, true},   // security
    {64, 4, false},  // map_type
    {68, 4, false},  // key_size
    {72, 4, false},  // value_size
    {76, 4, false},  // max_entries
    {80, 8, false},  // map_extra
    {88, 4, false},  // map_flags
    {92, 4, false},  // id
};

std::string_view map_struct(MapType type) {
    switch (type) {
        case MapType::Array:
        case MapType::PercpuArray:
        case MapType::ProgArray:
        case MapType::PerfEventArray:
        case MapType::CgroupArray:
        case MapType::ArrayOfMaps: return "bpf_array";
        case MapType::Hash:
        case MapType::PercpuHash:
        case MapType::LruHash:
        case MapType::LruPercpuHash:
        case MapType::HashOfMaps: return "bpf_htab";
        case MapType::Ringbuf:
        case MapType::UserRingbuf: return "bpf_ringbuf_map";
        case MapType::StackTrace: return "bpf_stack_map";
        case MapType::Queue:
        case MapType::Stack: return "bpf_queue_stack";
        case MapType::LpmTrie: return "lpm_trie";
        case MapType::Devmap:
        case MapType::DevmapHash: return "bpf_dtab";
        case MapType::Cpumap: return "bpf_cpu_map";
        case MapType::Xskmap: return "xsk_map";
        case MapType::Sockmap: return "bpf_stab";
        case MapType::Sockhash: return "bpf_shtab";
        case MapType::ReuseportSockarray: return "reuseport_array";
        case MapType::BloomFilter: return "bpf_bloom_filter";
        case MapType::CgroupStorage:
        case MapType::PercpuCgroupStorage: return "bpf_cgroup_storage_map";
        case MapType::SkStorage:
        case MapType::InodeStorage:
        case MapType::TaskStorage:
        case MapType::CgrpStorage: return "bpf_local_storage_map";
        default: return "bpf_map";
    }
}
}  // namespace

// Reading the kernel's struct of a map through its handle: nothing but loads, as through any typed
// pointer.
bool Analyzer::access_map_handle(const Cell& cell, unsigned reg, int64_t off, unsigned size,
                                 bool store, Cell* out) {
    if (store)
        return reject(ErrorCode::ReadOnlyMemory, "only read from map_ptr is supported: R%u", reg);
    if (off < 0)
        return reject(ErrorCode::OutOfBoundsAccess,
                      "R%u is map_ptr invalid negative access: off=%lld", reg,
                      static_cast<long long>(off));
    const Btf* btf = options_.kernel_btf.get();
    const std::string_view name = map_struct(maps_[cell.object].def->type);
    const uint32_t id = btf == nullptr ? 0 : btf->find(name, BtfKind::Struct);
    if (id != 0) {
        Cell object =
            pointer(CellType::Btf, 0,
                    object_index({.size = btf->type(id).size(), .btf_id = id, .btf = btf}));
        return access_btf(object, reg, static_cast<int32_t>(off), size, false, out);
    }
    for (const MapHeadField& field : kMapHead) {
        if (off < field.off || off + size > field.off + field.size) continue;
        if (field.is_pointer && size != 8) break;
        if (out != nullptr) *out = loaded(size);
        return true;
    }
    if (off + size > kMapHead[std::size(kMapHead) - 1].off)
        return unsupported(ErrorCode::BtfNeeded,
                           "loads through a map's address need the kernel's BTF");
    return reject(ErrorCode::OutOfBoundsAccess,
                  "cannot access ptr member of struct bpf_map with off=%lld size=%u",
                  static_cast<long long>(off), size);
}

}  // namespace skep::verifier
