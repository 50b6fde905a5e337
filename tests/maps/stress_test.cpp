// Many threads on one map. Values carry their key, so that a value that was reused under a run's
// feet shows; ThreadSanitizer sees the rest.
#include <atomic>
#include <cerrno>
#include <random>
#include <thread>

#include "map_fixture.hpp"

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
                if (!sync::enter()) {
                    ++unexpected;
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

}  // namespace
}  // namespace skep
