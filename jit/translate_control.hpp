// The translator: jumps, fuel, calls.
#pragma once

#include "jit/translator.hpp"

namespace skep::jit {

template <MacroAssembler M>
void Translator<M>::charge(uint32_t slot) {
    if (image_.fuel) charge_always(slot);
}

template <MacroAssembler M>
void Translator<M>::charge_always(uint32_t slot) {
    const LabelId back = m_.new_label();
    const LabelId empty = cold({.what = Cold::What::Fuel, .slot = slot, .back = back});
    if (has_fuel_register())
        m_.sub_imm(plan_.fuel_register(), 1, empty);
    else
        m_.sub_mem_imm(Width::Dw, env(&HelperEnv::fuel), 1, empty);
    m_.bind(back);
}

// Where C++ may look at the fuel, or take some, it is in the environment.
template <MacroAssembler M>
void Translator<M>::store_fuel() {
    if (has_fuel_register()) m_.store(Width::Dw, env(&HelperEnv::fuel), plan_.fuel_register());
}

template <MacroAssembler M>
void Translator<M>::load_fuel() {
    if (has_fuel_register())
        m_.load(Width::Dw, false, plan_.fuel_register(), env(&HelperEnv::fuel));
}

// Slots first..end-1 are proven dead and nothing names them.
template <MacroAssembler M>
bool Translator<M>::makes_no_code(uint32_t first, uint32_t end) const {
    for (uint32_t i = first; i < end; ++i) {
        if (!at(i).dead || plan_.is_target(i) || labels_[i] != kNoLabel) return false;
    }
    return true;
}

template <MacroAssembler M>
void Translator<M>::emit_jump(uint32_t slot) {
    const ImageSlot& s = at(slot);
    const auto target = static_cast<uint32_t>(s.insn.target);
    if (s.charge) charge(slot);
    if (target > slot && makes_no_code(slot + 1, target)) return;
    m_.jump(label_of(target), is_near(slot, target));
    no_fall_through_ = m_.position();
}

// A branch over a jump, or out of a loop that the jump behind it closes: the jump's target is where
// the branch goes, if its condition fails.
template <MacroAssembler M>
bool Translator<M>::inverts(uint32_t slot) const {
    if (slot + 1 >= last(current_) || plan_.is_target(slot + 1) || labels_[slot + 1] != kNoLabel)
        return false;
    const ImageSlot &s = at(slot), &jump = at(slot + 1);
    if (jump.insn.kind != Kind::Jump || jump.dead || jump.trap != TrapCode::None) return false;
    if (image_.hardened || (image_.fuel && (s.charge || jump.charge))) return false;
    const auto target = static_cast<uint32_t>(s.insn.target);
    return target == slot + 2 || (static_cast<uint32_t>(jump.insn.target) <= slot && target > slot);
}

template <MacroAssembler M>
uint32_t Translator<M>::emit_branch(uint32_t slot) {
    const ImageSlot& s = at(slot);
    if (plan_.op(slot).selects) return slot + 1;
    const auto target = static_cast<uint32_t>(s.insn.target);
    if (s.charge && image_.fuel && plan_.sole_charger(target) == slot) {
        compare(slot, true, charge_labels_.at(target), false);
        barrier();
        return slot + 1;
    }
    if (s.charge && image_.fuel) {
        // Only the taken jump costs: skip the charge when the condition fails.
        const LabelId fall = m_.new_label();
        compare(slot, false, fall, true);
        charge(slot);
        m_.jump(label_of(target), false);
        m_.bind(fall);
        barrier();
        return slot + 1;
    }
    if (inverts(slot)) {
        const auto other = static_cast<uint32_t>(at(slot + 1).insn.target);
        compare(slot, false, label_of(other), is_near(slot + 1, other));
        if (target != slot + 2) m_.jump(label_of(target), is_near(slot + 1, target));
        return slot + 2;
    }
    compare(slot, true, label_of(target), is_near(slot, target));
    barrier();
    return slot + 1;
}

template <MacroAssembler M>
void Translator<M>::emit_may_goto(uint32_t slot) {
    const ImageSlot& s = at(slot);
    const auto target = static_cast<uint32_t>(s.insn.target);
    const Mem left = env(&HelperEnv::may_goto_left);
    if (!s.charge || !image_.fuel) {
        m_.sub_mem_imm(Width::Dw, left, 1, label_of(target));
        return;
    }
    const LabelId taken = m_.new_label(), fall = m_.new_label();
    m_.sub_mem_imm(Width::Dw, left, 1, taken);
    m_.jump(fall, true);
    m_.bind(taken);
    charge(slot);
    m_.jump(label_of(target), false);
    m_.bind(fall);
}

template <MacroAssembler M>
void Translator<M>::call_helper(uint32_t slot) {
    if (sandbox()) {
        m_.store_imm(Width::W, env(&HelperEnv::native_slot), static_cast<int32_t>(slot));
    }
    store_fuel();
    m_.call_function(call_target(at(slot), image_.form));
    load_fuel();
}

template <MacroAssembler M>
void Translator<M>::emit_call(uint32_t slot) {
    const ImageSlot& s = at(slot);
    if (s.charge) charge(slot);
    if (emit_known_call(slot)) {
        clear_arguments(slot);
        return;
    }
    call_helper(slot);
    check_trap(slot);
    if (is_tail_call(s)) emit_tail_call(slot);
    clear_arguments(slot);
}

template <MacroAssembler M>
void Translator<M>::emit_tail_call(uint32_t slot) {
    const LabelId stay = m_.new_label();
    m_.branch_mem_imm(CondOp::Eq, Width::Dw, env(&HelperEnv::tail_target), 0, stay, false);
    charge_always(slot);
    if (current_ != 0) {
        m_.mov_imm(1, current_);
        store_fuel();
        m_.call_function(reinterpret_cast<Function>(&runtime_tail_call));
        load_fuel();
        check_trap(slot);
    }
    emit_exit();
    m_.bind(stay);
}

template <MacroAssembler M>
void Translator<M>::emit_call_local(uint32_t slot) {
    const ImageSlot& s = at(slot);
    if (s.charge) charge(slot);
    const uint32_t callee = plan_.subprogram_at(static_cast<uint32_t>(s.insn.target));
    // Depth need not be counted where it is known to be small enough, stack not where none is used.
    const FrameInfo& frame = image_.frames[callee];
    const bool accounted = plan_.counts_depth() || (frame.bytes != 0 && (sandbox() || frame.zero));
    const auto bytes = static_cast<int32_t>(image_.frames[current_].bytes);
    if (accounted) {
        m_.mov_imm(kTmp0, slot);
        m_.mov_imm(kTmp1, callee);
        m_.call_label(open_gate());
    }
    m_.alu_imm(AluOp::Sub, Width::Dw, false, kFramePointer, bytes);
    m_.call_label(function_label(callee));
    m_.alu_imm(AluOp::Add, Width::Dw, false, kFramePointer, bytes);
    if (accounted) {
        m_.mov_imm(kTmp1, callee);
        m_.call_label(close_gate());
    }
    clear_arguments(slot);
}

}  // namespace skep::jit
