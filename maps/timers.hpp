// bpf_timer: timers in map values, and the wheel of a Vm on which they wait. Work that a program
// puts off (bpf_wq, bpf_task_work) is a timer that is due at once.
//
// What a program sees in its value is nothing: a timer is found by the address of its field, in a
// table of its map, so that whoever overwrites values forges no timer. A timer is cancelled by its
// value's end (deletion, eviction, replacement, the map's end), and fires nothing once its program
// is gone. Nothing here runs by itself: the host asks the wheel for what is due.
//
// Locks nest in this order: the map's table, a timer, a wheel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include <skep/map.hpp>

namespace skep {

class TimerWheel;

// A function of a loaded program: the program's number within its Vm and the function's first slot.
struct TimerCallback {
    uint32_t program = 0;
    uint32_t slot = 0;
};

// When a timer is due, and which of those that are due at the same time was started first.
struct TimerPlace {
    uint64_t time = 0;  // nanoseconds of the Vm's monotonic clock
    uint64_t order = 0;
    auto operator<=>(const TimerPlace&) const = default;
};

class Timer : public std::enable_shared_from_this<Timer> {
public:
    // clock: CLOCK_MONOTONIC, CLOCK_REALTIME or CLOCK_BOOTTIME, which `time` of an absolute start
    // is on.
    Timer(std::weak_ptr<Map> map, std::byte* value, uint32_t clock)
        : map_(std::move(map)), value_(value), clock_(clock) {}

    uint32_t clock() const noexcept { return clock_; }
    void set_callback(TimerCallback callback) noexcept;
    // -EINVAL without a callback. A timer that waits already waits anew.
    long start(const std::shared_ptr<TimerWheel>& wheel, uint64_t time);
    // Whether it was waiting; forgets the callback, as Linux does.
    bool cancel() noexcept;
    // Its value is gone: never fires again.
    void retire() noexcept;
    bool retired() const noexcept;
    bool waiting() const noexcept;

    struct Firing {
        TimerCallback callback;
        std::shared_ptr<Map> map;
        std::byte* value = nullptr;
    };
    // The wheel took it from `place`. Nothing if it was cancelled or started anew meanwhile.
    std::optional<Firing> fire(const TimerPlace& place) noexcept;

private:
    void leave_wheel() noexcept;

    const std::weak_ptr<Map> map_;
    std::byte* const value_;
    const uint32_t clock_;
    mutable std::mutex mutex_;
    std::optional<TimerCallback> callback_;
    std::weak_ptr<TimerWheel> wheel_;  // of the last start
    std::optional<TimerPlace> place_;  // there, while it waits
    bool retired_ = false;
};

// Timers that wait, of all maps that a Vm's programs use.
class TimerWheel : public std::enable_shared_from_this<TimerWheel> {
public:
    TimerPlace add(std::shared_ptr<Timer> timer, uint64_t time);
    void remove(const TimerPlace& place) noexcept;
    // When the next one is due.
    std::optional<uint64_t> next() const noexcept;
    // Orders from here on belong to timers that are started later.
    uint64_t next_order() const noexcept;

    struct Due {
        TimerPlace place;
        std::shared_ptr<Timer> timer;  // null: nothing is due
    };
    // Takes the first that is due at `now` and was started before `order`.
    Due take(uint64_t now, uint64_t order) noexcept;

private:
    mutable std::mutex mutex_;
    std::map<TimerPlace, std::shared_ptr<Timer>> waiting_;
    uint64_t order_ = 0;
};

// The timers of one map's values, by their fields' addresses.
class MapTimers {
public:
    explicit MapTimers(const MapDef& def);
    ~MapTimers();
    MapTimers(const MapTimers&) = delete;
    MapTimers& operator=(const MapTimers&) = delete;

    // Makes the timer at `offset` in `value`. 0, -EBUSY if there is one, -ENOMEM.
    long init(Map& map, std::byte* value, uint32_t offset, uint32_t clock) noexcept;
    std::shared_ptr<Timer> find(const std::byte* field) const noexcept;
    // The value has ended, or begins.
    void forget(const std::byte* value) noexcept;

private:
    mutable std::mutex mutex_;
    std::vector<uint32_t> offsets_;
    std::unordered_map<const std::byte*, std::shared_ptr<Timer>> timers_;
    std::atomic<size_t> count_{0};  // so that maps without timers in use pay nothing
};

}  // namespace skep
