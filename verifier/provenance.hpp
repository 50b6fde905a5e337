// Provenance: which numbers a number was computed from, and which numbers matter exactly.
//
// Pruning may ignore the value of a scalar on which no proof rested. To know which ones those are,
// every scalar that comes into being gets a node with the nodes it was computed from; copies,
// spills and fills share their node. When a proof needs the exact knowledge of a scalar (an
// address, a size, a decided branch), its node and everything above it are marked precise. States
// hold nodes, so a mark reaches every kept state that holds the value: there is no history to walk,
// and nothing to know about instructions. A state that is pruned by another one makes its numbers
// depend on that one's: link() adds the edges, and marks pass along them whenever they come.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace skep::verifier {

class Provenance {
public:
    Provenance() : nodes_(1) {}

    // A number computed from those with nodes a and b (0: none).
    uint32_t make(uint32_t a = 0, uint32_t b = 0) {
        nodes_.push_back({a, b});
        return static_cast<uint32_t>(nodes_.size() - 1);
    }

    bool is_precise(uint32_t node) const { return (nodes_[node].a & kPrecise) != 0; }

    void mark(uint32_t node) {
        if (node == 0 || is_precise(node)) return;
        work_.push_back(node);
        while (!work_.empty()) {
            const uint32_t n = work_.back();
            work_.pop_back();
            Node& it = nodes_[n];
            if (n == 0 || (it.a & kPrecise) != 0) continue;
            const uint32_t a = it.a & ~kFlags;
            if ((it.a & kLinked) != 0) push_links(n);
            it.a |= kPrecise;
            work_.push_back(a);
            work_.push_back(it.b);
        }
    }

    // If `general` is or becomes precise, so does `special`.
    void link(uint32_t general, uint32_t special) {
        if (general == 0 || special == 0 || general == special || is_precise(special)) return;
        if (is_precise(general)) return mark(special);
        nodes_[general].a |= kLinked;
        links_[general].push_back(special);
    }

    uint64_t memory_bytes() const { return nodes_.capacity() * sizeof(Node); }

private:
    static constexpr uint32_t kPrecise = 1u << 31, kLinked = 1u << 30, kFlags = kPrecise | kLinked;
    struct Node {
        uint32_t a = 0;  // with the flags
        uint32_t b = 0;
    };

    void push_links(uint32_t node) {
        const auto found = links_.find(node);
        if (found == links_.end()) return;
        work_.insert(work_.end(), found->second.begin(), found->second.end());
        links_.erase(found);
    }

    std::vector<Node> nodes_;
    std::vector<uint32_t> work_;
    std::unordered_map<uint32_t, std::vector<uint32_t>> links_;
};

}  // namespace skep::verifier
