// The x86-64 forms of the macro-assembler's operations. 32-bit operations are emitted in their
// 32-bit form, which zero-extends by itself; flags are live only inside one operation.
#include "jit/masm_x64.hpp"

#include <bit>

namespace skep::jit {

namespace x86 = asmjit::x86;

namespace {

x86::CondCode cond_code(CondOp op) {
    switch (op) {
        case CondOp::Eq: return x86::CondCode::kEqual;
        case CondOp::Ne: return x86::CondCode::kNotEqual;
        case CondOp::Gt: return x86::CondCode::kUnsignedGT;
        case CondOp::Ge: return x86::CondCode::kUnsignedGE;
        case CondOp::Lt: return x86::CondCode::kUnsignedLT;
        case CondOp::Le: return x86::CondCode::kUnsignedLE;
        case CondOp::Sgt: return x86::CondCode::kSignedGT;
        case CondOp::Sge: return x86::CondCode::kSignedGE;
        case CondOp::Slt: return x86::CondCode::kSignedLT;
        case CondOp::Sle: return x86::CondCode::kSignedLE;
        case CondOp::Set: return x86::CondCode::kNotZero;
    }
    return x86::CondCode::kEqual;
}

}  // namespace

MasmX64::MasmX64(asmjit::CodeHolder& code, Features features)
    : assembler_(&code), features_(features) {
    assembler_.addEncodingOptions(asmjit::EncodingOptions::kOptimizedAlign |
                                  asmjit::EncodingOptions::kOptimizeForSize);
}

LabelId MasmX64::new_label() {
    labels_.push_back(assembler_.newLabel());
    return static_cast<LabelId>(labels_.size() - 1);
}

void MasmX64::bind(LabelId id) {
    assembler_.bind(label(id));
    flags_at_ = UINT64_MAX;
}

void MasmX64::wrote_flags(Width w, Reg dst) {
    flags_at_ = position();
    flags_width_ = w;
    flags_reg_ = dst;
}
void MasmX64::align_loop(unsigned bytes) { assembler_.align(asmjit::AlignMode::kCode, bytes); }

uint64_t MasmX64::label_position(LabelId id) const { return assembler_.position_of(label(id)); }

x86::Mem MasmX64::operand(Mem mem, unsigned size) const {
    x86::Mem out = mem.has_index ? x86::ptr(kMap[mem.base], kMap[mem.index], mem.shift, mem.disp)
                                 : x86::ptr(kMap[mem.base], mem.disp);
    out.setSize(size);
    return out;
}

// --- entries, exits, calls ----------------------------------------------------------------------

void MasmX64::push_saved(uint16_t saved) {
    for (Reg r = 6; r <= 9; ++r) {
        if ((saved >> r & 1) != 0) assembler_.push(kMap[r]);
    }
}

void MasmX64::pop_saved(uint16_t saved) {
    for (Reg r = 10; r-- > 6;) {
        if ((saved >> r & 1) != 0) assembler_.pop(kMap[r]);
    }
}

// Pushes rbp, r12 and `saved`, and the environment's native stack pointer, so that nested entries
// each have their own; keeps rsp 16-byte aligned for calls.
void MasmX64::entry(uint16_t saved, int32_t frame_disp, int32_t sp_disp) {
    if (features_.bti) assembler_.endbr64();
    assembler_.push(x86::rbp);
    assembler_.push(x86::r12);
    push_saved(saved);
    assembler_.mov(x86::r12, x86::r9);
    assembler_.mov(x86::rbp, x86::ptr(x86::r12, frame_disp));
    assembler_.push(x86::qword_ptr(x86::r12, sp_disp));
    // Return address and the pushes above.
    if ((std::popcount(saved) + 4) % 2 != 0) assembler_.push(x86::rax);
    assembler_.mov(x86::ptr(x86::r12, sp_disp), x86::rsp);
}

void MasmX64::leave(uint16_t saved, int32_t sp_disp) {
    if ((std::popcount(saved) + 4) % 2 != 0) assembler_.pop(x86::r10);
    assembler_.pop(x86::qword_ptr(x86::r12, sp_disp));
    pop_saved(saved);
    assembler_.pop(x86::r12);
    assembler_.pop(x86::rbp);
    assembler_.ret();
}

void MasmX64::bare_entry(uint16_t saved) {
    if (features_.bti) assembler_.endbr64();
    push_saved(saved);
}

void MasmX64::bare_leave(uint16_t saved) {
    pop_saved(saved);
    assembler_.ret();
}

void MasmX64::unwind(int32_t sp_disp) { assembler_.mov(x86::rsp, x86::ptr(x86::r12, sp_disp)); }

void MasmX64::function_entry(uint16_t saved) {
    push_saved(saved);
    // Return address and the pushes: keep calls from here aligned.
    if (std::popcount(saved) % 2 == 0) assembler_.push(x86::rax);
}

void MasmX64::function_return(uint16_t saved) {
    if (std::popcount(saved) % 2 == 0) assembler_.pop(x86::r10);
    pop_saved(saved);
    assembler_.ret();
}

void MasmX64::call_label(LabelId id) { assembler_.call(label(id)); }
// [rsp] round, [rsp + 8] count, [rsp + 16] context; 32 bytes keep calls aligned.
void MasmX64::push_loop(Reg count, Reg context) {
    assembler_.mov(x86::r10d, gp(Width::W, count));
    assembler_.push(kMap[context]);
    assembler_.push(kMap[context]);
    assembler_.push(x86::r10);
    assembler_.push(0);
}

void MasmX64::loop_round(Reg round, Reg context, LabelId done) {
    assembler_.mov(gp(Width::Dw, round), x86::qword_ptr(x86::rsp));
    assembler_.cmp(gp(Width::Dw, round), x86::qword_ptr(x86::rsp, 8));
    assembler_.jae(label(done));
    assembler_.mov(gp(Width::Dw, context), x86::qword_ptr(x86::rsp, 16));
}

void MasmX64::loop_next() { assembler_.inc(x86::qword_ptr(x86::rsp)); }

void MasmX64::pop_loop(Reg rounds) {
    assembler_.mov(gp(Width::Dw, rounds), x86::qword_ptr(x86::rsp));
    assembler_.add(x86::rsp, 32);
}

void MasmX64::ret() { assembler_.ret(); }

void MasmX64::call_function(Function function) {
    assembler_.mov(x86::r9, x86::r12);
    assembler_.call(asmjit::imm(reinterpret_cast<uint64_t>(function)));
}

void MasmX64::gate(Function function, int32_t trap_disp, LabelId on_trap) {
    constexpr x86::Gp kept[] = {x86::rax, x86::rdi, x86::rsi, x86::rdx, x86::rcx, x86::r8};
    for (const x86::Gp& r : kept) assembler_.push(r);
    assembler_.push(x86::r10);  // the call's return address and six pushes: align
    assembler_.mov(x86::rdi, x86::r10);
    assembler_.mov(x86::rsi, x86::r11);
    assembler_.mov(x86::rdx, x86::r9);
    assembler_.mov(x86::rcx, x86::r12);
    assembler_.call(asmjit::imm(reinterpret_cast<uint64_t>(function)));
    assembler_.mov(x86::r10, x86::rax);
    assembler_.pop(x86::r11);
    for (size_t i = std::size(kept); i-- > 0;) assembler_.pop(kept[i]);
    if (on_trap != kNoLabel) {
        assembler_.cmp(x86::byte_ptr(x86::r12, trap_disp), 0);
        assembler_.j(x86::CondCode::kNotZero, label(on_trap));
    }
    assembler_.ret();
}

// --- memory -------------------------------------------------------------------------------------

void MasmX64::load(Width w, bool sign, Reg dst, Mem mem) {
    const x86::Mem m = operand(mem, bytes_of(w));
    switch (w) {
        case Width::B:
            if (sign)
                assembler_.movsx(gp(Width::Dw, dst), m);
            else
                assembler_.movzx(gp(Width::W, dst), m);
            break;
        case Width::H:
            if (sign)
                assembler_.movsx(gp(Width::Dw, dst), m);
            else
                assembler_.movzx(gp(Width::W, dst), m);
            break;
        case Width::W:
            if (sign)
                assembler_.movsxd(gp(Width::Dw, dst), m);
            else
                assembler_.mov(gp(Width::W, dst), m);
            break;
        case Width::Dw: assembler_.mov(gp(Width::Dw, dst), m); break;
    }
}

void MasmX64::store(Width w, Mem mem, Reg src) {
    const x86::Mem m = operand(mem, bytes_of(w));
    switch (w) {
        case Width::B: assembler_.mov(m, kMap[src].r8()); break;
        case Width::H: assembler_.mov(m, kMap[src].r16()); break;
        case Width::W: assembler_.mov(m, kMap[src].r32()); break;
        case Width::Dw: assembler_.mov(m, kMap[src]); break;
    }
}

void MasmX64::store_imm(Width w, Mem mem, int32_t imm) {
    const x86::Mem m = operand(mem, bytes_of(w));
    switch (w) {
        case Width::B: assembler_.mov(m, static_cast<int8_t>(imm)); break;
        case Width::H: assembler_.mov(m, static_cast<int16_t>(imm)); break;
        case Width::W:
        case Width::Dw: assembler_.mov(m, imm); break;
    }
}

void MasmX64::load_swapped(Width w, Reg dst, Mem mem) {
    const x86::Mem m = operand(mem, bytes_of(w));
    switch (w) {
        case Width::B: load(w, false, dst, mem); break;
        case Width::H:
            assembler_.movzx(gp(Width::W, dst), m);
            assembler_.rol(kMap[dst].r16(), 8);
            break;
        case Width::W:
        case Width::Dw:
            if (features_.movbe) {
                assembler_.movbe(gp(w, dst), m);
            } else {
                assembler_.mov(gp(w, dst), m);
                assembler_.bswap(gp(w, dst));
            }
            break;
    }
}

void MasmX64::load_signed(Width to, Width w, Reg dst, Mem mem) {
    const x86::Mem m = operand(mem, bytes_of(w));
    if (w == Width::Dw)
        assembler_.mov(kMap[dst], m);
    else if (w == Width::W)
        assembler_.movsxd(kMap[dst], m);
    else
        assembler_.movsx(gp(to, dst), m);
}

void MasmX64::atomic(AtomicOp op, Width w, Mem mem, Reg src) {
    const x86::Mem m = operand(mem, bytes_of(w));
    const x86::Gp s = gp(w, src);
    switch (op) {
        case AtomicOp::Add: assembler_.lock().add(m, s); break;
        case AtomicOp::Or: assembler_.lock().or_(m, s); break;
        case AtomicOp::And: assembler_.lock().and_(m, s); break;
        case AtomicOp::Xor: assembler_.lock().xor_(m, s); break;
        case AtomicOp::FetchAdd:
            assembler_.lock().xadd(m, s);
            // The 32-bit form writes the 32-bit register, which zero-extends.
            break;
        case AtomicOp::Xchg: assembler_.xchg(m, s); break;
        case AtomicOp::Cmpxchg:
            assembler_.lock().cmpxchg(m, s);
            // On success eax is not written; r0 is zero-extended all the same.
            if (w == Width::W) assembler_.mov(x86::eax, x86::eax);
            break;
        case AtomicOp::FetchOr:
        case AtomicOp::FetchAnd:
        case AtomicOp::FetchXor: atomic_loop(op, w, mem, src); break;
        case AtomicOp::LoadAcquire: load(w, false, src, mem); break;
        case AtomicOp::StoreRelease: store(w, mem, src); break;
    }
}

// src = old value; memory = old op src. kTmp2 (r9) keeps rax, kTmp1 (r11) computes; the operand
// must not use either, nor rax: the caller puts addresses in kTmp0.
void MasmX64::atomic_loop(AtomicOp op, Width w, Mem mem, Reg src) {
    const x86::Mem m = operand(mem, bytes_of(w));
    const x86::Gp a = gp(w, 0), t = gp(w, kTmp1);
    const x86::Gp s = src == 0 ? gp(w, kTmp2) : gp(w, src);
    const asmjit::Label again = assembler_.newLabel();
    assembler_.mov(x86::r9, x86::rax);
    assembler_.mov(a, m);
    assembler_.bind(again);
    assembler_.mov(t, a);
    if (op == AtomicOp::FetchOr)
        assembler_.or_(t, s);
    else if (op == AtomicOp::FetchAnd)
        assembler_.and_(t, s);
    else
        assembler_.xor_(t, s);
    assembler_.lock().cmpxchg(m, t);
    assembler_.short_().jne(again);
    if (src != 0) {
        assembler_.mov(gp(w, src), a);
        assembler_.mov(x86::rax, x86::r9);
    } else if (w == Width::W) {
        assembler_.mov(a, a);
    }
}

void MasmX64::lea(Reg dst, Mem mem) { assembler_.lea(kMap[dst], operand(mem, 0)); }

void MasmX64::translate(Reg base, int32_t disp, Width w, RegionAccess regions, LabelId refused) {
    if (disp == 0)
        mov(Width::Dw, kTmp0, base);
    else
        assembler_.lea(x86::r10, x86::ptr(kMap[base], disp));
    assembler_.mov(x86::r11, x86::r10);
    assembler_.shr(x86::r11, 32);
    assembler_.cmp(x86::r11d, x86::dword_ptr(x86::r12, regions.count_disp));
    assembler_.jae(label(refused));
    assembler_.shl(x86::r11d, regions.size_shift);
    assembler_.add(x86::r11, x86::qword_ptr(x86::r12, regions.table_disp));
    // The offset inside the region as a 32-bit number: no sum below can wrap in 64 bits.
    assembler_.sub(x86::r10d, x86::dword_ptr(x86::r11, regions.lo_disp));
    assembler_.lea(x86::r9, x86::ptr(x86::r10, static_cast<int32_t>(bytes_of(w))));
    assembler_.cmp(x86::r9, x86::qword_ptr(x86::r11, regions.limit_disp));
    assembler_.ja(label(refused));
    assembler_.add(x86::r10, x86::qword_ptr(x86::r11, regions.base_disp));
}

void MasmX64::translator(Width w, RegionAccess regions) {
    const LabelId refused = new_label();
    translate(kTmp0, 0, w, regions, refused);
    assembler_.ret();
    bind(refused);
    mov_imm(kTmp0, 0);
    assembler_.ret();
}

void MasmX64::check_region(Reg base, int32_t disp, const RegionCheck& check, LabelId refused) {
    const x86::Gp distance = x86::r11, limit = x86::r10;
    if (check.constant) {
        if (check.bytes < check.extent) {
            assembler_.jmp(label(refused));
            region_delta(check);
            return;
        }
        assembler_.mov(limit, check.start);
    }
    if (disp == 0)
        assembler_.mov(distance, kMap[base]);
    else
        assembler_.lea(distance, x86::ptr(kMap[base], disp));
    if (check.constant) {
        assembler_.sub(distance, limit);
        assembler_.cmp(distance, static_cast<int32_t>(check.bytes - check.extent));
        assembler_.ja(label(refused));
    } else {
        assembler_.sub(distance, x86::qword_ptr(x86::r12, check.start_disp));
        if (check.whole) {
            // An address below the region's start is a distance that wraps here.
            assembler_.add(distance, static_cast<int32_t>(check.extent));
            assembler_.jc(label(refused));
            assembler_.cmp(distance, x86::qword_ptr(x86::r12, check.limit_disp));
            assembler_.ja(label(refused));
        } else {
            assembler_.cmp(distance, x86::qword_ptr(x86::r12, check.limit_disp));
            assembler_.jae(label(refused));
        }
    }
    region_delta(check);
}

void MasmX64::region_delta(const RegionCheck& check) {
    if (check.constant)
        mov_imm(kTmp0, check.delta);
    else
        assembler_.mov(x86::r10, x86::qword_ptr(x86::r12, check.delta_disp));
}

// --- control ------------------------------------------------------------------------------------

void MasmX64::jump(LabelId target, bool near) {
    if (near && !no_short_) assembler_.short_();
    assembler_.jmp(label(target));
}

void MasmX64::jump_if(CondOp op, LabelId target, bool near) {
    if (target == kNoLabel) return;
    if (near && !no_short_) assembler_.short_();
    assembler_.j(cond_code(op), label(target));
}

void MasmX64::branch(CondOp op, Width w, Reg a, Reg b, LabelId target, bool near) {
    if (op == CondOp::Set)
        assembler_.test(gp(w, a), gp(w, b));
    else
        assembler_.cmp(gp(w, a), gp(w, b));
    jump_if(op, target, near);
}

void MasmX64::branch_imm(CondOp op, Width w, Reg a, int64_t imm, LabelId target, bool near) {
    const x86::Gp r = gp(w, a);
    if (op == CondOp::Set) {
        if (w == Width::Dw && imm >= 0)
            assembler_.test(r.r32(), imm);
        else
            assembler_.test(r, imm);
    } else if (imm == 0) {
        const bool known = flags_at_ == position() && flags_reg_ == a &&
                           (flags_width_ == w || flags_width_ == Width::W) &&
                           (op == CondOp::Eq || op == CondOp::Ne);
        if (!known) assembler_.test(r, r);
    } else {
        assembler_.cmp(r, imm);
    }
    jump_if(op, target, near);
}

void MasmX64::branch_mem_imm(CondOp op, Width w, Mem mem, int32_t imm, LabelId target, bool near) {
    if (w == Width::B)
        assembler_.cmp(operand(mem, 1), static_cast<int8_t>(imm));
    else
        assembler_.cmp(operand(mem, bytes_of(w)), imm);
    jump_if(op, target, near);
}

void MasmX64::branch_mem(CondOp op, Width w, Reg a, Mem mem, LabelId target, bool near) {
    assembler_.cmp(gp(w, a), operand(mem, bytes_of(w)));
    jump_if(op, target, near);
}

void MasmX64::branch_test(bool zero, Width w, Reg a, Reg b, LabelId target, bool near) {
    assembler_.test(gp(w, a), gp(w, b));
    jump_if(zero ? CondOp::Eq : CondOp::Ne, target, near);
}

void MasmX64::branch_test_imm(bool zero, Width w, Reg a, int64_t imm, LabelId target, bool near) {
    if (imm >= 0 && imm <= INT8_MAX)
        assembler_.test(kMap[a].r8(), imm);
    else if (w == Width::W || imm >= 0)
        assembler_.test(gp(Width::W, a), static_cast<int32_t>(imm));
    else
        assembler_.test(kMap[a], imm);
    jump_if(zero ? CondOp::Eq : CondOp::Ne, target, near);
}

void MasmX64::select(CondOp op, Reg dst, Reg a, Reg b) {
    if (dst == b) {
        if (dst != a) assembler_.cmov(cond_code(op), kMap[dst], kMap[a]);
        return;
    }
    if (dst != a) assembler_.mov(kMap[dst], kMap[a]);
    assembler_.cmov(x86::negateCond(cond_code(op)), kMap[dst], kMap[b]);
}

void MasmX64::set_if(CondOp op, Reg dst, bool is_zero) {
    assembler_.set(cond_code(op), kMap[dst].r8());
    if (!is_zero) assembler_.movzx(gp(Width::W, dst), kMap[dst].r8());
}

void MasmX64::add_mem_imm(Width w, Mem mem, int32_t imm) {
    assembler_.add(operand(mem, bytes_of(w)), imm);
}

void MasmX64::sub_mem_imm(Width w, Mem mem, int32_t imm, LabelId when_negative) {
    assembler_.sub(operand(mem, bytes_of(w)), imm);
    assembler_.js(label(when_negative));
}

void MasmX64::sub_imm(Reg r, int32_t imm, LabelId when_negative) {
    assembler_.sub(gp(Width::Dw, r), imm);
    assembler_.js(label(when_negative));
}

void MasmX64::speculation_barrier() { assembler_.lfence(); }

void MasmX64::trap_here() { assembler_.ud2(); }

}  // namespace skep::jit
