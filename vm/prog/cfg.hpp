// The control flow of a program: basic blocks, dominators, loops, and which subprogram calls which.
//
// Built in time linear in the instructions (dominators: times a logarithm) and without recursion,
// because programs are hostile input. A block is a run of instructions entered only at its first;
// calls do not end one. Blocks are numbered by first slot, so a subprogram's are contiguous; edges
// never leave a subprogram. All numbers in here are indices: of slots, blocks or subprograms.
// Immutable once built.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <skep/error.hpp>

#include "vm/prog/program.hpp"

namespace skep {

struct CfgOptions {
    bool reject_unreachable = false;  // as Linux: an instruction that no path reaches
};

inline constexpr uint32_t kNoIndex = UINT32_MAX;

struct BasicBlock {
    uint32_t first = 0;  // slot
    uint32_t last = 0;   // slot of the last instruction (of its first half, if it has two)
    uint32_t subprogram = 0;
    // [0] is where control falls through or jumps always, [1] the target of a conditional jump.
    std::array<uint32_t, 2> successors{kNoIndex, kNoIndex};
    uint32_t dominator = kNoIndex;   // immediate; none for an entry and for what is unreachable
    uint32_t order = kNoIndex;       // in reverse postorder of its subprogram; unreachable: none
    uint32_t component = 0;          // strongly connected component; 0: not on a cycle
    uint32_t loop_head = kNoIndex;   // of the innermost loop around it; a head names itself
    uint32_t outer_head = kNoIndex;  // of a head: the head of the next loop around it
    bool is_reachable = false;
    bool is_loop_head = false;  // target of a retreating edge: every cycle has one
    std::span<const uint32_t> next() const {
        return {successors.data(), static_cast<size_t>(successors[0] != kNoIndex) +
                                       static_cast<size_t>(successors[1] != kNoIndex)};
    }
};

struct SubprogramFlow {
    uint32_t first_block = 0, block_count = 0;
    std::vector<uint32_t> callees;  // subprograms called or whose address is taken; sorted
    std::vector<uint32_t> order;    // reachable blocks in reverse postorder
    bool is_reachable = false;      // from the entry
    bool is_recursive = false;      // on a cycle of the call graph
    bool is_callback = false;       // its address is taken
};

class Cfg {
public:
    // Errors: a jump out of its subprogram or into an instruction's middle, a subprogram that does
    // not end with exit or a jump, a call of something that is no subprogram; and by options.
    static Result<Cfg> build(const Program& program, const CfgOptions& options = {});

    std::span<const BasicBlock> blocks() const { return blocks_; }
    const BasicBlock& block(uint32_t index) const { return blocks_[index]; }
    std::span<const uint32_t> predecessors(uint32_t block) const {
        return std::span(predecessors_)
            .subspan(predecessor_start_[block],
                     predecessor_start_[block + 1] - predecessor_start_[block]);
    }
    std::span<const SubprogramFlow> subprograms() const { return subprograms_; }
    // Subprograms with callees before callers, as far as there is no recursion.
    std::span<const uint32_t> callees_first() const { return callees_first_; }
    // The most frames that a chain of calls from the entry needs, the entry's included; what is
    // recursive counts once.
    uint32_t call_depth() const { return call_depth_; }

    uint32_t block_of(uint32_t slot) const { return block_of_[slot]; }
    uint32_t subprogram_of(uint32_t slot) const { return blocks_[block_of_[slot]].subprogram; }
    bool is_block_start(uint32_t slot) const { return blocks_[block_of_[slot]].first == slot; }
    bool is_reachable(uint32_t slot) const { return blocks_[block_of_[slot]].is_reachable; }
    bool is_loop_head(uint32_t slot) const {
        const BasicBlock& b = blocks_[block_of_[slot]];
        return b.first == slot && b.is_loop_head;
    }
    // Whether the jump at `slot` to `target` closes a loop (in depth-first order).
    bool is_back_edge(uint32_t slot, uint32_t target) const;
    bool is_in_loop(uint32_t slot) const { return blocks_[block_of_[slot]].component != 0; }
    // Whether every path to block b passes block a.
    bool dominates(uint32_t a, uint32_t b) const;

    // One line per block: slots, successors, dominator, loop.
    std::string dump() const;

private:
    friend class CfgBuilder;
    std::vector<BasicBlock> blocks_;
    std::vector<uint32_t> block_of_;  // by slot
    std::vector<uint32_t> predecessors_, predecessor_start_;
    std::vector<SubprogramFlow> subprograms_;
    std::vector<uint32_t> callees_first_;
    std::vector<uint32_t> tree_in_, tree_out_;               // dominator tree intervals, by block
    std::vector<std::pair<uint32_t, uint32_t>> retreating_;  // (from, to) blocks, sorted
    uint32_t call_depth_ = 1;
};

}  // namespace skep
