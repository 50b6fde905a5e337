// The ring buffer in a segment: producers in all processes, one consumer at a time.
//
// As maps/ring_buffer.cpp, with positions and headers in the segment, where another process may
// scribble over them: positions that are impossible empty the ring, and lengths are cut to what the
// ring holds. A record says which process writes it, so that one whose writer died does not stand
// in the way for ever.
#include <algorithm>
#include <atomic>
#include <new>
#include <vector>

#include "maps/create.hpp"
#include "maps/shared_segment.hpp"
#include "maps/table.hpp"
#include "vm/base/try.hpp"

namespace skep {
namespace {

constexpr uint64_t kNoWakeup = 1, kForceWakeup = 2;  // BPF_RB_*
constexpr uint64_t kBusy = 1u << 31, kDiscarded = 1u << 30, kUsed = 1u << 29;
constexpr uint64_t kLength = kUsed - 1;
constexpr unsigned kOwnerShift = 32;  // the writing process plus 1
constexpr uint64_t kHeader = 8;

struct Positions {
    std::atomic<uint64_t> produced;
    alignas(64) std::atomic<uint64_t> consumed;
    // The oldest record that is being written, or where the last look for it stopped.
    alignas(64) std::atomic<uint64_t> pending;
};
constexpr uint64_t kPositionsBytes = 4096;
static_assert(sizeof(Positions) <= kPositionsBytes);

class SharedRing final : public Map {
public:
    explicit SharedRing(std::unique_ptr<SharedSegment> segment)
        : Map(segment->def()), segment_(std::move(segment)), size_(def().max_entries) {
        set_values({data(), 2 * size_, 1});
    }

    MapMemory memory() const noexcept override {
        return {2 * size_, segment_->bytes() - 2 * size_, 0};
    }

    MapReservation reserve(uint64_t size, uint64_t flags) noexcept override {
        if (flags != 0 || size > kLength || size + kHeader > size_) return {};
        const uint64_t length = round_up(size + kHeader, 8);
        const SharedLock lock(*segment_, SharedSegment::Lock::Producer);
        if (!lock) return {};
        const uint64_t begin = positions().produced.load(std::memory_order_relaxed);
        const uint64_t consumed = positions().consumed.load(std::memory_order_acquire);
        if (begin - consumed > size_ || begin % 8 != 0) return {};  // the consumer repairs
        const uint64_t pending = skip_committed(consumed, begin);
        if (length > size_ || begin + length - consumed >= size_ ||
            begin + length - pending >= size_) {
            return {};
        }
        header(begin).store(size | kUsed | kBusy | uint64_t{segment_->process() + 1} << kOwnerShift,
                            std::memory_order_relaxed);
        positions().produced.store(begin + length, std::memory_order_release);
        const uint64_t offset = begin & (size_ - 1);
        return {data() + offset + kHeader, static_cast<uint32_t>(offset / 8)};
    }
    long commit(uint32_t id, uint64_t) noexcept override { return finish(id, 0); }
    long discard(uint32_t id, uint64_t) noexcept override { return finish(id, kDiscarded); }

    long output(std::span<const std::byte> first, std::span<const std::byte> more, uint64_t flags,
                MapCaller) noexcept override {
        if ((flags & ~(kNoWakeup | kForceWakeup)) != 0) return -EINVAL;
        const MapReservation record = reserve(first.size() + more.size(), 0);
        if (record.data == nullptr) return -EAGAIN;
        relaxed_copy(record.data, first.data(), first.size());
        relaxed_copy(record.data + first.size(), more.data(), more.size());
        return finish(record.id, 0);
    }

    uint64_t query(uint64_t what) noexcept override {
        const uint64_t produced = positions().produced.load(std::memory_order_acquire);
        const uint64_t consumed = positions().consumed.load(std::memory_order_acquire);
        switch (what) {
            case 0: return std::min(produced - consumed, size_);
            case 1: return size_;
            case 2: return consumed;
            case 3: return produced;
            default: return 0;
        }
    }

    long consume(Consume each, void* context, uint64_t limit) noexcept override {
        const SharedLock lock(*segment_, SharedSegment::Lock::Consumer);
        if (!lock) return -EBUSY;
        long taken = 0;
        try {
            // Another process may keep producing: no more than a ring full of records at a time.
            for (uint64_t n = 0; n < size_ / 8 && static_cast<uint64_t>(taken) < limit; ++n) {
                const uint64_t begin = positions().consumed.load(std::memory_order_relaxed);
                const uint64_t produced = positions().produced.load(std::memory_order_acquire);
                if (produced - begin > size_ || begin % 8 != 0 || produced % 8 != 0) {
                    restart();
                    break;
                }
                if (begin == produced) break;
                const uint64_t word = settled(begin);
                if ((word & kUsed) == 0 || (word & kBusy) != 0) break;
                const uint64_t length = std::min(word & kLength, size_ - kHeader);
                bool more = true;
                if ((word & kDiscarded) == 0) {
                    copy_.resize(length);
                    relaxed_copy(copy_.data(), data() + (begin & (size_ - 1)) + kHeader, length);
                    ++taken;
                    more = each(context, {0, copy_, 0});
                }
                header(begin).store(0, std::memory_order_relaxed);
                positions().consumed.store(
                    std::min(begin + round_up(length + kHeader, 8), produced),
                    std::memory_order_release);
                if (!more) break;
            }
        } catch (const std::bad_alloc&) {
            return -ENOMEM;
        }
        return taken;
    }

private:
    Positions& positions() const noexcept {
        return *reinterpret_cast<Positions*>(segment_->map_memory());
    }
    std::byte* data() const noexcept {
        return segment_->map_memory() + kPositionsBytes + segment_->def().max_entries;
    }
    std::atomic<uint64_t>& header_at(uint64_t id) const noexcept {
        return reinterpret_cast<std::atomic<uint64_t>*>(segment_->map_memory() +
                                                        kPositionsBytes)[id];
    }
    std::atomic<uint64_t>& header(uint64_t position) const noexcept {
        return header_at((position & (size_ - 1)) / 8);
    }

    long finish(uint32_t id, uint64_t how) noexcept {
        if (id >= size_ / 8) return -EINVAL;
        std::atomic<uint64_t>& word = header_at(id);
        uint64_t old = word.load(std::memory_order_relaxed);
        do {
            if ((old & (kBusy | kUsed)) != (kBusy | kUsed)) return -EINVAL;
        } while (!word.compare_exchange_weak(old, (old & ~kBusy) | how, std::memory_order_acq_rel));
        return 0;
    }

    // The header there, after it was ended in the name of a writer that died.
    uint64_t settled(uint64_t position) noexcept {
        std::atomic<uint64_t>& word = header(position);
        uint64_t is = word.load(std::memory_order_acquire);
        if ((is & (kBusy | kUsed)) == (kBusy | kUsed) &&
            !segment_->is_alive((is >> kOwnerShift) - 1) &&
            word.compare_exchange_strong(is, (is & ~kBusy) | kDiscarded,
                                         std::memory_order_acq_rel)) {
            return (is & ~kBusy) | kDiscarded;
        }
        return is;
    }

    // The oldest record from `begin` on that is not committed, or `end`. Under the producers' lock.
    uint64_t skip_committed(uint64_t begin, uint64_t end) noexcept {
        uint64_t pending = positions().pending.load(std::memory_order_relaxed);
        if (pending - begin > end - begin || pending % 8 != 0) pending = begin;
        while (pending != end) {
            const uint64_t word = header(pending).load(std::memory_order_acquire);
            if ((word & kUsed) == 0 || (word & kBusy) != 0) break;
            const uint64_t step = round_up((word & kLength) + kHeader, 8);
            if (step > end - pending) break;
            pending += step;
        }
        positions().pending.store(pending, std::memory_order_relaxed);
        return pending;
    }

    // Positions make no sense any more: an empty ring. Under the consumer's lock.
    void restart() noexcept {
        const SharedLock lock(*segment_, SharedSegment::Lock::Producer);
        if (!lock) return;
        for (uint64_t id = 0; id < size_ / 8; ++id) {
            header_at(id).store(0, std::memory_order_relaxed);
        }
        positions().produced.store(0, std::memory_order_relaxed);
        positions().pending.store(0, std::memory_order_relaxed);
        positions().consumed.store(0, std::memory_order_release);
    }

    const std::unique_ptr<SharedSegment> segment_;
    const uint64_t size_;
    std::vector<std::byte> copy_;  // guarded by the consumer's lock
};

}  // namespace

Result<uint64_t> shared_ring_bytes(const MapDef& def, unsigned) {
    // A header for every 8 bytes, and the data twice as long as the ring: a record that crosses the
    // end goes on behind it.
    return kPositionsBytes + uint64_t{def.max_entries} + 2 * uint64_t{def.max_entries};
}

Result<std::shared_ptr<Map>> make_shared_ring(std::unique_ptr<SharedSegment> segment) {
    return std::make_shared<SharedRing>(std::move(segment));
}

}  // namespace skep
