// What a translation must know before it emits the first byte, found in a few linear passes over
// the image: jump targets, loop heads, live registers, which registers each function saves, and how
// far jumps reach.
#pragma once

#include <cstdint>
#include <vector>

#include "jit/liveness.hpp"
#include "jit/masm.hpp"
#include "jit/optimise.hpp"
#include "vm/run/image.hpp"

namespace skep::jit {

class Plan {
public:
    Plan(const Image& image, Abilities abilities);

    const Liveness& liveness() const { return liveness_; }
    const Op& op(uint32_t slot) const { return ops_[slot]; }
    bool is_target(uint32_t slot) const { return targets_[slot] != 0; }
    bool is_loop_head(uint32_t slot) const { return loop_heads_[slot] != 0; }
    // The only slot that jumps back to this one and costs fuel, if that is a branch; else kNoSlot.
    // Its charge can stand in front of the loop head, where the branch goes.
    uint32_t sole_charger(uint32_t slot) const {
        return chargers_.empty() ? kNoSlot : chargers_[slot];
    }
    // To which multiple the head of a loop is aligned: short loops stay within a cache line.
    unsigned alignment(uint32_t slot) const;
    // r6..r9 as far as the subprogram writes them; all subprograms together.
    uint16_t saved(uint32_t subprogram) const { return saved_[subprogram]; }
    uint16_t image_saved() const { return image_saved_; }
    // The subprogram's address is taken, or exceptions end in it: C++ may enter it.
    bool is_callback(uint32_t subprogram) const { return callbacks_[subprogram]; }
    // The image calls back or tail-calls, so that its frames must be accounted for.
    bool nests() const { return nests_; }
    bool tail_calls() const { return tail_calls_; }
    // Calls of subprograms must be counted: by callbacks and tail calls, which add to them, or
    // because they may be nested too deeply.
    bool counts_depth() const { return nests_ || deep_; }
    // The program neither calls nor traps nor uses its frame or anything else of the environment:
    // its code needs no frame of its own.
    bool is_bare() const { return bare_; }
    // The register that keeps the fuel: one of r2..r9 that the image never uses. 0: there is none.
    Reg fuel_register() const { return fuel_register_; }
    uint32_t subprogram_at(uint32_t slot) const;
    // Control passes between subprograms by calls and returns only. A sandboxed program may do
    // otherwise (jump into, or run on into, the next one, or call itself): native functions cannot
    // follow it.
    bool is_structured() const { return structured_; }

    // True if a jump from the end of `from` forward to `to` should fit in a short form. What pays
    // for the way round in front of a loop's head, and its alignment, is jumped over, too.
    bool is_near(uint32_t from, uint32_t to) const {
        return to > from && bound_[to] + head_bound(to) - bound_[from + 1] < kNear;
    }
    uint64_t size_bound() const { return bound_.back(); }

private:
    static constexpr uint32_t kNear = 100;

    uint32_t size_bound(const ImageSlot& slot) const;
    // What stands in front of a slot that loops start with.
    uint32_t head_bound(uint32_t slot) const;
    void find_jumps();
    void find_jump(uint32_t slot, const Subprogram& subprogram);
    void find_sizes();
    void find_selects();
    void give_up_selects();
    bool may_select(uint32_t slot) const;
    void find_saved();
    void find_depth();
    void find_fuel_register();
    bool find_bare() const;
    void find_fall_through();
    void find_chargers();

    const Image& image_;
    Liveness liveness_;
    std::vector<uint8_t> targets_, loop_heads_, selects_;  // the last: branches over one move
    std::vector<uint8_t> ends_;                            // kEndsBlock, kTakesTwoSlots
    std::vector<bool> callbacks_;
    std::vector<Op> ops_;
    std::vector<uint16_t> saved_;
    std::vector<uint32_t> chargers_;   // by slot; empty where nothing is charged
    std::vector<uint32_t> loop_ends_;  // by slot: behind the last jump back to it; empty: no loops
    std::vector<uint32_t> bound_;      // upper bound of the code's bytes before each slot
    uint16_t image_saved_ = 0;
    Reg fuel_register_ = 0;
    bool nests_ = false;
    bool tail_calls_ = false;
    bool deep_ = false;
    bool bare_ = false;
    bool structured_ = true;
    bool has_selects_ = false;
};

}  // namespace skep::jit
