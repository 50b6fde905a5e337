// Storage that belongs to objects of the host: sockets, tasks, inodes, cgroups, each known by a
// 64-bit number that the host chooses. A program gets its object's value, made on demand; the host
// deletes it with the object.
//
// Linux hangs the value off the object; here a hash map by number does, with room for kObjects, or
// fewer if those would take more than kMaxBytes.
#include <cstring>

#include "maps/create.hpp"
#include "maps/map_types.hpp"
#include "maps/object_heap.hpp"
#include "maps/table.hpp"
#include "vm/base/try.hpp"

namespace skep {
namespace {

constexpr uint32_t kObjects = 65536;
constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
constexpr uint64_t kCreate = 1;  // BPF_LOCAL_STORAGE_GET_F_CREATE

class Storage final : public TableMap {
public:
    Storage(MapDef definition, bool percpu)
        : TableMap(std::move(definition), percpu),
          by_cgroup_(map_type_info(def().type)->key == MapKeyRule::Storage) {}

    Result<void> init() {
        MapDef inner;
        inner.name = def().name;
        inner.type = percpu_ ? MapType::PercpuHash : MapType::Hash;
        inner.key_size = sizeof(uint64_t);
        inner.value_size = def().value_size;
        inner.flags = map_flags::kNoPrealloc;
        inner.fields = def().fields;
        const uint64_t one = round_up(def().value_size, 8) * cpus_;
        inner.max_entries = static_cast<uint32_t>(
            std::max<uint64_t>(1, std::min<uint64_t>(kObjects, kMaxBytes / one)));
        SKEP_TRY(hash_, make_hash(std::move(inner)));
        Map::set_values(hash_->values());
        zero_.resize(host_value_size());
        return {};
    }

    MapMemory memory() const noexcept override { return hash_->memory(); }
    bool keep_objects(const std::shared_ptr<ObjectHeap>& heap) noexcept override {
        return skep::keep_objects(*hash_, heap);
    }
    ValueLocks* locks() noexcept override { return value_locks(*hash_); }

    std::byte* storage(uint64_t object, const std::byte* init, uint64_t flags,
                       MapCaller caller) noexcept override {
        const auto* key = reinterpret_cast<const std::byte*>(&object);
        // Cgroup storage always exists.
        const bool create = by_cgroup_ || (flags & kCreate) != 0;
        if (!by_cgroup_ && (flags & ~kCreate) != 0) return nullptr;
        std::byte* value = hash_->lookup(key, caller);
        if (value != nullptr || !create) return value;
        // Somebody else's may win: then that one is it.
        hash_->update(key, init != nullptr ? init : zero_.data(), map_flags::kNoExist, caller);
        return hash_->lookup(key, caller);
    }
    long storage_erase(uint64_t object, MapCaller caller) noexcept override {
        if (by_cgroup_) return -EINVAL;
        return hash_->erase(reinterpret_cast<const std::byte*>(&object), caller);
    }

    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        if (const long error = host_read_error(flags)) return error;
        const uint64_t object = number(key);
        return hash_->host_lookup(reinterpret_cast<const std::byte*>(&object), out, flags);
    }
    long host_update(const std::byte* key, std::span<const std::byte> in,
                     uint64_t flags) noexcept override {
        if (const long error = host_write_error()) return error;
        const uint64_t object = number(key);
        return hash_->host_update(reinterpret_cast<const std::byte*>(&object), in, flags);
    }
    // The host's object is gone, or its value is no longer wanted.
    long host_erase(const std::byte* key) noexcept override {
        if (const long error = host_write_error()) return error;
        const uint64_t object = number(key);
        return hash_->host_erase(reinterpret_cast<const std::byte*>(&object));
    }
    long next_key(const std::byte* key, std::byte* next) noexcept override {
        uint64_t object = key != nullptr ? number(key) : 0, following = 0;
        const long result =
            hash_->next_key(key != nullptr ? reinterpret_cast<const std::byte*>(&object) : nullptr,
                            reinterpret_cast<std::byte*>(&following));
        if (result != 0) return result;
        std::memset(next, 0, def().key_size);
        std::memcpy(next, &following, std::min<size_t>(sizeof(following), def().key_size));
        return 0;
    }

private:
    // Keys are numbers of 4 or 8 bytes; struct bpf_cgroup_storage_key begins with one.
    uint64_t number(const std::byte* key) const noexcept {
        return def().key_size == 4 ? relaxed_load<uint32_t>(key) : relaxed_load<uint64_t>(key);
    }

    const bool by_cgroup_;
    std::shared_ptr<Map> hash_;
    std::vector<std::byte> zero_;
};

}  // namespace

Result<std::shared_ptr<Map>> make_storage(MapDef def) {
    const bool percpu = def.type == MapType::PercpuCgroupStorage;
    return made<Storage>(std::move(def), percpu);
}

}  // namespace skep
