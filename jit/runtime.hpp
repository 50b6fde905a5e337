// What native code calls in C++. The gates' functions take the three temporaries and the
// environment and preserve every eBPF register around them (masm.hpp); the others are helper calls.
// Those that get a slot leave it in env->native_slot, where a trap is said to have happened.
#pragma once

#include <cstdint>

#include "helpers/env.hpp"
#include "jit/masm.hpp"
#include "vm/run/image.hpp"

namespace skep::jit {

// An access that native code did not make itself: refused by the inline check, into the context, or
// beyond the frame. `address` is the register's value plus offset, `value` what a store stores.
// Returns what a load loads; env->trap says whether it was allowed.
uint64_t runtime_access(uint64_t address, uint64_t slot, uint64_t value, HelperEnv* env) noexcept;

// LD_ABS and LD_IND at `index` + imm. env->native_ended != 0: out of range, the function returns 0.
uint64_t runtime_packet_load(uint64_t index, uint64_t slot, uint64_t, HelperEnv* env) noexcept;

// The next quantum of fuel, or a trap.
uint64_t runtime_refuel(uint64_t, uint64_t slot, uint64_t, HelperEnv* env) noexcept;

// Opens and closes the frame of subprogram `callee` (depth, stack, zeroing); opening may trap.
uint64_t runtime_open_frame(uint64_t slot, uint64_t callee, uint64_t, HelperEnv* env) noexcept;
uint64_t runtime_close_frame(uint64_t, uint64_t callee, uint64_t, HelperEnv* env) noexcept;

// Runs the target of a tail call that was taken in subprogram `caller`, in place of its frame.
uint64_t runtime_tail_call(uint64_t caller, uint64_t, uint64_t, uint64_t, uint64_t,
                           HelperEnv* env) noexcept;

// What a Call slot calls: the helper's thunk, or in a sandbox the dispatcher in front of it, which
// finds the helper by env->native_slot.
Function call_target(const ImageSlot& slot, Form form) noexcept;
bool is_tail_call(const ImageSlot& slot) noexcept;

}  // namespace skep::jit
