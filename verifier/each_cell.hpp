// Visiting every cell of a state, registers and spilled values of all frames, without unsharing
// what does not change.
#pragma once

#include <bit>
#include <cstring>

#include "verifier/state.hpp"

namespace skep::verifier {

// Calls visit(g) for every granule of the chunk in which a value starts.
template <class Visit>
void each_spill(const StackChunk& chunk, Visit visit) {
    static_assert(kChunkGranules == 16);
    for (unsigned half = 0; half < 2; ++half) {
        uint64_t sizes = 0;
        std::memcpy(&sizes, chunk.sizes.data() + half * 8, sizeof sizes);
        while (sizes != 0) {
            const auto bit = static_cast<unsigned>(std::countr_zero(sizes));
            const unsigned g = std::endian::native == std::endian::little ? bit / 8 : 7 - bit / 8;
            visit(half * 8 + g);
            sizes &= ~(uint64_t{0xff} << (bit & ~7u));
        }
    }
}

// Calls change(cell) for every cell for which wants(cell) holds.
template <class Wants, class Change>
void update_cells(State& state, Wants wants, Change change) {
    for (unsigned f = 0; f < state.depth(); ++f) {
        for (unsigned r = 0; r < kRegisters; ++r)
            if (wants(state.frame(f).regs[r])) change(state.own_frame(f).regs[r]);
        for (unsigned c = 0; c < kChunks; ++c) {
            if (state.chunk(f, c) == nullptr) continue;
            each_spill(*state.chunk(f, c), [&](unsigned g) {
                if (wants(state.chunk(f, c)->cells[g])) change(state.own_chunk(f, c).cells[g]);
            });
        }
    }
}

template <class Visit>
void visit_cells(const State& state, Visit visit) {
    for (unsigned f = 0; f < state.depth(); ++f) {
        for (const Cell& cell : state.frame(f).regs) visit(cell);
        for (unsigned c = 0; c < kChunks; ++c)
            if (const StackChunk* chunk = state.chunk(f, c); chunk != nullptr)
                each_spill(*chunk, [&](unsigned g) { visit(chunk->cells[g]); });
    }
}

}  // namespace skep::verifier
