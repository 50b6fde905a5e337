// The locks behind bpf_spin_lock fields and BPF_F_LOCK.
//
// What a program sees in a value is not the lock: it could write it. The lock of a value is found
// by the value's address in a small table of the map's own, so that two values may share one; a run
// holds at most one at a time, as in Linux, and asking twice is an error, not a deadlock.
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <thread>

#include <skep/map.hpp>

#include "vm/sync/slots.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {

class ValueLocks {
public:
    // 0, or -EDEADLK: this CPU holds it already. Threads without a slot pass slot_count().
    long lock(const std::byte* value, unsigned cpu) noexcept {
        std::atomic<uint32_t>& owner = of(value).owner;
        const uint32_t self = cpu + 1;
        const bool known = cpu < sync::slot_count();
        for (unsigned round = 0;; ++round) {
            uint32_t seen = 0;
            if (owner.compare_exchange_strong(seen, self, std::memory_order_acquire)) return 0;
            if (known && seen == self) return -EDEADLK;
            if (round < kSpins) {
                sync::pause();
            } else if (round < kSpins + kYields) {
                std::this_thread::yield();
            } else {
                std::this_thread::sleep_for(std::chrono::microseconds(100));
            }
        }
    }
    // Only who locked it unlocks it. False: this CPU does not hold it.
    bool unlock(const std::byte* value, unsigned cpu) noexcept {
        uint32_t self = cpu + 1;
        return of(value).owner.compare_exchange_strong(self, 0, std::memory_order_release);
    }

private:
    static constexpr unsigned kStripes = 64, kSpins = 128, kYields = 16;
    struct alignas(64) Stripe {
        std::atomic<uint32_t> owner{0};  // CPU slot plus 1
    };
    Stripe& of(const std::byte* value) noexcept {
        return stripes_[reinterpret_cast<uintptr_t>(value) / 8 * 0x9e3779b97f4a7c15 >> 58];
    }

    std::array<Stripe, kStripes> stripes_;
};

// The locks of the map that owns a value with a bpf_spin_lock; null if its values have none.
ValueLocks* value_locks(Map& map) noexcept;

}  // namespace skep
