// Objects that a sandboxed program holds by address but may not look into: ring buffer records,
// dynptrs, sockets and other things of the host.
#pragma once

#include <cstddef>
#include <cstdint>

#include <skep/helper.hpp>

#include "helpers/env.hpp"

namespace skep::guest {

// The host form of an object argument. False: not a live object of the right kind.
bool translate_object(HelperEnv& env, const ArgSpec& arg, uint64_t value, uint64_t& out) noexcept;
// The guest address of memory inside one of the run's regions; 0 for null. Objects without one trap
// Unsupported.
uint64_t address_of_object(HelperEnv& env, const std::byte* pointer) noexcept;

}  // namespace skep::guest
