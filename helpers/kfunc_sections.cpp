// Sections that a program opens and closes. A run is inside an epoch all the time, on a thread that
// the host schedules: nothing is to be done, but what is written is what Linux writes.
#include <cstring>

#include "helpers/kfunc_impl.hpp"

namespace skep::kfunc {

void rcu_read_lock(HelperEnv&) noexcept {}
void rcu_read_unlock(HelperEnv&) noexcept {}
void preempt_disable(HelperEnv&) noexcept {}
void preempt_enable(HelperEnv&) noexcept {}

void local_irq_save(HelperEnv&, StackObject<8> flags) noexcept { std::memset(flags.data, 0, 8); }
void local_irq_restore(HelperEnv&, StackObject<8>) noexcept {}

}  // namespace skep::kfunc
