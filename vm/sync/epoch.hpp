// Deferred reuse: memory that a run may still see is not handed out again before that run ends.
//
// A thread that unlinks something takes a stamp: the epoch at that moment. Readers write the epoch
// at which they entered to their slot. What was unlinked with stamp s can be reused once each slot
// but the unlinker's is idle or entered at s + 2 or later:
//   - a reclaimer's pass increments the epoch, makes every thread pass a fence (membarrier), and
//     increments it again; a reader that entered at s + 2 began after that fence, and the unlinking
//     store came before its stamp and so before the fence: the reader cannot see what was unlinked;
//   - a slot that is idle after the fence belongs to a reader that ended before it, or that begins
//     after it and for the same reason sees nothing.
// The unlinker's own slot does not count: a run gives up what it deletes itself. Threads without a
// slot unlink as `cpu` = slot_count(), which excludes nobody.
// After Fraser, "Practical lock freedom", 2004, and the asymmetric fences of liburcu.
#pragma once

#include <cstdint>

#include "vm/sync/slots.hpp"

namespace skep::sync {

// Call after the unlinking store.
inline uint64_t stamp() noexcept {
    reader_fence();
    return process.epoch.load(std::memory_order_acquire);
}

// True if no thread but the owner of `cpu` can be inside a read section: what it unlinked can be
// reused at once. Call after the unlinking store.
inline bool alone(unsigned cpu) noexcept {
    reader_fence();
    const uint32_t holders = process.holders.load(std::memory_order_acquire);
    if (holders > 1) [[likely]] {
        return false;
    }
    if (holders == 0) return true;
    if (cpu >= process.count.load(std::memory_order_relaxed)) return false;
    const Slot* slots = process.slots.load(std::memory_order_acquire);
    return slots[cpu].taken.load(std::memory_order_relaxed) != 0;
}

// A bound b: what `cpu` retired with a stamp below b can be reused. Does the expensive pass only if
// `wanted`, the oldest stamp that the caller waits for, could become reusable by it. Never waits.
uint64_t reusable_below(unsigned cpu, uint64_t wanted) noexcept;

}  // namespace skep::sync
