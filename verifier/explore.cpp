// The search: depth first over all paths, with states kept at prune points so that a later visit
// that a kept state covers ends there.
//
// A kept state is open while paths from it are running or waiting. Open states prune only at
// callbacks, iterators and may_goto, where rounds converge; and a state from which a path ended in
// an open one waits for it: until then it is compared as if every scalar mattered. Elsewhere,
// coming back to an open state without any change is an infinite loop.
#include <algorithm>
#include <array>
#include <cstring>

#include "verifier/analyzer.hpp"
#include "verifier/each_cell.hpp"
#include "verifier/subsumption.hpp"
#include "vm/base/os.hpp"

namespace skep::verifier {

State Analyzer::entry_state(uint32_t subprogram) {
    State state(arena_);
    Frame& frame = state.push_frame();
    frame.subprogram = subprogram;
    frame.regs[kFramePointer] = pointer(CellType::Stack, 0, 0);
    state.slot = program_.subprograms[subprogram].first;
    state.in_sleepable = program_.sleepable;
    return state;
}

bool Analyzer::explore_all() {
    State start = entry_state(0);
    if (!entry_arguments(start)) return false;
    if (!explore(std::move(start))) return false;
    if (program_.exception_callback >= 0 && !wants_exception_callback()) return false;
    for (bool again = true; again;) {
        again = false;
        for (uint32_t i = 1; i < program_.subprograms.size(); ++i) {
            if (global_state_[i] != 1) continue;
            global_state_[i] = 2;
            again = true;
            State state = entry_state(i);
            if (!global_entry(i, state)) return false;
            verifying_global_ = true;
            if (!explore(std::move(state))) return false;
        }
    }
    return true;
}

bool Analyzer::explore(State start) {
    current_ = std::move(start);
    parent_ = nullptr;
    length_ = 0;
    jumps_at_keep_ = jumps_;
    insns_at_keep_ = result_.processed;
    for (;;) {
        if (!run_path()) return false;
        if (pending_.empty()) return true;
        current_ = std::move(pending_.back().state);
        parent_ = pending_.back().parent;
        length_ = pending_.back().length;
        if (record_trail_) trail_ = std::move(pending_.back().trail);
        pending_.pop_back();
    }
}

bool Analyzer::run_path() {
    path_over_ = false;
    rest_ = 0;
    for (;;) {
        slot_ = current_.slot;
        if (slot_ >= program_.insns.size())
            return reject(ErrorCode::FallsOffEnd, "last insn is not an exit or jmp");
        if (prune_points_[slot_] != 0) {
            const Visit result = visit(slot_);
            if (result == Visit::Failed) return false;
            if (result == Visit::Pruned) break;
        }
        ++result_.processed;
        ++length_;
        if ((result_.processed & 0x3ff) == 0 && over_budget()) return false;
        reached_[slot_] = 1;
        if (options_.log_level >= 2) log_insn(slot_);
        if (options_.observer != nullptr) observe();
        if (!step() || failed_) return false;
        if (path_over_) break;
    }
    path_ends(rest_);
    return true;
}

bool Analyzer::push_branch(State state) {
    if (parent_ != nullptr) ++parent_->branches;
    pending_.push_back({std::move(state), parent_, slot_, {}, length_});
    if (record_trail_) {
        pending_.back().trail = trail_;
        pending_.back().trail.push_back(slot_ << 1 | 1);
        trail_.push_back(slot_ << 1);
    }
    if (pending_.size() > kLinuxPendingJumps) beyond("pending_jumps");
    if (pending_.size() > options_.budgets.states)
        return reject(ErrorCode::TooManyStates,
                      "%zu branches wait to be explored, the budget is %llu", pending_.size(),
                      static_cast<unsigned long long>(options_.budgets.states));
    return true;
}

bool Analyzer::over_budget() {
    const uint64_t memory = arena_.bytes() + pool_.memory_bytes() + provenance_.memory_bytes() +
                            checkpoints_ * sizeof(Checkpoint);
    result_.peak_memory = std::max(result_.peak_memory, memory);
    if (result_.processed > options_.budgets.insns) {
        reject(ErrorCode::TooComplex,
               "BPF program is too large. Processed %llu insn: the budget is "
               "%llu",
               static_cast<unsigned long long>(result_.processed),
               static_cast<unsigned long long>(options_.budgets.insns));
        return true;
    }
    if (memory > options_.budgets.memory_bytes) {
        reject(ErrorCode::AnalysisMemory, "the analysis needs more than its budget of %llu bytes",
               static_cast<unsigned long long>(options_.budgets.memory_bytes));
        return true;
    }
    if (options_.budgets.wall_ns != 0 &&
        os::monotonic_ns() - started_ns_ > options_.budgets.wall_ns) {
        reject(ErrorCode::AnalysisTime, "the analysis needs longer than its budget of %llu ns",
               static_cast<unsigned long long>(options_.budgets.wall_ns));
        return true;
    }
    return false;
}

void Analyzer::release(Checkpoint* checkpoint) {
    // Its place in the tree stays; its frames are of no more use.
    checkpoint->state = State(arena_);
}

void Analyzer::path_ends(uint64_t more) {
    uint64_t length = length_ + more;
    Checkpoint* at = parent_;
    for (; at != nullptr; at = at->parent) {
        at->longest = std::max(at->longest, length);
        if (--at->branches != 0) return;
        length = at->from_parent + at->longest;
        if (at->dropped) release(at);
    }
    longest_ = std::max(longest_, length);
}

Checkpoint* Analyzer::keep(bool forced, const Shape& shape) {
    auto* kept = new Checkpoint{.state = current_, .parent = parent_};
    kept->serial = ++serial_;
    kept->from_parent = length_;
    length_ = 0;
    if (record_trail_) kept->trail = std::move(trail_), trail_.clear();
    all_checkpoints_.push_back(kept);
    kept_[slot_].push_back({shape, kept, 0, 0, forced});
    parent_ = kept;
    ++checkpoints_;
    ++result_.states;
    result_.peak_states = std::max(result_.peak_states, checkpoints_);
    jumps_at_keep_ = jumps_;
    insns_at_keep_ = result_.processed;
    return kept;
}

Checkpoint* Analyzer::previous_visit(Checkpoint* from, uint32_t slot) {
    for (; from != nullptr; from = from->parent)
        if (from->state.slot == slot && from->state.depth() == current_.depth()) return from;
    return nullptr;
}

// The visit of slot_ before this one, which is kept already.
Checkpoint* Analyzer::previous_round() {
    Checkpoint* from = parent_;
    if (from != nullptr && from->state.slot == slot_) from = from->parent;
    return previous_visit(from, slot_);
}

// Whether a path from `checkpoint` ended in a state that is still open.
bool Analyzer::waits(Checkpoint* checkpoint) {
    while (checkpoint->waits_for != nullptr && checkpoint->waits_for->branches == 0) {
        checkpoint->reads_packet_start |= checkpoint->waits_for->reads_packet_start;
        checkpoint->waits_for = checkpoint->waits_for->waits_for;
    }
    return checkpoint->waits_for != nullptr;
}

// Whether another pointer that counts from the packet's start is alive while slot_ loads one.
bool Analyzer::has_packet_pointer() const {
    const auto counts = [](const Cell& c) { return c.is_packet() && c.id == 0; };
    const auto live =
        static_cast<uint16_t>(liveness_->registers_before(slot_ + 1) & ~(1u << insn_at(slot_).dst));
    for (unsigned r = 0; r < kFramePointer; ++r)
        if ((live >> r & 1) != 0 && counts(current_.reg(r))) return true;
    bool found = false;
    for (unsigned f = 0; f < current_.depth(); ++f) {
        if (f + 1 != current_.depth())
            for (unsigned r = 6; r < kFramePointer; ++r) found |= counts(current_.frame(f).regs[r]);
        for (unsigned c = 0; c < kChunks; ++c)
            if (const StackChunk* chunk = current_.chunk(f, c); chunk != nullptr)
                each_spill(*chunk, [&](unsigned g) { found |= counts(chunk->cells[g]); });
    }
    return found;
}

// The current path tells where the packet's start lies from its other pointers.
void Analyzer::note_packet_start() {
    for (Checkpoint* at = parent_; at != nullptr && !at->reads_packet_start; at = at->parent)
        at->reads_packet_start = true;
}

void Analyzer::wait_for(Checkpoint* open) {
    for (Checkpoint* at = parent_; at != nullptr && at != open; at = at->parent)
        if (!waits(at) || at->waits_for->serial > open->serial) at->waits_for = open;
}

// The current state need not be looked at: `kept` covers it. `open`: the state whose paths have not
// ended, on which the proof waits, or null.
Analyzer::Visit Analyzer::covered_by(Checkpoint& kept, Checkpoint* open) {
    subsumption_->link(kept.state, current_, open != nullptr);
    if (open != nullptr) {
        wait_for(open);
        unbounded_ = true;
    }
    rest_ = kept.longest;
    if (kept.reads_packet_start) note_packet_start();
    if (options_.log_level >= 2) log_line("%u: safe\n", slot_);
    return Visit::Pruned;
}

Analyzer::Visit Analyzer::compare_with(const Kept& entry, bool forced) {
    Checkpoint& kept = *entry.checkpoint;
    if (kept.branches == 0) {
        const bool open = waits(&kept);
        if (!subsumption_->run(open ? Compare::Range : Compare::Normal, kept, current_))
            return Visit::Continue;
        return covered_by(kept, open ? kept.waits_for : nullptr);
    }
    // Another instance of an asynchronous callback proves nothing.
    if (kept.state.async_entries != current_.async_entries) return Visit::Continue;
    if (forced) {
        if (!converges(kept) || !subsumption_->run(Compare::Range, kept, current_))
            return Visit::Continue;
        return covered_by(kept, &kept);
    }
    if (kept.state.may_goto_depth != current_.may_goto_depth ||
        kept.state.callback_unroll_depth != current_.callback_unroll_depth ||
        !same_iterator_depths(kept.state, current_) ||
        !subsumption_->run(Compare::Exact, kept, current_))
        return Visit::Continue;
    reject(ErrorCode::InfiniteLoop,
           "infinite loop detected at insn %u: execution "
           "comes back here and nothing has changed",
           slot_);
    return Visit::Failed;
}

Analyzer::Visit Analyzer::visit(uint32_t slot) {
    const bool forced = force_points_[slot] != 0;
    bool add = forced || (jumps_ - jumps_at_keep_ >= 2 && result_.processed - insns_at_keep_ >= 8);
    const bool young =
        !forced && jumps_ - jumps_at_keep_ < 20 && result_.processed - insns_at_keep_ < 100;
    std::vector<Kept>& list = kept_[slot];
    if (list.empty() && !add) return Visit::Continue;
    clean(current_);
    const Shape shape = shape_of(current_);
    // The newest is the likeliest.
    for (size_t i = list.size(); i-- > 0;) {
        Kept& kept = list[i];
        if (kept.shape.may_cover(shape)) {
            const Visit result = compare_with(kept, forced);
            if (result == Visit::Pruned) ++kept.hits;
            if (result != Visit::Continue) return result;
        }
        // A loop's rounds are not all kept.
        if (add && young && kept.checkpoint->branches != 0 &&
            kept.checkpoint->state.depth() == current_.depth())
            add = false;
        // Where no state is added, the rounds of a loop would throw out what later ones need.
        if (!add) continue;
        ++kept.misses;
        const uint32_t patience = kept.forced && kept.checkpoint->branches > 0 ? 64 : 6;
        if (kept.misses > kept.hits * patience + patience) {
            Checkpoint* dropped = kept.checkpoint;
            dropped->dropped = true;
            --checkpoints_;
            if (dropped->branches == 0) release(dropped);
            list.erase(list.begin() + static_cast<ptrdiff_t>(i));
        }
    }
    if (!add) return Visit::Continue;
    if (checkpoints_ >= options_.budgets.states) {
        reject(ErrorCode::TooManyStates, "the analysis keeps %llu states, the budget is %llu",
               static_cast<unsigned long long>(checkpoints_),
               static_cast<unsigned long long>(options_.budgets.states));
        return Visit::Failed;
    }
    keep(forced, shape);
    return Visit::Continue;
}

// Forgets what no execution from here on reads, so that it cannot tell states apart.
void Analyzer::clean(State& state) {
    for (unsigned f = 0; f < state.depth(); ++f) {
        const bool is_top = f + 1 == state.depth();
        uint32_t at = state.slot;
        bool across = false;
        if (!is_top) {
            const Frame& callee = state.frame(f + 1);
            at = callee.call_slot;
            // A callback returns to the call itself, which reads its arguments again.
            across = callee.role == FrameRole::Call;
            if (state.frame(f).cleaned_at == at) continue;
        }
        const uint16_t live = static_cast<uint16_t>(
            (across ? liveness_->registers_across(at) : liveness_->registers_before(at)) |
            1u << kFramePointer);
        const StackMask& stack = across ? liveness_->stack_across(at) : liveness_->stack_before(at);
        for (unsigned r = 0; r < kFramePointer; ++r)
            if ((live >> r & 1) == 0 && state.frame(f).regs[r].type != CellType::NotInit)
                state.own_frame(f).regs[r] = Cell{};
        clean_stack(state, f, stack);
        if (!is_top) state.own_frame(f).cleaned_at = at;
    }
    drop_single_links(state);
}

namespace {

bool is_written(const StackChunk& chunk, unsigned granule) {
    uint32_t tags = 0;
    static_assert(kGranule == sizeof tags && static_cast<uint8_t>(Tag::Invalid) == 0);
    std::memcpy(&tags, chunk.tags.data() + granule * kGranule, sizeof tags);
    return tags != 0;
}

}  // namespace

void Analyzer::clean_stack(State& state, unsigned f, const StackMask& live) {
    for (unsigned c = 0; c < kChunks; ++c) {
        const StackChunk* chunk = state.chunk(f, c);
        if (chunk == nullptr) continue;
        // Granule g of chunk c is granule c * 16 + 15 - g of the mask.
        const uint64_t word = c < 4 ? live.low : live.high;
        const auto bits = static_cast<uint16_t>(word >> (c % 4 * 16));
        if (bits == 0xffff) continue;
        const auto is_live = [&](unsigned g) { return (bits >> (15 - g) & 1) != 0; };
        for (unsigned g = 0; g < kChunkGranules; ++g) {
            if (is_live(g)) continue;
            const bool second_half = g % 2 == 1 && chunk->sizes[g - 1] == 8;
            if (!second_half && chunk->sizes[g] == 0 && !is_written(*chunk, g)) continue;
            const Tag tag = chunk->tags[g * kGranule];
            if (tag == Tag::Dynptr || tag == Tag::Iterator || tag == Tag::Irq) continue;
            const unsigned start = second_half ? g - 1 : g;
            if (chunk->sizes[start] == 8 && (is_live(start) || is_live(start + 1))) continue;
            StackChunk& own = state.own_chunk(f, c);
            chunk = &own;
            const unsigned bytes = own.sizes[start] == 8 ? 8 : kGranule;
            own.sizes[start] = 0;
            own.cells[start] = Cell{};
            std::fill_n(own.tags.begin() + start * kGranule, bytes, Tag::Invalid);
        }
    }
}

namespace {

// Counted by the last bits of ids: exact unless two ids share them, then it says yes.
bool has_single_link(const State& state) {
    constexpr unsigned kBuckets = 64;
    uint64_t once = 0, twice = 0, shared = 0;
    std::array<uint32_t, kBuckets> first;
    const auto count = [&](uint32_t id) {
        const unsigned bucket = id % kBuckets;
        const uint64_t bit = uint64_t{1} << bucket;
        if ((once & bit) == 0) {
            once |= bit;
            first[bucket] = id;
        } else {
            twice |= bit;
            if (first[bucket] != id) shared |= bit;
        }
    };
    visit_cells(state, [&](const Cell& c) {
        if (!c.is_scalar() || c.id == 0) return;
        count(c.id);
    });
    for (const Order& order : state.orders) count(order.x), count(order.y);
    return (once & ~twice) != 0 || shared != 0;
}

// An order between values of which one is nowhere any more. The packet's length needs no register.
void drop_lost_orders(State& state) {
    const auto is_lost = [&](uint32_t id) {
        bool found = false;
        visit_cells(state, [&](const Cell& c) { found |= c.is_scalar() && c.id == id; });
        return !found;
    };
    std::erase_if(state.orders,
                  [&](const Order& o) { return is_lost(o.x) || (!o.to_length && is_lost(o.y)); });
}

}  // namespace

// A link that only one cell has says nothing.
void Analyzer::drop_single_links(State& state) {
    if (!state.orders.empty()) drop_lost_orders(state);
    if (!has_single_link(state)) return;
    link_counts_.clear();
    const auto count_link = [&](uint32_t link) {
        for (auto& [id, count] : link_counts_)
            if (id == link) {
                ++count;
                return;
            }
        link_counts_.emplace_back(link, 1);
    };
    visit_cells(state, [&](const Cell& c) {
        if (c.is_scalar() && c.id != 0) count_link(c.id);
    });
    for (const Order& order : state.orders) count_link(order.x), count_link(order.y);
    if (std::none_of(link_counts_.begin(), link_counts_.end(),
                     [](const auto& link) { return link.second == 1; }))
        return;
    update_cells(
        state,
        [&](const Cell& c) {
            if (!c.is_scalar() || c.id == 0) return false;
            for (const auto& [id, count] : link_counts_)
                if (id == c.id) return count == 1;
            return false;
        },
        [](Cell& c) { c.id = 0, c.off = 0, c.flags &= flag::kPacketLength; });
}

// Numbers that differ from the round before, and on which no proof rests, are forgotten, so that
// rounds converge.
void Analyzer::widen(const State& before, State& now) {
    if (before.depth() > now.depth()) return;
    for (unsigned f = 0; f < before.depth(); ++f) {
        const auto changes = [&](const Cell& old, const Cell& cell) {
            return old.is_scalar() && cell.is_scalar() && old.scalar != cell.scalar &&
                   !provenance_.is_precise(old.ref);
        };
        for (unsigned r = 0; r < kRegisters; ++r)
            if (changes(before.frame(f).regs[r], now.frame(f).regs[r]))
                now.own_frame(f).regs[r] = unknown();
        for (unsigned c = 0; c < kChunks; ++c) {
            const StackChunk *a = before.chunk(f, c), *b = now.chunk(f, c);
            if (a == nullptr || b == nullptr || a == b) continue;
            for (unsigned g = 0; g < kChunkGranules; ++g) {
                b = now.chunk(f, c);
                if (a->sizes[g] == 0 || a->sizes[g] != b->sizes[g] ||
                    a->tags[g * kGranule] != Tag::Spill || b->tags[g * kGranule] != Tag::Spill)
                    continue;
                if (changes(a->cells[g], b->cells[g]))
                    now.own_chunk(f, c).cells[g] = loaded(b->sizes[g]);
            }
        }
    }
}

}  // namespace skep::verifier
