// Many entries of a map at once, for hosts: what bpf(2)'s batch commands do, and snapshots.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <skep/map.hpp>

namespace skep {

// Keys and values side by side: entry i's key at i * key_size, its value at i * value_size. Values
// are what Map::host_lookup gives: for per-CPU maps all copies.
struct MapEntries {
    uint64_t key_size = 0;
    uint64_t value_size = 0;
    std::vector<std::byte> keys;
    std::vector<std::byte> values;

    uint64_t count() const noexcept { return key_size != 0 ? keys.size() / key_size : 0; }
    std::span<const std::byte> key(uint64_t i) const noexcept {
        return std::span(keys).subspan(i * key_size, key_size);
    }
    std::span<const std::byte> value(uint64_t i) const noexcept {
        return std::span(values).subspan(i * value_size, value_size);
    }
};

// All entries, at most `limit`, each key once. Entries that come and go meanwhile may be missing;
// what was there all along is not. With `erase`, what is returned was removed from the map.
// Errors: invalid_argument for maps without keys or that the host may not read; out_of_memory.
Result<MapEntries> read_entries(Map& map, uint64_t limit = UINT64_MAX, bool erase = false);

// Writes one after the other until one fails: that one's errno, or 0. `done` counts.
long write_entries(Map& map, const MapEntries& entries, uint64_t flags, uint64_t& done) noexcept;
long erase_entries(Map& map, const MapEntries& entries, uint64_t& done) noexcept;

// All entries as bytes that a later process can read: sizes, count, then keys and values. Errors as
// read_entries.
Result<std::vector<std::byte>> save_entries(Map& map);
// Writes what save_entries gave into a map of the same key and value sizes (and as many CPU slots);
// what else is in the map stays. Errors: bad_map_contents for other bytes or sizes, or for the
// entry that the map refuses.
Result<void> restore_entries(Map& map, std::span<const std::byte> saved);

}  // namespace skep
