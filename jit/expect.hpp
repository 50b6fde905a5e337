// Where a sandboxed program's accesses are expected to lie: guesses that choose which check is made
// inline. A wrong guess costs time, never safety: what the inline check refuses goes on to the
// exact one.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "vm/run/image.hpp"

namespace skep::jit {

// One pass in slot order. Registers carry the region that they point to from where pointers come
// from (the context, map values, lookups, the frame) through moves, additions and the stack; at
// joins the straight path wins, at slots that only jumps reach the first jump.
class Expectations {
public:
    static constexpr uint16_t kUnknown = 0xffff;
    // The register holds the address of a context that is reached through a table.
    static constexpr uint16_t kContextStart = 0x7ffe;

    // For images of the checked form; others expect nothing.
    explicit Expectations(const Image& image);

    // The number of the region that the access at `slot` probably lies in, or kUnknown.
    uint16_t region(uint32_t slot) const { return slots_.empty() ? kUnknown : slots_[slot]; }

    // The index of the map that the helper call at `slot` probably gets in r1, or -1.
    int map_of_call(uint32_t slot) const {
        const uint16_t region = slots_.empty() ? kUnknown : slots_[slot];
        return region == kUnknown || (region & kHandle) == 0 ? -1 : region & ~kHandle;
    }

private:
    // A register that holds a map's handle, which no access may use: kHandle + map index.
    static constexpr uint16_t kHandle = 0x8000;
    using State = std::array<uint16_t, kRegisters>;

    void walk(const Subprogram& subprogram, uint32_t index);
    void step(uint32_t slot, State& state);
    void step_alu(const Insn& insn, State& state);
    void step_load(const Insn& insn, State& state);
    void step_call(const ImageSlot& slot, State& state);
    void remember(uint32_t target, const State& state);

    const Image& image_;
    std::vector<uint16_t> slots_;
    std::vector<uint32_t> saved_at_;  // by slot: index into saved_ plus one, 0 = nothing
    std::vector<State> saved_;
    std::vector<State> arguments_;  // by subprogram: what the first call passed
    std::array<uint16_t, kStackBytes / 8> stack_{};
};

}  // namespace skep::jit
