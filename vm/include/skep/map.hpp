// Maps: what a definition says, and what host and programs can do with a map.
//
// Maps are shared: hold them by std::shared_ptr<Map>; a Vm, its programs and the host keep a map
// alive together. All operations are safe to call from any number of threads at once. Operations
// return 0 or a negative errno value, the same that Linux's bpf(2) gives (-2 ENOENT, -17 EEXIST,
// -7 E2BIG, -22 EINVAL, -12 ENOMEM ...), and never throw.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <skep/error.hpp>

namespace skep {

class Btf;
class Map;

// The map types of Linux's UAPI, by its numbers.
enum class MapType : uint32_t {
    Unspec = 0,
    Hash = 1,
    Array = 2,
    ProgArray = 3,
    PerfEventArray = 4,
    PercpuHash = 5,
    PercpuArray = 6,
    StackTrace = 7,
    CgroupArray = 8,
    LruHash = 9,
    LruPercpuHash = 10,
    LpmTrie = 11,
    ArrayOfMaps = 12,
    HashOfMaps = 13,
    Devmap = 14,
    Sockmap = 15,
    Cpumap = 16,
    Xskmap = 17,
    Sockhash = 18,
    CgroupStorage = 19,
    ReuseportSockarray = 20,
    PercpuCgroupStorage = 21,
    Queue = 22,
    Stack = 23,
    SkStorage = 24,
    DevmapHash = 25,
    StructOps = 26,
    Ringbuf = 27,
    InodeStorage = 28,
    TaskStorage = 29,
    BloomFilter = 30,
    UserRingbuf = 31,
    CgrpStorage = 32,
    Arena = 33,
};

// Flags of map creation and of updates: Linux's UAPI values.
namespace map_flags {
inline constexpr uint32_t kNoPrealloc = 1u << 0, kNoCommonLru = 1u << 1, kNumaNode = 1u << 2,
                          kRdonly = 1u << 3, kWronly = 1u << 4, kStackBuildId = 1u << 5,
                          kZeroSeed = 1u << 6, kRdonlyProg = 1u << 7, kWronlyProg = 1u << 8,
                          kClone = 1u << 9, kMmapable = 1u << 10, kPreserveElems = 1u << 11,
                          kInnerMap = 1u << 12, kLink = 1u << 13, kVtypeBtf = 1u << 15,
                          kSegvOnFault = 1u << 17, kNoUserConv = 1u << 18;
inline constexpr uint64_t kAny = 0, kNoExist = 1, kExist = 2, kLock = 4;
}  // namespace map_flags

// Objects inside values that programs may use only through helpers.
enum class FieldKind : uint8_t {
    SpinLock,
    ResSpinLock,
    Timer,
    Workqueue,
    TaskWork,
    Refcount,
    KptrUntrusted,
    KptrRef,
    KptrPercpu,
    ListHead,
    ListNode,
    RbRoot,
    RbNode,
    Uptr
};
struct SpecialField {
    FieldKind kind{};
    uint32_t offset = 0;       // bytes from the start of the value
    uint32_t size = 0;         // bytes
    uint32_t btf_id = 0;       // type of the object that a kptr, list or tree holds, in MapDef::btf
    uint32_t node_offset = 0;  // lists and trees: bytes of the node inside that object
    bool operator==(const SpecialField&) const = default;
};

// An initial entry of a map of maps or a program array, by name of its target.
struct MapInit {
    uint32_t index = 0;
    std::string target;  // a map's or a program's name
    bool operator==(const MapInit&) const = default;
};

// What a map is. Immutable once the map is made.
struct MapDef {
    std::string name;  // as in the object; ".rodata", ".bss" ... for data sections
    MapType type = MapType::Unspec;
    uint32_t key_size = 0;    // bytes
    uint32_t value_size = 0;  // bytes
    uint32_t max_entries = 0;
    uint32_t flags = 0;      // map_flags
    uint64_t map_extra = 0;  // bloom filter: hashes; arena: start address
    uint32_t numa_node = 0;
    bool pin_by_name = false;  // LIBBPF_PIN_BY_NAME: shared by name within a Vm
    uint32_t key_btf = 0;      // type ids in `btf`, 0 = unknown
    uint32_t value_btf = 0;
    std::shared_ptr<const Btf> btf;
    std::vector<SpecialField> fields;     // sorted by offset
    std::shared_ptr<const MapDef> inner;  // maps of maps: what the inner maps look like
    std::vector<MapInit> init;            // entries to wire when the object is loaded
    std::vector<std::byte> contents;      // data sections: initial bytes of the one value
    bool frozen = false;                  // .rodata and .kconfig: constant for programs
};

// Who calls: which per-CPU copy an operation sees, and who holds looked-up values.
struct MapCaller {
    unsigned cpu = 0;  // the run's CPU slot
};

// Where a map keeps the bytes that programs may touch: one reserved range, nothing else in it.
struct ValueRange {
    std::byte* base = nullptr;
    uint64_t size = 0;    // bytes of the whole range, all per-CPU copies included
    uint64_t stride = 0;  // bytes from a value to the next one
};

// How generated code and the interpreter may use a map without a virtual call. Fixed for a map's
// life.
struct MapFastPath {
    enum class Kind : uint8_t {
        None,         // call Map::lookup
        Array,        // index < entries ? base + index * stride : null
        PercpuArray,  // index < entries ? base + cpu * cpu_stride + index * stride : null
        Function,     // lookup(map, key, cpu)
    } kind = Kind::None;
    std::byte* base = nullptr;
    uint64_t stride = 0;
    uint64_t cpu_stride = 0;
    uint32_t entries = 0;
    std::byte* (*lookup)(Map* map, const std::byte* key, unsigned cpu) = nullptr;
    // What the helpers that update and delete do; null: call the helper.
    long (*update)(Map* map, const std::byte* key, const std::byte* value, uint64_t flags,
                   unsigned cpu) noexcept = nullptr;
    long (*erase)(Map* map, const std::byte* key, unsigned cpu) noexcept = nullptr;
};

// What a program array holds: a loaded program. The map keeps it alive and knows no more about it.
class Executable {
public:
    virtual ~Executable() = default;
    // What the host reads back from the map: the program's number.
    virtual uint32_t id() const noexcept { return 0; }
};

struct MapMemory {
    uint64_t values = 0;    // bytes reserved for values; in use, where memory is taken on demand
    uint64_t metadata = 0;  // bytes for keys, links and everything else
    uint64_t deferred = 0;  // bytes that wait for running programs to end
};

// A record that a program is writing: its bytes, and the number to commit it by.
struct MapReservation {
    std::byte* data = nullptr;  // null: no room
    uint32_t id = 0;
};

// A record as the host gets it. `data` is a stable copy, valid during the call.
struct MapEvent {
    unsigned cpu = 0;
    std::span<const std::byte> data;
    uint64_t lost = 0;  // records that found no room before this one
};

template <class Key, class Value>
class MapView;

class Map : public std::enable_shared_from_this<Map> {
public:
    virtual ~Map() = default;
    Map(const Map&) = delete;
    Map& operator=(const Map&) = delete;

    const MapDef& def() const noexcept { return def_; }
    // What programs may touch. {null, 0, 0} for maps without addressable values.
    ValueRange values() const noexcept { return values_; }
    virtual MapMemory memory() const noexcept = 0;
    virtual MapFastPath fast_path() const noexcept { return {}; }
    // Unique among the maps of the process; what maps of maps show to the host.
    uint32_t id() const noexcept { return id_; }
    bool frozen() const noexcept { return frozen_.load(std::memory_order_relaxed); }

    // --- what programs do. `key` has key_size readable bytes, `value` value_size (per-CPU maps:
    // one value). `caller` names the CPU slot, which the calling thread must hold, as runs do.

    // The value, or null. It stays valid until the run that looked it up ends, whatever other
    // threads delete or evict meanwhile.
    virtual std::byte* lookup(const std::byte* key, MapCaller caller) noexcept;
    // What bpf_map_lookup_elem gives: lookup(), or for maps of maps lookup_map(), by one indirect
    // call. The type's own function, fixed for the map's life.
    using Find = std::byte* (*)(Map* map, const std::byte* key, unsigned cpu) noexcept;
    std::byte* find(const std::byte* key, MapCaller caller) noexcept {
        return find_(this, key, caller.cpu);
    }
    virtual std::byte* lookup_percpu(const std::byte* key, unsigned cpu) noexcept;
    virtual long update(const std::byte* key, const std::byte* value, uint64_t flags,
                        MapCaller caller) noexcept;
    virtual long erase(const std::byte* key, MapCaller caller) noexcept;
    virtual long push(const std::byte* value, uint64_t flags, MapCaller caller) noexcept;
    virtual long pop(std::byte* value, MapCaller caller) noexcept;   // fills value also on error
    virtual long peek(std::byte* value, MapCaller caller) noexcept;  // fills value also on error
    // Maps of maps: the inner map, or null; valid like a looked-up value.
    virtual Map* lookup_map(const std::byte* key, MapCaller caller) noexcept;

    // Program arrays: the program at `index`, or null; valid like a looked-up value.
    virtual const Executable* executable(uint32_t index) noexcept;
    // Calls `visit` for every element, in no particular order, until it returns false; the number
    // of calls, or a negative errno. Elements that come and go meanwhile may or may not be seen.
    using Visit = bool (*)(void* context, const std::byte* key, std::byte* value);
    virtual long for_each(Visit visit, void* context, MapCaller caller) noexcept;

    // Redirect maps and cgroup arrays: the host's number of what is stored under `key`. 0 or -2.
    virtual long target(const std::byte* key, uint64_t& number) noexcept;
    // Local storage of a host object. `init` may be null: zeroes. Flag 1 creates.
    virtual std::byte* storage(uint64_t object, const std::byte* init, uint64_t flags,
                               MapCaller caller) noexcept;
    virtual long storage_erase(uint64_t object, MapCaller caller) noexcept;
    // Stack trace maps: stores the frames, innermost first; their number or a negative errno.
    virtual long store_stack(std::span<const uint64_t> frames, uint64_t flags) noexcept;
    // Ring buffer: room for a record of `size` bytes in values(); committed or discarded once.
    virtual MapReservation reserve(uint64_t size, uint64_t flags) noexcept;
    virtual long commit(uint32_t id, uint64_t flags) noexcept;
    virtual long discard(uint32_t id, uint64_t flags) noexcept;
    virtual uint64_t query(uint64_t what) noexcept;
    // Ring buffer and perf event array: one record, `data` and then `more`.
    virtual long output(std::span<const std::byte> data, std::span<const std::byte> more,
                        uint64_t flags, MapCaller caller) noexcept;
    // User ring buffer: hands the host's records to `take` until it returns non-zero; their number.
    using Take = long (*)(void* context, const std::byte* data, uint64_t size);
    virtual long drain(Take take, void* context, uint64_t flags) noexcept;

    // --- what the host does besides. Per-CPU maps: `value` has value_size rounded up to 8 bytes
    // for each of cpu_slots() slots, as bpf(2) has it for each possible CPU.

    // Bytes that host_lookup and host_update exchange per entry.
    virtual uint64_t host_value_size() const noexcept;
    virtual long host_lookup(const std::byte* key, std::span<std::byte> value,
                             uint64_t flags) noexcept;
    virtual long host_update(const std::byte* key, std::span<const std::byte> value,
                             uint64_t flags) noexcept;
    virtual long host_erase(const std::byte* key) noexcept;
    // The key that follows `key` (null: the first). -2 after the last. Survives concurrent change:
    // a key that is gone starts over, as in Linux.
    virtual long next_key(const std::byte* key, std::byte* next) noexcept;
    // Maps of maps and program arrays: what bpf(2) does with a file descriptor as the value.
    virtual long set_map(const std::byte* key, std::shared_ptr<Map> inner, uint64_t flags) noexcept;
    virtual long set_executable(const std::byte* key, std::shared_ptr<const Executable> program,
                                uint64_t flags) noexcept;
    // Queue and stack: removes and returns (BPF_MAP_LOOKUP_AND_DELETE_ELEM).
    virtual long host_pop(std::span<std::byte> value) noexcept;
    // Perf event array: gives every CPU a buffer; without it output finds no one (-2).
    virtual long open_events(uint64_t bytes_per_cpu) noexcept;
    // Ring buffer and perf event array: hands at most `limit` records to `consume` until it returns
    // false; their number. One thread at a time: -16 for others.
    using Consume = bool (*)(void* context, const MapEvent& event);
    virtual long consume(Consume consume, void* context, uint64_t limit) noexcept;
    // An eventfd, readable when there may be records; the map's own. Negative errno without.
    virtual int event_fd() noexcept;
    // User ring buffer: one record for the program. -7 too large, -11 no room.
    virtual long submit(std::span<const std::byte> record) noexcept;
    // Typed access for hosts; in <skep/map_view.hpp>.
    template <class Key, class Value>
    MapView<Key, Value> view();
    // The key of the entry whose value lies at `value`, for as long as a run may see it. False for
    // maps that do not know.
    virtual bool key_of(const std::byte* value, std::byte* key) noexcept;
    // Makes the map read-only for the host too (BPF_MAP_FREEZE).
    virtual long freeze() noexcept;

    // Address of the only value of a single-entry array (`BPF_PSEUDO_MAP_VALUE`), or nothing.
    virtual std::optional<std::byte*> direct_value(uint32_t offset) noexcept;

protected:
    explicit Map(MapDef def);
    void set_values(ValueRange range) noexcept { values_ = range; }
    void set_find(Find function) noexcept { find_ = function; }

private:
    Find find_;
    MapDef def_;
    ValueRange values_;
    uint32_t id_;
    std::atomic<bool> frozen_{false};
};

// Checks the definition by its type's rules and makes the map; contents are filled in.
// Errors: bad_map_def, unknown_map_type, unsupported_map_type, map_size_needed, out_of_memory.
Result<std::shared_ptr<Map>> create_map(MapDef def);

// The number of CPUs that programs and per-CPU maps see in this process.
unsigned cpu_slots() noexcept;

}  // namespace skep
