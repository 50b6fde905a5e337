// The table behind all hash maps: from keys to element numbers.
//
// Buckets are cache lines with eight one-byte tags and element numbers; what does not fit hangs off
// the bucket as a list through the elements. Readers take no lock: they compare tags at once, then
// the key of the few elements whose tag fits. An element's key does not change while it is linked
// and for as long as a run may still see it (maps/node_pool.hpp), and an element never moves within
// its bucket, so that a reader misses nothing that was there all along. Writers lock the bucket.
//
// Keys, links and buckets live apart from values: a program can touch nothing here.
// After Swiss tables (tags) and RCU hash lists (readers).
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "maps/hash_key.hpp"
#include "maps/node_pool.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {

template <class Key>
class HashTable {
public:
    using Held = typename Key::Held;
    static constexpr uint32_t kNone = NodePool::kNone;
    static constexpr unsigned kWidth = 8;

    struct alignas(64) Bucket {
        std::atomic<uint64_t> tags{0};  // 0: empty, else 0x80 | 7 bits of the hash
        std::array<std::atomic<uint32_t>, kWidth> nodes{};
        std::atomic<uint32_t> more{0};  // first of the list, plus 1
        sync::SpinLock lock;
    };
    static_assert(sizeof(Bucket) == 64);

    // Where an element hangs, while its bucket is locked.
    struct Place {
        uint32_t node = kNone;
        unsigned position = 0;      // below kWidth: in the bucket; else in the list
        uint32_t previous = kNone;  // in the list
        explicit operator bool() const noexcept { return node != kNone; }
    };

    Result<void> init(uint32_t key_size, uint32_t entries, uint32_t nodes, bool zero_seed) {
        key_size_ = key_size;
        if (!zero_seed) {
            os::random_bytes(std::as_writable_bytes(std::span(&secret_, 1)));
            secret_.b |= 1;  // never a zero factor
        }
        const uint64_t buckets = std::bit_ceil(std::max<uint64_t>(1, entries / 4));
        mask_ = buckets - 1;
        SKEP_TRY(bucket_pages_, os::Pages::allocate(buckets * sizeof(Bucket)));
        SKEP_TRY(key_pages_, os::Pages::allocate(nodes * Key::stride(key_size)));
        SKEP_TRY(next_pages_, os::Pages::allocate(uint64_t{nodes} * sizeof(uint32_t)));
        buckets_ = reinterpret_cast<Bucket*>(bucket_pages_.data());
        keys_ = key_pages_.data();
        return {};
    }

    uint32_t key_size() const noexcept { return key_size_; }
    uint64_t bytes() const noexcept {
        return bucket_pages_.size() + key_pages_.size() + next_pages_.size();
    }
    uint64_t bucket_count() const noexcept { return mask_ + 1; }
    Bucket& bucket(uint64_t index) const noexcept { return buckets_[index & mask_]; }
    uint64_t hash(const Held& key) const noexcept { return Key::hash(key, key_size_, secret_); }
    const std::byte* key(uint32_t node) const noexcept {
        return keys_ + node * Key::stride(key_size_);
    }
    void store_key(uint32_t node, const Held& key) noexcept {
        Key::store(key, keys_ + node * Key::stride(key_size_), key_size_);
    }

    // False: there never was an element.
    bool used() const noexcept { return used_.load(std::memory_order_relaxed); }

    // Without a lock, inside a read section. `As`: Key, or a policy that stores and hashes alike.
    template <class As = Key>
    [[gnu::always_inline]] uint32_t find(const typename As::Held& key) const noexcept {
        const uint64_t h = As::hash(key, key_size_, secret_);
        const Bucket& b = bucket(h);
        const auto is_it = [&](uint32_t node) {
            return As::equal(key, keys_ + node * As::stride(key_size_), key_size_);
        };
        uint64_t hits = match(b.tags.load(std::memory_order_acquire), h);
        for (; hits != 0; hits &= hits - 1) {
            const unsigned i = static_cast<unsigned>(std::countr_zero(hits)) / 8;
            const uint32_t node = b.nodes[i].load(std::memory_order_acquire);
            if (is_it(node)) return node;
        }
        const uint32_t more = b.more.load(std::memory_order_acquire);
        if (more == 0) [[likely]]
            return kNone;
        return find_in_list<As>(more, key);
    }

    // The rest needs the bucket's lock.

    Place find_locked(const Bucket& b, uint64_t h, const Held& key) const noexcept {
        return find_if(b, match(b.tags.load(std::memory_order_relaxed), h),
                       [&](uint32_t node) { return Key::equal(key, this->key(node), key_size_); });
    }
    Place find_node(const Bucket& b, uint32_t wanted) const noexcept {
        return find_if(b, b.tags.load(std::memory_order_relaxed) & kHighs,
                       [&](uint32_t node) { return node == wanted; });
    }

    // `node` has its key and value.
    void link(Bucket& b, uint64_t h, uint32_t node) noexcept {
        if (!used()) [[unlikely]]
            used_.store(true, std::memory_order_relaxed);
        const uint64_t tags = b.tags.load(std::memory_order_relaxed);
        const uint64_t holes = ~tags & kHighs;
        if (holes == 0) [[unlikely]] {
            next(node).store(b.more.load(std::memory_order_relaxed), std::memory_order_relaxed);
            b.more.store(node + 1, std::memory_order_release);
            return;
        }
        const unsigned i = static_cast<unsigned>(std::countr_zero(holes)) / 8;
        b.nodes[i].store(node, std::memory_order_release);
        b.tags.store(tags | tag(h) << 8 * i, std::memory_order_release);
    }

    // `node` has the key of the element at `place` and a new value.
    void replace(Bucket& b, const Place& place, uint32_t node) noexcept {
        if (place.position < kWidth) {
            b.nodes[place.position].store(node, std::memory_order_release);
            return;
        }
        next(node).store(next(place.node).load(std::memory_order_relaxed),
                         std::memory_order_relaxed);
        link_of(b, place).store(node + 1, std::memory_order_release);
    }

    void unlink(Bucket& b, const Place& place) noexcept {
        if (place.position < kWidth) {
            const uint64_t tags = b.tags.load(std::memory_order_relaxed);
            b.tags.store(tags & ~(uint64_t{0xff} << 8 * place.position), std::memory_order_release);
            return;
        }
        link_of(b, place).store(next(place.node).load(std::memory_order_relaxed),
                                std::memory_order_release);
    }

    // The element after the one at `place` in its bucket; the bucket's first without one.
    uint32_t after(const Bucket& b, const Place& place) const noexcept {
        if (place && place.position >= kWidth) {
            return next(place.node).load(std::memory_order_acquire) - 1;  // 0 - 1 == kNone
        }
        uint64_t used = b.tags.load(std::memory_order_acquire) & kHighs;
        if (place) {
            const unsigned passed = 8 * (place.position + 1);
            used = passed < 64 ? used >> passed << passed : 0;
        }
        if (used == 0) return b.more.load(std::memory_order_acquire) - 1;
        return b.nodes[static_cast<unsigned>(std::countr_zero(used)) / 8].load(
            std::memory_order_acquire);
    }
    // Without a lock: the element at one of the kWidth positions, and the list, or kNone.
    uint32_t at(const Bucket& b, unsigned position) const noexcept {
        const uint64_t tags = b.tags.load(std::memory_order_acquire);
        if ((tags >> 8 * position & 0x80) == 0) return kNone;
        return b.nodes[position].load(std::memory_order_acquire);
    }
    uint32_t first_in_list(const Bucket& b) const noexcept {
        return b.more.load(std::memory_order_acquire) - 1;
    }
    uint32_t next_in_list(uint32_t node) const noexcept {
        return next(node).load(std::memory_order_acquire) - 1;
    }
    bool empty(const Bucket& b) const noexcept {
        return b.tags.load(std::memory_order_acquire) == 0 &&
               b.more.load(std::memory_order_acquire) == 0;
    }

private:
    static constexpr uint64_t kOnes = 0x0101010101010101, kHighs = 0x8080808080808080;

    static uint64_t tag(uint64_t h) noexcept { return 0x80 | h >> 57; }
    // High bits of the bytes that equal the hash's tag; rarely of others too.
    static uint64_t match(uint64_t tags, uint64_t h) noexcept {
        const uint64_t x = tags ^ kOnes * tag(h);
        return (x - kOnes) & ~x & kHighs;
    }

    template <class As>
    [[gnu::noinline]] uint32_t find_in_list(uint32_t more, typename As::Held key) const noexcept {
        for (; more != 0; more = next(more - 1).load(std::memory_order_acquire)) {
            if (As::equal(key, keys_ + (more - 1) * As::stride(key_size_), key_size_))
                return more - 1;
        }
        return kNone;
    }

    template <class Wanted>
    Place find_if(const Bucket& b, uint64_t hits, Wanted wanted) const noexcept {
        for (; hits != 0; hits &= hits - 1) {
            const unsigned i = static_cast<unsigned>(std::countr_zero(hits)) / 8;
            const uint32_t node = b.nodes[i].load(std::memory_order_relaxed);
            if (wanted(node)) return {node, i, kNone};
        }
        uint32_t previous = kNone;
        uint32_t more = b.more.load(std::memory_order_relaxed);
        while (more != 0) {
            if (wanted(more - 1)) return {more - 1, kWidth, previous};
            previous = more - 1;
            more = next(more - 1).load(std::memory_order_relaxed);
        }
        return {};
    }

    std::atomic<uint32_t>& next(uint32_t node) const noexcept {
        return reinterpret_cast<std::atomic<uint32_t>*>(next_pages_.data())[node];
    }
    std::atomic<uint32_t>& link_of(Bucket& b, const Place& place) const noexcept {
        return place.previous == kNone ? b.more : next(place.previous);
    }

    // What a lookup needs, together. Changed once after init(): a table that never had an element
    // is not worth a hash.
    std::atomic<bool> used_{false};
    uint32_t key_size_ = 0;
    Bucket* buckets_ = nullptr;
    std::byte* keys_ = nullptr;
    uint64_t mask_ = 0;
    HashSecret secret_;
    os::Pages bucket_pages_;
    os::Pages key_pages_;
    os::Pages next_pages_;
};

}  // namespace skep
