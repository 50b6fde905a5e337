// What the table-like maps share: whom the definition's flags let read and write, and how values
// are copied when they contain objects that only helpers may touch.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <vector>

#include <skep/map.hpp>

#include "maps/relaxed_copy.hpp"
#include "maps/timers.hpp"
#include "maps/value_lock.hpp"
#include "vm/sync/slots.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {

class ObjectHeap;

constexpr uint64_t round_up(uint64_t n, uint64_t multiple) noexcept {
    return (n + multiple - 1) / multiple * multiple;
}

// Copies values around the special fields of a definition: timers, locks, kptrs ... are never
// written from outside and never read out.
class ValueCopy {
public:
    ValueCopy(const MapDef& def, uint32_t size);

    uint32_t size() const noexcept { return size_; }
    // Over a live value, which is aligned to 8 bytes: its special fields stay as they are.
    void overwrite(std::byte* to, const std::byte* from) const noexcept {
        if (words_ != 0) [[likely]] {
            for (uint32_t i = 0; i < words_; ++i) {
                relaxed_store(to + size_t{8} * i, relaxed_load<uint64_t>(from + size_t{8} * i));
            }
            return;
        }
        if (plain_.empty()) return relaxed_copy(to, from, size_);
        overwrite_parts(to, from);
    }
    // Into an unused value: its special fields become zero.
    void initialise(std::byte* to, const std::byte* from) const noexcept {
        if (!plain_.empty()) relaxed_zero(to, size_);
        overwrite(to, from);
    }
    // Out of a value: special fields read as zero.
    void read(std::byte* to, const std::byte* from) const noexcept;

private:
    struct Segment {
        uint32_t offset = 0;
        uint32_t size = 0;
    };
    void overwrite_parts(std::byte* to, const std::byte* from) const noexcept;

    uint32_t size_;
    uint32_t words_ = 0;          // not 0: the whole value is that few plain words
    std::vector<Segment> plain_;  // empty: the whole value is plain bytes
};

// The key after `key` where keys are numbers from 0 on.
long next_index(uint32_t entries, const std::byte* key, std::byte* next) noexcept;

class TableMap : public Map {
public:
    uint64_t host_value_size() const noexcept override {
        return percpu_ ? round_up(def().value_size, 8) * cpus_ : def().value_size;
    }

    ~TableMap() override;
    // See keep_objects() in object_heap.hpp.
    virtual bool keep_objects(const std::shared_ptr<ObjectHeap>& heap) noexcept;

    // Where values hold a bpf_spin_lock.
    virtual ValueLocks* locks() noexcept { return locks_.get(); }
    // Where values hold a bpf_timer.
    MapTimers* timers() noexcept { return timers_.get(); }

protected:
    TableMap(MapDef def, bool percpu);

    void set_values(ValueRange range);
    // The entry of that value has ended (unlinked or about to be overwritten): so do its objects.
    void drop_objects(const std::byte* value) noexcept {
        if (timers_ != nullptr) timers_->forget(value);
    }

    // Runs `copy` on a value, under its lock if the flags say so. 0 or -EDEADLK.
    template <class Copy>
    long locked_copy(uint64_t flags, const std::byte* value, unsigned cpu, Copy copy) noexcept {
        ValueLocks* all = (flags & map_flags::kLock) != 0 ? locks() : nullptr;
        if (all != nullptr) {
            if (const long error = all->lock(value, cpu)) return error;
        }
        copy();
        if (all != nullptr) all->unlock(value, cpu);
        return 0;
    }

    // False: no value ever owned anything.
    bool owns_objects() const noexcept {
        return objects_.load(std::memory_order_acquire) != nullptr;
    }
    // What the kptrs, lists and trees of a value own is given up.
    void drop_objects(std::byte* value, uint64_t bytes) const noexcept {
        if (owns_objects()) [[unlikely]]
            drop_owned(value, bytes);
    }

    // 0, or the errno with which Linux refuses the caller.
    long program_write_error() const noexcept {
        return (def().flags & map_flags::kRdonlyProg) != 0 ? -EPERM : 0;
    }
    bool program_reads() const noexcept { return (def().flags & map_flags::kWronlyProg) == 0; }
    long host_write_error() const noexcept {
        return frozen() || (def().flags & map_flags::kRdonly) != 0 ? -EPERM : 0;
    }
    long host_read_error(uint64_t flags = 0) const noexcept {
        if ((flags & ~map_flags::kLock) != 0) return -EINVAL;
        if ((def().flags & map_flags::kWronly) != 0) return -EPERM;
        return (flags & map_flags::kLock) != 0 && !has_lock_ ? -EINVAL : 0;
    }
    // What the host's lookups and updates check before they look for the element: rights, flags,
    // and that the caller's buffer holds a value.
    long host_lookup_error(std::span<const std::byte> out, uint64_t flags) const noexcept {
        if (const long error = host_read_error(flags)) return error;
        return out.size() < host_value_size() ? -EINVAL : 0;
    }
    long host_update_error(std::span<const std::byte> in, uint64_t flags) const noexcept {
        if (const long error = host_write_error()) return error;
        if (in.size() < host_value_size()) return -EINVAL;
        return (flags & map_flags::kLock) != 0 && !has_lock_ ? -EINVAL : 0;
    }
    // What the update flags of the type may be. Per-CPU and LRU maps know no BPF_F_LOCK.
    long update_flags_error(uint64_t flags) const noexcept {
        if ((flags & ~map_flags::kLock) > map_flags::kExist) return -EINVAL;
        return (flags & map_flags::kLock) != 0 && !has_lock_ ? -EINVAL : 0;
    }

    const bool percpu_;
    const unsigned cpus_;
    const bool has_lock_;  // values hold a bpf_spin_lock
    const ValueCopy copy_;
    // Hosts exchange per-CPU copies with their padding, which Linux keeps too.
    const ValueCopy host_copy_;

private:
    void drop_owned(std::byte* value, uint64_t bytes) const noexcept;

    const std::unique_ptr<ValueLocks> locks_;
    const std::unique_ptr<MapTimers> timers_;
    sync::SpinLock objects_lock_;
    std::shared_ptr<ObjectHeap> objects_owner_;
    std::atomic<ObjectHeap*> objects_{nullptr};
};

}  // namespace skep
