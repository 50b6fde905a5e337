// x86-64 macro-assembler: System V ABI, asmjit's assembler underneath.
//
//   r0 rax   r1 rdi  r2 rsi  r3 rdx  r4 rcx  r5 r8     caller-saved; r1..r5 are the ABI's
//   arguments, r6 rbx   r7 r13  r8 r14  r9 r15                    so a helper call moves nothing
//   but r9 = env r10 rbp  environment r12  temporaries r10 r11 r9
#pragma once

#include <span>
#include <vector>

#include "jit/masm.hpp"
#include "jit/x64_writer.hpp"

namespace skep::jit {

class MasmX64 {
public:
    static constexpr Abilities kAbilities{
        .memory_operands = true, .rich_addresses = true, .narrow_sets = true};

    // Emits into `code`, which outlives this and has an error handler attached.
    MasmX64(asmjit::CodeHolder& code, Features features);

    LabelId new_label();
    void bind(LabelId label);
    void align_loop(unsigned bytes);
    void expect_size(uint64_t, bool no_short) { no_short_ = no_short; }
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

    // The longest code of any one operation above, for predicting short jumps.
    static constexpr unsigned kMaxOperationBytes = 64;

private:
    static constexpr asmjit::x86::Gp kMap[kMachineRegs] = {
        asmjit::x86::rax, asmjit::x86::rdi, asmjit::x86::rsi, asmjit::x86::rdx, asmjit::x86::rcx,
        asmjit::x86::r8,  asmjit::x86::rbx, asmjit::x86::r13, asmjit::x86::r14, asmjit::x86::r15,
        asmjit::x86::rbp, asmjit::x86::r10, asmjit::x86::r11, asmjit::x86::r9,  asmjit::x86::r12,
    };

    asmjit::x86::Gp gp(Width w, Reg r) const { return w == Width::Dw ? kMap[r] : kMap[r].r32(); }
    asmjit::x86::Mem operand(Mem mem, unsigned size) const;
    asmjit::Label label(LabelId id) const { return labels_[id]; }
    void shift(AluOp op, Width w, Reg dst, Reg a, Reg count);
    template <class Operand>
    void combine(AluOp op, const asmjit::x86::Gp& dst, const Operand& operand);
    void divide(AluOp op, Width w, bool is_signed, Reg dst, Reg divisor, bool nonzero);
    void divide_unsigned_imm(AluOp op, Width w, Reg dst, Reg a, uint64_t divisor);
    void divide_by_magic(AluOp op, Width w, Reg dst, Reg a, uint64_t divisor);
    void high_product(uint64_t multiplier);
    void atomic_loop(AtomicOp op, Width w, Mem mem, Reg src);
    void jump_if(CondOp op, LabelId target, bool near);
    void push_saved(uint16_t saved);
    void pop_saved(uint16_t saved);

    void wrote_flags(Width w, Reg dst);

    X64Writer assembler_;
    // Where the flags say whether a register is 0.
    uint64_t flags_at_ = UINT64_MAX;
    Width flags_width_ = Width::Dw;
    Reg flags_reg_ = 0;
    Features features_;
    bool no_short_ = false;
    std::vector<asmjit::Label> labels_;
};

static_assert(MacroAssembler<MasmX64>);

}  // namespace skep::jit
