// What each kind of map does, operation by operation; errno values as Linux gives them.
#include <algorithm>
#include <cerrno>
#include <set>
#include <thread>

#include "map_fixture.hpp"
#include "vm/sync/epoch.hpp"

namespace skep {
namespace {

using map_flags::kExist;
using map_flags::kLock;
using map_flags::kNoExist;
using test::bytes;
using test::def_of;
using test::make;
using test::RunScope;
using test::View;

TEST(Array, HasAllEntriesFromTheBeginning) {
    const auto map = make(def_of(MapType::Array, 4, 12, 5));
    const RunScope run;
    struct V {
        uint32_t a, b, c;
    };
    const View<uint32_t, V> view{*map, run.caller()};
    ASSERT_NE(view.lookup(4), nullptr);
    EXPECT_EQ(view.lookup(4)->c, 0u);
    EXPECT_EQ(view.lookup(5), nullptr);
    EXPECT_EQ(view.update(4, {1, 2, 3}), 0);
    EXPECT_EQ(view.lookup(4)->c, 3u);
    EXPECT_EQ(view.update(4, {}, kNoExist), -EEXIST);
    EXPECT_EQ(view.update(4, {}, 3), -EINVAL);
    EXPECT_EQ(view.update(5, {}), -E2BIG);
    EXPECT_EQ(view.update(5, {}, kNoExist), -E2BIG);
    EXPECT_EQ(view.update(4, {}, kLock), -EINVAL);
    EXPECT_EQ(view.erase(4), -EINVAL);
    EXPECT_EQ(view.erase(5), -EINVAL);
    EXPECT_EQ(map->host_erase(bytes(4u)), -EINVAL);
    V out{};
    EXPECT_EQ(view.host_lookup(4, out), 0);
    EXPECT_EQ(out.b, 2u);
    EXPECT_EQ(view.host_lookup(5, out), -ENOENT);
    EXPECT_EQ(view.host_lookup(4, out, 1), -EINVAL);
    // Rows lie 8 bytes aligned in one range.
    EXPECT_EQ(map->values().stride, 16u);
    EXPECT_EQ(map->lookup(bytes(1u), run.caller()) - map->values().base, 16);
}

TEST(Array, NextKeyCounts) {
    const auto map = make(def_of(MapType::Array, 4, 4, 2));
    uint32_t next = 9;
    EXPECT_EQ(map->next_key(nullptr, reinterpret_cast<std::byte*>(&next)), 0);
    EXPECT_EQ(next, 0u);
    EXPECT_EQ(map->next_key(bytes(next), reinterpret_cast<std::byte*>(&next)), 0);
    EXPECT_EQ(next, 1u);
    EXPECT_EQ(map->next_key(bytes(next), reinterpret_cast<std::byte*>(&next)), -ENOENT);
    EXPECT_EQ(map->next_key(bytes(77u), reinterpret_cast<std::byte*>(&next)), 0);
    EXPECT_EQ(next, 0u);
}

TEST(Array, DataSectionHasContentsAndFreezes) {
    MapDef def = def_of(MapType::Array, 4, 8, 1, map_flags::kRdonlyProg);
    def.name = ".rodata";
    def.contents = {std::byte{1}, std::byte{2}};
    def.frozen = true;
    const auto map = make(def);
    const RunScope run;
    const View<uint32_t, uint64_t> view{*map, run.caller()};
    EXPECT_EQ(*view.lookup(0), 0x0201u);
    EXPECT_TRUE(map->frozen());
    EXPECT_EQ(view.update(0, 5), -EPERM);
    EXPECT_EQ(view.host_update(0, 5), -EPERM);
    EXPECT_EQ(map->freeze(), -EPERM);
    ASSERT_TRUE(map->direct_value(7).has_value());
    EXPECT_EQ(*map->direct_value(7), map->values().base + 7);
    EXPECT_FALSE(map->direct_value(8).has_value());
    EXPECT_FALSE(make(def_of(MapType::Array, 4, 8, 2))->direct_value(0).has_value());
}

TEST(PercpuArray, KeepsACopyForEachSlot) {
    const auto map = make(def_of(MapType::PercpuArray, 4, 4, 3));
    const RunScope run;
    const View<uint32_t, uint32_t> view{*map, run.caller()};
    EXPECT_EQ(view.update(1, 7), 0);
    EXPECT_EQ(view.update(1, 7, kLock), -EINVAL);
    ASSERT_EQ(map->host_value_size(), 8u * cpu_slots());
    std::vector<std::byte> out(map->host_value_size(), std::byte{0xff});
    EXPECT_EQ(map->host_lookup(bytes(1u), out, 0), 0);
    for (unsigned cpu = 0; cpu < cpu_slots(); ++cpu) {
        uint64_t value = 0;
        std::memcpy(&value, out.data() + 8 * cpu, 8);
        EXPECT_EQ(value, cpu == run.caller().cpu ? 7u : 0u);
        const auto* copy = map->lookup_percpu(bytes(1u), cpu);
        ASSERT_NE(copy, nullptr);
        EXPECT_EQ(*reinterpret_cast<const uint32_t*>(copy), value);
    }
    EXPECT_EQ(map->lookup_percpu(bytes(1u), cpu_slots()), nullptr);
    EXPECT_EQ(map->lookup(bytes(1u), {cpu_slots()}), nullptr);
    EXPECT_GE(map->lookup_percpu(bytes(0u), 1) - map->lookup_percpu(bytes(0u), 0), 64);
}

class HashKinds : public testing::TestWithParam<std::tuple<MapType, uint32_t>> {};

TEST_P(HashKinds, FollowLinux) {
    const auto [type, key_size] = GetParam();
    const bool percpu = type == MapType::PercpuHash || type == MapType::LruPercpuHash;
    const bool lru = type == MapType::LruHash || type == MapType::LruPercpuHash;
    const auto map = make(def_of(type, key_size, 8, 3));
    const RunScope run;
    const auto key = [&, size = key_size](uint32_t n) {
        std::vector<std::byte> k(size, std::byte{0x11});
        std::memcpy(k.data() + size - std::min(size, 4u), &n, std::min(size, 4u));
        return k;
    };
    const auto update = [&](uint32_t n, uint64_t value, uint64_t flags = 0) {
        return map->update(key(n).data(), bytes(value), flags, run.caller());
    };
    const auto lookup = [&](uint32_t n) {
        return reinterpret_cast<uint64_t*>(map->lookup(key(n).data(), run.caller()));
    };
    EXPECT_EQ(lookup(1), nullptr);
    EXPECT_EQ(map->erase(key(1).data(), run.caller()), -ENOENT);
    EXPECT_EQ(update(1, 10, kExist), -ENOENT);
    EXPECT_EQ(update(1, 10, 3), -EINVAL);
    EXPECT_EQ(update(1, 10, 8), -EINVAL);
    EXPECT_EQ(update(1, 10, kLock), -EINVAL);
    EXPECT_EQ(update(1, 10, kNoExist), 0);
    EXPECT_EQ(update(1, 11, kNoExist), -EEXIST);
    ASSERT_NE(lookup(1), nullptr);
    EXPECT_EQ(*lookup(1), 10u);
    uint64_t* old = lookup(1);
    EXPECT_EQ(update(1, 12, kExist), 0);
    EXPECT_EQ(*lookup(1), 12u);
    // An update replaces the element, except where copies belong to CPUs.
    EXPECT_EQ(*old, percpu ? 12u : 10u);
    EXPECT_EQ(update(2, 20), 0);
    EXPECT_EQ(update(3, 30), 0);
    EXPECT_EQ(update(4, 40), lru ? 0 : -E2BIG);
    EXPECT_EQ(update(3, 31), 0) << "an update at capacity";
    unsigned present = 0;
    for (uint32_t n = 1; n <= 4; ++n) present += lookup(n) != nullptr;
    EXPECT_EQ(present, 3u);
    // Deleting and inserting at capacity within one run works however often.
    for (uint32_t n = 5; n < 1000; ++n) {
        if (!lru) {
            ASSERT_EQ(map->erase(key(n == 5 ? 1 : n - 1).data(), run.caller()), 0);
        }
        ASSERT_EQ(update(n, n), 0);
        ASSERT_EQ(*lookup(n), n);
    }
    EXPECT_EQ(map->lookup_percpu(key(999).data(), 0) != nullptr, percpu);
}

INSTANTIATE_TEST_SUITE_P(All, HashKinds,
                         testing::Combine(testing::Values(MapType::Hash, MapType::PercpuHash,
                                                          MapType::LruHash, MapType::LruPercpuHash),
                                          testing::Values(4u, 7u, 8u, 16u, 24u, 700u)));

TEST(Hash, IteratesOverEveryKeyOnce) {
    const auto map = make(def_of(MapType::Hash, 4, 4, 1000));
    for (uint32_t n = 0; n < 1000; ++n) {
        ASSERT_EQ(map->host_update(bytes(n), {bytes(n), 4}, 0), 0);
    }
    std::set<uint32_t> seen;
    uint32_t key = 0;
    long result = map->next_key(nullptr, reinterpret_cast<std::byte*>(&key));
    while (result == 0) {
        EXPECT_TRUE(seen.insert(key).second);
        result = map->next_key(bytes(key), reinterpret_cast<std::byte*>(&key));
    }
    EXPECT_EQ(result, -ENOENT);
    EXPECT_EQ(seen.size(), 1000u);
    EXPECT_EQ(map->next_key(bytes(5000u), reinterpret_cast<std::byte*>(&key)), 0);

    const RunScope run;
    seen.clear();
    const auto visit = [](void* context, const std::byte* k, std::byte* v) {
        uint32_t n = 0;
        std::memcpy(&n, k, 4);
        EXPECT_EQ(*reinterpret_cast<uint32_t*>(v), n);
        EXPECT_TRUE(static_cast<std::set<uint32_t>*>(context)->insert(n).second);
        return true;
    };
    EXPECT_EQ(map->for_each(visit, &seen, run.caller()), 1000);
    EXPECT_EQ(seen.size(), 1000u);
}

TEST(Hash, HostPermissionsFollowFlags) {
    const auto read_only = make(def_of(MapType::Hash, 4, 4, 2, map_flags::kRdonly));
    uint32_t value = 0;
    EXPECT_EQ(read_only->host_update(bytes(1u), {bytes(value), 4}, 0), -EPERM);
    const auto write_only = make(def_of(MapType::Hash, 4, 4, 2, map_flags::kWronly));
    EXPECT_EQ(write_only->host_update(bytes(1u), {bytes(value), 4}, 0), 0);
    EXPECT_EQ(write_only->host_lookup(bytes(1u), std::as_writable_bytes(std::span(&value, 1)), 0),
              -EPERM);
    const auto program_reads = make(def_of(MapType::Hash, 4, 4, 2, map_flags::kRdonlyProg));
    const RunScope run;
    EXPECT_EQ(program_reads->host_update(bytes(1u), {bytes(value), 4}, 0), 0);
    EXPECT_EQ(program_reads->update(bytes(1u), bytes(value), 0, run.caller()), -EPERM);
    EXPECT_EQ(program_reads->erase(bytes(1u), run.caller()), -EPERM);
    EXPECT_NE(program_reads->lookup(bytes(1u), run.caller()), nullptr);
    const auto program_writes = make(def_of(MapType::Hash, 4, 4, 2, map_flags::kWronlyProg));
    EXPECT_EQ(program_writes->update(bytes(1u), bytes(value), 0, run.caller()), 0);
    EXPECT_EQ(program_writes->lookup(bytes(1u), run.caller()), nullptr);
}

TEST(Hash, SpecialFieldsAreNeverCopied) {
    MapDef def = def_of(MapType::Hash, 4, 16, 4);
    def.fields = {{FieldKind::SpinLock, 4, 4, 0}};
    const auto map = make(def);
    const RunScope run;
    struct V {
        uint32_t a = 1, lock = 0xffffffff, c = 3, d = 4;
    };
    const View<uint32_t, V> view{*map, run.caller()};
    EXPECT_EQ(view.update(1, V{}), 0);
    V* value = view.lookup(1);
    EXPECT_EQ(value->a, 1u);
    EXPECT_EQ(value->lock, 0u);
    EXPECT_EQ(value->d, 4u);
    value->lock = 77;
    V out;
    EXPECT_EQ(view.host_lookup(1, out), 0);
    EXPECT_EQ(out.lock, 0u);
    EXPECT_EQ(view.update(1, V{.a = 9}, kLock), 0) << "with BPF_F_LOCK the update is in place";
    EXPECT_EQ(view.lookup(1), value);
    EXPECT_EQ(value->a, 9u);
    EXPECT_EQ(value->lock, 77u);
}

TEST(Lru, KeepsWhatIsUsed) {
    const auto map = make(def_of(MapType::LruHash, 4, 4, 100));
    const RunScope run;
    const View<uint32_t, uint32_t> view{*map, run.caller()};
    for (uint32_t n = 0; n < 10000; ++n) {
        ASSERT_EQ(view.update(n, n), 0);
        for (uint32_t hot = 0; hot <= std::min(n, 9u); ++hot) {
            ASSERT_NE(view.lookup(hot), nullptr) << "hot key " << hot << " evicted at " << n;
        }
    }
}

TEST(Deferral, ALookedUpValueOutlivesItsElement) {
    const auto map = make(def_of(MapType::Hash, 4, 8, 4));
    const RunScope run;
    const View<uint32_t, uint64_t> view{*map, run.caller()};
    ASSERT_EQ(view.update(1, 111), 0);
    const uint64_t* value = view.lookup(1);
    long full = 0;
    unsigned inserted = 0;
    std::thread([&] {
        const RunScope other;
        const View<uint32_t, uint64_t> theirs{*map, other.caller()};
        EXPECT_EQ(theirs.erase(1), 0);
        // Elements are retired until the slack is used up; none is this run's.
        for (uint32_t n = 0; n < 100000 && full == 0; ++n) {
            full = theirs.update(100 + n, n);
            if (full == 0) {
                EXPECT_EQ(theirs.erase(100 + n), 0);
            }
            inserted += full == 0;
        }
    }).join();
    EXPECT_EQ(*value, 111u);
    // The other thread reuses what it retired itself only when this run cannot see it, and this
    // run began before all of it.
    EXPECT_EQ(full, -ENOMEM);
    EXPECT_GE(inserted, 64u);
    EXPECT_GT(map->memory().deferred, 0u);
}

TEST(Deferral, EndsWithTheRunThatBlockedIt) {
    const auto map = make(def_of(MapType::Hash, 4, 8, 1));
    for (int round = 0; round < 500; ++round) {
        const RunScope run;
        const View<uint32_t, uint64_t> view{*map, run.caller()};
        ASSERT_EQ(view.update(1, 1), 0);
        std::thread([&] {
            const RunScope other;
            EXPECT_EQ((View<uint32_t, uint64_t>{*map, other.caller()}).erase(1), 0);
        }).join();
    }
}

TEST(Slots, AThreadKeepsItsSlotAndNests) {
    unsigned first = 0;
    {
        const RunScope run;
        first = run.caller().cpu;
        const RunScope nested;
        EXPECT_EQ(nested.caller().cpu, first);
        EXPECT_EQ(sync::thread_slot.depth, 2u);
    }
    EXPECT_EQ(sync::thread_slot.depth, 0u);
    const RunScope again;
    EXPECT_EQ(again.caller().cpu, first);
    std::thread([&] {
        const RunScope other;
        EXPECT_NE(other.caller().cpu, first);
    }).join();
}

TEST(Slots, RunOutAndComeBack) {
    EXPECT_GE(cpu_slots(), 8u);
    std::atomic<unsigned> entered{0}, refused{0}, arrived{0};
    std::atomic<bool> go{false};
    std::vector<std::thread> threads;
    const unsigned count = cpu_slots() + 3;
    const auto map = make(def_of(MapType::Hash, 4, 4, 4));
    for (unsigned i = 0; i < count; ++i) {
        threads.emplace_back([&] {
            const bool in = sync::enter();
            (in ? entered : refused)++;
            // Hosts work without a slot as well.
            uint32_t value = 5;
            EXPECT_EQ(map->host_update(bytes(1u), {bytes(value), 4}, 0), 0);
            EXPECT_EQ(map->host_lookup(bytes(1u), std::as_writable_bytes(std::span(&value, 1)), 0),
                      0);
            ++arrived;
            while (!go) std::this_thread::yield();
            if (in) sync::leave();
        });
    }
    while (arrived != count) std::this_thread::yield();
    go = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(entered + refused, count);
    EXPECT_GE(refused, 3u);
    EXPECT_LE(refused, 4u);  // this thread may hold one
    std::thread([] {
        EXPECT_TRUE(sync::enter());
        sync::leave();
    }).join();
}

// With BPF_F_NO_COMMON_LRU a slot has its share and evicts of its own; without, it may fill the
// map.
TEST(Lru, SharesOfTheSlots) {
    const uint32_t capacity = 16 * cpu_slots();
    for (const uint32_t flags : {uint32_t{0}, map_flags::kNoCommonLru}) {
        const auto map = make(def_of(MapType::LruHash, 4, 8, capacity, flags));
        const auto fill = [&](uint32_t first) {
            const RunScope run;
            const uint64_t value = 1;
            for (uint32_t key = first; key < first + capacity; ++key) {
                ASSERT_EQ(map->update(bytes(key), bytes(value), 0, run.caller()), 0);
            }
        };
        const auto count = [&](uint32_t first) {
            const RunScope run;
            uint32_t found = 0;
            for (uint32_t key = first; key < first + capacity; ++key) {
                found += map->lookup(bytes(key), run.caller()) != nullptr ? 1 : 0;
            }
            return found;
        };
        fill(0);
        EXPECT_EQ(count(0), flags == 0 ? capacity : 16u);
        if (flags == 0) continue;
        std::thread([&] { fill(1000000); }).join();
        EXPECT_EQ(count(0), 16u) << "another slot evicts nothing of this one's";
        EXPECT_EQ(count(1000000), 16u);
    }
}

}  // namespace
}  // namespace skep
