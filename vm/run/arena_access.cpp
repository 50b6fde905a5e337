#include "vm/run/arena_access.hpp"

#include <cstring>

#include "vm/isa/semantics.hpp"
#include "vm/run/atomic_access.hpp"
#include "vm/run/guest_memory.hpp"

namespace skep {
namespace {

template <class T>
T rmw(std::byte* at, AtomicOp op, T operand, T expected) {
    // What lies across words is exchanged without being atomic, on every machine alike.
    if (reinterpret_cast<uintptr_t>(at) % sizeof(T) != 0) {
        alignas(8) std::byte copy[sizeof(T)];
        std::memcpy(copy, at, sizeof(T));
        const T old = atomic_rmw<T>(op, copy, operand, expected);
        if (op != AtomicOp::LoadAcquire) {
            T now;
            std::memcpy(&now, copy, sizeof(T));
            guest::store<T>(at, now);
        }
        return old;
    }
    return atomic_rmw<T>(op, at, operand, expected);
}

}  // namespace

uint64_t arena_load(const ArenaMap& arena, uint64_t address, const Insn& insn) noexcept {
    const std::byte* at = arena.base() + arena_offset(address, insn);
    uint64_t value = 0;
    switch (insn.width) {
        case Width::B: value = guest::load<uint8_t>(at); break;
        case Width::H: value = guest::load<uint16_t>(at); break;
        case Width::W: value = guest::load<uint32_t>(at); break;
        case Width::Dw: value = guest::load<uint64_t>(at); break;
    }
    return insn.sign ? sign_extend(value, bytes_of(insn.width) * 8) : value;
}

void arena_store(const ArenaMap& arena, uint64_t address, const Insn& insn,
                 uint64_t value) noexcept {
    const int64_t offset = arena_offset(address, insn);
    if (!arena.backed(offset)) return;
    std::byte* at = arena.base() + offset;
    switch (insn.width) {
        case Width::B: guest::store(at, static_cast<uint8_t>(value)); break;
        case Width::H: guest::store(at, static_cast<uint16_t>(value)); break;
        case Width::W: guest::store(at, static_cast<uint32_t>(value)); break;
        case Width::Dw: guest::store(at, value); break;
    }
}

uint64_t arena_atomic(const ArenaMap& arena, uint64_t address, const Insn& insn, uint64_t operand,
                      uint64_t expected) noexcept {
    const int64_t offset = arena_offset(address, insn);
    const AtomicOp op = insn.atomic();
    if (!arena.backed(offset)) {
        if (op == AtomicOp::LoadAcquire) return 0;
        return op == AtomicOp::Cmpxchg ? expected : operand;
    }
    std::byte* at = arena.base() + offset;
    switch (insn.width) {
        case Width::B:
            return rmw(at, op, static_cast<uint8_t>(operand), static_cast<uint8_t>(expected));
        case Width::H:
            return rmw(at, op, static_cast<uint16_t>(operand), static_cast<uint16_t>(expected));
        case Width::W:
            return rmw(at, op, static_cast<uint32_t>(operand), static_cast<uint32_t>(expected));
        case Width::Dw: return rmw(at, op, operand, expected);
    }
    return 0;
}

}  // namespace skep
