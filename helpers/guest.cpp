// Guest addresses and map handles: see the header.
#include "helpers/guest.hpp"

#include <skep/map.hpp>

namespace skep::guest {

namespace {

// The region of `address` if it is plain memory that contains it, and the distance from its start.
const Region* region_of(const HelperEnv& env, uint64_t address, uint64_t& distance) noexcept {
    const uint64_t number = address >> 32;
    if (number >= env.region_count) return nullptr;
    const Region& region = env.regions[number];
    if (region.kind != static_cast<uint32_t>(RegionKind::Memory)) return nullptr;
    distance = static_cast<uint32_t>(static_cast<uint32_t>(address) - region.lo);
    return distance <= region.readable ? &region : nullptr;
}

Region region_for(const Map& map) noexcept {
    const ValueRange values = map.values();
    Region region;
    region.base = values.base;
    region.kind = static_cast<uint32_t>(RegionKind::Memory);
    region.readable = (map.def().flags & map_flags::kWronlyProg) != 0 ? 0 : values.size;
    const bool constant = (map.def().flags & map_flags::kRdonlyProg) != 0 || map.def().frozen;
    region.writable = constant ? 0 : values.size;
    return region;
}

// The region number of a map of this run, or 0.
uint32_t region_number(HelperEnv& env, Map* map) noexcept {
    for (size_t i = 0; i < env.maps.size(); ++i) {
        if (env.maps[i] == map) return region::kFirstMap + static_cast<uint32_t>(i);
    }
    for (uint32_t i = 0; i < env.dynamic_count; ++i) {
        if (env.dynamic_maps[i] == map) return region::kFirstDynamic + i;
    }
    if (env.dynamic_count == std::size(env.dynamic_maps)) {
        env.fail(TrapCode::OutOfMemory);
        return 0;
    }
    const uint32_t index = env.dynamic_count++;
    env.dynamic_maps[index] = map;
    env.regions[region::kFirstDynamic + index] = region_for(*map);
    return region::kFirstDynamic + index;
}

}  // namespace

std::byte* memory(const HelperEnv& env, uint64_t address, uint64_t size, bool write) noexcept {
    uint64_t distance = 0;
    const Region* region = region_of(env, address, distance);
    if (region == nullptr) return nullptr;
    const uint64_t limit = write ? region->writable : region->readable;
    if (distance > limit || size > limit - distance) return nullptr;
    return region->base + distance;
}

uint64_t readable(const HelperEnv& env, uint64_t address) noexcept {
    uint64_t distance = 0;
    const Region* region = region_of(env, address, distance);
    return region == nullptr ? 0 : region->readable - distance;
}

bool is_constant(const HelperEnv& env, uint64_t address) noexcept {
    const uint64_t number = address >> 32;
    if (number < region::kFirstMap || number - region::kFirstMap >= env.maps.size()) return false;
    const Map& map = *env.maps[number - region::kFirstMap];
    const bool read_only = (map.def().flags & map_flags::kRdonlyProg) != 0;
    return map.def().frozen || (read_only && map.frozen());
}

Map* map_of_handle(const HelperEnv& env, uint64_t handle) noexcept {
    if (handle >> 32 != region::kMapHandle) return nullptr;
    if (handle % region::kMapHandleStep != 0) return nullptr;
    const uint32_t index = static_cast<uint32_t>(handle) / region::kMapHandleStep;
    if (index < env.maps.size()) return env.maps[index];
    // Inner maps: their handles follow the address space of map indexes from the other end.
    const uint32_t dynamic = region::kMaxMapHandles - 1 - index;
    return dynamic < env.dynamic_count ? env.dynamic_maps[dynamic] : nullptr;
}

uint64_t handle_of_map(HelperEnv& env, Map* map) noexcept {
    if (map == nullptr) return 0;
    const uint32_t number = region_number(env, map);
    if (number == 0) return 0;
    if (number >= region::kFirstMap) {
        return map_handle(number - region::kFirstMap);
    }
    return map_handle(region::kMaxMapHandles - 1 - (number - region::kFirstDynamic));
}

uint64_t address_of_value(HelperEnv& env, Map* map, const std::byte* value) noexcept {
    if (value == nullptr || map == nullptr) return 0;
    const uint32_t number = region_number(env, map);
    if (number == 0) return 0;
    const ValueRange values = map->values();
    const Region& region = env.regions[number];
    const auto offset = static_cast<uint64_t>(value - values.base);
    // A map without an address range of its own has nothing that a sandbox could name.
    if (values.base == nullptr || offset >= values.size) {
        env.fail(TrapCode::Unsupported);
        return 0;
    }
    return guest_address(number, region.lo + static_cast<uint32_t>(offset));
}

}  // namespace skep::guest
