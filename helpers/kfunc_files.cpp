// Kernel functions on files, user memory, maps and keys.
//
// Files have no extended attributes and no digests here: what asks for them gets Linux's answer for
// such files. Keys are names of keyrings; nothing verifies signatures.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include <skep/map.hpp>

#include "helpers/dynptr.hpp"
#include "helpers/guest.hpp"
#include "helpers/impl.hpp"
#include "helpers/kernel_world.hpp"
#include "helpers/kfunc_impl.hpp"
#include "helpers/objects.hpp"
#include "helpers/readable.hpp"

namespace skep::kfunc {

namespace {

using helper::kEfault;
using helper::kEinval;
constexpr int32_t kEperm = -1, kEnodata = -61, kEnotsup = -95;

uint64_t pointer_at(const HelperEnv& env, uint64_t object,
                    std::optional<uint32_t> offset) noexcept {
    uint64_t value = 0;
    if (object != 0 && offset)
        read_bytes(env, object + *offset, reinterpret_cast<std::byte*>(&value), sizeof value);
    return value;
}

std::byte* opaque(uint64_t address) noexcept {
    return reinterpret_cast<std::byte*>(static_cast<uintptr_t>(address));
}

bool may_read(ConstStr name) noexcept {
    const std::string_view text(name.text);
    return text.starts_with("user.") || text.starts_with("security.bpf.");
}
bool may_write(ConstStr name) noexcept {
    return std::string_view(name.text).starts_with("security.bpf.");
}
int32_t read_attribute(HelperEnv& env, ConstStr name, AnyDynptr value) noexcept {
    if (dynptr_bytes(env, value.dynptr).data() == nullptr) return kEinval;
    return may_read(name) ? kEnodata : kEperm;
}

}  // namespace

int32_t bpf_get_dentry_xattr(HelperEnv& env, uint64_t, ConstStr name, AnyDynptr value) noexcept {
    return read_attribute(env, name, value);
}
int32_t bpf_get_file_xattr(HelperEnv& env, uint64_t, ConstStr name, AnyDynptr value) noexcept {
    return read_attribute(env, name, value);
}
int32_t bpf_set_dentry_xattr(HelperEnv&, uint64_t, ConstStr name, AnyDynptr, int32_t) noexcept {
    return may_write(name) ? kEnotsup : kEperm;
}
int32_t bpf_remove_dentry_xattr(HelperEnv&, uint64_t, ConstStr name) noexcept {
    return may_write(name) ? kEnotsup : kEperm;
}
int32_t bpf_get_fsverity_digest(HelperEnv& env, uint64_t, AnyDynptr digest) noexcept {
    return dynptr_bytes(env, digest.dynptr).data() == nullptr ? static_cast<int32_t>(kEinval)
                                                              : kEnodata;
}

uint64_t bpf_get_task_exe_file(HelperEnv& env, uint64_t task) noexcept {
    if (env.world == nullptr) return 0;
    const KernelOffsets& o = env.world->offsets();
    const uint64_t file = pointer_at(env, pointer_at(env, task, o.task_mm), o.mm_exe_file);
    return is_kernel_address(file) && objects::hold(env, opaque(file)) ? file : 0;
}
void bpf_put_file(HelperEnv& env, uint64_t file) noexcept {
    if (!objects::give_up(env, opaque(file))) objects::refused(env);
}
int32_t bpf_path_d_path(HelperEnv& env, BtfArg<ObjectKind::Path> path, WriteMem out) noexcept {
    return static_cast<int32_t>(helper::d_path(env, path, {out.data, out.size}));
}

// --- user memory
// ----------------------------------------------------------------------------------

int32_t bpf_copy_from_user_str(HelperEnv& env, WriteMemOrEmpty out, uint64_t from,
                               uint64_t flags) noexcept {
    constexpr uint64_t kPadZeros = 1;
    if ((flags & ~kPadZeros) != 0) {
        std::memset(out.data, 0, out.size);
        return kEinval;
    }
    return static_cast<int32_t>(read_string(env, from, out.data, out.size));
}
int32_t bpf_copy_from_user_task_str(HelperEnv& env, WriteMemOrEmpty out, uint64_t from,
                                    uint64_t task, uint64_t flags) noexcept {
    if (task == helper::get_current_task(env)) return bpf_copy_from_user_str(env, out, from, flags);
    std::memset(out.data, 0, out.size);
    return kEfault;
}
int32_t bpf_copy_from_user_dynptr(HelperEnv& env, AnyDynptr to, uint32_t offset, uint32_t size,
                                  uint64_t from) noexcept {
    return bpf_probe_read_user_dynptr(env, to, offset, size, from);
}
int32_t bpf_copy_from_user_str_dynptr(HelperEnv& env, AnyDynptr to, uint32_t offset, uint32_t size,
                                      uint64_t from) noexcept {
    return bpf_probe_read_user_str_dynptr(env, to, offset, size, from);
}

// --- maps
// -----------------------------------------------------------------------------------------

// Only maps of the hash kinds count their elements.
int64_t bpf_map_sum_elem_count(HelperEnv& env, uint64_t object) noexcept {
    Map* map = nullptr;
    if (env.sandbox) {
        map = guest::map_of_handle(env, object);
    } else {
        const auto found = std::ranges::find_if(env.maps, [&](const Map* known) {
            return reinterpret_cast<uintptr_t>(known) == object;
        });
        if (found != env.maps.end()) map = *found;
    }
    if (map == nullptr) return 0;
    switch (map->def().type) {
        case MapType::Hash:
        case MapType::LruHash:
        case MapType::PercpuHash:
        case MapType::LruPercpuHash:
        case MapType::HashOfMaps: break;
        default: return 0;
    }
    int64_t count = 0;
    std::unique_ptr<std::byte[]> keys(new (std::nothrow)
                                          std::byte[2 * size_t{map->def().key_size}]);
    if (keys == nullptr) return 0;
    std::byte *key = nullptr, *next = keys.get();
    while (map->next_key(key, next) == 0 && env.charge(count % 64 == 0)) {
        ++count;
        key = next;
        next = key == keys.get() ? keys.get() + map->def().key_size : keys.get();
    }
    return count;
}

// --- keys
// -----------------------------------------------------------------------------------------

uint64_t bpf_lookup_system_key(HelperEnv& env, uint64_t id) noexcept {
    constexpr uint64_t kLastKeyring = 2;  // builtin, secondary, platform
    ObjectHeap* heap = objects::heap_of(env);
    if (heap == nullptr || id > kLastKeyring) return 0;
    try {
        auto layout = std::make_shared<ObjectLayout>();
        layout->size = 16;  // struct bpf_key
        std::byte* key = heap->allocate(std::move(layout));
        return key != nullptr && objects::hold(env, key) ? objects::shown(env, key) : 0;
    } catch (const std::bad_alloc&) {
        return 0;
    }
}
// No user has a keyring here.
uint64_t bpf_lookup_user_key(HelperEnv&, int32_t, uint64_t) noexcept { return 0; }
void bpf_key_put(HelperEnv& env, uint64_t key) noexcept { objects::release(env, key); }

}  // namespace skep::kfunc
