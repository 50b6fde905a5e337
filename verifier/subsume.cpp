// When one state covers another: whatever the special state can do, the general one can do too, and
// that has been checked. Then the special one need not be looked at.
//
// States have been cleaned: what is not live is NotInit or Invalid, and covers everything. Ids are
// names: they must correspond one to one. A scalar that no proof from the general state on rested
// on (provenance.hpp) may be anything.
#include <algorithm>
#include <cstring>

#include "verifier/analyzer.hpp"
#include "verifier/each_cell.hpp"
#include "verifier/subsumption.hpp"

namespace skep::verifier {

bool Subsumption::same_id(uint32_t g, uint32_t s) {
    if (g == 0 && s == 0) return true;
    if ((g == 0) != (s == 0)) return false;
    for (const auto& [from, to] : ids_) {
        if (from == g) return to == s;
        if (to == s) return false;
    }
    ids_.emplace_back(g, s);
    return true;
}

bool Subsumption::scalar(const Cell& g, const Cell& s) {
    if (compare_ == Compare::Exact)
        return g.scalar == s.scalar && g.off == s.off && g.flags == s.flags && same_id(g.id, s.id);
    if (compare_ == Compare::Normal &&
        (!a_.provenance_.is_precise(g.ref) || SKEP_MUTANT(NothingIsPrecise)))
        return true;
    if (!a_.pool_.covers(g.scalar, s.scalar)) return false;
    if ((g.flags & flag::kPacketLength) != 0 && (s.flags & flag::kPacketLength) == 0) return false;
    if (g.id == 0 || SKEP_MUTANT(LinksNeedNotAgree)) return true;
    return s.id != 0 && g.off == s.off &&
           ((g.flags ^ s.flags) & (flag::kLinkZext | flag::kLinkShifted)) == 0 &&
           same_id(g.id, s.id);
}

// Pointers into the packet say where they are, and how much is readable, from a common base. All
// that is done with them compares them with each other and with the packet's end. So if in `s` all
// those of one base lie the same distance further in, and as much is readable from there on, `s`
// can do nothing that `g` cannot: the base may as well be there. The same goes for the other
// direction, as long as nothing steps back from a pointer, over the base. Bases with an id have no
// other witness; the start of the packet (id 0) can be had anew, which run() looks into.
bool Subsumption::packet(const Cell& g, const Cell& s) {
    if (g.flags != s.flags || !same_id(g.id, s.id)) return false;
    const bool exact = compare_ == Compare::Exact;
    if (exact ? g.scalar != s.scalar : !a_.pool_.covers(g.scalar, s.scalar)) return false;
    if (exact) return g.off == s.off && g.object == s.object;
    const int32_t distance = s.off - g.off;
    constexpr auto kFar = static_cast<int32_t>(kMaxPacketOff);
    if (distance > kFar || distance < -kFar) return false;
    if (distance < 0 && (s.off < 0 || a_.packet_steps_back_)) return false;
    if (distance != 0 && (compare_ != Compare::Normal || g.type != CellType::Packet)) return false;
    if (g.object != 0 && s.object < g.object + distance && !SKEP_MUTANT(RangesNeedNotAgree))
        return false;
    if (g.id == 0 && distance != 0) start_moved_ = true;
    for (const auto& [id, moved] : moved_)
        if (id == g.id) return moved == distance || SKEP_MUTANT(PacketPointersMoveApart);
    moved_.emplace_back(g.id, distance);
    return true;
}

// Whether a path from the state on finds the packet's start again, or may have measured from it.
bool Subsumption::knows_packet_start(const Checkpoint& kept) const {
    bool knows = kept.reads_packet_start;
    for (const Order& order : kept.state.orders) knows |= order.to_length;
    visit_cells(kept.state, [&](const Cell& c) {
        knows |= c.type == CellType::PacketMeta ||
                 (c.is_scalar() && (c.flags & flag::kPacketLength) != 0);
    });
    return knows;
}

bool Subsumption::cell(const Cell& g, const Cell& s) {
    if (g.type == CellType::NotInit) return compare_ != Compare::Exact || s.type == g.type;
    if (g.type != s.type) return false;
    if (g.is_scalar()) return scalar(g, s);
    if (g.is_packet()) return packet(g, s);
    if (g.off != s.off || g.flags != s.flags) return false;
    if (!same_id(g.ref, s.ref)) return false;
    if (compare_ == Compare::Exact ? g.scalar != s.scalar : !a_.pool_.covers(g.scalar, s.scalar))
        return false;
    if (g.object != s.object) return false;
    return same_id(g.id, s.id);
}

namespace {

bool is_special(Tag tag) { return tag == Tag::Dynptr || tag == Tag::Iterator || tag == Tag::Irq; }

// The granule of the value that covers byte b.
unsigned spill_start(const StackChunk& chunk, unsigned b) {
    const unsigned g = b / kGranule;
    return chunk.sizes[g] != 0 || g % 2 == 0 ? g : g - 1;
}

}  // namespace

// Whether bytes [b, b + size) of `s` are numbers, whatever their values.
bool Subsumption::any_number(const StackChunk* s, unsigned b, unsigned size) {
    for (unsigned i = b; i < b + size; ++i) {
        const Tag tag = s == nullptr ? Tag::Invalid : s->tags[i];
        if (is_special(tag)) return false;
        if (tag == Tag::Invalid && a_.strict()) return false;
        if (tag == Tag::Spill && a_.strict() && !s->cells[spill_start(*s, i)].is_scalar())
            return false;
    }
    return true;
}

bool Subsumption::zero_byte(const StackChunk* s, unsigned b) {
    if (s == nullptr) return false;
    if (s->tags[b] == Tag::Zero) return true;
    if (s->tags[b] != Tag::Spill) return false;
    const Cell& cell = s->cells[spill_start(*s, b)];
    if (!cell.is_scalar() || !a_.num(cell).is_const(0)) return false;
    rests_on_.push_back(cell.ref);
    return true;
}

bool Subsumption::spill(const StackChunk& g, const StackChunk* s, unsigned granule) {
    const Cell& cell_g = g.cells[granule];
    const unsigned size = g.sizes[granule];
    if (s != nullptr && s->sizes[granule] == size && s->tags[granule * kGranule] == Tag::Spill)
        return cell(cell_g, s->cells[granule]);
    if (!cell_g.is_scalar() || compare_ == Compare::Exact) return false;
    const bool matters = compare_ == Compare::Range || a_.provenance_.is_precise(cell_g.ref);
    if (!matters) return any_number(s, granule * kGranule, size);
    if (cell_g.id != 0) return false;
    const Scalar& value = a_.num(cell_g);
    if (value.is_unknown() || value == zero_extend(Scalar::unknown(), size * 8))
        return any_number(s, granule * kGranule, size);
    if (value.contains(0)) {
        for (unsigned i = 0; i < size; ++i)
            if (!zero_byte(s, granule * kGranule + i)) return false;
        return true;
    }
    return false;
}

bool Subsumption::chunk(const StackChunk* g, const StackChunk* s) {
    if (g == nullptr) return compare_ != Compare::Exact || s == nullptr;
    if (g == s) {
        // Equal, if the names in it mean the same.
        for (unsigned i = 0; i < kChunkGranules; ++i) {
            if (g->sizes[i] == 0) continue;
            const Cell& c = g->cells[i];
            if (c.is_scalar() ? compare_ == Compare::Normal && !a_.provenance_.is_precise(c.ref)
                              : c.ref == 0 && c.id == 0 && !c.is_packet())
                continue;
            if (!cell(c, c)) return false;
        }
        return true;
    }
    for (unsigned i = 0; i < kChunkGranules; ++i) {
        if (g->sizes[i] != 0) {
            if (is_special(g->tags[i * kGranule])) {
                if (s == nullptr || s->sizes[i] != g->sizes[i] ||
                    s->tags[i * kGranule] != g->tags[i * kGranule] ||
                    !cell(g->cells[i], s->cells[i]))
                    return false;
            } else if (!spill(*g, s, i)) {
                return false;
            }
            if (g->sizes[i] == 8) {
                ++i;
                continue;
            }
        }
        for (unsigned b = i * kGranule; b < (i + 1) * kGranule; ++b) {
            const Tag tag = g->tags[b];
            const Tag other = s == nullptr ? Tag::Invalid : s->tags[b];
            if (compare_ == Compare::Exact) {
                if (tag != other) return false;
                continue;
            }
            switch (tag) {
                case Tag::Invalid:
                case Tag::Spill: break;
                case Tag::Misc:
                    if (!any_number(s, b, 1)) return false;
                    break;
                case Tag::Zero:
                    if (!zero_byte(s, b)) return false;
                    break;
                case Tag::Dynptr:
                case Tag::Iterator:
                case Tag::Irq:
                    if (other != tag) return false;
                    break;
            }
        }
    }
    return true;
}

bool Subsumption::holds(const State& g, const State& s) {
    if (g.holds.size() != s.holds.size()) return false;
    for (size_t i = 0; i < g.holds.size(); ++i) {
        const Hold &a = g.holds[i], &b = s.holds[i];
        if (a.kind != b.kind || a.lock_object != b.lock_object || a.lock_type != b.lock_type)
            return false;
        if (!same_id(a.id, b.id) || !same_id(a.lock_id, b.lock_id)) return false;
    }
    return true;
}

// The special state must know the orders that proofs from the general one rest on. Their links have
// been compared then: whoever rests on an order rests on its numbers.
bool Subsumption::orders(const State& g, const State& s) {
    if (SKEP_MUTANT(OrdersNeedNotAgree)) return true;
    if (compare_ == Compare::Exact && g.orders.size() != s.orders.size()) return false;
    const auto named = [&](uint32_t id) {
        for (const auto& [from, to] : ids_)
            if (from == id) return to;
        return uint32_t{0};
    };
    for (const Order& a : g.orders) {
        if (compare_ == Compare::Normal && !a_.provenance_.is_precise(a.node)) continue;
        const uint32_t x = named(a.x), y = named(a.y);
        const auto found = std::find_if(s.orders.begin(), s.orders.end(), [&](const Order& b) {
            const bool same_y = y != 0 ? b.y == y : a.to_length && b.to_length;
            return x != 0 && b.x == x && same_y && b.x_off == a.x_off && b.y_off == a.y_off &&
                   (b.strict || !a.strict) && (b.to_length || !a.to_length);
        });
        if (found == s.orders.end()) return false;
        order_nodes_.emplace_back(a.node, found->node);
    }
    return true;
}

bool Subsumption::run(Compare compare, const Checkpoint& general, const State& s) {
    const State& g = general.state;
    compare_ = compare;
    ids_.clear();
    rests_on_.clear();
    order_nodes_.clear();
    moved_.clear();
    start_moved_ = false;
    if (g.depth() != s.depth() || g.rcu_depth != s.rcu_depth ||
        g.preempt_depth != s.preempt_depth || g.in_sleepable != s.in_sleepable)
        return false;
    for (unsigned f = 0; f < g.depth(); ++f) {
        const Frame &a = g.frame(f), &b = s.frame(f);
        if (a.call_slot != b.call_slot || a.subprogram != b.subprogram || a.role != b.role ||
            a.callback_kind != b.callback_kind)
            return false;
        if (compare_ != Compare::Normal || f + 1 != g.depth()) {
            // Rounds of a callback that is running are part of what is compared only exactly.
            if (compare_ == Compare::Exact && a.callback_depth != b.callback_depth) return false;
        }
    }
    if (!holds(g, s)) return false;
    for (unsigned f = g.depth(); f-- > 0;) {
        const Frame &a = g.frame(f), &b = s.frame(f);
        for (unsigned r = 0; r < kFramePointer; ++r)
            if (!cell(a.regs[r], b.regs[r])) return false;
        for (unsigned c = 0; c < kChunks; ++c)
            if (!chunk(a.chunks[c], b.chunks[c])) return false;
    }
    if ((!g.orders.empty() || !s.orders.empty()) && !orders(g, s)) return false;
    return !start_moved_ || SKEP_MUTANT(StartOfPacketForgotten) || !knows_packet_start(general);
}

void Subsumption::link(const State& g, const State& s, bool open) {
    for (const uint32_t node : rests_on_) a_.provenance_.mark(node);
    for (const auto& [from, to] : order_nodes_) {
        if (a_.provenance_.is_precise(from))
            a_.provenance_.mark(to);
        else if (open)
            a_.provenance_.link(from, to);
    }
    const auto pass = [&](const Cell& a, const Cell& b) {
        if (!a.is_scalar() || !b.is_scalar()) return;
        if (a_.provenance_.is_precise(a.ref))
            a_.provenance_.mark(b.ref);
        else if (open)
            a_.provenance_.link(a.ref, b.ref);
    };
    for (unsigned f = 0; f < g.depth(); ++f) {
        for (unsigned r = 0; r < kFramePointer; ++r) pass(g.frame(f).regs[r], s.frame(f).regs[r]);
        for (unsigned c = 0; c < kChunks; ++c) {
            const StackChunk *a = g.chunk(f, c), *b = s.chunk(f, c);
            if (a == nullptr || b == nullptr || a == b) continue;
            for (unsigned i = 0; i < kChunkGranules; ++i) {
                if (a->sizes[i] == 0) continue;
                if (b->sizes[i] != 0) {
                    pass(a->cells[i], b->cells[i]);
                } else if (b->tags[i * kGranule] == Tag::Spill && i % 2 == 1) {
                    pass(a->cells[i], b->cells[i - 1]);
                }
            }
        }
    }
}

}  // namespace skep::verifier
