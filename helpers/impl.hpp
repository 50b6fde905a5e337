// Declarations of every implemented helper, from helpers.def: one with another signature than its
// row does not link.
#pragma once

#include <skep/helper.hpp>

#include "helpers/env.hpp"

namespace skep::helper {

// Errno values that helpers return, negated; Linux's numbers.
inline constexpr int64_t kEperm = -1, kEnoent = -2, kE2big = -7, kEagain = -11, kEnomem = -12,
                         kEfault = -14, kEbusy = -16, kEexist = -17, kEinval = -22, kEnospc = -28,
                         kErange = -34, kEnotsupp = -524, kEopnotsupp = -95, kEprotonosupport = -93;

// The synthetic vm_area_struct, which now says [start, end); 0 without one.
uint64_t show_mapping(HelperEnv& env, uint64_t start, uint64_t end) noexcept;

#define SKEP_WITH_ENV(...) (HelperEnv & env __VA_OPT__(, ) __VA_ARGS__)
#define SKEP_HELPER(id, name, result, params, types, flags, summary) \
    result name SKEP_WITH_ENV params noexcept;
#define SKEP_KERNEL_HELPER(id, name, result, params, types, flags, summary)
#include "helpers/helpers.def"

}  // namespace skep::helper
