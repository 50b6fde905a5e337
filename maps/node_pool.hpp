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

    // Elements beyond max_entries, for what waits: as many again and enough for some runs of each
    // slot, within 64 MiB, but no fewer than max(64, 2 * slots). They cost memory when first used.
    static uint32_t slack(unsigned slots, uint32_t entries, uint64_t element_bytes) noexcept;

    Result<void> init(uint32_t nodes);

    enum class Need : uint8_t {
        Must,   // the operation fails without
        Would,  // there is another way: give up early while runs block reuse
    };

private:
    struct Cache;

public:
    // Taking and retiring for one CPU slot, under one lock. Never waits for runs.
    class Hold {
    public:
        Hold(NodePool& pool, unsigned cpu) noexcept
            : pool_(pool), own_(pool.cache(cpu)), cpu_(cpu) {
            own_.lock.lock();
        }
        ~Hold() { own_.lock.unlock(); }
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;

        // A free number, or kNone if all are in use or wait for runs to end.
        uint32_t take(Need need) noexcept {
            const uint32_t node = pool_.pop(own_);
            return node != kNone ? node : pool_.refill(own_, cpu_, need);
        }
        // Gives back what was unlinked before the call.
        void retire(uint32_t node) noexcept { pool_.retire(own_, cpu_, node); }

    private:
        NodePool& pool_;
        Cache& own_;
        unsigned cpu_;
    };

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
        uint32_t give_up = 0;  // how often to say no before looking again
    };

    Link& link(uint32_t node) const noexcept {
        return reinterpret_cast<Link*>(links_.data())[node];
    }
    Cache& cache(unsigned cpu) const noexcept { return caches_[cpu < slots_ ? cpu : slots_]; }
    uint32_t refill(Cache& own, unsigned cpu, Need need) noexcept;
    void retire(Cache& own, unsigned cpu, uint32_t node) noexcept;
    void push(Cache& cache, uint32_t node) noexcept;
    uint32_t pop(Cache& cache) noexcept;
    void harvest(Cache& cache, uint64_t below) noexcept;
    bool harvest_with_pass(Cache& cache, unsigned cpu) noexcept;
    void extend(Cache& cache) noexcept;
    uint32_t steal(Cache& own) noexcept;

    os::Pages links_;
    std::unique_ptr<Cache[]> caches_;
    unsigned slots_ = 0;
    uint32_t nodes_ = 0;
    std::atomic<uint32_t> touched_{0};
};

}  // namespace skep
