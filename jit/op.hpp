// What the optimiser (optimise.hpp) tells the translator to emit for a slot: machine-level
// operations with three operands and full memory operands, which no eBPF instruction has.
#pragma once

#include <cstdint>

#include "jit/masm.hpp"
#include "vm/isa/insn.hpp"

namespace skep::jit {

struct Op {
    enum class What : uint8_t {
        Slot,        // the image's instruction as it stands
        Nothing,     // emitted by another slot, or needed by nobody
        MovImm,      // dst = imm
        Move,        // dst = a
        Alu,         // dst = a op b
        AluImm,      // dst = a op imm
        AluMem,      // dst = a op [mem]
        Neg,         // dst = -a
        Rotate,      // dst = a rotated left by `bits`
        SignExtend,  // dst = the low `bits` of a
        ZeroExtend,  // the same
        Swap,        // dst = the low `bits` of a in reverse byte order
        Lea,         // dst = address of mem
        Load,        // dst = [mem], `bits` wide, zero-extended
        LoadSigned,  // dst = [mem], `bits` wide, sign-extended to `width`
        Select,  // dst = a if the comparison of the slot before holds, else the low `width` of b,
                 // or, if is_imm, imm
        SetIf,   // dst = imm (0 or 1) if the comparison of the slot before holds, else 1 - imm
        LoadSwapped,    // dst = [mem], `bits` wide, in reverse byte order
        Store,          // [mem] = a, `bits` wide
        StoreImm,       // [mem] = imm, `bits` wide
        Compare,        // branch if a cond b; `target` of the slot
        CompareImm,     // branch if a cond imm
        CompareMem,     // branch if a cond [mem]
        CompareMemImm,  // branch if [mem] cond imm, `bits` wide
        Test,           // branch if (a & b) cond 0, cond being Eq or Ne
        TestImm,        // branch if (a & imm) cond 0
    };
    What what = What::Slot;
    Width width = Width::Dw;  // of the arithmetic or comparison: W or Dw
    uint8_t op = 0;           // AluOp or CondOp, by what
    uint8_t bits = 0;
    Reg dst = 0, a = 0, b = 0;
    bool is_signed : 1 = false;  // Alu, AluImm: Div and Mod
    bool nonzero : 1 = false;    // Alu: the divisor cannot be 0
    bool is_imm : 1 = false;     // Select
    bool selects : 1 = false;    // a comparison that does not branch: the next slot is a Select
    Mem mem;
    int64_t imm = 0;

    constexpr AluOp alu() const { return static_cast<AluOp>(op); }
    constexpr CondOp cond() const { return static_cast<CondOp>(op); }
    constexpr Width memory_width() const { return static_cast<Width>(bits / 8); }
};
static_assert(sizeof(Op) == 24);  // one for each slot

}  // namespace skep::jit
