// The contract of a back end: what the translator (translate.hpp) asks of a macro-assembler.
//
// A macro-assembler maps the eleven eBPF registers and a few temporaries to machine registers and
// emits the machine form of each operation. masm_x64.cpp and masm_a64.cpp implement the same
// functions in the same order. Nothing here knows about programs, images or helpers' meanings.
#pragma once

#include <concepts>
#include <cstdint>

#include <skep/error.hpp>

#include "vm/isa/insn.hpp"

namespace skep::jit {

// Registers as the translator names them: eBPF's r0..r10, then temporaries that no eBPF register
// occupies, then the environment.
using Reg = uint8_t;
inline constexpr Reg kTmp0 = 11, kTmp1 = 12, kTmp2 = 13, kEnv = 14;
inline constexpr unsigned kMachineRegs = 15;

using LabelId = uint32_t;
inline constexpr LabelId kNoLabel = UINT32_MAX;

constexpr bool fits_i32(int64_t v) { return v == static_cast<int32_t>(v); }

// A host memory operand: [base + index << shift + disp].
struct Mem {
    int32_t disp = 0;
    Reg base = 0;
    Reg index = 0;
    bool has_index = false;
    uint8_t shift = 0;
};

struct Features {
    bool bmi2 = false;   // x86-64: SHLX, RORX
    bool movbe = false;  // x86-64
    bool lse = false;    // AArch64: atomics in one instruction
    bool bti = true;     // endbr64 / BTI at entries
    // What the machine that runs this process has.
    static Features host() noexcept;
};

// What a target's instructions can do in one.
struct Abilities {
    bool memory_operands = false;  // arithmetic and comparisons with memory
    bool rich_addresses = false;   // index, any scale and displacement at once
    bool narrow_sets = false;      // set_if writes a byte of the register
};

// Offsets into the environment and the helpers that generated code calls by address.
using Function = const void*;

// Where generated code finds the region table (helpers/env.hpp) when it translates guest addresses.
struct RegionAccess {
    int32_t table_disp = 0;                              // environment: pointer to the first Region
    int32_t count_disp = 0;                              // environment: 32-bit number of regions
    int32_t base_disp = 0, lo_disp = 0, limit_disp = 0;  // Region: base, lo, readable or writable
    uint8_t size_shift = 0;                              // log2 of sizeof(Region)
};

// A region that an access is tested against (helpers/env.hpp, RegionRow): where the environment
// keeps its row, or, for regions that never change, what it is.
struct RegionCheck {
    bool constant = false;
    int32_t start_disp = 0, delta_disp = 0;
    int32_t limit_disp = 0;  // the row's limit for the width of the access; extent: of one byte
    uint64_t start = 0, delta = 0;
    uint32_t bytes = 0;   // constant: size
    uint32_t extent = 0;  // bytes from the address on that must lie inside
    bool whole = false;   // `extent` is tested against the size instead of the width's limit
};

template <class M>
concept MacroAssembler = requires(M m, Reg r, Width w, AluOp op, CondOp c, AtomicOp at, EndianOp en,
                                  int64_t k, LabelId l, Mem mem, Function f, bool b, unsigned n,
                                  uint16_t mask, RegionAccess regions, RegionCheck check) {
    // Labels and positions.
    { M::kAbilities } -> std::convertible_to<Abilities>;
    { m.new_label() } -> std::same_as<LabelId>;
    m.bind(l);
    m.align_loop(n);
    // Before the first operation: about how many bytes the code will have, and whether no jump may
    // take a short form, whatever it is asked for.
    m.expect_size(uint64_t{}, b);
    { m.position() } -> std::convertible_to<uint64_t>;
    m.mark(uint32_t{});  // listings: what follows belongs to this slot
    // Entry from C++ with r1..r5 and the environment in the ABI's argument registers. `saved` are
    // the eBPF registers r6..r9 that the code writes; `env_disp` is where r10 is found in the
    // environment, `sp_disp` where the native stack pointer is kept for exits from nested frames.
    m.entry(mask, int32_t{}, int32_t{});
    m.leave(mask, int32_t{});  // back to C++, r0 is the result
    // The same for code that uses neither environment nor frame and calls nothing.
    m.bare_entry(mask);
    m.bare_leave(mask);
    m.unwind(int32_t{});  // native stack pointer of the entry, whatever calls are open
    // Local functions: save and restore r6..r9, return.
    m.function_entry(mask);
    m.function_return(mask);
    m.call_label(l);
    // A counted loop whose state (round, count, context) lies on the native stack, so that it
    // nests.
    m.push_loop(r, r);      // 32-bit count, context; round 0
    m.loop_round(r, r, l);  // round and context; to the label if all rounds are done
    m.loop_next();          // keeps r0
    m.pop_loop(r);          // r = rounds begun
    m.ret();                // of a routine that saved nothing
    m.call_function(f);     // C++ function in the ABI; clobbers r0..r5 and the temporaries
    // A routine that calls u64 f(kTmp0, kTmp1, kTmp2, environment) with r0..r5 preserved; its
    // result is in kTmp0. Reached by call_label. If the byte at that displacement in the
    // environment is not 0 then, it goes on to the label instead of returning; kNoLabel: it always
    // returns.
    m.gate(f, int32_t{}, l);
    // Moves and arithmetic; `w` is W or Dw, 32-bit forms zero-extend.
    m.mov(w, r, r);
    m.mov_imm(r, uint64_t{});
    m.sign_extend(w, r, r, n);
    m.alu(op, w, b, r, r);
    m.alu_imm(op, w, b, r, k);
    m.neg(w, r);
    m.endian(en, r, n);
    m.rotate_left(w, r, r, n);
    m.add3(r, r, r);
    m.add3_imm(r, r, int32_t{});
    // The same with a destination of their own; alu3's last argument says that a divisor is not 0.
    m.alu3(op, w, b, r, r, r, b);
    m.alu3_imm(op, w, b, r, r, k);
    m.alu_mem(op, w, r, r, mem);  // dst = a op [mem]; nothing but +, -, *, |, &, ^
    m.neg3(w, r, r);
    m.zero_extend(r, r, n);
    m.swap(r, r, n);  // the low n bits in reverse byte order
    // Memory.
    m.load(w, b, r, mem);
    m.store(w, mem, r);
    m.store_imm(w, mem, int32_t{});
    m.load_swapped(w, r, mem);
    m.load_signed(w, w, r, mem);  // to the first width, of the second
    m.atomic(at, w, mem, r);
    m.lea(r, mem);
    // kTmp0 = host address of the `w` bytes at guest address [base + disp]; to the label if the
    // region table does not allow it. Clobbers all temporaries.
    m.translate(r, int32_t{}, w, regions, l);
    // A routine for call_label: the same for the address in kTmp0, and 0 if it is not allowed.
    m.translator(w, regions);
    // kTmp0 = what turns guest addresses of the region into host addresses, if [base + disp] and
    // the extent behind it lie inside; else to the label. Clobbers kTmp1.
    m.check_region(r, int32_t{}, check, l);
    m.region_delta(check);  // kTmp0 alone, after a check
    // Control.
    m.jump(l, b);
    m.branch(c, w, r, r, l, b);
    m.branch_imm(c, w, r, k, l, b);
    m.branch_mem_imm(c, w, mem, int32_t{}, l, b);
    m.branch_mem(c, w, r, mem, l, b);
    // Branches if (r & r) or (r & k) is 0: if `b` says so, else if it is not.
    m.branch_test(b, w, r, r, l, b);
    m.branch_test_imm(b, w, r, k, l, b);
    // Behind a branch above to kNoLabel, which only compares: dst = a if `c` holds, else b.
    m.select(c, r, r, r);
    m.set_if(c, r, b);  // the same: r = c holds; `b` says that r is 0
    m.add_mem_imm(w, mem, int32_t{});
    m.sub_mem_imm(w, mem, int32_t{}, l);  // memory -= imm; to the label if it became negative
    m.sub_imm(r, int32_t{}, l);           // the same for a register
    m.speculation_barrier();              // nothing is speculated past it
    m.trap_here();                        // fills what must never run
};

}  // namespace skep::jit
