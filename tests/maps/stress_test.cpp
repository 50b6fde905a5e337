// Many threads on one map. Values carry their key, so that a value that was reused under a run's
// feet shows; ThreadSanitizer sees the rest.
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <random>
#include <thread>

#include "map_fixture.hpp"
#include "maps/value_lock.hpp"

namespace skep {
namespace {

using test::bytes;
using test::def_of;
using test::make;
using test::RunScope;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kRounds = 400;
#else
constexpr int kRounds = 4000;
#endif
constexpr unsigned kThreads = 8;

uint64_t load(const std::byte* p) {
    return __atomic_load_n(reinterpret_cast<const uint64_t*>(p), __ATOMIC_RELAXED);
}

// Nothing got lost: the map takes exactly `capacity` entries again.
void expect_capacity(Map& map, uint64_t capacity, bool lru) {
    uint64_t key = 0;
    while (map.next_key(nullptr, reinterpret_cast<std::byte*>(&key)) == 0) {
        ASSERT_EQ(map.host_erase(bytes(key)), 0);
    }
    const std::vector<std::byte> value(map.host_value_size());
    for (uint64_t n = 0; n < capacity; ++n) ASSERT_EQ(map.host_update(bytes(n), value, 0), 0) << n;
    EXPECT_EQ(map.host_update(bytes(capacity), value, 0), lru ? 0 : -E2BIG);
}

class Stress : public testing::TestWithParam<MapType> {};

TEST_P(Stress, ValuesBelongToTheirKeys) {
    const MapType type = GetParam();
    const bool percpu = type == MapType::PercpuHash || type == MapType::LruPercpuHash;
    const bool lru = type == MapType::LruHash || type == MapType::LruPercpuHash;
    const auto map = make(def_of(type, 8, 16, 64));
    std::atomic<long> wrong{0}, unexpected{0}, done{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            std::mt19937_64 random(t + 1);
            for (int round = 0; round < kRounds; ++round) {
                // More threads than slots are possible, and one is the main thread's.
                if (!sync::enter()) {
                    std::this_thread::yield();
                    continue;
                }
                const MapCaller caller{sync::current_slot()};
                const std::byte* held[4] = {};
                uint64_t keys[4] = {};
                for (int step = 0; step < 16; ++step) {
                    const uint64_t key = random() % 96;
                    const uint64_t value[2] = {key, ~key};
                    long result = 0;
                    bool wrote = true;
                    switch (random() % 6) {
                        case 0:
                        case 1: result = map->update(bytes(key), bytes(value), 0, caller); break;
                        case 2: result = map->erase(bytes(key), caller); break;
                        default:
                            wrote = false;
                            if (const std::byte* found = map->lookup(bytes(key), caller)) {
                                held[step % 4] = found;
                                keys[step % 4] = key;
                            }
                    }
                    if (result != 0 && result != -ENOENT && result != -E2BIG && result != -ENOMEM) {
                        ++unexpected;
                    }
                    // What this run deletes, replaces or evicts itself it gives up: forget it.
                    for (int i = 0; wrote && i < 4; ++i) {
                        if (lru || keys[i] == key) held[i] = nullptr;
                    }
                }
                for (int i = 0; i < 4; ++i) {
                    if (held[i] == nullptr) continue;
                    ++done;
                    const uint64_t key = load(held[i]), check = load(held[i] + 8);
                    // Per-CPU copies of other slots start as zero.
                    if (percpu && key == 0 && check == 0) continue;
                    if (key != keys[i] || check != ~keys[i]) ++wrong;
                }
                sync::leave();
                if (round % 50 == 0) {
                    uint64_t next = 0;
                    const long result = map->next_key(nullptr, reinterpret_cast<std::byte*>(&next));
                    if (result != 0 && result != -ENOENT) ++unexpected;
                    std::vector<std::byte> out(map->host_value_size());
                    const long got = map->host_lookup(bytes(next), out, 0);
                    if (got != 0 && got != -ENOENT) ++unexpected;
                }
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(unexpected, 0);
    EXPECT_GT(done, 0);
    EXPECT_EQ(wrong, 0);

    // In a thread, since a slot that this one took would be missing in the next test.
    std::thread([&] { expect_capacity(*map, 64, lru); }).join();
}

INSTANTIATE_TEST_SUITE_P(Hash, Stress,
                         testing::Values(MapType::Hash, MapType::PercpuHash, MapType::LruHash,
                                         MapType::LruPercpuHash));

uint64_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    uint64_t all = 0, resident = 0;
    file >> all >> resident;
    return resident * 4096;
}

// A billion mixed operations (SKEP_LONG; else a few): no wrong answer, nothing lost, no growth.
TEST(Soak, MixedOperationsOnEveryHash) {
    const bool longer = std::getenv("SKEP_LONG") != nullptr;
    constexpr MapType kTypes[] = {MapType::Hash, MapType::PercpuHash, MapType::LruHash,
                                  MapType::LruPercpuHash};
    constexpr unsigned kWorkers = 4;
    const uint64_t each =
        (longer ? 1'000'000'000ull : 400'000ull) / std::size(kTypes) / kWorkers / 64;
    for (const MapType type : kTypes) {
        const auto map = make(def_of(type, 8, 16, 256));
        std::atomic<uint64_t> wrong{0}, before{0};
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < kWorkers; ++t) {
            threads.emplace_back([&, t] {
                uint64_t random = t + 1;
                for (uint64_t round = 0; round < each; ++round) {
                    if (!sync::enter()) continue;
                    const MapCaller caller{sync::current_slot()};
                    for (unsigned n = 0; n < 64; ++n) {
                        random = random * 6364136223846793005 + 1442695040888963407;
                        const uint64_t key = random >> 33 & 511;
                        const uint64_t value[2] = {key, ~key};
                        switch (random >> 60) {
                            case 0:
                            case 1:
                            case 2: map->update(bytes(key), bytes(value), 0, caller); break;
                            case 3: map->erase(bytes(key), caller); break;
                            default: {
                                const std::byte* found = map->lookup(bytes(key), caller);
                                if (found == nullptr) break;
                                const uint64_t first = load(found), second = load(found + 8);
                                // Copies of other slots begin as zeroes.
                                if ((first != key || second != ~key) && (first | second) != 0)
                                    ++wrong;
                            }
                        }
                    }
                    sync::leave();
                    if (t == 0 && round == each / 10) before = resident_bytes();
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        EXPECT_EQ(wrong, 0u);
        EXPECT_LT(resident_bytes(), before + (16u << 20)) << "memory grew";
        const bool lru = type == MapType::LruHash || type == MapType::LruPercpuHash;
        std::thread([&] { expect_capacity(*map, 256, lru); }).join();
    }
}

// Two words that only ever change together, under the value's lock.
TEST(ValueLock, KeepsUpdatesWhole) {
    for (const MapType type : {MapType::Hash, MapType::Array}) {
        MapDef def = def_of(type, 4, 24, 1);
        def.fields = {{FieldKind::SpinLock, 0, 4, 0}};
        const auto map = make(def);
        const uint32_t key = 0;
        std::atomic<long> wrong{0};
        std::vector<std::thread> threads;
        const std::array<uint64_t, 3> zero{};
        ASSERT_EQ(map->host_update(bytes(key), {bytes(zero), 24}, 0), 0);
        for (uint64_t t = 0; t < 4; ++t) {
            threads.emplace_back([&, t] {
                for (uint64_t n = 0; n < kRounds; ++n) {
                    const std::array<uint64_t, 3> in{0, n * 4 + t, ~(n * 4 + t)};
                    std::array<uint64_t, 3> out{};
                    wrong += map->host_update(bytes(key), {bytes(in), 24}, map_flags::kLock) != 0;
                    const long result = map->host_lookup(
                        bytes(key), std::as_writable_bytes(std::span(out)), map_flags::kLock);
                    wrong += result != 0 || (out[1] != 0 && out[1] != ~out[2]);
                }
            });
        }
        for (std::thread& thread : threads) thread.join();
        EXPECT_EQ(wrong, 0);
    }
}

TEST(ValueLock, TwiceIsAnErrorAndOthersWait) {
    MapDef def = def_of(MapType::Hash, 4, 8, 2);
    EXPECT_EQ(value_locks(*make(def)), nullptr);
    def.fields = {{FieldKind::SpinLock, 0, 4, 0}};
    const auto map = make(def);
    const RunScope run;
    const uint32_t key = 1;
    const uint64_t value = 0;
    ASSERT_EQ(map->update(bytes(key), bytes(value), 0, run.caller()), 0);
    const std::byte* found = map->lookup(bytes(key), run.caller());
    ValueLocks* locks = value_locks(*map);
    ASSERT_NE(locks, nullptr);
    EXPECT_EQ(locks->lock(found, run.caller().cpu), 0);
    EXPECT_EQ(locks->lock(found, run.caller().cpu), -EDEADLK);
    EXPECT_EQ(map->update(bytes(key), bytes(value), map_flags::kLock, run.caller()), -EDEADLK);
    std::atomic<bool> got{false};
    std::thread other([&] {
        EXPECT_FALSE(locks->unlock(found, 4000));
        EXPECT_EQ(locks->lock(found, 4000), 0);
        got = true;
        EXPECT_TRUE(locks->unlock(found, 4000));
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_FALSE(got);
    EXPECT_TRUE(locks->unlock(found, run.caller().cpu));
    other.join();
    EXPECT_TRUE(got);
}

}  // namespace
}  // namespace skep
