// Time, randomness and identity: what the Vm's services say, or the operating system.
#include <cstring>

#include <skep/services.hpp>

#include "helpers/impl.hpp"
#include "vm/base/os.hpp"

namespace skep::helper {

namespace {

Services::Task current_task(const HelperEnv& env) {
    return env.services != nullptr && env.services->task ? env.services->task() : Services::Task{};
}

uint64_t clock(const HelperEnv& env, std::function<uint64_t()> Services::* injected,
               uint64_t (*real)() noexcept) {
    if (env.services != nullptr && env.services->*injected) return (env.services->*injected)();
    return real();
}

}  // namespace

uint64_t ktime_get_ns(HelperEnv& env) noexcept {
    return clock(env, &Services::ktime_ns, &os::monotonic_ns);
}
uint64_t ktime_get_boot_ns(HelperEnv& env) noexcept {
    return clock(env, &Services::boot_ns, &os::boot_ns);
}
uint64_t ktime_get_coarse_ns(HelperEnv& env) noexcept {
    return clock(env, &Services::coarse_ns, &os::monotonic_coarse_ns);
}
uint64_t ktime_get_tai_ns(HelperEnv& env) noexcept {
    return clock(env, &Services::tai_ns, &os::tai_ns);
}

// Linux's jiffies start five minutes before they wrap in 32 bits; here they start at zero, at the
// 250 per second that Debian's kernels have.
uint64_t jiffies64(HelperEnv& env) noexcept {
    constexpr uint64_t kTickNs = 4'000'000;
    return ktime_get_ns(env) / kTickNs;
}

uint32_t get_prandom_u32(HelperEnv& env) noexcept {
    if (env.services != nullptr && env.services->random) {
        return static_cast<uint32_t>(env.services->random());
    }
    uint32_t value = 0;
    os::random_bytes(std::as_writable_bytes(std::span(&value, 1)));
    return value;
}

uint32_t get_smp_processor_id(HelperEnv& env) noexcept {
    if (env.services != nullptr && env.services->cpu >= 0) {
        return static_cast<uint32_t>(env.services->cpu);
    }
    return env.cpu;
}

int64_t get_numa_node_id(HelperEnv&) noexcept { return 0; }

uint64_t get_current_pid_tgid(HelperEnv& env) noexcept {
    const Services::Task task = current_task(env);
    return uint64_t{task.tgid} << 32 | task.pid;
}

uint64_t get_current_uid_gid(HelperEnv& env) noexcept {
    const Services::Task task = current_task(env);
    return uint64_t{task.gid} << 32 | task.uid;
}

// Always NUL-terminated, the rest zeroed.
int64_t get_current_comm(HelperEnv& env, WriteMem out) noexcept {
    const Services::Task task = current_task(env);
    std::memset(out.data, 0, out.size);
    const size_t length = strnlen(task.comm, sizeof(task.comm));
    const size_t kept = length < out.size ? length : out.size - 1;
    std::memcpy(out.data, task.comm, kept);
    return 0;
}

}  // namespace skep::helper
