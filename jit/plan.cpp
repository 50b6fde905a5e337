#include "jit/plan.hpp"

#include <algorithm>

#include "jit/runtime.hpp"

namespace skep::jit {

Plan::Plan(const Image& image, Abilities abilities)
    : image_(image),
      liveness_(image),
      targets_(image.slots.size() + 1, false),
      loop_heads_(image.slots.size() + 1, false),
      callbacks_(image.functions.size(), false),
      saved_(image.functions.size(), 0),
      bound_(image.slots.size() + 1, 0) {
    find_jumps();
    ops_ = optimise(image, liveness_, targets_, abilities);
    find_saved();
    find_fall_through();
    constexpr uint64_t kAlignment = 16;
    for (uint32_t i = 0; i < image.slots.size(); ++i) {
        bound_[i + 1] = bound_[i] + size_bound(i) + (loop_heads_[i] ? kAlignment : 0);
    }
}

void Plan::find_jumps() {
    for (uint32_t i = 0; i < image_.slots.size(); ++i) {
        const ImageSlot& s = image_.slots[i];
        const Insn& insn = s.insn;
        if (insn.kind == Kind::Imm64 && insn.pseudo_imm() == PseudoImm::Func) {
            callbacks_[subprogram_at(static_cast<uint32_t>(insn.target))] = true;
            nests_ = true;
        }
        if (is_tail_call(s)) nests_ = true;
        // The program itself has no entry for calls; only a recursive one would need it.
        if (insn.kind == Kind::CallLocal && insn.target == 0) structured_ = false;
        const bool jumps =
            insn.kind == Kind::Jump || insn.kind == Kind::Branch || insn.kind == Kind::MayGoto;
        if (!jumps || s.dead) continue;
        const auto target = static_cast<uint32_t>(insn.target);
        targets_[target] = true;
        if (subprogram_at(target) != subprogram_at(i)) structured_ = false;
        if (target <= i) loop_heads_[target] = true;
    }
}

// Running past the end of the last subprogram is a trap, past any other one's an entry by the back
// door.
void Plan::find_fall_through() {
    const auto& subs = image_.program->subprograms;
    for (size_t f = 0; f + 1 < subs.size(); ++f) {
        uint32_t last = subs[f].first + subs[f].count - 1;
        if (image_.slots[last].insn.kind == Kind::Imm64High && last > subs[f].first) --last;
        const ImageSlot& s = image_.slots[last];
        const bool ends = s.insn.kind == Kind::Exit || s.insn.kind == Kind::Jump || s.dead ||
                          s.trap != TrapCode::None;
        if (!ends) structured_ = false;
    }
}

void Plan::find_saved() {
    constexpr uint16_t kCalleeSaved = 0xf << 6;
    for (uint32_t f = 0; f < saved_.size(); ++f) {
        const Subprogram& s = image_.program->subprograms[f];
        for (uint32_t i = s.first; i < s.first + s.count; ++i) {
            if (ops_[i].what == Op::What::Nothing) continue;
            saved_[f] |= Liveness::writes(image_.slots[i].insn) & kCalleeSaved;
        }
        // What may be read before it was written is cleared at entry.
        saved_[f] |= liveness_.live_before(s.first) & kCalleeSaved;
        image_saved_ |= saved_[f];
    }
}

uint32_t Plan::subprogram_at(uint32_t slot) const {
    const auto& subs = image_.program->subprograms;
    const auto it = std::upper_bound(subs.begin(), subs.end(), slot,
                                     [](uint32_t s, const Subprogram& p) { return s < p.first; });
    return static_cast<uint32_t>(it - subs.begin()) - 1;
}

// Generous: a jump that is short for nothing costs four bytes, one that does not reach an error.
uint32_t Plan::size_bound(uint32_t slot) const {
    const ImageSlot& s = image_.slots[slot];
    if (ops_[slot].what == Op::What::Nothing) return 0;
    const bool access = s.insn.kind == Kind::Load || s.insn.kind == Kind::Store;
    if (access && image_.form == Form::Unchecked && s.access != Access::ContextDynamic) return 16;
    const bool charged = s.charge && image_.fuel;
    switch (s.insn.kind) {
        case Kind::Alu: return s.insn.alu() == AluOp::Div || s.insn.alu() == AluOp::Mod ? 96 : 20;
        case Kind::Neg:
        case Kind::Endian:
        case Kind::Imm64: return 12;
        case Kind::Imm64High: return 0;
        case Kind::Jump: return charged ? 32 : 8;
        case Kind::Branch: return charged ? 56 : 30;
        case Kind::Exit: return 32;
        default: return 160;
    }
}

}  // namespace skep::jit
