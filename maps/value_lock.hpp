// The locks behind bpf_spin_lock fields and BPF_F_LOCK.
//
// What a program sees in a value is not the lock: it could write it. The lock of a value is found
// by the value's address in a small table of the map's own, so that two values may share one; a run
// holds at most one at a time, as in Linux, and asking twice is an error, not a deadlock.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>

#include <skep/map.hpp>

#include "vm/sync/slots.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {

class ValueLocks {
public:
    // 0; -EBUSY: somebody else holds it; -EDEADLK: this CPU does. Threads without a slot pass
    // slot_count().
    long try_lock(const std::byte* value, unsigned cpu) noexcept {
        const uint32_t self = cpu + 1;
        uint32_t seen = 0;
        if (of(value).owner.compare_exchange_strong(seen, self, std::memory_order_acquire))
            return 0;
        return seen == self && cpu < sync::slot_count() ? -EDEADLK : -EBUSY;
    }
    // Waits. 0 or -EDEADLK.
    long lock(const std::byte* value, unsigned cpu) noexcept {
        sync::Backoff backoff;
        long result = try_lock(value, cpu);
        for (; result == -EBUSY; result = try_lock(value, cpu)) backoff.wait();
        return result;
    }
    // Only who locked it unlocks it. False: this CPU does not hold it.
    bool unlock(const std::byte* value, unsigned cpu) noexcept {
        return unlock_stripe(stripe_of(value), cpu);
    }

    // Which lock it is, for who unlocks later.
    static uint32_t stripe_of(const std::byte* value) noexcept {
        return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(value) / 8 * 0x9e3779b97f4a7c15 >>
                                     58);
    }
    bool unlock_stripe(uint32_t stripe, unsigned cpu) noexcept {
        uint32_t self = cpu + 1;
        return stripe < kStripes &&
               stripes_[stripe].owner.compare_exchange_strong(self, 0, std::memory_order_release);
    }

private:
    static constexpr unsigned kStripes = 64;
    struct alignas(64) Stripe {
        std::atomic<uint32_t> owner{0};  // CPU slot plus 1
    };
    Stripe& of(const std::byte* value) noexcept { return stripes_[stripe_of(value)]; }

    std::array<Stripe, kStripes> stripes_;
};

// The locks of the map that owns a value with a bpf_spin_lock; null if its values have none.
ValueLocks* value_locks(Map& map) noexcept;

}  // namespace skep
