// 8-byte slots <-> instructions. Decoding makes every check of wire validity that does not need to
// know the program's maps, helpers or types: opcodes, reserved fields, registers, jump targets.
#pragma once

#include <span>
#include <vector>

#include <skep/error.hpp>

#include "vm/isa/insn.hpp"

namespace skep {

// All slots of a program, one Insn per slot. Errors name the slot.
Result<std::vector<Insn>> decode(std::span<const RawInsn> slots);

// The one or two slots of the instruction at `slots[index]`, without the checks that need the whole
// program (jump targets stay relative to `index`, absolute and unchecked).
Result<Insn> decode_one(std::span<const RawInsn> slots, uint32_t index);

// The wire form of slot `index` of a decoded program. decode(encode(x)) == x.
RawInsn encode(const Insn& insn, uint32_t index);

}  // namespace skep
