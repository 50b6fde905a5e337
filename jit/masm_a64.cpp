// The AArch64 forms of the macro-assembler's operations. W-register forms zero-extend by
// themselves. x12 and x13 are used inside one operation only.
#include "jit/masm_a64.hpp"

#include <asmjit/arm/a64utils.h>
#include <bit>

#include "vm/isa/semantics.hpp"

namespace skep::jit {

namespace a64 = asmjit::a64;

namespace {

using CondCode = a64::CondCode;

constexpr uint32_t kMap[kMachineRegs] = {7, 0, 1, 2, 3, 4, 19, 20, 21, 22, 25, 9, 10, 11, 26};
constexpr uint32_t kEnvId = 26;

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

void MasmA64::gate(Function function, int32_t trap_disp, LabelId on_trap) {
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
    if (on_trap != kNoLabel) {
        assembler_.ldrb(kScratch0.w(), a64::ptr(a64::x26, trap_disp));
        jump_if_zero(false, kScratch0.w(), on_trap, false);
    }
    assembler_.ret(a64::x30);
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

void MasmA64::translator(Width w, RegionAccess regions) {
    const LabelId refused = new_label();
    translate(kTmp0, 0, w, regions, refused);
    assembler_.ret(a64::x30);
    bind(refused);
    mov_imm(kTmp0, 0);
    assembler_.ret(a64::x30);
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
    if (reaches(near)) {
        assembler_.b(code, label(target));
        return;
    }
    const asmjit::Label over = assembler_.newLabel();
    assembler_.b(negated(code), over);
    assembler_.b(label(target));
    assembler_.bind(over);
}

// Jumps if r is 0, or if it is not, without a comparison.
void MasmA64::jump_if_zero(bool zero, a64::Gp r, LabelId target, bool near) {
    const bool direct = reaches(near);
    const asmjit::Label to = direct ? label(target) : assembler_.newLabel();
    if (zero == direct)
        assembler_.cbz(r, to);
    else
        assembler_.cbnz(r, to);
    if (direct) return;
    assembler_.b(label(target));
    assembler_.bind(to);
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
    if (imm == 0 && (op == CondOp::Eq || op == CondOp::Ne) && target != kNoLabel) {
        jump_if_zero(op == CondOp::Eq, gp(w, a), target, near);
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
    // One bit, and a target within 32 KiB.
    if (near && !no_short_ && target != kNoLabel && std::has_single_bit(value)) {
        const auto bit = asmjit::imm(std::countr_zero(value));
        if (zero)
            assembler_.tbz(gp(w, a), bit, label(target));
        else
            assembler_.tbnz(gp(w, a), bit, label(target));
        return;
    }
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
    if (imm == 0 && (op == CondOp::Eq || op == CondOp::Ne) && target != kNoLabel) {
        jump_if_zero(op == CondOp::Eq, t, target, near);
        return;
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
