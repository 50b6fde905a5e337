// Guest addresses, as helpers and the argument dispatcher see them: into host memory, and back.
//
// Everything here is for sandboxed runs; in verified runs registers hold host addresses.
#pragma once

#include <cstddef>
#include <cstdint>

#include "helpers/env.hpp"

namespace skep::guest {

// The host address of `size` bytes at `address` if they lie in one plain-memory region with the
// right permission, else null. Zero bytes need a valid region all the same.
std::byte* memory(const HelperEnv& env, uint64_t address, uint64_t size, bool write) noexcept;

// How many bytes from `address` on are readable; 0 if none.
uint64_t readable(const HelperEnv& env, uint64_t address) noexcept;
// True if nothing but the host can change the memory there: a frozen map.
bool is_constant(const HelperEnv& env, uint64_t address) noexcept;

// The map that a handle names, or null: maps of the program, and inner maps that the run has seen.
Map* map_of_handle(const HelperEnv& env, uint64_t handle) noexcept;
// The handle of a map; 0 (and a trap) when no region is free for an inner map.
uint64_t handle_of_map(HelperEnv& env, Map* map) noexcept;
// The guest address of a pointer into `map`'s values; 0 for null. Traps as handle_of_map.
uint64_t address_of_value(HelperEnv& env, Map* map, const std::byte* value) noexcept;

}  // namespace skep::guest
