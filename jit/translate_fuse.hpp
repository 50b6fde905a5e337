// The translator: peepholes. They look ahead only inside a basic block and only over temporaries
// that liveness says are dead afterwards.
#pragma once

#include "jit/translator.hpp"

namespace skep::jit {

template <MacroAssembler M>
bool Translator<M>::straight(uint32_t i, uint32_t n) const {
    if (i + n > last(current_)) return false;
    for (uint32_t k = i + 1; k < i + n; ++k) {
        if (plan_.is_target(k) || at(k).dead || at(k).trap != TrapCode::None) return false;
    }
    return true;
}

template <MacroAssembler M>
uint32_t Translator<M>::emit_fused(uint32_t i) {
    const Insn& a = at(i).insn;
    if (a.kind == Kind::Alu && a.alu() == AluOp::Mov && !a.is_imm && a.sext == 0 &&
        (a.src != kFramePointer || !sandbox())) {
        if (const uint32_t next = fuse_rotate(i); next != i) return next;
        if (a.is64()) return fuse_address(i);
    }
    if (a.kind == Kind::Alu && a.alu() == AluOp::Lsh) return fuse_shift_pair(i);
    if (a.kind == Kind::Load) return fuse_load_swap(i);
    return i;
}

template <MacroAssembler M>
bool Translator<M>::shifts_by_imm(const Insn& i) {
    return i.kind == Kind::Alu && i.is_imm && (i.alu() == AluOp::Lsh || i.alu() == AluOp::Rsh);
}

template <MacroAssembler M>
uint32_t Translator<M>::fuse_rotate(uint32_t i) {
    if (!straight(i, 4)) return i;
    const Insn &mv = at(i).insn, &s1 = at(i + 1).insn, &s2 = at(i + 2).insn, &join = at(i + 3).insn;
    const Reg t = mv.dst, x = mv.src;
    const bool shifts = shifts_by_imm(s1) && shifts_by_imm(s2) && s1.alu() != s2.alu() &&
                        s1.width == s2.width && (mv.is64() || !s1.is64());
    const bool joined =
        join.kind == Kind::Alu && !join.is_imm && join.width == s1.width &&
        (join.alu() == AluOp::Or || join.alu() == AluOp::Xor || join.alu() == AluOp::Add);
    if (t == x || !shifts || !joined) return i;
    const int64_t bits = s1.is64() ? 64 : 32;
    const bool both = (s1.dst == t && s2.dst == x) || (s1.dst == x && s2.dst == t);
    const bool meets = (join.dst == x && join.src == t) || (join.dst == t && join.src == x);
    if (!both || !meets || s1.imm + s2.imm != bits || s1.imm <= 0 || s2.imm <= 0) return i;
    const Reg result = join.dst, other = join.dst == x ? t : x;
    if (!dead_after(i + 3, other)) return i;
    const Insn& left = s1.alu() == AluOp::Lsh ? s1 : s2;
    m_.rotate_left(s1.width, result, x, static_cast<unsigned>(left.imm));
    return i + 4;
}

template <MacroAssembler M>
uint32_t Translator<M>::fuse_address(uint32_t i) {
    if (!straight(i, 2)) return i;
    const Insn &mv = at(i).insn, &add = at(i + 1).insn;
    if (add.kind != Kind::Alu || add.alu() != AluOp::Add || !add.is64() || add.dst != mv.dst ||
        add.dst == mv.src) {
        return i;
    }
    if (add.is_imm) {
        m_.add3_imm(mv.dst, mv.src, static_cast<int32_t>(add.imm));
        return i + 2;
    }
    if (add.src == mv.dst || (add.src == kFramePointer && sandbox())) return i;
    if (!sandbox() && straight(i, 3)) {
        const ImageSlot& ld = at(i + 2);
        const Insn& l = ld.insn;
        if (ld.access == Access::Proven && l.kind == Kind::Load && l.src == mv.dst &&
            (l.dst == mv.dst || dead_after(i + 2, mv.dst))) {
            m_.load(l.width, l.sign, l.dst,
                    Mem{.base = mv.src, .disp = l.off, .index = add.src, .has_index = true});
            return i + 3;
        }
    }
    m_.add3(mv.dst, mv.src, add.src);
    return i + 2;
}

template <MacroAssembler M>
uint32_t Translator<M>::fuse_shift_pair(uint32_t i) {
    if (!straight(i, 2)) return i;
    const Insn &l = at(i).insn, &r = at(i + 1).insn;
    if (!l.is_imm || !l.is64() || r.kind != Kind::Alu || !r.is_imm || !r.is64() || r.dst != l.dst ||
        r.imm != l.imm) {
        return i;
    }
    if (r.alu() == AluOp::Rsh && l.imm == 32) {
        m_.mov(Width::W, l.dst, l.dst);
        return i + 2;
    }
    if (r.alu() == AluOp::Arsh && (l.imm == 32 || l.imm == 48 || l.imm == 56)) {
        m_.sign_extend(Width::Dw, l.dst, l.dst, static_cast<unsigned>(64 - l.imm));
        return i + 2;
    }
    return i;
}

template <MacroAssembler M>
uint32_t Translator<M>::fuse_load_swap(uint32_t i) {
    if (sandbox() || !straight(i, 2)) return i;
    const ImageSlot& s = at(i);
    const Insn &l = s.insn, &e = at(i + 1).insn;
    if (s.access != Access::Proven || l.sign || e.kind != Kind::Endian || e.dst != l.dst ||
        e.endian() == EndianOp::ToLe || e.imm != 8 * bytes_of(l.width)) {
        return i;
    }
    m_.load_swapped(l.width, l.dst, Mem{.base = l.src, .disp = l.off});
    return i + 2;
}

}  // namespace skep::jit
