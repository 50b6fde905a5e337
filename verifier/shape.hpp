// A state's shape: a few words that rule most pairs of states out before they are compared.
//
// Kinds and fixed offsets of live registers always have to agree for one state to cover another,
// whatever precision says of numbers. May only rule out pairs that Subsumption would refuse as
// well.
#pragma once

#include <cstdint>

#include "verifier/state.hpp"

namespace skep::verifier {

struct Shape {
    // Six bits per register below the frame pointer, and what concerns the whole state above. A
    // register that the general state knows nothing of is masked out.
    uint64_t kinds = 0, kinds_mask = 0;
    uint64_t places = 0, places_mask = 0;

    bool may_cover(const Shape& special) const {
        return (((kinds ^ special.kinds) & kinds_mask) |
                ((places ^ special.places) & places_mask)) == 0;
    }
};

inline Shape shape_of(const State& state) {
    constexpr unsigned kBits = 6, kField = (1u << kBits) - 1;
    const auto mixed = [](uint32_t x) { return x * 0x9e3779b1u; };
    uint32_t calls = state.depth() * 0x85ebca6bu + state.rcu_depth + state.preempt_depth * 3 +
                     static_cast<uint32_t>(state.holds.size()) * 5;
    for (unsigned f = 1; f < state.depth(); ++f) calls = mixed(calls ^ state.frame(f).call_slot);
    Shape out;
    unsigned at = 0;
    for (unsigned r = 0; r < kFramePointer; ++r, at += kBits) {
        const Cell& cell = state.reg(r);
        if (cell.type == CellType::NotInit) continue;
        const bool nullable = (cell.flags & flag::kMaybeNull) != 0 && cell.is_pointer();
        out.kinds |= uint64_t{static_cast<uint8_t>(cell.type) | (nullable ? 1u << 5 : 0)} << at;
        out.kinds_mask |= uint64_t{kField} << at;
        if (!cell.is_pointer()) continue;
        // Pointers into the packet may be further in.
        if (cell.is_packet()) continue;
        const uint32_t place =
            mixed(static_cast<uint32_t>(cell.off) ^ uint32_t{cell.object} << 20 ^ cell.object);
        out.places |= uint64_t{place >> (32 - kBits)} << at;
        out.places_mask |= uint64_t{kField} << at;
    }
    out.kinds |= uint64_t{mixed(calls) >> 28} << at;
    out.kinds_mask |= uint64_t{15} << at;
    return out;
}

}  // namespace skep::verifier
