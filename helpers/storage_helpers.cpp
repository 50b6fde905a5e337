// Local storage: values that belong to a host object, kept by the map under the object's number.
#include <skep/context.hpp>
#include <skep/map.hpp>
#include <skep/services.hpp>

#include "helpers/impl.hpp"
#include "helpers/kernel_world.hpp"
#include "helpers/readable.hpp"
#include "helpers/sockets.hpp"

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

// A kernel object's number: what identifies it there, read from published memory, else its address.
uint64_t number_at(const HelperEnv& env, uint64_t object, std::optional<uint32_t> offset,
                   uint32_t size) {
    uint64_t number = 0;
    if (!offset || !read_bytes(env, object + *offset, reinterpret_cast<std::byte*>(&number), size))
        return object;
    return number;
}

uint64_t address(const void* object) { return reinterpret_cast<uintptr_t>(object); }

const KernelOffsets* offsets(const HelperEnv& env) {
    return env.world != nullptr ? &env.world->offsets() : nullptr;
}

uint64_t socket_key(const HelperEnv& env, const void* object) {
    const SockContext* socket = socket_at(env, object);
    return socket != nullptr ? socket_number(*socket) : address(object);
}
uint64_t task_key(const HelperEnv& env, const void* task) {
    const KernelOffsets* o = offsets(env);
    return o == nullptr ? address(task) : number_at(env, address(task), o->task_pid, 4);
}
uint64_t inode_key(const HelperEnv& env, const void* inode) {
    const KernelOffsets* o = offsets(env);
    return o == nullptr ? address(inode) : number_at(env, address(inode), o->inode_ino, 8);
}
uint64_t cgroup_key(const HelperEnv& env, const void* cgroup) {
    const KernelOffsets* o = offsets(env);
    if (o == nullptr || !o->cgroup_kn || !o->kn_id) return address(cgroup);
    const uint64_t node = number_at(env, address(cgroup), o->cgroup_kn, 8);
    return node == address(cgroup) ? node : number_at(env, node, o->kn_id, 8);
}

MapValueResult get(HelperEnv& env, Map& map, MapType type, const void* object, uint64_t key,
                   MapValueOrNull value, uint64_t flags) {
    if (!is_type(env, map, {type})) return {};
    if (object == nullptr || (flags & ~kCreate) != 0) return {};
    return {map.storage(key, value.data, flags, env.caller())};
}

int64_t remove(HelperEnv& env, Map& map, MapType type, const void* object, uint64_t key) {
    if (!is_type(env, map, {type})) return 0;
    return object == nullptr ? kEinval : map.storage_erase(key, env.caller());
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
    return get(env, *map.map, MapType::SkStorage, sk.object, socket_key(env, sk.object), value,
               flags);
}
MapValueResult sk_storage_get(HelperEnv& env, MapArg map, CtxArg sk, MapValueOrNull value,
                              uint64_t flags) noexcept {
    return get(env, *map.map, MapType::SkStorage, sk.host, socket_key(env, sk.host), value, flags);
}
MapValueResult sk_storage_get(HelperEnv& env, MapArg map, BtfOrNull<ObjectKind::SockCommon> sk,
                              MapValueOrNull value, uint64_t flags) noexcept {
    return get(env, *map.map, MapType::SkStorage, sk.object, socket_key(env, sk.object), value,
               flags);
}
int64_t sk_storage_delete(HelperEnv& env, MapArg map, BtfSockCommon sk) noexcept {
    return remove(env, *map.map, MapType::SkStorage, sk.object, socket_key(env, sk.object));
}
int64_t sk_storage_delete(HelperEnv& env, MapArg map,
                          BtfOrNull<ObjectKind::SockCommon> sk) noexcept {
    return remove(env, *map.map, MapType::SkStorage, sk.object, socket_key(env, sk.object));
}

MapValueResult task_storage_get(HelperEnv& env, MapArg map, BtfOrNull<ObjectKind::Task> task,
                                MapValueOrNull value, uint64_t flags) noexcept {
    return get(env, *map.map, MapType::TaskStorage, task.object, task_key(env, task.object), value,
               flags);
}
int64_t task_storage_delete(HelperEnv& env, MapArg map, BtfOrNull<ObjectKind::Task> task) noexcept {
    return remove(env, *map.map, MapType::TaskStorage, task.object, task_key(env, task.object));
}

MapValueResult inode_storage_get(HelperEnv& env, MapArg map, BtfOrNull<ObjectKind::Inode> inode,
                                 MapValueOrNull value, uint64_t flags) noexcept {
    return get(env, *map.map, MapType::InodeStorage, inode.object, inode_key(env, inode.object),
               value, flags);
}
int64_t inode_storage_delete(HelperEnv& env, MapArg map,
                             BtfOrNull<ObjectKind::Inode> inode) noexcept {
    return remove(env, *map.map, MapType::InodeStorage, inode.object, inode_key(env, inode.object));
}

MapValueResult cgrp_storage_get(HelperEnv& env, MapArg map, BtfOrNull<ObjectKind::Cgroup> cgroup,
                                MapValueOrNull value, uint64_t flags) noexcept {
    return get(env, *map.map, MapType::CgrpStorage, cgroup.object, cgroup_key(env, cgroup.object),
               value, flags);
}
int64_t cgrp_storage_delete(HelperEnv& env, MapArg map,
                            BtfOrNull<ObjectKind::Cgroup> cgroup) noexcept {
    return remove(env, *map.map, MapType::CgrpStorage, cgroup.object,
                  cgroup_key(env, cgroup.object));
}

}  // namespace skep::helper
