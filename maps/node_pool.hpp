// Numbers of elements: which are free, which wait for the runs that may still see them.
//
// Every CPU slot has a cache of free numbers and a queue of retired ones with their stamps
// (vm/sync/epoch.hpp), both linked through one array beside the elements, so that retiring cannot
// fail. Numbers never used yet come from a counter, in order, so that memory of a sparsely used map
// stays untouched. When a cache runs dry it looks at its own queue, then the counter, then (with a
// pass over the slots) its queue again, then the other caches.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {

class NodePool {
public:
    static constexpr uint32_t kNone = UINT32_MAX;

    // Elements beyond max_entries that a map of any type with deferred reuse keeps.
    static uint32_t slack(unsigned slots) noexcept;

    Result<void> init(uint32_t nodes);

    // A free number, or kNone if all are in use or wait for runs to end. Never waits.
    uint32_t take(unsigned cpu) noexcept;
    // Gives back what was unlinked before the call.
    void retire(unsigned cpu, uint32_t node) noexcept;
    // Gives back what nobody has ever seen.
    void put_back(unsigned cpu, uint32_t node) noexcept;

    // Numbers below this were in use at some time.
    uint32_t touched() const noexcept { return touched_.load(std::memory_order_acquire); }
    uint32_t waiting() const noexcept;
    uint64_t bytes() const noexcept { return links_.size() + sizeof(Cache) * (slots_ + 1); }

private:
    struct Link {
        uint64_t stamp = 0;
        uint32_t next = kNone;
    };
    struct alignas(128) Cache {
        sync::SpinLock lock;
        uint32_t free = kNone;
        uint32_t oldest = kNone;  // queue of retired numbers
        uint32_t newest = kNone;
        std::atomic<uint32_t> waiting{0};
    };

    Link& link(uint32_t node) const noexcept {
        return reinterpret_cast<Link*>(links_.data())[node];
    }
    Cache& cache(unsigned cpu) const noexcept { return caches_[cpu < slots_ ? cpu : slots_]; }
    void push(Cache& cache, uint32_t node) noexcept;
    uint32_t pop(Cache& cache) noexcept;
    void harvest(Cache& cache, uint64_t below) noexcept;
    bool harvest_with_pass(Cache& cache, unsigned cpu) noexcept;
    void extend(Cache& cache) noexcept;
    uint32_t steal() noexcept;

    os::Pages links_;
    std::unique_ptr<Cache[]> caches_;
    unsigned slots_ = 0;
    uint32_t nodes_ = 0;
    std::atomic<uint32_t> touched_{0};
};

}  // namespace skep
