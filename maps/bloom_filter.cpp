// Bloom filter: push adds a value, peek says "maybe" (0) or "certainly not" (ENOENT).
//
// As large as Linux makes it: 7/5 bits for each hash of each entry, rounded up to a power of two.
// After Bloom, CACM 1970.
#include <atomic>
#include <bit>
#include <span>

#include "maps/create.hpp"
#include "maps/hash_key.hpp"
#include "maps/table.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"

namespace skep {
namespace {

constexpr uint32_t kDefaultHashes = 5;

class BloomFilter final : public TableMap {
public:
    explicit BloomFilter(MapDef definition) : TableMap(std::move(definition), false) {}

    Result<void> init() {
        if ((def().map_extra & ~uint64_t{15}) != 0) {
            return fail(ErrorCode::BadMapDef, "map \"" + def().name +
                                                  "\": map_extra gives the number of hashes, "
                                                  "at most 15");
        }
        hashes_ = def().map_extra != 0 ? static_cast<uint32_t>(def().map_extra) : kDefaultHashes;
        const uint64_t wanted = uint64_t{def().max_entries} * hashes_ / 5 * 7;
        const uint64_t bits = wanted > uint64_t{1} << 31
                                  ? uint64_t{1} << 32
                                  : std::bit_ceil(std::max<uint64_t>(64, wanted));
        mask_ = bits - 1;
        if ((def().flags & map_flags::kZeroSeed) == 0) {
            os::random_bytes(std::as_writable_bytes(std::span(&secret_, 1)));
            secret_.b |= 1;
        }
        SKEP_TRY(pages_, os::Pages::allocate(bits / 8));
        return {};
    }

    MapMemory memory() const noexcept override { return {0, pages_.size() + sizeof(*this), 0}; }

    long push(const std::byte* value, uint64_t flags, MapCaller) noexcept override {
        const long error = program_write_error();
        return error != 0 ? error : add(value, flags);
    }
    // `value` is what is asked for.
    long peek(std::byte* value, MapCaller) noexcept override { return test(value); }

    long host_update(const std::byte*, std::span<const std::byte> in,
                     uint64_t flags) noexcept override {
        if (const long error = host_update_error(in, flags)) return error;
        return add(in.data(), flags);
    }
    long host_lookup(const std::byte*, std::span<std::byte> out, uint64_t flags) noexcept override {
        if (const long error = host_lookup_error(out, flags)) return error;
        return test(out.data());
    }

private:
    std::atomic<uint64_t>& word(uint64_t bit) const noexcept {
        return reinterpret_cast<std::atomic<uint64_t>*>(pages_.data())[bit / 64];
    }
    // Double hashing, after Kirsch and Mitzenmacher, 2006.
    template <class Each>
    bool each_bit(const std::byte* value, Each each) const noexcept {
        const uint64_t first = BytesKey::hash(value, def().value_size, secret_);
        const uint64_t step = fold(first ^ secret_.c, secret_.b) | 1;
        for (uint32_t i = 0; i < hashes_; ++i) {
            if (!each((first + i * step) & mask_)) return false;
        }
        return true;
    }
    long add(const std::byte* value, uint64_t flags) noexcept {
        if (flags != map_flags::kAny) return -EINVAL;
        each_bit(value, [&](uint64_t bit) {
            word(bit).fetch_or(uint64_t{1} << bit % 64, std::memory_order_relaxed);
            return true;
        });
        return 0;
    }
    long test(const std::byte* value) const noexcept {
        const bool maybe = each_bit(value, [&](uint64_t bit) {
            return (word(bit).load(std::memory_order_relaxed) >> bit % 64 & 1) != 0;
        });
        return maybe ? 0 : -ENOENT;
    }

    uint32_t hashes_ = 0;
    uint64_t mask_ = 0;
    HashSecret secret_;
    os::Pages pages_;
};

}  // namespace

Result<std::shared_ptr<Map>> make_bloom_filter(MapDef def) {
    return made<BloomFilter>(std::move(def));
}

}  // namespace skep
