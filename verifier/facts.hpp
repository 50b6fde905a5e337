// What an analysis learnt about each slot, and what the engines may rely on.
//
// The default value of every field is the safe one: nothing is known. Facts alone never make an
// access unchecked; the image that lower() builds says so (vm/run/image.hpp). A fact holds for
// every execution of the slot, over all paths and callers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace skep {

// What the address of a memory access points into, when it is the same on every path.
enum class Memory : uint8_t {
    Unknown,  // several kinds, or not analysed
    Stack,
    Context,
    Packet,
    PacketMeta,
    MapValue,
    MapKey,
    Ringbuf,
    Socket,
    Btf,
    Buffer,
    Mem,
    Arena,
    Kptr,  // a kptr field of a map value
};

// What a branch does on every execution.
enum class BranchFact : uint8_t { Unknown, Always, Never };

struct SlotFact {
    bool reachable : 1 = true;
    bool access_proven : 1 = false;  // in bounds, right permission, right alignment for atomics
    bool divisor_nonzero : 1 = false;
    bool dst_const : 1 = false;      // dst has `value` after the instruction
    bool nonnull : 1 = false;        // Call: the returned pointer is never null
    bool zero_extended : 1 = false;  // dst's upper half is zero before the instruction
    bool key_const : 1 = false;      // Call of a map helper: the u32 key is `value`
    Memory memory = Memory::Unknown;
    BranchFact branch = BranchFact::Unknown;
    uint8_t align_log2 = 0;  // of the access's address
    int32_t offset = 0;      // Context: constant offset of the access into the context
    int32_t map = -1;        // MapValue, or Call with one constant map: map index
    int32_t callback = -1;   // Call with one callback: its first slot
    uint64_t value = 0;
};

struct SubprogramFact {
    uint32_t stack_bytes = 0;          // frame bytes used
    bool stack_escapes = false;        // the frame's address leaves its own loads and stores
    bool reads_uninitialised = false;  // may read stack bytes before writing them
};

struct Facts {
    // False: the exploration did not end or was not made; `slots` is empty and nothing is known.
    bool complete = false;
    std::vector<SlotFact> slots;              // by slot
    std::vector<SubprogramFact> subprograms;  // by subprogram
    // Upper bound on fuel units that one run can use; saturates at UINT64_MAX (unknown).
    uint64_t worst_case_fuel = UINT64_MAX;
    uint64_t worst_case_insns = UINT64_MAX;
    uint32_t max_stack = 0;  // over the call graph, bytes
    // Bytes that the buffers behind the context must have: what is only read, what may be written.
    uint32_t read_buffer = 0, write_buffer = 0;

    std::string dump() const;
};

}  // namespace skep
