#include "jit/liveness.hpp"

#include <algorithm>
#include <array>

namespace skep::jit {

namespace {
constexpr uint16_t bit(unsigned r) { return static_cast<uint16_t>(1u << r); }
constexpr uint16_t kArguments = 0x3e;  // r1..r5

// What an instruction of each kind touches; atomic ones differ by operation.
struct Touch {
    bool reads_dst = false, reads_src = false;  // the latter unless it is an immediate
    bool writes_dst = false;
    uint16_t reads = 0, writes = 0;  // whatever its operands
};
constexpr uint16_t kResults = kArguments | 1;
constexpr Touch touch_of(Kind kind) {
    switch (kind) {
        case Kind::Alu: return {.reads_dst = true, .reads_src = true, .writes_dst = true};
        case Kind::Neg:
        case Kind::Endian: return {.reads_dst = true, .writes_dst = true};
        case Kind::Imm64: return {.writes_dst = true};
        case Kind::Load:
        case Kind::AddrSpaceCast: return {.reads_src = true, .writes_dst = true};
        case Kind::Store:
        case Kind::Branch: return {.reads_dst = true, .reads_src = true};
        case Kind::LoadPacket: return {.reads_src = true, .writes = kResults};
        case Kind::Call: return {.reads = kArguments, .writes = kResults};
        // A local call hands r0 on: in a sandbox, what is called may return it as it is.
        case Kind::CallLocal: return {.reads = kResults, .writes = kResults};
        case Kind::Exit: return {.reads = 1};
        case Kind::Atomic:
        case Kind::Imm64High:
        case Kind::Jump:
        case Kind::MayGoto: return {};
    }
    return {.reads = 0x7ff};
}
constexpr auto kTouches = [] {
    std::array<Touch, static_cast<size_t>(Kind::AddrSpaceCast) + 1> table;
    for (size_t k = 0; k < table.size(); ++k) table[k] = touch_of(static_cast<Kind>(k));
    return table;
}();

uint16_t atomic_reads(const Insn& i) {
    if (i.atomic() == AtomicOp::LoadAcquire) return bit(i.src);
    const auto both = static_cast<uint16_t>(bit(i.dst) | bit(i.src));
    return i.atomic() == AtomicOp::Cmpxchg ? static_cast<uint16_t>(both | bit(0)) : both;
}

uint16_t atomic_writes(const Insn& i) {
    if (i.atomic() == AtomicOp::LoadAcquire) return bit(i.dst);
    if (i.atomic() == AtomicOp::Cmpxchg) return bit(0);
    return fetches(i.atomic()) ? bit(i.src) : uint16_t{0};
}

[[gnu::always_inline]] inline uint16_t reads_of(const Insn& i) {
    if (i.kind == Kind::Atomic) [[unlikely]]
        return atomic_reads(i);
    const Touch& touch = kTouches[static_cast<size_t>(i.kind)];
    const bool moves = i.kind == Kind::Alu && i.alu() == AluOp::Mov;
    return static_cast<uint16_t>(touch.reads | unsigned{touch.reads_dst && !moves} << i.dst |
                                 unsigned{touch.reads_src && !i.is_imm} << i.src);
}

[[gnu::always_inline]] inline uint16_t writes_of(const Insn& i) {
    if (i.kind == Kind::Atomic) [[unlikely]]
        return atomic_writes(i);
    const Touch& touch = kTouches[static_cast<size_t>(i.kind)];
    return static_cast<uint16_t>(touch.writes | unsigned{touch.writes_dst} << i.dst);
}

bool goes_straight_on(Kind kind) {
    constexpr auto bit = [](Kind k) { return 1u << static_cast<unsigned>(k); };
    constexpr unsigned kOthers = bit(Kind::Exit) | bit(Kind::Jump) | bit(Kind::Branch) |
                                 bit(Kind::MayGoto) | bit(Kind::Imm64);
    return (kOthers & bit(kind)) == 0;
}

}  // namespace

uint16_t Liveness::reads(const Insn& insn) { return reads_of(insn); }
uint16_t Liveness::writes(const Insn& insn) { return writes_of(insn); }

uint16_t Liveness::after(uint32_t slot, const Insn& i) const {
    switch (i.kind) {
        case Kind::Exit: return 0;
        case Kind::Jump: return slots_[static_cast<uint32_t>(i.target)].before;
        case Kind::Branch:
        case Kind::MayGoto:
            return slots_[slot + 1].before | slots_[static_cast<uint32_t>(i.target)].before;
        case Kind::Imm64: return slots_[std::min<size_t>(slot + 2, slots_.size() - 1)].before;
        default: return slots_[slot + 1].before;
    }
}

// Solves by backward passes over the slots until nothing changes: one for code without loops, one
// more for each level of loops that carries a register. A hostile program can ask for as many
// passes as it has jumps; after a few, everything counts as live.
Liveness::Liveness(const Image& image) : image_(image), slots_(image.slots.size() + 1) {
    bool loops = false;
    for (auto slot = static_cast<uint32_t>(image.slots.size()); slot-- > 0;) {
        const Insn& i = image.slots[slot].insn;
        Masks& m = slots_[slot];
        m.reads = reads_of(i);
        m.writes = writes_of(i);
        const bool straight = goes_straight_on(i.kind);
        m.after = straight ? slots_[slot + 1].before : after(slot, i);
        m.before = static_cast<uint16_t>((m.after & ~m.writes) | m.reads);
        if (straight) continue;
        const bool jumps =
            i.kind == Kind::Jump || i.kind == Kind::Branch || i.kind == Kind::MayGoto;
        loops |= jumps && i.target <= static_cast<int32_t>(slot);
    }
    if (loops) solve();
    // What a function reads of r6..r9 before it writes them is its caller's; a verified one does
    // not. At most one round for each of these registers.
    if (image.form == Form::Unchecked && image.facts->complete) return;
    for (uint16_t handed = 0, more = 0; (more = handed_to_functions()) != handed; handed = more) {
        for (uint32_t slot = 0; slot < image.slots.size(); ++slot) {
            if (image.slots[slot].insn.kind == Kind::CallLocal) slots_[slot].reads |= more;
        }
        solve();
    }
}

uint16_t Liveness::handed_to_functions() const {
    constexpr uint16_t kCalleeSaved = 0xf << 6;
    uint16_t mask = 0;
    for (size_t f = 1; f < image_.functions.size(); ++f)
        mask |= slots_[image_.functions[f].slot].before;
    return mask & kCalleeSaved;
}

// True if anything became live.
bool Liveness::pass() {
    bool changed = false;
    for (auto slot = static_cast<uint32_t>(image_.slots.size()); slot-- > 0;) {
        Masks& m = slots_[slot];
        m.after = after(slot, image_.slots[slot].insn);
        const auto live = static_cast<uint16_t>((m.after & ~m.writes) | m.reads);
        changed |= live != m.before;
        m.before = live;
    }
    return changed;
}

void Liveness::solve() {
    constexpr unsigned kMaxPasses = 32;
    for (unsigned passes = 1; pass(); ++passes) {
        if (passes < kMaxPasses) continue;
        for (Masks& m : slots_) m.before = m.after = 0x7ff;
        slots_.back() = {};
        return;
    }
}

}  // namespace skep::jit
