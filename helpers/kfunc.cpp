// The table of kernel functions, and their prototypes from C text or from BTF.
#include "helpers/kfunc.hpp"

#include <algorithm>
#include <array>

#include "helpers/kfunc_impl.hpp"
#include "helpers/type_sets.hpp"
#include "vm/btf/btf.hpp"

namespace skep {

namespace {

using namespace type_set;    // NOLINT: the vocabulary of the table's columns
using namespace kfunc_flag;  // NOLINT

// The hooks under which the kernel registers functions, as program types.
constexpr uint64_t kCls = type_bit(ProgKind::SchedCls);
constexpr uint64_t kTraceHook =
    kTracing | kLsm | kPerfEvent | type_bit(ProgKind::Tracepoint) | kRaw;
constexpr uint64_t kCgroupHook = kCgroupSkb | kCgroupSock | kCgroupDevice | kCgroupSockAddr |
                                 kCgroupSockopt | kCgroupSysctl | kSockOps;
constexpr uint64_t kGeneric = kXdp | kCls | kTraceHook | kStructOps | kSyscall | kCgroupHook;

// The rows of kfuncs_run.def.
struct Runner {
    std::string_view name;
    Helper helper;
};
constexpr Runner kRunners[] = {
#define SKEP_KFUNC_RUN(name, result, params) {#name, make_helper<&kfunc::name>(0, #name)},
#include "helpers/kfuncs_run.def"
};

constexpr const Helper* runner_of(std::string_view name) {
    for (const Runner& runner : kRunners)
        if (runner.name == name) return &runner.helper;
    return nullptr;
}

constexpr Kfunc kKfuncs[] = {
#define SKEP_KFUNC(name, types, flags, special, result, parameters) \
    Kfunc{#name, types, flags, KfuncSpecial::special, result, parameters, runner_of(#name)},
#define SKEP_ITERATOR(name, bytes)
#include "helpers/kfuncs.def"
};

constexpr bool every_runner_has_a_row() {
    return std::ranges::all_of(kRunners, [](const Runner& runner) {
        return std::ranges::any_of(kKfuncs,
                                   [&](const Kfunc& row) { return row.name == runner.name; });
    });
}
static_assert(every_runner_has_a_row(), "kfuncs_run.def names a function that kfuncs.def lacks");

constexpr IteratorKind kIterators[] = {
#define SKEP_ITERATOR(name, bytes) {"bpf_iter_" #name, bytes},
#define SKEP_KFUNC(name, types, flags, special, result, parameters)
#include "helpers/kfuncs.def"
};

// Indices of kKfuncs by name.
constexpr auto kByName = [] {
    std::array<uint16_t, std::size(kKfuncs)> order{};
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<uint16_t>(i);
    std::ranges::sort(order, {}, [](uint16_t i) { return kKfuncs[i].name; });
    return order;
}();

uint64_t trap_unsupported(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                          HelperEnv* env) noexcept {
    env->fail(TrapCode::Unsupported);
    return 0;
}

constexpr Helper kUnsupported{.id = 0,
                              .name = "kernel function",
                              .proto = {},
                              .thunk = &trap_unsupported,
                              .flags = helper_flag::kKernelOnly};

std::string_view trimmed(std::string_view text) {
    while (text.starts_with(' ')) text.remove_prefix(1);
    while (text.ends_with(' ')) text.remove_suffix(1);
    return text;
}

struct ScalarName {
    std::string_view name;
    uint8_t size;
    bool is_signed;
};
constexpr ScalarName kScalars[] = {
    {"u8", 1, false},
    {"char", 1, false},
    {"bool", 1, false},
    {"u16", 2, false},
    {"__be16", 2, false},
    {"short int", 2, true},
    {"int", 4, true},
    {"u32", 4, false},
    {"__u32", 4, false},
    {"s32", 4, true},
    {"unsigned int", 4, false},
    {"u64", 8, false},
    {"__u64", 8, false},
    {"s64", 8, true},
    {"long int", 8, true},
    {"size_t", 8, false},
    {"long unsigned int", 8, false},
};

// "const struct cgroup *" and the like: what kfuncs.def is written in.
KfuncType c_type(std::string_view text) {
    KfuncType type;
    text = trimmed(text);
    if (text.starts_with("const ")) text = trimmed(text.substr(6));
    if (text.ends_with('*')) {
        const KfuncType target = c_type(text.substr(0, text.size() - 1));
        type.kind = KfuncType::Kind::Pointer;
        type.size = target.size;
        type.name = target.name;
        type.is_signed = target.is_signed;
        switch (target.kind) {
            case KfuncType::Kind::Void: type.target = KfuncType::Target::Void; break;
            case KfuncType::Kind::Scalar: type.target = KfuncType::Target::Scalar; break;
            case KfuncType::Kind::Pointer: type.target = KfuncType::Target::Pointer; break;
            case KfuncType::Kind::Other: type.target = target.target; break;
        }
        return type;
    }
    if (text == "void") return type;
    if (text == "callback") {
        type.kind = KfuncType::Kind::Other;
        type.target = KfuncType::Target::Function;
        return type;
    }
    for (const auto& [prefix, target] : {std::pair{"struct ", KfuncType::Target::Struct},
                                         std::pair{"union ", KfuncType::Target::Union}}) {
        if (!text.starts_with(prefix)) continue;
        type.kind = KfuncType::Kind::Other;
        type.target = target;
        type.name = trimmed(text.substr(std::string_view(prefix).size()));
        return type;
    }
    type.kind = KfuncType::Kind::Scalar;
    type.name = text;
    type.size = 4;  // enums
    for (const ScalarName& scalar : kScalars)
        if (scalar.name == text) type.size = scalar.size, type.is_signed = scalar.is_signed;
    return type;
}

// What a pointer to `id` points to.
void describe_target(const Btf& btf, uint32_t id, KfuncType& out) {
    const BtfType target = btf.resolved(id);
    out.btf_id = target.id();
    out.name = target.name();
    out.size = btf.size_of(target.id()).value_or(0);
    switch (target.kind()) {
        case BtfKind::Void: out.target = KfuncType::Target::Void; break;
        case BtfKind::Struct: out.target = KfuncType::Target::Struct; break;
        case BtfKind::Union: out.target = KfuncType::Target::Union; break;
        case BtfKind::Fwd:
            out.target = target.kind_flag() ? KfuncType::Target::Union : KfuncType::Target::Struct;
            break;
        case BtfKind::Ptr: out.target = KfuncType::Target::Pointer; break;
        case BtfKind::FuncProto: out.target = KfuncType::Target::Function; break;
        default: out.target = KfuncType::Target::Scalar; break;
    }
    if (target.is(BtfKind::Int)) out.is_signed = target.int_info().is_signed;
}

KfuncType type_of(const Btf& btf, uint32_t id) {
    KfuncType out;
    const BtfType type = btf.resolved(id);
    if (type.is(BtfKind::Void)) return out;
    if (type.is(BtfKind::Ptr)) {
        out.kind = KfuncType::Kind::Pointer;
        describe_target(btf, type.type(), out);
        return out;
    }
    const bool scalar = type.is(BtfKind::Int) || type.is_any_enum();
    out.kind = scalar ? KfuncType::Kind::Scalar : KfuncType::Kind::Other;
    out.size = btf.size_of(id).value_or(0);
    out.name = type.name();
    if (type.is(BtfKind::Int)) out.is_signed = type.int_info().is_signed;
    return out;
}

}  // namespace

std::span<const Kfunc> kfuncs() { return kKfuncs; }

const Kfunc* find_kfunc(std::string_view name) {
    name = essential_name(name);
    const auto* found =
        std::ranges::lower_bound(kByName, name, {}, [](uint16_t i) { return kKfuncs[i].name; });
    if (found == kByName.end() || kKfuncs[*found].name != name) return nullptr;
    return &kKfuncs[*found];
}

bool kfunc_allowed(const Kfunc& kfunc, const ProgType& type, uint32_t attach_type) {
    if ((kfunc.types & type.groups) == 0) return type.kind == ProgKind::Ext;
    const auto attach = static_cast<AttachType>(attach_type);
    if (kfunc.has(kIterPrograms)) return attach == AttachType::TraceIter;
    if (kfunc.has(kSession))
        return attach == AttachType::TraceKprobeSession || attach == AttachType::TraceUprobeSession;
    return true;
}

bool names_kernel_objects(const Kfunc& kfunc) {
    static constexpr std::string_view kTypes[] = {
        "task_struct", "cgroup", "cpumask", "struct sock ", "tcp_sock", "nf_conn", "file", "path"};
    if (kfunc.special == KfuncSpecial::CastToKernCtx) return true;
    return std::ranges::any_of(kTypes, [&](std::string_view type) {
        return kfunc.result.contains(type) || kfunc.parameters.contains(type);
    });
}

bool makes_objects(const Kfunc& kfunc) {
    if (kfunc.special >= KfuncSpecial::ObjNew && kfunc.special < KfuncSpecial::ArenaAlloc)
        return true;
    return kfunc.name.starts_with("bpf_cpumask_") || kfunc.name.contains("_ct_") ||
           kfunc.name.contains("_key");
}

const Helper& unsupported_kfunc() { return kUnsupported; }

KfuncProto kfunc_proto(const Kfunc& kfunc) {
    KfuncProto proto;
    proto.result = c_type(kfunc.result);
    std::string_view rest = kfunc.parameters;
    while (rest != "void" && !rest.empty()) {
        const size_t comma = std::min(rest.find(','), rest.size());
        const std::string_view one = trimmed(rest.substr(0, comma));
        rest = comma == rest.size() ? std::string_view{} : trimmed(rest.substr(comma + 1));
        const size_t space = one.rfind(' ');
        KfuncParam param;
        param.name = one.substr(space + 1);
        param.type = c_type(one.substr(0, space));
        proto.params.push_back(std::move(param));
    }
    return proto;
}

std::optional<KfuncProto> kfunc_proto(const Btf& btf, uint32_t func) {
    const BtfType type = btf.type(func);
    if (!type.is(BtfKind::Func)) return std::nullopt;
    const BtfType wire = btf.type(type.type());
    if (!wire.is(BtfKind::FuncProto) || wire.count() > 5) return std::nullopt;
    KfuncProto proto;
    proto.result = type_of(btf, wire.type());
    for (uint32_t i = 0; i < wire.count(); ++i) {
        const BtfParam param = wire.param(i);
        if (param.type == 0) return std::nullopt;  // variadic
        proto.params.push_back({type_of(btf, param.type), std::string(param.name)});
    }
    return proto;
}

std::span<const IteratorKind> iterator_kinds() { return kIterators; }

int find_iterator_kind(std::string_view structure) {
    for (size_t i = 0; i < std::size(kIterators); ++i)
        if (kIterators[i].name == structure) return static_cast<int>(i);
    return -1;
}

}  // namespace skep
