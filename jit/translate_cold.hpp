// The translator: what rarely runs (refused accesses, exhausted fuel, traps), which lies behind the
// last function, and the entries from C++.
#pragma once

#include <bit>

#include "jit/translator.hpp"

namespace skep::jit {

template <MacroAssembler M>
LabelId Translator<M>::gate(LabelId& label) {
    if (label == kNoLabel) label = m_.new_label();
    return label;
}

template <MacroAssembler M>
void Translator<M>::emit_gates() {
    struct {
        LabelId label;
        Function function;
        bool may_trap;  // and then does not return; fuel is loaded first, see emit_cold()
    } const gates[] = {{access_gate_, reinterpret_cast<Function>(&runtime_access), true},
                       {packet_gate_, reinterpret_cast<Function>(&runtime_packet_load), true},
                       {fuel_gate_, reinterpret_cast<Function>(&runtime_refuel), false},
                       {open_gate_, reinterpret_cast<Function>(&runtime_open_frame), true},
                       {close_gate_, reinterpret_cast<Function>(&runtime_close_frame), false}};
    for (const auto& gate : gates) {
        if (gate.label == kNoLabel) continue;
        m_.bind(gate.label);
        m_.gate(gate.function, disp(&HelperEnv::trap), gate.may_trap ? exit_trap_ : kNoLabel);
    }
    for (size_t i = 0; i < translators_.size(); ++i) {
        if (translators_[i] == kNoLabel) continue;
        m_.bind(translators_[i]);
        m_.translator(static_cast<Width>(1u << i / 2), regions(i % 2 != 0));
    }
}

template <MacroAssembler M>
LabelId Translator<M>::translator(Width w, bool store) {
    const auto log2 = static_cast<size_t>(std::countr_zero(bytes_of(w)));
    return gate(translators_[log2 * 2 + (store ? 1 : 0)]);
}

template <MacroAssembler M>
void Translator<M>::emit_cold(Cold c) {
    mark(c.slot);
    m_.bind(c.label);
    const Insn& i = at(c.slot).insn;
    switch (c.what) {
        case Cold::What::Trap: trap(c.slot, c.trap); return;
        case Cold::What::Trapped: exit_trapped(c.slot); return;
        case Cold::What::Load:
            m_.add3_imm(kTmp0, i.src, i.off);
            leave_cold(c, access_gate());
            m_.mov(Width::Dw, i.dst, kTmp0);
            break;
        case Cold::What::Store:
            if (i.is_imm)
                constant(kTmp2, static_cast<uint64_t>(i.imm));
            else
                m_.mov(Width::Dw, kTmp2, i.src);
            m_.add3_imm(kTmp0, i.dst, i.off);
            leave_cold(c, access_gate());
            break;
        case Cold::What::Atomic:
            m_.add3_imm(kTmp0, value_of(i.atomic() == AtomicOp::LoadAcquire ? i.src : i.dst, kTmp0),
                        i.off);
            leave_cold(c, access_gate());
            break;
        case Cold::What::Fuel:
            m_.mov_imm(kTmp1, c.slot);
            m_.call_label(fuel_gate());
            load_fuel();
            leave_if_trapped(c.slot);
            break;
        case Cold::What::Again: emit_again(c); return;
        case Cold::What::Helper:
            call_helper(c.slot);
            leave_if_trapped(c.slot);
            break;
        case Cold::What::Null: m_.mov_imm(0, 0); break;
    }
    m_.jump(c.back, false);
}

template <MacroAssembler M>
void Translator<M>::leave_cold(const Cold& c, LabelId to) {
    m_.mov_imm(kTmp1, c.slot);
    m_.call_label(to);
}

template <MacroAssembler M>
void Translator<M>::leave_if_trapped(uint32_t slot) {
    const LabelId go_on = m_.new_label();
    m_.branch_mem_imm(CondOp::Eq, Width::B, env(&HelperEnv::trap), 0, go_on, true);
    exit_trapped(slot);
    m_.bind(go_on);
}

template <MacroAssembler M>
void Translator<M>::emit_entries() {
    entries_.push_back({0, main_entry_});
    for (uint32_t f = 1; f < function_labels_.size(); ++f) {
        if (!plan_.is_callback(f)) continue;
        const LabelId label = m_.new_label();
        m_.bind(label);
        enter();
        clear_registers(0x3c1 & plan_.liveness().live_before(image_.functions[f].slot));
        m_.call_label(function_label(f));
        leave();
        entries_.push_back({f, label});
    }
}

}  // namespace skep::jit
