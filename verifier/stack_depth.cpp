// After the search: how deep calls nest and how much stack they need, from the entry and, each on a
// stack of its own, from every asynchronous callback that was started.
#include <algorithm>

#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"

namespace skep::verifier {
namespace {

constexpr uint32_t kStackLimit = 512, kStackLimitExtended = 4096, kTailCallStack = 256;
// Below this a frame is not worth a stack of its own (Linux, BPF_PRIV_STACK_MIN_SIZE).
constexpr uint32_t kPrivateStackMin = 64;

// As Linux's JITs lay frames out.
uint32_t rounded(uint32_t bytes) { return (bytes + 15) & ~15u; }

// Programs that cannot run inside themselves, so that Linux gives their large frames private
// memory.
bool has_private_stacks(const Program& program) {
    switch (program.type->kind) {
        case ProgKind::Kprobe:
        case ProgKind::Tracepoint:
        case ProgKind::PerfEvent:
        case ProgKind::RawTracepoint: return true;
        case ProgKind::Tracing:
            return program.attach_type != static_cast<uint32_t>(AttachType::TraceIter);
        default: return false;
    }
}

}  // namespace

// The chains of frames below one root.
class StackDepth {
public:
    StackDepth(const Program& program, const Cfg& cfg, const std::vector<uint16_t>& frame_bytes,
               const std::vector<uint8_t>& is_async);

    bool any_tail_call() const { return std::ranges::find(tail_call_, 1) != tail_call_.end(); }
    bool calls_tail(uint32_t sub) const { return tail_call_[sub] != 0; }
    // From now on the frames of what `root` reaches count for their callers' stack.
    void share_stack(uint32_t root);
    void allow_private_stacks() { private_ = true; }
    // Fills in frames, own, total and before for all that `root` reaches; false where calls cycle.
    bool measure(uint32_t root);

    uint32_t frames(uint32_t sub) const { return at_[sub].frames; }
    uint32_t total(uint32_t sub) const { return at_[sub].total; }    // bytes of the deepest chain
    uint32_t before(uint32_t sub) const { return at_[sub].before; }  // most bytes of callers
    uint32_t recursive() const { return recursive_; }                // after measure() failed
    uint32_t largest_private() const { return largest_private_; }
    const std::vector<uint32_t>& reached() const { return order_; }  // callees first

private:
    struct At {
        uint8_t mark = 0;  // 1: being visited, 2: done
        uint32_t frames = 0, own = 0, total = 0, before = 0;
    };
    bool visit(uint32_t sub);
    uint32_t own_bytes(uint32_t sub);

    std::vector<std::vector<uint32_t>> callees_;
    std::vector<uint8_t> tail_call_, shared_;  // by subprogram
    std::vector<uint16_t> frame_bytes_;
    std::vector<At> at_;
    std::vector<uint32_t> order_;
    uint32_t largest_private_ = 0, recursive_ = 0;
    bool private_ = false;
};

StackDepth::StackDepth(const Program& program, const Cfg& cfg,
                       const std::vector<uint16_t>& frame_bytes,
                       const std::vector<uint8_t>& is_async)
    : callees_(frame_bytes.size()),
      tail_call_(frame_bytes.size(), 0),
      shared_(frame_bytes.size(), 0),
      frame_bytes_(frame_bytes) {
    for (uint32_t slot = 0; slot < program.insns.size(); ++slot) {
        const Insn& insn = program.insns[slot];
        const uint32_t sub = cfg.subprogram_of(slot);
        if (insn.kind == Kind::Call && insn.pseudo_call() == PseudoCall::Helper &&
            insn.imm == helper_id::kTailCall)
            tail_call_[sub] = 1;
        const bool is_address = insn.kind == Kind::Imm64 && insn.pseudo_imm() == PseudoImm::Func;
        if (insn.kind != Kind::CallLocal && !is_address) continue;
        const uint32_t callee = cfg.subprogram_of(static_cast<uint32_t>(insn.target));
        // An asynchronous callback runs when this frame is gone, unless it is called outright.
        if (is_address && is_async[callee] != 0) continue;
        callees_[sub].push_back(callee);
    }
}

uint32_t StackDepth::own_bytes(uint32_t sub) {
    const uint32_t bytes = rounded(frame_bytes_[sub]);
    if (!private_ || shared_[sub] != 0 || bytes < kPrivateStackMin) return bytes;
    largest_private_ = std::max(largest_private_, bytes);
    return 0;
}

// A program has at most 256 subprograms, which bounds the recursion.
bool StackDepth::visit(uint32_t sub) {
    At& at = at_[sub];
    if (at.mark == 1) recursive_ = sub;
    if (at.mark != 0) return at.mark == 2;
    at.mark = 1;
    for (const uint32_t callee : callees_[sub]) {
        if (!visit(callee)) return false;
        at.frames = std::max(at.frames, at_[callee].frames);
        at.total = std::max(at.total, at_[callee].total);
    }
    at.own = own_bytes(sub);
    ++at.frames;
    at.total += at.own;
    at.mark = 2;
    order_.push_back(sub);
    return true;
}

bool StackDepth::measure(uint32_t root) {
    at_.assign(callees_.size(), {});
    order_.clear();
    largest_private_ = 0;
    if (!visit(root)) return false;
    for (size_t k = order_.size(); k-- > 0;) {
        const At& caller = at_[order_[k]];
        for (const uint32_t callee : callees_[order_[k]])
            at_[callee].before = std::max(at_[callee].before, caller.before + caller.own);
    }
    return true;
}

void StackDepth::share_stack(uint32_t root) {
    std::vector<uint32_t> work{root};
    while (!work.empty()) {
        const uint32_t sub = work.back();
        work.pop_back();
        if (shared_[sub] != 0) continue;
        shared_[sub] = 1;
        work.insert(work.end(), callees_[sub].begin(), callees_[sub].end());
    }
}

bool Analyzer::check_stack_depth() {
    if (!check_throws()) return false;
    const auto count = static_cast<uint32_t>(program_.subprograms.size());
    std::vector<uint8_t> is_async(count, 0);
    for (const auto& [subprogram, map] : async_started_) is_async[subprogram] = 1;
    StackDepth depth(program_, *cfg_, frame_bytes_, is_async);
    for (uint32_t sub = 1; sub < count; ++sub)
        if (is_async[sub] != 0) depth.share_stack(sub);
    result_.facts.max_stack = 0;
    for (uint32_t sub = count; sub-- > 0;) {
        if (sub != 0 && is_async[sub] == 0) continue;
        if (sub == 0 && has_private_stacks(program_) && !depth.any_tail_call())
            depth.allow_private_stacks();
        if (sub != 0 && depth.calls_tail(sub)) {
            slot_ = program_.subprograms[sub].first;
            return reject(ErrorCode::TailCallContext, "tail_call inside a callback is not allowed");
        }
        if (!check_stack_below(depth, sub)) return false;
    }
    return true;
}

// What a callback that throws would unwind is not the program's alone.
bool Analyzer::check_throws() {
    for (uint32_t sub = 0; sub < is_callback_.size(); ++sub) {
        if (is_callback_[sub] == 0 || !throws_below(sub)) continue;
        slot_ = program_.subprograms[sub].first;
        return reject(ErrorCode::BadCallback,
                      "bpf_throw kfunc cannot be called from callback subprog %u", sub);
    }
    return true;
}

bool Analyzer::reject_recursion(uint32_t subprogram) {
    const Subprogram& s = program_.subprograms[subprogram];
    slot_ = s.first;
    return reject(ErrorCode::Recursion, "subprogram \"%s\" calls itself", s.name.c_str());
}

bool Analyzer::check_stack_below(StackDepth& depth, uint32_t root) {
    slot_ = program_.subprograms[root].first;
    if (!depth.measure(root)) return reject_recursion(depth.recursive());
    if (depth.frames(root) > kMaxFrames)
        return reject(ErrorCode::CallsTooDeep,
                      "the call stack of %u frames is too deep: at most %u are allowed",
                      kMaxFrames + 1, kMaxFrames);
    // A tail call leaves its callers' frames in place, up to 33 times.
    for (const uint32_t sub : depth.reached()) {
        if (sub == root || !depth.calls_tail(sub) || depth.before(sub) < kTailCallStack) continue;
        slot_ = program_.subprograms[sub].first;
        return reject(ErrorCode::StackTooDeep,
                      "tail_calls are not allowed when call stack of "
                      "previous frames is %u bytes. Too large",
                      depth.before(sub));
    }
    const uint32_t deepest = std::max(depth.total(root), depth.largest_private());
    result_.facts.max_stack = std::max(result_.facts.max_stack, deepest);
    if (deepest <= kStackLimit) return true;
    if (extended() && deepest <= kStackLimitExtended) {
        relax("combined_stack");
        return true;
    }
    return reject(ErrorCode::StackTooDeep,
                  "combined stack size of %u calls is %u. Too large: at most "
                  "%u bytes are allowed",
                  depth.frames(root), deepest, kStackLimit);
}

}  // namespace skep::verifier
