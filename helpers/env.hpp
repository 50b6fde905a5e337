// What a run is, as helpers, interpreter and native code see it: the environment that travels as
// the sixth argument of every helper thunk, `u64 thunk(r1, r2, r3, r4, r5, HelperEnv*)`.
//
// One HelperEnv exists per run (nested runs have their own); it lives in memory of the run's CPU
// slot, is used by one thread, and is reset by whoever starts the run. Standard layout, so that
// native code can address its fields.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>

#include <skep/error.hpp>
#include <skep/map.hpp>
#include <skep/services.hpp>

namespace skep {

class TimerWheel;  // maps/timers.hpp
struct CtxLayout;
struct HelperEnv;
class KernelWorld;    // helpers/kernel_world.hpp
struct PacketBuffer;  // skep/context.hpp
class ObjectHeap;     // maps/object_heap.hpp
class ObjectTypes;
struct SockContext;

// --- guest memory (sandbox) -------------------------------------------------------------------
// A guest address is region number << 32 | offset. The program never sees a host address. Region 0
// is the packet, so that packet addresses fit in the 4-byte context fields; its offsets start above
// the null page. An access of w bytes at `addr` is allowed iff
//     d = uint32(addr) - lo;  d + w <= limit   (as 64-bit numbers)
// with `limit` = readable (loads) or writable (stores) bytes.
struct Region {
    std::byte* base = nullptr;  // host address of guest offset `lo`
    uint32_t lo = 0;            // first valid offset
    uint32_t kind = 0;          // RegionKind
    uint64_t readable = 0;      // bytes from lo
    uint64_t writable = 0;      // bytes from lo; 0 = read-only
};
static_assert(sizeof(Region) == 32);

// A region as native code checks it against an access that is expected to lie there: with
// distance = address - start (modulo 2^64), w bytes are allowed iff distance < read[log2 w] or
// write[log2 w], and then lie at host address `address + delta`. read[0] and write[0] are the
// region's sizes. All zero: nothing is allowed.
struct RegionRow {
    uint64_t start = 0;
    uint64_t delta = 0;
    uint64_t read[4] = {};
    uint64_t write[4] = {};

    void set(uint64_t guest_start, const Region& region) noexcept {
        start = guest_start;
        delta = reinterpret_cast<uintptr_t>(region.base) - guest_start;
        for (unsigned k = 0; k < 4; ++k) {
            const uint64_t beyond = (uint64_t{1} << k) - 1;
            read[k] = region.readable > beyond ? region.readable - beyond : 0;
            write[k] = region.writable > beyond ? region.writable - beyond : 0;
        }
    }
};

enum class RegionKind : uint32_t {
    None,     // nothing: every access traps
    Memory,   // plain bytes
    Context,  // reached through its CtxLayout; never by address
    Handle,   // map handles, function handles, objects: never readable
};

// Fixed region numbers of a run; the program's maps follow from kFirstMap on, by map index.
namespace region {
inline constexpr uint32_t kPacket = 0, kStack = 1, kContext = 2, kMapHandle = 3, kFunction = 4,
                          kObject = 5, kScratch = 6, kBuffer = 7, kHeap = 8, kKey = 9,
                          kFirstDynamic = 10, kFirstMap = 32;
// Handles of maps lie apart: programs that read struct bpf_map look behind one.
inline constexpr uint32_t kMapHandleStep = 4096;
inline constexpr uint32_t kMaxMapHandles = uint32_t{1} << 20;
inline constexpr uint32_t kBufferBase = 0x10000;  // the same of kBuffer and kKey
inline constexpr uint32_t kPacketBase = 0x10000;  // guest offset of the packet buffer's head
}  // namespace region

// The interrupt flag is polled when a quantum of fuel is used up.
inline constexpr uint64_t kFuelQuantum = 64 * 1024;
inline constexpr uint64_t kDefaultFuel = uint64_t{1} << 26;

constexpr uint64_t guest_address(uint32_t region, uint32_t offset) {
    return uint64_t{region} << 32 | offset;
}

// What stands for the map with that index of the program.
constexpr uint64_t map_handle(uint32_t index) {
    return guest_address(region::kMapHandle, index * region::kMapHandleStep);
}

// --- upward calls -------------------------------------------------------------------------------
struct CallResult {
    uint64_t r0 = 0;
    bool trapped = false;  // env.trap says why; the caller returns at once
};

// Something that can be called from below: a subprogram (callbacks of loop, for_each, timers) or a
// loaded program (tail calls, nested runs).
class Callable {
public:
    virtual ~Callable() = default;
    virtual CallResult call(HelperEnv& env, const uint64_t (&args)[5]) const noexcept = 0;
    // A function of a loaded program, for who calls it later: program number << 32 | first slot.
    virtual uint64_t place() const noexcept { return 0; }
};

// --- objects of the host that programs hold pointers to -----------------------------------------
enum class RunObjectKind : uint32_t { None, Socket, TcpSock };
struct RunObject {
    RunObjectKind kind = RunObjectKind::None;
    void* host = nullptr;           // SockContext or TcpSockFields
    SockContext* socket = nullptr;  // that it is, or belongs to
};
inline constexpr uint32_t kMaxRunObjects = 32;
inline constexpr uint32_t kRunObjectBytes = 128;   // that a sandboxed program sees of each
inline constexpr uint32_t kRunObjectLow = 0x1000;  // guest offset of the first one

// --- what a run holds ---------------------------------------------------------------------------
// Everything that must be given back however the run ends; released in reverse order.
struct LedgerEntry {
    enum class What : uint32_t { SpinLock, Reservation, Reference, RcuSection, Iterator };
    What what{};
    uint32_t id = 0;
    void* object = nullptr;
    void (*release)(void* object, uint32_t id, HelperEnv& env) noexcept = nullptr;
    const void* data = nullptr;  // Reservation: where the record starts; SpinLock: the value
};
inline constexpr unsigned kLedgerSize = 64;

struct TailTarget;

struct HelperEnv {
    // Hot: read or written by generated code.
    // Units left of the current quantum; charged before the thing that costs happens. Below zero:
    // refill() takes the next quantum from `fuel_reserve` and polls the interrupt flag, or traps.
    int64_t fuel = 0;
    uint64_t fuel_reserve = 0;  // units beyond the current quantum
    uint64_t may_goto_left = 0;
    void* ctx = nullptr;             // host struct of the context
    PacketBuffer* packet = nullptr;  // null for programs without a packet
    uint64_t stack_top = 0;          // r10 of the current frame: host or guest address by mode

    // Native code only. The stack pointer of the innermost entry from C++; r10 of the frame that is
    // entered, as a host address, and what makes it a guest address; the slot that traps or calls a
    // helper; whether a legacy packet load ended its function.
    uint64_t native_sp = 0;
    uint64_t stack_host = 0;
    uint64_t stack_delta = 0;
    uint32_t native_slot = 0;
    uint32_t native_ended = 0;
    uint64_t native_r0 = 0;  // of a compare-and-exchange that the runtime does

    // Zero at the start of every run; together, so that few stores do it. depth and nesting are 1
    // while the program's own frame is open.
    const TailTarget* tail_target = nullptr;  // set by a tail call that succeeded
    // Redirect helpers leave their target here for the host to act on.
    struct Redirect {
        Map* map = nullptr;
        uint64_t key = 0;  // map key, or interface index without a map
        uint64_t flags = 0;
        SockContext* socket = nullptr;  // that sk_assign chose
    } redirect;
    int64_t retval = 0;         // cgroup programs: what the system call will return
    uint32_t tail_calls = 0;    // taken so far
    uint32_t depth = 0;         // local calls and callbacks open
    uint32_t ledger_count = 0;  // used entries of `ledger`
    uint32_t scratch_used = 0;
    uint32_t open_frames = 0;  // vm/run: local frames of the interpreter
    uint32_t nesting = 0;      // vm/run: interpreters and native code on the native stack
    TrapCode trap = TrapCode::None;

    bool sandbox = false;  // addresses in registers are guest addresses
    bool packet_writable = false;
    uint32_t trap_slot = 0;
    unsigned cpu = 0;  // the run's CPU slot
    uint32_t region_count = 0;
    Region* regions = nullptr;  // sandbox: kFirstMap run regions, then one per map
    RegionRow rows[3];          // sandbox: of regions kPacket, kStack, kContext (type raw)
    const CtxLayout* layout = nullptr;

    const Services* services = nullptr;
    const std::atomic<uint32_t>* interrupt = nullptr;  // sticky; non-zero: stop
    std::span<Map* const> maps;                        // of the program, by map index
    const void* image = nullptr;                       // vm/run: the Image that is running
    void* user = nullptr;                              // the host's pointer, for its own helpers
    ObjectHeap* heap = nullptr;                        // of the Vm: what programs allocate
    ObjectTypes* object_types = nullptr;               // of the running program

    LedgerEntry ledger[kLedgerSize];

    // What the engine answers for helpers. `find_function`: the subprogram that starts at a slot of
    // the running image, or null. `find_program`: what a slot of a program array leads to, or null.
    const Callable* (*find_function)(const HelperEnv& env, uint32_t slot) noexcept = nullptr;
    const TailTarget* (*find_program)(const HelperEnv& env, Map& map,
                                      uint32_t index) noexcept = nullptr;
    uint32_t attach_type = ~uint32_t{0};  // of the program; ~0 = not known
    // The guest stack, all frames: what verified programs may hand to probe_read by host address.
    const std::byte* stack_memory = nullptr;
    uint64_t stack_bytes = 0;
    uint64_t attach_cookie = 0;
    TimerWheel* timers = nullptr;  // where bpf_timer_start puts timers, null = nowhere
    const void* firing = nullptr;  // the timer whose callback this run is
    uint64_t thrown = 0;           // TrapCode::Thrown: what bpf_throw() was given

    // Synthetic kernel objects, or null; the run area's copy of them, made on first use, and
    // whether this run filled in what is its own.
    const KernelWorld* world = nullptr;
    const KernelWorld* block_world = nullptr;  // whose copy world_block is
    std::byte* world_block = nullptr;          // new[]; freed by the run area
    bool world_filled = false;
    bool world_written = false;  // world_block is no longer what it was made as

    // Sockets that the run got at (helpers/sockets.hpp) and, in a sandbox, what it sees of them.
    RunObject objects[kMaxRunObjects];
    uint32_t object_count = 0;
    alignas(8) std::byte object_bytes[kMaxRunObjects * kRunObjectBytes];

    // Sandbox: inner maps of maps of maps that the run has seen, in dynamic regions; and memory
    // that helpers lend to callbacks (keys of for_each_map_elem).
    Map* dynamic_maps[region::kFirstMap - region::kFirstDynamic] = {};
    uint32_t dynamic_count = 0;
    alignas(8) std::byte scratch[4096];

    // Charges `units`; false if the run is out of fuel or interrupted (trap is set).
    bool charge(uint64_t units) noexcept {
        if (fuel >= 0 && units <= static_cast<uint64_t>(fuel)) [[likely]] {
            fuel -= static_cast<int64_t>(units);
            return true;
        }
        return charge_slowly(units);
    }
    // For engines that subtracted one unit themselves and found `fuel` below zero: true if the run
    // may go on.
    bool refill() noexcept {
        fuel = 0;
        return charge_slowly(1);
    }
    bool charge_slowly(uint64_t units) noexcept;
    // Ends the run: the engine leaves after the helper returned. Keeps the first trap.
    void fail(TrapCode code) noexcept {
        if (trap == TrapCode::None) trap = code;
    }
    // After a change of region `number` <= kContext.
    void update_row(uint32_t number) noexcept {
        rows[number].set(guest_address(number, regions[number].lo), regions[number]);
    }
    // Makes the synthetic objects readable for the rest of the run. False: there are none.
    bool enter_world() noexcept;
    // Called by helpers that moved the packet's bounds: refreshes region::kPacket.
    void packet_changed() noexcept;
    // False (and a trap) when the ledger is full.
    bool hold(const LedgerEntry& entry) noexcept;
    void release_all() noexcept;

    MapCaller caller() const noexcept { return {cpu}; }
};

}  // namespace skep
