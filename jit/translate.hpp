// One walk over an image, for every target: decides what to emit; the macro-assembler decides how.
//
// Code comes in the order of the slots, so a fall-through is no jump; everything that rarely runs
// (refused accesses, exhausted fuel, traps) goes behind the last function.
#pragma once

#include "jit/translate_arena.hpp"
#include "jit/translate_call.hpp"
#include "jit/translate_cold.hpp"
#include "jit/translate_context.hpp"
#include "jit/translate_control.hpp"
#include "jit/translate_harden.hpp"
#include "jit/translate_memory.hpp"
#include "jit/translate_op.hpp"
#include "jit/translate_region.hpp"
#include "jit/translator.hpp"

namespace skep::jit {

template <MacroAssembler M>
void Translator<M>::emit_function(uint32_t f) {
    const Subprogram& s = image_.program->subprograms[f];
    const uint32_t end = s.first + s.count;
    current_ = f;
    mark(s.first);
    if (f == 0) {
        // The program itself: entered from C++ directly, so that an empty program costs
        // nothing.
        main_entry_ = m_.new_label();
        m_.bind(main_entry_);
        enter();
        clear_registers(0x3c1 & plan_.liveness().live_before(s.first));
    } else {
        m_.bind(function_label(f));
        m_.function_entry(plan_.saved(f));
    }
    for (uint32_t i = s.first; i < end;) {
        if (!open_groups_.empty()) end_groups(i);
        const ImageSlot& slot = at(i);
        if (slot.dead && (slot.trap == TrapCode::None || !entered(i))) {
            ++i;
            continue;
        }
        if (plan_.is_loop_head(i)) begin_loop(i);
        if (labels_[i] != kNoLabel || plan_.is_target(i)) {
            m_.bind(label_of(i));
            no_fall_through_ = UINT64_MAX;
            barrier();
        }
        const Op& op = plan_.op(i);
        if (op.what == Op::What::Nothing && slot.insn.kind != Kind::Branch) {
            i += slot.insn.kind == Kind::Imm64 ? 2 : 1;
            continue;
        }
        if (op.what != Op::What::Nothing) mark(i);
        i = emit_slot(i);
    }
    if (!open_groups_.empty()) end_groups(end);
    const Kind last_kind = at(end - 1).insn.kind;
    if (at(end - 1).dead && at(end - 1).trap != TrapCode::None) return;
    if (last_kind != Kind::Exit && last_kind != Kind::Jump) trap(end - 1, TrapCode::FellOffEnd);
}

template <MacroAssembler M>
void Translator<M>::begin_loop(uint32_t slot) {
    const uint32_t charger = plan_.sole_charger(slot);
    if (charger == kNoSlot) {
        m_.align_loop(plan_.alignment(slot));
        return;
    }
    // The way round pays here; the way in does not.
    if (m_.position() != no_fall_through_) m_.jump(label_of(slot), true);
    m_.align_loop(plan_.alignment(slot));
    mark(charger);
    charge_labels_[slot] = m_.new_label();
    m_.bind(charge_labels_[slot]);
    charge(charger);
}

// Whether control could get to the slot that is proven dead: a jump names it, or what is before it
// goes on.
template <MacroAssembler M>
bool Translator<M>::entered(uint32_t slot) const {
    if (labels_[slot] != kNoLabel || plan_.is_target(slot)) return true;
    if (slot == image_.program->subprograms[current_].first) return true;
    const ImageSlot& before = at(slot - 1);
    if (before.dead) return before.insn.kind == Kind::Imm64High && !at(slot - 2).dead;
    return before.insn.kind != Kind::Jump && before.insn.kind != Kind::Exit;
}

template <MacroAssembler M>
LabelId Translator<M>::function_label(uint32_t f) {
    if (function_labels_[f] == kNoLabel) function_labels_[f] = m_.new_label();
    return function_labels_[f];
}

template <MacroAssembler M>
void Translator<M>::clear_registers(uint16_t mask) {
    for (Reg r = 0; r < 10; ++r) {
        if ((mask >> r & 1) != 0) m_.mov_imm(r, 0);
    }
}

template <MacroAssembler M>
void Translator<M>::clear_arguments(uint32_t slot) {
    if (!sandbox() && image_.facts->complete) return;
    clear_registers(0x3e & plan_.liveness().live_after(slot));
}

template <MacroAssembler M>
uint32_t Translator<M>::emit_slot(uint32_t i) {
    const ImageSlot& s = at(i);
    const Insn& insn = s.insn;
    if (s.trap != TrapCode::None) {
        trap(i, s.trap);
        return i + 1;
    }
    const Op& op = plan_.op(i);
    if (op.what != Op::What::Slot && insn.kind != Kind::Branch) {
        if (op.what == Op::What::Select || op.what == Op::What::SetIf)
            emit_select(i);
        else
            emit_op(op);
        return insn.kind == Kind::Imm64 ? i + 2 : i + 1;
    }
    if (insn.kind == Kind::Load && emit_swapped_load(i)) return i + 2;
    switch (insn.kind) {
        case Kind::Alu: emit_alu(insn); break;
        case Kind::Neg: m_.neg(insn.width, insn.dst); break;
        case Kind::Endian:
            m_.endian(insn.endian(), insn.dst, static_cast<unsigned>(insn.imm));
            break;
        case Kind::Imm64:
            if (image_.hardened)
                blinded(insn.dst, s.bound, kTmp1);
            else
                m_.mov_imm(insn.dst, s.bound);
            return i + 2;
        case Kind::Imm64High: trap(i, TrapCode::BadInstruction); break;
        case Kind::Load: emit_load(i); break;
        case Kind::Store: emit_store(i); break;
        case Kind::Atomic: emit_atomic(i); break;
        case Kind::LoadPacket: emit_load_packet(i); break;
        case Kind::Jump: emit_jump(i); break;
        case Kind::Branch: return emit_branch(i);
        case Kind::MayGoto: emit_may_goto(i); break;
        case Kind::Call: emit_call(i); break;
        case Kind::CallLocal: emit_call_local(i); break;
        case Kind::Exit:
            emit_exit();
            no_fall_through_ = m_.position();
            break;
        case Kind::AddrSpaceCast: emit_cast(s); break;
    }
    return i + 1;
}

template <MacroAssembler M>
void Translator<M>::emit_exit() {
    if (current_ == 0)
        leave();
    else
        m_.function_return(plan_.saved(current_));
}

template <MacroAssembler M>
void Translator<M>::enter() {
    if (plan_.is_bare()) {
        m_.bare_entry(plan_.image_saved());
        return;
    }
    m_.entry(plan_.image_saved(), disp(&HelperEnv::stack_host), disp(&HelperEnv::native_sp));
    load_fuel();
}

template <MacroAssembler M>
void Translator<M>::leave() {
    if (plan_.is_bare()) {
        m_.bare_leave(plan_.image_saved());
        return;
    }
    store_fuel();
    m_.leave(plan_.image_saved(), disp(&HelperEnv::native_sp));
}

template <MacroAssembler M>
void Translator<M>::trap(uint32_t slot, TrapCode code) {
    m_.store_imm(Width::B, env(&HelperEnv::trap), static_cast<int32_t>(code));
    exit_trapped(slot);
}

template <MacroAssembler M>
void Translator<M>::exit_trapped(uint32_t slot) {
    m_.store_imm(Width::W, env(&HelperEnv::native_slot), static_cast<int32_t>(slot));
    m_.jump(exit_trap_, false);
}

template <MacroAssembler M>
LabelId Translator<M>::cold(Cold c) {
    c.label = m_.new_label();
    cold_.push_back(c);
    return c.label;
}

template <MacroAssembler M>
Reg Translator<M>::value_of(Reg r, Reg temporary) {
    if (r != kFramePointer || !sandbox()) return r;
    m_.load(Width::Dw, false, temporary, env(&HelperEnv::stack_delta));
    m_.add3(temporary, temporary, kFramePointer);
    return temporary;
}

template <MacroAssembler M>
void Translator<M>::emit_alu(const Insn& i) {
    if (i.is_imm) {
        if (image_.hardened && emit_blinded_alu(i)) return;
        m_.alu_imm(i.alu(), i.width, i.sign, i.dst, i.imm);
        return;
    }
    if (i.alu() == AluOp::Mov && i.src == kFramePointer && sandbox() && i.sext == 0) {
        m_.load(Width::Dw, false, i.dst, env(&HelperEnv::stack_delta));
        m_.alu(AluOp::Add, i.width, false, i.dst, kFramePointer);
        return;
    }
    const Reg src = value_of(i.src, kTmp0);
    if (i.alu() == AluOp::Mov && i.sext != 0)
        m_.sign_extend(i.width, i.dst, src, i.sext);
    else
        m_.alu(i.alu(), i.width, i.sign, i.dst, src);
}

}  // namespace skep::jit
