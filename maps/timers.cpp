#include "maps/timers.hpp"

#include <cerrno>
#include <new>
#include <utility>

#include "vm/btf/special_fields.hpp"

namespace skep {

void Timer::set_callback(TimerCallback callback) noexcept {
    const std::scoped_lock lock(mutex_);
    callback_ = callback;
}

long Timer::start(const std::shared_ptr<TimerWheel>& wheel, uint64_t time) {
    const std::scoped_lock lock(mutex_);
    if (!callback_ || retired_) return -EINVAL;
    leave_wheel();
    place_ = wheel->add(shared_from_this(), time);
    wheel_ = wheel;
    return 0;
}

bool Timer::cancel() noexcept {
    const std::scoped_lock lock(mutex_);
    const bool waited = place_.has_value();
    leave_wheel();
    callback_.reset();
    return waited;
}

void Timer::retire() noexcept {
    const std::scoped_lock lock(mutex_);
    leave_wheel();
    callback_.reset();
    retired_ = true;
}

bool Timer::retired() const noexcept {
    const std::scoped_lock lock(mutex_);
    return retired_;
}

bool Timer::waiting() const noexcept {
    const std::scoped_lock lock(mutex_);
    return place_.has_value();
}

std::optional<Timer::Firing> Timer::fire(const TimerPlace& place) noexcept {
    const std::scoped_lock lock(mutex_);
    if (place_ != place || !callback_) return std::nullopt;
    place_.reset();
    auto map = map_.lock();
    if (map == nullptr) return std::nullopt;
    return Firing{*callback_, std::move(map), value_};
}

void Timer::leave_wheel() noexcept {
    if (!place_) return;
    if (const auto wheel = wheel_.lock()) wheel->remove(*place_);
    place_.reset();
}

TimerPlace TimerWheel::add(std::shared_ptr<Timer> timer, uint64_t time) {
    const std::scoped_lock lock(mutex_);
    const TimerPlace place{time, order_};
    waiting_.emplace(place, std::move(timer));
    ++order_;
    return place;
}

void TimerWheel::remove(const TimerPlace& place) noexcept {
    std::shared_ptr<Timer> last;  // whose end may be here, outlives the lock
    const std::scoped_lock lock(mutex_);
    const auto found = waiting_.find(place);
    if (found == waiting_.end()) return;
    last = std::move(found->second);
    waiting_.erase(found);
}

std::optional<uint64_t> TimerWheel::next() const noexcept {
    const std::scoped_lock lock(mutex_);
    if (waiting_.empty()) return std::nullopt;
    return waiting_.begin()->first.time;
}

uint64_t TimerWheel::next_order() const noexcept {
    const std::scoped_lock lock(mutex_);
    return order_;
}

TimerWheel::Due TimerWheel::take(uint64_t now, uint64_t order) noexcept {
    const std::scoped_lock lock(mutex_);
    for (auto it = waiting_.begin(); it != waiting_.end() && it->first.time <= now; ++it) {
        if (it->first.order >= order) continue;
        Due due{it->first, std::move(it->second)};
        waiting_.erase(it);
        return due;
    }
    return {};
}

MapTimers::MapTimers(const MapDef& def) {
    for (const SpecialField& field : def.fields) {
        if (is_timer(field.kind)) offsets_.push_back(field.offset);
    }
}

MapTimers::~MapTimers() {
    for (const auto& [field, timer] : timers_) timer->retire();
}

long MapTimers::init(Map& map, std::byte* value, uint32_t offset, uint32_t clock) noexcept {
    try {
        const std::scoped_lock lock(mutex_);
        std::shared_ptr<Timer>& entry = timers_[value + offset];
        if (entry != nullptr) return -EBUSY;
        try {
            entry = std::make_shared<Timer>(map.weak_from_this(), value, clock);
        } catch (const std::bad_alloc&) {
            timers_.erase(value + offset);
            return -ENOMEM;
        }
        count_.store(timers_.size(), std::memory_order_release);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    return 0;
}

std::shared_ptr<Timer> MapTimers::find(const std::byte* field) const noexcept {
    const std::scoped_lock lock(mutex_);
    const auto found = timers_.find(field);
    return found != timers_.end() ? found->second : nullptr;
}

void MapTimers::forget(const std::byte* value) noexcept {
    if (count_.load(std::memory_order_acquire) == 0) return;
    for (const uint32_t offset : offsets_) {
        std::shared_ptr<Timer> timer;
        {
            const std::scoped_lock lock(mutex_);
            const auto found = timers_.find(value + offset);
            if (found == timers_.end()) continue;
            timer = std::move(found->second);
            timers_.erase(found);
            count_.store(timers_.size(), std::memory_order_release);
        }
        timer->retire();
    }
}

}  // namespace skep
