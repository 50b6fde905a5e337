// CPU slots: what programs see as "the CPU" is a slot that a running thread holds.
//
// Slots belong to the process, since their numbers index the per-CPU copies of every map. Their
// count is fixed at first use. A thread takes a slot on its first run and keeps it until it exits,
// so that entering a run costs one store: the current epoch, written to the slot. What that store
// means to threads that want to reuse memory is in vm/sync/epoch.hpp.
//
// The two process-wide objects below are the price of that: the table of slots, and the thread's
// own slot, the only thread_local of the library. Both are constant-initialised.
#pragma once

#include <atomic>
#include <cstdint>

namespace skep::sync {

// Two lines apart, since adjacent-line prefetch couples neighbours.
struct alignas(128) Slot {
    std::atomic<uint64_t> epoch{0};  // when its read section began; 0 = not inside one
    std::atomic<uint32_t> taken{0};  // 1 while a thread owns it
};

struct Domain {
    std::atomic<uint64_t> epoch{1};
    // Everything retired with a smaller stamp can be reused, whoever retired it.
    std::atomic<uint64_t> safe{0};
    // Owners of slots, plus one while the shared slot is in use.
    std::atomic<uint32_t> holders{0};
    std::atomic<bool> asymmetric{false};  // membarrier works: readers need no fence
    std::atomic<Slot*> slots{nullptr};    // count + 1 of them: the last one is shared
    std::atomic<unsigned> count{0};
};

inline constexpr unsigned kMaxPins = 16;

struct ThreadSlot {
    Slot* slot = nullptr;
    unsigned index = 0;
    unsigned depth = 0;   // open read sections of this thread
    unsigned runs = 0;    // runs of programs that this thread is inside of
    unsigned pinned = 0;  // words that say so elsewhere: see pin()
    std::atomic<uint64_t>* pins[kMaxPins] = {};
};

extern constinit Domain process;
inline constinit thread_local ThreadSlot thread_slot;

// Fixes the number of slots; returns it. Cheap after the first call.
unsigned slot_count() noexcept;
// The same with a count of one's own (1..4096), for replaying runs of other machines; returns the
// number in force, which is another one if something has used slots before.
unsigned fix_slot_count(unsigned count) noexcept;

// A full fence that ThreadSanitizer understands too.
void full_fence() noexcept;

// The reader's half of the fence between its epoch store and its loads: only the compiler is held
// back where reclaimers use membarrier.
inline void reader_fence() noexcept {
    if (process.asymmetric.load(std::memory_order_relaxed)) [[likely]] {
        std::atomic_signal_fence(std::memory_order_seq_cst);
    } else {
        full_fence();
    }
}

// The reclaimer's half: every thread of the process passes a full fence before this returns.
void reclaimer_fence() noexcept;

// Takes a free slot for this thread. False: none is free.
bool acquire_slot(ThreadSlot& thread) noexcept;

// Takes a certain slot for this thread, which must not hold one yet. False: it is taken, or none.
bool take_slot(unsigned index) noexcept;

// Begins a read section of this thread, nested ones included. False: no slot was free, and
// nothing was entered (Trap::NoSlot).
inline bool enter() noexcept {
    ThreadSlot& thread = thread_slot;
    if (thread.depth != 0) {
        ++thread.depth;
        return true;
    }
    if (thread.slot == nullptr && !acquire_slot(thread)) [[unlikely]] {
        return false;
    }
    thread.depth = 1;
    thread.slot->epoch.store(process.epoch.load(std::memory_order_acquire),
                             std::memory_order_release);
    reader_fence();
    return true;
}

// Ends what the matching enter() began.
inline void leave() noexcept {
    ThreadSlot& thread = thread_slot;
    if (--thread.depth != 0) return;
    thread.slot->epoch.store(0, std::memory_order_release);
    while (thread.pinned != 0) [[unlikely]] {
        thread.pins[--thread.pinned]->store(0, std::memory_order_release);
    }
}

// For memory with epochs of its own, which other processes reclaim: `word` holds what `epoch` said
// at the first call of a read section, until the section ends, and other processes see it before
// they see what this thread does next. Both live as long as the section. False: outside of one, or
// it has pinned too much.
bool pin(std::atomic<uint64_t>& word, const std::atomic<uint64_t>& epoch) noexcept;

// The slot of this thread; meaningful between enter() and leave(), and in a run.
inline unsigned current_slot() noexcept { return thread_slot.index; }

// A read section for threads that are not in a run: hosts. It cannot fail: when every slot is
// taken it uses one that all such threads share, at the price of a lock.
class HostSection {
public:
    HostSection() noexcept;
    ~HostSection();
    HostSection(const HostSection&) = delete;
    HostSection& operator=(const HostSection&) = delete;

    // The CPU to act as: the thread's slot, or slot_count() without one.
    unsigned cpu() const noexcept { return own_ ? current_slot() : slot_count(); }

private:
    bool own_;
};

}  // namespace skep::sync
