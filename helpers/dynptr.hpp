// Dynptrs: 16 bytes on the program's stack that name a range of its memory, or of the packet that
// it runs on.
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
    uint64_t address = 0;  // host or guest address by mode; over a packet: bytes from its start
    uint32_t size = 0;     // bytes
    uint32_t flags = 0;
    static constexpr uint32_t kReadOnly = 1;
    static constexpr uint32_t kPacket = 2;  // over the packet's bytes, wherever they are now
    static constexpr uint32_t kMeta = 4;    // over the packet's metadata

    bool is_packet() const noexcept { return (flags & (kPacket | kMeta)) != 0; }
    bool is_null() const noexcept { return address == 0 && !is_packet(); }
    bool is_read_only() const noexcept { return (flags & kReadOnly) != 0; }
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
// The bytes of the run's packet that dynptrs with these flags are over; empty without a packet.
std::span<std::byte> packet_bytes(const HelperEnv& env, uint32_t flags) noexcept;

}  // namespace skep
