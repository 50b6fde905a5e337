// bpf_timer in map values: see maps/timers.hpp for where the timers live.
#include <ctime>

#include "helpers/impl.hpp"
#include "maps/table.hpp"
#include "maps/timers.hpp"
#include "maps/value_objects.hpp"
#include "vm/base/os.hpp"

namespace skep::helper {

namespace {

constexpr uint64_t kAbsolute = 1, kPinned = 2;  // BPF_F_TIMER_*
constexpr int64_t kEdeadlk = -35;

// The field's value and map; nothing (and a trap) where there is no bpf_timer. A verified program
// gets here with nothing else.
std::optional<ValueObject> owner(HelperEnv& env, TimerArg timer) noexcept {
    const auto object = find_value_object(env.maps, timer.field, FieldKind::Timer);
    if (!object || object->map->timers() == nullptr) {
        env.fail(TrapCode::BadArgument);
        return std::nullopt;
    }
    return object;
}

std::shared_ptr<Timer> find(HelperEnv& env, TimerArg timer) noexcept {
    const auto object = owner(env, timer);
    return object ? object->map->timers()->find(timer.field) : nullptr;
}

// Now on one of the clocks that a timer may have.
uint64_t now(HelperEnv& env, uint32_t clock) noexcept {
    switch (clock) {
        case CLOCK_REALTIME: return ktime_get_tai_ns(env);  // which Linux keeps no different
        case CLOCK_BOOTTIME: return ktime_get_boot_ns(env);
        default: return ktime_get_ns(env);
    }
}

uint64_t add_saturating(uint64_t a, uint64_t b) noexcept {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

}  // namespace

int64_t timer_init(HelperEnv& env, TimerArg timer, MapArg map, uint64_t flags) noexcept {
    if (flags != CLOCK_MONOTONIC && flags != CLOCK_REALTIME && flags != CLOCK_BOOTTIME) {
        return kEinval;
    }
    const auto object = owner(env, timer);
    if (!object) return 0;
    if (object->map != map.map) return kEinval;
    return object->map->timers()->init(*object->map, object->value, object->offset,
                                       static_cast<uint32_t>(flags));
}

int64_t timer_set_callback(HelperEnv& env, TimerArg timer,
                           Callback<CallbackKind::Timer> callback) noexcept {
    const auto found = find(env, timer);
    if (found == nullptr) return kEinval;
    const uint64_t place = callback.target->place();
    found->set_callback({static_cast<uint32_t>(place >> 32), static_cast<uint32_t>(place)});
    return 0;
}

int64_t timer_start(HelperEnv& env, TimerArg timer, uint64_t nanoseconds, uint64_t flags) noexcept {
    if ((flags & ~(kAbsolute | kPinned)) != 0) return kEinval;
    const auto found = find(env, timer);
    if (found == nullptr) return kEinval;
    if (env.timers == nullptr) return kEopnotsupp;
    uint64_t wait = nanoseconds;
    if ((flags & kAbsolute) != 0) {
        const uint64_t there = now(env, found->clock());
        wait = nanoseconds > there ? nanoseconds - there : 0;
    }
    try {
        return found->start(env.timers->shared_from_this(),
                            add_saturating(ktime_get_ns(env), wait));
    } catch (const std::bad_alloc&) {
        return kEnomem;
    }
}

int64_t timer_cancel(HelperEnv& env, TimerArg timer) noexcept {
    const auto found = find(env, timer);
    if (found == nullptr) return kEinval;
    if (env.firing == found.get()) return kEdeadlk;
    return found->cancel() ? 1 : 0;
}

}  // namespace skep::helper
