// What the public header offers to helpers of the host's.
#include <skep/helper.hpp>

#include "helpers/env.hpp"

namespace skep {

void* helper_user(HelperEnv& env) noexcept { return env.user; }
unsigned helper_cpu(HelperEnv& env) noexcept { return env.cpu; }
bool helper_charge(HelperEnv& env, uint64_t units) noexcept { return env.charge(units); }
void helper_fail(HelperEnv& env, TrapCode code) noexcept { env.fail(code); }

}  // namespace skep
