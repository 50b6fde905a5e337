// The translator: what policy `hardened` adds. Constants of the program are put together from two
// random halves at run time, so that none of them appears in code; behind every decision that a
// processor may get wrong at first (branches of the program, checks of addresses) stands a barrier
// that nothing is speculated past. Peepholes, which would put constants into operands, stay out.
#pragma once

#include "jit/translator.hpp"

namespace skep::jit {

template <MacroAssembler M>
void Translator<M>::blinded(Reg r, uint64_t value, Reg scratch) {
    const uint64_t key = keys_.key_for(value);
    m_.mov_imm(r, value ^ key);
    m_.mov_imm(scratch, key);
    m_.alu(AluOp::Xor, Width::Dw, false, r, scratch);
}

template <MacroAssembler M>
void Translator<M>::constant(Reg r, uint64_t value) {
    if (image_.hardened)
        blinded(r, value, kTmp1);
    else
        m_.mov_imm(r, value);
}

template <MacroAssembler M>
void Translator<M>::barrier() {
    if (image_.hardened) m_.speculation_barrier();
}

// An arithmetic instruction whose constant is hidden; false for shifts, whose counts are no
// choice worth hiding.
template <MacroAssembler M>
bool Translator<M>::emit_blinded_alu(const Insn& i) {
    const uint64_t value = i.is64() ? static_cast<uint64_t>(i.imm) : static_cast<uint32_t>(i.imm);
    switch (i.alu()) {
        case AluOp::Lsh:
        case AluOp::Rsh:
        case AluOp::Arsh: return false;
        case AluOp::Mov: blinded(i.dst, value, kTmp1); return true;
        default:
            blinded(kTmp0, value, kTmp1);
            m_.alu(i.alu(), i.width, i.sign, i.dst, kTmp0);
            return true;
    }
}

}  // namespace skep::jit
