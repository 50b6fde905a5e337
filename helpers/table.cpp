// The helper table, built from helpers.def at compile time.
#include "helpers/table.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include <skep/services.hpp>

#include "helpers/impl.hpp"
#include "helpers/type_sets.hpp"

namespace skep {

namespace {

using namespace type_set;     // NOLINT: the vocabulary of the table's columns
using namespace helper_flag;  // NOLINT

// The prototype of a function type, for helpers that have no function.
template <class T>
struct Prototype;
template <class R, class... Args>
struct Prototype<R(Args...)> {
    static constexpr HelperProto value =
        detail::Signature<Args...>::proto(detail::Ret<R>::kind, detail::Ret<R>::object);
};

// What exists only inside a kernel: the host may serve it, else the run ends.
uint64_t ask_host(const Helper& helper, const uint64_t (&args)[5], HelperEnv& env) noexcept;
template <class Function, uint32_t kId>
uint64_t kernel_only(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                     HelperEnv* env) noexcept {
    const Helper* row = find_helper(kId);
    while (!(row->proto == Prototype<Function>::value)) ++row;
    return ask_host(*row, {r1, r2, r3, r4, r5}, *env);
}

constexpr Helper kHelpers[] = {
#define SKEP_HELPER(id, name, result, params, types, flags, summary)                  \
    make_helper<static_cast<result(*) SKEP_WITH_ENV params noexcept>(&helper::name)>( \
        id, #name, types, flags, summary),
#define SKEP_KERNEL_HELPER(id, name, result, params, types, flags, summary) \
    Helper{id,                                                              \
           #name,                                                           \
           Prototype<result params>::value,                                 \
           &kernel_only<result params, id>,                                 \
           types,                                                           \
           (flags) | kKernelOnly,                                           \
           summary},
#include "helpers/helpers.def"
};

uint64_t ask_host(const Helper& helper, const uint64_t (&args)[5], HelperEnv& env) noexcept {
    const RetKind ret = helper.proto.ret;
    const bool plain = ret == RetKind::Scalar || ret == RetKind::Void ||
                       ret == RetKind::BtfObject || ret == RetKind::BtfObjectOrNull;
    if (!plain || env.services == nullptr || !env.services->helper) {
        env.fail(TrapCode::Unsupported);
        return 0;
    }
    const std::string name = "bpf_" + std::string(helper.name);
    HelperCall call;
    call.helper = name;
    call.context = env.ctx;
    std::copy(args, args + 5, call.args);
    for (unsigned i = 0; i + 1 < helper.proto.count; ++i) {
        const ArgSpec& arg = helper.proto.args[i];
        if (arg.kind != ArgKind::Memory || args[i] == 0) continue;
        auto* memory = reinterpret_cast<std::byte*>(static_cast<uintptr_t>(args[i]));
        if (!arg.has(arg_flag::kWrite)) {
            call.in = {memory, args[i + 1]};
            continue;
        }
        call.out = {memory, args[i + 1]};
        if (arg.has(arg_flag::kUninit)) std::memset(memory, 0, args[i + 1]);
    }
    const std::optional<int64_t> result = env.services->helper(call);
    if (!result) env.fail(TrapCode::Unsupported);
    return static_cast<uint64_t>(result.value_or(0));
}

constexpr bool is_sorted_and_complete() {
    uint32_t last = 0;
    for (const Helper& row : kHelpers) {
        if (row.id != last && row.id != last + 1) return false;
        last = row.id;
    }
    return last == kLastHelper;
}
static_assert(is_sorted_and_complete(), "helpers.def lists every number, in order");

// Index of the first row of each number.
constexpr auto kFirstRow = [] {
    std::array<uint16_t, kLastHelper + 1> rows{};
    for (size_t i = std::size(kHelpers); i-- > 0;) rows[kHelpers[i].id] = static_cast<uint16_t>(i);
    return rows;
}();

std::string_view describe_ret(RetKind kind) {
    switch (kind) {
        case RetKind::Scalar: return "number";
        case RetKind::Void: return "nothing";
        case RetKind::MapValue: return "map value";
        case RetKind::MapValueOrNull: return "map value or null";
        case RetKind::SocketOrNull: return "socket or null";
        case RetKind::TcpSockOrNull: return "tcp_sock or null";
        case RetKind::SockCommonOrNull: return "sock_common or null";
        case RetKind::AllocMemOrNull: return "memory or null";
        case RetKind::DynptrMemOrNull: return "memory or null";
        case RetKind::BtfObject: return "pointer to ";
        case RetKind::BtfObjectOrNull: return "pointer or null to ";
        case RetKind::PercpuMem: return "per-CPU variable";
        case RetKind::PercpuMemOrNull: return "per-CPU variable or null";
    }
    return "";
}

std::string_view without_prefix(std::string_view name) {
    if (name.starts_with("bpf_")) name.remove_prefix(4);
    return name;
}

}  // namespace

std::span<const Helper> helpers() { return kHelpers; }

const Helper* find_helper(uint32_t id) {
    return id == 0 || id > kLastHelper ? nullptr : &kHelpers[kFirstRow[id]];
}

const Helper* find_helper(uint32_t id, const ProgType& type) {
    const Helper* first = find_helper(id);
    for (const Helper* row = first; row != nullptr && row != std::end(kHelpers) && row->id == id;
         ++row) {
        if ((row->types & type.groups) != 0) return row;
    }
    return first;
}

const Helper* find_helper(std::string_view name) {
    name = without_prefix(name);
    for (const Helper& row : kHelpers) {
        if (row.name == name) return &row;
    }
    return nullptr;
}

bool helper_allowed(const Helper& helper, const ProgType& type, uint32_t attach_type) {
    if ((helper.types & type.groups) == 0) {
        // An extension runs as what it extends, which is not known here.
        return type.kind == ProgKind::Ext;
    }
    if (attach_type == kAnyAttach) return true;
    const auto attach = static_cast<AttachType>(attach_type);
    const std::string_view name = helper.name;
    if (type.kind == ProgKind::CgroupSockAddr) {
        if (name == "bind") {
            return attach == AttachType::CgroupInet4Connect ||
                   attach == AttachType::CgroupInet6Connect;
        }
        if (name == "get_retval" || name == "set_retval") {
            // Hooks that cannot refuse have no return value to change.
            return return_range(type.kind, attach_type).min == 0;
        }
    }
    if (type.kind == ProgKind::CgroupSockopt && (name == "setsockopt" || name == "getsockopt")) {
        return attach == AttachType::CgroupSetsockopt;
    }
    if (type.kind == ProgKind::Tracing && name.starts_with("seq_")) {
        return attach == AttachType::TraceIter;
    }
    if (type.kind == ProgKind::Tracing && (name == "setsockopt" || name == "getsockopt")) {
        return attach == AttachType::TraceIter;
    }
    if (type.kind == ProgKind::Lsm &&
        (name == "get_retval" || name == "set_retval" || name == "get_local_storage" ||
         name == "setsockopt" || name == "getsockopt")) {
        return attach == AttachType::LsmCgroup;
    }
    if (type.kind == ProgKind::Tracing &&
        (name.starts_with("get_func_arg") || name == "get_func_ret")) {
        return attach == AttachType::TraceFentry || attach == AttachType::TraceFexit ||
               attach == AttachType::ModifyReturn;
    }
    if (type.kind == ProgKind::Tracing && name == "get_attach_cookie") {
        return attach != AttachType::TraceIter;
    }
    return true;
}

std::string_view object_name(ObjectKind kind) {
    switch (kind) {
        case ObjectKind::None: return "";
        case ObjectKind::Task: return "task_struct";
        case ObjectKind::File: return "file";
        case ObjectKind::Inode: return "inode";
        case ObjectKind::Path: return "path";
        case ObjectKind::Cgroup: return "cgroup";
        case ObjectKind::SeqFile: return "seq_file";
        case ObjectKind::Skb: return "sk_buff";
        case ObjectKind::XdpBuff: return "xdp_buff";
        case ObjectKind::LinuxBinprm: return "linux_binprm";
        case ObjectKind::PtRegs: return "pt_regs";
        case ObjectKind::Sock: return "sock";
        case ObjectKind::SockCommon: return "sock_common";
        case ObjectKind::Tcp6Sock: return "tcp6_sock";
        case ObjectKind::TcpSock: return "tcp_sock";
        case ObjectKind::TcpTimewaitSock: return "tcp_timewait_sock";
        case ObjectKind::TcpRequestSock: return "tcp_request_sock";
        case ObjectKind::Udp6Sock: return "udp6_sock";
        case ObjectKind::UnixSock: return "unix_sock";
        case ObjectKind::MptcpSock: return "mptcp_sock";
        case ObjectKind::Socket: return "socket";
        case ObjectKind::Kptr: return "";
    }
    return "";
}

std::string describe(const ArgSpec& arg) {
    const std::string null = arg.has(arg_flag::kNullable) ? " or null" : "";
    switch (arg.kind) {
        case ArgKind::None: return "nothing";
        case ArgKind::Anything: return "any initialised value";
        case ArgKind::Map: return "a map";
        case ArgKind::MapKey: return "memory of the map's key size" + null;
        case ArgKind::MapValue: return "memory of the map's value size" + null;
        case ArgKind::Memory:
            return (arg.has(arg_flag::kWrite) ? "writable memory" : "readable memory") + null;
        case ArgKind::Size:
            return arg.has(arg_flag::kZeroAllowed)
                       ? "the size of the memory before it"
                       : "the size, above zero, of the memory before it";
        case ArgKind::FixedMemory: return "memory of " + std::to_string(arg.size) + " bytes";
        case ArgKind::AllocSize: return "a constant size";
        case ArgKind::Ctx: return "the context" + null;
        case ArgKind::Callback: return "a function of the program";
        case ArgKind::CallbackCtx: return "a stack pointer or null";
        case ArgKind::ConstString: return "a constant string";
        case ArgKind::SpinLock: return "a bpf_spin_lock in a map value";
        case ArgKind::Timer: return "a bpf_timer in a map value";
        case ArgKind::KptrSlot: return "a kptr field of a map value";
        case ArgKind::SockCommon: return "a socket pointer" + null;
        case ArgKind::Socket: return "a full socket" + null;
        case ArgKind::BtfSockCommon: return "a socket pointer" + null;
        case ArgKind::BtfObject:
            if (arg.object == ObjectKind::Kptr) return "a pointer to the kptr's type" + null;
            return "a pointer to " + std::string(object_name(arg.object)) + null;
        case ArgKind::PercpuBtf: return "a per-CPU variable";
        case ArgKind::RingbufRecord: return "a reserved ring buffer record";
        case ArgKind::Dynptr: return "a dynptr on the stack";
        case ArgKind::StackObject: return "an object on the stack";
    }
    return "";
}

std::string describe(const Helper& helper) {
    std::string text = "bpf_" + std::string(helper.name) + "(";
    for (unsigned i = 0; i < helper.proto.count; ++i) {
        if (i > 0) text += ", ";
        text += describe(helper.proto.args[i]);
    }
    text += ") -> ";
    text += describe_ret(helper.proto.ret);
    if (helper.proto.ret_object != ObjectKind::None) text += object_name(helper.proto.ret_object);
    return text;
}

std::vector<std::string_view> similar_helpers(std::string_view name, size_t count) {
    std::vector<std::string_view> names;
    for (const Helper& row : kHelpers) names.push_back(row.name);
    return similar_names(without_prefix(name), names, count);
}

}  // namespace skep
