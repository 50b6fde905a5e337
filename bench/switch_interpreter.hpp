// The baseline interpreter: what a straightforward port of the instruction set looks like. One
// `switch` over the opcode byte in a loop over wire instructions, no checks, no pre-decoding, as
// user-space interpreters are commonly written. Only measured; nothing runs on it.
#pragma once

#include <cstdint>
#include <span>

#include "vm/isa/insn.hpp"

namespace skep::bench {

// Runs a program that is known to be right. Helpers and maps are unknown to it.
uint64_t switch_interpret(std::span<const RawInsn> program, uint64_t r1, uint64_t r2);
// False if the program has instructions that it does not know.
bool switch_can_interpret(std::span<const RawInsn> program);

}  // namespace skep::bench
