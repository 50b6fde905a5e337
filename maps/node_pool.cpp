#include "maps/node_pool.hpp"

#include <algorithm>

#include "vm/sync/epoch.hpp"

namespace skep {
namespace {

constexpr uint32_t kPassEvery = 32;
constexpr uint32_t kGiveUp = 16;
constexpr uint64_t kSlackBytes = 64u << 20;

}  // namespace

uint32_t NodePool::slack(unsigned slots, uint32_t entries, uint64_t element_bytes) noexcept {
    const uint64_t wanted = std::max<uint64_t>(64 * slots, entries);
    const uint64_t affordable = kSlackBytes / std::max<uint64_t>(1, element_bytes);
    return std::max({64u, 2 * slots, static_cast<uint32_t>(std::min(wanted, affordable))});
}

Result<void> NodePool::init(uint32_t nodes) {
    slots_ = sync::slot_count();
    nodes_ = nodes;
    caches_ = std::make_unique<Cache[]>(slots_ + 1);
    SKEP_TRY(links_, os::Pages::allocate(uint64_t{nodes} * sizeof(Link)));
    return {};
}

void NodePool::push(Cache& cache, uint32_t node) noexcept {
    link(node).next = cache.free;
    cache.free = node;
}

uint32_t NodePool::pop(Cache& cache) noexcept {
    const uint32_t node = cache.free;
    if (node != kNone) cache.free = link(node).next;
    return node;
}

uint32_t NodePool::refill(Cache& own, unsigned cpu, Need need) noexcept {
    harvest(own, sync::process.safe.load(std::memory_order_acquire));
    if (own.free == kNone) extend(own);
    if (own.free != kNone) return pop(own);
    if (need == Need::Would && own.give_up != 0) {
        --own.give_up;
        return kNone;
    }
    if (harvest_with_pass(own, cpu)) return pop(own);
    if (need == Need::Must) return steal(own);
    own.give_up = kGiveUp;
    return kNone;
}

void NodePool::retire(Cache& own, unsigned cpu, uint32_t node) noexcept {
    if (sync::alone(cpu)) return push(own, node);
    link(node) = {sync::stamp(), kNone};
    if (own.oldest == kNone) {
        own.oldest = node;
    } else {
        link(own.newest).next = node;
    }
    own.newest = node;
    const uint32_t waiting = own.waiting.load(std::memory_order_relaxed) + 1;
    own.waiting.store(waiting, std::memory_order_relaxed);
    // Early enough that the slack lasts until the runs of this moment have ended.
    if (waiting % kPassEvery == 0) harvest_with_pass(own, cpu);
}

// Moves what may be reused from the queue to the free list. Stamps grow along the queue.
void NodePool::harvest(Cache& cache, uint64_t below) noexcept {
    while (cache.oldest != kNone && link(cache.oldest).stamp < below) {
        const uint32_t node = cache.oldest;
        cache.oldest = link(node).next;
        push(cache, node);
        cache.waiting.store(cache.waiting.load(std::memory_order_relaxed) - 1,
                            std::memory_order_relaxed);
    }
}

bool NodePool::harvest_with_pass(Cache& cache, unsigned cpu) noexcept {
    if (cache.oldest == kNone) return false;
    harvest(cache,
            sync::alone(cpu) ? UINT64_MAX : sync::reusable_below(cpu, link(cache.oldest).stamp));
    return cache.free != kNone;
}

void NodePool::extend(Cache& cache) noexcept {
    constexpr uint32_t kBatch = 16;
    uint32_t first = touched_.load(std::memory_order_relaxed);
    uint32_t end = 0;
    do {
        if (first == nodes_) return;
        end = first + std::min(kBatch, nodes_ - first);
    } while (!touched_.compare_exchange_weak(first, end, std::memory_order_acq_rel));
    for (uint32_t node = end; node-- > first;) push(cache, node);
}

// The slow end: numbers that lie free, or could, with another slot. Two caches are never locked at
// once.
uint32_t NodePool::steal(Cache& own) noexcept {
    own.lock.unlock();
    uint32_t node = kNone;
    for (unsigned i = 0; i <= slots_ && node == kNone; ++i) {
        Cache& other = caches_[i];
        other.lock.lock();
        if (other.free == kNone) harvest_with_pass(other, i);
        node = pop(other);
        other.lock.unlock();
    }
    own.lock.lock();
    return node;
}

uint32_t NodePool::waiting() const noexcept {
    uint32_t sum = 0;
    for (unsigned i = 0; i <= slots_; ++i) {
        sum += caches_[i].waiting.load(std::memory_order_relaxed);
    }
    return sum;
}

}  // namespace skep
