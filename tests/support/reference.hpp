// The reference interpreter: what a program means, written for obviousness. Every engine is held to
// it. It shares nothing with the product but the decoder and semantics.hpp.
//
// Memory is a list of regions at addresses of the caller's choice; an access must lie inside one of
// them. Registers that nobody wrote read 0, r1..r5 read 0 after a call, a frame's stack starts as
// zeros. Fuel is charged as in every engine: one unit per taken backward jump and per call, before
// it happens.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include <skep/error.hpp>

#include "vm/isa/insn.hpp"

namespace skep::test {

struct Region {
    uint64_t base = 0;
    std::vector<uint8_t> bytes;
    bool writable = true;
};

// Guest memory. The open stack frames are one region, which grows and shrinks with calls.
class GuestMemory {
public:
    std::vector<Region> regions;

    // The bytes at [address, address + size), or null.
    uint8_t* find(uint64_t address, uint64_t size, bool for_write, TrapCode& trap);
};

// Addresses are those of a sandbox (helpers/env.hpp), so that programs that compute with them get
// the same. Stack frames lie below this one, the entry's first, each right under its caller's.
inline constexpr uint64_t kReferenceStackTop = 0x1'0001'8000;
// Where run_raw() puts the memory behind r1.
inline constexpr uint64_t kReferenceMemory = 0x2'0000'0000;

struct ReferenceRun {
    GuestMemory memory;
    std::array<uint64_t, kRegisters> regs{};  // at entry; r10 is set by the run
    std::vector<uint8_t> packet;              // what LD_ABS and LD_IND read
    uint64_t fuel = uint64_t{1} << 26;
    // Bytes of a function's frame, by its first slot, where they are not 512: engines make frames
    // as large as functions need. Wild accesses see the difference.
    std::map<uint32_t, uint32_t> frame_bytes;
    // A helper: its r0, or nothing if there is no such helper.
    std::function<std::optional<uint64_t>(int32_t number, std::span<const uint64_t, 5> args,
                                          GuestMemory& memory)>
        helper;
};

struct ReferenceResult {
    uint64_t r0 = 0;
    TrapCode trap = TrapCode::None;
    uint32_t slot = 0;      // of the trap
    uint64_t executed = 0;  // instructions
    uint64_t fuel_used = 0;
};

ReferenceResult run_reference(std::span<const Insn> insns, ReferenceRun& run);

// A program of type `raw`: r1 = address of `memory`, r2 = its length; both 0 if it is empty.
// `memory` is left as the program left it.
ReferenceResult run_raw(std::span<const Insn> insns, std::vector<uint8_t>& memory,
                        uint64_t fuel = uint64_t{1} << 26,
                        std::map<uint32_t, uint32_t> frame_bytes = {});

}  // namespace skep::test
