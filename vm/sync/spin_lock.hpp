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
        constexpr unsigned kSpins = 128, kYields = 8;
        for (unsigned i = 0; i < kSpins; ++i) {
            pause();
            if (try_lock()) return;
        }
        for (unsigned i = 0; i < kYields; ++i) {
            std::this_thread::yield();
            if (try_lock()) return;
        }
        std::chrono::microseconds nap{20};
        while (!try_lock()) {
            std::this_thread::sleep_for(nap);
            if (nap.count() < 1000) nap *= 2;
        }
    }

    std::atomic<uint32_t> word_{0};
};

}  // namespace skep::sync
