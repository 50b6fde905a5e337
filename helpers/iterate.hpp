// Calls of a program's functions with an entry of a map.
#pragma once

#include "helpers/env.hpp"

namespace skep::helper {

// callback(map, key, value) for the entry whose value lies at `value`, as timers' callbacks are
// called. Inside a run that was set up for the callback's program.
CallResult call_with_entry(HelperEnv& env, Map& map, const Callable& callback,
                           std::byte* value) noexcept;

}  // namespace skep::helper
