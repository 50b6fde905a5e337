// Who runs: tasks, cgroups, signals, stacks and what a program was attached to.
#include <algorithm>
#include <cstring>

#include <skep/context.hpp>
#include <skep/map.hpp>
#include <skep/services.hpp>

#include "helpers/impl.hpp"
#include "helpers/kernel_world.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::helper {

namespace {

constexpr uint64_t kRootCgroup = 1;
constexpr size_t kMaxFrames = 127;

uint64_t cgroup_of(const HelperEnv& env) {
    return env.services != nullptr ? env.services->cgroup_id : kRootCgroup;
}

int64_t send(HelperEnv& env, uint32_t signal, bool thread) {
    constexpr uint32_t kSignals = 64;
    if (signal > kSignals) return kEinval;
    if (env.services == nullptr || !env.services->send_signal) return kEperm;
    return env.services->send_signal(signal, thread);
}

// Whether the cgroup that a slot of a cgroup array names is the current one or the root above it.
int64_t under_cgroup(HelperEnv& env, Map& map, uint32_t index) {
    if (map.def().type != MapType::CgroupArray) {
        env.fail(TrapCode::BadArgument);
        return 0;
    }
    if (index >= map.def().max_entries) return kE2big;
    uint64_t cgroup = 0;
    if (map.target(reinterpret_cast<const std::byte*>(&index), cgroup) != 0) return kEagain;
    return cgroup == kRootCgroup || cgroup == cgroup_of(env);
}

size_t stack_frames(const HelperEnv& env, std::span<uint64_t> frames, uint64_t flags) {
    constexpr uint64_t kSkipMask = 0xff, kUser = 0x100;
    if (env.services == nullptr || !env.services->stack) return 0;
    const size_t count = std::min(env.services->stack(frames, (flags & kUser) != 0), frames.size());
    const size_t skipped = std::min<size_t>(flags & kSkipMask, count);
    std::copy(frames.begin() + static_cast<ptrdiff_t>(skipped),
              frames.begin() + static_cast<ptrdiff_t>(count), frames.begin());
    return count - skipped;
}

uint64_t task_address(HelperEnv& env) {
    if (env.services != nullptr && env.services->current_task != 0)
        return env.services->current_task;
    return env.enter_world() ? env.world->task() : 0;
}

// Kernel objects are addresses that nothing here dereferences.
void* opaque(uint64_t address) { return reinterpret_cast<void*>(static_cast<uintptr_t>(address)); }

}  // namespace

uint64_t get_current_task(HelperEnv& env) noexcept { return task_address(env); }

BtfResult<ObjectKind::Task> get_current_task_btf(HelperEnv& env) noexcept {
    return {opaque(task_address(env))};
}

uint64_t get_current_cgroup_id(HelperEnv& env) noexcept { return cgroup_of(env); }

uint64_t get_current_ancestor_cgroup_id(HelperEnv& env, int32_t level) noexcept {
    if (level == 0) return kRootCgroup;
    return level == 1 && cgroup_of(env) != kRootCgroup ? cgroup_of(env) : 0;
}

uint32_t get_cgroup_classid(HelperEnv&) noexcept { return 0; }
uint32_t get_cgroup_classid(HelperEnv&, CtxArg) noexcept { return 0; }

int64_t current_task_under_cgroup(HelperEnv& env, MapArg map, uint32_t index) noexcept {
    return under_cgroup(env, *map.map, index);
}

int64_t skb_under_cgroup(HelperEnv& env, CtxArg, MapArg map, uint32_t index) noexcept {
    return under_cgroup(env, *map.map, index);
}

int64_t send_signal(HelperEnv& env, uint32_t signal) noexcept { return send(env, signal, false); }
int64_t send_signal_thread(HelperEnv& env, uint32_t signal) noexcept {
    return send(env, signal, true);
}

// There is one namespace, whose device and inode the host's programs need not know.
int64_t get_ns_current_pid_tgid(HelperEnv& env, uint64_t, uint64_t, WriteMem out) noexcept {
    std::memset(out.data, 0, out.size);
    if (out.size != 8) return kEinval;
    const uint64_t both = get_current_pid_tgid(env);
    const uint32_t info[2] = {static_cast<uint32_t>(both), static_cast<uint32_t>(both >> 32)};
    std::memcpy(out.data, info, sizeof info);
    return 0;
}

// Stacks are what the host gives; without, there is none.
int64_t get_stackid(HelperEnv& env, CtxArg, MapArg map, uint64_t flags) noexcept {
    constexpr uint64_t kKnown = 0xff | 0x100 | 0x200 | 0x400;
    if (map->def().type != MapType::StackTrace) {
        env.fail(TrapCode::BadArgument);
        return 0;
    }
    if ((flags & ~kKnown) != 0) return kEinval;
    uint64_t frames[kMaxFrames];
    const size_t count = stack_frames(env, frames, flags);
    if (count == 0) return kEfault;
    return map->store_stack({frames, count}, flags);
}

// Returns the bytes written.
int64_t get_stack(HelperEnv& env, CtxArg, WriteMemOrEmpty out, uint64_t flags) noexcept {
    constexpr uint64_t kKnown = 0xff | 0x100 | 0x800;
    std::memset(out.data, 0, out.size);
    if ((flags & ~kKnown) != 0) return kEinval;
    uint64_t frames[kMaxFrames];
    const size_t count = stack_frames(env, frames, flags);
    if (count == 0) return kEfault;
    const size_t bytes = std::min<uint64_t>(count * 8, out.size / 8 * 8);
    std::memcpy(out.data, frames, bytes);
    return static_cast<int64_t>(bytes);
}

uint64_t get_attach_cookie(HelperEnv& env, CtxArg) noexcept { return env.attach_cookie; }

// The instruction pointer of the probed registers.
uint64_t get_func_ip(HelperEnv& env, CtxArg ctx) noexcept {
    constexpr uint64_t kIpOffset = 128;
    if (env.layout != &kPtRegsCtx) return 0;
    const auto& bytes = ctx.as<BytesContext>();
    uint64_t ip = 0;
    if (bytes.size >= kIpOffset + 8) std::memcpy(&ip, bytes.data + kIpOffset, 8);
    return ip;
}

int64_t override_return(HelperEnv& env, CtxArg, uint64_t value) noexcept {
    env.retval = static_cast<int64_t>(value);
    return 0;
}

int64_t get_retval(HelperEnv& env) noexcept { return env.retval; }
int64_t set_retval(HelperEnv& env, int32_t value) noexcept {
    env.retval = value;
    return 0;
}

int64_t probe_write_user(HelperEnv&, uint64_t, ReadMem) noexcept { return kEperm; }

// Arguments of fentry and fexit programs: u64 each; fexit has the result behind them.
namespace {

bool has_result(const HelperEnv& env) {
    const auto attach = static_cast<AttachType>(env.attach_type);
    return attach == AttachType::TraceFexit || attach == AttachType::ModifyReturn;
}

uint64_t argument_count(const HelperEnv& env, const BytesContext& bytes) {
    const uint64_t words = bytes.size / 8;
    return has_result(env) && words > 0 ? words - 1 : words;
}

}  // namespace

int64_t get_func_arg_cnt(HelperEnv& env, CtxArg ctx) noexcept {
    return static_cast<int64_t>(argument_count(env, ctx.as<BytesContext>()));
}

int64_t get_func_arg(HelperEnv& env, CtxArg ctx, uint32_t index, Out<uint64_t> value) noexcept {
    const auto& bytes = ctx.as<BytesContext>();
    *value.value = 0;
    if (index >= argument_count(env, bytes)) return kEinval;
    std::memcpy(value.value, bytes.data + uint64_t{index} * 8, 8);
    return 0;
}

int64_t get_func_ret(HelperEnv& env, CtxArg ctx, Out<uint64_t> value) noexcept {
    const auto& bytes = ctx.as<BytesContext>();
    *value.value = 0;
    if (!has_result(env) || bytes.size < 8) return kEopnotsupp;
    std::memcpy(value.value, bytes.data + argument_count(env, bytes) * 8, 8);
    return 0;
}

// Hardware counters and branch records: this machine has none.
uint64_t perf_event_read(HelperEnv&, MapArg, uint64_t) noexcept {
    return static_cast<uint64_t>(kEnoent);
}
int64_t perf_event_read_value(HelperEnv&, MapArg, uint64_t, WriteMem out) noexcept {
    std::memset(out.data, 0, out.size);
    return kEnoent;
}
int64_t perf_prog_read_value(HelperEnv&, CtxArg, WriteMem out) noexcept {
    std::memset(out.data, 0, out.size);
    return kEinval;
}
int64_t read_branch_records(HelperEnv&, CtxArg, WriteMemOrNull, uint64_t) noexcept {
    return kEnoent;
}
int64_t get_branch_snapshot(HelperEnv&, WriteMemOrEmpty out, uint64_t) noexcept {
    std::memset(out.data, 0, out.size);
    return kEnoent;
}

}  // namespace skep::helper
