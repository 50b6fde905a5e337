// One walk over an image, for every target: decides what to emit; the macro-assembler decides how.
//
// Code comes in the order of the slots, so a fall-through is no jump; everything that rarely runs
// (refused accesses, exhausted fuel, traps) goes behind the last function. Peepholes look ahead
// only inside a basic block and only over temporaries that liveness says are dead afterwards.
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
          plan_(image),
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

    // --- functions -------------------------------------------------------------------------------

    void emit_function(uint32_t f) {
        const Subprogram& s = image_.program->subprograms[f];
        const uint32_t end = s.first + s.count;
        current_ = f;
        if (f == 0) {
            // The program itself: entered from C++ directly, so that an empty program costs
            // nothing.
            main_entry_ = m_.new_label();
            m_.bind(main_entry_);
            m_.entry(plan_.image_saved(), disp(&HelperEnv::stack_host),
                     disp(&HelperEnv::native_sp));
            clear_registers(0x3c1 & plan_.liveness().live_before(s.first));
        } else {
            m_.bind(function_label(f));
            m_.function_entry(plan_.saved(f));
        }
        for (uint32_t i = s.first; i < end;) {
            if (at(i).dead && at(i).trap == TrapCode::None) {
                ++i;
                continue;
            }
            if (plan_.is_loop_head(i)) m_.align_loop();
            if (labels_[i] != kNoLabel || plan_.is_target(i)) m_.bind(label_of(i));
            positions_.push_back({static_cast<uint32_t>(m_.position()), i});
            i = emit_slot(i);
        }
        const Kind last_kind = at(end - 1).insn.kind;
        if (last_kind != Kind::Exit && last_kind != Kind::Jump) trap(end - 1, TrapCode::FellOffEnd);
    }

    LabelId function_label(uint32_t f) {
        if (function_labels_[f] == kNoLabel) function_labels_[f] = m_.new_label();
        return function_labels_[f];
    }

    // Registers that a program could read though nobody wrote them read 0.
    void clear_registers(uint16_t mask) {
        for (Reg r = 0; r < 10; ++r) {
            if ((mask >> r & 1) != 0) m_.mov_imm(r, 0);
        }
    }

    // Emits slot `i`, perhaps together with the ones behind it; returns the next slot.
    uint32_t emit_slot(uint32_t i) {
        const ImageSlot& s = at(i);
        const Insn& insn = s.insn;
        if (s.trap != TrapCode::None) {
            trap(i, s.trap);
            return i + 1;
        }
        if (const uint32_t next = emit_fused(i); next != i) return next;
        switch (insn.kind) {
            case Kind::Alu: emit_alu(insn); break;
            case Kind::Neg: m_.neg(insn.width, insn.dst); break;
            case Kind::Endian:
                m_.endian(insn.endian(), insn.dst, static_cast<unsigned>(insn.imm));
                break;
            case Kind::Imm64: m_.mov_imm(insn.dst, s.bound); return i + 2;
            case Kind::Imm64High: trap(i, TrapCode::BadInstruction); break;
            case Kind::Load: emit_load(i); break;
            case Kind::Store: emit_store(i); break;
            case Kind::Atomic: emit_atomic(i); break;
            case Kind::LoadPacket: emit_load_packet(i); break;
            case Kind::Jump: emit_jump(i); break;
            case Kind::Branch: emit_branch(i); break;
            case Kind::MayGoto: emit_may_goto(i); break;
            case Kind::Call: emit_call(i); break;
            case Kind::CallLocal: emit_call_local(i); break;
            case Kind::Exit: emit_exit(); break;
            case Kind::AddrSpaceCast: m_.mov(Width::Dw, insn.dst, insn.src); break;
        }
        return i + 1;
    }

    void emit_exit() {
        if (current_ == 0)
            m_.leave(plan_.image_saved(), disp(&HelperEnv::native_sp));
        else
            m_.function_return(plan_.saved(current_));
    }

    // Ends the run with `code` at `slot`.
    void trap(uint32_t slot, TrapCode code) {
        m_.store_imm(Width::B, env(&HelperEnv::trap), static_cast<int32_t>(code));
        exit_trapped(slot);
    }

    // Ends the run: somebody has set the trap.
    void exit_trapped(uint32_t slot) {
        m_.store_imm(Width::W, env(&HelperEnv::native_slot), static_cast<int32_t>(slot));
        m_.jump(exit_trap_, false);
    }

    LabelId cold(Cold c) {
        c.label = m_.new_label();
        cold_.push_back(c);
        return c.label;
    }

    // --- arithmetic ------------------------------------------------------------------------------

    // The register that holds eBPF's value of `r`: in a sandbox r10 is a host address in the
    // machine and a guest address to the program.
    Reg value_of(Reg r, Reg temporary) {
        if (r != kFramePointer || !sandbox()) return r;
        m_.load(Width::Dw, false, temporary, env(&HelperEnv::stack_delta));
        m_.add3(temporary, temporary, kFramePointer);
        return temporary;
    }

    void emit_alu(const Insn& i) {
        if (i.is_imm) {
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

    // --- memory ----------------------------------------------------------------------------------

    RegionAccess regions(bool store) const {
        return RegionAccess{.table_disp = disp(&HelperEnv::regions),
                            .count_disp = disp(&HelperEnv::region_count),
                            .base_disp = offsetof(Region, base),
                            .lo_disp = offsetof(Region, lo),
                            .limit_disp = store ? static_cast<int32_t>(offsetof(Region, writable))
                                                : static_cast<int32_t>(offsetof(Region, readable)),
                            .size_shift = 5};
    }
    static_assert(sizeof(Region) == 1 << 5);

    // An access to the own frame at a fixed place inside it: needs no check in any form.
    static bool in_frame(Reg base, const Insn& i) {
        const int end = i.off + static_cast<int>(bytes_of(i.width));
        return base == kFramePointer && i.off >= -static_cast<int>(kStackBytes) && end <= 0;
    }

    // The host operand of the access at `slot` through `base`; in a sandbox kTmp0 holds its address
    // and `c` gets the refused case. Nothing for accesses that go through the runtime altogether.
    bool host_operand(uint32_t slot, Reg base, bool store, Cold::What what, Mem& out) {
        const ImageSlot& s = at(slot);
        if (in_frame(base, s.insn)) {
            out = Mem{.base = base, .disp = s.insn.off};
            return true;
        }
        if (s.access == Access::ContextDynamic) return false;
        if (!sandbox()) {
            out = Mem{.base = base, .disp = s.insn.off};
            return true;
        }
        if (base == kFramePointer) return false;
        const LabelId refused = cold({.what = what, .slot = slot, .back = m_.new_label()});
        m_.translate(base, s.insn.off, s.insn.width, regions(store), refused);
        out = Mem{.base = kTmp0};
        return true;
    }

    // The whole access by the runtime, which checks it or traps.
    void access_by_runtime(uint32_t slot, Reg base, Reg value, bool has_value) {
        const ImageSlot& s = at(slot);
        if (has_value) m_.mov(Width::Dw, kTmp2, value_of(value, kTmp1));
        const Reg address = value_of(base, kTmp0);
        m_.add3_imm(kTmp0, address, s.insn.off);
        m_.mov_imm(kTmp1, slot);
        m_.call_label(access_gate());
        check_trap(slot);
    }

    // Leaves if what was just called ended the run.
    void check_trap(uint32_t slot) {
        const LabelId out = cold({.what = Cold::What::Trapped, .slot = slot});
        m_.branch_mem_imm(CondOp::Ne, Width::B, env(&HelperEnv::trap), 0, out, false);
    }

    void emit_load(uint32_t slot) {
        const ImageSlot& s = at(slot);
        const Insn& i = s.insn;
        if (s.access == Access::ContextField) {
            emit_context_load(s);
            return;
        }
        Mem mem;
        if (!host_operand(slot, i.src, false, Cold::What::Load, mem)) {
            access_by_runtime(slot, i.src, 0, false);
            m_.mov(Width::Dw, i.dst, kTmp0);
            return;
        }
        m_.load(i.width, i.sign, i.dst, mem);
        bind_back(slot, mem);
    }

    // After a translated access: where its refused case returns to.
    void bind_back(uint32_t slot, const Mem& mem) {
        if (mem.base == kTmp0 && !cold_.empty() && cold_.back().slot == slot) {
            m_.bind(cold_.back().back);
        }
    }

    void emit_context_load(const ImageSlot& s) {
        const Insn& i = s.insn;
        const Mem mem{.base = i.src, .disp = s.host_off + s.field_shift};
        const auto kind = static_cast<CtxFieldKind>(s.field_kind);
        if (s.host_size == 0)
            m_.mov_imm(i.dst, 0);
        else if (kind == CtxFieldKind::Scalar)
            m_.load(i.width, i.sign, i.dst, mem);
        else
            m_.load(Width::Dw, false, i.dst, Mem{.base = i.src, .disp = s.host_off});
    }

    void emit_store(uint32_t slot) {
        const ImageSlot& s = at(slot);
        const Insn& i = s.insn;
        Mem mem;
        if (s.access == Access::ContextField) {
            mem = Mem{.base = i.dst, .disp = s.host_off + s.field_shift};
        } else if ((i.src == kFramePointer && !i.is_imm && sandbox() && !in_frame(i.dst, i)) ||
                   !host_operand(slot, i.dst, true, Cold::What::Store, mem)) {
            if (i.is_imm) {
                m_.mov_imm(kTmp2, static_cast<uint64_t>(i.imm));
                access_by_runtime(slot, i.dst, kTmp2, true);
            } else {
                access_by_runtime(slot, i.dst, i.src, true);
            }
            return;
        }
        if (i.is_imm)
            m_.store_imm(i.width, mem, static_cast<int32_t>(i.imm));
        else
            m_.store(i.width, mem, value_of(i.src, kTmp1));
        bind_back(slot, mem);
    }

    void emit_atomic(uint32_t slot) {
        const ImageSlot& s = at(slot);
        const Insn& i = s.insn;
        const bool acquire = i.atomic() == AtomicOp::LoadAcquire;
        const Reg base = acquire ? i.src : i.dst;
        const unsigned bytes = bytes_of(i.width);
        Mem mem;
        if (!host_operand(slot, base, !acquire, Cold::What::Atomic, mem)) {
            // Into the context, or beyond the frame: never allowed.
            access_by_runtime(slot, base, 0, false);
            return;
        }
        if (sandbox()) check_alignment(slot, mem, bytes);
        if (mem.base != kTmp0 && loops(i.atomic())) {
            // The loop form needs r0 and the other temporaries for itself.
            m_.add3_imm(kTmp0, mem.base, mem.disp);
            mem = Mem{.base = kTmp0};
        }
        m_.atomic(i.atomic(), i.width, mem, acquire ? i.dst : value_of(i.src, kTmp1));
        bind_back(slot, mem);
    }

    static bool loops(AtomicOp op) {
        return op == AtomicOp::FetchOr || op == AtomicOp::FetchAnd || op == AtomicOp::FetchXor;
    }

    void check_alignment(uint32_t slot, const Mem& mem, unsigned bytes) {
        if (bytes == 1) return;
        const Cold misaligned{.what = Cold::What::Trap, .slot = slot, .trap = TrapCode::Misaligned};
        if (mem.base != kTmp0) {
            // The own frame, whose top is aligned.
            if (mem.disp % static_cast<int32_t>(bytes) != 0) trap(slot, TrapCode::Misaligned);
            return;
        }
        const size_t refused = cold_.size() - 1;
        const LabelId label = cold(misaligned);
        std::swap(cold_[refused], cold_.back());
        m_.branch_imm(CondOp::Set, Width::Dw, kTmp0, bytes - 1, label, false);
    }

    // Legacy packet loads: r0 = bytes of the packet, or the function returns 0. Clobbers r1..r5.
    void emit_load_packet(uint32_t slot) {
        const Insn& i = at(slot).insn;
        if (i.is_imm)
            m_.mov_imm(kTmp0, 0);
        else
            m_.mov(Width::Dw, kTmp0, value_of(i.src, kTmp0));
        m_.mov_imm(kTmp1, slot);
        m_.call_label(packet_gate());
        m_.mov(Width::Dw, 0, kTmp0);
        check_trap(slot);
        const LabelId inside = m_.new_label();
        m_.branch_mem_imm(CondOp::Eq, Width::W, env(&HelperEnv::native_ended), 0, inside, true);
        emit_exit();
        m_.bind(inside);
        clear_registers(0x3e & plan_.liveness().live_after(slot));
    }

    // --- control ---------------------------------------------------------------------------------

    // One unit of fuel, before the thing that costs happens.
    void charge(uint32_t slot) {
        if (image_.fuel) charge_always(slot);
    }
    void charge_always(uint32_t slot) {
        const LabelId back = m_.new_label();
        const LabelId empty = cold({.what = Cold::What::Fuel, .slot = slot, .back = back});
        m_.sub_mem_imm(Width::Dw, env(&HelperEnv::fuel), 1, empty);
        m_.bind(back);
    }

    void emit_jump(uint32_t slot) {
        const ImageSlot& s = at(slot);
        const auto target = static_cast<uint32_t>(s.insn.target);
        if (s.charge) charge(slot);
        if (target == slot + 1) return;
        m_.jump(label_of(target), plan_.is_near(slot, target));
    }

    void emit_branch(uint32_t slot) {
        const ImageSlot& s = at(slot);
        const Insn& i = s.insn;
        const auto target = static_cast<uint32_t>(i.target);
        if (s.charge && image_.fuel) {
            // Only the taken jump costs: skip the charge when the condition fails.
            const LabelId fall = m_.new_label();
            if (i.cond() == CondOp::Set) {
                const LabelId taken = m_.new_label();
                compare(i, i.cond(), taken, true);
                m_.jump(fall, true);
                m_.bind(taken);
            } else {
                compare(i, negate(i.cond()), fall, true);
            }
            charge(slot);
            m_.jump(label_of(target), false);
            m_.bind(fall);
            return;
        }
        compare(i, i.cond(), label_of(target), plan_.is_near(slot, target));
    }

    void compare(const Insn& i, CondOp op, LabelId target, bool short_form) {
        const Reg dst = value_of(i.dst, kTmp0);
        if (i.is_imm)
            m_.branch_imm(op, i.width, dst, i.imm, target, short_form);
        else
            m_.branch(op, i.width, dst, value_of(i.src, kTmp1), target, short_form);
    }

    void emit_may_goto(uint32_t slot) {
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

    void emit_call(uint32_t slot) {
        const ImageSlot& s = at(slot);
        if (s.charge) charge(slot);
        if (sandbox()) {
            m_.store_imm(Width::W, env(&HelperEnv::native_slot), static_cast<int32_t>(slot));
        }
        m_.call_function(call_target(s, image_.form));
        check_trap(slot);
        if (is_tail_call(s)) emit_tail_call(slot);
        clear_registers(0x3e & plan_.liveness().live_after(slot));
    }

    // Behind the tail-call helper: if it found a target, the frame ends here. The program's own:
    // whoever entered goes on with the target. A subprogram's: the target runs in its place.
    void emit_tail_call(uint32_t slot) {
        const LabelId stay = m_.new_label();
        m_.branch_mem_imm(CondOp::Eq, Width::Dw, env(&HelperEnv::tail_target), 0, stay, false);
        charge_always(slot);
        if (current_ != 0) {
            m_.mov_imm(1, current_);
            m_.call_function(reinterpret_cast<Function>(&runtime_tail_call));
            check_trap(slot);
        }
        emit_exit();
        m_.bind(stay);
    }

    void emit_call_local(uint32_t slot) {
        const ImageSlot& s = at(slot);
        if (s.charge) charge(slot);
        const uint32_t callee = plan_.subprogram_at(static_cast<uint32_t>(s.insn.target));
        const bool accounted = sandbox() || plan_.nests() || image_.frames[callee].zero;
        const auto bytes = static_cast<int32_t>(image_.frames[current_].bytes);
        if (accounted) {
            m_.mov_imm(kTmp1, callee);
            m_.call_label(open_gate());
            check_trap(slot);
        }
        m_.alu_imm(AluOp::Sub, Width::Dw, false, kFramePointer, bytes);
        m_.call_label(function_label(callee));
        m_.alu_imm(AluOp::Add, Width::Dw, false, kFramePointer, bytes);
        if (accounted) {
            m_.mov_imm(kTmp1, callee);
            m_.call_label(close_gate());
        }
        clear_registers(0x3e & plan_.liveness().live_after(slot));
    }

    // --- peepholes -------------------------------------------------------------------------------

    // True if slots i+1 .. i+n-1 exist, are alive and are reached only from the slot before.
    bool straight(uint32_t i, uint32_t n) const {
        if (i + n > last(current_)) return false;
        for (uint32_t k = i + 1; k < i + n; ++k) {
            if (plan_.is_target(k) || at(k).dead || at(k).trap != TrapCode::None) return false;
        }
        return true;
    }

    bool dead_after(uint32_t slot, Reg r) const { return !plan_.liveness().is_live_after(slot, r); }

    // Tries the fusions; returns the slot behind what was emitted, or `i`.
    uint32_t emit_fused(uint32_t i) {
        const Insn& a = at(i).insn;
        if (a.kind == Kind::Alu && a.alu() == AluOp::Mov && !a.is_imm && a.sext == 0 &&
            (a.src != kFramePointer || !sandbox())) {
            if (const uint32_t next = fuse_rotate(i); next != i) return next;
            if (a.is64()) return fuse_address(i);
        }
        if (a.kind == Kind::Alu && a.alu() == AluOp::Lsh) return fuse_shift_pair(i);
        if (a.kind == Kind::Load) return fuse_load_swap(i);
        return i;
    }

    static bool shifts_by_imm(const Insn& i) {
        return i.kind == Kind::Alu && i.is_imm && (i.alu() == AluOp::Lsh || i.alu() == AluOp::Rsh);
    }

    // mov t, x; shl t, k; shr x, N-k; or x, t  (any order of the shifts, either result) -> rotate.
    // 32-bit shifts read the low half only, so it does not matter how wide the move is.
    uint32_t fuse_rotate(uint32_t i) {
        if (!straight(i, 4)) return i;
        const Insn &mv = at(i).insn, &s1 = at(i + 1).insn, &s2 = at(i + 2).insn,
                   &join = at(i + 3).insn;
        const Reg t = mv.dst, x = mv.src;
        const bool shifts = shifts_by_imm(s1) && shifts_by_imm(s2) && s1.alu() != s2.alu() &&
                            s1.width == s2.width && (mv.is64() || !s1.is64());
        const bool joined =
            join.kind == Kind::Alu && !join.is_imm && join.width == s1.width &&
            (join.alu() == AluOp::Or || join.alu() == AluOp::Xor || join.alu() == AluOp::Add);
        if (t == x || !shifts || !joined) return i;
        const int64_t bits = s1.is64() ? 64 : 32;
        const bool both = (s1.dst == t && s2.dst == x) || (s1.dst == x && s2.dst == t);
        const bool meets = (join.dst == x && join.src == t) || (join.dst == t && join.src == x);
        if (!both || !meets || s1.imm + s2.imm != bits || s1.imm <= 0 || s2.imm <= 0) return i;
        const Reg result = join.dst, other = join.dst == x ? t : x;
        if (!dead_after(i + 3, other)) return i;
        const Insn& left = s1.alu() == AluOp::Lsh ? s1 : s2;
        m_.rotate_left(s1.width, result, x, static_cast<unsigned>(left.imm));
        return i + 4;
    }

    // mov t, b; add t, c; load d, [t + off]   -> load d, [b + c + off], when t dies.
    // mov t, b; add t, imm                    -> lea t, [b + imm]
    // mov t, b; add t, c                      -> lea t, [b + c]
    uint32_t fuse_address(uint32_t i) {
        if (!straight(i, 2)) return i;
        const Insn &mv = at(i).insn, &add = at(i + 1).insn;
        if (add.kind != Kind::Alu || add.alu() != AluOp::Add || !add.is64() || add.dst != mv.dst ||
            add.dst == mv.src) {
            return i;
        }
        if (add.is_imm) {
            m_.add3_imm(mv.dst, mv.src, static_cast<int32_t>(add.imm));
            return i + 2;
        }
        if (add.src == mv.dst || (add.src == kFramePointer && sandbox())) return i;
        if (!sandbox() && straight(i, 3)) {
            const ImageSlot& ld = at(i + 2);
            const Insn& l = ld.insn;
            if (ld.access == Access::Proven && l.kind == Kind::Load && l.src == mv.dst &&
                (l.dst == mv.dst || dead_after(i + 2, mv.dst))) {
                m_.load(l.width, l.sign, l.dst,
                        Mem{.base = mv.src, .disp = l.off, .index = add.src, .has_index = true});
                return i + 3;
            }
        }
        m_.add3(mv.dst, mv.src, add.src);
        return i + 2;
    }

    // shl 32; shr 32 -> zero extension; shl k; s>>= k -> sign extension for 32, 48, 56.
    uint32_t fuse_shift_pair(uint32_t i) {
        if (!straight(i, 2)) return i;
        const Insn &l = at(i).insn, &r = at(i + 1).insn;
        if (!l.is_imm || !l.is64() || r.kind != Kind::Alu || !r.is_imm || !r.is64() ||
            r.dst != l.dst || r.imm != l.imm) {
            return i;
        }
        if (r.alu() == AluOp::Rsh && l.imm == 32) {
            m_.mov(Width::W, l.dst, l.dst);
            return i + 2;
        }
        if (r.alu() == AluOp::Arsh && (l.imm == 32 || l.imm == 48 || l.imm == 56)) {
            m_.sign_extend(Width::Dw, l.dst, l.dst, static_cast<unsigned>(64 - l.imm));
            return i + 2;
        }
        return i;
    }

    // load d, [..]; d = be16/32/64 d -> swapping load.
    uint32_t fuse_load_swap(uint32_t i) {
        if (sandbox() || !straight(i, 2)) return i;
        const ImageSlot& s = at(i);
        const Insn &l = s.insn, &e = at(i + 1).insn;
        if (s.access != Access::Proven || l.sign || e.kind != Kind::Endian || e.dst != l.dst ||
            e.endian() == EndianOp::ToLe || e.imm != 8 * bytes_of(l.width)) {
            return i;
        }
        m_.load_swapped(l.width, l.dst, Mem{.base = l.src, .disp = l.off});
        return i + 2;
    }

    // --- what rarely runs
    // --------------------------------------------------------------------------

    LabelId access_gate() { return gate(access_gate_); }
    LabelId packet_gate() { return gate(packet_gate_); }
    LabelId fuel_gate() { return gate(fuel_gate_); }
    LabelId open_gate() { return gate(open_gate_); }
    LabelId close_gate() { return gate(close_gate_); }
    LabelId gate(LabelId& label) {
        if (label == kNoLabel) label = m_.new_label();
        return label;
    }

    void emit_gates() {
        const std::pair<LabelId, Function> gates[] = {
            {access_gate_, reinterpret_cast<Function>(&runtime_access)},
            {packet_gate_, reinterpret_cast<Function>(&runtime_packet_load)},
            {fuel_gate_, reinterpret_cast<Function>(&runtime_refuel)},
            {open_gate_, reinterpret_cast<Function>(&runtime_open_frame)},
            {close_gate_, reinterpret_cast<Function>(&runtime_close_frame)}};
        for (const auto& [label, function] : gates) {
            if (label == kNoLabel) continue;
            m_.bind(label);
            m_.gate(function);
        }
    }

    void emit_cold(Cold c) {
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
                    m_.mov_imm(kTmp2, static_cast<uint64_t>(i.imm));
                else
                    m_.mov(Width::Dw, kTmp2, i.src);
                m_.add3_imm(kTmp0, i.dst, i.off);
                leave_cold(c, access_gate());
                break;
            case Cold::What::Atomic:
                m_.add3_imm(kTmp0, i.atomic() == AtomicOp::LoadAcquire ? i.src : i.dst, i.off);
                leave_cold(c, access_gate());
                break;
            case Cold::What::Fuel: leave_cold(c, fuel_gate()); break;
        }
        m_.jump(c.back, false);
    }

    void leave_cold(const Cold& c, LabelId to) {
        m_.mov_imm(kTmp1, c.slot);
        m_.call_label(to);
        const LabelId go_on = m_.new_label();
        m_.branch_mem_imm(CondOp::Eq, Width::B, env(&HelperEnv::trap), 0, go_on, true);
        exit_trapped(c.slot);
        m_.bind(go_on);
    }

    // --- entries from C++ ------------------------------------------------------------------------

    void emit_entries() {
        entries_.push_back({0, main_entry_});
        for (uint32_t f = 1; f < function_labels_.size(); ++f) {
            if (!plan_.is_callback(f)) continue;
            const LabelId label = m_.new_label();
            m_.bind(label);
            m_.entry(plan_.image_saved(), disp(&HelperEnv::stack_host),
                     disp(&HelperEnv::native_sp));
            clear_registers(0x3c1 & plan_.liveness().live_before(image_.functions[f].slot));
            m_.call_label(function_label(f));
            m_.leave(plan_.image_saved(), disp(&HelperEnv::native_sp));
            entries_.push_back({f, label});
        }
    }

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
