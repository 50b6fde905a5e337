// The x86-64 forms of moves and arithmetic.
#include <bit>

#include "jit/magic.hpp"
#include "jit/masm_x64.hpp"

namespace skep::jit {

namespace x86 = asmjit::x86;

// --- moves and arithmetic -----------------------------------------------------------------------

void MasmX64::mov(Width w, Reg dst, Reg src) {
    if (dst == src && w == Width::Dw) return;
    assembler_.mov(gp(w, dst), gp(w, src));
}

void MasmX64::mov_imm(Reg dst, uint64_t value) {
    if (value == 0) {
        assembler_.xor_(gp(Width::W, dst), gp(Width::W, dst));
    } else if (value <= UINT32_MAX) {
        assembler_.mov(gp(Width::W, dst), static_cast<uint32_t>(value));
    } else {
        assembler_.mov(gp(Width::Dw, dst), value);
    }
}

void MasmX64::sign_extend(Width w, Reg dst, Reg src, unsigned bits) {
    switch (bits) {
        case 8: assembler_.movsx(gp(w, dst), kMap[src].r8()); break;
        case 16: assembler_.movsx(gp(w, dst), kMap[src].r16()); break;
        default: assembler_.movsxd(gp(Width::Dw, dst), gp(Width::W, src)); break;
    }
}

void MasmX64::alu(AluOp op, Width w, bool is_signed, Reg dst, Reg src) {
    const x86::Gp d = gp(w, dst), s = gp(w, src);
    switch (op) {
        case AluOp::Add: assembler_.add(d, s); break;
        case AluOp::Sub: assembler_.sub(d, s); break;
        case AluOp::Mul: assembler_.imul(d, s); break;
        case AluOp::Or: assembler_.or_(d, s); break;
        case AluOp::And: assembler_.and_(d, s); break;
        case AluOp::Xor: assembler_.xor_(d, s); break;
        case AluOp::Mov: mov(w, dst, src); break;
        case AluOp::Lsh:
        case AluOp::Rsh:
        case AluOp::Arsh: shift(op, w, dst, dst, src); break;
        case AluOp::Div:
        case AluOp::Mod: divide(op, w, is_signed, dst, src, false); break;
    }
}

void MasmX64::alu_imm(AluOp op, Width w, bool is_signed, Reg dst, int64_t imm) {
    const x86::Gp d = gp(w, dst);
    if (w == Width::W) imm = static_cast<int32_t>(imm);
    const uint8_t count = static_cast<uint8_t>(imm & (w == Width::Dw ? 63 : 31));
    switch (op) {
        case AluOp::Add:
            // The processor sign-extends both forms; -128 fits in a byte where 128 does not.
            if (imm == 128)
                assembler_.sub(d, -128);
            else
                assembler_.add(d, imm);
            break;
        case AluOp::Sub: assembler_.sub(d, imm); break;
        case AluOp::Or: assembler_.or_(d, imm); break;
        case AluOp::And:
            if (w == Width::Dw && imm >= 0)
                assembler_.and_(gp(Width::W, dst), imm);
            else
                assembler_.and_(d, imm);
            break;
        case AluOp::Xor: assembler_.xor_(d, imm); break;
        case AluOp::Mul:
            if (imm == 3 || imm == 5 || imm == 9) {
                assembler_.lea(d, x86::ptr(kMap[dst], kMap[dst],
                                           static_cast<uint32_t>(
                                               std::countr_zero(static_cast<uint64_t>(imm - 1)))));
            } else if (imm > 0 && std::has_single_bit(static_cast<uint64_t>(imm))) {
                assembler_.shl(d, std::countr_zero(static_cast<uint64_t>(imm)));
            } else {
                assembler_.imul(d, d, imm);
            }
            break;
        case AluOp::Mov:
            if (w == Width::W)
                mov_imm(dst, static_cast<uint32_t>(imm));
            else if (imm < 0 && fits_i32(imm))
                assembler_.mov(d, imm);
            else
                mov_imm(dst, static_cast<uint64_t>(imm));
            break;
        case AluOp::Lsh: assembler_.shl(d, count); break;
        case AluOp::Rsh: assembler_.shr(d, count); break;
        case AluOp::Arsh: assembler_.sar(d, count); break;
        case AluOp::Div:
        case AluOp::Mod:
            if (!is_signed) {
                divide_unsigned_imm(
                    op, w, dst, dst,
                    w == Width::Dw ? static_cast<uint64_t>(imm) : static_cast<uint32_t>(imm));
            } else {
                assembler_.mov(gp(w, kTmp1), imm);
                divide(op, w, true, dst, kTmp1, imm != 0);
            }
            break;
    }
    if (op == AluOp::Add || op == AluOp::Sub || op == AluOp::Or || op == AluOp::Xor)
        wrote_flags(w, dst);
    else if (op == AluOp::And)
        wrote_flags(w == Width::Dw && imm >= 0 ? Width::W : w, dst);
    // A 32-bit shift by 0 leaves the register, and its upper half, untouched.
    if (w == Width::W && count == 0 &&
        (op == AluOp::Lsh || op == AluOp::Rsh || op == AluOp::Arsh)) {
        assembler_.mov(d, d);
    }
}

void MasmX64::shift(AluOp op, Width w, Reg dst, Reg a, Reg count) {
    const x86::Gp d = gp(w, dst), s = gp(w, a), c = gp(w, count);
    if (features_.bmi2) {
        if (op == AluOp::Lsh)
            assembler_.shlx(d, s, c);
        else if (op == AluOp::Rsh)
            assembler_.shrx(d, s, c);
        else
            assembler_.sarx(d, s, c);
        return;
    }
    // The count goes to cl: rcx is r4, kept in a temporary meanwhile. The value goes through
    // another temporary, since it may live in rcx itself.
    assembler_.mov(gp(w, kTmp0), s);
    assembler_.mov(x86::r11, x86::rcx);
    assembler_.mov(x86::ecx, gp(Width::W, count));
    const x86::Gp t = gp(w, kTmp0);
    if (op == AluOp::Lsh)
        assembler_.shl(t, x86::cl);
    else if (op == AluOp::Rsh)
        assembler_.shr(t, x86::cl);
    else
        assembler_.sar(t, x86::cl);
    assembler_.mov(x86::rcx, x86::r11);
    assembler_.mov(d, t);
    if (w == Width::W) assembler_.mov(d, d);
}

// dst = dst / divisor or dst % divisor with RFC 9669's results for 0 and -1.
void MasmX64::divide(AluOp op, Width w, bool is_signed, Reg dst, Reg divisor, bool nonzero) {
    const bool div = op == AluOp::Div;
    const asmjit::Label done = assembler_.newLabel(), by_zero = assembler_.newLabel();
    const asmjit::Label plain = assembler_.newLabel();
    const x86::Gp d = gp(w, dst), t = gp(w, kTmp1), a = gp(w, 0), high = gp(w, 3);
    if (divisor != kTmp1) assembler_.mov(t, gp(w, divisor));
    if (!nonzero) {
        assembler_.test(t, t);
        assembler_.short_().jz(by_zero);
    }
    if (is_signed) {
        assembler_.cmp(t, -1);
        assembler_.short_().jne(plain);
        // x / -1 wraps, x % -1 is 0; the processor would fault on the smallest number.
        if (div)
            assembler_.neg(d);
        else
            assembler_.xor_(d.r32(), d.r32());
        assembler_.short_().jmp(done);
        assembler_.bind(plain);
    }
    if (dst != 0) assembler_.mov(x86::r10, x86::rax);
    if (dst != 3) assembler_.mov(x86::r9, x86::rdx);
    if (dst != 0) assembler_.mov(a, d);
    if (!is_signed) {
        assembler_.xor_(x86::edx, x86::edx);
        assembler_.div(high, a, t);
    } else {
        if (w == Width::Dw)
            assembler_.cqo(x86::rdx, x86::rax);
        else
            assembler_.cdq(x86::edx, x86::eax);
        assembler_.idiv(high, a, t);
    }
    const x86::Gp result = div ? a : high;
    if (dst == 0) {
        if (!div) assembler_.mov(a, high);
    } else if (dst == 3) {
        if (div) assembler_.mov(high, a);
    } else {
        assembler_.mov(d, result);
    }
    if (dst != 0) assembler_.mov(x86::rax, x86::r10);
    if (dst != 3) assembler_.mov(x86::rdx, x86::r9);
    if (nonzero) {
        assembler_.bind(done);
        return;
    }
    assembler_.short_().jmp(done);
    assembler_.bind(by_zero);
    if (div)
        assembler_.xor_(d.r32(), d.r32());
    else if (w == Width::W)
        assembler_.mov(d, d);
    assembler_.bind(done);
}

void MasmX64::divide_unsigned_imm(AluOp op, Width w, Reg dst, Reg a, uint64_t divisor) {
    const x86::Gp d = gp(w, dst);
    if (divisor == 0) {
        if (op == AluOp::Div)
            assembler_.xor_(d.r32(), d.r32());
        else if (w == Width::W || dst != a)
            assembler_.mov(d, gp(w, a));
        return;
    }
    if (!std::has_single_bit(divisor)) {
        divide_by_magic(op, w, dst, a, divisor);
        return;
    }
    const int k = std::countr_zero(divisor);
    if (op == AluOp::Div) {
        alu3_imm(AluOp::Rsh, w, false, dst, a, k);
    } else if (divisor - 1 <= INT32_MAX) {
        alu3_imm(AluOp::And, w, false, dst, a, static_cast<int64_t>(divisor - 1));
    } else {
        mov_imm(kTmp0, divisor - 1);
        alu3(AluOp::And, w, false, dst, a, kTmp0, false);
    }
}

// dst = a / divisor or a % divisor; see magic.hpp. The dividend stays in kTmp1, the product is in
// kTmp0.
void MasmX64::divide_by_magic(AluOp op, Width w, Reg dst, Reg a, uint64_t divisor) {
    const Magic magic = w == Width::Dw ? magic64(divisor) : magic32(static_cast<uint32_t>(divisor));
    const x86::Gp d = gp(w, dst), t0 = gp(w, kTmp0), t1 = gp(w, kTmp1);
    assembler_.mov(t1, gp(w, a));
    if (magic.pre != 0) assembler_.shr(t1, magic.pre);
    high_product(magic.multiplier);
    if (magic.wide) {
        // ((n - high) >> 1) + high
        assembler_.mov(x86::r9, x86::r11);
        assembler_.sub(x86::r9, x86::r10);
        assembler_.shr(x86::r9, 1);
        assembler_.add(x86::r10, x86::r9);
    }
    if (magic.post != 0) assembler_.shr(t0, magic.post);
    if (op == AluOp::Div) {
        assembler_.mov(d, t0);
        return;
    }
    if (magic.pre != 0) assembler_.mov(t1, gp(w, a));
    if (w == Width::W || fits_i32(static_cast<int64_t>(divisor))) {
        assembler_.imul(t0, t0, static_cast<int32_t>(divisor));
    } else {
        assembler_.mov(x86::r9, divisor);
        assembler_.imul(t0, x86::r9);
    }
    assembler_.sub(t1, t0);
    assembler_.mov(d, t1);
}

// kTmp0 = upper half of kTmp1 * multiplier; kTmp1 stays.
void MasmX64::high_product(uint64_t multiplier) {
    assembler_.mov(x86::r9, x86::rdx);
    if (features_.bmi2) {
        // mulx takes rdx implicitly and writes no flags; rdx is r3.
        assembler_.mov(x86::rdx, multiplier);
        assembler_.mulx(x86::r10, x86::rdx, x86::r11, x86::rdx);
    } else {
        assembler_.push(x86::rax);
        assembler_.mov(x86::rax, multiplier);
        assembler_.mul(x86::rdx, x86::rax, x86::r11);
        assembler_.mov(x86::r10, x86::rdx);
        assembler_.pop(x86::rax);
    }
    assembler_.mov(x86::rdx, x86::r9);
}

void MasmX64::neg(Width w, Reg dst) { assembler_.neg(gp(w, dst)); }

void MasmX64::endian(EndianOp op, Reg dst, unsigned bits) {
    const x86::Gp w = gp(Width::W, dst), d = gp(Width::Dw, dst);
    if (op == EndianOp::ToLe) {
        if (bits == 16)
            assembler_.movzx(w, kMap[dst].r16());
        else if (bits == 32)
            assembler_.mov(w, w);
        return;
    }
    switch (bits) {
        case 16:
            assembler_.bswap(w);
            assembler_.shr(w, 16);
            break;
        case 32: assembler_.bswap(w); break;
        default: assembler_.bswap(d); break;
    }
}

void MasmX64::rotate_left(Width w, Reg dst, Reg src, unsigned count) {
    const unsigned bits = w == Width::Dw ? 64 : 32;
    if (dst != src && features_.bmi2) {
        assembler_.rorx(gp(w, dst), gp(w, src), bits - count);
        return;
    }
    if (dst != src) mov(w, dst, src);
    assembler_.rol(gp(w, dst), count);
}

void MasmX64::add3(Reg dst, Reg a, Reg b) { assembler_.lea(kMap[dst], x86::ptr(kMap[a], kMap[b])); }

void MasmX64::add3_imm(Reg dst, Reg a, int32_t imm) {
    assembler_.lea(kMap[dst], x86::ptr(kMap[a], imm));
}

// --- three operands -----------------------------------------------------------------------------

// dst op= a register or memory.
template <class Operand>
void MasmX64::combine(AluOp op, const x86::Gp& dst, const Operand& operand) {
    switch (op) {
        case AluOp::Add: assembler_.add(dst, operand); break;
        case AluOp::Sub: assembler_.sub(dst, operand); break;
        case AluOp::Or: assembler_.or_(dst, operand); break;
        case AluOp::And: assembler_.and_(dst, operand); break;
        case AluOp::Xor: assembler_.xor_(dst, operand); break;
        default: assembler_.imul(dst, operand); break;
    }
}

void MasmX64::alu3(AluOp op, Width w, bool is_signed, Reg dst, Reg a, Reg b, bool nonzero) {
    const x86::Gp d = gp(w, dst);
    switch (op) {
        case AluOp::Mov: mov(w, dst, b); return;
        case AluOp::Lsh:
        case AluOp::Rsh:
        case AluOp::Arsh: shift(op, w, dst, a, b); return;
        case AluOp::Div:
        case AluOp::Mod: {
            Reg divisor = b;
            if (dst != a && dst == b) {
                mov(w, kTmp1, b);
                divisor = kTmp1;
            }
            if (dst != a) mov(w, dst, a);
            divide(op, w, is_signed, dst, divisor, nonzero);
            return;
        }
        case AluOp::Sub:
            if (dst == b && dst != a) {
                assembler_.neg(d);
                assembler_.add(d, gp(w, a));
                return;
            }
            break;
        case AluOp::Add:
            if (dst != a && dst != b) {
                assembler_.lea(d, x86::ptr(kMap[a], kMap[b]));
                return;
            }
            break;
        default: break;
    }
    if (dst == b && op != AluOp::Sub) std::swap(a, b);
    if (dst != a) assembler_.mov(d, gp(w, a));
    combine(op, d, gp(w, b));
    if (op != AluOp::Mul) wrote_flags(w, dst);
}

void MasmX64::alu3_imm(AluOp op, Width w, bool is_signed, Reg dst, Reg a, int64_t imm) {
    const x86::Gp d = gp(w, dst);
    if (dst != a) {
        switch (op) {
            case AluOp::Add:
                assembler_.lea(d, x86::ptr(kMap[a], static_cast<int32_t>(imm)));
                return;
            case AluOp::Mul:
                if (imm == 3 || imm == 5 || imm == 9)
                    assembler_.lea(d, x86::ptr(kMap[a], kMap[a],
                                               static_cast<uint32_t>(std::countr_zero(
                                                   static_cast<uint64_t>(imm - 1)))));
                else
                    assembler_.imul(d, gp(w, a), w == Width::W ? static_cast<int32_t>(imm) : imm);
                return;
            case AluOp::Lsh:
                if (imm == 1) {
                    assembler_.lea(d, x86::ptr(kMap[a], kMap[a]));
                    return;
                }
                break;
            case AluOp::And:
                // The mask's upper half is 0.
                if (imm >= 0) w = Width::W;
                break;
            case AluOp::Div:
            case AluOp::Mod:
                if (is_signed) break;
                divide_unsigned_imm(
                    op, w, dst, a,
                    w == Width::Dw ? static_cast<uint64_t>(imm) : static_cast<uint32_t>(imm));
                return;
            default: break;
        }
        if (dst != a) mov(w, dst, a);
    }
    alu_imm(op, w, is_signed, dst, imm);
}

void MasmX64::alu_mem(AluOp op, Width w, Reg dst, Reg a, Mem mem) {
    const x86::Mem m = operand(mem, bytes_of(w));
    const bool addressed = mem.base == dst || (mem.has_index && mem.index == dst);
    if (dst != a && addressed) {
        assembler_.mov(gp(w, kTmp0), m);
        alu3(op, w, false, dst, a, kTmp0, false);
        return;
    }
    if (dst != a) assembler_.mov(gp(w, dst), gp(w, a));
    combine(op, gp(w, dst), m);
    if (op != AluOp::Mul) wrote_flags(w, dst);
}

void MasmX64::neg3(Width w, Reg dst, Reg a) {
    if (dst != a) assembler_.mov(gp(w, dst), gp(w, a));
    assembler_.neg(gp(w, dst));
}

void MasmX64::zero_extend(Reg dst, Reg a, unsigned bits) {
    switch (bits) {
        case 8: assembler_.movzx(gp(Width::W, dst), kMap[a].r8()); break;
        case 16: assembler_.movzx(gp(Width::W, dst), kMap[a].r16()); break;
        default: assembler_.mov(gp(Width::W, dst), gp(Width::W, a)); break;
    }
}

void MasmX64::swap(Reg dst, Reg a, unsigned bits) {
    if (bits == 16) {
        assembler_.movzx(gp(Width::W, dst), kMap[a].r16());
        assembler_.rol(kMap[dst].r16(), 8);
        return;
    }
    mov(bits == 64 ? Width::Dw : Width::W, dst, a);
    endian(EndianOp::Swap, dst, bits);
}

}  // namespace skep::jit
