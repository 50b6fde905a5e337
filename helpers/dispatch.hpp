// The sandbox's helper calls: every argument is checked against the prototype and translated, the
// helper runs, its result is translated back. A C++ helper never sees an unchecked value.
#pragma once

#include <cstdint>

#include <skep/helper.hpp>

#include "helpers/env.hpp"

namespace skep {

// Calls `helper` with the guest's r1..r5 in registers[0..4] and returns the guest's r0. An argument
// that does not fit ends the run with Trap BadArgument, and the helper is not called.
uint64_t dispatch_helper(const Helper& helper, const uint64_t* registers, HelperEnv& env) noexcept;

}  // namespace skep
