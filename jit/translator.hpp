// The translator's parts and what they share; translate.hpp is what to include.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <unordered_map>
#include <utility>
#include <vector>

#include "helpers/env.hpp"
#include "jit/expect.hpp"
#include "jit/harden.hpp"
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
    // `no_short_jumps`: after a translation whose predictions of distances were wrong.
    Translator(M& masm, const Image& image, bool no_short_jumps)
        : m_(masm),
          image_(image),
          plan_(image, M::kAbilities),
          expected_(image),
          labels_(image.slots.size() + 1, kNoLabel),
          no_short_jumps_(no_short_jumps),
          function_labels_(image.functions.size(), kNoLabel) {
        translators_.fill(kNoLabel);
    }

    bool can_translate() const { return plan_.is_structured(); }

    // Emits everything. `entries()` and `positions()` are valid afterwards.
    void translate() {
        positions_.reserve(image_.slots.size() + 64);
        m_.expect_size(plan_.size_bound(), no_short_jumps_);
        exit_trap_ = m_.new_label();
        for (uint32_t f = 0; f < image_.functions.size(); ++f) {
            function_offsets_.push_back(static_cast<uint32_t>(m_.position()));
            emit_function(f);
        }
        function_offsets_.push_back(static_cast<uint32_t>(m_.position()));
        m_.mark(kNoSlot);
        for (size_t i = 0; i < cold_.size(); ++i) emit_cold(cold_[i]);
        if (!plan_.is_bare()) {
            m_.bind(exit_trap_);
            m_.unwind(disp(&HelperEnv::native_sp));
            leave();
        }
        emit_gates();
        emit_entries();
    }

    // Entry from C++ of each subprogram that C++ calls: the program itself and callbacks.
    struct Entry {
        uint32_t subprogram = 0;
        LabelId label = kNoLabel;
    };
    bool is_bare() const { return plan_.is_bare(); }
    // Where the code of each subprogram starts, and where that of the last one ends.
    const std::vector<uint32_t>& function_offsets() const { return function_offsets_; }
    const std::vector<Entry>& entries() const { return entries_; }
    const std::vector<CodePosition>& positions() const { return positions_; }

private:
    struct Cold {
        enum class What : uint8_t {
            Trap,
            Trapped,
            Load,
            Store,
            Atomic,
            Fuel,
            Again,
            Null,
            Helper
        } what{};
        uint32_t slot = 0;
        LabelId label = kNoLabel, back = kNoLabel;
        TrapCode trap = TrapCode::None;
        uint32_t end = 0;    // Again: the slot behind the last one that is emitted again
        bool exact = false;  // Again: by the region table, without expectations
        uint32_t subprogram = 0;
    };
    // Accesses through one register that are checked together, by the first of them.
    struct Group {
        uint32_t last = 0;  // slot
        bool open = false;
        uint16_t region = 0;
        int32_t low = 0;      // displacement where the range starts
        uint32_t extent = 0;  // its bytes
        bool reads = false, writes = false;
    };

    template <class T>
    static int32_t disp(T HelperEnv::* member) {
        alignas(HelperEnv) static std::byte storage[sizeof(HelperEnv)];
        const auto* env = reinterpret_cast<const HelperEnv*>(storage);
        return static_cast<int32_t>(reinterpret_cast<const std::byte*>(&(env->*member)) - storage);
    }
    template <class T>
    static Mem env(T HelperEnv::* member) {
        return Mem{.disp = disp(member), .base = kEnv};
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

    // What is emitted next belongs to `slot`.
    void mark(uint32_t slot) {
        positions_.push_back({static_cast<uint32_t>(m_.position()), slot});
        m_.mark(slot);
    }

    // --- functions ---
    void emit_function(uint32_t f);
    bool entered(uint32_t slot) const;
    // Alignment, and the charge of the branch that closes the loop, if there is but one.
    void begin_loop(uint32_t slot);
    LabelId function_label(uint32_t f);
    // Registers that a program could read though nobody wrote them read 0.
    void clear_registers(uint16_t mask);
    // r1..r5 behind a call, as far as the program may read them: verified ones may not.
    void clear_arguments(uint32_t slot);
    // Emits slot `i`, perhaps together with the ones behind it; returns the next slot.
    uint32_t emit_slot(uint32_t i);
    void emit_exit();
    // Back to C++, with the fuel that is left in the environment.
    void leave();
    void enter();
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

    // --- policy `hardened` (translate_harden.hpp) ---
    void blinded(Reg r, uint64_t value, Reg scratch);
    // r = a constant of the program, hidden where that was promised. Clobbers kTmp1.
    void constant(Reg r, uint64_t value);
    void barrier();
    bool emit_blinded_alu(const Insn& i);

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
    // --- arenas
    static bool in_arena(const ImageSlot& s);
    // The low half, and `bound` in the high half unless the low one is 0.
    void emit_cast(const ImageSlot& s);
    // kTmp0 = offset of an access through `base` from the arena's base, kTmp1 = that base.
    Mem arena_operand(const ImageSlot& s, Reg base);
    void emit_arena_load(uint32_t slot);
    void emit_arena_store(uint32_t slot);
    void emit_arena_atomic(uint32_t slot);

    // After a checked access: where its refused case returns to.
    void bind_back();
    void emit_context_load(const ImageSlot& s);
    void emit_store(uint32_t slot);
    void emit_atomic(uint32_t slot);
    static bool loops(AtomicOp op);
    void check_alignment(uint32_t slot, int32_t off, bool frame, unsigned bytes);
    // Legacy packet loads: r0 = bytes of the packet, or the function returns 0. Clobbers r1..r5.
    void emit_load_packet(uint32_t slot);

    // --- fields of contexts in a sandbox (translate_context.hpp) ---
    // The field that the access at `slot` probably touches, if that is a plain read or write.
    const CtxField* expected_field(uint32_t slot) const;
    LabelId enter_context(uint32_t slot, Reg base);
    bool emit_expected_context(uint32_t slot);

    // --- checks against the region that is expected (translate_region.hpp) ---
    // True if the access was checked that way; `out` is its host operand.
    bool expected_operand(uint32_t slot, Reg base, bool store, Mem& out);
    // A checked load together with the byte swap behind it.
    bool emit_swapped_load(uint32_t slot);
    RegionCheck region_check(uint16_t region, Width w, bool store) const;
    Group find_group(uint32_t slot, Reg base, uint16_t region) const;
    // The register through which `slot` accesses memory in a way that can be checked so, or -1.
    int checked_base(uint32_t slot) const;
    // Binds where the code that groups emit again returns to, when `slot` is behind them.
    void end_groups(uint32_t slot);
    void emit_again(const Cold& c);

    // --- control (translate_control.hpp) ---
    // Short jumps are predicted for code in the order of the slots.
    bool is_near(uint32_t slot, uint32_t target) const {
        return !again_ && plan_.is_near(slot, target);
    }
    bool has_fuel_register() const { return plan_.fuel_register() != 0; }
    void store_fuel();
    void load_fuel();
    // One unit of fuel, before the thing that costs happens.
    void charge(uint32_t slot);
    void charge_always(uint32_t slot);
    void emit_jump(uint32_t slot);
    bool makes_no_code(uint32_t first, uint32_t end) const;
    uint32_t emit_branch(uint32_t slot);  // returns the next slot
    bool inverts(uint32_t slot) const;
    // Jumps to the label if the branch at `slot` is taken, or if it is not.
    void compare(uint32_t slot, bool taken, LabelId target, bool short_form);
    void compare_as_it_stands(const Insn& i, bool taken, LabelId target, bool short_form);
    void emit_may_goto(uint32_t slot);
    void emit_call(uint32_t slot);
    void call_helper(uint32_t slot);
    // --- calls of known effect (translate_call.hpp) ---
    bool emit_known_call(uint32_t slot);
    bool emit_loop(uint32_t slot);
    bool emit_sandboxed_lookup(uint32_t slot);
    bool emit_map_call(uint8_t last, Function entry);
    bool emit_array_lookup(uint32_t slot, const MapFastPath& path, const SlotFact& fact);
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
    LabelId translator(Width w, bool store);
    void emit_cold(Cold c);
    void leave_cold(const Cold& c, LabelId to);
    void leave_if_trapped(uint32_t slot);
    void emit_entries();

    M& m_;
    const Image& image_;
    Plan plan_;
    Expectations expected_;
    Keys keys_;
    std::vector<LabelId> labels_;  // by slot
    bool no_short_jumps_ = false;
    std::vector<LabelId> function_labels_;                 // by subprogram
    std::unordered_map<uint32_t, LabelId> charge_labels_;  // by loop head: where its charge stands
    std::vector<Cold> cold_;
    std::vector<CodePosition> positions_;
    std::vector<Entry> entries_;
    std::vector<uint32_t> function_offsets_;
    LabelId exit_trap_ = kNoLabel, main_entry_ = kNoLabel;
    LabelId access_gate_ = kNoLabel, packet_gate_ = kNoLabel, fuel_gate_ = kNoLabel,
            open_gate_ = kNoLabel, close_gate_ = kNoLabel;
    std::array<LabelId, 8> translators_;     // by width, and whether it is for stores
    uint64_t no_fall_through_ = UINT64_MAX;  // the position behind a jump that is always taken
    uint32_t current_ = 0;                   // the subprogram that is being emitted
    LabelId back_ = kNoLabel;                // of the access that is being emitted
    std::array<Group, kRegisters> groups_;   // by base register
    std::vector<size_t> open_groups_;        // their entries in cold_
    uint64_t slots_again_ = 0;               // how many slots are emitted twice
    bool again_ = false;                     // emitting for Cold::What::Again: no peepholes
    bool exact_ = false;
    uint32_t span_ = 1;  // slots of the access that is being emitted, with what it is fused with
};

}  // namespace skep::jit
