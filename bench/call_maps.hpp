// The maps of the kernels that use maps (bench/kernels/maps.h): filled, as the library's and as the
// running kernel's.
#pragma once

#include <memory>
#include <vector>

#include <skep/error.hpp>
#include <skep/map.hpp>

namespace skep::bench {

inline constexpr uint32_t kEntries = 1024;

// Value of a key, in every map.
constexpr uint64_t value_of(uint32_t key) { return uint64_t{3} * key + 1; }

// A map as defined, with all entries; of a per-CPU map on every CPU slot.
Result<std::shared_ptr<Map>> filled_map(const MapDef& def);
// The same in the running kernel: its file descriptor.
Result<int> filled_kernel_map(const MapDef& def);
// Makes the maps that native kernels find (bench_array and so on); once, before any of them runs.
Result<void> make_native_maps();

}  // namespace skep::bench
