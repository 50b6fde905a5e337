#include "maps/node_pool.hpp"

#include <algorithm>
#include <array>

#include "vm/sync/epoch.hpp"

namespace skep {
namespace {

constexpr uint32_t kFewestPerPass = 32, kMostPerPass = 256;
constexpr uint32_t kGiveUp = 16;
constexpr uint64_t kSlackPerSlot = 1024;
constexpr uint32_t kMostRoom = 16;
constexpr uint32_t kFewNumbers = 32;
constexpr size_t kShared = 128;
constexpr uint64_t kSlackBytes = 64u << 20;

}  // namespace

uint32_t NodePool::slack(unsigned slots, uint32_t entries, uint64_t element_bytes) noexcept {
    const uint64_t wanted = std::max<uint64_t>(kSlackPerSlot * slots, entries);
    const uint64_t affordable = kSlackBytes / std::max<uint64_t>(1, element_bytes);
    return std::max({64u, 2 * slots, static_cast<uint32_t>(std::min(wanted, affordable))});
}

Result<void> NodePool::init(uint32_t nodes, uint32_t entries) {
    slots_ = sync::slot_count();
    nodes_ = nodes;
    room_.store(entries, std::memory_order_relaxed);
    // Early enough that the slack lasts until the runs of the moment have ended, whatever the other
    // slots do meanwhile; a pass is a system call.
    // What idle slots keep to themselves stays a small part of the whole.
    room_batch_ = std::clamp(entries / (16 * slots_), 1u, kMostRoom);
    pass_every_ = std::clamp((nodes - entries) / (2 * slots_), kFewestPerPass, kMostPerPass);
    caches_ = std::make_unique<Cache[]>(slots_ + 1);
    SKEP_TRY(links_, os::Pages::allocate(uint64_t{nodes} * sizeof(Link)));
    return {};
}

void NodePool::push(Cache& cache, uint32_t node) noexcept {
    link(node).next = cache.free.load(std::memory_order_relaxed);
    cache.free.store(node, std::memory_order_relaxed);
}

uint32_t NodePool::refill(Hold& hold, Need need) noexcept {
    Cache& own = hold.own_;
    harvest(own, sync::process.safe.load(std::memory_order_acquire));
    if (own.free.load(std::memory_order_relaxed) == kNone) extend(own);
    if (const uint32_t node = pop(own); node != kNone) return node;
    if (need == Need::Would && own.give_up != 0) {
        --own.give_up;
        return kNone;
    }
    // With few numbers of its own a slot would need a pass every few operations.
    if (harvest_with_pass(own, hold.cpu_) < kFewNumbers) share_free(hold, need);
    const uint32_t node = pop(own);
    if (node == kNone && need == Need::Would) own.give_up = kGiveUp;
    return node;
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
    if (waiting >= pass_every_ && waiting % (pass_every_ / 2) == 0) harvest_with_pass(own, cpu);
}

// Takes many free numbers of another slot; if the caller must have one, also what waits there and
// need not.
void NodePool::share_free(Hold& hold, Need need) noexcept {
    std::array<uint32_t, kShared> taken;
    size_t count = 0;
    ask_all(
        hold,
        [&](const Cache& cache) {
            return &cache != &hold.own_ &&
                   (cache.free.load(std::memory_order_relaxed) != kNone ||
                    (need == Need::Must && cache.waiting.load(std::memory_order_relaxed) != 0));
        },
        [&](Cache& cache, unsigned cpu) {
            if (cache.free.load(std::memory_order_relaxed) == kNone) harvest_with_pass(cache, cpu);
            while (count < taken.size()) {
                const uint32_t node = pop(cache);
                if (node == kNone) break;
                taken[count++] = node;
            }
            return count != 0;
        });
    for (size_t i = 0; i < count; ++i) push(hold.own_, taken[i]);
}

// Moves what may be reused from the queue to the free list. Stamps grow along the queue.
uint32_t NodePool::harvest(Cache& cache, uint64_t below) noexcept {
    uint32_t harvested = 0;
    for (; cache.oldest != kNone && link(cache.oldest).stamp < below; ++harvested) {
        const uint32_t node = cache.oldest;
        cache.oldest = link(node).next;
        push(cache, node);
        cache.waiting.store(cache.waiting.load(std::memory_order_relaxed) - 1,
                            std::memory_order_relaxed);
    }
    return harvested;
}

uint32_t NodePool::harvest_with_pass(Cache& cache, unsigned cpu) noexcept {
    if (cache.oldest == kNone) return 0;
    return harvest(
        cache, sync::alone(cpu) ? UINT64_MAX : sync::reusable_below(cpu, link(cache.oldest).stamp));
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

// The slow end. Two caches are never locked at once.
template <class Worth, class Take>
bool NodePool::ask_all(Hold& hold, Worth worth, Take take) noexcept {
    hold.unlock();
    bool done = false;
    for (unsigned i = 0; i <= slots_ && !done; ++i) {
        Cache& cache = caches_[i];
        if (!worth(cache)) continue;
        if (&cache == &hold.own_) {
            hold.lock();
            done = take(cache, i);
            hold.unlock();
            continue;
        }
        cache.lock.lock();
        done = take(cache, i);
        cache.lock.unlock();
    }
    hold.lock();
    return done;
}

bool NodePool::share_room(Cache& own) noexcept {
    uint32_t left = room_.load(std::memory_order_relaxed);
    while (left != 0) {
        const uint32_t taken = std::min(left, room_batch_);
        if (!room_.compare_exchange_weak(left, left - taken, std::memory_order_relaxed)) continue;
        own.room.store(taken - 1, std::memory_order_relaxed);
        return true;
    }
    return false;
}

bool NodePool::find_room(Hold& hold) noexcept {
    return ask_all(
        hold, [](const Cache& cache) { return cache.room.load(std::memory_order_relaxed) != 0; },
        [](Cache& cache, unsigned) {
            const uint32_t room = cache.room.load(std::memory_order_relaxed);
            if (room == 0) return false;
            cache.room.store(room - 1, std::memory_order_relaxed);
            return true;
        });
}

void NodePool::return_room(Cache& own) noexcept {
    own.room.store(own.room.load(std::memory_order_relaxed) - room_batch_,
                   std::memory_order_relaxed);
    room_.fetch_add(room_batch_, std::memory_order_relaxed);
}

uint32_t NodePool::waiting() const noexcept {
    uint32_t sum = 0;
    for (unsigned i = 0; i <= slots_; ++i) {
        sum += caches_[i].waiting.load(std::memory_order_relaxed);
    }
    return sum;
}

}  // namespace skep
