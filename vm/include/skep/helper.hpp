// Helpers: C++ functions that programs call by number. The signature of the function *is* the
// prototype that the verifier checks and that the sandbox's dispatcher translates by; the two
// cannot disagree.
//
//   long my_hash(skep::ReadMem bytes, uint64_t seed) noexcept;
//   vm.add(skep::make_helper<&my_hash>(1000, "my_hash"));
//
// A program passes at most five registers; a ReadMem or WriteMem takes two (pointer, size). What a
// function receives has been checked: memory is readable or writable over its whole size, maps
// belong to the program, pointers are null only where the type says so. Values written by other
// threads may change while a helper looks at them.
//
// Functions may take a HelperEnv& first. They run on the program's thread, should not block, and
// may throw: the run then ends with Trap HostException.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include <skep/error.hpp>

namespace skep {

class Callable;
class Map;
struct HelperEnv;

// --- prototypes as data -------------------------------------------------------------------------

// What one register must hold.
enum class ArgKind : uint8_t {
    None,           // not an argument
    Anything,       // any initialised value
    Map,            // a map of the program
    MapKey,         // readable memory of the map argument's key size
    MapValue,       // memory of the map argument's value size
    Memory,         // memory whose size is the next register
    Size,           // that size
    FixedMemory,    // memory of ArgSpec::size bytes
    AllocSize,      // a constant: size of the memory that the helper returns
    Ctx,            // the program's context
    Callback,       // a subprogram; ArgSpec::callback says how it is called
    CallbackCtx,    // handed to the callback as it is: stack pointer or null
    ConstString,    // NUL-terminated string in a frozen map
    SpinLock,       // a bpf_spin_lock in a map value
    Timer,          // a bpf_timer in a map value
    KptrSlot,       // a kptr field of a map value
    SockCommon,     // any socket pointer that programs get (bpf_sock, tcp_sock, sock_common)
    Socket,         // a full socket
    BtfSockCommon,  // any of these, or a BTF pointer to a socket
    BtfObject,      // a BTF pointer to ArgSpec::object
    PercpuBtf,      // a per-CPU kernel variable
    RingbufRecord,  // memory that a ring buffer reservation returned
    Dynptr,         // a bpf_dynptr on the stack
    StackObject,    // an iterator or saved interrupt state on the stack, ArgSpec::size bytes
};

// Properties of a pointer argument.
namespace arg_flag {
inline constexpr uint8_t kNullable = 1u << 0;
inline constexpr uint8_t kWrite = 1u << 1;          // the helper writes it
inline constexpr uint8_t kUninit = 1u << 2;         // need not be initialised; fully written
inline constexpr uint8_t kZeroAllowed = 1u << 3;    // Size: may be zero
inline constexpr uint8_t kRelease = 1u << 4;        // gives the reference up
inline constexpr uint8_t kAligned = 1u << 5;        // FixedMemory: naturally aligned
inline constexpr uint8_t kRingbufDynptr = 1u << 6;  // Dynptr: over a ring buffer reservation
inline constexpr uint8_t kLocalDynptr = 1u << 7;    // Dynptr: over memory of the program
}  // namespace arg_flag

// Kernel objects that arguments and results name by BTF.
enum class ObjectKind : uint8_t {
    None,
    Task,
    File,
    Inode,
    Path,
    Cgroup,
    SeqFile,
    Skb,
    XdpBuff,
    LinuxBinprm,
    PtRegs,
    Sock,
    SockCommon,
    Tcp6Sock,
    TcpSock,
    TcpTimewaitSock,
    TcpRequestSock,
    Udp6Sock,
    UnixSock,
    MptcpSock,
    Socket,
    Kptr,
};

// How a helper calls a callback; every callback gets the CallbackCtx argument too.
enum class CallbackKind : uint8_t {
    None,
    Loop,         // (index, ctx)
    ForEach,      // (map, key, value, ctx)
    Timer,        // (map, key, value)
    FindVma,      // (task, vma, ctx)
    UserRingbuf,  // (dynptr, ctx)
    Workqueue,    // (map, key, value)
    Less,         // (node, node): whether the first comes before the second
};

struct ArgSpec {
    ArgKind kind = ArgKind::None;
    uint8_t flags = 0;  // arg_flag
    uint16_t size = 0;  // FixedMemory: bytes
    ObjectKind object = ObjectKind::None;
    CallbackKind callback = CallbackKind::None;

    constexpr bool has(uint8_t flag) const { return (flags & flag) != 0; }
    constexpr bool operator==(const ArgSpec&) const = default;
};

enum class RetKind : uint8_t {
    Scalar,
    Void,      // r0 is unreadable afterwards
    MapValue,  // value of the map argument, never null
    MapValueOrNull,
    SocketOrNull,
    TcpSockOrNull,
    SockCommonOrNull,
    AllocMemOrNull,   // memory of the AllocSize argument's size
    DynptrMemOrNull,  // the same, inside a dynptr
    BtfObject,        // HelperProto::ret_object
    BtfObjectOrNull,
    PercpuMem,  // per-CPU copy of a PercpuBtf argument
    PercpuMemOrNull,
};

struct HelperProto {
    RetKind ret = RetKind::Scalar;
    ObjectKind ret_object = ObjectKind::None;
    uint8_t count = 0;  // registers used
    ArgSpec args[5];

    constexpr bool operator==(const HelperProto&) const = default;
};

// What else a caller or the verifier must know.
namespace helper_flag {
inline constexpr uint32_t kGplOnly = 1u << 0;
inline constexpr uint32_t kPacketArgs = 1u << 1;     // packet memory may be a memory argument
inline constexpr uint32_t kChangesPacket = 1u << 2;  // packet pointers are stale afterwards
inline constexpr uint32_t kMaySleep = 1u << 3;       // only in sleepable programs
inline constexpr uint32_t kAcquires = 1u << 4;       // the result is a reference to release
inline constexpr uint32_t kBoundedResult = 1u << 5;  // result <= the size argument, or an errno
inline constexpr uint32_t kKernelOnly = 1u << 6;     // known, but traps Unsupported when reached
inline constexpr uint32_t kTailCall = 1u << 7;       // executed by the engine itself
inline constexpr uint32_t kNeedsExpectedAttach = 1u << 8;  // see helper_allowed()
}  // namespace helper_flag

using HelperThunk = uint64_t (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, HelperEnv*);

inline constexpr uint64_t kAllProgramTypes = ~uint64_t{0};

struct Helper {
    uint32_t id = 0;
    std::string_view name;  // without "bpf_"
    HelperProto proto;
    HelperThunk thunk = nullptr;
    uint64_t types = kAllProgramTypes;  // program types that may call it: bits of ProgType::groups
    uint32_t flags = 0;                 // helper_flag
    std::string_view summary;           // one line
};

// --- argument types -----------------------------------------------------------------------------

struct MapArg {
    Map* map;
    Map* operator->() const { return map; }
};
struct MapKey {
    const std::byte* data;
};
struct MapValue {
    const std::byte* data;
};
struct MapValueOrNull {
    const std::byte* data;
};
// Written in full.
struct MapValueOut {
    std::byte* data;
};

// Memory and its size, two registers.
template <uint8_t kPointerFlags, uint8_t kSizeFlags>
struct Mem {
    static constexpr bool kWritten = (kPointerFlags & arg_flag::kWrite) != 0;
    using Byte = std::conditional_t<kWritten, std::byte, const std::byte>;
    Byte* data;
    uint64_t size;
};
using ReadMem = Mem<0, 0>;                              // at least one byte
using ReadMemOrEmpty = Mem<0, arg_flag::kZeroAllowed>;  // never null, may be empty
using ReadMemOrNull = Mem<arg_flag::kNullable, arg_flag::kZeroAllowed>;
using WriteMem = Mem<arg_flag::kWrite | arg_flag::kUninit, 0>;  // written in full, also on error
using WriteMemOrEmpty = Mem<arg_flag::kWrite | arg_flag::kUninit, arg_flag::kZeroAllowed>;
using WriteMemOrNull = Mem<arg_flag::kWrite | arg_flag::kNullable, arg_flag::kZeroAllowed>;
using ReadWriteMem = Mem<arg_flag::kWrite, 0>;  // initialised, and written
using ReadWriteMemOrEmpty = Mem<arg_flag::kWrite, arg_flag::kZeroAllowed>;

// Aligned; always written.
template <class T>
struct Out {
    T* value;
};
// Aligned, initialised; may be written.
template <class T>
struct InOut {
    T* value;
};
template <size_t kSize>
struct FixedIn {
    const std::byte* data;
};

// NUL-terminated, constant.
struct ConstStr {
    const char* text;
};
struct CtxArg {
    void* host;  // the host struct of the program type
    template <class T>
    T& as() const {
        return *static_cast<T*>(host);
    }
};
struct CtxOrNull {
    void* host;
};
template <CallbackKind>
struct Callback {
    const Callable* target;
};
// Opaque: what the callback gets.
struct CallbackCtx {
    uint64_t value;
};
struct AllocSize {
    uint64_t value;
};
struct SpinLockArg {
    std::byte* field;
};
struct TimerArg {
    std::byte* field;
};
struct KptrSlot {
    std::byte* field;
};
struct SockCommonArg {
    void* object;
};
struct SocketOrNull {
    void* object;
};
struct BtfSockCommon {
    void* object;
};
struct BtfSockCommonOrNull {
    void* object;
};
struct ReleasedSock {
    void* object;
};
template <ObjectKind>
struct BtfArg {
    void* object;
};
template <ObjectKind>
struct BtfOrNull {
    void* object;
};
struct ReleasedKptrOrNull {
    void* object;
};
struct PercpuBtf {
    void* object;
};
struct ReleasedRecord {
    std::byte* data;
};
template <uint16_t kBytes>
struct StackObject {
    std::byte* data;
};
template <uint8_t kFlags>
struct DynptrArg {
    std::byte* dynptr;
};
using AnyDynptr = DynptrArg<0>;
using NewDynptr = DynptrArg<arg_flag::kWrite | arg_flag::kUninit>;
using NewLocalDynptr = DynptrArg<arg_flag::kWrite | arg_flag::kUninit | arg_flag::kLocalDynptr>;
using NewRingbufDynptr = DynptrArg<arg_flag::kWrite | arg_flag::kUninit | arg_flag::kRingbufDynptr>;
using ReleasedRingbufDynptr = DynptrArg<arg_flag::kRelease | arg_flag::kRingbufDynptr>;

// --- result types -------------------------------------------------------------------------------
// Besides integers and void.

// Or null.
struct MapValueResult {
    std::byte* data;
};
struct MapValueNonNull {
    std::byte* data;
};
// Or null.
struct SocketResult {
    void* object;
};
// Or null.
struct TcpSockResult {
    void* object;
};
// Or null.
struct SockCommonResult {
    void* object;
};
// Or null.
struct AllocMemResult {
    std::byte* data;
};
// Or null.
struct DynptrMemResult {
    std::byte* data;
};
template <ObjectKind>
struct BtfResult {
    void* object;
};
template <ObjectKind>
struct BtfResultOrNull {
    void* object;
};
struct PercpuResult {
    void* object;
};
struct PercpuResultOrNull {
    void* object;
};

// --- what a helper may ask of its run -----------------------------------------------------------

void* helper_user(HelperEnv& env) noexcept;                   // VmOptions::user
unsigned helper_cpu(HelperEnv& env) noexcept;                 // the run's CPU slot
bool helper_charge(HelperEnv& env, uint64_t units) noexcept;  // false: out of fuel, return at once
void helper_fail(HelperEnv& env, TrapCode code) noexcept;     // the run ends after the return

// --- from signature to prototype and thunk ------------------------------------------------------

namespace detail {

template <class T>
T* to_pointer(uint64_t value) {
    return reinterpret_cast<T*>(static_cast<uintptr_t>(value));
}

// How a type is passed: `specs` per register, `make` from the register values.
template <class T>
struct Arg;

template <class T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>)
struct Arg<T> {
    static constexpr ArgSpec specs[] = {{ArgKind::Anything}};
    static T make(const uint64_t* r) { return static_cast<T>(r[0]); }
};

// A struct of one pointer.
template <class T, class Pointee, ArgKind kKind, uint8_t kFlags = 0, uint16_t kSize = 0,
          ObjectKind kObject = ObjectKind::None>
struct PointerArg {
    static constexpr ArgSpec specs[] = {{kKind, kFlags, kSize, kObject}};
    static T make(const uint64_t* r) { return T{to_pointer<Pointee>(r[0])}; }
};

using std::byte;
namespace af = arg_flag;
template <>
struct Arg<MapArg> : PointerArg<MapArg, Map, ArgKind::Map> {};
template <>
struct Arg<MapKey> : PointerArg<MapKey, const byte, ArgKind::MapKey> {};
template <>
struct Arg<MapValue> : PointerArg<MapValue, const byte, ArgKind::MapValue> {};
template <>
struct Arg<MapValueOrNull>
    : PointerArg<MapValueOrNull, const byte, ArgKind::MapValue, af::kNullable> {};
template <>
struct Arg<MapValueOut>
    : PointerArg<MapValueOut, byte, ArgKind::MapValue, af::kWrite | af::kUninit> {};
template <class T>
struct Arg<Out<T>> : PointerArg<Out<T>, T, ArgKind::FixedMemory,
                                af::kWrite | af::kUninit | af::kAligned, sizeof(T)> {};
template <class T>
struct Arg<InOut<T>>
    : PointerArg<InOut<T>, T, ArgKind::FixedMemory, af::kWrite | af::kAligned, sizeof(T)> {};
template <size_t kSize>
struct Arg<FixedIn<kSize>>
    : PointerArg<FixedIn<kSize>, const byte, ArgKind::FixedMemory, 0, kSize> {};
template <>
struct Arg<ConstStr> : PointerArg<ConstStr, const char, ArgKind::ConstString> {};
template <>
struct Arg<CtxArg> : PointerArg<CtxArg, void, ArgKind::Ctx> {};
template <>
struct Arg<CtxOrNull> : PointerArg<CtxOrNull, void, ArgKind::Ctx, af::kNullable> {};
template <>
struct Arg<SpinLockArg> : PointerArg<SpinLockArg, byte, ArgKind::SpinLock> {};
template <>
struct Arg<TimerArg> : PointerArg<TimerArg, byte, ArgKind::Timer> {};
template <>
struct Arg<KptrSlot> : PointerArg<KptrSlot, byte, ArgKind::KptrSlot> {};
template <>
struct Arg<SockCommonArg> : PointerArg<SockCommonArg, void, ArgKind::SockCommon> {};
template <>
struct Arg<SocketOrNull> : PointerArg<SocketOrNull, void, ArgKind::Socket, af::kNullable> {};
template <>
struct Arg<BtfSockCommon> : PointerArg<BtfSockCommon, void, ArgKind::BtfSockCommon> {};
template <>
struct Arg<BtfSockCommonOrNull>
    : PointerArg<BtfSockCommonOrNull, void, ArgKind::BtfSockCommon, af::kNullable> {};
template <>
struct Arg<ReleasedSock> : PointerArg<ReleasedSock, void, ArgKind::BtfSockCommon, af::kRelease> {};
template <ObjectKind kObject>
struct Arg<BtfArg<kObject>> : PointerArg<BtfArg<kObject>, void, ArgKind::BtfObject, 0, 0, kObject> {
};
template <ObjectKind kObject>
struct Arg<BtfOrNull<kObject>>
    : PointerArg<BtfOrNull<kObject>, void, ArgKind::BtfObject, af::kNullable, 0, kObject> {};
template <>
struct Arg<ReleasedKptrOrNull> : PointerArg<ReleasedKptrOrNull, void, ArgKind::BtfObject,
                                            af::kNullable | af::kRelease, 0, ObjectKind::Kptr> {};
template <>
struct Arg<PercpuBtf> : PointerArg<PercpuBtf, void, ArgKind::PercpuBtf> {};
template <>
struct Arg<ReleasedRecord>
    : PointerArg<ReleasedRecord, byte, ArgKind::RingbufRecord, af::kRelease> {};
template <uint8_t kFlags>
struct Arg<DynptrArg<kFlags>> : PointerArg<DynptrArg<kFlags>, byte, ArgKind::Dynptr, kFlags> {};

template <uint16_t kBytes>
struct Arg<StackObject<kBytes>>
    : PointerArg<StackObject<kBytes>, byte, ArgKind::StackObject, af::kWrite, kBytes> {};

template <uint8_t kPointerFlags, uint8_t kSizeFlags>
struct Arg<Mem<kPointerFlags, kSizeFlags>> {
    using T = Mem<kPointerFlags, kSizeFlags>;
    static constexpr ArgSpec specs[] = {{ArgKind::Memory, kPointerFlags},
                                        {ArgKind::Size, kSizeFlags}};
    // Linux takes sizes as 32-bit values once the verifier has bounded them.
    static T make(const uint64_t* r) { return T{to_pointer<typename T::Byte>(r[0]), r[1]}; }
};
template <CallbackKind kCallback>
struct Arg<Callback<kCallback>> {
    static constexpr ArgSpec specs[] = {{ArgKind::Callback, 0, 0, ObjectKind::None, kCallback}};
    static Callback<kCallback> make(const uint64_t* r) {
        return {to_pointer<const Callable>(r[0])};
    }
};
template <>
struct Arg<CallbackCtx> {
    static constexpr ArgSpec specs[] = {{ArgKind::CallbackCtx, af::kNullable}};
    static CallbackCtx make(const uint64_t* r) { return {r[0]}; }
};
template <>
struct Arg<AllocSize> {
    static constexpr ArgSpec specs[] = {{ArgKind::AllocSize, af::kZeroAllowed}};
    static AllocSize make(const uint64_t* r) { return {r[0]}; }
};

// What a result type says, and its register value.
template <class T>
struct Ret;
template <class T>
    requires(std::is_integral_v<T> || std::is_enum_v<T>)
struct Ret<T> {
    static constexpr RetKind kind = RetKind::Scalar;
    static constexpr ObjectKind object = ObjectKind::None;
    // Signed results are sign-extended: programs compare 64-bit registers with negative errno.
    static uint64_t value(T result) { return static_cast<uint64_t>(result); }
};
template <>
struct Ret<void> {
    static constexpr RetKind kind = RetKind::Void;
    static constexpr ObjectKind object = ObjectKind::None;
};
template <class T, RetKind kKind, ObjectKind kObject = ObjectKind::None>
struct PointerRet {
    static constexpr RetKind kind = kKind;
    static constexpr ObjectKind object = kObject;
    static uint64_t value(T result) {
        const auto& [pointer] = result;
        return reinterpret_cast<uintptr_t>(pointer);
    }
};
template <>
struct Ret<MapValueResult> : PointerRet<MapValueResult, RetKind::MapValueOrNull> {};
template <>
struct Ret<MapValueNonNull> : PointerRet<MapValueNonNull, RetKind::MapValue> {};
template <>
struct Ret<SocketResult> : PointerRet<SocketResult, RetKind::SocketOrNull> {};
template <>
struct Ret<TcpSockResult> : PointerRet<TcpSockResult, RetKind::TcpSockOrNull> {};
template <>
struct Ret<SockCommonResult> : PointerRet<SockCommonResult, RetKind::SockCommonOrNull> {};
template <>
struct Ret<AllocMemResult> : PointerRet<AllocMemResult, RetKind::AllocMemOrNull> {};
template <>
struct Ret<DynptrMemResult> : PointerRet<DynptrMemResult, RetKind::DynptrMemOrNull> {};
template <ObjectKind kObject>
struct Ret<BtfResult<kObject>> : PointerRet<BtfResult<kObject>, RetKind::BtfObject, kObject> {};
template <ObjectKind kObject>
struct Ret<BtfResultOrNull<kObject>>
    : PointerRet<BtfResultOrNull<kObject>, RetKind::BtfObjectOrNull, kObject> {};
template <>
struct Ret<PercpuResult> : PointerRet<PercpuResult, RetKind::PercpuMem> {};
template <>
struct Ret<PercpuResultOrNull> : PointerRet<PercpuResultOrNull, RetKind::PercpuMemOrNull> {};

template <class... Args>
struct Signature {
    static constexpr size_t kRegisters = (size_t{0} + ... + std::size(Arg<Args>::specs));
    static_assert(kRegisters <= 5, "a helper takes at most five registers (memory takes two)");

    // First register of the i-th argument.
    template <size_t kIndex>
    static constexpr size_t offset() {
        constexpr size_t sizes[] = {std::size(Arg<Args>::specs)..., 0};
        size_t sum = 0;
        for (size_t i = 0; i < kIndex; ++i) sum += sizes[i];
        return sum;
    }

    static constexpr void append(std::span<const ArgSpec> specs, HelperProto& to, size_t& next) {
        for (const ArgSpec& spec : specs) to.args[next++] = spec;
    }

    static constexpr HelperProto proto(RetKind ret, ObjectKind object) {
        HelperProto result;
        result.ret = ret;
        result.ret_object = object;
        result.count = kRegisters;
        [[maybe_unused]] size_t next = 0;
        (append(Arg<Args>::specs, result, next), ...);
        return result;
    }

    template <class Function, class... First>
    static decltype(auto) call(Function function, const uint64_t* registers, First&... first) {
        return [&]<size_t... kIndex>(std::index_sequence<kIndex...>) -> decltype(auto) {
            return function(first..., Arg<Args>::make(registers + offset<kIndex>())...);
        }(std::index_sequence_for<Args...>{});
    }
};

template <class T>
struct Function;
template <class R, bool kNoexcept, class... Args>
struct Function<R (*)(Args...) noexcept(kNoexcept)> {
    using Result = R;
    using Sig = Signature<Args...>;
    static constexpr bool kTakesEnv = false;
    static constexpr bool kNothrow = kNoexcept;
};
template <class R, bool kNoexcept, class... Args>
struct Function<R (*)(HelperEnv&, Args...) noexcept(kNoexcept)> {
    using Result = R;
    using Sig = Signature<Args...>;
    static constexpr bool kTakesEnv = true;
    static constexpr bool kNothrow = kNoexcept;
};

template <auto kFunction>
uint64_t invoke(const uint64_t* registers, HelperEnv& env) {
    using F = Function<decltype(kFunction)>;
    using R = typename F::Result;
    const auto call = [&]() -> R {
        if constexpr (F::kTakesEnv) {
            return F::Sig::call(kFunction, registers, env);
        } else {
            (void)env;
            return F::Sig::call(kFunction, registers);
        }
    };
    if constexpr (std::is_void_v<R>) {
        call();
        return 0;
    } else {
        return Ret<R>::value(call());
    }
}

// The sixth argument is the environment, so that a native call moves nothing but one register.
template <auto kFunction>
uint64_t thunk(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
               HelperEnv* env) noexcept {
    const uint64_t registers[5] = {r1, r2, r3, r4, r5};
    if constexpr (Function<decltype(kFunction)>::kNothrow) {
        return invoke<kFunction>(registers, *env);
    } else {
        try {
            return invoke<kFunction>(registers, *env);
        } catch (...) {
            helper_fail(*env, TrapCode::HostException);
            return 0;
        }
    }
}

}  // namespace detail

// The prototype that a function's signature says.
template <auto kFunction>
inline constexpr HelperProto kProtoOf = detail::Function<decltype(kFunction)>::Sig::proto(
    detail::Ret<typename detail::Function<decltype(kFunction)>::Result>::kind,
    detail::Ret<typename detail::Function<decltype(kFunction)>::Result>::object);

// A helper from a function. `types`: the program types that may call it. Numbers up to 211 are
// Linux's; hosts use numbers from 1000 on.
template <auto kFunction>
constexpr Helper make_helper(uint32_t id, std::string_view name, uint64_t types = kAllProgramTypes,
                             uint32_t flags = 0, std::string_view summary = {}) {
    return {id, name, kProtoOf<kFunction>, &detail::thunk<kFunction>, types, flags, summary};
}

// A function that programs call by name (Vm::add_kfunc).
template <auto kFunction>
constexpr Helper make_kfunc(std::string_view name, uint64_t types = kAllProgramTypes,
                            uint32_t flags = 0, std::string_view summary = {}) {
    return make_helper<kFunction>(0, name, types, flags, summary);
}

}  // namespace skep
