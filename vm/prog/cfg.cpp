// Building the Cfg. One depth-first walk per subprogram gives order, retreating edges and loop
// nesting (the single-pass scheme of Wei, Mao, Zou and Chen, SAS 2007); Tarjan's algorithm the
// components; Lengauer and Tarjan's the dominators. All with explicit stacks.
#include "vm/prog/cfg.hpp"

#include <algorithm>
#include <utility>

#include "vm/base/try.hpp"

namespace skep {
namespace {

uint32_t length_of(const Insn& insn) { return insn.kind == Kind::Imm64 ? 2 : 1; }

bool ends_flow(Kind kind) { return kind == Kind::Exit || kind == Kind::Jump; }
bool may_jump(Kind kind) {
    return kind == Kind::Jump || kind == Kind::Branch || kind == Kind::MayGoto;
}

Where at(const Program& program, const Subprogram& sub, uint32_t slot) {
    Where where;
    where.program = sub.name.empty() ? program.name : sub.name;
    where.slot = slot;
    return where;
}

}  // namespace

class CfgBuilder {
public:
    CfgBuilder(const Program& program, const CfgOptions& options)
        : program_(program), options_(options), insns_(program.insns) {}

    Result<Cfg> build();

private:
    Result<void> check_layout();
    Result<void> check_subprogram(const Subprogram& sub);
    void cut_blocks();
    Result<void> link_calls();
    void link_predecessors();
    void walk(uint32_t sub);
    void note_edge(uint32_t from, uint32_t to);
    void tag_loop(uint32_t block, uint32_t head);
    void find_components(uint32_t sub);
    void find_dominators(uint32_t sub);
    void number_dominator_tree();
    void order_calls();
    Result<void> check_reachable();
    uint32_t subprogram_at(uint32_t slot) const;

    const Program& program_;
    const CfgOptions& options_;
    std::span<const Insn> insns_;
    Cfg cfg_;
    std::vector<uint32_t> path_position_;  // by block: 1 + depth while on the walk's path
    uint64_t tag_budget_ = 0;
    uint32_t components_ = 0;
};

// The subprogram that starts at `slot`, or none.
uint32_t CfgBuilder::subprogram_at(uint32_t slot) const {
    const auto& subs = program_.subprograms;
    const auto it = std::lower_bound(subs.begin(), subs.end(), slot,
                                     [](const Subprogram& s, uint32_t n) { return s.first < n; });
    return it != subs.end() && it->first == slot ? static_cast<uint32_t>(it - subs.begin())
                                                 : kNoIndex;
}

Result<Cfg> CfgBuilder::build() {
    SKEP_CHECK(check_layout());
    for (const Subprogram& sub : program_.subprograms) SKEP_CHECK(check_subprogram(sub));
    cut_blocks();
    SKEP_CHECK(link_calls());
    link_predecessors();
    path_position_.assign(cfg_.blocks_.size(), 0);
    tag_budget_ = 64 * cfg_.blocks_.size();
    for (uint32_t sub = 0; sub < cfg_.subprograms_.size(); ++sub) {
        walk(sub);
        find_components(sub);
        find_dominators(sub);
    }
    std::sort(cfg_.retreating_.begin(), cfg_.retreating_.end());
    number_dominator_tree();
    order_calls();
    SKEP_CHECK(check_reachable());
    return std::move(cfg_);
}

// Subprograms tile the program, and no instruction straddles two.
Result<void> CfgBuilder::check_layout() {
    if (insns_.empty() || program_.subprograms.empty())
        return fail(ErrorCode::EmptyProgram, "the program has no instructions");
    uint64_t next = 0;
    for (const Subprogram& sub : program_.subprograms) {
        if (sub.first != next || sub.count == 0)
            return fail(
                ErrorCode::InvalidArgument,
                "subprograms must follow each other without a gap; \"" + sub.name + "\" does not");
        next += sub.count;
    }
    if (next != insns_.size())
        return fail(ErrorCode::InvalidArgument, "the subprograms do not cover the program");
    return {};
}

Result<void> CfgBuilder::check_subprogram(const Subprogram& sub) {
    const uint32_t end = sub.first + sub.count;
    uint32_t last = sub.first;
    for (uint32_t slot = sub.first; slot < end; slot += length_of(insns_[slot])) {
        const Insn& insn = insns_[slot];
        if (insn.kind == Kind::Imm64High || slot + length_of(insn) > end)
            return fail(ErrorCode::BadJump, "half of a 16-byte instruction",
                        at(program_, sub, slot));
        last = slot;
        if (!may_jump(insn.kind)) continue;
        const auto target = static_cast<uint32_t>(insn.target);
        if (insn.target < 0 || target < sub.first || target >= end)
            return fail(ErrorCode::JumpOutOfRange,
                        "jumps to slot " + std::to_string(insn.target) +
                            ", outside of its subprogram's slots " + std::to_string(sub.first) +
                            ".." + std::to_string(end - 1),
                        at(program_, sub, slot));
        if (insns_[target].kind == Kind::Imm64High)
            return fail(ErrorCode::BadJump,
                        "jumps into the middle of the 16-byte instruction at slot " +
                            std::to_string(target - 1),
                        at(program_, sub, slot));
    }
    if (!ends_flow(insns_[last].kind))
        return fail(ErrorCode::FallsOffEnd,
                    "the last instruction of a subprogram must be exit or a jump, or control "
                    "falls off its end",
                    at(program_, sub, last));
    return {};
}

void CfgBuilder::cut_blocks() {
    const auto slots = static_cast<uint32_t>(insns_.size());
    std::vector<bool> starts(slots, false);
    for (const Subprogram& sub : program_.subprograms) starts[sub.first] = true;
    for (uint32_t slot = 0; slot < slots; slot += length_of(insns_[slot])) {
        const Insn& insn = insns_[slot];
        if (!may_jump(insn.kind) && insn.kind != Kind::Exit) continue;
        if (insn.kind != Kind::Exit) starts[static_cast<uint32_t>(insn.target)] = true;
        if (slot + 1 < slots) starts[slot + 1] = true;
    }
    cfg_.block_of_.resize(slots);
    uint32_t sub = 0;
    for (uint32_t slot = 0; slot < slots; ++slot) {
        if (starts[slot]) {
            const auto& subs = program_.subprograms;
            while (sub + 1 < subs.size() && subs[sub + 1].first <= slot) ++sub;
            BasicBlock block;
            block.first = slot;
            block.subprogram = sub;
            cfg_.blocks_.push_back(block);
        }
        cfg_.block_of_[slot] = static_cast<uint32_t>(cfg_.blocks_.size()) - 1;
        if (insns_[slot].kind != Kind::Imm64High) cfg_.blocks_.back().last = slot;
    }
    for (BasicBlock& block : cfg_.blocks_) {
        const Insn& insn = insns_[block.last];
        uint32_t count = 0;
        if (!ends_flow(insn.kind))
            block.successors[count++] = cfg_.block_of_[block.last + length_of(insn)];
        if (may_jump(insn.kind)) {
            const uint32_t target = cfg_.block_of_[static_cast<uint32_t>(insn.target)];
            if (count == 0 || target != block.successors[0]) block.successors[count] = target;
        }
    }
}

Result<void> CfgBuilder::link_calls() {
    cfg_.subprograms_.resize(program_.subprograms.size());
    for (uint32_t i = 0; i < cfg_.blocks_.size(); ++i) {
        SubprogramFlow& flow = cfg_.subprograms_[cfg_.blocks_[i].subprogram];
        if (flow.block_count++ == 0) flow.first_block = i;
    }
    for (uint32_t sub = 0; sub < program_.subprograms.size(); ++sub) {
        const Subprogram& s = program_.subprograms[sub];
        SubprogramFlow& flow = cfg_.subprograms_[sub];
        for (uint32_t slot = s.first; slot < s.first + s.count; ++slot) {
            const Insn& insn = insns_[slot];
            const bool is_address =
                insn.kind == Kind::Imm64 && insn.pseudo_imm() == PseudoImm::Func;
            if (insn.kind != Kind::CallLocal && !is_address) continue;
            const uint32_t callee =
                insn.target < 0 ? kNoIndex : subprogram_at(static_cast<uint32_t>(insn.target));
            if (callee == kNoIndex)
                return fail(
                    ErrorCode::JumpOutOfRange,
                    "slot " + std::to_string(insn.target) + " is not the start of a subprogram",
                    at(program_, s, slot));
            flow.callees.push_back(callee);
            if (is_address) cfg_.subprograms_[callee].is_callback = true;
        }
        std::sort(flow.callees.begin(), flow.callees.end());
        flow.callees.erase(std::unique(flow.callees.begin(), flow.callees.end()),
                           flow.callees.end());
    }
    return {};
}

void CfgBuilder::link_predecessors() {
    const size_t n = cfg_.blocks_.size();
    cfg_.predecessor_start_.assign(n + 1, 0);
    for (const BasicBlock& b : cfg_.blocks_)
        for (const uint32_t s : b.next()) ++cfg_.predecessor_start_[s + 1];
    for (size_t i = 0; i < n; ++i) cfg_.predecessor_start_[i + 1] += cfg_.predecessor_start_[i];
    cfg_.predecessors_.resize(cfg_.predecessor_start_[n]);
    std::vector<uint32_t> fill(cfg_.predecessor_start_.begin(), cfg_.predecessor_start_.end() - 1);
    for (uint32_t i = 0; i < n; ++i)
        for (const uint32_t s : cfg_.blocks_[i].next()) cfg_.predecessors_[fill[s]++] = i;
}

// Makes `head` one of the loop heads around `block`, keeping the chain of heads ordered by their
// position on the path. The chain can be as long as loops nest, so the work is bounded; past the
// bound loop_head names some enclosing head instead of the innermost.
void CfgBuilder::tag_loop(uint32_t block, uint32_t head) {
    if (block == head || head == kNoIndex) return;
    // A head's own entry names the next outer head while the walk goes on.
    uint32_t inner = block, outer = head;
    while (cfg_.blocks_[inner].loop_head != kNoIndex) {
        if (tag_budget_ == 0) return;
        --tag_budget_;
        const uint32_t known = cfg_.blocks_[inner].loop_head;
        if (known == outer) return;
        if (path_position_[known] < path_position_[outer]) {
            cfg_.blocks_[inner].loop_head = outer;
            inner = outer;
            outer = known;
        } else {
            inner = known;
        }
    }
    cfg_.blocks_[inner].loop_head = outer;
}

// An edge to a block that the walk has seen before.
void CfgBuilder::note_edge(uint32_t from, uint32_t to) {
    if (path_position_[to] != 0) {
        cfg_.blocks_[to].is_loop_head = true;
        cfg_.retreating_.emplace_back(from, to);
        tag_loop(from, to);
        return;
    }
    // Into a loop that was left already: its nearest head still on the path encloses `from` too.
    uint32_t head = cfg_.blocks_[to].loop_head;
    while (head != kNoIndex && path_position_[head] == 0 && tag_budget_ != 0) {
        --tag_budget_;
        head = cfg_.blocks_[head].loop_head;
    }
    if (head != kNoIndex && path_position_[head] != 0) tag_loop(from, head);
}

void CfgBuilder::walk(uint32_t sub) {
    SubprogramFlow& flow = cfg_.subprograms_[sub];
    std::vector<std::pair<uint32_t, uint32_t>> path{{flow.first_block, 0}};  // block, next edge
    cfg_.blocks_[flow.first_block].is_reachable = true;
    path_position_[flow.first_block] = 1;
    while (!path.empty()) {
        auto& [block, edge] = path.back();
        const auto next = cfg_.blocks_[block].next();
        if (edge < next.size()) {
            const uint32_t to = next[edge++];
            if (cfg_.blocks_[to].is_reachable) {
                note_edge(block, to);
            } else {
                cfg_.blocks_[to].is_reachable = true;
                path.emplace_back(to, 0);
                path_position_[to] = static_cast<uint32_t>(path.size());
            }
            continue;
        }
        const uint32_t done = block;
        path_position_[done] = 0;
        flow.order.push_back(done);
        path.pop_back();
        if (!path.empty()) {
            const uint32_t head = cfg_.blocks_[done].loop_head;
            if (head != kNoIndex && path_position_[head] != 0) tag_loop(path.back().first, head);
        }
    }
    std::reverse(flow.order.begin(), flow.order.end());
    for (uint32_t i = 0; i < flow.order.size(); ++i) cfg_.blocks_[flow.order[i]].order = i;
    for (const uint32_t b : flow.order) {
        BasicBlock& head = cfg_.blocks_[b];
        if (head.is_loop_head) head.outer_head = std::exchange(head.loop_head, b);
    }
}

void CfgBuilder::find_components(uint32_t sub) {
    const SubprogramFlow& flow = cfg_.subprograms_[sub];
    const uint32_t base = flow.first_block;
    std::vector<uint32_t> index(flow.block_count, 0), low(flow.block_count, 0), open;
    std::vector<std::pair<uint32_t, uint32_t>> path{{base, 0}};
    uint32_t counter = 0;
    index[0] = low[0] = ++counter;
    open.push_back(base);
    std::vector<bool> is_open(flow.block_count, false);
    is_open[0] = true;
    while (!path.empty()) {
        auto& [block, edge] = path.back();
        const auto next = cfg_.blocks_[block].next();
        const uint32_t me = block - base;
        if (edge < next.size()) {
            const uint32_t to = next[edge++], other = to - base;
            if (index[other] == 0) {
                index[other] = low[other] = ++counter;
                open.push_back(to);
                is_open[other] = true;
                path.emplace_back(to, 0);
            } else if (is_open[other]) {
                low[me] = std::min(low[me], index[other]);
            }
            continue;
        }
        path.pop_back();
        if (!path.empty()) {
            const uint32_t up = path.back().first - base;
            low[up] = std::min(low[up], low[me]);
        }
        if (low[me] != index[me]) continue;
        const auto self = cfg_.blocks_[me + base].next();
        const bool is_cycle = open.back() != me + base ||
                              std::find(self.begin(), self.end(), me + base) != self.end();
        if (is_cycle) ++components_;
        uint32_t member;
        do {
            member = open.back();
            open.pop_back();
            is_open[member - base] = false;
            if (is_cycle) cfg_.blocks_[member].component = components_;
        } while (member != me + base);
    }
}

// Lengauer and Tarjan's algorithm with path compression; vertices are positions in the spanning
// tree's preorder.
void CfgBuilder::find_dominators(uint32_t sub) {
    const SubprogramFlow& flow = cfg_.subprograms_[sub];
    const uint32_t base = flow.first_block;
    std::vector<uint32_t> number(flow.block_count, kNoIndex), vertex, parent;
    std::vector<std::pair<uint32_t, uint32_t>> stack{{base, kNoIndex}};
    while (!stack.empty()) {
        const auto [block, from] = stack.back();
        stack.pop_back();
        if (number[block - base] != kNoIndex) continue;
        const auto me = static_cast<uint32_t>(vertex.size());
        number[block - base] = me;
        vertex.push_back(block);
        parent.push_back(from);
        for (const uint32_t s : cfg_.blocks_[block].next()) stack.emplace_back(s, me);
    }
    const auto n = static_cast<uint32_t>(vertex.size());
    std::vector<uint32_t> semi(n), label(n), ancestor(n, kNoIndex), idom(n, kNoIndex);
    std::vector<uint32_t> bucket(n, kNoIndex), bucket_next(n, kNoIndex), chain;
    for (uint32_t i = 0; i < n; ++i) semi[i] = label[i] = i;
    const auto evaluate = [&](uint32_t v) {
        if (ancestor[v] == kNoIndex) return v;
        chain.clear();
        for (uint32_t u = v; ancestor[ancestor[u]] != kNoIndex; u = ancestor[u]) chain.push_back(u);
        for (; !chain.empty(); chain.pop_back()) {
            const uint32_t u = chain.back(), up = ancestor[u];
            if (semi[label[up]] < semi[label[u]]) label[u] = label[up];
            ancestor[u] = ancestor[up];
        }
        return label[v];
    };
    for (uint32_t w = n; w-- > 1;) {
        for (const uint32_t p : cfg_.predecessors(vertex[w])) {
            const uint32_t v = number[p - base];
            if (v != kNoIndex) semi[w] = std::min(semi[w], semi[evaluate(v)]);
        }
        bucket_next[w] = bucket[semi[w]];
        bucket[semi[w]] = w;
        ancestor[w] = parent[w];
        for (uint32_t v = bucket[parent[w]]; v != kNoIndex; v = bucket_next[v]) {
            const uint32_t u = evaluate(v);
            idom[v] = semi[u] < semi[v] ? u : parent[w];
        }
        bucket[parent[w]] = kNoIndex;
    }
    for (uint32_t w = 1; w < n; ++w) {
        if (idom[w] != semi[w]) idom[w] = idom[idom[w]];
        cfg_.blocks_[vertex[w]].dominator = vertex[idom[w]];
    }
}

// Nested intervals, so that dominance is two comparisons.
void CfgBuilder::number_dominator_tree() {
    const size_t n = cfg_.blocks_.size();
    std::vector<uint32_t> first_child(n, kNoIndex), sibling(n, kNoIndex);
    for (uint32_t b = 0; b < n; ++b) {
        const uint32_t d = cfg_.blocks_[b].dominator;
        if (d == kNoIndex) continue;
        sibling[b] = first_child[d];
        first_child[d] = b;
    }
    cfg_.tree_in_.assign(n, 0);
    cfg_.tree_out_.assign(n, 0);
    uint32_t clock = 0;
    std::vector<std::pair<uint32_t, bool>> stack;
    for (uint32_t root = 0; root < n; ++root) {
        if (cfg_.blocks_[root].dominator != kNoIndex) continue;
        stack.emplace_back(root, false);
        while (!stack.empty()) {
            const auto [b, leaving] = stack.back();
            stack.pop_back();
            if (leaving) {
                cfg_.tree_out_[b] = ++clock;
                continue;
            }
            cfg_.tree_in_[b] = ++clock;
            stack.emplace_back(b, true);
            for (uint32_t c = first_child[b]; c != kNoIndex; c = sibling[c])
                stack.emplace_back(c, false);
        }
    }
}

// Reachability, recursion and depth of the call graph, callees first.
void CfgBuilder::order_calls() {
    auto& subs = cfg_.subprograms_;
    const auto n = static_cast<uint32_t>(subs.size());
    std::vector<uint32_t> index(n, 0), low(n, 0), depth(n, 1), open;
    std::vector<bool> is_open(n, false);
    uint32_t counter = 0;
    for (uint32_t root = 0; root < n; ++root) {
        if (index[root] != 0) continue;
        std::vector<std::pair<uint32_t, uint32_t>> path{{root, 0}};
        const auto enter = [&](uint32_t sub) {
            index[sub] = low[sub] = ++counter;
            open.push_back(sub);
            is_open[sub] = true;
            subs[sub].is_reachable =
                root == 0 || static_cast<int64_t>(root) == program_.exception_callback;
        };
        enter(root);
        while (!path.empty()) {
            auto& [sub, edge] = path.back();
            if (edge < subs[sub].callees.size()) {
                const uint32_t to = subs[sub].callees[edge++];
                if (to == sub) subs[sub].is_recursive = true;
                if (index[to] == 0) {
                    enter(to);
                    path.emplace_back(to, 0);
                } else if (is_open[to]) {
                    low[sub] = std::min(low[sub], index[to]);
                } else {
                    depth[sub] = std::max(depth[sub], depth[to] + 1);
                }
                continue;
            }
            const uint32_t done = sub;
            path.pop_back();
            if (!path.empty()) {
                const uint32_t up = path.back().first;
                low[up] = std::min(low[up], low[done]);
                depth[up] = std::max(depth[up], depth[done] + 1);
            }
            cfg_.callees_first_.push_back(done);
            if (low[done] != index[done]) continue;
            const bool is_cycle = open.back() != done;
            uint32_t member;
            do {
                member = open.back();
                open.pop_back();
                is_open[member] = false;
                if (is_cycle) subs[member].is_recursive = true;
            } while (member != done);
        }
    }
    cfg_.call_depth_ = depth[0];
}

Result<void> CfgBuilder::check_reachable() {
    // What an unreachable subprogram contains is unreachable too.
    for (BasicBlock& block : cfg_.blocks_)
        if (!cfg_.subprograms_[block.subprogram].is_reachable) block.is_reachable = false;
    if (!options_.reject_unreachable) return {};
    for (const BasicBlock& block : cfg_.blocks_)
        if (!block.is_reachable)
            return fail(ErrorCode::UnreachableInsn, "no path reaches this instruction",
                        at(program_, program_.subprograms[block.subprogram], block.first));
    return {};
}

Result<Cfg> Cfg::build(const Program& program, const CfgOptions& options) {
    return CfgBuilder(program, options).build();
}

bool Cfg::is_back_edge(uint32_t slot, uint32_t target) const {
    const std::pair edge{block_of_[slot], block_of_[target]};
    return blocks_[edge.first].last == slot && blocks_[edge.second].first == target &&
           std::binary_search(retreating_.begin(), retreating_.end(), edge);
}

bool Cfg::dominates(uint32_t a, uint32_t b) const {
    return tree_in_[a] <= tree_in_[b] && tree_out_[b] <= tree_out_[a];
}

std::string Cfg::dump() const {
    std::string out;
    for (uint32_t i = 0; i < blocks_.size(); ++i) {
        const BasicBlock& b = blocks_[i];
        if (i == 0 || blocks_[i - 1].subprogram != b.subprogram) {
            const SubprogramFlow& flow = subprograms_[b.subprogram];
            out += "subprogram " + std::to_string(b.subprogram) + ":";
            for (const uint32_t callee : flow.callees) out += " calls " + std::to_string(callee);
            if (flow.is_recursive) out += " recursive";
            if (flow.is_callback) out += " callback";
            if (!flow.is_reachable) out += " unreachable";
            out += "\n";
        }
        out += "  block " + std::to_string(i) + ": " + std::to_string(b.first) + ".." +
               std::to_string(b.last);
        if (!b.is_reachable) out += " unreachable";
        const char* separator = " -> ";
        for (const uint32_t s : b.next()) {
            out += separator + std::to_string(s);
            separator = ", ";
        }
        if (b.dominator != kNoIndex) out += " dominator " + std::to_string(b.dominator);
        if (b.is_loop_head)
            out += " loop head";
        else if (b.loop_head != kNoIndex)
            out += " in loop " + std::to_string(b.loop_head);
        out += "\n";
    }
    return out;
}

}  // namespace skep
