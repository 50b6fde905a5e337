// Ring buffer and user ring buffer: records of any size, one ring for all CPUs.
//
// Positions count bytes and never wrap; a record takes 8 bytes and its own, rounded up to 8, as in
// Linux, so that the same records fit. The header of a record (length, busy, discarded) is not in
// those 8 bytes, which a program can write, but in a table of the map's own, by position; programs
// name a record by its place there, and a wrong name is refused. Where Linux maps the ring twice so
// that a record which crosses the end is in one piece, here the range is simply twice as long: only
// the record that crosses uses the bytes behind the end.
//
// Producers take a spin lock to reserve, and commit with one store. The consumer gets copies: what
// a program writes to a record after committing it reaches nobody.
#include <algorithm>
#include <atomic>
#include <bit>
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

constexpr uint64_t kNoWakeup = 1, kForceWakeup = 2;  // BPF_RB_*
constexpr uint32_t kBusy = 1u << 31, kDiscarded = 1u << 30, kUsed = 1u << 29;
constexpr uint32_t kLength = kUsed - 1;
constexpr uint64_t kHeader = 8;
constexpr long kMaxSamples = 128 * 1024;  // that one drain may handle

class Ring {
public:
    Result<void> init(uint32_t bytes) {
        size_ = bytes;
        SKEP_TRY(data_, os::Pages::allocate(2 * uint64_t{bytes}));
        SKEP_TRY(headers_, os::Pages::allocate(bytes / 8 * sizeof(uint32_t)));
        return {};
    }
    ValueRange range() const noexcept { return {data_.data(), 2 * size_, 1}; }
    uint64_t size() const noexcept { return size_; }
    uint64_t metadata() const noexcept { return headers_.size(); }
    uint64_t produced() const noexcept { return produced_.load(std::memory_order_acquire); }
    uint64_t consumed() const noexcept { return consumed_.load(std::memory_order_acquire); }

    MapReservation reserve(uint64_t size) noexcept {
        if (size > kLength || size + kHeader > size_) return {};
        const uint64_t length = round_up(size + kHeader, 8);
        lock_.lock();
        const uint64_t begin = produced_.load(std::memory_order_relaxed);
        skip_committed(begin);
        // One byte is never used, so that full and empty differ; and nothing overtakes the oldest
        // record that is still being written.
        const bool room = length <= size_ && begin + length - consumed() < size_ &&
                          begin + length - pending_ < size_;
        if (room) {
            header(begin).store(static_cast<uint32_t>(size) | kUsed | kBusy,
                                std::memory_order_relaxed);
            produced_.store(begin + length, std::memory_order_release);
        }
        lock_.unlock();
        if (!room) return {};
        const uint64_t offset = begin & (size_ - 1);
        return {data_.data() + offset + kHeader, static_cast<uint32_t>(offset / 8)};
    }

    // False if `id` is not a record that is being written. `caught_up`: the consumer waits for it.
    bool finish(uint32_t id, bool discard, bool& caught_up) noexcept {
        if (id >= size_ / 8) return false;
        std::atomic<uint32_t>& word = headers()[id];
        uint32_t old = word.load(std::memory_order_relaxed);
        do {
            if ((old & (kBusy | kUsed)) != (kBusy | kUsed)) return false;
        } while (!word.compare_exchange_weak(old, (old & ~kBusy) | (discard ? kDiscarded : 0),
                                             std::memory_order_seq_cst));
        caught_up = (consumed_.load(std::memory_order_seq_cst) & (size_ - 1)) / 8 == id;
        return true;
    }

    // Calls `take(data, length)` for what is committed, until it returns false. One thread at once.
    template <class Take>
    long consume(long limit, Take take) {
        long taken = 0;
        while (taken < limit) {
            const uint64_t begin = consumed_.load(std::memory_order_relaxed);
            if (begin == produced()) break;
            const uint32_t word = header(begin).load(std::memory_order_seq_cst);
            if ((word & kUsed) == 0 || (word & kBusy) != 0) break;
            const uint32_t length = word & kLength;
            bool more = true;
            if ((word & kDiscarded) == 0) {
                copy_.resize(length);
                relaxed_copy(copy_.data(), data_.data() + (begin & (size_ - 1)) + kHeader, length);
                ++taken;
                more = take(copy_.data(), length);
            }
            header(begin).store(0, std::memory_order_relaxed);
            consumed_.store(begin + round_up(length + kHeader, 8), std::memory_order_seq_cst);
            if (!more) break;
        }
        return taken;
    }

private:
    std::atomic<uint32_t>* headers() const noexcept {
        return reinterpret_cast<std::atomic<uint32_t>*>(headers_.data());
    }
    std::atomic<uint32_t>& header(uint64_t position) const noexcept {
        return headers()[(position & (size_ - 1)) / 8];
    }
    // Moves pending_ to the oldest record that is not committed.
    void skip_committed(uint64_t end) noexcept {
        pending_ = std::max(pending_, consumed());
        while (pending_ < end) {
            const uint32_t word = header(pending_).load(std::memory_order_acquire);
            if ((word & kBusy) != 0) return;
            // The consumer may have cleared it in between.
            if ((word & kUsed) == 0) {
                const uint64_t consumed_now = consumed();
                if (consumed_now <= pending_) return;
                pending_ = consumed_now;
                continue;
            }
            pending_ += round_up((word & kLength) + kHeader, 8);
        }
    }

    uint64_t size_ = 0;
    os::Pages data_;
    os::Pages headers_;
    std::vector<std::byte> copy_;  // the consumer's
    alignas(64) sync::SpinLock lock_;
    uint64_t pending_ = 0;  // guarded by lock_
    std::atomic<uint64_t> produced_{0};
    alignas(64) std::atomic<uint64_t> consumed_{0};
};

class RingBuffer final : public Map {
public:
    explicit RingBuffer(MapDef definition) : Map(std::move(definition)) {}

    Result<void> init() {
        SKEP_CHECK(ring_.init(def().max_entries));
        set_values(ring_.range());
        return {};
    }

    MapMemory memory() const noexcept override {
        return {ring_.range().size, ring_.metadata() + sizeof(*this), 0};
    }

    MapReservation reserve(uint64_t size, uint64_t flags) noexcept override {
        return flags == 0 ? ring_.reserve(size) : MapReservation{};
    }
    long commit(uint32_t id, uint64_t flags) noexcept override { return finish(id, false, flags); }
    long discard(uint32_t id, uint64_t flags) noexcept override { return finish(id, true, flags); }

    long output(std::span<const std::byte> data, std::span<const std::byte> more, uint64_t flags,
                MapCaller) noexcept override {
        if ((flags & ~(kNoWakeup | kForceWakeup)) != 0) return -EINVAL;
        const MapReservation record = ring_.reserve(data.size() + more.size());
        if (record.data == nullptr) return -EAGAIN;
        relaxed_copy(record.data, data.data(), data.size());
        relaxed_copy(record.data + data.size(), more.data(), more.size());
        return finish(record.id, false, flags);
    }

    uint64_t query(uint64_t what) noexcept override {
        switch (what) {
            case 0: return std::min(ring_.produced() - ring_.consumed(), ring_.size());
            case 1: return ring_.size();
            case 2: return ring_.consumed();
            case 3: return ring_.produced();
            default: return 0;
        }
    }

    long consume(Consume each, void* context, uint64_t limit) noexcept override {
        const std::unique_lock lock(consumer_, std::try_to_lock);
        if (!lock) return -EBUSY;
        wakeup_.reset();
        try {
            const auto most = static_cast<long>(std::min<uint64_t>(limit, INT64_MAX));
            return ring_.consume(most, [&](const std::byte* data, uint32_t length) {
                return each(context, {0, {data, length}, 0});
            });
        } catch (const std::bad_alloc&) {
            return -ENOMEM;
        }
    }
    int event_fd() noexcept override { return wakeup_.fd(); }

private:
    long finish(uint32_t id, bool discard, uint64_t flags) noexcept {
        bool caught_up = false;
        if (!ring_.finish(id, discard, caught_up)) return -EINVAL;
        if ((flags & kForceWakeup) != 0 || (caught_up && (flags & kNoWakeup) == 0)) {
            wakeup_.signal();
        }
        return 0;
    }

    Ring ring_;
    std::mutex consumer_;
    Wakeup wakeup_;
};

// The host produces, programs consume.
class UserRingBuffer final : public Map {
public:
    explicit UserRingBuffer(MapDef definition) : Map(std::move(definition)) {}

    Result<void> init() { return ring_.init(def().max_entries); }

    MapMemory memory() const noexcept override {
        return {ring_.range().size, ring_.metadata() + sizeof(*this), 0};
    }

    long submit(std::span<const std::byte> record) noexcept override {
        if (record.size() + kHeader > ring_.size()) return -E2BIG;
        const MapReservation room = ring_.reserve(record.size());
        if (room.data == nullptr) return -EAGAIN;
        relaxed_copy(room.data, record.data(), record.size());
        bool caught_up = false;
        ring_.finish(room.id, false, caught_up);
        return 0;
    }

    long drain(Take take, void* context, uint64_t flags) noexcept override {
        if ((flags & ~(kNoWakeup | kForceWakeup)) != 0) return -EINVAL;
        const std::unique_lock lock(consumer_, std::try_to_lock);
        if (!lock) return -EBUSY;
        long drained = 0;
        try {
            drained = ring_.consume(kMaxSamples, [&](const std::byte* data, uint32_t length) {
                return take(context, data, length) == 0;
            });
        } catch (const std::bad_alloc&) {
            return -ENOMEM;
        }
        if ((flags & kForceWakeup) != 0 || (drained > 0 && (flags & kNoWakeup) == 0)) {
            wakeup_.signal();
        }
        return drained;
    }
    // Readable when a drain has made room.
    int event_fd() noexcept override { return wakeup_.fd(); }

private:
    Ring ring_;
    std::mutex consumer_;
    Wakeup wakeup_;
};

}  // namespace

Result<std::shared_ptr<Map>> make_ring_buffer(MapDef def) {
    return made<RingBuffer>(std::move(def));
}
Result<std::shared_ptr<Map>> make_user_ring_buffer(MapDef def) {
    return made<UserRingBuffer>(std::move(def));
}

}  // namespace skep
