// Stack traces: numbers for lists of return addresses, so that equal traces count together.
//
// A trace's number is a hash of its frames; what lies there already is compared, and replaced only
// when the caller says so (BPF_F_REUSE_STACKID), else there is no number for the new one (EEXIST).
#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <vector>

#include "maps/create.hpp"
#include "maps/hash_key.hpp"
#include "maps/table.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {
namespace {

// BPF_F_SKIP_FIELD_MASK and BPF_F_USER_STACK are the unwinder's.
constexpr uint64_t kUnwinder = 0xff | 1u << 8, kFastCompare = 1u << 9, kReuse = 1u << 10;
constexpr uint64_t kMaxBytes = uint64_t{1} << 40;

class StackTrace final : public TableMap {
public:
    explicit StackTrace(MapDef definition) : TableMap(std::move(definition), false) {}

    Result<void> init() {
        frames_ = def().value_size / 8;
        buckets_ = std::bit_ceil(uint64_t{def().max_entries});
        stride_ = round_up(sizeof(Header) + def().value_size, 8);
        if (buckets_ * stride_ > kMaxBytes) {
            return fail(ErrorCode::BadMapDef, "map \"" + def().name +
                                                  "\": " + std::to_string(def().max_entries) +
                                                  " entries are too many");
        }
        SKEP_TRY(pages_, os::Pages::allocate(buckets_ * stride_));
        return {};
    }

    MapMemory memory() const noexcept override { return {0, pages_.size() + sizeof(*this), 0}; }

    long store_stack(std::span<const uint64_t> frames, uint64_t flags) noexcept override {
        if ((flags & ~(kUnwinder | kFastCompare | kReuse)) != 0) return -EINVAL;
        const auto count = static_cast<uint32_t>(std::min<uint64_t>(frames.size(), frames_));
        if (count == 0) return -EFAULT;
        const auto* bytes = reinterpret_cast<const std::byte*>(frames.data());
        const auto hash = static_cast<uint32_t>(BytesKey::hash(bytes, count * 8, HashSecret{}));
        const uint32_t id = hash & static_cast<uint32_t>(buckets_ - 1);
        const std::scoped_lock lock(lock_);
        Header& there = header(id);
        if (there.count != 0 && there.hash == hash) {
            if ((flags & kFastCompare) != 0) return id;
            if (there.count == count && std::memcmp(&there + 1, bytes, count * 8) == 0) return id;
        }
        if (there.count != 0 && (flags & kReuse) == 0) return -EEXIST;
        there = {hash, count};
        std::memcpy(&there + 1, bytes, count * 8);
        return id;
    }

    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        if (const long error = host_lookup_error(out, flags)) return error;
        const uint32_t id = relaxed_load<uint32_t>(key);
        if (id >= buckets_) return -ENOENT;
        const std::scoped_lock lock(lock_);
        const Header& there = header(id);
        if (there.count == 0) return -ENOENT;
        std::memset(out.data(), 0, def().value_size);
        std::memcpy(out.data(), &there + 1, there.count * 8);
        return 0;
    }
    long host_update(const std::byte*, std::span<const std::byte>, uint64_t) noexcept override {
        const long error = host_write_error();
        return error != 0 ? error : -EINVAL;
    }
    long host_erase(const std::byte* key) noexcept override {
        if (const long error = host_write_error()) return error;
        const uint32_t id = relaxed_load<uint32_t>(key);
        if (id >= buckets_) return -E2BIG;
        const std::scoped_lock lock(lock_);
        if (header(id).count == 0) return -ENOENT;
        header(id).count = 0;
        return 0;
    }
    long next_key(const std::byte* key, std::byte* next) noexcept override {
        if (const long error = host_read_error()) return error;
        const std::scoped_lock lock(lock_);
        uint64_t id = 0;
        if (key != nullptr) {
            const uint32_t last = relaxed_load<uint32_t>(key);
            if (last < buckets_ && header(last).count != 0) id = uint64_t{last} + 1;
        }
        while (id < buckets_ && header(static_cast<uint32_t>(id)).count == 0) ++id;
        if (id == buckets_) return -ENOENT;
        const auto found = static_cast<uint32_t>(id);
        std::memcpy(next, &found, sizeof(found));
        return 0;
    }

private:
    struct Header {
        uint32_t hash = 0;
        uint32_t count = 0;  // frames; 0: empty
    };
    Header& header(uint32_t id) const noexcept {
        return *reinterpret_cast<Header*>(pages_.data() + id * stride_);
    }

    uint64_t frames_ = 0;
    uint64_t buckets_ = 0;
    uint64_t stride_ = 0;
    sync::SpinLock lock_;
    os::Pages pages_;
};

}  // namespace

Result<std::shared_ptr<Map>> make_stack_trace(MapDef def) {
    return made<StackTrace>(std::move(def));
}

}  // namespace skep
