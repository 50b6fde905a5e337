#include "vm/sync/slots.hpp"

#include <algorithm>
#include <linux/membarrier.h>
#include <mutex>
#include <new>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <skep/map.hpp>

#include "vm/base/os.hpp"

namespace skep::sync {

constinit Domain process;

namespace {

constinit std::mutex setup_lock;   // guards the first use
constinit std::mutex shared_lock;  // guards shared_users and the shared slot
constinit unsigned shared_users = 0;
constinit std::atomic<bool> exit_key_made{false};
constinit pthread_key_t exit_key{};

long membarrier(int command) noexcept { return ::syscall(SYS_membarrier, command, 0, 0); }

// Runs when a thread that owns a slot exits. The thread's own thread_local may already be gone, so
// the slot travels as the key's value.
void release_slot(void* value) noexcept {
    auto* slot = static_cast<Slot*>(value);
    slot->epoch.store(0, std::memory_order_release);
    slot->taken.store(0, std::memory_order_release);
    process.holders.fetch_sub(1, std::memory_order_seq_cst);
}

// Only the slots: without memory for them there are none, and every run ends with Trap::NoSlot.
void set_up(unsigned count) noexcept {
    process.asymmetric.store(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0,
                             std::memory_order_relaxed);
    exit_key_made.store(::pthread_key_create(&exit_key, release_slot) == 0,
                        std::memory_order_relaxed);
    process.slots.store(new (std::nothrow) Slot[count + 1], std::memory_order_release);
    process.count.store(count, std::memory_order_release);
}

// Makes the thread the owner of slots[index], if nobody owns it.
bool try_take(ThreadSlot& thread, Slot* slots, unsigned index) noexcept {
    Slot& slot = slots[index];
    uint32_t expected = 0;
    if (slot.taken.load(std::memory_order_relaxed) != 0 ||
        !slot.taken.compare_exchange_strong(expected, 1, std::memory_order_acquire)) {
        return false;
    }
    if (::pthread_setspecific(exit_key, &slot) != 0) {
        slot.taken.store(0, std::memory_order_release);
        return false;
    }
    // Whoever unlinked something and saw itself alone did so before this fence, so that this
    // thread cannot reach what that one reuses.
    process.holders.fetch_add(1, std::memory_order_seq_cst);
    reclaimer_fence();
    thread.slot = &slot;
    thread.index = index;
    return true;
}

}  // namespace

unsigned fix_slot_count(unsigned count) noexcept {
    const std::scoped_lock lock(setup_lock);
    if (process.count.load(std::memory_order_acquire) == 0) set_up(std::clamp(count, 1u, 4096u));
    return process.count.load(std::memory_order_acquire);
}

unsigned slot_count() noexcept {
    if (const unsigned count = process.count.load(std::memory_order_acquire)) return count;
    return fix_slot_count(std::max(2 * os::cpu_count(), 8u));
}

void full_fence() noexcept {
#if defined(__SANITIZE_THREAD__)
    // ThreadSanitizer does not model fences; a read-modify-write is one on the hosts it runs on.
    std::atomic<int> word{0};
    word.fetch_add(1, std::memory_order_seq_cst);
#else
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

void reclaimer_fence() noexcept {
    if (process.asymmetric.load(std::memory_order_relaxed)) {
        membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    } else {
        full_fence();
    }
}

bool acquire_slot(ThreadSlot& thread) noexcept {
    const unsigned count = slot_count();
    Slot* slots = process.slots.load(std::memory_order_acquire);
    if (slots == nullptr || !exit_key_made.load(std::memory_order_relaxed)) return false;
    for (unsigned i = 0; i < count; ++i) {
        if (try_take(thread, slots, i)) return true;
    }
    return false;
}

bool take_slot(unsigned index) noexcept {
    const unsigned count = slot_count();
    Slot* slots = process.slots.load(std::memory_order_acquire);
    if (slots == nullptr || !exit_key_made.load(std::memory_order_relaxed)) return false;
    return index < count && thread_slot.slot == nullptr && try_take(thread_slot, slots, index);
}

bool pin(std::atomic<uint64_t>& word, const std::atomic<uint64_t>& epoch) noexcept {
    ThreadSlot& thread = thread_slot;
    for (unsigned i = 0; i < thread.pinned; ++i) {
        if (thread.pins[i] == &word) return true;
    }
    if (thread.depth == 0 || thread.pinned == kMaxPins) return false;
    word.store(std::max<uint64_t>(1, epoch.load(std::memory_order_acquire)),
               std::memory_order_relaxed);
    full_fence();
    thread.pins[thread.pinned++] = &word;
    return true;
}

HostSection::HostSection() noexcept : own_(enter()) {
    if (own_) return;
    const unsigned count = slot_count();
    Slot* slots = process.slots.load(std::memory_order_acquire);
    const std::scoped_lock lock(shared_lock);
    if (slots == nullptr || shared_users++ != 0) return;
    slots[count].epoch.store(process.epoch.load(std::memory_order_acquire),
                             std::memory_order_release);
    process.holders.fetch_add(1, std::memory_order_seq_cst);
    reclaimer_fence();
}

HostSection::~HostSection() {
    if (own_) {
        leave();
        return;
    }
    Slot* slots = process.slots.load(std::memory_order_acquire);
    const std::scoped_lock lock(shared_lock);
    if (slots == nullptr || --shared_users != 0) return;
    slots[process.count.load(std::memory_order_acquire)].epoch.store(0, std::memory_order_release);
    process.holders.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace skep::sync

unsigned skep::cpu_slots() noexcept { return skep::sync::slot_count(); }
