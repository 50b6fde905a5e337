// The table of map types (maps/map_types.def) as data: what a definition may say, and who may do
// what with a map of the type. Creation, the verifier, the command line and the documentation read
// it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include <skep/map.hpp>

namespace skep {

// What can be done with a map. Program operations are helpers, host operations bpf(2) commands.
namespace map_ops {
inline constexpr uint32_t kLookup = 1u << 0,  // bpf_map_lookup_elem gives a value
    kUpdate = 1u << 1,                        // bpf_map_update_elem
    kErase = 1u << 2,                         // bpf_map_delete_elem
    kPush = 1u << 3, kPop = 1u << 4, kPeek = 1u << 5,
                          kPercpu = 1u << 6,  // a copy for each CPU; lookup_percpu_elem
    kForEach = 1u << 7,                       // bpf_for_each_map_elem
    kLookupMap = 1u << 8,                     // bpf_map_lookup_elem gives a map
    kTailCall = 1u << 9, kRedirect = 1u << 10,
                          kOutput = 1u << 11,  // perf_event_output, ringbuf_output
    kReserve = 1u << 12,                       // ringbuf_reserve, submit, discard
    kDrain = 1u << 13,                         // user_ringbuf_drain
    kStackId = 1u << 14,                       // get_stackid
    kStorage = 1u << 15,                       // *_storage_get, *_storage_delete
    kLocalStorage = 1u << 16,                  // get_local_storage
    kUnderCgroup = 1u << 17,                   // *_under_cgroup
    kDirectValue = 1u << 18,                   // BPF_PSEUDO_MAP_VALUE
    kHostLookup = 1u << 24, kHostUpdate = 1u << 25, kHostErase = 1u << 26, kNextKey = 1u << 27,
                          kBatch = 1u << 28;
}  // namespace map_ops

enum class MapKeyRule : uint8_t { None, U32, Any, Lpm, Object, Storage };
enum class MapValueRule : uint8_t { None, U32, U32orU64, Any, Percpu, Dev, Stack };
enum class MapEntriesRule : uint8_t { Positive, Zero, Pages };
enum class MapState : uint8_t { Here, Kernel };

struct MapTypeInfo {
    MapType type = MapType::Unspec;
    std::string_view name;  // bpftool's
    MapKeyRule key{};
    MapValueRule value{};
    MapEntriesRule entries{};
    uint32_t flags = 0;  // that creation accepts
    uint32_t ops = 0;    // map_ops
    MapState state{};

    bool has(uint32_t op) const noexcept { return (ops & op) != 0; }
};

// All types, by number, without gaps: 1..33.
std::span<const MapTypeInfo> map_types() noexcept;
// Null for numbers that Linux does not have.
const MapTypeInfo* map_type_info(MapType type) noexcept;
const MapTypeInfo* map_type_by_name(std::string_view name) noexcept;

// The user-space address of an arena whose definition does not say one.
inline constexpr uint64_t kArenaStart = uint64_t{1} << 44;

// Checks a definition by its row; says what was found and what is allowed.
Result<void> check_map_def(const MapDef& def);
// Whether maps of that type and flags may hold the definition's special fields.
Result<void> check_map_fields(const MapDef& def);

}  // namespace skep
