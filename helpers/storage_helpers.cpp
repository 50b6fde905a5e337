// Local storage: values that belong to a host object, kept by the map under the object's number.
#include <skep/context.hpp>
#include <skep/map.hpp>
#include <skep/services.hpp>

#include "helpers/impl.hpp"

namespace skep::helper {

namespace {

constexpr uint64_t kCreate = 1;

bool is_type(HelperEnv& env, const Map& map, std::initializer_list<MapType> types) {
    for (const MapType type : types) {
        if (map.def().type == type) return true;
    }
    env.fail(TrapCode::BadArgument);
    return false;
}

// A socket's number: its cookie, or, without one, its address.
uint64_t number_of(const void* object) {
    const auto* socket = static_cast<const SockContext*>(object);
    return socket->cookie != 0 ? socket->cookie : reinterpret_cast<uintptr_t>(object);
}

}  // namespace

MapValueNonNull get_local_storage(HelperEnv& env, MapArg map, uint64_t) noexcept {
    if (!is_type(env, *map.map, {MapType::CgroupStorage, MapType::PercpuCgroupStorage})) return {};
    const uint64_t cgroup = env.services != nullptr ? env.services->cgroup_id : 1;
    std::byte* value = map->storage(cgroup, nullptr, kCreate, env.caller());
    if (value == nullptr) env.fail(TrapCode::OutOfMemory);
    return {value};
}

MapValueResult sk_storage_get(HelperEnv& env, MapArg map, BtfSockCommon sk, MapValueOrNull value,
                              uint64_t flags) noexcept {
    if (!is_type(env, *map.map, {MapType::SkStorage})) return {};
    if (sk.object == nullptr || (flags & ~kCreate) != 0) return {};
    return {map->storage(number_of(sk.object), value.data, flags, env.caller())};
}

int64_t sk_storage_delete(HelperEnv& env, MapArg map, BtfSockCommon sk) noexcept {
    if (!is_type(env, *map.map, {MapType::SkStorage})) return 0;
    if (sk.object == nullptr) return kEinval;
    return map->storage_erase(number_of(sk.object), env.caller());
}

}  // namespace skep::helper
