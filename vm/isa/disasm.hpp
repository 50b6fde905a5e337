// Instructions -> text, in the dialect of the kernel's verifier and of llvm-objdump:
// `r0 += r1`, `w0 = 5`, `if r1 > 5 goto +2`, `lock *(u64 *)(r1 + 0) += r2`.
// assemble(disassemble(x)) == x for every instruction that decodes, unless names were given.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "vm/isa/insn.hpp"

namespace skep {

// What numbers may be replaced by; an empty answer keeps the number.
struct DisasmNames {
    std::function<std::string(int32_t helper)> helper;   // "bpf_map_lookup_elem"
    std::function<std::string(uint32_t slot)> function;  // callee of a local call, by first slot
    std::function<std::string(uint32_t map)> map;        // by the low half of a map immediate
};

// The instruction at slot `index`, without its slot number. Imm64High gives an empty string.
std::string disassemble(const Insn& insn, uint32_t index, const DisasmNames& names = {});

// One line per instruction, each "slot: text\n"; second slots of 64-bit immediates have none.
std::string disassemble(std::span<const Insn> insns, const DisasmNames& names = {});

}  // namespace skep
