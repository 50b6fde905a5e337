// The AArch64 forms of the macro-assembler's operations. W-register forms zero-extend by
// themselves. x12 and x13 are used inside one operation only.
#include "jit/masm_a64.hpp"

#include <asmjit/arm/a64utils.h>
#include <bit>

#include "jit/magic.hpp"
#include "vm/isa/semantics.hpp"

namespace skep::jit {

namespace a64 = asmjit::a64;

namespace {

using CondCode = a64::CondCode;

constexpr uint32_t kMap[kMachineRegs] = {7, 0, 1, 2, 3, 4, 19, 20, 21, 22, 25, 9, 10, 11, 26};
constexpr uint32_t kEnvId = 26;

const a64::Gp kScratch0 = a64::x12;
const a64::Gp kScratch1 = a64::x13;

CondCode cond_code(CondOp op) {
    switch (op) {
        case CondOp::Eq: return CondCode::kEQ;
        case CondOp::Ne: return CondCode::kNE;
        case CondOp::Gt: return CondCode::kHI;
        case CondOp::Ge: return CondCode::kHS;
        case CondOp::Lt: return CondCode::kLO;
        case CondOp::Le: return CondCode::kLS;
        case CondOp::Sgt: return CondCode::kGT;
        case CondOp::Sge: return CondCode::kGE;
        case CondOp::Slt: return CondCode::kLT;
        case CondOp::Sle: return CondCode::kLE;
        case CondOp::Set: return CondCode::kNE;
    }
    return CondCode::kEQ;
}

CondCode negated(CondCode code) { return asmjit::arm::negateCond(code); }

bool is_arithmetic_imm(uint64_t v) { return v < 4096 || ((v & 0xfff) == 0 && v < (4096u << 12)); }

a64::Gp scratch(Width w, const a64::Gp& r) {
    if (w == Width::Dw) return r.x();
    return r.w();
}

}  // namespace

MasmA64::MasmA64(asmjit::CodeHolder& code, Features features)
    : assembler_(&code), features_(features) {}

LabelId MasmA64::new_label() {
    labels_.push_back(assembler_.newLabel());
    return static_cast<LabelId>(labels_.size() - 1);
}

void MasmA64::bind(LabelId id) { assembler_.bind(label(id)); }
// Padding is executed on the way in, and costs here an instruction for each word.
void MasmA64::align_loop(unsigned) { assembler_.align(asmjit::AlignMode::kCode, 16); }

uint64_t MasmA64::label_position(LabelId id) const {
    return assembler_.code()->labelOffset(label(id));
}

a64::Gp MasmA64::gp(Width w, Reg r) const {
    return w == Width::Dw ? a64::Gp(a64::x(kMap[r])) : a64::Gp(a64::w(kMap[r]));
}

// A memory operand for an access of `size` bytes; displacements that do not encode go through x13.
a64::Mem MasmA64::operand(Mem mem, unsigned size) {
    a64::Gp base = gp(Width::Dw, mem.base);
    if (mem.has_index) {
        if (mem.disp == 0 && (mem.shift == 0 || 1u << mem.shift == size))
            return a64::ptr(base, gp(Width::Dw, mem.index), a64::lsl(mem.shift));
        assembler_.add(kScratch1, base, gp(Width::Dw, mem.index), a64::lsl(mem.shift));
        base = kScratch1;
    }
    const int32_t scale = static_cast<int32_t>(size);
    const bool scaled = mem.disp >= 0 && mem.disp % scale == 0 && mem.disp / scale < 4096;
    if (scaled || (mem.disp >= -256 && mem.disp < 256)) return a64::ptr(base, mem.disp);
    if (base.id() == kScratch1.id()) {
        assembler_.mov(kScratch0, static_cast<int64_t>(mem.disp));
        assembler_.add(kScratch1, kScratch1, kScratch0);
        return a64::ptr(kScratch1);
    }
    assembler_.mov(kScratch1, static_cast<int64_t>(mem.disp));
    return a64::ptr(base, kScratch1);
}

a64::Mem MasmA64::env_operand(int32_t disp) const { return a64::ptr(a64::x(kEnvId), disp); }

// --- entries, exits, calls ----------------------------------------------------------------------

void MasmA64::push_all(uint16_t) {
    // Pairs keep the stack pointer 16-byte aligned; all of r6..r9, which is two instructions.
    assembler_.stp(a64::x19, a64::x20, a64::ptr_pre(a64::sp, -16));
    assembler_.stp(a64::x21, a64::x22, a64::ptr_pre(a64::sp, -16));
}

void MasmA64::pop_all(uint16_t) {
    assembler_.ldp(a64::x21, a64::x22, a64::ptr_post(a64::sp, 16));
    assembler_.ldp(a64::x19, a64::x20, a64::ptr_post(a64::sp, 16));
}

void MasmA64::entry(uint16_t saved, int32_t frame_disp, int32_t sp_disp) {
    if (features_.bti) assembler_.hint(asmjit::imm(34));  // BTI c
    assembler_.stp(a64::x29, a64::x30, a64::ptr_pre(a64::sp, -16));
    assembler_.mov(a64::x29, a64::sp);
    assembler_.stp(a64::x25, a64::x26, a64::ptr_pre(a64::sp, -16));
    if (saved != 0) push_all(saved);
    assembler_.mov(a64::x26, a64::x5);
    assembler_.ldr(a64::x25, env_operand(frame_disp));
    assembler_.ldr(kScratch0, env_operand(sp_disp));
    assembler_.str(kScratch0, a64::ptr_pre(a64::sp, -16));
    assembler_.mov(kScratch0, a64::sp);
    assembler_.str(kScratch0, env_operand(sp_disp));
}

void MasmA64::leave(uint16_t saved, int32_t sp_disp) {
    assembler_.ldr(kScratch0, a64::ptr_post(a64::sp, 16));
    assembler_.str(kScratch0, env_operand(sp_disp));
    assembler_.mov(a64::x0, a64::x7);
    if (saved != 0) pop_all(saved);
    assembler_.ldp(a64::x25, a64::x26, a64::ptr_post(a64::sp, 16));
    assembler_.ldp(a64::x29, a64::x30, a64::ptr_post(a64::sp, 16));
    assembler_.ret(a64::x30);
}

void MasmA64::bare_entry(uint16_t saved) {
    if (features_.bti) assembler_.hint(asmjit::imm(34));  // BTI c
    if (saved != 0) push_all(saved);
}

void MasmA64::bare_leave(uint16_t saved) {
    assembler_.mov(a64::x0, a64::x7);
    if (saved != 0) pop_all(saved);
    assembler_.ret(a64::x30);
}

void MasmA64::unwind(int32_t sp_disp) {
    assembler_.ldr(kScratch0, env_operand(sp_disp));
    assembler_.mov(a64::sp, kScratch0);
}

void MasmA64::function_entry(uint16_t saved) {
    assembler_.stp(a64::x29, a64::x30, a64::ptr_pre(a64::sp, -16));
    if (saved != 0) push_all(saved);
}

void MasmA64::function_return(uint16_t saved) {
    if (saved != 0) pop_all(saved);
    assembler_.ldp(a64::x29, a64::x30, a64::ptr_post(a64::sp, 16));
    assembler_.ret(a64::x30);
}

void MasmA64::call_label(LabelId id) { assembler_.bl(label(id)); }
// [sp] round, [sp + 8] count, [sp + 16] context.
void MasmA64::push_loop(Reg count, Reg context) {
    assembler_.str(gp(Width::Dw, context), a64::ptr_pre(a64::sp, -16));
    assembler_.mov(kScratch0.w(), gp(Width::W, count));
    assembler_.stp(a64::xzr, kScratch0, a64::ptr_pre(a64::sp, -16));
}

void MasmA64::loop_round(Reg round, Reg context, LabelId done) {
    assembler_.ldp(gp(Width::Dw, round), kScratch0, a64::ptr(a64::sp));
    assembler_.cmp(gp(Width::Dw, round), kScratch0);
    jump_if(CondCode::kHS, done, false);
    assembler_.ldr(gp(Width::Dw, context), a64::ptr(a64::sp, 16));
}

void MasmA64::loop_next() {
    assembler_.ldr(kScratch0, a64::ptr(a64::sp));
    assembler_.add(kScratch0, kScratch0, 1);
    assembler_.str(kScratch0, a64::ptr(a64::sp));
}

void MasmA64::pop_loop(Reg rounds) {
    assembler_.ldr(gp(Width::Dw, rounds), a64::ptr(a64::sp));
    assembler_.add(a64::sp, a64::sp, 32);
}

void MasmA64::ret() { assembler_.ret(a64::x30); }

void MasmA64::call_function(Function function) {
    assembler_.mov(a64::x5, a64::x26);
    assembler_.mov(kScratch0, reinterpret_cast<uint64_t>(function));
    assembler_.blr(kScratch0);
    assembler_.mov(a64::x7, a64::x0);
}

void MasmA64::gate(Function function) {
    assembler_.stp(a64::x29, a64::x30, a64::ptr_pre(a64::sp, -16));
    assembler_.stp(a64::x0, a64::x1, a64::ptr_pre(a64::sp, -16));
    assembler_.stp(a64::x2, a64::x3, a64::ptr_pre(a64::sp, -16));
    assembler_.stp(a64::x4, a64::x7, a64::ptr_pre(a64::sp, -16));
    assembler_.mov(a64::x0, a64::x9);
    assembler_.mov(a64::x1, a64::x10);
    assembler_.mov(a64::x2, a64::x11);
    assembler_.mov(a64::x3, a64::x26);
    assembler_.mov(kScratch0, reinterpret_cast<uint64_t>(function));
    assembler_.blr(kScratch0);
    assembler_.mov(a64::x9, a64::x0);
    assembler_.ldp(a64::x4, a64::x7, a64::ptr_post(a64::sp, 16));
    assembler_.ldp(a64::x2, a64::x3, a64::ptr_post(a64::sp, 16));
    assembler_.ldp(a64::x0, a64::x1, a64::ptr_post(a64::sp, 16));
    assembler_.ldp(a64::x29, a64::x30, a64::ptr_post(a64::sp, 16));
    assembler_.ret(a64::x30);
}

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

// --- memory -------------------------------------------------------------------------------------

void MasmA64::load(Width w, bool sign, Reg dst, Mem mem) {
    const a64::Mem m = operand(mem, bytes_of(w));
    const a64::Gp w32 = gp(Width::W, dst), x = gp(Width::Dw, dst);
    switch (w) {
        case Width::B:
            if (sign)
                assembler_.ldrsb(x, m);
            else
                assembler_.ldrb(w32, m);
            break;
        case Width::H:
            if (sign)
                assembler_.ldrsh(x, m);
            else
                assembler_.ldrh(w32, m);
            break;
        case Width::W:
            if (sign)
                assembler_.ldrsw(x, m);
            else
                assembler_.ldr(w32, m);
            break;
        case Width::Dw: assembler_.ldr(x, m); break;
    }
}

void MasmA64::store(Width w, Mem mem, Reg src) {
    const a64::Mem m = operand(mem, bytes_of(w));
    switch (w) {
        case Width::B: assembler_.strb(gp(Width::W, src), m); break;
        case Width::H: assembler_.strh(gp(Width::W, src), m); break;
        case Width::W: assembler_.str(gp(Width::W, src), m); break;
        case Width::Dw: assembler_.str(gp(Width::Dw, src), m); break;
    }
}

void MasmA64::store_imm(Width w, Mem mem, int32_t imm) {
    const a64::Mem m = operand(mem, bytes_of(w));
    a64::Gp value = scratch(w, kScratch0);
    if (imm == 0)
        value = w == Width::Dw ? a64::Gp(a64::xzr) : a64::Gp(a64::wzr);
    else if (w == Width::Dw)
        assembler_.mov(kScratch0, static_cast<int64_t>(imm));
    else
        assembler_.mov(kScratch0.w(), static_cast<uint32_t>(imm));
    switch (w) {
        case Width::B: assembler_.strb(value.w(), m); break;
        case Width::H: assembler_.strh(value.w(), m); break;
        case Width::W: assembler_.str(value.w(), m); break;
        case Width::Dw: assembler_.str(value.x(), m); break;
    }
}

void MasmA64::load_swapped(Width w, Reg dst, Mem mem) {
    load(w, false, dst, mem);
    if (w == Width::H)
        assembler_.rev16(gp(Width::W, dst), gp(Width::W, dst));
    else if (w != Width::B)
        endian(EndianOp::ToBe, dst, 8 * bytes_of(w));
}

void MasmA64::load_signed(Width to, Width w, Reg dst, Mem mem) {
    if (to == Width::Dw || bytes_of(w) >= 4) {
        load(w, w != Width::Dw, dst, mem);
        return;
    }
    const a64::Mem m = operand(mem, bytes_of(w));
    if (w == Width::B)
        assembler_.ldrsb(gp(Width::W, dst), m);
    else
        assembler_.ldrsh(gp(Width::W, dst), m);
}

void MasmA64::atomic(AtomicOp op, Width w, Mem mem, Reg src) {
    a64::Gp base = gp(Width::Dw, mem.base);
    if (mem.disp != 0 || mem.has_index) {
        // The exclusive and atomic forms take a bare register.
        lea(kTmp0, mem);
        base = gp(Width::Dw, kTmp0);
    }
    const a64::Mem m = a64::ptr(base);
    switch (op) {
        case AtomicOp::LoadAcquire:
            switch (w) {
                case Width::B: assembler_.ldarb(gp(Width::W, src), m); break;
                case Width::H: assembler_.ldarh(gp(Width::W, src), m); break;
                case Width::W:
                case Width::Dw: assembler_.ldar(gp(w, src), m); break;
            }
            return;
        case AtomicOp::StoreRelease:
            // This asmjit's stlr() mnemonics emit STLLR; the instruction ids are right.
            switch (w) {
                case Width::B: assembler_.emit(a64::Inst::kIdStlrb, gp(Width::W, src), m); break;
                case Width::H: assembler_.emit(a64::Inst::kIdStlrh, gp(Width::W, src), m); break;
                case Width::W:
                case Width::Dw: assembler_.emit(a64::Inst::kIdStlr, gp(w, src), m); break;
            }
            return;
        default: break;
    }
    if (features_.lse)
        atomic_lse(op, w, m, src);
    else
        atomic_exclusive(op, w, m, src);
}

// One instruction each, with acquire and release order.
void MasmA64::atomic_lse(AtomicOp op, Width w, a64::Mem m, Reg src) {
    const a64::Gp s = gp(w, src), old = scratch(w, kScratch0), t = scratch(w, kScratch1);
    const a64::Gp out = fetches(op) ? s : old;
    switch (op) {
        case AtomicOp::Add:
        case AtomicOp::FetchAdd: assembler_.ldaddal(s, out, m); break;
        case AtomicOp::Or:
        case AtomicOp::FetchOr: assembler_.ldsetal(s, out, m); break;
        case AtomicOp::Xor:
        case AtomicOp::FetchXor: assembler_.ldeoral(s, out, m); break;
        case AtomicOp::And:
        case AtomicOp::FetchAnd:
            assembler_.mvn(t, s);
            assembler_.ldclral(t, out, m);
            break;
        case AtomicOp::Xchg: assembler_.swpal(s, s, m); break;
        case AtomicOp::Cmpxchg: assembler_.casal(gp(w, 0), s, m); break;
        case AtomicOp::LoadAcquire:
        case AtomicOp::StoreRelease: break;
    }
}

// Load- and store-exclusive loop: acquire on the load, release on the store, and a full barrier
// behind it for the fetching forms, which eBPF orders fully.
void MasmA64::atomic_exclusive(AtomicOp op, Width w, a64::Mem m, Reg src) {
    const a64::Gp s = gp(w, src), old = scratch(w, kScratch0), result = scratch(w, kScratch1);
    const a64::Gp status = a64::w(kMap[kTmp2]);
    const asmjit::Label again = assembler_.newLabel(), done = assembler_.newLabel();
    assembler_.bind(again);
    assembler_.ldaxr(old, m);
    switch (op) {
        case AtomicOp::Add:
        case AtomicOp::FetchAdd: assembler_.add(result, old, s); break;
        case AtomicOp::Or:
        case AtomicOp::FetchOr: assembler_.orr(result, old, s); break;
        case AtomicOp::And:
        case AtomicOp::FetchAnd: assembler_.and_(result, old, s); break;
        case AtomicOp::Xor:
        case AtomicOp::FetchXor: assembler_.eor(result, old, s); break;
        case AtomicOp::Xchg: assembler_.mov(result, s); break;
        case AtomicOp::Cmpxchg:
            assembler_.cmp(old, gp(w, 0));
            assembler_.b(CondCode::kNE, done);
            assembler_.mov(result, s);
            break;
        case AtomicOp::LoadAcquire:
        case AtomicOp::StoreRelease: break;
    }
    // This asmjit refuses STLXR with its status in another width than its data.
    const uint32_t stlxr = w == Width::Dw ? 0xc800fc00u : 0x8800fc00u;
    assembler_.embedUInt32(stlxr | status.id() << 16 | m.baseId() << 5 | result.id());
    assembler_.cbnz(status, again);
    assembler_.bind(done);
    if (!fetches(op)) return;
    assembler_.dmb(asmjit::imm(11));  // ISH
    assembler_.mov(op == AtomicOp::Cmpxchg ? gp(w, 0) : s, old);
}

void MasmA64::lea(Reg dst, Mem mem) {
    if (mem.has_index && mem.disp == 0) {
        assembler_.add(gp(Width::Dw, dst), gp(Width::Dw, mem.base), gp(Width::Dw, mem.index),
                       a64::lsl(mem.shift));
        return;
    }
    if (mem.has_index) {
        assembler_.add(kScratch1, gp(Width::Dw, mem.base), gp(Width::Dw, mem.index),
                       a64::lsl(mem.shift));
        if (mem.disp != 0) {
            assembler_.mov(kScratch0, static_cast<int64_t>(mem.disp));
            assembler_.add(kScratch1, kScratch1, kScratch0);
        }
        assembler_.mov(gp(Width::Dw, dst), kScratch1);
        return;
    }
    add3_imm(dst, mem.base, mem.disp);
}

void MasmA64::translate(Reg base, int32_t disp, Width w, RegionAccess regions, LabelId refused) {
    const a64::Gp t0 = gp(Width::Dw, kTmp0), t1 = gp(Width::Dw, kTmp1), t2 = gp(Width::Dw, kTmp2);
    add3_imm(kTmp0, base, disp);
    assembler_.lsr(t1, t0, 32);
    assembler_.ldr(t2.w(), env_operand(regions.count_disp));
    assembler_.cmp(t1.w(), t2.w());
    jump_if(CondCode::kHS, refused, false);
    assembler_.ldr(t2, env_operand(regions.table_disp));
    assembler_.add(t1, t2, t1, a64::lsl(regions.size_shift));
    assembler_.ldr(t2.w(), a64::ptr(t1, regions.lo_disp));
    // The offset inside the region as a 32-bit number: no sum below can wrap in 64 bits.
    assembler_.sub(t0.w(), t0.w(), t2.w());
    assembler_.ldr(t2, a64::ptr(t1, regions.limit_disp));
    assembler_.add(kScratch0, t0, bytes_of(w));
    assembler_.cmp(kScratch0, t2);
    jump_if(CondCode::kHI, refused, false);
    assembler_.ldr(t2, a64::ptr(t1, regions.base_disp));
    assembler_.add(t0, t0, t2);
}

void MasmA64::check_region(Reg base, int32_t disp, const RegionCheck& check, LabelId refused) {
    const a64::Gp distance = gp(Width::Dw, kTmp1), limit = gp(Width::Dw, kTmp0);
    if (check.constant && check.bytes < check.extent) {
        assembler_.b(label(refused));
        region_delta(check);
        return;
    }
    add3_imm(kTmp1, base, disp);
    if (check.constant) {
        assembler_.mov(limit, check.start);
        assembler_.sub(distance, distance, limit);
        compare_imm(Width::Dw, distance, check.bytes - check.extent);
        jump_if(CondCode::kHI, refused, false);
    } else {
        assembler_.ldr(limit, env_operand(check.start_disp));
        assembler_.sub(distance, distance, limit);
        assembler_.ldr(limit, env_operand(check.limit_disp));
        if (check.whole) {
            // An address below the region's start is a distance that wraps here.
            assembler_.adds(distance, distance, check.extent);
            jump_if(CondCode::kHS, refused, false);
            assembler_.cmp(distance, limit);
            jump_if(CondCode::kHI, refused, false);
        } else {
            assembler_.cmp(distance, limit);
            jump_if(CondCode::kHS, refused, false);
        }
    }
    region_delta(check);
}

void MasmA64::region_delta(const RegionCheck& check) {
    if (check.constant)
        mov_imm(kTmp0, check.delta);
    else
        assembler_.ldr(gp(Width::Dw, kTmp0), env_operand(check.delta_disp));
}

// --- control ------------------------------------------------------------------------------------

void MasmA64::jump(LabelId target, bool) { assembler_.b(label(target)); }

void MasmA64::jump_if(CondCode code, LabelId target, bool near) {
    if (target == kNoLabel) return;
    if (near || !far_) {
        assembler_.b(code, label(target));
        return;
    }
    const asmjit::Label over = assembler_.newLabel();
    assembler_.b(negated(code), over);
    assembler_.b(label(target));
    assembler_.bind(over);
}

void MasmA64::compare_imm(Width w, a64::Gp r, int64_t imm) {
    const uint64_t magnitude =
        imm < 0 ? 0 - static_cast<uint64_t>(imm) : static_cast<uint64_t>(imm);
    if (is_arithmetic_imm(magnitude)) {
        if (imm < 0)
            assembler_.cmn(r, magnitude);
        else
            assembler_.cmp(r, magnitude);
        return;
    }
    const a64::Gp t = scratch(w, kScratch0);
    if (w == Width::Dw)
        assembler_.mov(t, imm);
    else
        assembler_.mov(t, static_cast<uint32_t>(imm));
    assembler_.cmp(r, t);
}

void MasmA64::branch(CondOp op, Width w, Reg a, Reg b, LabelId target, bool near) {
    if (op == CondOp::Set)
        assembler_.tst(gp(w, a), gp(w, b));
    else
        assembler_.cmp(gp(w, a), gp(w, b));
    jump_if(cond_code(op), target, near);
}

void MasmA64::branch_imm(CondOp op, Width w, Reg a, int64_t imm, LabelId target, bool near) {
    if (op == CondOp::Set) {
        branch_test_imm(false, w, a, imm, target, near);
        return;
    }
    compare_imm(w, gp(w, a), imm);
    jump_if(cond_code(op), target, near);
}

void MasmA64::branch_test(bool zero, Width w, Reg a, Reg b, LabelId target, bool near) {
    assembler_.tst(gp(w, a), gp(w, b));
    jump_if(zero ? CondCode::kEQ : CondCode::kNE, target, near);
}

void MasmA64::branch_test_imm(bool zero, Width w, Reg a, int64_t imm, LabelId target, bool near) {
    const uint64_t value = w == Width::Dw ? static_cast<uint64_t>(imm) : static_cast<uint32_t>(imm);
    if (a64::Utils::isLogicalImm(value, w == Width::Dw ? 64 : 32)) {
        assembler_.tst(gp(w, a), value);
    } else {
        const a64::Gp t = scratch(w, kScratch0);
        assembler_.mov(t, value);
        assembler_.tst(gp(w, a), t);
    }
    jump_if(zero ? CondCode::kEQ : CondCode::kNE, target, near);
}

void MasmA64::branch_mem(CondOp op, Width w, Reg a, Mem mem, LabelId target, bool near) {
    load(w, false, kTmp0, mem);
    branch(op, w, a, kTmp0, target, near);
}

void MasmA64::branch_mem_imm(CondOp op, Width w, Mem mem, int32_t imm, LabelId target, bool near) {
    const a64::Mem m = operand(mem, bytes_of(w));
    const Width compare = w == Width::Dw ? Width::Dw : Width::W;
    const a64::Gp t = scratch(compare, kScratch1);
    switch (w) {
        case Width::B: assembler_.ldrb(t, m); break;
        case Width::H: assembler_.ldrh(t, m); break;
        case Width::W:
        case Width::Dw: assembler_.ldr(t, m); break;
    }
    compare_imm(compare, t, imm);
    jump_if(cond_code(op), target, near);
}

void MasmA64::select(CondOp op, Reg dst, Reg a, Reg b) {
    assembler_.csel(gp(Width::Dw, dst), gp(Width::Dw, a), gp(Width::Dw, b), cond_code(op));
}

void MasmA64::set_if(CondOp op, Reg dst, bool) {
    assembler_.cset(gp(Width::Dw, dst), cond_code(op));
}

void MasmA64::add_mem_imm(Width w, Mem mem, int32_t imm) {
    const a64::Mem m = operand(mem, bytes_of(w));
    const a64::Gp t = scratch(w, kScratch0);
    assembler_.ldr(t, m);
    if (imm < 0)
        assembler_.sub(t, t, -imm);
    else
        assembler_.add(t, t, imm);
    assembler_.str(t, m);
}

void MasmA64::sub_mem_imm(Width w, Mem mem, int32_t imm, LabelId when_negative) {
    const a64::Mem m = operand(mem, bytes_of(w));
    const a64::Gp t = scratch(w, kScratch0);
    assembler_.ldr(t, m);
    assembler_.subs(t, t, imm);
    assembler_.str(t, m);
    jump_if(CondCode::kMI, when_negative, false);
}

void MasmA64::sub_imm(Reg r, int32_t imm, LabelId when_negative) {
    assembler_.subs(gp(Width::Dw, r), gp(Width::Dw, r), imm);
    jump_if(CondCode::kMI, when_negative, false);
}

// SB where there is one; this pair works everywhere.
void MasmA64::speculation_barrier() {
    assembler_.dsb(asmjit::imm(15));  // SY
    assembler_.isb(asmjit::imm(15));
}

void MasmA64::trap_here() { assembler_.udf(asmjit::imm(0)); }

}  // namespace skep::jit
