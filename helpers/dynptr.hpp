// Dynptrs: 16 bytes on the program's stack that name a range of its memory.
//
// They hold an address as the program knows it, and a size. In a sandbox a program may write what
// it likes there: each use translates the address and checks the range again, so a forged dynptr
// reaches nothing that the program could not reach anyway.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "helpers/env.hpp"

namespace skep {

struct Dynptr {
    uint64_t address = 0;  // host or guest address by mode; 0 = null dynptr
    uint32_t size = 0;     // bytes
    uint32_t flags = 0;    // kReadOnly
    static constexpr uint32_t kReadOnly = 1;
};
static_assert(sizeof(Dynptr) == 16);

inline constexpr uint64_t kMaxDynptr = 0xffffff;

void store_dynptr(std::byte* slot, const Dynptr& dynptr) noexcept;
Dynptr load_dynptr(const std::byte* slot) noexcept;
// A dynptr over host memory of the run.
Dynptr make_dynptr(HelperEnv& env, std::byte* data, uint32_t size) noexcept;
// What a dynptr names; empty and null if it is null or not the program's. Read-only dynptrs may lie
// in memory that the program cannot write.
std::span<std::byte> dynptr_bytes(HelperEnv& env, const std::byte* slot) noexcept;

}  // namespace skep
