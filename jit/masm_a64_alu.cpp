// The AArch64 forms of moves and arithmetic.
#include <asmjit/arm/a64utils.h>
#include <bit>

#include "jit/magic.hpp"
#include "jit/masm_a64.hpp"
#include "vm/isa/semantics.hpp"

namespace skep::jit {

namespace a64 = asmjit::a64;

// --- moves and arithmetic -----------------------------------------------------------------------

void MasmA64::mov(Width w, Reg dst, Reg src) {
    if (dst == src && w == Width::Dw) return;
    assembler_.mov(gp(w, dst), gp(w, src));
}

void MasmA64::mov_imm(Reg dst, uint64_t value) {
    if (value <= UINT32_MAX)
        assembler_.mov(gp(Width::W, dst), value);
    else
        assembler_.mov(gp(Width::Dw, dst), value);
}

void MasmA64::sign_extend(Width w, Reg dst, Reg src, unsigned bits) {
    const a64::Gp d = gp(w, dst), s = gp(Width::W, src);
    switch (bits) {
        case 8: assembler_.sxtb(d, s); break;
        case 16: assembler_.sxth(d, s); break;
        default: assembler_.sxtw(gp(Width::Dw, dst), s); break;
    }
}

void MasmA64::alu(AluOp op, Width w, bool is_signed, Reg dst, Reg src) {
    alu3(op, w, is_signed, dst, dst, src, false);
}

// Division needs no care: the processor gives 0 for a divisor of 0.
void MasmA64::alu3(AluOp op, Width w, bool is_signed, Reg dst, Reg a, Reg b, bool) {
    const a64::Gp d = gp(w, dst), x = gp(w, a), s = gp(w, b);
    switch (op) {
        case AluOp::Add: assembler_.add(d, x, s); break;
        case AluOp::Sub: assembler_.sub(d, x, s); break;
        case AluOp::Mul: assembler_.mul(d, x, s); break;
        case AluOp::Or: assembler_.orr(d, x, s); break;
        case AluOp::And: assembler_.and_(d, x, s); break;
        case AluOp::Xor: assembler_.eor(d, x, s); break;
        case AluOp::Mov: mov(w, dst, b); break;
        // Register shifts take the count modulo the width, as eBPF does.
        case AluOp::Lsh: assembler_.lsl(d, x, s); break;
        case AluOp::Rsh: assembler_.lsr(d, x, s); break;
        case AluOp::Arsh: assembler_.asr(d, x, s); break;
        case AluOp::Div:
        case AluOp::Mod: divide(op, w, is_signed, dst, a, s); break;
    }
}

void MasmA64::alu_imm(AluOp op, Width w, bool is_signed, Reg dst, int64_t imm) {
    alu3_imm(op, w, is_signed, dst, dst, imm);
}

void MasmA64::alu3_imm(AluOp op, Width w, bool is_signed, Reg dst, Reg a, int64_t imm) {
    const a64::Gp d = gp(w, dst), x = gp(w, a);
    const uint32_t bits = w == Width::Dw ? 64 : 32;
    const uint64_t value = w == Width::Dw ? static_cast<uint64_t>(imm) : static_cast<uint32_t>(imm);
    const uint32_t count = static_cast<uint32_t>(imm) & (bits - 1);
    const a64::Gp t = scratch(w, kScratch0);
    switch (op) {
        case AluOp::Add:
        case AluOp::Sub: {
            const bool subtract = (op == AluOp::Sub) != (imm < 0);
            const uint64_t magnitude =
                imm < 0 ? 0 - static_cast<uint64_t>(imm) : static_cast<uint64_t>(imm);
            if (is_arithmetic_imm(magnitude)) {
                if (subtract)
                    assembler_.sub(d, x, magnitude);
                else
                    assembler_.add(d, x, magnitude);
                return;
            }
            // Two steps, where a constant would need as many and the addition comes on top.
            if (magnitude > UINT16_MAX && magnitude < 1 << 24) {
                if (subtract) {
                    assembler_.sub(d, x, magnitude & 0xfff);
                    assembler_.sub(d, d, magnitude & 0xfff000);
                } else {
                    assembler_.add(d, x, magnitude & 0xfff);
                    assembler_.add(d, d, magnitude & 0xfff000);
                }
                return;
            }
            break;
        }
        case AluOp::Or:
        case AluOp::And:
        case AluOp::Xor:
            if (a64::Utils::isLogicalImm(value, bits)) {
                if (op == AluOp::Or)
                    assembler_.orr(d, x, value);
                else if (op == AluOp::And)
                    assembler_.and_(d, x, value);
                else
                    assembler_.eor(d, x, value);
                return;
            }
            break;
        case AluOp::Mov: mov_imm(dst, value); return;
        case AluOp::Lsh: assembler_.lsl(d, x, count); return;
        case AluOp::Rsh: assembler_.lsr(d, x, count); return;
        case AluOp::Arsh: assembler_.asr(d, x, count); return;
        case AluOp::Mul:
            if (imm > 0 && std::has_single_bit(value)) {
                assembler_.lsl(d, x, std::countr_zero(value));
                return;
            }
            break;
        case AluOp::Div:
        case AluOp::Mod:
            if (!is_signed && value != 0) {
                divide_unsigned_imm(op, w, dst, a, value);
                return;
            }
            assembler_.mov(t, value);
            divide(op, w, is_signed, dst, a, t);
            return;
    }
    assembler_.mov(t, value);
    switch (op) {
        case AluOp::Add: assembler_.add(d, x, t); break;
        case AluOp::Sub: assembler_.sub(d, x, t); break;
        case AluOp::Or: assembler_.orr(d, x, t); break;
        case AluOp::And: assembler_.and_(d, x, t); break;
        case AluOp::Xor: assembler_.eor(d, x, t); break;
        default: assembler_.mul(d, x, t); break;
    }
}

// See magic.hpp.
void MasmA64::divide_unsigned_imm(AluOp op, Width w, Reg dst, Reg a, uint64_t divisor) {
    const a64::Gp d = gp(w, dst), x = gp(w, a);
    if (std::has_single_bit(divisor)) {
        if (op == AluOp::Div)
            assembler_.lsr(d, x, std::countr_zero(divisor));
        else if (divisor == 1)
            assembler_.mov(d, 0);
        else
            assembler_.and_(d, x, divisor - 1);
        return;
    }
    const Magic magic = w == Width::Dw ? magic64(divisor) : magic32(static_cast<uint32_t>(divisor));
    a64::Gp n = gp(Width::Dw, a);
    if (magic.pre != 0 || w == Width::W) {
        if (w == Width::W)
            assembler_.mov(kScratch1.w(), gp(Width::W, a));
        else
            assembler_.lsr(kScratch1, n, magic.pre);
        n = kScratch1;
    }
    const a64::Gp high = gp(Width::Dw, kTmp0), more = gp(Width::Dw, kTmp1);
    assembler_.mov(kScratch0, magic.multiplier);
    assembler_.umulh(high, n, kScratch0);
    if (magic.wide) {
        assembler_.sub(more, n, high);
        assembler_.add(high, high, more, a64::lsr(1));
    }
    const a64::Gp quotient = op == AluOp::Div ? gp(Width::Dw, dst) : high;
    if (magic.post != 0)
        assembler_.lsr(quotient, high, magic.post);
    else if (op == AluOp::Div)
        assembler_.mov(quotient, high);
    if (op == AluOp::Div) return;
    const a64::Gp t = scratch(w, kScratch0);
    assembler_.mov(t, divisor);
    assembler_.msub(d, gp(w, kTmp0), t, x);
}

// The processor's division gives 0 for a zero divisor and wraps the smallest number by -1, which is
// what eBPF wants; the remainder by 0 comes out as the dividend. The divisor is not x13.
void MasmA64::divide(AluOp op, Width w, bool is_signed, Reg dst, Reg a, a64::Gp divisor) {
    const a64::Gp d = gp(w, dst), x = gp(w, a), q = op == AluOp::Div ? d : scratch(w, kScratch1);
    if (is_signed)
        assembler_.sdiv(q, x, divisor);
    else
        assembler_.udiv(q, x, divisor);
    if (op == AluOp::Mod) assembler_.msub(d, q, divisor, x);
}

// Targets with memory operands only are asked for this; here a temporary does.
void MasmA64::alu_mem(AluOp op, Width w, Reg dst, Reg a, Mem mem) {
    load(w, false, kTmp0, mem);
    alu3(op, w, false, dst, a, kTmp0, false);
}

void MasmA64::neg(Width w, Reg dst) { neg3(w, dst, dst); }
void MasmA64::neg3(Width w, Reg dst, Reg a) { assembler_.neg(gp(w, dst), gp(w, a)); }

void MasmA64::zero_extend(Reg dst, Reg a, unsigned bits) {
    const a64::Gp d = gp(Width::W, dst), s = gp(Width::W, a);
    switch (bits) {
        case 8: assembler_.uxtb(d, s); break;
        case 16: assembler_.uxth(d, s); break;
        default: assembler_.mov(d, s); break;
    }
}

void MasmA64::swap(Reg dst, Reg a, unsigned bits) {
    switch (bits) {
        case 16:
            // Only the low half is meant; a whole reversal leaves it on top.
            assembler_.rev(gp(Width::W, dst), gp(Width::W, a));
            assembler_.lsr(gp(Width::W, dst), gp(Width::W, dst), 16);
            break;
        case 32: assembler_.rev(gp(Width::W, dst), gp(Width::W, a)); break;
        default: assembler_.rev(gp(Width::Dw, dst), gp(Width::Dw, a)); break;
    }
}

void MasmA64::endian(EndianOp op, Reg dst, unsigned bits) {
    const a64::Gp w = gp(Width::W, dst), d = gp(Width::Dw, dst);
    if (op == EndianOp::ToLe) {
        if (bits == 16)
            assembler_.uxth(w, w);
        else if (bits == 32)
            assembler_.mov(w, w);
        return;
    }
    switch (bits) {
        case 16:
            assembler_.rev16(w, w);
            assembler_.uxth(w, w);
            break;
        case 32: assembler_.rev(w, w); break;
        default: assembler_.rev(d, d); break;
    }
}

void MasmA64::rotate_left(Width w, Reg dst, Reg src, unsigned count) {
    assembler_.ror(gp(w, dst), gp(w, src), (w == Width::Dw ? 64 : 32) - count);
}

void MasmA64::add3(Reg dst, Reg a, Reg b) {
    assembler_.add(gp(Width::Dw, dst), gp(Width::Dw, a), gp(Width::Dw, b));
}

void MasmA64::add3_imm(Reg dst, Reg a, int32_t imm) {
    const a64::Gp d = gp(Width::Dw, dst), s = gp(Width::Dw, a);
    const uint64_t magnitude =
        imm < 0 ? 0 - static_cast<uint64_t>(int64_t{imm}) : static_cast<uint64_t>(imm);
    if (magnitude == 0) {
        mov(Width::Dw, dst, a);
    } else if (is_arithmetic_imm(magnitude)) {
        if (imm < 0)
            assembler_.sub(d, s, magnitude);
        else
            assembler_.add(d, s, magnitude);
    } else {
        assembler_.mov(kScratch0, static_cast<int64_t>(imm));
        assembler_.add(d, s, kScratch0);
    }
}

}  // namespace skep::jit
