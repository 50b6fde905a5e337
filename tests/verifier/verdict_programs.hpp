// Random XDP programs about what a verifier must reason about: bounded and unbounded offsets into
// map values and the stack, packet comparisons, diamonds that merge values, counted loops, spills
// of all widths, helpers with side effects. About half of them are safe.
//
// Slots that load the map carry BPF_PSEUDO_MAP_FD and imm 0; with_map() puts a descriptor there.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "vm/isa/insn.hpp"

namespace skep::test {

inline constexpr uint32_t kVerdictMapBytes = 64;  // of the array map's value
inline constexpr uint32_t kVerdictMapEntries = 4;

struct VerdictProgram {
    uint64_t seed = 0;
    std::vector<RawInsn> slots;
};

VerdictProgram verdict_program(uint64_t seed);
std::vector<RawInsn> with_map(const std::vector<RawInsn>& slots, int fd);

// The program with as many instructions as possible replaced by jumps to the next one, and those at
// the end left out, such that `fails` still holds.
VerdictProgram minimised(VerdictProgram program,
                         const std::function<bool(const VerdictProgram&)>& fails);

}  // namespace skep::test
