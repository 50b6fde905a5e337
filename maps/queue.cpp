// Queue and stack: values in a ring under one lock, copied in and out; programs hold no pointers
// into them, so their bytes lie outside of every range a program can reach.
#include <atomic>
#include <cstring>

#include "maps/create.hpp"
#include "maps/table.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 44;

class QueueMap final : public TableMap {
public:
    QueueMap(MapDef definition, bool is_stack)
        : TableMap(std::move(definition), false), is_stack_(is_stack) {}

    Result<void> init() {
        if (def().value_size >= 4u << 20) {
            return fail(ErrorCode::BadMapDef, "map \"" + def().name + "\": value_size is " +
                                                  std::to_string(def().value_size) +
                                                  "; less than 4 MiB are allowed");
        }
        stride_ = round_up(def().value_size, 8);
        if (stride_ * def().max_entries > kMaxBytes) {
            return fail(ErrorCode::BadMapDef, "map \"" + def().name +
                                                  "\": " + std::to_string(def().max_entries) +
                                                  " entries are too many");
        }
        SKEP_TRY(pages_, os::Pages::allocate(stride_ * def().max_entries));
        return {};
    }

    MapMemory memory() const noexcept override { return {pages_.size(), sizeof(*this), 0}; }

    long push(const std::byte* value, uint64_t flags, MapCaller) noexcept override {
        const long error = program_write_error();
        return error != 0 ? error : put(value, flags);
    }
    long pop(std::byte* value, MapCaller) noexcept override {
        if (const long error = program_write_error()) {
            std::memset(value, 0, def().value_size);
            return error;
        }
        return take(value, true);
    }
    long peek(std::byte* value, MapCaller) noexcept override {
        if (!program_reads()) {
            std::memset(value, 0, def().value_size);
            return -EPERM;
        }
        return take(value, false);
    }

    // bpf(2) has no key here: update pushes, lookup peeks.
    long host_update(const std::byte*, std::span<const std::byte> in,
                     uint64_t flags) noexcept override {
        if (const long error = host_update_error(in, flags)) return error;
        return put(in.data(), flags);
    }
    long host_lookup(const std::byte*, std::span<std::byte> out, uint64_t flags) noexcept override {
        if (const long error = host_lookup_error(out, flags)) return error;
        return take(out.data(), false);
    }
    long host_pop(std::span<std::byte> out) noexcept override {
        if (const long error = host_write_error()) return error;
        if (const long error = host_read_error()) return error;
        return out.size() < def().value_size ? -EINVAL : take(out.data(), true);
    }
    long host_erase(const std::byte*) noexcept override {
        const long error = host_write_error();
        return error != 0 ? error : -EINVAL;
    }
    long next_key(const std::byte*, std::byte*) noexcept override {
        const long error = host_read_error();
        return error != 0 ? error : -EINVAL;
    }

private:
    class Locked {
    public:
        explicit Locked(sync::SpinLock& lock) noexcept : lock_(lock) { lock_.lock(); }
        ~Locked() { lock_.unlock(); }
        Locked(const Locked&) = delete;
        Locked& operator=(const Locked&) = delete;

    private:
        sync::SpinLock& lock_;
    };

    std::byte* slot(uint64_t index) const noexcept {
        return pages_.data() + index % def().max_entries * stride_;
    }

    // BPF_EXIST on a full one drops the oldest.
    long put(const std::byte* value, uint64_t flags) noexcept {
        if ((flags & map_flags::kNoExist) != 0 || flags > map_flags::kExist) return -EINVAL;
        const Locked locked(lock_);
        if (count_ == def().max_entries) {
            if (flags != map_flags::kExist) return -E2BIG;
            first_ = (first_ + 1) % def().max_entries;
            --count_;
        }
        copy_.initialise(slot(first_ + count_), value);
        ++count_;
        return 0;
    }

    long take(std::byte* value, bool remove) noexcept {
        const Locked locked(lock_);
        if (count_ == 0) {
            std::memset(value, 0, def().value_size);
            return -ENOENT;
        }
        copy_.read(value, slot(is_stack_ ? first_ + count_ - 1 : first_));
        if (remove) {
            if (!is_stack_) first_ = (first_ + 1) % def().max_entries;
            --count_;
        }
        return 0;
    }

    const bool is_stack_;
    uint64_t stride_ = 0;
    sync::SpinLock lock_;
    uint64_t first_ = 0;
    uint64_t count_ = 0;
    os::Pages pages_;
};

}  // namespace

Result<std::shared_ptr<Map>> make_queue(MapDef def) {
    const bool is_stack = def.type == MapType::Stack;
    return made<QueueMap>(std::move(def), is_stack);
}

}  // namespace skep
