#include <cerrno>
#include <new>
#include <string>
#include <unordered_set>

#include <skep/map_batch.hpp>

#include "maps/map_types.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/slots.hpp"

namespace skep {
namespace {

using Keys = std::unordered_set<std::string>;

struct Collector {
    Keys* keys;
    size_t key_size;
    uint64_t limit;
    bool out_of_memory = false;

    bool add(const std::byte* key) noexcept {
        try {
            keys->emplace(reinterpret_cast<const char*>(key), key_size);
        } catch (const std::bad_alloc&) {
            out_of_memory = true;
        }
        return !out_of_memory && keys->size() < limit;
    }
};

// In one pass, which a key that vanishes does not set back, where the type has one.
Result<Keys> keys_of(Map& map, uint64_t limit) {
    Keys keys;
    if (limit == 0) return keys;
    Collector collector{&keys, map.def().key_size, limit};
    const auto visit = [](void* context, const std::byte* key, std::byte*) {
        return static_cast<Collector*>(context)->add(key);
    };
    if (map_type_info(map.def().type)->has(map_ops::kForEach)) {
        const sync::HostSection section;
        map.for_each(visit, &collector, {0});
    } else {
        std::vector<std::byte> key(map.def().key_size), next(map.def().key_size);
        long result = map.next_key(nullptr, next.data());
        // Others may keep deleting the key that we are at.
        for (uint64_t steps = 0; result == 0 && steps < 2 * uint64_t{UINT32_MAX}; ++steps) {
            key = next;
            if (!collector.add(key.data())) break;
            result = map.next_key(key.data(), next.data());
        }
        if (result != 0 && result != -ENOENT) {
            return fail(ErrorCode::InvalidArgument, "map \"" + map.def().name +
                                                        "\" cannot be iterated over: errno " +
                                                        std::to_string(-result));
        }
    }
    if (collector.out_of_memory) throw std::bad_alloc();
    return keys;
}

}  // namespace

Result<MapEntries> read_entries(Map& map, uint64_t limit, bool erase) try {
    const MapTypeInfo& type = *map_type_info(map.def().type);
    if (map.def().key_size == 0 || !type.has(map_ops::kHostLookup)) {
        return fail(ErrorCode::InvalidArgument, "map \"" + map.def().name + "\": maps of type " +
                                                    std::string(type.name) +
                                                    " have no entries to read");
    }
    SKEP_TRY(const Keys keys, keys_of(map, limit));
    MapEntries entries;
    entries.key_size = map.def().key_size;
    entries.value_size = map.host_value_size();
    std::vector<std::byte> value(entries.value_size);
    for (const std::string& key : keys) {
        const auto* bytes = reinterpret_cast<const std::byte*>(key.data());
        const long result = map.host_lookup(bytes, value, 0);
        if (result == -ENOENT) continue;
        if (result != 0) {
            return fail(
                ErrorCode::InvalidArgument,
                "map \"" + map.def().name + "\" cannot be read: errno " + std::to_string(-result));
        }
        if (erase && map.host_erase(bytes) != 0) continue;  // somebody else's now
        entries.keys.insert(entries.keys.end(), bytes, bytes + key.size());
        entries.values.insert(entries.values.end(), value.begin(), value.end());
    }
    return entries;
} catch (const std::bad_alloc&) {
    return fail(ErrorCode::OutOfMemory, "no memory for the entries of a map");
}

long write_entries(Map& map, const MapEntries& entries, uint64_t flags, uint64_t& done) noexcept {
    done = 0;
    if (entries.key_size != map.def().key_size || entries.value_size != map.host_value_size() ||
        entries.values.size() < entries.count() * entries.value_size) {
        return -EINVAL;
    }
    for (; done < entries.count(); ++done) {
        const long result = map.host_update(entries.key(done).data(), entries.value(done), flags);
        if (result != 0) return result;
    }
    return 0;
}

long erase_entries(Map& map, const MapEntries& entries, uint64_t& done) noexcept {
    done = 0;
    if (entries.key_size != map.def().key_size) return -EINVAL;
    for (; done < entries.count(); ++done) {
        const long result = map.host_erase(entries.key(done).data());
        if (result != 0) return result;
    }
    return 0;
}

}  // namespace skep
