#include "vm/sync/epoch.hpp"

#include <algorithm>
#include <mutex>

namespace skep::sync {
namespace {

constinit std::mutex pass_lock;  // one pass at a time: the proof counts increments per fence

// The smallest epoch at which a slot other than `except` entered; UINT64_MAX if all are idle.
uint64_t oldest_reader(unsigned except) noexcept {
    const unsigned count = process.count.load(std::memory_order_acquire);
    const Slot* slots = process.slots.load(std::memory_order_acquire);
    uint64_t oldest = UINT64_MAX;
    if (slots == nullptr) return oldest;
    for (unsigned i = 0; i <= count; ++i) {
        if (i == except && i != count) continue;  // the shared slot may have several readers
        const uint64_t epoch = slots[i].epoch.load(std::memory_order_acquire);
        if (epoch != 0) oldest = std::min(oldest, epoch);
    }
    return oldest;
}

}  // namespace

uint64_t reusable_below(unsigned cpu, uint64_t wanted) noexcept {
    const uint64_t safe = process.safe.load(std::memory_order_acquire);
    if (wanted < safe) return safe;
    // A reader that is in the way now will be so after the pass as well; but unless the epoch has
    // moved on since, readers that come later would be in the way too.
    if (oldest_reader(cpu) < wanted + 2 &&
        process.epoch.load(std::memory_order_acquire) >= wanted + 2) {
        return safe;
    }
    const std::unique_lock lock(pass_lock, std::try_to_lock);
    if (!lock) return safe;

    const uint64_t before = process.epoch.fetch_add(1, std::memory_order_seq_cst);
    reclaimer_fence();
    process.epoch.fetch_add(1, std::memory_order_seq_cst);
    const uint64_t others = oldest_reader(cpu);
    const uint64_t bound = std::min(before + 1, others - 1);

    const Slot* slots = process.slots.load(std::memory_order_acquire);
    uint64_t all = bound;
    if (slots != nullptr && cpu < process.count.load(std::memory_order_acquire)) {
        const uint64_t own = slots[cpu].epoch.load(std::memory_order_acquire);
        if (own != 0) all = std::min(all, own - 1);
    }
    if (all > process.safe.load(std::memory_order_relaxed)) {
        process.safe.store(all, std::memory_order_release);
    }
    return std::max(bound, safe);
}

}  // namespace skep::sync
