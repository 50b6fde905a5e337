// The comparison of two states at the same slot (subsume.cpp).
#pragma once

#include <utility>
#include <vector>

#include "verifier/analyzer.hpp"

namespace skep::verifier {

class Subsumption {
public:
    explicit Subsumption(Analyzer& analyzer) : a_(analyzer) {}

    // Whether the state of `general` covers `special`.
    bool run(Compare compare, const Checkpoint& general, const State& special);
    // After run() said yes: what a proof needs of `general` it now needs of `special`. `open`: the
    // proof from `general` on is not complete yet.
    void link(const State& general, const State& special, bool open);

private:
    bool same_id(uint32_t g, uint32_t s);
    bool scalar(const Cell& g, const Cell& s);
    bool cell(const Cell& g, const Cell& s);
    bool packet(const Cell& g, const Cell& s);
    bool knows_packet_start(const Checkpoint& kept) const;
    bool any_number(const StackChunk* s, unsigned b, unsigned size);
    bool zero_byte(const StackChunk* s, unsigned b);
    bool spill(const StackChunk& g, const StackChunk* s, unsigned granule);
    bool chunk(const StackChunk* g, const StackChunk* s);
    bool holds(const State& g, const State& s);
    bool orders(const State& g, const State& s);

    Analyzer& a_;
    Compare compare_ = Compare::Normal;
    std::vector<std::pair<uint32_t, uint32_t>> ids_;
    std::vector<std::pair<uint32_t, int32_t>> moved_;  // packet id of the general state, how far
    bool start_moved_ = false;
    std::vector<std::pair<uint32_t, uint32_t>> order_nodes_;  // of orders that correspond
    std::vector<uint32_t> rests_on_;  // provenance of values whose being 0 was used
};

}  // namespace skep::verifier
