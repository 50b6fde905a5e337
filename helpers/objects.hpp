// References to allocated objects that a run holds: entries of its ledger.
#pragma once

#include "helpers/env.hpp"
#include "maps/object_heap.hpp"

namespace skep::objects {

// Takes over a reference; gives it up, and traps, when the ledger is full.
bool hold(HelperEnv& env, std::byte* object) noexcept;
// The reference is the caller's again. False: the run does not hold one.
bool give_up(HelperEnv& env, const std::byte* object) noexcept;
// How many copies a per-CPU object has.
unsigned copies() noexcept;

}  // namespace skep::objects
