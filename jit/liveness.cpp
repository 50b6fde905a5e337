#include "jit/liveness.hpp"

namespace skep::jit {

namespace {
constexpr uint16_t bit(unsigned r) { return static_cast<uint16_t>(1u << r); }
constexpr uint16_t kArguments = 0x3e;  // r1..r5
}  // namespace

uint16_t Liveness::reads(const Insn& i) {
    const auto dst = bit(i.dst), src = i.is_imm ? uint16_t{0} : bit(i.src);
    switch (i.kind) {
        case Kind::Alu: return i.alu() == AluOp::Mov ? src : static_cast<uint16_t>(src | dst);
        case Kind::Store:
        case Kind::Branch: return static_cast<uint16_t>(src | dst);
        case Kind::Load:
        case Kind::AddrSpaceCast: return bit(i.src);
        case Kind::Neg:
        case Kind::Endian: return dst;
        case Kind::LoadPacket: return src;
        case Kind::Atomic:
            if (i.atomic() == AtomicOp::LoadAcquire) return bit(i.src);
            return static_cast<uint16_t>(dst | bit(i.src) |
                                         (i.atomic() == AtomicOp::Cmpxchg ? bit(0) : 0));
        case Kind::Call: return kArguments;
        // A local call hands r0 on: in a sandbox, what is called may return it as it is.
        case Kind::CallLocal: return kArguments | bit(0);
        case Kind::Exit: return bit(0);
        case Kind::Imm64:
        case Kind::Imm64High:
        case Kind::Jump:
        case Kind::MayGoto: return 0;
    }
    return 0x7ff;
}

uint16_t Liveness::writes(const Insn& i) {
    switch (i.kind) {
        case Kind::Alu:
        case Kind::Neg:
        case Kind::Endian:
        case Kind::Load:
        case Kind::Imm64:
        case Kind::AddrSpaceCast: return bit(i.dst);
        case Kind::Atomic:
            if (i.atomic() == AtomicOp::LoadAcquire) return bit(i.dst);
            if (i.atomic() == AtomicOp::Cmpxchg) return bit(0);
            return fetches(i.atomic()) ? bit(i.src) : uint16_t{0};
        case Kind::LoadPacket:
        case Kind::Call:
        case Kind::CallLocal: return kArguments | bit(0);
        case Kind::Store:
        case Kind::Branch:
        case Kind::Imm64High:
        case Kind::Jump:
        case Kind::MayGoto:
        case Kind::Exit: return 0;
    }
    return 0;
}

uint16_t Liveness::after(uint32_t slot) const {
    const Insn& i = image_.slots[slot].insn;
    const auto next = [this](uint64_t s) { return s < before_.size() ? before_[s] : uint16_t{0}; };
    switch (i.kind) {
        case Kind::Exit: return 0;
        case Kind::Jump: return next(static_cast<uint32_t>(i.target));
        case Kind::Branch:
        case Kind::MayGoto:
            return static_cast<uint16_t>(next(uint64_t{slot} + 1) |
                                         next(static_cast<uint32_t>(i.target)));
        case Kind::Imm64: return next(uint64_t{slot} + 2);
        default: return next(uint64_t{slot} + 1);
    }
}

// Solves by backward passes over the slots until nothing changes: one for code without loops, one
// more for each level of loops that carries a register. A hostile program can ask for as many
// passes as it has jumps; after a few, everything counts as live.
Liveness::Liveness(const Image& image)
    : image_(image),
      before_(image.slots.size(), 0),
      after_(image.slots.size(), 0),
      reads_(image.slots.size(), 0),
      writes_(image.slots.size(), 0) {
    for (uint32_t slot = 0; slot < before_.size(); ++slot) {
        const Insn& i = image.slots[slot].insn;
        reads_[slot] = reads(i);
        writes_[slot] = writes(i);
        const bool jumps =
            i.kind == Kind::Jump || i.kind == Kind::Branch || i.kind == Kind::MayGoto;
        loops_ |= jumps && i.target <= static_cast<int32_t>(slot);
    }
    solve();
    // What a function reads of r6..r9 before it writes them is its caller's; a verified one does
    // not. At most one round for each of these registers.
    if (image.form == Form::Unchecked && image.facts->complete) return;
    for (uint16_t handed = 0, more = 0; (more = handed_to_functions()) != handed; handed = more) {
        for (uint32_t slot = 0; slot < reads_.size(); ++slot) {
            if (image.slots[slot].insn.kind == Kind::CallLocal) reads_[slot] |= more;
        }
        solve();
    }
}

uint16_t Liveness::handed_to_functions() const {
    constexpr uint16_t kCalleeSaved = 0xf << 6;
    uint16_t mask = 0;
    for (size_t f = 1; f < image_.functions.size(); ++f) mask |= before_[image_.functions[f].slot];
    return mask & kCalleeSaved;
}

void Liveness::solve() {
    constexpr unsigned kMaxPasses = 32;
    bool changed = true;
    for (unsigned pass = 0; changed; ++pass) {
        changed = false;
        if (pass == kMaxPasses) {
            before_.assign(before_.size(), 0x7ff);
            after_.assign(after_.size(), 0x7ff);
            return;
        }
        for (auto slot = static_cast<uint32_t>(before_.size()); slot-- > 0;) {
            after_[slot] = after(slot);
            const auto live = static_cast<uint16_t>((after_[slot] & ~writes_[slot]) | reads_[slot]);
            if (live == before_[slot]) continue;
            before_[slot] = live;
            changed = loops_;
        }
    }
}

}  // namespace skep::jit
