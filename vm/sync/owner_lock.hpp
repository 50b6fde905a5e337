// A lock for what belongs to one CPU slot and others touch rarely: the thread that holds the slot
// takes it with two plain stores and a load; strangers pay with a fence in every thread.
//
// The owner says that it is inside and then looks whether a stranger asked to come in; the stranger
// asks, makes every thread pass a fence (vm/sync/slots.hpp), and then looks whether the owner is
// inside. One of them sees the other. After Dekker, and Dice, Huang and Yang, "Asymmetric Dekker
// Synchronization", 2001.
#pragma once

#include <atomic>
#include <cstdint>

#include "vm/sync/slots.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep::sync {

class OwnerLock {
public:
    // By the owner. True: leave_fast() ends it; false: leave_slow().
    bool enter() noexcept {
        inside_.store(1, std::memory_order_relaxed);
        reader_fence();
        if (asked_.load(std::memory_order_acquire) == 0) [[likely]] {
            return true;
        }
        inside_.store(0, std::memory_order_release);
        lock_.lock();
        return false;
    }
    void leave_fast() noexcept { inside_.store(0, std::memory_order_release); }
    void leave_slow() noexcept { lock_.unlock(); }

    // By anybody else.
    void lock() noexcept {
        lock_.lock();
        asked_.store(1, std::memory_order_seq_cst);
        reclaimer_fence();
        Backoff backoff;
        while (inside_.load(std::memory_order_acquire) != 0) backoff.wait();
    }
    void unlock() noexcept {
        asked_.store(0, std::memory_order_release);
        lock_.unlock();
    }

private:
    SpinLock lock_;  // strangers among each other, and the owner while a stranger is inside
    std::atomic<uint32_t> asked_{0};
    std::atomic<uint32_t> inside_{0};
};

}  // namespace skep::sync
