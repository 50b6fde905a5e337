// Kernel functions on tasks and cgroups, and the iterators over them. What there is, is synthetic:
// the current task, its leader and parent, the root cgroup and the current one (kernel_world.hpp).
//
// References are entries of the run's ledger; nothing frees such objects. The states of iterators
// lie on the program's stack: a sandboxed program may write there what it likes, so each call takes
// them as they are.
#include <algorithm>
#include <cstring>

#include <skep/services.hpp>

#include "helpers/impl.hpp"
#include "helpers/kernel_world.hpp"
#include "helpers/kfunc_impl.hpp"
#include "helpers/objects.hpp"
#include "helpers/readable.hpp"

namespace skep::kfunc {

namespace {

using helper::kEinval;

constexpr int32_t kEnodata = -61, kEperm = -1;
constexpr uint64_t kRootCgroup = 1;

template <class T>
T load(const std::byte* at) noexcept {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}
template <class T>
void store(std::byte* at, const T& value) noexcept {
    std::memcpy(at, &value, sizeof value);
}

// A number in a kernel object; 0 where it cannot be read.
uint64_t member(const HelperEnv& env, uint64_t object, std::optional<uint32_t> offset,
                unsigned size) noexcept {
    uint64_t value = 0;
    if (object != 0 && offset)
        read_bytes(env, object + *offset, reinterpret_cast<std::byte*>(&value), size);
    return value;
}

std::byte* opaque(uint64_t address) noexcept {
    return reinterpret_cast<std::byte*>(static_cast<uintptr_t>(address));
}
uint64_t acquired(HelperEnv& env, uint64_t object) noexcept {
    return is_kernel_address(object) && objects::hold(env, opaque(object)) ? object : 0;
}
void released(HelperEnv& env, uint64_t object) noexcept {
    if (!objects::give_up(env, opaque(object))) objects::refused(env);
}

struct Tasks {
    uint64_t list[3] = {};
    uint32_t count = 0;
};
uint32_t pid_of(const HelperEnv& env, uint64_t task) noexcept {
    return static_cast<uint32_t>(member(env, task, env.world->offsets().task_pid, 4));
}
uint32_t tgid_of(const HelperEnv& env, uint64_t task) noexcept {
    return static_cast<uint32_t>(member(env, task, env.world->offsets().task_tgid, 4));
}
// Every task once, in the order of their numbers' age: the parent, the leader, the current one.
// Tasks with one number are one task, and the current one stands for it.
Tasks all_tasks(HelperEnv& env) noexcept {
    Tasks tasks;
    const uint64_t current = helper::get_current_task(env);
    if (current == 0 || env.world == nullptr) return tasks;
    uint64_t known[3] = {};
    if (env.enter_world()) std::ranges::copy(env.world->tasks(), known);
    known[2] = current;
    for (uint32_t i = 0; i < 3; ++i) {
        const bool again = std::any_of(known + i + 1, known + 3, [&](uint64_t later) {
            return pid_of(env, later) == pid_of(env, known[i]);
        });
        if (known[i] != 0 && !again) tasks.list[tasks.count++] = known[i];
    }
    return tasks;
}

uint64_t task_of(HelperEnv& env, int32_t pid) noexcept {
    if (pid <= 0) return 0;
    const Tasks tasks = all_tasks(env);
    for (uint32_t i = 0; i < tasks.count; ++i)
        if (pid_of(env, tasks.list[i]) == static_cast<uint32_t>(pid))
            return acquired(env, tasks.list[i]);
    return 0;
}

uint64_t current_cgroup(const HelperEnv& env) noexcept {
    const uint64_t id = env.services != nullptr ? env.services->cgroup_id : kRootCgroup;
    return id == kRootCgroup ? env.world->root_cgroup() : env.world->own_cgroup();
}
// The synthetic tasks are all in the current cgroup.
bool is_task(HelperEnv& env, uint64_t task) noexcept {
    const Tasks tasks = all_tasks(env);
    return std::find(tasks.list, tasks.list + tasks.count, task) != tasks.list + tasks.count;
}

}  // namespace

// --- references
// -----------------------------------------------------------------------------------

uint64_t bpf_task_acquire(HelperEnv& env, uint64_t task) noexcept { return acquired(env, task); }
void bpf_task_release(HelperEnv& env, uint64_t task) noexcept { released(env, task); }
uint64_t bpf_task_from_pid(HelperEnv& env, int32_t pid) noexcept { return task_of(env, pid); }
uint64_t bpf_task_from_vpid(HelperEnv& env, int32_t pid) noexcept { return task_of(env, pid); }

uint64_t bpf_cgroup_acquire(HelperEnv& env, uint64_t cgroup) noexcept {
    return acquired(env, cgroup);
}
void bpf_cgroup_release(HelperEnv& env, uint64_t cgroup) noexcept { released(env, cgroup); }

uint64_t bpf_cgroup_from_id(HelperEnv& env, uint64_t id) noexcept {
    if (env.world == nullptr) return 0;
    if (id == kRootCgroup) return acquired(env, env.world->root_cgroup());
    const bool own = env.services != nullptr && env.services->cgroup_id == id;
    return own ? acquired(env, env.world->own_cgroup()) : 0;
}

uint64_t bpf_cgroup_ancestor(HelperEnv& env, uint64_t cgroup, int32_t level) noexcept {
    if (env.world == nullptr || cgroup == 0) return 0;
    const auto own =
        static_cast<int32_t>(member(env, cgroup, env.world->offsets().cgroup_level, 4));
    if (level < 0 || level > own) return 0;
    if (level == own) return acquired(env, cgroup);
    return level == 0 ? acquired(env, env.world->root_cgroup()) : 0;
}

// Hierarchies of the first version of cgroups are not there.
uint64_t bpf_task_get_cgroup1(HelperEnv&, uint64_t, int32_t) noexcept { return 0; }

int64_t bpf_task_under_cgroup(HelperEnv& env, uint64_t task, uint64_t ancestor) noexcept {
    if (env.world == nullptr || ancestor == 0 || !is_task(env, task)) return 0;
    return ancestor == env.world->root_cgroup() || ancestor == current_cgroup(env);
}

int32_t bpf_send_signal_task(HelperEnv& env, uint64_t task, int32_t signal, uint32_t type,
                             uint64_t) noexcept {
    constexpr uint32_t kThread = 0, kProcess = 1;  // enum pid_type
    if (type != kThread && type != kProcess) return kEinval;
    if (task != helper::get_current_task(env)) return kEperm;
    const auto number = static_cast<uint32_t>(signal);
    return static_cast<int32_t>(type == kThread ? helper::send_signal_thread(env, number)
                                                : helper::send_signal(env, number));
}

int32_t bpf_cgroup_read_xattr(HelperEnv&, uint64_t, ConstStr name, AnyDynptr) noexcept {
    return std::string_view(name.text).starts_with("user.") ? kEnodata : kEperm;
}

// There are no statistics to bring up to date.
void css_rstat_updated(HelperEnv&, uint64_t, int32_t) noexcept {}
void css_rstat_flush(HelperEnv&, uint64_t) noexcept {}

// --- iterators
// ------------------------------------------------------------------------------------

namespace {

// Of tasks: which they are, and how many were given.
struct TaskIterator {
    uint32_t kind = 0;  // BPF_TASK_ITER_*, plus one; 0 = nothing more
    uint32_t given = 0;
    uint64_t task = 0;  // whose threads
    uint64_t unused = 0;
};
static_assert(sizeof(TaskIterator) == 24);
constexpr uint32_t kProcesses = 0, kAllThreads = 1, kThreadsOfOne = 2;

bool iterated(const HelperEnv& env, const TaskIterator& it, uint64_t task) noexcept {
    const uint32_t tgid = tgid_of(env, task);
    switch (it.kind - 1) {
        case kProcesses: return pid_of(env, task) == tgid;
        case kAllThreads: return true;
        case kThreadsOfOne: return tgid == tgid_of(env, it.task);
        default: return false;
    }
}

struct CgroupIterator {
    uint64_t start = 0;  // struct cgroup_subsys_state
    uint32_t order = 0;  // enum bpf_cgroup_iter_order; 0 = nothing more
    uint32_t given = 0;
    uint64_t unused = 0;
};
static_assert(sizeof(CgroupIterator) == 24);
constexpr uint32_t kDescendantsFirst = 2, kAncestors = 4;

uint64_t state_of(const HelperEnv& env, uint64_t cgroup) noexcept {
    return cgroup + env.world->offsets().cgroup_self.value_or(0);
}
// The states that an iteration gives, in its order.
uint32_t cgroup_states(const HelperEnv& env, const CgroupIterator& it,
                       uint64_t (&states)[2]) noexcept {
    const uint64_t root = state_of(env, env.world->root_cgroup());
    const uint64_t own = state_of(env, env.world->own_cgroup());
    const bool nested = current_cgroup(env) != env.world->root_cgroup();
    states[0] = it.start;
    if (it.start != root && it.start != own) return it.start != 0;
    if (it.order == kAncestors) {
        states[1] = root;
        return it.start == own ? 2 : 1;
    }
    if (it.start == own || !nested) return 1;
    states[0] = it.order == kDescendantsFirst ? root : own;
    states[1] = it.order == kDescendantsFirst ? own : root;
    return 2;
}

}  // namespace

int32_t bpf_iter_task_new(HelperEnv& env, StackObject<24> state, uint64_t task,
                          uint32_t flags) noexcept {
    store(state.data, TaskIterator{});
    if (flags > kThreadsOfOne || (flags == kThreadsOfOne && task == 0) || env.world == nullptr)
        return kEinval;
    store(state.data, TaskIterator{.kind = flags + 1, .task = task});
    return 0;
}
uint64_t bpf_iter_task_next(HelperEnv& env, StackObject<24> state) noexcept {
    auto it = load<TaskIterator>(state.data);
    const Tasks tasks = all_tasks(env);
    while (it.given < tasks.count) {
        const uint64_t task = tasks.list[it.given++];
        if (!iterated(env, it, task)) continue;
        store(state.data, it);
        return task;
    }
    store(state.data, TaskIterator{});
    return 0;
}
void bpf_iter_task_destroy(HelperEnv&, StackObject<24> state) noexcept {
    store(state.data, TaskIterator{});
}

int32_t bpf_iter_css_new(HelperEnv& env, StackObject<24> state, uint64_t start,
                         uint32_t flags) noexcept {
    store(state.data, CgroupIterator{});
    if (flags < kDescendantsFirst || flags > kAncestors || env.world == nullptr) return kEinval;
    store(state.data, CgroupIterator{.start = start, .order = flags});
    return 0;
}
uint64_t bpf_iter_css_next(HelperEnv& env, StackObject<24> state) noexcept {
    auto it = load<CgroupIterator>(state.data);
    uint64_t states[2] = {};
    const uint32_t count =
        it.order == 0 || env.world == nullptr ? 0 : cgroup_states(env, it, states);
    if (it.given >= count) {
        store(state.data, CgroupIterator{});
        return 0;
    }
    const uint64_t found = states[it.given++];
    store(state.data, it);
    return found;
}
void bpf_iter_css_destroy(HelperEnv&, StackObject<24> state) noexcept {
    store(state.data, CgroupIterator{});
}

namespace {

// Of the tasks of a cgroup: one plus how many were given, 0 = nothing more.
struct MemberIterator {
    uint32_t next = 0;
    uint32_t processes = 0;  // leaders only
};
static_assert(sizeof(MemberIterator) == 8);

}  // namespace

int32_t bpf_iter_css_task_new(HelperEnv& env, StackObject<8> state, uint64_t start,
                              uint32_t flags) noexcept {
    constexpr uint32_t kLeaders = 1, kThreaded = 2;  // CSS_TASK_ITER_*
    store(state.data, MemberIterator{});
    if ((flags & ~(kLeaders | kThreaded)) != 0 || flags == kThreaded) return kEinval;
    if (env.world == nullptr || start != state_of(env, current_cgroup(env))) return 0;
    store(state.data, MemberIterator{1, flags & kLeaders});
    return 0;
}
uint64_t bpf_iter_css_task_next(HelperEnv& env, StackObject<8> state) noexcept {
    auto it = load<MemberIterator>(state.data);
    const Tasks tasks = it.next == 0 ? Tasks{} : all_tasks(env);
    while (it.next != 0 && it.next - 1 < tasks.count) {
        const uint64_t task = tasks.list[it.next++ - 1];
        if (it.processes != 0 && pid_of(env, task) != tgid_of(env, task)) continue;
        store(state.data, it);
        return task;
    }
    store(state.data, MemberIterator{});
    return 0;
}
void bpf_iter_css_task_destroy(HelperEnv&, StackObject<8> state) noexcept {
    store(state.data, MemberIterator{});
}

// Mappings of the current task: what the host published below the kernel's half, in order. The
// state is where the next one starts at the earliest, plus one.
int32_t bpf_iter_task_vma_new(HelperEnv& env, StackObject<8> state, uint64_t task,
                              uint64_t address) noexcept {
    const bool known = task != 0 && task == helper::get_current_task(env);
    store(state.data, known && !is_kernel_address(address) ? address + 1 : uint64_t{0});
    return 0;
}
uint64_t bpf_iter_task_vma_next(HelperEnv& env, StackObject<8> state) noexcept {
    const auto at = load<uint64_t>(state.data);
    store(state.data, uint64_t{0});
    if (at == 0 || env.services == nullptr) return 0;
    for (const Services::Range& range : env.services->published) {
        if (is_kernel_address(range.address) || range.size == 0) continue;
        const uint64_t end = range.address + range.size;
        if (end <= at - 1) continue;
        store(state.data, end + 1);
        return helper::show_mapping(env, range.address, end);
    }
    return 0;
}
void bpf_iter_task_vma_destroy(HelperEnv&, StackObject<8> state) noexcept {
    store(state.data, uint64_t{0});
}

// Slabs and DMA buffers: there are none.
int32_t bpf_iter_kmem_cache_new(HelperEnv&, StackObject<8> state) noexcept {
    store(state.data, uint64_t{0});
    return 0;
}
uint64_t bpf_iter_kmem_cache_next(HelperEnv&, StackObject<8>) noexcept { return 0; }
void bpf_iter_kmem_cache_destroy(HelperEnv&, StackObject<8>) noexcept {}
int32_t bpf_iter_dmabuf_new(HelperEnv&, StackObject<8> state) noexcept {
    store(state.data, uint64_t{0});
    return 0;
}
uint64_t bpf_iter_dmabuf_next(HelperEnv&, StackObject<8>) noexcept { return 0; }
void bpf_iter_dmabuf_destroy(HelperEnv&, StackObject<8>) noexcept {}
uint64_t bpf_get_kmem_cache(HelperEnv&, uint64_t) noexcept { return 0; }

}  // namespace skep::kfunc
