// The segment behind a shared map: who is attached, the lock, and what runs may still see.
//
// Nothing in it is believed. What the map looks like is copied and checked when a process attaches,
// and never read again; everything that is read later (owners, epochs, positions, links) is checked
// where it is used, and every loop over it is bounded.
//
// Processes are told apart by marks of the memory (vm/base/shared_memory.hpp), which the system
// removes when a process ends: a lock whose owner has no mark belongs to nobody, and so do the pins
// of its CPU slots.
//
// A run pins what it looks up: its slot's word in the segment holds the epoch of its first look-up,
// until the run ends (sync::pin). What was unlinked at epoch e can be reused when no slot has
// pinned e or earlier. Unlike the process's own epochs this costs a fence per run and map.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string_view>

#include <skep/map.hpp>
#include <skep/shared_map.hpp>

#include "maps/hash_key.hpp"
#include "vm/base/shared_memory.hpp"

namespace skep {

class SharedSegment {
public:
    enum class Lock : uint8_t { Producer, Consumer };  // hashes: Producer is who writes
    static constexpr unsigned kLocks = 2;

    // `size_of` says how many bytes the map needs behind the segment's own for all CPU slots.
    using SizeOf = Result<uint64_t> (*)(const MapDef& def, unsigned cpus);
    static Result<std::unique_ptr<SharedSegment>> create(std::string_view name, const MapDef& def,
                                                         unsigned processes, SizeOf size_of);
    static Result<std::unique_ptr<SharedSegment>> open(std::string_view name, SizeOf size_of);

    const MapDef& def() const noexcept { return def_; }
    std::byte* map_memory() const noexcept { return memory_.data() + own_bytes(all_cpus()); }
    uint64_t bytes() const noexcept { return memory_.size(); }
    const HashSecret& secret() const noexcept { return secret_; }
    unsigned all_cpus() const noexcept { return processes_ * slots_; }
    // The number of this process's slot `cpu` among all; all_cpus() if it has no such slot.
    unsigned cpu(unsigned own) const noexcept {
        return own < slots_ ? index_ * slots_ + own : all_cpus();
    }
    unsigned process() const noexcept { return index_; }
    // Whether that process is attached; false for numbers of none.
    bool is_alive(uint64_t process) const noexcept {
        return process == index_ || (process < processes_ && memory_.is_marked(process));
    }

    // Bounded waiting. AfterDeath: what the lock guards may be half done.
    enum class Taken : uint8_t { Yes, AfterDeath, No };
    Taken lock(Lock which) noexcept;
    void unlock(Lock which) noexcept;

    // Pins the epoch for the run of this process's slot. False: the run uses too many shared maps.
    bool pin(unsigned own_cpu) noexcept;
    // The stamp of what was unlinked before the call.
    uint64_t stamp() noexcept;
    // What was stamped below it can be reused by the slot. Clears what dead processes left.
    uint64_t reusable_below(unsigned own_cpu) noexcept;

private:
    struct Header;
    struct alignas(64) Pin {
        std::atomic<uint64_t> epoch{0};
    };

    static uint64_t own_bytes(unsigned cpus) noexcept;
    Header& header() const noexcept;
    Pin& pin_of(unsigned cpu) const noexcept;
    std::atomic<uint32_t>& word(Lock which) const noexcept;
    Result<void> attach();

    os::SharedMemory memory_;
    MapDef def_;
    HashSecret secret_;
    unsigned processes_ = 0, slots_ = 0, index_ = 0;
    std::array<std::mutex, kLocks> local_;  // among the threads of this process
};

// Holds a lock of a segment.
class SharedLock {
public:
    SharedLock(SharedSegment& segment, SharedSegment::Lock which) noexcept
        : segment_(segment), which_(which), taken_(segment.lock(which)) {}
    ~SharedLock() {
        if (*this) segment_.unlock(which_);
    }
    SharedLock(const SharedLock&) = delete;
    SharedLock& operator=(const SharedLock&) = delete;
    explicit operator bool() const noexcept { return taken_ != SharedSegment::Taken::No; }
    bool after_death() const noexcept { return taken_ == SharedSegment::Taken::AfterDeath; }

private:
    SharedSegment& segment_;
    SharedSegment::Lock which_;
    SharedSegment::Taken taken_;
};

// The types' makers and sizes.
Result<uint64_t> shared_table_bytes(const MapDef& def, unsigned cpus);
Result<uint64_t> shared_ring_bytes(const MapDef& def, unsigned cpus);
Result<std::shared_ptr<Map>> make_shared_table(std::unique_ptr<SharedSegment> segment);
Result<std::shared_ptr<Map>> make_shared_ring(std::unique_ptr<SharedSegment> segment);

}  // namespace skep
