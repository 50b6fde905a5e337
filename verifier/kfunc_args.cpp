// Arguments of kernel functions: what each register must hold, by the types and the names of the
// prototype's parameters (Documentation/bpf/kfuncs.rst says what the suffixes mean).
#include <algorithm>

#include "helpers/kfunc.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"
#include "verifier/kfunc_call.hpp"

namespace skep::verifier {

using Kind = KfuncType::Kind;
using Target = KfuncType::Target;

namespace {

bool is_size(const KfuncParam& param) {
    return param.type.kind == Kind::Scalar &&
           (param.has_suffix("__sz") || param.has_suffix("__szk"));
}

bool is_object_cell(CellType type) {
    return type == CellType::Btf || type == CellType::Socket || type == CellType::SockCommon ||
           type == CellType::TcpSock || type == CellType::MapHandle;
}

// The kernel's type of pointers that programs get in other ways.
std::string_view object_name(CellType type) {
    switch (type) {
        case CellType::Socket: return "sock";
        case CellType::SockCommon: return "sock_common";
        case CellType::TcpSock: return "tcp_sock";
        case CellType::MapHandle: return "bpf_map";
        default: return {};
    }
}

// A program may pass the kernel's struct where a function wants its view for programs.
bool is_projection(std::string_view wanted, std::string_view given) {
    return (wanted == "__sk_buff" && given == "sk_buff") ||
           (wanted == "xdp_md" && given == "xdp_buff");
}

// Structs with a field kind of their own in map values and allocated objects.
constexpr std::string_view kObjectStructs[] = {"bpf_list_head", "bpf_list_node", "bpf_rb_root",
                                               "bpf_rb_node"};

}  // namespace

bool Analyzer::kfunc_arguments(KfuncCall& call) {
    const auto& params = call.ref.proto.params;
    for (unsigned i = 0; i < params.size(); ++i) {
        const KfuncParam& param = params[i];
        const unsigned reg = i + 1;
        if (param.has_suffix("__prog")) continue;  // the kernel fills it
        if (!read_reg(reg)) return false;
        if (param.has_suffix("__ign")) continue;
        if (param.type.kind == Kind::Scalar) {
            if (!kfunc_scalar(call, i)) return false;
            continue;
        }
        if (param.type.kind != Kind::Pointer)
            return reject(ErrorCode::BadArgumentType, "unrecognized arg#%u of kernel function %s",
                          i, call.ref.name.c_str());
        bool with_size = false;
        if (!kfunc_pointer(call, i, with_size)) return false;
        if (with_size) ++i;
    }
    return true;
}

bool Analyzer::kfunc_scalar(KfuncCall& call, unsigned index) {
    const KfuncParam& param = call.ref.proto.params[index];
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    if (!cell.is_scalar())
        return reject(ErrorCode::BadArgumentType, "R%u is not a scalar: it is %s", reg,
                      name_of_cell(cell).c_str());
    const bool constant = param.has_suffix("__k");
    const bool readonly_size = param.name == "rdonly_buf_size";
    const bool result_size = readonly_size || param.name == "rdwr_buf_size";
    if (!constant && !result_size) return true;
    if (!num(cell).is_const())
        return reject(ErrorCode::BadArgumentType, "R%u must be a known constant", reg);
    need(cell);
    if (constant) {
        call.constant = num(cell).value();
    } else {
        call.result_size = num(cell).value();
        call.result_readonly = readonly_size;
    }
    return true;
}

bool Analyzer::kfunc_pointer(KfuncCall& call, unsigned index, bool& with_size) {
    const auto& params = call.ref.proto.params;
    const KfuncParam& param = params[index];
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    const bool is_null = cell.is_scalar() && num(cell).is_const(0);
    const bool nullable = param.has_suffix("__nullable");
    const bool careful =
        call.kfunc.has(kfunc_flag::kTrustedArgs | kfunc_flag::kRelease | kfunc_flag::kRcu);
    if ((is_null || cell.maybe_null()) && !nullable && careful)
        return reject(ErrorCode::PossiblyNull, "Possibly NULL pointer passed to trusted arg%u",
                      index);
    if (cell.is_pointer() && cell.ref != 0 && st().holds_reference(cell.ref)) {
        const bool release = call.kfunc.has(kfunc_flag::kRelease);
        if (release && call.held != 0)
            return reject(ErrorCode::BadRelease, "more than one arg with ref_obj_id R%u %u %u", reg,
                          cell.ref, call.held);
        call.held = cell.ref;
        if (release) call.release_reg = reg;
    }
    if (call.is(KfuncSpecial::CastToKernCtx) ||
        (param.type.target == Target::Struct && is_context_name(param.type.name)))
        return kfunc_context(index);
    if (is_null && nullable) {
        need(cell);
        return true;
    }
    if (param.has_suffix("__alloc") || param.has_suffix("__refcounted_kptr") ||
        (param.type.target == Target::Struct &&
         std::ranges::find(kObjectStructs, param.type.name) != std::end(kObjectStructs)))
        return object_argument(call, index);
    if (param.is_pointer_to("bpf_dynptr") || param.is_pointer_to("bpf_dynptr_kern"))
        return kfunc_dynptr(call, index);
    constexpr uint32_t kIterator =
        kfunc_flag::kIterNew | kfunc_flag::kIterNext | kfunc_flag::kIterDestroy;
    if ((call.kfunc.has(kIterator) && index == 0) || param.has_suffix("__iter"))
        return kfunc_iterator(call, index);
    if (param.has_suffix("__str")) return kfunc_string(call, index);
    if (param.has_suffix("__map")) return kfunc_map(call, index);
    if (param.is_pointer_to("bpf_wq")) return kfunc_field(call, index, FieldKind::Workqueue);
    if (param.is_pointer_to("bpf_task_work")) return kfunc_field(call, index, FieldKind::TaskWork);
    if (param.has_suffix("__irq_flag")) return irq_flag(call, index);
    if (param.is_pointer_to("bpf_res_spin_lock")) return res_lock_argument(call, index);
    if (is_object_cell(cell.type)) return kfunc_object(call, index);
    if (param.type.target == Target::Function) {
        if (cell.type != CellType::Function)
            return reject(ErrorCode::BadArgumentType, "arg#%u expected pointer to func: r%u is %s",
                          index, reg, name_of_cell(cell).c_str());
        call.callback = cell.object;
        return true;
    }
    with_size = index + 1 < params.size() && is_size(params[index + 1]);
    return with_size ? kfunc_sized_memory(call, index) : kfunc_memory(call, index);
}

bool Analyzer::kfunc_context(unsigned index) {
    const Cell& cell = st().reg(index + 1);
    if (cell.type != CellType::Context)
        return reject(ErrorCode::BadArgumentType, "arg#%u expected pointer to ctx, but got %s",
                      index, name_of_cell(cell).c_str());
    return unmoved(index + 1);
}

bool Analyzer::kfunc_string(KfuncCall& call, unsigned index) {
    (void)call;
    const Cell& cell = st().reg(index + 1);
    if (cell.type != CellType::MapValue || cell.maybe_null())
        return reject(ErrorCode::BadArgumentType,
                      "arg#%u doesn't point to a const string: r%u is %s", index, index + 1,
                      name_of_cell(cell).c_str());
    return constant_string(index + 1);
}

bool Analyzer::kfunc_map(KfuncCall& call, unsigned index) {
    const Cell cell = st().reg(index + 1);
    if (cell.type != CellType::MapHandle)
        return reject(ErrorCode::BadArgumentType, "pointer in R%u isn't map pointer: it is %s",
                      index + 1, name_of_cell(cell).c_str());
    if (call.field_map.type == CellType::MapHandle && call.field_map.object != cell.object)
        return reject(ErrorCode::WrongMapType,
                      "workqueue pointer in R1 map_uid doesn't match map pointer in R%u",
                      index + 1);
    call.map = cell;
    return unmoved(index + 1);
}

// A workqueue, or the like, at its place in a map value.
bool Analyzer::kfunc_field(KfuncCall& call, unsigned index, FieldKind kind) {
    const Cell cell = st().reg(index + 1);
    if (cell.type != CellType::MapValue || cell.maybe_null())
        return reject(ErrorCode::BadArgumentType, "arg#%u doesn't point to a map value: r%u is %s",
                      index, index + 1, name_of_cell(cell).c_str());
    if (!field_argument(cell, index + 1, kind)) return false;
    call.field_map = pointer(CellType::MapHandle, 0, cell.object);
    return true;
}

// --- objects ------------------------------------------------------------------------------------

bool Analyzer::is_trusted(const Cell& cell) const {
    constexpr uint8_t kUnsafe =
        flag::kMaybeNull | flag::kUntrusted | flag::kRcu | flag::kPercpu | flag::kUser;
    if (cell.ref != 0 && current_.holds_reference(cell.ref)) return true;
    if (cell.type != CellType::Btf) return is_object_cell(cell.type) && !cell.maybe_null();
    return (cell.flags & (flag::kTrusted | flag::kAlloc)) != 0 && (cell.flags & kUnsafe) == 0;
}

bool Analyzer::kfunc_object(KfuncCall& call, unsigned index) {
    const KfuncParam& param = call.ref.proto.params[index];
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    if (param.type.target != Target::Struct && param.type.target != Target::Union)
        return reject(
            ErrorCode::BadArgumentType,
            "kernel function %s args#%u: r%u points to a kernel object, but the parameter "
            "is no pointer to a struct",
            call.ref.name.c_str(), index, reg);
    const bool rcu = call.kfunc.has(kfunc_flag::kRcu);
    if (call.kfunc.has(kfunc_flag::kTrustedArgs | kfunc_flag::kRelease) || rcu) {
        if (!is_trusted(cell)) {
            if (!rcu)
                return reject(ErrorCode::BadArgumentType,
                              "R%u must be referenced or trusted: it is %s", reg,
                              name_of_cell(cell).c_str());
            if ((cell.flags & flag::kRcu) == 0)
                return reject(ErrorCode::BadArgumentType, "R%u must be a rcu pointer: it is %s",
                              reg, name_of_cell(cell).c_str());
        }
    }
    const bool releases = call.release_reg == reg;
    if (releases && cell.off != 0)
        return reject(ErrorCode::BadRelease,
                      "R%u must have zero offset when passed to release func or trusted arg to "
                      "kfunc: off=%d",
                      reg, cell.off);
    if (!check_constant_offset(cell, reg, "ptr_", true)) return false;
    if (!num(cell).is_const(0))
        return reject(ErrorCode::BadArgumentType, "R%u: variable offset of a kernel object", reg);
    // What may be null, or is on loan, only where the function does not look.
    constexpr uint8_t kUnsafe = flag::kMaybeNull | flag::kUntrusted | flag::kPercpu | flag::kUser;
    if (cell.type == CellType::Btf && (cell.flags & kUnsafe) != 0 && (cell.flags & flag::kRcu) == 0)
        return reject(cell.maybe_null() ? ErrorCode::PossiblyNull : ErrorCode::BadArgumentType,
                      "arg#%u is %s, expected a pointer to %s or socket", index,
                      name_of_cell(cell).c_str(), param.type.name.c_str());
    call.object = cell;
    if (fits_object(cell, param.type, releases)) return true;
    return reject(ErrorCode::BadArgumentType,
                  "kernel function %s args#%u expected pointer to STRUCT %s but R%u has a pointer "
                  "to %s",
                  call.ref.name.c_str(), index, param.type.name.c_str(), reg,
                  name_of_cell(cell).c_str());
}

// Whether the object is a `wanted`, or, unless `exact`, starts with one.
bool Analyzer::fits_object(const Cell& cell, const KfuncType& wanted, bool exact) const {
    const Btf* btf = options_.kernel_btf.get();
    std::string_view name = object_name(cell.type);
    uint32_t id = 0;
    if (cell.type == CellType::Btf) {
        const ObjectDesc& desc = objects_[cell.object];
        if (desc.btf == nullptr) return desc.name == wanted.name && cell.off == 0;
        btf = desc.btf;
        id = desc.btf_id;
        name = btf->resolved(id).name();
    } else if (btf != nullptr) {
        id = btf->find(name, BtfKind::Struct);
    }
    if (is_projection(wanted.name, name) && cell.off == 0) return true;
    if (id == 0 || btf == nullptr) return name == wanted.name && cell.off == 0;
    const bool alias = wanted.name.ends_with("___init") || name.ends_with("___init");
    if (exact || alias) return cell.off == 0 && name == wanted.name;
    uint32_t at = cell.off < 0 ? 0 : static_cast<uint32_t>(cell.off);
    for (unsigned depth = 0; depth < 16; ++depth) {
        const BtfType type = btf->resolved(id);
        if (at == 0 && type.name() == wanted.name) return true;
        if (!type.is(BtfKind::Struct)) return false;
        bool found = false;
        for (uint32_t i = 0; i < type.count() && !found; ++i) {
            const BtfMember member = type.member(i);
            const auto size = btf->size_of(member.type);
            if (member.bit_size != 0 || !size || at < member.offset() ||
                at >= member.offset() + *size)
                continue;
            at -= member.offset();
            id = member.type;
            found = true;
        }
        if (!found) return false;
    }
    return false;
}

// --- memory -------------------------------------------------------------------------------------

// Whether a type is a number, or a struct of such all the way down: what may lie in a program's
// memory.
bool Analyzer::plain_data(const KfuncType& type, uint32_t& size) const {
    size = type.size;
    if (type.target == Target::Scalar) return true;
    const Btf* btf = options_.kernel_btf.get();
    if (type.target != Target::Struct && type.target != Target::Union) return false;
    uint32_t id = type.btf_id;
    if (id == 0 && btf != nullptr)
        id = btf->find(type.name, type.target == Target::Struct ? BtfKind::Struct : BtfKind::Union);
    if (id == 0 || btf == nullptr) return false;
    size = btf->size_of(id).value_or(0);
    uint32_t budget = 256;
    return plain_struct(*btf, id, 0, budget);
}

bool Analyzer::plain_struct(const Btf& btf, uint32_t id, unsigned depth, uint32_t& budget) const {
    constexpr unsigned kMaxDepth = 4;
    const BtfType type = btf.resolved(id);
    if (depth >= kMaxDepth) return false;
    for (uint32_t i = 0; i < type.count(); ++i) {
        if (budget-- == 0) return false;
        BtfType member = btf.resolved(type.member(i).type);
        if (member.is(BtfKind::Array)) member = btf.resolved(member.array().element);
        if (member.is_composite()) {
            if (!plain_struct(btf, member.id(), depth + 1, budget)) return false;
        } else if (!member.is(BtfKind::Int) && !member.is_any_enum()) {
            return false;
        }
    }
    return true;
}

bool Analyzer::kfunc_memory(KfuncCall& call, unsigned index) {
    const KfuncParam& param = call.ref.proto.params[index];
    const unsigned reg = index + 1;
    uint32_t size = 0;
    if (!plain_data(param.type, size)) {
        if (param.type.target != Target::Scalar && options_.kernel_btf == nullptr &&
            (param.type.target == Target::Struct || param.type.target == Target::Union) &&
            !st().reg(reg).is_scalar())
            return unsupported(ErrorCode::BtfNeeded,
                               "argument %u of kernel function %s is memory of a type that only "
                               "the kernel's BTF describes",
                               reg, call.ref.name.c_str());
        return reject(ErrorCode::BadArgumentType,
                      "arg#%u pointer type %s must point to scalar, or struct with scalar: r%u is "
                      "%s",
                      index, param.type.name.c_str(), reg, name_of_cell(st().reg(reg)).c_str());
    }
    Cell cell = st().reg(reg);
    if (cell.is_scalar() && num(cell).is_const(0)) {
        need(cell);
        return true;
    }
    // What may be null is looked at as if it were not; the function tests it.
    if (cell.maybe_null()) {
        cell.flags &= static_cast<uint8_t>(~flag::kMaybeNull);
        make_nonnull(cell);
    }
    return global_memory(cell, reg, size);
}

bool Analyzer::kfunc_sized_memory(KfuncCall& call, unsigned index) {
    const auto& params = call.ref.proto.params;
    const unsigned reg = index + 1, size_reg = index + 2;
    uint32_t ignored = 0;
    if (params[index].type.target != Target::Void && !plain_data(params[index].type, ignored) &&
        options_.kernel_btf != nullptr)
        return reject(ErrorCode::BadArgumentType,
                      "arg#%u pointer type %s must point to void, scalar, or struct with scalar",
                      index, params[index].type.name.c_str());
    if (!read_reg(size_reg)) return false;
    const Cell memory = st().reg(reg), size_cell = st().reg(size_reg);
    const bool is_null = memory.is_scalar() && num(memory).is_const(0);
    if (!size_cell.is_scalar())
        return reject(ErrorCode::BadArgumentType, "R%u is not a scalar: it is %s", size_reg,
                      name_of_cell(size_cell).c_str());
    const Scalar size = num(size_cell);
    need(size_cell);
    if (is_null) need(memory);
    if (!is_null || !params[index].has_suffix("__opt")) {
        if (size.smin < 0)
            return reject(ErrorCode::BadArgumentSize,
                          "R%u min value is negative, either use unsigned or 'var &= const': the "
                          "size is %s",
                          size_reg, to_string(size).c_str());
        if (size.umax >= static_cast<uint64_t>(kMaxVarOff))
            return reject(ErrorCode::BadArgumentSize,
                          "R%u unbounded memory access, use 'var &= const' or 'if (var < const)': "
                          "the size is %s",
                          size_reg, to_string(size).c_str());
        if (is_null && size.umax != 0)
            return reject(ErrorCode::PossiblyNull,
                          "arg#%u arg#%u memory, len pair leads to invalid memory access: the "
                          "pointer is null, the size %s",
                          index, index + 1, to_string(size).c_str());
        if (!is_null && !sized_access(memory, reg, size.umax)) return false;
    }
    if (!params[index + 1].has_suffix("__szk")) return true;
    if (!size.is_const())
        return reject(ErrorCode::BadArgumentSize, "R%u must be a known constant", size_reg);
    call.constant = size.value();
    return true;
}

// Memory that a function may read and write.
bool Analyzer::sized_access(const Cell& cell, unsigned reg, uint64_t size) {
    if (cell.maybe_null())
        return reject(ErrorCode::PossiblyNull, "R%u may be null: it is %s", reg,
                      name_of_cell(cell).c_str());
    if (size > UINT32_MAX || size == 0) {
        // Nothing is touched, but the pointer must be one.
        if (cell.is_pointer()) return true;
        return reject(ErrorCode::BadArgumentType, "R%u is %s, expected memory", reg,
                      name_of_cell(cell).c_str());
    }
    return global_memory(cell, reg, static_cast<uint32_t>(size));
}

}  // namespace skep::verifier
