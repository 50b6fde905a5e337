// AArch64 macro-assembler: AAPCS64, asmjit's assembler underneath.
//
//   r0 x7    r1 x0  r2 x1  r3 x2  r4 x3  r5 x4     caller-saved; r1..r5 are the ABI's arguments, so
//   a r6 x19   r7 x20  r8 x21  r9 x22                helper call moves x5 = env in and x7 = x0 out
//   r10 x25  environment x26  temporaries x9 x10 x11; x12, x13 are this file's own scratch
#pragma once

#include <asmjit/arm/a64assembler.h>
#include <vector>

#include "jit/masm.hpp"

namespace skep::jit {

class MasmA64 {
public:
    static constexpr Abilities kAbilities{.memory_operands = false, .rich_addresses = false};

    // Emits into `code`, which outlives this and has an error handler attached.
    MasmA64(asmjit::CodeHolder& code, Features features);

    LabelId new_label();
    void bind(LabelId label);
    void align_loop(unsigned bytes);
    void expect_size(uint64_t bytes, bool no_short) {
        far_ = bytes >= kConditionalReach || no_short;
        no_short_ = no_short;
    }
    uint64_t position() const { return assembler_.offset(); }
    void mark(uint32_t slot) {
        if (assembler_.logger() != nullptr) assembler_.commentf("@%u", slot);
    }
    uint64_t label_position(LabelId label) const;

    void entry(uint16_t saved, int32_t frame_disp, int32_t sp_disp);
    void leave(uint16_t saved, int32_t sp_disp);
    void bare_entry(uint16_t saved);
    void bare_leave(uint16_t saved);
    void unwind(int32_t sp_disp);
    void function_entry(uint16_t saved);
    void function_return(uint16_t saved);
    void call_label(LabelId label);
    void push_loop(Reg count, Reg context);
    void loop_round(Reg round, Reg context, LabelId done);
    void loop_next();
    void pop_loop(Reg rounds);
    void ret();
    void call_function(Function function);
    void gate(Function function, int32_t trap_disp, LabelId on_trap);

    void mov(Width w, Reg dst, Reg src);
    void mov_imm(Reg dst, uint64_t value);
    void sign_extend(Width w, Reg dst, Reg src, unsigned bits);
    void alu(AluOp op, Width w, bool is_signed, Reg dst, Reg src);
    void alu_imm(AluOp op, Width w, bool is_signed, Reg dst, int64_t imm);
    void neg(Width w, Reg dst);
    void endian(EndianOp op, Reg dst, unsigned bits);
    void rotate_left(Width w, Reg dst, Reg src, unsigned count);
    void add3(Reg dst, Reg a, Reg b);
    void add3_imm(Reg dst, Reg a, int32_t imm);
    void alu3(AluOp op, Width w, bool is_signed, Reg dst, Reg a, Reg b, bool nonzero);
    void alu3_imm(AluOp op, Width w, bool is_signed, Reg dst, Reg a, int64_t imm);
    void alu_mem(AluOp op, Width w, Reg dst, Reg a, Mem mem);
    void neg3(Width w, Reg dst, Reg a);
    void zero_extend(Reg dst, Reg a, unsigned bits);
    void swap(Reg dst, Reg a, unsigned bits);

    void load(Width w, bool sign, Reg dst, Mem mem);
    void store(Width w, Mem mem, Reg src);
    void store_imm(Width w, Mem mem, int32_t imm);
    void load_swapped(Width w, Reg dst, Mem mem);
    void load_signed(Width to, Width w, Reg dst, Mem mem);
    void atomic(AtomicOp op, Width w, Mem mem, Reg src);
    void lea(Reg dst, Mem mem);
    void translate(Reg base, int32_t disp, Width w, RegionAccess regions, LabelId refused);
    void translator(Width w, RegionAccess regions);
    void check_region(Reg base, int32_t disp, const RegionCheck& check, LabelId refused);
    void region_delta(const RegionCheck& check);

    void jump(LabelId label, bool near);
    void branch(CondOp op, Width w, Reg a, Reg b, LabelId label, bool near);
    void branch_imm(CondOp op, Width w, Reg a, int64_t imm, LabelId label, bool near);
    void branch_mem_imm(CondOp op, Width w, Mem mem, int32_t imm, LabelId label, bool near);
    void branch_mem(CondOp op, Width w, Reg a, Mem mem, LabelId label, bool near);
    void branch_test(bool zero, Width w, Reg a, Reg b, LabelId label, bool near);
    void branch_test_imm(bool zero, Width w, Reg a, int64_t imm, LabelId label, bool near);
    void select(CondOp op, Reg dst, Reg a, Reg b);
    void set_if(CondOp op, Reg dst, bool is_zero);
    void add_mem_imm(Width w, Mem mem, int32_t imm);
    void sub_mem_imm(Width w, Mem mem, int32_t imm, LabelId when_negative);
    void sub_imm(Reg r, int32_t imm, LabelId when_negative);
    void speculation_barrier();
    void trap_here();

private:
    // A conditional branch reaches 1 MiB; kept well below.
    static constexpr uint64_t kConditionalReach = uint64_t{1} << 19;

    // Used inside one operation only.
    static constexpr asmjit::a64::Gp kScratch0 = asmjit::a64::x12, kScratch1 = asmjit::a64::x13;
    static asmjit::a64::Gp scratch(Width w, const asmjit::a64::Gp& r) {
        if (w == Width::Dw) return r.x();
        return r.w();
    }
    // Whether ADD, SUB and CMP encode it.
    static bool is_arithmetic_imm(uint64_t v) {
        return v < 4096 || ((v & 0xfff) == 0 && v < (4096u << 12));
    }

    asmjit::a64::Gp gp(Width w, Reg r) const;
    asmjit::Label label(LabelId id) const { return labels_[id]; }
    asmjit::a64::Mem operand(Mem mem, unsigned size);
    asmjit::a64::Mem env_operand(int32_t disp) const;
    void divide(AluOp op, Width w, bool is_signed, Reg dst, Reg a, asmjit::a64::Gp divisor);
    void divide_unsigned_imm(AluOp op, Width w, Reg dst, Reg a, uint64_t divisor);
    void atomic_lse(AtomicOp op, Width w, asmjit::a64::Mem m, Reg src);
    void atomic_exclusive(AtomicOp op, Width w, asmjit::a64::Mem m, Reg src);
    void jump_if(asmjit::arm::CondCode code, LabelId target, bool near);
    void jump_if_zero(bool zero, asmjit::a64::Gp r, LabelId target, bool near);
    bool reaches(bool near) const { return (near && !no_short_) || !far_; }
    void compare_imm(Width w, asmjit::a64::Gp r, int64_t imm);
    void push_all(uint16_t saved);
    void pop_all(uint16_t saved);

    asmjit::a64::Assembler assembler_;
    Features features_;
    std::vector<asmjit::Label> labels_;
    bool far_ = false;
    bool no_short_ = false;
};

static_assert(MacroAssembler<MasmA64>);

}  // namespace skep::jit
