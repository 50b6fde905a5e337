#include "maps/value_objects.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <shared_mutex>

#include "maps/table.hpp"

namespace skep {
namespace {

struct Listed {
    std::shared_mutex mutex;
    std::map<const std::byte*, TableMap*, std::less<>> by_base;
};
Listed& listed() {
    // Never destroyed: maps may outlive other statics.
    static auto* const instance = new Listed;
    return *instance;
}

bool contains(const ValueRange& range, const std::byte* address) noexcept {
    return std::less_equal<>()(range.base, address) &&
           std::less<>()(address, range.base + range.size);
}

TableMap* owner_of(std::span<Map* const> likely, const std::byte* address) noexcept {
    for (Map* map : likely) {
        if (!map->def().fields.empty() && contains(map->values(), address)) {
            return dynamic_cast<TableMap*>(map);
        }
    }
    Listed& all = listed();
    const std::shared_lock lock(all.mutex);
    auto after = all.by_base.upper_bound(address);
    if (after == all.by_base.begin()) return nullptr;
    TableMap* map = (--after)->second;
    return contains(map->values(), address) ? map : nullptr;
}

}  // namespace

std::optional<ValueObject> find_value_object(std::span<Map* const> likely, std::byte* address,
                                             FieldKind kind) noexcept {
    TableMap* map = owner_of(likely, address);
    if (map == nullptr) return std::nullopt;
    const ValueRange range = map->values();
    const auto offset = static_cast<uint64_t>(address - range.base) % range.stride;
    const auto is_it = [&](const SpecialField& f) { return f.kind == kind && f.offset == offset; };
    if (!std::ranges::any_of(map->def().fields, is_it)) return std::nullopt;
    return ValueObject{map, address - offset, static_cast<uint32_t>(offset)};
}

void list_value_objects(TableMap& map) {
    Listed& all = listed();
    const std::unique_lock lock(all.mutex);
    all.by_base[map.values().base] = &map;
}

void unlist_value_objects(TableMap& map) noexcept {
    Listed& all = listed();
    const std::unique_lock lock(all.mutex);
    const auto found = all.by_base.find(map.values().base);
    if (found != all.by_base.end() && found->second == &map) all.by_base.erase(found);
}

}  // namespace skep
