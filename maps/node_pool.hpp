// Numbers of elements: which are free, which wait for the runs that may still see them, and how
// many entries the map may still take.
//
// Every CPU slot has a cache of free numbers and a queue of retired ones with their stamps
// (vm/sync/epoch.hpp), both linked through one array beside the elements, so that retiring cannot
// fail. Numbers never used yet come from a counter, in order, so that memory of a sparsely used map
// stays untouched. When a cache runs dry it looks at its own queue, then the counter, then (with a
// pass over the slots) its queue again, then the other caches.
//
// Room for entries is shared out the same way: each cache holds some of the map's max_entries, so
// that insertions and deletions touch no line of all CPUs'. An insertion fails when it found none
// anywhere.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/owner_lock.hpp"

namespace skep {

class NodePool {
public:
    static constexpr uint32_t kNone = UINT32_MAX;

    // Elements beyond max_entries, for what waits: as many again, and enough that others can go on
    // while a run has lost its CPU, within 64 MiB, but no fewer than max(64, 2 * slots). They cost
    // memory when first used.
    static uint32_t slack(unsigned slots, uint32_t entries, uint64_t element_bytes) noexcept;

    // `nodes` numbers for at most `entries` entries.
    Result<void> init(uint32_t nodes, uint32_t entries);

    enum class Need : uint8_t {
        Must,   // the operation fails without
        Would,  // there is another way: give up early while runs block reuse
    };

private:
    struct Cache;

public:
    // Taking and retiring for one CPU slot, whose thread the caller is (or one without a slot, with
    // cpu = slot_count()). Never waits for runs.
    class Hold {
    public:
        Hold(NodePool& pool, unsigned cpu) noexcept
            : pool_(pool), own_(pool.cache(cpu)), cpu_(cpu), owner_(cpu < pool.slots_) {
            lock();
        }
        ~Hold() { unlock(); }
        Hold(const Hold&) = delete;
        Hold& operator=(const Hold&) = delete;

        // Room for one more entry; false: the map is full. Without `thorough`, other slots may
        // have some left.
        bool claim_entry(bool thorough) noexcept {
            const uint32_t room = own_.room.load(std::memory_order_relaxed);
            if (room != 0) [[likely]] {
                own_.room.store(room - 1, std::memory_order_relaxed);
                return true;
            }
            return pool_.share_room(own_) || (thorough && pool_.find_room(*this));
        }
        void give_up_entry() noexcept {
            const uint32_t room = own_.room.load(std::memory_order_relaxed) + 1;
            own_.room.store(room, std::memory_order_relaxed);
            if (room >= 2 * pool_.room_batch_) [[unlikely]] {
                pool_.return_room(own_);
            }
        }

        // A free number, or kNone if all are in use or wait for runs to end.
        uint32_t take(Need need) noexcept {
            const uint32_t node = pool_.pop(own_);
            return node != kNone ? node : pool_.refill(*this, need);
        }
        // Gives back what was unlinked before the call.
        void retire(uint32_t node) noexcept { pool_.retire(own_, cpu_, node); }

    private:
        friend class NodePool;
        void lock() noexcept {
            if (owner_)
                fast_ = own_.lock.enter();
            else
                own_.lock.lock();
        }
        void unlock() noexcept {
            if (!owner_)
                own_.lock.unlock();
            else if (fast_)
                own_.lock.leave_fast();
            else
                own_.lock.leave_slow();
        }

        NodePool& pool_;
        Cache& own_;
        unsigned cpu_;
        bool owner_;
        bool fast_ = false;
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
        sync::OwnerLock lock;
        std::atomic<uint32_t> free{kNone};  // changed under the lock, looked at without
        uint32_t oldest = kNone;            // queue of retired numbers
        uint32_t newest = kNone;
        std::atomic<uint32_t> waiting{0};
        uint32_t give_up = 0;           // how often to say no before looking again
        std::atomic<uint32_t> room{0};  // entries that this slot may add; as `free`
    };

    Link& link(uint32_t node) const noexcept {
        return reinterpret_cast<Link*>(links_.data())[node];
    }
    Cache& cache(unsigned cpu) const noexcept { return caches_[cpu < slots_ ? cpu : slots_]; }
    uint32_t refill(Hold& hold, Need need) noexcept;
    bool share_room(Cache& own) noexcept;
    bool find_room(Hold& hold) noexcept;
    void return_room(Cache& own) noexcept;
    void retire(Cache& own, unsigned cpu, uint32_t node) noexcept;
    void push(Cache& cache, uint32_t node) noexcept;
    uint32_t pop(Cache& cache) noexcept {
        const uint32_t node = cache.free.load(std::memory_order_relaxed);
        if (node != kNone) cache.free.store(link(node).next, std::memory_order_relaxed);
        return node;
    }
    // How many numbers became free.
    uint32_t harvest(Cache& cache, uint64_t below) noexcept;
    uint32_t harvest_with_pass(Cache& cache, unsigned cpu) noexcept;
    void share_free(Hold& hold, Need need) noexcept;
    void extend(Cache& cache) noexcept;
    // Calls `take(cache, index)` on the caches for which `worth(cache)`, locked, until one returns
    // true.
    template <class Worth, class Take>
    bool ask_all(Hold& hold, Worth worth, Take take) noexcept;

    os::Pages links_;
    std::unique_ptr<Cache[]> caches_;
    unsigned slots_ = 0;
    uint32_t nodes_ = 0;
    uint32_t pass_every_ = 0;  // retired numbers of a slot
    uint32_t room_batch_ = 1;
    std::atomic<uint32_t> touched_{0};
    std::atomic<uint32_t> room_{0};  // entries that no cache has
};

}  // namespace skep
