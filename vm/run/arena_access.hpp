// Loads, stores and atomics through arena pointers, for both engines: the low 32 bits of the
// pointer and the displacement are an offset from the arena's base. Stores and atomics where no
// page is allocated do nothing.
#pragma once

#include <cstdint>

#include "maps/arena.hpp"
#include "vm/isa/insn.hpp"

namespace skep {

// `address` is register + insn.off, as 64-bit numbers.
constexpr int64_t arena_offset(uint64_t address, const Insn& insn) {
    const auto reg = address - static_cast<uint64_t>(int64_t{insn.off});
    return int64_t{static_cast<uint32_t>(reg)} + insn.off;
}

// The loaded value, extended as the instruction says.
uint64_t arena_load(const ArenaMap& arena, uint64_t address, const Insn& insn) noexcept;
void arena_store(const ArenaMap& arena, uint64_t address, const Insn& insn,
                 uint64_t value) noexcept;
// Stores that exchange, and atomic loads. The old value, or, where no page is, what the register
// that gets it held: `operand` (`expected` for compare-and-exchange).
uint64_t arena_atomic(const ArenaMap& arena, uint64_t address, const Insn& insn, uint64_t operand,
                      uint64_t expected) noexcept;

}  // namespace skep
