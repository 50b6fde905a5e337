// Three dataflow problems per subprogram, callees first: which registers hold stack addresses
// (forward), which registers are live and which stack granules are live (backward, together).
#include "verifier/liveness.hpp"

#include <algorithm>
#include <bit>
#include <cstdio>

namespace skep {
namespace {

constexpr uint16_t bit(unsigned reg) { return static_cast<uint16_t>(1u << reg); }
constexpr uint16_t kCallerSaved = 0x3f;  // r0..r5
constexpr uint16_t kArguments = 0x3e;    // r1..r5

struct Effect {
    uint16_t reads = 0, writes = 0;
};

constexpr uint16_t arguments(unsigned count) {
    return static_cast<uint16_t>(((1u << std::min(count, 5u)) - 1) << 1);
}

Effect effect_of_atomic(const Insn& insn) {
    switch (insn.atomic()) {
        case AtomicOp::LoadAcquire: return {bit(insn.src), bit(insn.dst)};
        case AtomicOp::Cmpxchg:
            return {static_cast<uint16_t>(bit(insn.dst) | bit(insn.src) | bit(0)), bit(0)};
        default: break;
    }
    return {static_cast<uint16_t>(bit(insn.dst) | bit(insn.src)),
            fetches(insn.atomic()) ? bit(insn.src) : uint16_t{0}};
}

Effect effect_of(const Insn& insn, uint16_t call_reads) {
    const uint16_t dst = bit(insn.dst);
    const uint16_t src = insn.is_imm ? 0 : bit(insn.src);
    const auto dst_src = static_cast<uint16_t>(dst | src);
    switch (insn.kind) {
        case Kind::Alu: return insn.alu() == AluOp::Mov ? Effect{src, dst} : Effect{dst_src, dst};
        case Kind::Neg:
        case Kind::Endian: return {dst, dst};
        case Kind::Imm64: return {0, dst};
        case Kind::Load:
        case Kind::AddrSpaceCast: return {bit(insn.src), dst};
        case Kind::Store: return {dst_src, 0};
        case Kind::Atomic: return effect_of_atomic(insn);
        // The context is an implicit operand, in r6; the packet helpers behind it clobber r1..r5.
        case Kind::LoadPacket: return {static_cast<uint16_t>(bit(6) | src), kCallerSaved};
        case Kind::Branch: return {dst_src, 0};
        case Kind::Call:
        case Kind::CallLocal: return {call_reads, kCallerSaved};
        case Kind::Exit: return {bit(0), 0};
        case Kind::Jump:
        case Kind::MayGoto:
        case Kind::Imm64High: return {};
    }
    return {};
}

// What a register may be, as far as stack addresses go.
struct Address {
    enum class What : uint8_t {
        None,   // no address of this frame
        Exact,  // r10 + off
        Maybe,  // r10 + off, or none
        Any,    // any address of this frame, or none
    };
    What what = What::None;
    int32_t off = 0;
    bool operator==(const Address&) const = default;
};

Address joined(Address a, Address b) {
    using What = Address::What;
    if (a == b) return a;
    if (a.what == What::None || b.what == What::None) {
        const Address other = a.what == What::None ? b : a;
        return other.what == What::Any ? other : Address{What::Maybe, other.off};
    }
    if (a.what == What::Any || b.what == What::Any || a.off != b.off) return {What::Any, 0};
    return {What::Maybe, a.off};
}

struct Registers {
    std::array<Address, kRegisters> of{};
    bool seen = false;
};

// Blocks that wait to be looked at, by their position in an order; visited round after round.
class Worklist {
public:
    explicit Worklist(size_t size) : words_((size + 63) / 64, 0), size_(size) {}
    void add(size_t i) { words_[i / 64] |= uint64_t{1} << i % 64; }
    void add_all() {
        for (size_t i = 0; i < size_; ++i) add(i);
    }
    // The next one in the order, from the current position on and then from the start.
    bool take(size_t& i) {
        for (int round = 0; round < 2; ++round) {
            while (position_ < size_) {
                const uint64_t rest = words_[position_ / 64] >> position_ % 64;
                if (rest == 0) {
                    position_ = (position_ / 64 + 1) * 64;
                    continue;
                }
                i = position_ + static_cast<size_t>(std::countr_zero(rest));
                words_[i / 64] &= ~(uint64_t{1} << i % 64);
                position_ = i + 1;
                return true;
            }
            position_ = 0;
        }
        return false;
    }

private:
    std::vector<uint64_t> words_;
    size_t size_, position_ = 0;
};

// Joins what arrives over an edge; false if nothing new does.
bool merge_into(Registers& there, const Registers& regs) {
    Registers merged = regs;
    merged.seen = true;
    if (there.seen)
        for (unsigned r = 0; r < kRegisters; ++r) merged.of[r] = joined(there.of[r], regs.of[r]);
    if (there.seen && merged.of == there.of) return false;
    there = merged;
    return true;
}

}  // namespace

StackMask granules_touched(int64_t off, int64_t size) {
    const int64_t lo = std::max<int64_t>(off, -int64_t{kStackBytes});
    const int64_t hi = std::min<int64_t>(off + size, 0);  // exclusive
    if (size <= 0 || lo >= hi) return {};
    // Byte b is in granule (-b - 1) / 4.
    return granules(static_cast<unsigned>((-hi) / 4), static_cast<unsigned>((-lo - 1) / 4));
}
StackMask granules_covered(int64_t off, int64_t size) {
    const int64_t lo = std::max<int64_t>(off, -int64_t{kStackBytes});
    const int64_t hi = std::min<int64_t>(off + size, 0);
    if (size <= 0 || lo >= hi) return {};
    const int64_t first = (-hi + 3) / 4, end = -lo / 4;  // granules [first, end)
    if (first >= end) return {};
    return granules(static_cast<unsigned>(first), static_cast<unsigned>(end) - 1);
}

class LivenessBuilder {
public:
    LivenessBuilder(const Program& program, const Cfg& cfg, const CallReader& reads)
        : program_(program), cfg_(cfg), reader_(reads) {}

    Liveness build();

private:
    void prepare(uint32_t sub);
    void follow_addresses(uint32_t sub);
    void step_addresses(uint32_t slot, Registers& regs);
    void step_call(uint32_t slot, Registers& regs);
    void note_access(uint32_t slot, const Registers& regs);
    void note_read(uint32_t slot, Address a, int64_t size);
    void flow_backward(uint32_t sub);
    void step_backward(uint32_t slot, uint16_t& regs, StackMask& stack) const;
    CallReads reads_at(uint32_t slot) const;

    const Program& program_;
    const Cfg& cfg_;
    const CallReader& reader_;
    Liveness out_;
    std::vector<uint16_t> entry_reads_;                  // by subprogram: live argument registers
    std::vector<StackMask> stack_reads_, stack_writes_;  // by slot
    std::vector<uint16_t> call_reads_;                   // by slot
    bool spilled_ = false;  // the subprogram stores a stack address, or passes one to a subprogram
};

Liveness LivenessBuilder::build() {
    const size_t slots = program_.insns.size();
    const size_t subs = cfg_.subprograms().size();
    out_.registers_.assign(slots, 0);
    out_.stack_.assign(slots, {});
    stack_reads_.assign(slots, {});
    stack_writes_.assign(slots, {});
    call_reads_.assign(slots, 0);
    entry_reads_.assign(subs, kArguments);
    for (const uint32_t sub : cfg_.callees_first()) {
        prepare(sub);
        follow_addresses(sub);
        flow_backward(sub);
        const uint32_t first = program_.subprograms[sub].first;
        // Recursive callers ask before this is known and get all five arguments.
        if (!cfg_.subprograms()[sub].is_recursive)
            entry_reads_[sub] = out_.registers_[first] & kArguments;
    }
    return std::move(out_);
}

CallReads LivenessBuilder::reads_at(uint32_t slot) const {
    return reader_ ? reader_(slot) : CallReads{};
}

// Argument registers of each call, before the dataflow asks for them over and over.
void LivenessBuilder::prepare(uint32_t sub) {
    const Subprogram& s = program_.subprograms[sub];
    for (uint32_t slot = s.first; slot < s.first + s.count; ++slot) {
        const Insn& insn = program_.insns[slot];
        if (insn.kind == Kind::Call) {
            call_reads_[slot] = arguments(reads_at(slot).args);
        } else if (insn.kind == Kind::CallLocal) {
            const uint32_t callee = cfg_.subprogram_of(static_cast<uint32_t>(insn.target));
            // A global function is verified by its prototype, which may name arguments that the
            // body does not read; those are still checked at the call.
            call_reads_[slot] =
                program_.subprograms[callee].is_global ? kArguments : entry_reads_[callee];
        }
    }
}

void LivenessBuilder::note_read(uint32_t slot, Address a, int64_t size) {
    if (a.what == Address::What::None) return;
    stack_reads_[slot] =
        stack_reads_[slot] |
        (a.what == Address::What::Any ? ~StackMask{} : granules_touched(a.off, size));
}

// Loads and stores of the frame, given what the registers hold before `slot`.
void LivenessBuilder::note_access(uint32_t slot, const Registers& regs) {
    using What = Address::What;
    const Insn& insn = program_.insns[slot];
    const int64_t size = bytes_of(insn.width);
    const auto through = [&](unsigned reg) {
        Address a = regs.of[reg];
        a.off += insn.off;
        return a;
    };
    switch (insn.kind) {
        case Kind::Load: note_read(slot, through(insn.src), size); return;
        case Kind::Store: {
            const Address a = through(insn.dst);
            if (a.what == What::Exact) stack_writes_[slot] = granules_covered(a.off, size);
            return;
        }
        case Kind::Atomic:
            note_read(slot, through(insn.atomic() == AtomicOp::LoadAcquire ? insn.src : insn.dst),
                      size);
            return;
        default: return;
    }
}

void LivenessBuilder::step_call(uint32_t slot, Registers& regs) {
    using What = Address::What;
    const Insn& insn = program_.insns[slot];
    bool passed = false, is_unknown = insn.kind == Kind::CallLocal;
    const CallReads reads = insn.kind == Kind::Call ? reads_at(slot) : CallReads{};
    for (unsigned arg = 0; arg < std::min<unsigned>(reads.args, 5); ++arg) {
        const Address a = regs.of[arg + 1];
        if (a.what == What::None) continue;
        passed = true;
        is_unknown |= reads.bytes[arg] < 0;
        const int32_t bytes = reads.bytes[arg];
        note_read(slot, a, bytes >= 0 ? bytes : int64_t{kStackBytes});
    }
    for (unsigned r = 0; r <= 5; ++r) regs.of[r] = {};
    // Whoever has the address may store it in this frame, a callback for instance.
    if (is_unknown && passed) spilled_ = true;
    // A subprogram or a kernel function may return what it was given.
    const bool may_return = insn.kind == Kind::CallLocal ||
                            insn.pseudo_call() == PseudoCall::Kfunc || reads.returns_stack;
    if (passed && may_return) regs.of[0] = {What::Any, 0};
}

void LivenessBuilder::step_addresses(uint32_t slot, Registers& regs) {
    using What = Address::What;
    const Insn& insn = program_.insns[slot];
    Address& dst = regs.of[insn.dst];
    switch (insn.kind) {
        case Kind::Alu: {
            const Address src = insn.is_imm ? Address{} : regs.of[insn.src];
            if (insn.alu() == AluOp::Mov) {
                dst = insn.is64() && insn.sext == 0 ? src : Address{};
            } else if (insn.is_imm && insn.is64() && dst.what != What::Any &&
                       (insn.alu() == AluOp::Add || insn.alu() == AluOp::Sub)) {
                if (dst.what == What::None) return;
                const int64_t off = dst.off + (insn.alu() == AluOp::Add ? insn.imm : -insn.imm);
                // Far outside of the frame nothing is reached; keep the number small.
                dst.off = static_cast<int32_t>(std::clamp<int64_t>(off, -(1 << 20), 1 << 20));
            } else if (dst.what != What::None || src.what != What::None) {
                dst = {What::Any, 0};
            }
            return;
        }
        case Kind::Neg:
        case Kind::Endian:
            if (dst.what != What::None) dst = {What::Any, 0};
            return;
        case Kind::Imm64:
        case Kind::AddrSpaceCast: dst = {}; return;
        case Kind::Load:
            // A spilled address may come back from this frame. A caller's frame holds none of it:
            // storing a frame's address in an older one is refused under every policy.
            dst = spilled_ && insn.width == Width::Dw && regs.of[insn.src].what != What::None
                      ? Address{What::Any, 0}
                      : Address{};
            return;
        case Kind::Store:
            if (!insn.is_imm && regs.of[insn.src].what != What::None) spilled_ = true;
            return;
        case Kind::Atomic: {
            if (regs.of[insn.src].what != What::None) spilled_ = true;
            const Address loaded = spilled_ ? Address{What::Any, 0} : Address{};
            if (insn.atomic() == AtomicOp::LoadAcquire)
                dst = loaded;
            else if (insn.atomic() == AtomicOp::Cmpxchg)
                regs.of[0] = loaded;
            else if (fetches(insn.atomic()))
                regs.of[insn.src] = loaded;
            return;
        }
        case Kind::LoadPacket:
            for (unsigned r = 0; r <= 5; ++r) regs.of[r] = {};
            return;
        case Kind::Call:
        case Kind::CallLocal: step_call(slot, regs); return;
        default: return;
    }
}

// A forward dataflow: what each register may hold before each block.
void LivenessBuilder::follow_addresses(uint32_t sub) {
    const SubprogramFlow& flow = cfg_.subprograms()[sub];
    const Subprogram& s = program_.subprograms[sub];
    spilled_ = false;
    std::vector<Registers> before(flow.block_count);
    // A spill found late changes what loads seen earlier may give: then all is done once more.
    for (bool again = true; again;) {
        const bool spilled_at_start = spilled_;
        std::fill(before.begin(), before.end(), Registers{});
        std::fill_n(stack_reads_.begin() + s.first, s.count, StackMask{});
        std::fill_n(stack_writes_.begin() + s.first, s.count, StackMask{});
        before[0].seen = true;
        before[0].of[kFramePointer] = {Address::What::Exact, 0};
        Worklist pending(flow.order.size());
        pending.add(0);
        for (size_t n = 0; pending.take(n);) {
            const BasicBlock& block = cfg_.block(flow.order[n]);
            Registers regs = before[flow.order[n] - flow.first_block];
            for (uint32_t slot = block.first; slot <= block.last; ++slot)
                step_addresses(slot, regs);
            for (const uint32_t to : block.next())
                if (merge_into(before[to - flow.first_block], regs))
                    pending.add(cfg_.block(to).order);
        }
        again = spilled_ != spilled_at_start;
    }
    // With the fixpoint known, one more pass notes the accesses.
    std::fill_n(stack_reads_.begin() + s.first, s.count, StackMask{});
    for (const uint32_t index : flow.order) {
        const BasicBlock& block = cfg_.block(index);
        Registers regs = before[index - flow.first_block];
        for (uint32_t slot = block.first; slot <= block.last; ++slot) {
            note_access(slot, regs);
            step_addresses(slot, regs);
        }
    }
}

void LivenessBuilder::step_backward(uint32_t slot, uint16_t& regs, StackMask& stack) const {
    const Insn& insn = program_.insns[slot];
    if (insn.kind == Kind::Imm64High) return;
    const Effect effect = effect_of(insn, call_reads_[slot]);
    regs = static_cast<uint16_t>((regs & ~effect.writes) | effect.reads);
    stack = (stack & ~stack_writes_[slot]) | stack_reads_[slot];
}

void LivenessBuilder::flow_backward(uint32_t sub) {
    const SubprogramFlow& flow = cfg_.subprograms()[sub];
    const size_t count = flow.order.size();
    Worklist pending(count);  // by position from the end: successors first
    pending.add_all();
    for (size_t n = 0; pending.take(n);) {
        const uint32_t index = flow.order[count - 1 - n];
        const BasicBlock& block = cfg_.block(index);
        uint16_t regs = 0;
        StackMask stack;
        for (const uint32_t to : block.next()) {
            const uint32_t first = cfg_.block(to).first;
            regs |= out_.registers_[first];
            stack = stack | out_.stack_[first];
        }
        const uint16_t old_regs = out_.registers_[block.first];
        const StackMask old_stack = out_.stack_[block.first];
        for (uint32_t slot = block.last + 1; slot-- > block.first;) {
            step_backward(slot, regs, stack);
            out_.registers_[slot] = regs;
            out_.stack_[slot] = stack;
        }
        if (regs == old_regs && stack == old_stack) continue;
        for (const uint32_t from : cfg_.predecessors(index))
            if (cfg_.block(from).order != kNoIndex) pending.add(count - 1 - cfg_.block(from).order);
    }
}

Liveness Liveness::compute(const Program& program, const Cfg& cfg, const CallReader& reads) {
    return LivenessBuilder(program, cfg, reads).build();
}

std::string Liveness::dump(const Program& program) const {
    std::string out;
    for (size_t slot = 0; slot < registers_.size(); ++slot) {
        if (program.insns[slot].kind == Kind::Imm64High) continue;
        char text[64];
        std::snprintf(text, sizeof text, "%zu:", slot);
        out += text;
        for (unsigned r = 0; r < kRegisters; ++r)
            if (registers_[slot] >> r & 1) out += " r" + std::to_string(r);
        for (unsigned g = 0; g < kStackGranules; ++g)
            if (stack_[slot].test(g)) out += " fp-" + std::to_string(4 * (g + 1));
        out += "\n";
    }
    return out;
}

}  // namespace skep
