// Map helpers. Results and errno values are the maps' own; what is here is Linux's checks that do
// not depend on the map, and the exposure of what callbacks get.
#include <skep/map.hpp>

#include "helpers/guest.hpp"
#include "helpers/impl.hpp"
#include "helpers/sockets.hpp"

namespace skep::helper {

namespace {

// Programs change these only through the system call or through helpers of their own.
bool updates_allowed(const Map& map) {
    switch (map.def().type) {
        case MapType::ProgArray:
        case MapType::ArrayOfMaps:
        case MapType::HashOfMaps:
        case MapType::PerfEventArray:
        case MapType::StackTrace:
        case MapType::CgroupArray:
        case MapType::StructOps: return false;
        default: return (map.def().flags & map_flags::kRdonlyProg) == 0;
    }
}

}  // namespace

MapValueResult map_lookup_elem(HelperEnv& env, MapArg map, MapKey key) noexcept {
    if (holds_sockets(*map.map))
        return {reinterpret_cast<std::byte*>(load_socket(env, *map.map, key.data))};
    return {map->find(key.data, env.caller())};
}

MapValueResult map_lookup_percpu_elem(HelperEnv& env, MapArg map, MapKey key,
                                      uint32_t cpu) noexcept {
    (void)env;
    if (cpu >= cpu_slots()) return {nullptr};
    return {map->lookup_percpu(key.data, cpu)};
}

int64_t map_update_elem(HelperEnv& env, MapArg map, MapKey key, MapValue value,
                        uint64_t flags) noexcept {
    if (!updates_allowed(*map.map)) return kEopnotsupp;
    // The value is a socket, not memory.
    if (holds_sockets(*map.map))
        return store_socket(*map.map, key.data, socket_at(env, value.data), flags);
    return map->update(key.data, value.data, flags, env.caller());
}

int64_t map_delete_elem(HelperEnv& env, MapArg map, MapKey key) noexcept {
    if (!updates_allowed(*map.map)) return kEopnotsupp;
    if (holds_sockets(*map.map)) return map->host_erase(key.data);
    return map->erase(key.data, env.caller());
}

int64_t map_push_elem(HelperEnv& env, MapArg map, MapValue value, uint64_t flags) noexcept {
    return map->push(value.data, flags, env.caller());
}

int64_t map_pop_elem(HelperEnv& env, MapArg map, MapValueOut value) noexcept {
    return map->pop(value.data, env.caller());
}

int64_t map_peek_elem(HelperEnv& env, MapArg map, MapValueOut value) noexcept {
    return map->peek(value.data, env.caller());
}

}  // namespace skep::helper
