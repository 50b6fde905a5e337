// What engines call out of line: context tables, accesses that missed their fast path, helpers,
// frames of local calls. The same functions serve every engine, so that all trap alike.
#pragma once

#include <cstdint>

#include <skep/helper.hpp>

#include "helpers/dispatch.hpp"
#include "vm/isa/insn.hpp"
#include "vm/run/run_area.hpp"

namespace skep {

struct Op;

struct LoadedValue {
    uint64_t value = 0;
    bool ok = false;  // false: the run ends (area.trap is set), or for load_packet: returns r0 = 0
};

// A context access at `offset` through the table of the running program. Unchecked form: `insn` is
// the image's, and its slot's `memory` may say that it is something else than the context.
LoadedValue load_context(RunArea& area, uint64_t offset, const Insn& insn) noexcept;
bool store_context(RunArea& area, uint64_t offset, const Insn& insn, uint64_t value) noexcept;

// Sandbox: accesses at guest addresses that plain translation refused. Those into the context go
// through its table; all others trap.
LoadedValue load_slowly(RunArea& area, uint64_t address, const Insn& insn) noexcept;
bool store_slowly(RunArea& area, uint64_t address, const Insn& insn, uint64_t value) noexcept;
// Sets the trap that an access of `size` bytes at guest address `address` deserves.
void fail_access(RunArea& area, uint64_t address, unsigned size) noexcept;

// LD_ABS, LD_IND: packet bytes at index + imm as a big-endian number. Not ok: outside, the program
// returns 0.
LoadedValue load_packet(RunArea& area, uint64_t index, const Insn& insn) noexcept;

// A helper with r1..r5 in registers[1..5]. In a sandbox through the dispatcher, which checks each
// argument against the prototype. Afterwards area.trap says whether the run ends.
template <bool kSandbox>
inline uint64_t call_helper(const Helper& helper, const uint64_t* registers,
                            RunArea& area) noexcept {
    if constexpr (kSandbox) return dispatch_helper(helper, registers + 1, area);
    return helper.thunk(registers[1], registers[2], registers[3], registers[4], registers[5],
                        &area);
}

// After a tail call that was taken in a subprogram: runs the target in place of its frame.
CallResult tail_call_from_subprogram(RunArea& area) noexcept;

// Opens the frame of the local call `op`; returns r10, or 0 and a trap.
uint64_t enter_local(RunArea& area, const Op* op, const uint64_t* registers) noexcept;
// Closes the current local frame, restores r6..r10 and returns where the caller goes on.
const Op* leave_local(RunArea& area, uint64_t* registers) noexcept;

inline void clear_arguments(uint64_t* registers) noexcept {
    for (unsigned i = 1; i <= 5; ++i) registers[i] = 0;
}

}  // namespace skep
