// Which registers and which stack bytes may still be read, before each instruction.
//
// Whatever is not live may be forgotten: two states that differ only there are the same. A backward
// dataflow over the blocks of each subprogram; stack addresses are followed through registers, so a
// store to a constant offset ends the life of what was there. Where a frame's address goes out of
// sight (into a call, into memory) everything that may be reached from it counts as read.
// Over-approximates liveness, in time linear in the program times a small number of rounds.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "vm/prog/cfg.hpp"

namespace skep {

inline constexpr unsigned kStackGranules = kStackBytes / 4;

// A set of 4-byte granules of one frame: granule i is the bytes [r10 - 4(i + 1), r10 - 4i).
struct StackMask {
    uint64_t low = 0, high = 0;

    constexpr bool operator==(const StackMask&) const = default;
    constexpr bool empty() const { return (low | high) == 0; }
    constexpr bool test(unsigned granule) const {
        return ((granule < 64 ? low >> granule : high >> (granule - 64)) & 1) != 0;
    }
    friend constexpr StackMask operator|(StackMask a, StackMask b) {
        return {a.low | b.low, a.high | b.high};
    }
    friend constexpr StackMask operator&(StackMask a, StackMask b) {
        return {a.low & b.low, a.high & b.high};
    }
    friend constexpr StackMask operator~(StackMask a) { return {~a.low, ~a.high}; }
};
// Granules [first, last].
constexpr StackMask granules(unsigned first, unsigned last) {
    const auto from = [](unsigned n) {  // granules >= n
        return StackMask{n < 64 ? ~uint64_t{0} << n : 0, n < 64    ? ~uint64_t{0}
                                                         : n < 128 ? ~uint64_t{0} << (n - 64)
                                                                   : 0};
    };
    return from(first) & ~from(last + 1);
}
// Every granule that [off, off + size) touches, and those that lie inside of it wholly. off is
// relative to r10; what lies outside of the frame is left out.
StackMask granules_touched(int64_t off, int64_t size);
StackMask granules_covered(int64_t off, int64_t size);

// What a call reads, as far as its prototype tells.
struct CallReads {
    uint8_t args = 5;  // argument registers
    // By argument: bytes that may be read through it if it is a stack address; negative: not known.
    // The default, for an argument whose use is not known, is everything up to the frame's top.
    std::array<int32_t, 5> bytes{-1, -1, -1, -1, -1};
    bool returns_stack = false;  // r0 may be, or lead to, a stack address that was passed
};
// Of the helper or kfunc called at a slot.
using CallReader = std::function<CallReads(uint32_t slot)>;

class Liveness {
public:
    static Liveness compute(const Program& program, const Cfg& cfg, const CallReader& reads = {});

    // Bit n: rn may be read before it is written. Defined for reachable slots.
    uint16_t registers_before(uint32_t slot) const { return registers_[slot]; }
    bool is_live(uint32_t slot, unsigned reg) const { return registers_[slot] >> reg & 1; }
    // Of the frame that executes `slot`.
    const StackMask& stack_before(uint32_t slot) const { return stack_[slot]; }
    // What the caller's frame still needs while the local call at `slot` runs: what is live after
    // it in r6..r9, and the stack that the callee or the caller may read.
    uint16_t registers_across(uint32_t slot) const {
        return static_cast<uint16_t>(slot + 1 < registers_.size() ? registers_[slot + 1] & 0x7c0
                                                                  : 0);
    }
    const StackMask& stack_across(uint32_t slot) const { return stack_[slot]; }

    // One line per instruction.
    std::string dump(const Program& program) const;

private:
    friend class LivenessBuilder;
    std::vector<uint16_t> registers_;  // by slot
    std::vector<StackMask> stack_;     // by slot
};

}  // namespace skep
