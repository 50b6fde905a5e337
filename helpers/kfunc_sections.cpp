// Sections that a program opens and closes. A run is inside an epoch all the time, on a thread that
// the host schedules: nothing is to be done, but what is written is what Linux writes.
#include <cstring>

#include "helpers/kfunc_impl.hpp"

namespace skep::kfunc {

void bpf_rcu_read_lock(HelperEnv&) noexcept {}
void bpf_rcu_read_unlock(HelperEnv&) noexcept {}
void bpf_preempt_disable(HelperEnv&) noexcept {}
void bpf_preempt_enable(HelperEnv&) noexcept {}

void bpf_local_irq_save(HelperEnv&, StackObject<8> flags) noexcept {
    std::memset(flags.data, 0, 8);
}
void bpf_local_irq_restore(HelperEnv&, StackObject<8>) noexcept {}

// The same address, as another type.
uint64_t bpf_rdonly_cast(HelperEnv&, uint64_t object, uint32_t) noexcept { return object; }

// The run ends here; run_program() takes the cookie to the exception callback.
void bpf_throw(HelperEnv& env, uint64_t cookie) noexcept {
    env.thrown = cookie;
    env.fail(TrapCode::Thrown);
}

}  // namespace skep::kfunc
