// Declarations of every kernel function that runs here, from kfuncs_run.def: one with another
// signature than its row does not link.
#pragma once

#include <skep/helper.hpp>

#include "helpers/env.hpp"
#include "helpers/impl.hpp"

namespace skep::kfunc {

#define SKEP_KFUNC_RUN(name, result, params) result name SKEP_WITH_ENV params noexcept;
#include "helpers/kfuncs_run.def"

}  // namespace skep::kfunc
