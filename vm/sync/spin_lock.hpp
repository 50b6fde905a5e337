// A four-byte lock for critical sections of some tens of nanoseconds.
//
// Unlocking is a plain store, so an uncontended pair costs one read-modify-write. Who waits spins a
// bounded while, then sleeps in growing steps: a holder that lost its CPU costs the others no more
// than a millisecond of delay and no processor time.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

namespace skep::sync {

inline void pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// What who waits for a short while does next: spins, then yields, then sleeps in growing steps.
class Backoff {
public:
    void wait() noexcept {
        if (round_ < kSpins) {
            ++round_;
            return pause();
        }
        if (round_ < kSpins + kYields) {
            ++round_;
            return std::this_thread::yield();
        }
        std::this_thread::sleep_for(nap_);
        if (nap_.count() < 1000) nap_ *= 2;
    }

private:
    static constexpr unsigned kSpins = 128, kYields = 8;
    unsigned round_ = 0;
    std::chrono::microseconds nap_{20};
};

class SpinLock {
public:
    bool try_lock() noexcept {
        return word_.load(std::memory_order_relaxed) == 0 &&
               word_.exchange(1, std::memory_order_acquire) == 0;
    }
    void lock() noexcept {
        if (word_.exchange(1, std::memory_order_acquire) != 0) [[unlikely]] {
            wait();
        }
    }
    void unlock() noexcept { word_.store(0, std::memory_order_release); }

private:
    [[gnu::noinline]] void wait() noexcept {
        Backoff backoff;
        do {
            backoff.wait();
        } while (!try_lock());
    }

    std::atomic<uint32_t> word_{0};
};

}  // namespace skep::sync
