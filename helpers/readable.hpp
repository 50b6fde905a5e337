// What probe_read and the %s of format strings may reach: the run's own memory and the ranges that
// the host published, by look-up. Nothing is read by trying.
#pragma once

#include <cstdint>
#include <span>

#include "helpers/env.hpp"

namespace skep {

// Addresses of kernel objects lie in the upper half; programs have nothing of their own there.
constexpr bool is_kernel_address(uint64_t address) { return address >> 63 != 0; }

// The bytes from `address` (as the program names it) to the end of the range that holds it; empty
// if there is none.
std::span<const std::byte> readable_bytes(const HelperEnv& env, uint64_t address) noexcept;

// A load through a typed kernel pointer: `size` bytes (at most 8), zero where there is nothing.
// Maps of the run are objects too, with what struct bpf_map says of them.
uint64_t load_kernel_object(const HelperEnv& env, uint64_t address, unsigned size) noexcept;

// A store through a typed kernel pointer, to an object of the heap or the run's own copy of the
// synthetic ones; nothing else may be written so. False: there is no such object.
bool store_kernel_object(HelperEnv& env, uint64_t address, uint64_t value, unsigned size) noexcept;
// Whether a pointer is to a map, as sandboxed programs name them.
bool is_map_object(uint64_t address) noexcept;

// Copies `size` bytes, or zeroes `out` and returns false.
bool read_bytes(const HelperEnv& env, uint64_t address, std::byte* out, uint64_t size) noexcept;

// Copies a string of at most size - 1 bytes and its NUL; returns the bytes written, the NUL
// included, or -EFAULT. Bytes of `out` behind the NUL are zero.
int64_t read_string(const HelperEnv& env, uint64_t address, std::byte* out, uint64_t size) noexcept;

}  // namespace skep
