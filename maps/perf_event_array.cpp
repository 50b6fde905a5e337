// Perf event array: a bounded buffer for each CPU slot, read by the host; what finds no room is
// counted and told with the next record, as PERF_RECORD_LOST does.
//
// A program names a CPU by its index, which must be its own; the host opens buffers for all of
// them.
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "maps/create.hpp"
#include "maps/table.hpp"
#include "maps/wakeup.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {
namespace {

constexpr uint64_t kIndexMask = 0xffffffff, kCurrentCpu = 0xffffffff;
constexpr uint64_t kContextBits = uint64_t{0xfffff} << 32;  // BPF_F_CTXLEN_MASK: the helper's
constexpr uint64_t kLeastBytes = 4096, kMostBytes = uint64_t{1} << 30;
constexpr uint64_t kRecordHeader = 16;  // u64 size, u64 lost

// One CPU's records, in order, whole.
class alignas(128) Buffer {
public:
    Result<void> init(uint64_t bytes) {
        SKEP_TRY(pages_, os::Pages::allocate(bytes));
        size_ = bytes;
        return {};
    }
    long put(std::span<const std::byte> data, std::span<const std::byte> more) noexcept {
        const uint64_t size = data.size() + more.size();
        const Locked locked(lock_);
        if (size > size_ || kRecordHeader + round_up(size, 8) > size_ - (head_ - tail_)) {
            ++lost_;
            return -ENOSPC;
        }
        const uint64_t header[2] = {size, lost_};
        uint64_t at = head_;
        at = copy_in(at, {reinterpret_cast<const std::byte*>(header), sizeof(header)});
        at = copy_in(at, data);
        copy_in(at, more);
        head_ += kRecordHeader + round_up(size, 8);
        lost_ = 0;
        return 0;
    }
    // False: empty.
    bool get(std::vector<std::byte>& out, uint64_t& lost) {
        uint64_t header[2] = {};
        {
            const Locked locked(lock_);
            if (head_ == tail_) return false;
            copy_out(tail_, {reinterpret_cast<std::byte*>(header), sizeof(header)});
        }
        // Only the one consumer moves the tail, so the record stays.
        out.resize(header[0]);
        const Locked locked(lock_);
        copy_out(tail_ + kRecordHeader, out);
        tail_ += kRecordHeader + round_up(header[0], 8);
        lost = header[1];
        return true;
    }
    uint64_t bytes() const noexcept { return pages_.size(); }

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

    uint64_t copy_in(uint64_t at, std::span<const std::byte> from) noexcept {
        const uint64_t begin = at % size_, first = std::min(from.size(), size_ - begin);
        relaxed_copy(pages_.data() + begin, from.data(), first);
        relaxed_copy(pages_.data(), from.data() + first, from.size() - first);
        return at + from.size();
    }
    void copy_out(uint64_t at, std::span<std::byte> to) const noexcept {
        const uint64_t begin = at % size_, first = std::min(to.size(), size_ - begin);
        relaxed_copy(to.data(), pages_.data() + begin, first);
        relaxed_copy(to.data() + first, pages_.data(), to.size() - first);
    }

    sync::SpinLock lock_;
    uint64_t head_ = 0, tail_ = 0, lost_ = 0;
    uint64_t size_ = 0;
    os::Pages pages_;
};

class PerfEventArray final : public TableMap {
public:
    explicit PerfEventArray(MapDef definition) : TableMap(std::move(definition), false) {}

    Result<void> init() { return {}; }

    MapMemory memory() const noexcept override {
        const Buffers* buffers = buffers_.load(std::memory_order_acquire);
        uint64_t sum = 0;
        if (buffers != nullptr) {
            for (unsigned cpu = 0; cpu < buffers->count; ++cpu) sum += buffers->each[cpu].bytes();
        }
        return {0, sum + sizeof(*this), 0};
    }

    long output(std::span<const std::byte> data, std::span<const std::byte> more, uint64_t flags,
                MapCaller caller) noexcept override {
        if ((flags & ~(kIndexMask | kContextBits)) != 0) return -EINVAL;
        const uint64_t asked = flags & kIndexMask;
        const uint64_t index = asked == kCurrentCpu ? caller.cpu : asked;
        if (index >= def().max_entries) return -E2BIG;
        const Buffers* buffers = buffers_.load(std::memory_order_acquire);
        if (buffers == nullptr || index >= buffers->count) return -ENOENT;
        if (index != caller.cpu) return -EOPNOTSUPP;
        const long result = buffers->each[index].put(data, more);
        if (result == 0) wakeup_.signal();
        return result;
    }

    long open_events(uint64_t bytes_per_cpu) noexcept override {
        if (bytes_per_cpu < kLeastBytes || bytes_per_cpu > kMostBytes) return -EINVAL;
        const std::scoped_lock lock(consumer_);
        if (owned_ != nullptr) return -EBUSY;
        try {
            auto fresh = std::make_unique<Buffers>();
            fresh->count = cpu_slots();
            fresh->each = std::make_unique<Buffer[]>(fresh->count);
            for (unsigned cpu = 0; cpu < fresh->count; ++cpu) {
                if (!fresh->each[cpu].init(round_up(bytes_per_cpu, 8))) return -ENOMEM;
            }
            owned_ = std::move(fresh);
        } catch (const std::bad_alloc&) {
            return -ENOMEM;
        }
        buffers_.store(owned_.get(), std::memory_order_release);
        return 0;
    }

    long consume(Consume each, void* context, uint64_t limit) noexcept override {
        const std::unique_lock lock(consumer_, std::try_to_lock);
        if (!lock) return -EBUSY;
        if (owned_ == nullptr) return 0;
        wakeup_.reset();
        uint64_t taken = 0;
        try {
            for (unsigned cpu = 0; cpu < owned_->count; ++cpu) {
                uint64_t lost = 0;
                while (taken < limit && owned_->each[cpu].get(copy_, lost)) {
                    ++taken;
                    if (!each(context, {cpu, copy_, lost})) return static_cast<long>(taken);
                }
            }
        } catch (const std::bad_alloc&) {
            return -ENOMEM;
        }
        return static_cast<long>(taken);
    }
    int event_fd() noexcept override { return wakeup_.fd(); }

    long next_key(const std::byte* key, std::byte* next) noexcept override {
        return next_index(def().max_entries, key, next);
    }

private:
    struct Buffers {
        unsigned count = 0;
        std::unique_ptr<Buffer[]> each;
    };

    std::mutex consumer_;
    std::unique_ptr<Buffers> owned_;                // guarded by consumer_
    std::vector<std::byte> copy_;                   // the consumer's
    std::atomic<const Buffers*> buffers_{nullptr};  // owned_, for programs
    Wakeup wakeup_;
};

}  // namespace

Result<std::shared_ptr<Map>> make_perf_event_array(MapDef def) {
    return made<PerfEventArray>(std::move(def));
}

}  // namespace skep
