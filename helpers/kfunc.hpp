// Kernel functions (kfuncs): what Linux lets programs call by name, with prototypes in BTF instead
// of numbers. The rows are in kfuncs.def; which of them run here, in kfuncs_run.def.
//
// A prototype comes from the target's BTF if there is one, else from the table; both give a
// KfuncProto, so that the verifier does not know the difference.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <skep/helper.hpp>

#include "vm/prog/prog_type.hpp"

namespace skep {

class Btf;

// How the kernel registered a function.
namespace kfunc_flag {
inline constexpr uint32_t kAcquire = 1u << 0;       // the result must be released
inline constexpr uint32_t kRelease = 1u << 1;       // gives up the reference that it is given
inline constexpr uint32_t kRetNull = 1u << 2;       // the result may be null
inline constexpr uint32_t kTrustedArgs = 1u << 3;   // objects must be trusted
inline constexpr uint32_t kRcu = 1u << 4;           // objects must be trusted, or under RCU
inline constexpr uint32_t kRcuProtected = 1u << 5;  // callers are in an RCU section
inline constexpr uint32_t kSleepable = 1u << 6;     // may sleep
inline constexpr uint32_t kDestructive = 1u << 7;
inline constexpr uint32_t kFastcall = 1u << 8;
inline constexpr uint32_t kIterNew = 1u << 9, kIterNext = 1u << 10, kIterDestroy = 1u << 11;
inline constexpr uint32_t kSpinAllowed = 1u << 12;      // may be called while a lock is held
inline constexpr uint32_t kDeviceBound = 1u << 13;      // programs bound to a device only
inline constexpr uint32_t kIterPrograms = 1u << 14;     // BPF iterators only
inline constexpr uint32_t kSession = 1u << 15;          // session probes only
inline constexpr uint32_t kUntrustedResult = 1u << 16;  // what it returns is not to be relied on
inline constexpr uint32_t kChangesPacket = 1u << 17;    // packet pointers are stale afterwards
}  // namespace kfunc_flag

// Functions whose rules go beyond their prototype.
enum class KfuncSpecial : uint8_t {
    None,
    Trap,
    RcuLock,
    RcuUnlock,
    PreemptDisable,
    PreemptEnable,
    IrqSave,
    IrqRestore,
    Throw,
    CastToKernCtx,
    RdonlyCast,
    DynptrFromSkb,
    DynptrFromXdp,
    DynptrFromSkbMeta,
    DynptrSlice,
    DynptrSliceRdwr,
    DynptrClone,
    ResLock,
    ResUnlock,
    ResLockIrqsave,
    ResUnlockIrqrestore,
    WqSetCallback,
    TaskWork,
    ObjNew,
    ObjDrop,
    PercpuObjNew,
    PercpuObjDrop,
    RefcountAcquire,
    ListPush,
    ListPop,
    ListPeek,
    RbtreeAdd,
    RbtreeRemove,
    RbtreeRoot,
    RbtreeChild,
    ArenaAlloc,
    ArenaFree,
    ArenaReserve,
};

struct Kfunc {
    std::string_view name;
    uint64_t types = 0;  // bits of ProgType::groups
    uint32_t flags = 0;  // kfunc_flag
    KfuncSpecial special = KfuncSpecial::None;
    std::string_view result, parameters;  // C, see kfuncs.def
    // What runs it: null if nothing does. Its prototype is what a sandbox checks by; its `id` is
    // not a helper's number.
    const Helper* run = nullptr;

    constexpr bool has(uint32_t flag) const { return (flags & flag) != 0; }
};

std::span<const Kfunc> kfuncs();
// By name up to a flavor ("bpf_task_acquire___one"); null if Linux 6.18 has no such function.
const Kfunc* find_kfunc(std::string_view name);
// Whether programs of this type and attach type may call it.
bool kfunc_allowed(const Kfunc& kfunc, const ProgType& type, uint32_t attach_type);
// Whether it deals in objects of the kernel's that the synthetic ones stand for.
bool names_kernel_objects(const Kfunc& kfunc);
// Whether what it makes or works on lies in the Vm's heap of objects.
bool makes_objects(const Kfunc& kfunc);
// Traps Unsupported: for functions that nothing runs.
const Helper& unsupported_kfunc();

// --- prototypes ---------------------------------------------------------------------------------

struct KfuncType {
    enum class Kind : uint8_t {
        Void,
        Scalar,
        Pointer,
        Other,  // by value, and not a scalar
    };
    enum class Target : uint8_t { None, Void, Scalar, Struct, Union, Function, Pointer };
    Kind kind = Kind::Void;
    Target target = Target::None;  // of a pointer
    bool is_signed = false;
    uint32_t size = 0;    // bytes of a scalar, or of what a pointer points to; 0 = not known
    std::string name;     // of the struct, union or scalar
    uint32_t btf_id = 0;  // of what a pointer points to, if the prototype came from BTF
    bool operator==(const KfuncType&) const = default;
};

struct KfuncParam {
    KfuncType type;
    std::string name;
    bool has_suffix(std::string_view suffix) const { return name.ends_with(suffix); }
    bool is_pointer_to(std::string_view structure) const {
        return type.kind == KfuncType::Kind::Pointer && type.target == KfuncType::Target::Struct &&
               type.name == structure;
    }
};

struct KfuncProto {
    KfuncType result;
    std::vector<KfuncParam> params;  // at most 5
};

// The table's.
KfuncProto kfunc_proto(const Kfunc& kfunc);
// The one of the FUNC `id`; nothing if it has more parameters than registers.
std::optional<KfuncProto> kfunc_proto(const Btf& btf, uint32_t func);

// --- iterators ----------------------------------------------------------------------------------

struct IteratorKind {
    std::string_view name;  // "bpf_iter_NAME"
    uint32_t bytes = 0;
};
std::span<const IteratorKind> iterator_kinds();
// The index of "bpf_iter_NAME", or -1.
int find_iterator_kind(std::string_view structure);

}  // namespace skep
