// Work that programs put off: bpf_wq and bpf_task_work in map values. Both are timers that are due
// at once (maps/timers.hpp): the callback runs when the host asks the Vm for what is due, after the
// run that asked for it.
#include <ctime>

#include "helpers/impl.hpp"
#include "helpers/kfunc_impl.hpp"
#include "maps/table.hpp"
#include "maps/timers.hpp"
#include "maps/value_objects.hpp"

namespace skep::kfunc {

namespace {

using helper::kEbusy;
using helper::kEinval;
using helper::kEnomem;
using helper::kEopnotsupp;

// The field's value and map; nothing (and a trap) where there is no such field.
std::optional<ValueObject> owner(HelperEnv& env, TimerArg field, FieldKind kind) noexcept {
    const auto object = find_value_object(env.maps, field.field, kind);
    if (!object || object->map->timers() == nullptr) {
        env.fail(TrapCode::BadArgument);
        return std::nullopt;
    }
    return object;
}

int32_t init(const ValueObject& object, const Map* map) noexcept {
    if (object.map != map) return kEinval;
    return static_cast<int32_t>(
        object.map->timers()->init(*object.map, object.value, object.offset, CLOCK_MONOTONIC));
}

void set_callback(Timer& timer, const Callable& target) noexcept {
    const uint64_t place = target.place();
    timer.set_callback({static_cast<uint32_t>(place >> 32), static_cast<uint32_t>(place)});
}

int32_t start(HelperEnv& env, Timer& timer) noexcept {
    if (env.timers == nullptr) return kEopnotsupp;
    try {
        return static_cast<int32_t>(
            timer.start(env.timers->shared_from_this(), helper::ktime_get_ns(env)));
    } catch (const std::bad_alloc&) {
        return kEnomem;
    }
}

// One call does it all; work that waits already is not asked for again.
int32_t schedule(HelperEnv& env, uint64_t task, TimerArg field, Map* map,
                 const Callable* callback) noexcept {
    const auto object = owner(env, field, FieldKind::TaskWork);
    if (!object || task == 0) return kEinval;
    const int32_t made = init(*object, map);
    if (made != 0 && made != kEbusy) return made;
    const auto timer = object->map->timers()->find(field.field);
    if (timer == nullptr) return kEinval;
    if (timer->waiting()) return kEbusy;
    set_callback(*timer, *callback);
    return start(env, *timer);
}

}  // namespace

int32_t bpf_wq_init(HelperEnv& env, TimerArg wq, MapArg map, uint32_t flags) noexcept {
    if (flags != 0) return kEinval;
    const auto object = owner(env, wq, FieldKind::Workqueue);
    return object ? init(*object, map.map) : 0;
}
int32_t bpf_wq_set_callback_impl(HelperEnv& env, TimerArg wq,
                                 Callback<CallbackKind::Workqueue> callback,
                                 uint32_t flags) noexcept {
    if (flags != 0) return kEinval;
    const auto object = owner(env, wq, FieldKind::Workqueue);
    const auto timer = object ? object->map->timers()->find(wq.field) : nullptr;
    if (timer == nullptr) return kEinval;
    set_callback(*timer, *callback.target);
    return 0;
}
int32_t bpf_wq_start(HelperEnv& env, TimerArg wq, uint32_t flags) noexcept {
    if (flags != 0) return kEinval;
    const auto object = owner(env, wq, FieldKind::Workqueue);
    const auto timer = object ? object->map->timers()->find(wq.field) : nullptr;
    return timer != nullptr ? start(env, *timer) : static_cast<int32_t>(kEinval);
}

int32_t bpf_task_work_schedule_signal_impl(HelperEnv& env, uint64_t task, TimerArg work, MapArg map,
                                           Callback<CallbackKind::Workqueue> callback) noexcept {
    return schedule(env, task, work, map.map, callback.target);
}
int32_t bpf_task_work_schedule_resume_impl(HelperEnv& env, uint64_t task, TimerArg work, MapArg map,
                                           Callback<CallbackKind::Workqueue> callback) noexcept {
    return schedule(env, task, work, map.map, callback.target);
}

}  // namespace skep::kfunc
