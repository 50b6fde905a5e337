#include <cerrno>
#include <cstring>
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

namespace {

// What a saved map begins with; numbers in host byte order.
struct SavedHeader {
    uint64_t magic = 0x31305350414d4b53;  // "SKMAPS01"
    uint64_t key_size = 0, value_size = 0, count = 0;
};

}  // namespace

Result<std::vector<std::byte>> save_entries(Map& map) try {
    SKEP_TRY(const MapEntries entries, read_entries(map));
    SavedHeader header;
    header.key_size = entries.key_size;
    header.value_size = entries.value_size;
    header.count = entries.count();
    std::vector<std::byte> saved;
    saved.reserve(sizeof(header) + entries.keys.size() + entries.values.size());
    const auto head = std::as_bytes(std::span(&header, 1));
    saved.insert(saved.end(), head.begin(), head.end());
    saved.insert(saved.end(), entries.keys.begin(), entries.keys.end());
    saved.insert(saved.end(), entries.values.begin(), entries.values.end());
    return saved;
} catch (const std::bad_alloc&) {
    return fail(ErrorCode::OutOfMemory, "no memory for the entries of a map");
}

Result<void> restore_entries(Map& map, std::span<const std::byte> saved) {
    const auto bad = [&](const std::string& what) {
        return fail(ErrorCode::BadMapContents, "map \"" + map.def().name + "\": " + what);
    };
    SavedHeader header;
    const uint64_t magic = header.magic;
    if (saved.size() < sizeof(header)) return bad("saved entries are cut off");
    std::memcpy(&header, saved.data(), sizeof(header));
    saved = saved.subspan(sizeof(header));
    if (header.magic != magic) return bad("no saved entries");
    if (header.key_size != map.def().key_size || header.value_size != map.host_value_size())
        return bad("saved entries have other sizes than the map's");
    const uint64_t one = header.key_size + header.value_size;
    if (one == 0 || saved.size() / one != header.count || saved.size() % one != 0)
        return bad("saved entries are cut off");
    const std::byte* keys = saved.data();
    const std::byte* values = keys + header.count * header.key_size;
    for (uint64_t i = 0; i < header.count; ++i) {
        const long result =
            map.host_update(keys + i * header.key_size,
                            {values + i * header.value_size, header.value_size}, map_flags::kAny);
        if (result != 0)
            return bad("entry " + std::to_string(i) + " is refused: errno " +
                       std::to_string(-result));
    }
    return {};
}

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
