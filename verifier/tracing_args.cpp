// What the contexts of tracing programs hold: the arguments of what they attach to, by its
// prototype.
#include <algorithm>
#include <array>

#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/lsm_hooks.hpp"
#include "vm/prog/attach_proto.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::verifier {
namespace {

struct NullableArgument {
    std::string_view tracepoint;
    uint32_t index;
};
constexpr NullableArgument kNullableArguments[] = {
#define SKEP_NULLABLE_ARGUMENT(tracepoint, index) {#tracepoint, index},
#include "verifier/tracepoint_nulls.def"
#undef SKEP_NULLABLE_ARGUMENT
};

// What iterators promise of their arguments, where it is not "an object, or null at the end".
enum class IterArgument : uint8_t { Object, Trusted, TrustedOrNull, ReadBuffer, WriteBuffer };
struct IterRow {
    std::string_view target;
    uint32_t index;
    IterArgument is;
};
constexpr IterRow kIterArguments[] = {
    {"bpf_map", 1, IterArgument::TrustedOrNull},
    {"bpf_map_elem", 1, IterArgument::Trusted},
    {"bpf_map_elem", 2, IterArgument::ReadBuffer},
    {"bpf_map_elem", 3, IterArgument::WriteBuffer},
    {"bpf_sk_storage_map", 1, IterArgument::Trusted},
    {"bpf_sk_storage_map", 3, IterArgument::WriteBuffer},
    {"sockmap", 1, IterArgument::Trusted},
    {"sockmap", 2, IterArgument::ReadBuffer},
    {"cgroup", 1, IterArgument::TrustedOrNull},
    {"kmem_cache", 1, IterArgument::TrustedOrNull},
    {"task", 1, IterArgument::TrustedOrNull},
    {"tcp", 1, IterArgument::TrustedOrNull},
    {"udp", 1, IterArgument::TrustedOrNull},
};

// The argument that byte `off` of the context belongs to; `count` is the result's, more is none.
// Structs that are passed by value take up as many words as they need.
uint32_t argument_at(const Btf& btf, const BtfType& proto, uint32_t off) {
    uint32_t end = 0;
    for (uint32_t i = 0; i < proto.count(); ++i) {
        const uint32_t size = btf.size_of(proto.param(i).type).value_or(8);
        end += std::max<uint32_t>((size + 7) & ~7u, 8);
        if (off < end) return i;
    }
    return off < end + 8 ? proto.count() : proto.count() + 1;
}

}  // namespace

// What 8 bytes (or less) of a tracing context are.
Cell Analyzer::context_argument(uint32_t off, unsigned size) {
    Cell out = loaded(size);
    if (program_.type->ctx == &kBtfCtx)
        typed_argument(off, size, out);
    else if (program_.type->kind == ProgKind::RawTracepointWritable && off == 0 && size == 8)
        out = pointer(CellType::TpBuffer);
    return out;
}

// The prototype that a tracing program's arguments follow.
std::optional<BtfType> Analyzer::traced_prototype() const {
    const Btf* btf = options_.kernel_btf.get();
    return btf == nullptr ? std::nullopt : attach_prototype(program_, *btf);
}

bool Analyzer::is_typed_tracepoint() const {
    return program_.type->kind == ProgKind::Tracing &&
           (program_.attach_type == static_cast<uint32_t>(AttachType::TraceRawTp) ||
            program_.section.starts_with("tp_btf"));
}

bool Analyzer::is_iterator() const {
    return program_.type->kind == ProgKind::Tracing &&
           (program_.attach_type == static_cast<uint32_t>(AttachType::TraceIter) ||
            program_.section.starts_with("iter"));
}

// Whether what the context holds may be relied on, as opposed to what functions are called with.
uint8_t Analyzer::argument_trust() const {
    switch (program_.type->kind) {
        case ProgKind::Tracing:
            return is_typed_tracepoint() || is_iterator() ? flag::kTrusted : uint8_t{0};
        case ProgKind::Lsm:
            return lsm_hook(program_.attach_target).is_untrusted ? uint8_t{0} : flag::kTrusted;
        case ProgKind::StructOps: return flag::kTrusted;
        default: return 0;
    }
}

bool Analyzer::typed_argument(uint32_t off, unsigned size, Cell& out) {
    const Btf* btf = options_.kernel_btf.get();
    if (btf == nullptr)
        return unsupported(ErrorCode::BtfNeeded,
                           "the arguments of a %s program have types of the "
                           "kernel: give its BTF",
                           std::string(program_.type->name).c_str());
    const auto proto = traced_prototype();
    if (!proto)
        return unsupported(ErrorCode::BtfNeeded,
                           "the BTF that was given does not describe '%s', which "
                           "the program attaches to",
                           program_.attach_target.c_str());
    const char* name = program_.attach_target.c_str();
    if (off % 8 != 0)
        return reject(ErrorCode::BadContextField, "func '%s' offset %u is not multiple of 8", name,
                      off);
    // A tracepoint's first parameter is its own.
    const bool skip = is_typed_tracepoint();
    const uint32_t index = skip ? off / 8 + 1 : argument_at(*btf, *proto, off);
    if (index == proto->count() && !skip && sees_result())
        return argument_result(*proto, size, out);
    if (index >= proto->count())
        return reject(ErrorCode::BadContextField, "func '%s' doesn't have %u-th argument", name,
                      off / 8 + 1);
    return typed_value(proto->param(index).type, skip ? index - 1 : index, size, out);
}

// Programs behind the end of a function, and of a hook whose earlier programs have decided.
bool Analyzer::sees_result() const {
    if (program_.type->kind == ProgKind::Lsm) return true;
    return program_.type->kind == ProgKind::Tracing &&
           (program_.attach_type == static_cast<uint32_t>(AttachType::TraceFexit) ||
            program_.attach_type == static_cast<uint32_t>(AttachType::ModifyReturn));
}

bool Analyzer::argument_result(const BtfType& proto, unsigned size, Cell& out) {
    const Btf& btf = *options_.kernel_btf;
    const BtfType type = btf.resolved(proto.type());
    const bool is_number = type.is(BtfKind::Int) || type.is_any_enum();
    if (program_.attach_type == static_cast<uint32_t>(AttachType::ModifyReturn) && !is_number)
        return reject(ErrorCode::BadContextField, "ret type %s not allowed for fmod_ret",
                      std::string(type.name()).c_str());
    if (is_number && program_.type->kind == ProgKind::Lsm &&
        program_.attach_type != static_cast<uint32_t>(AttachType::LsmCgroup)) {
        // As the earlier programs of the hook may have left it.
        ReturnRange range = return_range(program_.type->kind, program_.attach_type);
        lsm_return_range(range);
        if (range.checked) {
            out = number(Scalar::range_s64(range.min, range.max));
            return true;
        }
    }
    return typed_value(proto.type(), proto.count(), size, out);
}

// A value of a type of the kernel's, as argument `index`.
bool Analyzer::typed_value(uint32_t type_id, uint32_t index, unsigned size, Cell& out) {
    const Btf* btf = options_.kernel_btf.get();
    const char* name = program_.attach_target.c_str();
    const BtfType type = btf->resolved(type_id);
    if (!type.is(BtfKind::Ptr)) {
        if (type.is(BtfKind::Int) || type.is_any_enum() || type.is_composite()) return true;
        return reject(ErrorCode::BadContextField, "func '%s' arg%u has type %s: no number", name,
                      index, std::string(type.name()).c_str());
    }
    if (size != 8)
        return reject(ErrorCode::BadContextField, "func '%s' size %u must be 8", name, size);
    if (is_iterator()) {
        iter_argument(index, out);
        if (out.is_pointer()) return true;
    }
    const BtfType target = btf->resolved(type.type());
    if (target.is(BtfKind::Void) || target.is(BtfKind::Int)) return true;
    if (!target.is_composite())
        return reject(ErrorCode::BadContextField, "func '%s' arg%u type is not a struct", name,
                      index);
    if (program_.type->kind == ProgKind::StructOps) {
        out = struct_ops_argument(index, target);
        return true;
    }
    const auto flags = is_iterator() ? out.flags : argument_trust();
    out = pointer(CellType::Btf, flags,
                  object_index({.size = target.size(), .btf_id = target.id(), .btf = btf}));
    const auto may_be_null = [&](const NullableArgument& row) {
        return row.tracepoint == program_.attach_target && row.index == index;
    };
    if (is_typed_tracepoint() && std::ranges::any_of(kNullableArguments, may_be_null))
        out.flags |= flag::kMaybeNull;
    if (out.maybe_null()) out.id = fresh_id();
    return true;
}

// Iterator programs get a pointer to a struct; here the context is that struct. Gives a buffer, or
// leaves what is known of an object in the flags.
void Analyzer::iter_argument(uint32_t index, Cell& out) {
    const auto is_this = [&](const IterRow& row) {
        return row.target == program_.attach_target && row.index == index;
    };
    const auto* row = std::ranges::find_if(kIterArguments, is_this);
    const IterArgument is = row != std::end(kIterArguments) ? row->is
                            : index == 0                    ? IterArgument::Trusted
                                                            : IterArgument::Object;
    switch (is) {
        case IterArgument::Object: out.flags = flag::kMaybeNull; return;
        case IterArgument::Trusted: out.flags = flag::kTrusted; return;
        case IterArgument::TrustedOrNull: out.flags = flag::kTrusted | flag::kMaybeNull; return;
        case IterArgument::ReadBuffer:
        case IterArgument::WriteBuffer:
            out = pointer(CellType::Buffer, flag::kMaybeNull);
            if (is == IterArgument::ReadBuffer) out.flags |= flag::kReadOnly;
            out.id = fresh_id();
            return;
    }
}

}  // namespace skep::verifier
