// References that a run holds to objects: those that programs allocate, and the kernel's, which
// are addresses that nothing frees. They are entries of its ledger.
#pragma once

#include "helpers/env.hpp"
#include "maps/object_heap.hpp"

namespace skep::objects {

// Takes over a reference; gives it up, and traps, when the ledger is full.
bool hold(HelperEnv& env, std::byte* object) noexcept;
// The reference is the caller's again. False: the run does not hold one.
bool give_up(HelperEnv& env, const std::byte* object) noexcept;
// The heap, or null and a trap: a run without one has no objects.
ObjectHeap* heap_of(HelperEnv& env) noexcept;
// A byte of the heap, as the program names it; null: it is not there.
std::byte* in_object(HelperEnv& env, uint64_t value) noexcept;
// How the program names a byte of the heap; 0 for null, and when the run has trapped.
uint64_t shown(const HelperEnv& env, const std::byte* at) noexcept;
// Gives up the reference to the object that the program names; a trap if it has none.
void release(HelperEnv& env, uint64_t value) noexcept;
// A trap; what a function returns then.
uint64_t refused(HelperEnv& env) noexcept;
// How many copies a per-CPU object has.
unsigned copies() noexcept;

}  // namespace skep::objects
