#include "bench/call_maps.hpp"

#include <cerrno>
#include <cstring>
#include <thread>

#include "tests/support/kernel_bpf.hpp"
#include "vm/base/try.hpp"

// What native kernels link against: struct native_map of bench/kernels/maps.h.
struct NativeMap {
    std::byte* base = nullptr;
    uint64_t stride = 0;
    uint32_t entries = 0;
    void* (*find)(void* map, const void* key, uint32_t cpu) = nullptr;
    void* map = nullptr;
};
extern "C" {
NativeMap bench_array, bench_percpu_array, bench_hash, bench_lru_hash;

long bench_update(void* map, const void* key, const void* value, uint64_t flags) {
    return static_cast<skep::Map*>(map)->update(static_cast<const std::byte*>(key),
                                                static_cast<const std::byte*>(value), flags, {0});
}

[[gnu::noinline]] uint32_t bench_cpu_number() {
    uint32_t cpu = 0;
    asm volatile("" : "+r"(cpu));
    return cpu;
}
}

namespace skep::bench {
namespace {

bool is_percpu(MapType type) { return type == MapType::PercpuArray || type == MapType::PercpuHash; }

Result<void> make_native(MapType type, NativeMap& out) {
    // Lives as long as the process: native code keeps its address.
    static std::vector<std::shared_ptr<Map>> kept;
    MapDef def;
    def.name = "native";
    def.type = type;
    def.key_size = 4;
    def.value_size = 8;
    def.max_entries = kEntries;
    SKEP_TRY(auto map, filled_map(def));
    const MapFastPath path = map->fast_path();
    using Find = void* (*)(void*, const void*, uint32_t);
    out = {path.base, path.stride, path.entries, reinterpret_cast<Find>(path.lookup), map.get()};
    kept.push_back(std::move(map));
    return {};
}

}  // namespace

Result<std::shared_ptr<Map>> filled_map(const MapDef& def) {
    SKEP_TRY(auto map, create_map(def));
    std::vector<std::byte> value(map->host_value_size());
    for (uint32_t key = 0; key < kEntries; ++key) {
        const uint64_t number = value_of(key);
        for (size_t at = 0; at + sizeof(number) <= value.size(); at += sizeof(number))
            std::memcpy(value.data() + at, &number, sizeof(number));
        const long error = map->host_update(reinterpret_cast<const std::byte*>(&key), value, 0);
        if (error != 0)
            return fail(ErrorCode::BadMapContents, "update: errno " + std::to_string(-error));
    }
    return map;
}

Result<int> filled_kernel_map(const MapDef& def) {
    union bpf_attr attr;
    std::memset(&attr, 0, sizeof(attr));
    attr.map_type = static_cast<uint32_t>(def.type);
    attr.key_size = def.key_size;
    attr.value_size = def.value_size;
    attr.max_entries = def.max_entries;
    const int fd = static_cast<int>(test::bpf(BPF_MAP_CREATE, &attr, sizeof(attr)));
    if (fd < 0) return fail(ErrorCode::Os, std::strerror(errno));
    const size_t copies = is_percpu(def.type) ? std::thread::hardware_concurrency() : 1;
    for (uint32_t key = 0; key < kEntries; ++key) {
        const std::vector<uint64_t> value(copies, value_of(key));
        std::memset(&attr, 0, sizeof(attr));
        attr.map_fd = static_cast<uint32_t>(fd);
        attr.key = reinterpret_cast<uintptr_t>(&key);
        attr.value = reinterpret_cast<uintptr_t>(value.data());
        if (test::bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)) != 0) {
            const int error = errno;
            ::close(fd);
            return fail(ErrorCode::Os, std::strerror(error));
        }
    }
    return fd;
}

Result<void> make_native_maps() {
    SKEP_CHECK(make_native(MapType::Array, bench_array));
    SKEP_CHECK(make_native(MapType::PercpuArray, bench_percpu_array));
    SKEP_CHECK(make_native(MapType::Hash, bench_hash));
    return make_native(MapType::LruHash, bench_lru_hash);
}

}  // namespace skep::bench
