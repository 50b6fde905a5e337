// Program types, section names and context layouts: data that the ELF reader, the verifier, the
// lowering, the helpers and the documentation all read. One row per thing; no code per type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace skep {

// Program types by UAPI number; Raw is Skep's own: r1 = memory, r2 = its length.
enum class ProgKind : uint32_t {
    Unspec = 0,
    SocketFilter = 1,
    Kprobe = 2,
    SchedCls = 3,
    SchedAct = 4,
    Tracepoint = 5,
    Xdp = 6,
    PerfEvent = 7,
    CgroupSkb = 8,
    CgroupSock = 9,
    LwtIn = 10,
    LwtOut = 11,
    LwtXmit = 12,
    SockOps = 13,
    SkSkb = 14,
    CgroupDevice = 15,
    SkMsg = 16,
    RawTracepoint = 17,
    CgroupSockAddr = 18,
    LwtSeg6local = 19,
    LircMode2 = 20,
    SkReuseport = 21,
    FlowDissector = 22,
    CgroupSysctl = 23,
    RawTracepointWritable = 24,
    CgroupSockopt = 25,
    Tracing = 26,
    StructOps = 27,
    Ext = 28,
    Lsm = 29,
    SkLookup = 30,
    Syscall = 31,
    Netfilter = 32,
    Raw = 0x10000,
};

// Attach types by UAPI number. None is 0, like the first real one: the number alone does not say
// which, the program type does.
enum class AttachType : uint32_t {
    None = 0,
#define SKEP_ATTACH_TYPE(number, Name, name) Name = number,
#include "vm/prog/attach_types.def"
};
inline constexpr uint32_t kAnyAttach = ~uint32_t{0};

// What a context field means to a program.
enum class CtxFieldKind : uint8_t {
    Scalar,
    PacketStart,  // 4-byte field that loads as a packet pointer
    PacketEnd,
    PacketMeta,
    SocketPtr,  // 8-byte field that loads as a pointer to bpf_sock, may be null
    SockCommonPtr,
    FlowKeysPtr,
    BufferPtr,  // 8-byte pointer whose end is the next field (cgroup sockopt: optval)
    BufferEndPtr,
    BtfPtr,  // typed pointer to an object of the kernel's (netfilter)
};

// One field: how the program sees it (UAPI offsets and sizes) and where the host's struct has it.
struct CtxField {
    uint16_t off = 0;   // bytes from the start of the UAPI struct
    uint16_t size = 0;  // bytes; arrays: the whole array
    CtxFieldKind kind = CtxFieldKind::Scalar;
    bool readable = true;
    bool writable = false;
    bool narrow = true;      // loads of 1, 2, 4 bytes inside the field are allowed
    uint16_t element = 0;    // arrays of u32/u64: bytes per element, 0 = not an array
    uint16_t host_off = 0;   // bytes from the start of the host struct
    uint16_t host_size = 0;  // 0: not stored, reads as 0
    std::string_view name;
    bool wide = false;           // arrays of u32: aligned 8-byte accesses are allowed
    bool narrow_store = false;   // stores of less than an element are allowed
    uint64_t attach = 0;         // bits of AttachType that may touch the field; 0 = all
    uint64_t attach_write = 0;   // bits of AttachType that may store to it; 0 = as `attach`
    uint8_t narrow_from = 1;     // bytes: the narrowest load
    uint8_t narrow_below = 255;  // narrow loads start below this offset into the element
};

// A context: a table of fields, or plain bytes that the host gives (tracing).
struct CtxLayout {
    std::string_view name;  // "xdp_md", "__sk_buff", "bytes" ...
    uint32_t size = 0;      // of the UAPI struct; bytes: the largest readable size
    bool is_bytes = false;  // the context is the host's memory itself, read at any offset
    bool bytes_writable = false;
    std::span<const CtxField> fields;  // sorted by off
    // Bytes contexts: 0 = aligned accesses of 1, 2, 4, 8 bytes; 8 = only aligned 8-byte accesses.
    uint8_t bytes_width = 0;
    uint8_t bytes_hidden = 0;  // bytes contexts: how many at the start may not be touched
    bool unaligned = false;    // bytes contexts: any offset, as plain memory (raw, syscall)
    uint32_t host_size = 0;    // of the host struct that the fields' host columns refer to
    // The field that contains all of [off, off + size), or null.
    const CtxField* find(uint32_t off, uint32_t size) const;
    // The field that an access of `width` bytes (1, 2, 4, 8) at `off` may touch by Linux's rules
    // for `attach`, or null. Only for layouts with fields.
    const CtxField* access(uint32_t off, uint32_t width, bool store,
                           uint32_t attach = kAnyAttach) const;
    // The same as a yes or no, for bytes contexts too.
    bool allows(uint32_t off, uint32_t width, bool store, uint32_t attach = kAnyAttach) const;
};

struct ReturnRange {
    bool checked = false;  // whether the verifier enforces it
    int32_t min = 0, max = 0;
};

struct ProgType {
    ProgKind kind{};
    std::string_view name;           // "xdp", "sched_cls", "raw" ...
    std::string_view uapi_name;      // "BPF_PROG_TYPE_XDP"
    const CtxLayout* ctx = nullptr;  // never null
    ReturnRange returns;
    uint64_t groups = 0;  // helper groups that it may use
    bool packet = false;  // has packet data: --data and --pcap are its packet
    bool packet_writable = false;
    std::span<const std::string_view> verdicts;  // names of return values 0..n-1, may be empty
    std::string_view verdict_unspec;             // name of the return value -1, may be empty
    std::string_view verdict_other;              // name of all others, may be empty
    // The name of a return value, or empty.
    std::string_view verdict_of(uint64_t r0) const;
};

// The bit of ProgType::groups that stands for a type. A helper's row names the types that may call
// it as the union of their bits.
constexpr uint64_t type_bit(ProgKind kind) {
    return uint64_t{1} << (kind == ProgKind::Raw ? 63 : static_cast<uint32_t>(kind));
}

// A row of the section-name table: what libbpf makes of SEC("...").
struct SectionType {
    std::string_view pattern;  // "xdp", "kprobe" ...: see section_types.def
    const ProgType* type = nullptr;
    uint32_t attach_type = 0;  // UAPI number
    bool exact = true;         // the whole name; otherwise pattern, then '/' or the end
    bool sleepable = false;
    bool frags = false;       // XDP programs that take packets of several buffers
    bool historical = false;  // also with a suffix, as before libbpf 1.0 ("socket1", "xdp_prog")
};

std::span<const ProgType> prog_types();
std::span<const SectionType> section_types();
const ProgType* find_prog_type(ProgKind kind);
// By name ("xdp"), UAPI name, or section name; null if nothing matches.
const ProgType* find_prog_type(std::string_view name);
// The row for a section name ("xdp/foo", "kprobe/sys_open", "?tc" ...), or null.
const SectionType* find_section_type(std::string_view section);
// What Linux 6.18 lets a program of this type and attach type return.
ReturnRange return_range(ProgKind kind, uint32_t attach_type);
// A program type as the command line names it: "xdp", "BPF_PROG_TYPE_XDP", a section name
// ("cgroup/connect4"), or type and section suffix ("cgroup_sock_addr/connect4").
struct TypeChoice {
    const ProgType* type = nullptr;        // null: no such thing
    uint32_t attach_type = 0;              // kAnyAttach: a type that needs one, named alone
    const SectionType* section = nullptr;  // the row, when a section named it, or the type's own
};
TypeChoice parse_type(std::string_view name);
// Attach types by number and by name ("tcx_ingress", "BPF_TCX_INGRESS").
std::string_view attach_type_name(uint32_t attach_type);
std::optional<uint32_t> find_attach_type(std::string_view name);
// Names close to an unknown one, for messages; best first, at most `count`.
// Of `candidates`, the nearest to `name` by edit distance.
std::vector<std::string_view> similar_names(std::string_view name,
                                            std::span<const std::string_view> candidates,
                                            size_t count = 3);
std::vector<std::string_view> similar_types(std::string_view name, size_t count = 3);
std::vector<std::string_view> similar_sections(std::string_view section, size_t count = 3);

}  // namespace skep
