// The translator's parts and what they share; translate.hpp is what to include.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "helpers/env.hpp"
#include "jit/jit.hpp"
#include "jit/masm.hpp"
#include "jit/plan.hpp"
#include "jit/runtime.hpp"
#include "vm/isa/semantics.hpp"
#include "vm/run/image.hpp"

namespace skep::jit {

template <MacroAssembler M>
class Translator {
public:
    Translator(M& masm, const Image& image)
        : m_(masm),
          image_(image),
          plan_(image, M::kAbilities),
          labels_(image.slots.size() + 1, kNoLabel),
          function_labels_(image.functions.size(), kNoLabel) {}

    bool can_translate() const { return plan_.is_structured(); }

    // Emits everything. `entries()` and `positions()` are valid afterwards.
    void translate() {
        m_.expect_size(plan_.size_bound());
        exit_trap_ = m_.new_label();
        for (uint32_t f = 0; f < image_.functions.size(); ++f) emit_function(f);
        for (size_t i = 0; i < cold_.size(); ++i) emit_cold(cold_[i]);
        m_.bind(exit_trap_);
        m_.unwind(disp(&HelperEnv::native_sp));
        m_.leave(plan_.image_saved(), disp(&HelperEnv::native_sp));
        emit_gates();
        emit_entries();
    }

    // Entry from C++ of each subprogram that C++ calls: the program itself and callbacks.
    struct Entry {
        uint32_t subprogram = 0;
        LabelId label = kNoLabel;
    };
    const std::vector<Entry>& entries() const { return entries_; }
    const std::vector<CodePosition>& positions() const { return positions_; }

private:
    struct Cold {
        enum class What : uint8_t { Trap, Trapped, Load, Store, Atomic, Fuel } what{};
        uint32_t slot = 0;
        LabelId label = kNoLabel, back = kNoLabel;
        TrapCode trap = TrapCode::None;
    };

    template <class T>
    static int32_t disp(T HelperEnv::* member) {
        alignas(HelperEnv) static std::byte storage[sizeof(HelperEnv)];
        const auto* env = reinterpret_cast<const HelperEnv*>(storage);
        return static_cast<int32_t>(reinterpret_cast<const std::byte*>(&(env->*member)) - storage);
    }
    template <class T>
    static Mem env(T HelperEnv::* member) {
        return Mem{.base = kEnv, .disp = disp(member)};
    }

    bool sandbox() const { return image_.form == Form::Sandbox; }
    const ImageSlot& at(uint32_t slot) const { return image_.slots[slot]; }
    uint32_t last(uint32_t subprogram) const {
        const Subprogram& s = image_.program->subprograms[subprogram];
        return s.first + s.count;
    }

    LabelId label_of(uint32_t slot) {
        if (labels_[slot] == kNoLabel) labels_[slot] = m_.new_label();
        return labels_[slot];
    }

    // --- functions ---
    void emit_function(uint32_t f);
    LabelId function_label(uint32_t f);
    // Registers that a program could read though nobody wrote them read 0.
    void clear_registers(uint16_t mask);
    // Emits slot `i`, perhaps together with the ones behind it; returns the next slot.
    uint32_t emit_slot(uint32_t i);
    void emit_exit();
    // Ends the run with `code` at `slot`.
    void trap(uint32_t slot, TrapCode code);
    // Ends the run: somebody has set the trap.
    void exit_trapped(uint32_t slot);
    LabelId cold(Cold c);

    // --- arithmetic ---
    // The register that holds eBPF's value of `r`: in a sandbox r10 is a host address in the
    // machine and a guest address to the program.
    Reg value_of(Reg r, Reg temporary);
    void emit_alu(const Insn& i);

    // --- memory (translate_memory.hpp) ---
    RegionAccess regions(bool store) const;
    static_assert(sizeof(Region) == 1 << 5);
    // An access to the own frame at a fixed place inside it: needs no check in any form.
    static bool in_frame(Reg base, const Insn& i);
    // The host operand of the access at `slot` through `base`; in a sandbox kTmp0 holds its address
    // and `c` gets the refused case. Nothing for accesses that go through the runtime altogether.
    bool host_operand(uint32_t slot, Reg base, bool store, Cold::What what, Mem& out);
    // The whole access by the runtime, which checks it or traps.
    void access_by_runtime(uint32_t slot, Reg base, Reg value, bool has_value);
    // Leaves if what was just called ended the run.
    void check_trap(uint32_t slot);
    void emit_load(uint32_t slot);
    // After a translated access: where its refused case returns to.
    void bind_back(uint32_t slot, const Mem& mem);
    void emit_context_load(const ImageSlot& s);
    void emit_store(uint32_t slot);
    void emit_atomic(uint32_t slot);
    static bool loops(AtomicOp op);
    void check_alignment(uint32_t slot, const Mem& mem, unsigned bytes);
    // Legacy packet loads: r0 = bytes of the packet, or the function returns 0. Clobbers r1..r5.
    void emit_load_packet(uint32_t slot);

    // --- control (translate_control.hpp) ---
    // One unit of fuel, before the thing that costs happens.
    void charge(uint32_t slot);
    void charge_always(uint32_t slot);
    void emit_jump(uint32_t slot);
    uint32_t emit_branch(uint32_t slot);  // returns the next slot
    bool inverts(uint32_t slot) const;
    // Jumps to the label if the branch at `slot` is taken, or if it is not.
    void compare(uint32_t slot, bool taken, LabelId target, bool short_form);
    void compare_as_it_stands(const Insn& i, bool taken, LabelId target, bool short_form);
    void emit_may_goto(uint32_t slot);
    void emit_call(uint32_t slot);
    // Behind the tail-call helper: if it found a target, the frame ends here. The program's own:
    // whoever entered goes on with the target. A subprogram's: the target runs in its place.
    void emit_tail_call(uint32_t slot);
    void emit_call_local(uint32_t slot);

    // --- what the optimiser chose (translate_op.hpp) ---
    void emit_op(const Op& o);
    void emit_select(uint32_t slot);

    // --- what rarely runs, entries from C++ (translate_cold.hpp) ---
    LabelId access_gate() { return gate(access_gate_); }
    LabelId packet_gate() { return gate(packet_gate_); }
    LabelId fuel_gate() { return gate(fuel_gate_); }
    LabelId open_gate() { return gate(open_gate_); }
    LabelId close_gate() { return gate(close_gate_); }
    LabelId gate(LabelId& label);
    void emit_gates();
    void emit_cold(Cold c);
    void leave_cold(const Cold& c, LabelId to);
    void emit_entries();

    M& m_;
    const Image& image_;
    Plan plan_;
    std::vector<LabelId> labels_;           // by slot
    std::vector<LabelId> function_labels_;  // by subprogram
    std::vector<Cold> cold_;
    std::vector<CodePosition> positions_;
    std::vector<Entry> entries_;
    LabelId exit_trap_ = kNoLabel, main_entry_ = kNoLabel;
    LabelId access_gate_ = kNoLabel, packet_gate_ = kNoLabel, fuel_gate_ = kNoLabel,
            open_gate_ = kNoLabel, close_gate_ = kNoLabel;
    uint32_t current_ = 0;  // the subprogram that is being emitted
};

}  // namespace skep::jit
