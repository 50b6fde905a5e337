// Look-up of readable memory: see the header.
#include "helpers/readable.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <skep/context.hpp>
#include <skep/map.hpp>
#include <skep/services.hpp>

#include "helpers/guest.hpp"
#include "helpers/kernel_world.hpp"
#include "maps/object_heap.hpp"
#include "vm/prog/prog_type.hpp"

namespace skep {

namespace {

using Bytes = std::span<const std::byte>;

Bytes tail_of(const std::byte* base, uint64_t size, uint64_t address) {
    const auto begin = reinterpret_cast<uintptr_t>(base);
    if (base == nullptr || address < begin || address - begin >= size) return {};
    return {base + (address - begin), size - (address - begin)};
}

// Verified programs hold host addresses: their stack, map values, packet and bytes context.
Bytes own_memory(const HelperEnv& env, uint64_t address) {
    if (Bytes found = tail_of(env.stack_memory, env.stack_bytes, address); !found.empty()) {
        return found;
    }
    if (env.heap != nullptr) {
        if (Bytes found = tail_of(env.heap->base(), env.heap->bytes(), address); !found.empty())
            return found;
    }
    if (env.packet != nullptr) {
        const PacketBuffer& packet = *env.packet;
        const auto size = static_cast<uint64_t>(packet.data_end - packet.data_meta);
        if (Bytes found = tail_of(packet.data_meta, size, address); !found.empty()) return found;
    }
    for (const Map* map : env.maps) {
        const ValueRange values = map->values();
        if (Bytes found = tail_of(values.base, values.size, address); !found.empty()) return found;
    }
    if (env.layout != nullptr && env.layout->is_bytes && env.ctx != nullptr) {
        const auto& bytes = *static_cast<const BytesContext*>(env.ctx);
        if (Bytes found = tail_of(bytes.key, bytes.key_size, address); !found.empty()) return found;
        if (Bytes found = tail_of(bytes.value, bytes.value_size, address); !found.empty())
            return found;
        const auto distance = address - reinterpret_cast<uintptr_t>(env.ctx);
        if (distance < bytes.size) return {bytes.data + distance, bytes.size - distance};
    }
    return {};
}

Bytes guest_memory(const HelperEnv& env, uint64_t address) {
    if (address >> 32 == region::kContext && env.layout != nullptr && env.layout->is_bytes &&
        env.ctx != nullptr) {
        const auto& bytes = *static_cast<const BytesContext*>(env.ctx);
        const auto offset = static_cast<uint32_t>(address);
        if (offset < bytes.size) return {bytes.data + offset, bytes.size - offset};
        return {};
    }
    const uint64_t size = guest::readable(env, address);
    return {guest::memory(env, address, size, false), size};
}

Bytes synthetic_memory(const HelperEnv& env, uint64_t address) {
    if (env.world == nullptr || address < KernelWorld::kBase ||
        address - KernelWorld::kBase >= env.world->size())
        return {};
    // Filled in when a run first looks; an environment is never a constant itself.
    if (!env.world_filled && !const_cast<HelperEnv&>(env).enter_world()) return {};
    const uint64_t distance = address - KernelWorld::kBase;
    return {env.world_block + distance, env.world->size() - distance};
}

Bytes published_bytes(const HelperEnv& env, uint64_t address) {
    if (env.services == nullptr) return {};
    const auto& ranges = env.services->published;
    auto next = std::upper_bound(
        ranges.begin(), ranges.end(), address,
        [](uint64_t at, const Services::Range& range) { return at < range.address; });
    if (next == ranges.begin()) return {};
    const Services::Range& range = *--next;
    const uint64_t distance = address - range.address;
    if (distance >= range.size) return {};
    return {range.data + distance, range.size - distance};
}

}  // namespace

std::span<const std::byte> readable_bytes(const HelperEnv& env, uint64_t address) noexcept {
    if (is_kernel_address(address)) {
        if (const Bytes synthetic = synthetic_memory(env, address); !synthetic.empty())
            return synthetic;
    } else {
        const Bytes own = env.sandbox ? guest_memory(env, address) : own_memory(env, address);
        if (!own.empty()) return own;
    }
    return published_bytes(env, address);
}

bool is_map_object(uint64_t address) noexcept { return address >> 32 == region::kMapHandle; }

bool store_kernel_object(HelperEnv& env, uint64_t address, uint64_t value, unsigned size) noexcept {
    // An object that runs share; a sandbox reaches these as memory of its own.
    if (env.heap != nullptr && !env.sandbox) {
        const uint64_t at = address - reinterpret_cast<uintptr_t>(env.heap->base());
        const uint64_t bytes = env.heap->bytes();
        if (at < bytes && size <= bytes - at) {
            std::memcpy(reinterpret_cast<void*>(address), &value, size);
            return true;
        }
    }
    if (env.world == nullptr || !env.world->contains(address, size) || !env.enter_world())
        return false;
    std::memcpy(env.world_block + (address - KernelWorld::kBase), &value, size);
    env.world_written = true;
    return true;
}

namespace {

// The nearest map whose address is at most a struct bpf_map below, and the distance; null if none
// is. Maps may lie closer together than the kernel's structs are large.
const Map* map_at(const HelperEnv& env, uint64_t address, uint64_t& distance) {
    if (env.sandbox) {
        if (!is_map_object(address)) return nullptr;
        distance = address % region::kMapHandleStep;
        return guest::map_of_handle(env, address - distance);
    }
    const Map* nearest = nullptr;
    distance = env.world->offsets().map_bytes;
    for (const Map* map : env.maps) {
        const uint64_t from_here = address - reinterpret_cast<uintptr_t>(map);
        if (from_here >= distance) continue;
        nearest = map;
        distance = from_here;
    }
    return nearest;
}

}  // namespace

uint64_t load_kernel_object(const HelperEnv& env, uint64_t address, unsigned size) noexcept {
    uint64_t value = 0, distance = 0;
    const Map* map = env.world == nullptr ? nullptr : map_at(env, address, distance);
    if (map == nullptr) {
        // The program's own memory too: pointers may be cast to kernel types.
        read_bytes(env, address, reinterpret_cast<std::byte*>(&value), size);
        return value;
    }
    const MapDef& def = map->def();
    const KernelOffsets& o = env.world->offsets();
    const std::pair<std::optional<uint32_t>, uint32_t> fields[] = {
        {o.map_type, static_cast<uint32_t>(def.type)},
        {o.map_key_size, def.key_size},
        {o.map_value_size, def.value_size},
        {o.map_max_entries, def.max_entries},
        {o.map_flags, def.flags},
        {o.map_id, map->id()}};
    for (const auto& [offset, field] : fields) {
        if (offset == distance) std::memcpy(&value, &field, std::min<size_t>(size, sizeof field));
    }
    return value;
}

bool read_bytes(const HelperEnv& env, uint64_t address, std::byte* out, uint64_t size) noexcept {
    const Bytes bytes = readable_bytes(env, address);
    if (bytes.size() < size) {
        std::memset(out, 0, size);
        return false;
    }
    // Source and destination may both be the program's, and overlap.
    if (size != 0) std::memmove(out, bytes.data(), size);
    return true;
}

int64_t read_string(const HelperEnv& env, uint64_t address, std::byte* out,
                    uint64_t size) noexcept {
    constexpr int64_t kFault = -14;
    if (size == 0) return 0;
    const Bytes bytes = readable_bytes(env, address);
    const uint64_t most = std::min<uint64_t>(bytes.size(), size);
    const void* nul = most == 0 ? nullptr : std::memchr(bytes.data(), 0, most);
    // A string that runs out of its range faults; one that is longer than `out` is cut.
    if (nul == nullptr && most < size) {
        std::memset(out, 0, size);
        return kFault;
    }
    const uint64_t length =
        nul != nullptr ? static_cast<uint64_t>(static_cast<const std::byte*>(nul) - bytes.data())
                       : size - 1;
    std::memmove(out, bytes.data(), length);
    std::memset(out + length, 0, size - length);
    return static_cast<int64_t>(length) + 1;
}

}  // namespace skep
