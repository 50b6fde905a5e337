// Visiting every cell of a state, registers and spilled values of all frames, without unsharing
// what does not change.
#pragma once

#include "verifier/state.hpp"

namespace skep::verifier {

// Calls change(cell) for every cell for which wants(cell) holds.
template <class Wants, class Change>
void update_cells(State& state, Wants wants, Change change) {
    for (unsigned f = 0; f < state.depth(); ++f) {
        for (unsigned r = 0; r < kRegisters; ++r)
            if (wants(state.frame(f).regs[r])) change(state.own_frame(f).regs[r]);
        for (unsigned c = 0; c < kChunks; ++c) {
            const StackChunk* chunk = state.chunk(f, c);
            if (chunk == nullptr) continue;
            for (unsigned g = 0; g < kChunkGranules; ++g)
                if (state.chunk(f, c)->sizes[g] != 0 && wants(state.chunk(f, c)->cells[g]))
                    change(state.own_chunk(f, c).cells[g]);
        }
    }
}

template <class Visit>
void visit_cells(const State& state, Visit visit) {
    for (unsigned f = 0; f < state.depth(); ++f) {
        for (const Cell& cell : state.frame(f).regs) visit(cell);
        for (unsigned c = 0; c < kChunks; ++c) {
            const StackChunk* chunk = state.chunk(f, c);
            if (chunk == nullptr) continue;
            for (unsigned g = 0; g < kChunkGranules; ++g)
                if (chunk->sizes[g] != 0) visit(chunk->cells[g]);
        }
    }
}

}  // namespace skep::verifier
