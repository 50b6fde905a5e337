// The translator: loads, stores and atomics, in both forms.
#pragma once

#include "jit/translator.hpp"

namespace skep::jit {

template <MacroAssembler M>
RegionAccess Translator<M>::regions(bool store) const {
    return RegionAccess{.table_disp = disp(&HelperEnv::regions),
                        .count_disp = disp(&HelperEnv::region_count),
                        .base_disp = offsetof(Region, base),
                        .lo_disp = offsetof(Region, lo),
                        .limit_disp = store ? static_cast<int32_t>(offsetof(Region, writable))
                                            : static_cast<int32_t>(offsetof(Region, readable)),
                        .size_shift = 5};
}

template <MacroAssembler M>
bool Translator<M>::in_frame(Reg base, const Insn& i) {
    const int end = i.off + static_cast<int>(bytes_of(i.width));
    return base == kFramePointer && i.off >= -static_cast<int>(kStackBytes) && end <= 0;
}

template <MacroAssembler M>
bool Translator<M>::host_operand(uint32_t slot, Reg base, bool store, Cold::What what, Mem& out) {
    const ImageSlot& s = at(slot);
    if (in_frame(base, s.insn)) {
        out = Mem{.disp = s.insn.off, .base = base};
        return true;
    }
    if (s.access == Access::ContextDynamic) return false;
    if (!sandbox()) {
        out = Mem{.disp = s.insn.off, .base = base};
        return true;
    }
    // What lies beyond the own frame is rare: plain accesses leave it to the runtime.
    if (base == kFramePointer && what != Cold::What::Atomic) return false;
    if (base != kFramePointer && !exact_ && expected_operand(slot, base, store, out)) return true;
    back_ = m_.new_label();
    const LabelId refused = cold({.what = what, .slot = slot, .back = back_});
    if (exact_) {
        // Behind the functions, where size counts.
        m_.add3_imm(kTmp0, value_of(base, kTmp0), s.insn.off);
        m_.call_label(translator(s.insn.width, store));
        m_.branch_imm(CondOp::Eq, Width::Dw, kTmp0, 0, refused, false);
    } else {
        m_.translate(value_of(base, kTmp0), s.insn.off, s.insn.width, regions(store), refused);
    }
    barrier();
    out = Mem{.base = kTmp0};
    return true;
}

template <MacroAssembler M>
void Translator<M>::access_by_runtime(uint32_t slot, Reg base, Reg value, bool has_value) {
    const ImageSlot& s = at(slot);
    if (has_value) m_.mov(Width::Dw, kTmp2, value_of(value, kTmp1));
    const Reg address = value_of(base, kTmp0);
    m_.add3_imm(kTmp0, address, s.insn.off);
    m_.mov_imm(kTmp1, slot);
    m_.call_label(access_gate());
}

template <MacroAssembler M>
void Translator<M>::check_trap(uint32_t slot) {
    const LabelId out = cold({.what = Cold::What::Trapped, .slot = slot});
    m_.branch_mem_imm(CondOp::Ne, Width::B, env(&HelperEnv::trap), 0, out, false);
}

template <MacroAssembler M>
void Translator<M>::emit_load(uint32_t slot) {
    const ImageSlot& s = at(slot);
    const Insn& i = s.insn;
    if (in_arena(s)) return emit_arena_load(slot);
    if (s.access == Access::ContextField) {
        emit_context_load(s);
        return;
    }
    if (emit_expected_context(slot)) return;
    Mem mem;
    if (!host_operand(slot, i.src, false, Cold::What::Load, mem)) {
        access_by_runtime(slot, i.src, 0, false);
        m_.mov(Width::Dw, i.dst, kTmp0);
        return;
    }
    m_.load(i.width, i.sign, i.dst, mem);
    bind_back();
}

template <MacroAssembler M>
void Translator<M>::bind_back() {
    if (back_ != kNoLabel) m_.bind(back_);
    back_ = kNoLabel;
}

template <MacroAssembler M>
void Translator<M>::emit_context_load(const ImageSlot& s) {
    const Insn& i = s.insn;
    const Mem mem{.disp = s.host_off + s.field_shift, .base = i.src};
    const auto kind = static_cast<CtxFieldKind>(s.field_kind);
    if (s.host_size == 0)
        m_.mov_imm(i.dst, 0);
    else if (kind == CtxFieldKind::Scalar)
        m_.load(i.width, i.sign, i.dst, mem);
    else
        m_.load(Width::Dw, false, i.dst, Mem{.disp = s.host_off, .base = i.src});
}

template <MacroAssembler M>
void Translator<M>::emit_store(uint32_t slot) {
    const ImageSlot& s = at(slot);
    const Insn& i = s.insn;
    if (in_arena(s)) return emit_arena_store(slot);
    if (emit_expected_context(slot)) return;
    Mem mem;
    if (s.access == Access::ContextField) {
        mem = Mem{.disp = s.host_off + s.field_shift, .base = i.dst};
    } else if ((i.src == kFramePointer && !i.is_imm && sandbox() && !in_frame(i.dst, i)) ||
               !host_operand(slot, i.dst, true, Cold::What::Store, mem)) {
        if (i.is_imm) {
            constant(kTmp2, static_cast<uint64_t>(i.imm));
            access_by_runtime(slot, i.dst, kTmp2, true);
        } else {
            access_by_runtime(slot, i.dst, i.src, true);
        }
        return;
    }
    if (i.is_imm && image_.hardened) {
        blinded(kTmp2, static_cast<uint64_t>(i.imm), kTmp1);
        m_.store(i.width, mem, kTmp2);
    } else if (i.is_imm)
        m_.store_imm(i.width, mem, static_cast<int32_t>(i.imm));
    else
        m_.store(i.width, mem, value_of(i.src, kTmp1));
    bind_back();
}

template <MacroAssembler M>
void Translator<M>::emit_atomic(uint32_t slot) {
    const ImageSlot& s = at(slot);
    const Insn& i = s.insn;
    if (in_arena(s)) return emit_arena_atomic(slot);
    const bool acquire = i.atomic() == AtomicOp::LoadAcquire;
    const Reg base = acquire ? i.src : i.dst;
    const unsigned bytes = bytes_of(i.width);
    Mem mem;
    if (!host_operand(slot, base, !acquire, Cold::What::Atomic, mem)) {
        // Into the context: never allowed.
        access_by_runtime(slot, base, 0, false);
        return;
    }
    const bool frame = base == kFramePointer;
    if ((sandbox() && !frame) || (mem.base != kTmp0 && loops(i.atomic()))) {
        // The loop form needs r0 and the other temporaries for itself.
        if (mem.base != kTmp0) m_.lea(kTmp0, mem);
        mem = Mem{.base = kTmp0};
    }
    if (sandbox()) check_alignment(slot, i.off, frame, bytes);
    m_.atomic(i.atomic(), i.width, mem, acquire ? i.dst : value_of(i.src, kTmp1));
    bind_back();
}

template <MacroAssembler M>
bool Translator<M>::loops(AtomicOp op) {
    return op == AtomicOp::FetchOr || op == AtomicOp::FetchAnd || op == AtomicOp::FetchXor;
}

template <MacroAssembler M>
void Translator<M>::check_alignment(uint32_t slot, int32_t off, bool frame, unsigned bytes) {
    if (bytes == 1) return;
    if (frame) {
        // The own frame's top is aligned.
        if (off % static_cast<int32_t>(bytes) != 0) trap(slot, TrapCode::Misaligned);
        return;
    }
    const LabelId label =
        cold({.what = Cold::What::Trap, .slot = slot, .trap = TrapCode::Misaligned});
    m_.branch_imm(CondOp::Set, Width::Dw, kTmp0, bytes - 1, label, false);
}

template <MacroAssembler M>
void Translator<M>::emit_load_packet(uint32_t slot) {
    const Insn& i = at(slot).insn;
    if (i.is_imm)
        m_.mov_imm(kTmp0, 0);
    else
        m_.mov(Width::Dw, kTmp0, value_of(i.src, kTmp0));
    m_.mov_imm(kTmp1, slot);
    m_.call_label(packet_gate());
    m_.mov(Width::Dw, 0, kTmp0);
    const LabelId inside = m_.new_label();
    m_.branch_mem_imm(CondOp::Eq, Width::W, env(&HelperEnv::native_ended), 0, inside, true);
    emit_exit();
    m_.bind(inside);
    clear_arguments(slot);
}

}  // namespace skep::jit
