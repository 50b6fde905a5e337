// Maps that name things of the host: devices, CPUs, sockets, cgroups. An entry is the host's number
// for the thing; what redirecting to it means, the host decides.
//
// The first four or eight bytes of a value are the number. Arrays mark which entries are set; the
// hashes are ordinary hash maps that programs may only read.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "maps/create.hpp"
#include "maps/map_types.hpp"
#include "maps/table.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"

namespace skep {
namespace {

constexpr uint32_t kMaxCpus = 8192;
constexpr uint32_t kMaxQueue = 16384;
constexpr uint64_t kMaxBytes = uint64_t{1} << 40;

bool program_may_look(MapType type) noexcept { return map_type_info(type)->has(map_ops::kLookup); }

class TargetArray final : public TableMap {
public:
    explicit TargetArray(MapDef definition) : TableMap(std::move(definition), false) {}

    Result<void> init() {
        if (def().type == MapType::Cpumap && def().max_entries > kMaxCpus) {
            return fail(ErrorCode::BadMapDef, "map \"" + def().name + "\": max_entries is " +
                                                  std::to_string(def().max_entries) +
                                                  "; at most 8192 CPUs are allowed");
        }
        const uint64_t bytes = uint64_t{def().max_entries} * kStride;
        if (bytes > kMaxBytes) {
            return fail(ErrorCode::BadMapDef, "map \"" + def().name + "\": too many entries");
        }
        SKEP_TRY(pages_, os::Pages::allocate(bytes));
        SKEP_TRY(marks_, os::Pages::allocate(def().max_entries));
        if (program_may_look(def().type)) set_values({pages_.data(), bytes, kStride});
        return {};
    }

    MapMemory memory() const noexcept override {
        return {pages_.size(), marks_.size() + sizeof(*this), 0};
    }

    std::byte* lookup(const std::byte* key, MapCaller) noexcept override {
        const uint32_t index = relaxed_load<uint32_t>(key);
        return program_may_look(def().type) && is_set(index) ? value(index) : nullptr;
    }

    long target(const std::byte* key, uint64_t& number) noexcept override {
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (!is_set(index)) return -ENOENT;
        number = read_number(index);
        return 0;
    }

    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        if (const long error = host_read_error(flags)) return error;
        if (!map_type_info(def().type)->has(map_ops::kHostLookup)) return -EOPNOTSUPP;
        if (out.size() < def().value_size) return -EINVAL;
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (!is_set(index)) return -ENOENT;
        relaxed_copy(out.data(), value(index), def().value_size);
        return 0;
    }

    long host_update(const std::byte* key, std::span<const std::byte> in,
                     uint64_t flags) noexcept override {
        if (const long error = host_update_error(in, flags)) return error;
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (const long error = update_error(index, flags)) return error;
        uint32_t number = 0;
        std::memcpy(&number, in.data(), sizeof(number));
        if (def().type == MapType::Cpumap && number > kMaxQueue) return -EOVERFLOW;
        // Device 0 and a queue of no length mean that there is none.
        const bool empty =
            number == 0 && (def().type == MapType::Devmap || def().type == MapType::Cpumap);
        relaxed_copy(value(index), in.data(), def().value_size);
        mark(index).store(!empty, std::memory_order_release);
        return 0;
    }

    long host_erase(const std::byte* key) noexcept override {
        if (const long error = host_write_error()) return error;
        const uint32_t index = relaxed_load<uint32_t>(key);
        const bool fd_array = def().type == MapType::CgroupArray;
        if (index >= def().max_entries) return fd_array ? -E2BIG : -EINVAL;
        const bool was_set = mark(index).exchange(false, std::memory_order_acq_rel);
        const bool must_be_set =
            fd_array || def().type == MapType::Sockmap || def().type == MapType::ReuseportSockarray;
        if (was_set || !must_be_set) return 0;
        return def().type == MapType::Sockmap ? -EINVAL : -ENOENT;
    }

    long next_key(const std::byte* key, std::byte* next) noexcept override {
        return next_index(def().max_entries, key, next);
    }

private:
    static constexpr uint64_t kStride = 8;

    std::byte* value(uint32_t index) const noexcept { return pages_.data() + index * kStride; }
    std::atomic<bool>& mark(uint32_t index) const noexcept {
        return reinterpret_cast<std::atomic<bool>*>(marks_.data())[index];
    }
    bool is_set(uint32_t index) const noexcept {
        return index < def().max_entries && mark(index).load(std::memory_order_acquire);
    }
    uint64_t read_number(uint32_t index) const noexcept {
        // The second half of a device's or a CPU's value is a program.
        const bool wide =
            map_type_info(def().type)->value == MapValueRule::U32orU64 && def().value_size == 8;
        return wide ? relaxed_load<uint64_t>(value(index)) : relaxed_load<uint32_t>(value(index));
    }
    long update_error(uint32_t index, uint64_t flags) const noexcept {
        if (def().type == MapType::CgroupArray) {
            if (flags != map_flags::kAny) return -EINVAL;
            return index >= def().max_entries ? -E2BIG : 0;
        }
        if (flags > map_flags::kExist) return -EINVAL;
        if (index >= def().max_entries) return -E2BIG;
        if (def().type == MapType::Devmap || def().type == MapType::Cpumap) {
            return flags == map_flags::kNoExist ? -EEXIST : 0;
        }
        if (flags == map_flags::kNoExist && is_set(index)) return -EEXIST;
        return flags == map_flags::kExist && !is_set(index) ? -ENOENT : 0;
    }

    os::Pages pages_;
    os::Pages marks_;
};

class TargetHash final : public TableMap {
public:
    explicit TargetHash(MapDef definition) : TableMap(std::move(definition), false) {}

    Result<void> init() {
        MapDef inner;
        inner.name = def().name;
        inner.type = MapType::Hash;
        inner.key_size = def().key_size;
        inner.value_size = def().value_size;
        inner.max_entries = def().max_entries;
        SKEP_TRY(hash_, make_hash(std::move(inner)));
        if (program_may_look(def().type)) set_values(hash_->values());
        return {};
    }

    MapMemory memory() const noexcept override { return hash_->memory(); }

    std::byte* lookup(const std::byte* key, MapCaller caller) noexcept override {
        return program_may_look(def().type) ? hash_->lookup(key, caller) : nullptr;
    }
    long target(const std::byte* key, uint64_t& number) noexcept override {
        const std::byte* value = hash_->lookup(key, {0});
        if (value == nullptr) return -ENOENT;
        const bool wide = def().type == MapType::Sockhash && def().value_size == 8;
        number = wide ? relaxed_load<uint64_t>(value) : relaxed_load<uint32_t>(value);
        return 0;
    }
    // Only socket hashes let programs delete.
    long erase(const std::byte* key, MapCaller caller) noexcept override {
        return def().type == MapType::Sockhash ? hash_->erase(key, caller) : -EOPNOTSUPP;
    }

    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        const long error = host_read_error(flags);
        return error != 0 ? error : hash_->host_lookup(key, out, 0);
    }
    long host_update(const std::byte* key, std::span<const std::byte> in,
                     uint64_t flags) noexcept override {
        if (const long error = host_write_error()) return error;
        if (in.size() < def().value_size || flags > map_flags::kExist) return -EINVAL;
        uint32_t number = 0;
        std::memcpy(&number, in.data(), sizeof(number));
        if (def().type == MapType::DevmapHash) {
            if (number == 0) return -EINVAL;
            // Linux does not look whether an entry is there that "exist" asks for.
            if (flags == map_flags::kExist) flags = map_flags::kAny;
        }
        return hash_->host_update(key, in, flags);
    }
    long host_erase(const std::byte* key) noexcept override {
        const long error = host_write_error();
        return error != 0 ? error : hash_->host_erase(key);
    }
    long next_key(const std::byte* key, std::byte* next) noexcept override {
        const long error = host_read_error();
        return error != 0 ? error : hash_->next_key(key, next);
    }

private:
    std::shared_ptr<Map> hash_;
};

}  // namespace

Result<std::shared_ptr<Map>> make_targets(MapDef def) {
    const bool hashed = def.type == MapType::DevmapHash || def.type == MapType::Sockhash;
    if (hashed) return made<TargetHash>(std::move(def));
    return made<TargetArray>(std::move(def));
}

}  // namespace skep
