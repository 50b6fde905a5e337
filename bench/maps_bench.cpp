// Map operations as programs call them: virtual call or the fast path of generated code, u32 keys
// and u64 values unless the name says otherwise, 1024 entries, all present, in random order. Two
// threads work on the same map. The kernel's figures for the same shapes: hash lookup 32 ns, hash
// update 104, LRU update 139, per-CPU hash update 88, insert and delete 183 to 221.
#include <array>
#include <benchmark/benchmark.h>
#include <cstring>
#include <memory>

#include <skep/map.hpp>

#include "vm/sync/slots.hpp"

namespace skep {
namespace {

constexpr uint32_t kEntries = 1024;
constexpr unsigned kOpsPerRun = 64;

std::shared_ptr<Map> filled(MapType type, uint32_t key_size, uint32_t capacity) {
    MapDef def;
    def.name = "bench";
    def.type = type;
    def.key_size = key_size;
    def.value_size = 8;
    def.max_entries = capacity;
    auto map = create_map(std::move(def));
    if (!map) return nullptr;
    std::array<std::byte, 64> key{};
    std::vector<std::byte> value((*map)->host_value_size());
    for (uint32_t n = 0; n < kEntries; ++n) {
        std::memcpy(key.data(), &n, sizeof(n));
        (*map)->host_update(key.data(), value, 0);
    }
    return *map;
}

// One map for all threads of a benchmark.
struct Shared {
    std::shared_ptr<Map> map;
};
Shared& shared() {
    static Shared instance;
    return instance;
}

struct Keys {
    alignas(8) std::array<std::byte, 64> bytes{};
    uint32_t state;
    explicit Keys(uint32_t seed) : state(seed) {}
    const std::byte* next() {
        state = state * 1664525 + 1013904223;
        const uint32_t n = state >> 16 & (kEntries - 1);
        std::memcpy(bytes.data(), &n, sizeof(n));
        return bytes.data();
    }
};

template <class Op>
void run(benchmark::State& state, MapType type, uint32_t key_size, uint32_t capacity, Op op) {
    if (state.thread_index() == 0) shared().map = filled(type, key_size, capacity);
    Keys keys(static_cast<uint32_t>(state.thread_index()) * 77 + 1);
    uint64_t failures = 0;
    for (auto _ : state) {
        sync::enter();
        Map& map = *shared().map;
        const MapCaller caller{sync::current_slot()};
        for (unsigned i = 0; i < kOpsPerRun; ++i) failures += op(map, keys.next(), caller) ? 0 : 1;
        sync::leave();
    }
    state.SetItemsProcessed(state.iterations() * kOpsPerRun);
    state.counters["failed"] = static_cast<double>(failures);
    state.counters["ns"] = benchmark::Counter(
        static_cast<double>(state.iterations()) * kOpsPerRun / state.threads() * 1e-9,
        benchmark::Counter::kIsRate | benchmark::Counter::kInvert |
            benchmark::Counter::kAvgThreads);
}

bool lookup(Map& map, const std::byte* key, MapCaller caller) {
    const std::byte* value = map.lookup(key, caller);
    benchmark::DoNotOptimize(value);
    return value != nullptr;
}
bool update(Map& map, const std::byte* key, MapCaller caller) {
    const uint64_t value = 5;
    return map.update(key, reinterpret_cast<const std::byte*>(&value), 0, caller) == 0;
}
// Half the operations of a pair each.
bool erase_insert(Map& map, const std::byte* key, MapCaller caller) {
    map.erase(key, caller);
    return update(map, key, caller);
}

void lookup_bench(benchmark::State& state, MapType type, uint32_t key_size) {
    run(state, type, key_size, kEntries, lookup);
}
void fast_lookup_bench(benchmark::State& state, MapType type, uint32_t key_size) {
    run(state, type, key_size, kEntries,
        [fast = MapFastPath{}](Map& map, const std::byte* key, MapCaller caller) mutable {
            if (fast.lookup == nullptr) fast = map.fast_path();
            const std::byte* value = fast.lookup(&map, key, caller.cpu);
            benchmark::DoNotOptimize(value);
            return value != nullptr;
        });
}
void update_bench(benchmark::State& state, MapType type, uint32_t key_size) {
    run(state, type, key_size, kEntries, update);
}
void erase_insert_bench(benchmark::State& state, MapType type, uint32_t key_size) {
    run(state, type, key_size, kEntries, erase_insert);
}
// Keys come from twice the capacity: about every other insertion evicts.
void evict_bench(benchmark::State& state, MapType type, uint32_t key_size) {
    run(state, type, key_size, kEntries / 2, update);
}

// Records of 16 bytes; the consumer empties the ring when it is full.
void ring_output(benchmark::State& state) {
    MapDef def;
    def.name = "ring";
    def.type = MapType::Ringbuf;
    def.max_entries = 1 << 20;
    const auto map = create_map(std::move(def));
    if (!map) return state.SkipWithError("no ring buffer");
    const std::array<std::byte, 16> record{};
    const auto ignore = [](void*, const MapEvent&) { return true; };
    for (auto _ : state) {
        if ((*map)->output(record, {}, 0, {}) != 0) (*map)->consume(ignore, nullptr, UINT64_MAX);
    }
    state.SetItemsProcessed(state.iterations());
}
void ring_reserve_commit(benchmark::State& state) {
    MapDef def;
    def.name = "ring";
    def.type = MapType::Ringbuf;
    def.max_entries = 1 << 20;
    const auto map = create_map(std::move(def));
    if (!map) return state.SkipWithError("no ring buffer");
    const auto ignore = [](void*, const MapEvent&) { return true; };
    for (auto _ : state) {
        const MapReservation room = (*map)->reserve(16, 0);
        if (room.data == nullptr) {
            (*map)->consume(ignore, nullptr, UINT64_MAX);
        } else {
            (*map)->commit(room.id, 0);
        }
    }
    state.SetItemsProcessed(state.iterations());
}

// 1024 prefixes of 8 to 32 bits.
void lpm_lookup(benchmark::State& state) {
    MapDef def;
    def.name = "lpm";
    def.type = MapType::LpmTrie;
    def.key_size = 8;
    def.value_size = 8;
    def.max_entries = kEntries;
    def.flags = map_flags::kNoPrealloc;
    const auto map = create_map(std::move(def));
    if (!map) return state.SkipWithError("no trie");
    uint32_t random = 1;
    const uint64_t value = 1;
    const auto key = [&](uint32_t bits) {
        random = random * 1664525 + 1013904223;
        return std::array<uint32_t, 2>{bits, random};
    };
    for (uint32_t n = 0; n < kEntries; ++n) {
        const auto k = key(8 + n % 25);
        (*map)->host_update(reinterpret_cast<const std::byte*>(&k),
                            std::as_bytes(std::span(&value, 1)), 0);
    }
    sync::enter();
    for (auto _ : state) {
        const auto k = key(32);
        benchmark::DoNotOptimize((*map)->lookup(reinterpret_cast<const std::byte*>(&k), {0}));
    }
    sync::leave();
}

void empty_run(benchmark::State& state) {
    for (auto _ : state) {
        benchmark::DoNotOptimize(sync::enter());
        sync::leave();
    }
}

#define SKEP_BOTH(function, name, ...) \
    BENCHMARK_CAPTURE(function, name, __VA_ARGS__)->Threads(1)->Threads(2)->UseRealTime()

BENCHMARK(empty_run);
BENCHMARK(ring_output);
BENCHMARK(ring_reserve_commit);
BENCHMARK(lpm_lookup);
SKEP_BOTH(lookup_bench, array, MapType::Array, 4);
SKEP_BOTH(lookup_bench, percpu_array, MapType::PercpuArray, 4);
SKEP_BOTH(lookup_bench, hash, MapType::Hash, 4);
SKEP_BOTH(fast_lookup_bench, hash, MapType::Hash, 4);
SKEP_BOTH(lookup_bench, hash_u64, MapType::Hash, 8);
SKEP_BOTH(lookup_bench, hash_16, MapType::Hash, 16);
SKEP_BOTH(lookup_bench, hash_40, MapType::Hash, 40);
SKEP_BOTH(lookup_bench, lru_hash, MapType::LruHash, 4);
SKEP_BOTH(lookup_bench, percpu_hash, MapType::PercpuHash, 4);
SKEP_BOTH(update_bench, array, MapType::Array, 4);
SKEP_BOTH(update_bench, hash, MapType::Hash, 4);
SKEP_BOTH(update_bench, hash_40, MapType::Hash, 40);
SKEP_BOTH(update_bench, lru_hash, MapType::LruHash, 4);
SKEP_BOTH(update_bench, percpu_hash, MapType::PercpuHash, 4);
SKEP_BOTH(erase_insert_bench, hash, MapType::Hash, 4);
SKEP_BOTH(erase_insert_bench, lru_hash, MapType::LruHash, 4);
SKEP_BOTH(evict_bench, lru_hash, MapType::LruHash, 4);

}  // namespace
}  // namespace skep

BENCHMARK_MAIN();
