// The types beyond tables: tries, queues, filters, rings, targets, storage, stack traces.
#include <array>
#include <atomic>
#include <cerrno>
#include <map>
#include <poll.h>
#include <random>
#include <string>
#include <thread>

#include <skep/map_batch.hpp>

#include "map_fixture.hpp"
#include "maps/map_types.hpp"

namespace skep {
namespace {

using map_flags::kExist;
using map_flags::kNoExist;
using map_flags::kNoPrealloc;
using test::bytes;
using test::def_of;
using test::make;
using test::RunScope;
using test::View;

std::span<std::byte> out_of(auto& value) { return std::as_writable_bytes(std::span(&value, 1)); }
template <class T>
std::span<const std::byte> in_of(const T& value) {
    return {bytes(value), sizeof(value)};
}

struct Ip4 {
    uint32_t bits = 32;
    uint8_t address[4] = {};
};

TEST(LpmTrie, FindsTheLongestPrefix) {
    const auto map = make(def_of(MapType::LpmTrie, 8, 4, 10, kNoPrealloc));
    const RunScope run;
    const View<Ip4, uint32_t> view{*map, run.caller()};
    EXPECT_EQ(view.lookup({32, {10, 0, 0, 1}}), nullptr);
    EXPECT_EQ(view.update({8, {10}}, 8), 0);
    EXPECT_EQ(view.update({24, {10, 1, 2}}, 24), 0);
    EXPECT_EQ(view.update({16, {10, 1}}, 16), 0);
    EXPECT_EQ(view.update({0, {}}, 1), 0);
    EXPECT_EQ(*view.lookup({32, {10, 1, 2, 3}}), 24u);
    EXPECT_EQ(*view.lookup({32, {10, 1, 3, 3}}), 16u);
    EXPECT_EQ(*view.lookup({32, {10, 2, 3, 3}}), 8u);
    EXPECT_EQ(*view.lookup({32, {11, 2, 3, 3}}), 1u);
    EXPECT_EQ(*view.lookup({20, {10, 1, 2, 3}}), 16u) << "no entry longer than what is asked for";
    EXPECT_EQ(view.lookup({33, {10}}), nullptr);
    EXPECT_EQ(view.update({33, {10}}, 0), -EINVAL);
    EXPECT_EQ(view.update({8, {10}}, 9, kNoExist), -EEXIST);
    EXPECT_EQ(view.update({9, {10}}, 9, kExist), -ENOENT);
    EXPECT_EQ(view.update({8, {10}}, 9, 3), -EINVAL);
    EXPECT_EQ(view.erase({16, {10, 1}}), 0);
    EXPECT_EQ(view.erase({16, {10, 1}}), -ENOENT);
    EXPECT_EQ(view.erase({40, {10, 1}}), -EINVAL);
    EXPECT_EQ(*view.lookup({32, {10, 1, 3, 3}}), 8u);
    EXPECT_EQ(view.erase({0, {}}), 0);
    EXPECT_EQ(view.lookup({32, {11, 2, 3, 3}}), nullptr);
}

TEST(LpmTrie, FillsToItsSizeAndNotBeyond) {
    const auto map = make(def_of(MapType::LpmTrie, 8, 4, 300, kNoPrealloc));
    const RunScope run;
    const View<Ip4, uint32_t> view{*map, run.caller()};
    for (int round = 0; round < 20; ++round) {
        for (uint32_t n = 0; n < 300; ++n) {
            const Ip4 key{32, {static_cast<uint8_t>(n * 37), static_cast<uint8_t>(n >> 8), 0, 1}};
            ASSERT_EQ(view.update(key, n), 0) << n;
        }
        EXPECT_EQ(view.update({32, {1, 2, 3, 4}}, 0), -ENOSPC);
        for (uint32_t n = 0; n < 300; ++n) {
            const Ip4 key{32, {static_cast<uint8_t>(n * 37), static_cast<uint8_t>(n >> 8), 0, 1}};
            ASSERT_EQ(*view.lookup(key), n);
            ASSERT_EQ(view.erase(key), 0);
        }
    }
}

TEST(LpmTrie, AgreesWithASearchThroughAllPrefixes) {
    const uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    const auto map = make(def_of(MapType::LpmTrie, 6, 4, 64, kNoPrealloc));
    struct Key {
        uint32_t bits = 0;
        uint16_t data = 0;  // big endian in memory; compared as bits below
    };
    const auto memory = [](Key key) {
        std::array<std::byte, 6> raw{};
        std::memcpy(raw.data(), &key.bits, 4);
        raw[4] = std::byte(key.data >> 8);
        raw[5] = std::byte(key.data & 255);
        return raw;
    };
    const auto top = [](uint16_t data, uint32_t bits) {
        return bits == 0 ? 0u : static_cast<uint32_t>(data >> (16 - bits));
    };
    std::map<std::pair<uint32_t, uint32_t>, uint32_t> model;  // bits, value of those bits
    const RunScope run;
    for (int step = 0; step < 20000; ++step) {
        const Key key{static_cast<uint32_t>(random() % 17),
                      static_cast<uint16_t>(random() % 64 * 1025)};
        const auto raw = memory(key);
        const std::pair id{key.bits, top(key.data, key.bits)};
        if (random() % 3 == 0) {
            const auto value = static_cast<uint32_t>(random());
            const long expected = model.contains(id) || model.size() < 64 ? 0 : -ENOSPC;
            ASSERT_EQ(map->update(raw.data(), bytes(value), 0, run.caller()), expected);
            if (expected == 0) model[id] = value;
        } else if (random() % 2 == 0) {
            ASSERT_EQ(map->erase(raw.data(), run.caller()), model.erase(id) != 0 ? 0 : -ENOENT);
        } else {
            const uint32_t* expected = nullptr;
            for (uint32_t bits = 0; bits <= key.bits; ++bits) {
                const auto entry = model.find({bits, top(key.data, bits)});
                if (entry != model.end()) expected = &entry->second;
            }
            const std::byte* found = map->lookup(raw.data(), run.caller());
            ASSERT_EQ(found != nullptr, expected != nullptr) << "step " << step;
            if (found != nullptr) {
                ASSERT_EQ(std::memcmp(found, expected, 4), 0) << "step " << step;
            }
        }
    }
}

TEST(Queue, IsFirstInFirstOut) {
    const auto map = make(def_of(MapType::Queue, 0, 4, 3));
    const RunScope run;
    uint32_t out = 9;
    const auto pop = [&] { return map->pop(reinterpret_cast<std::byte*>(&out), run.caller()); };
    EXPECT_EQ(pop(), -ENOENT);
    EXPECT_EQ(out, 0u) << "filled on error too";
    for (uint32_t n = 1; n <= 3; ++n) EXPECT_EQ(map->push(bytes(n), 0, run.caller()), 0);
    EXPECT_EQ(map->push(bytes(4u), 0, run.caller()), -E2BIG);
    EXPECT_EQ(map->push(bytes(4u), kNoExist, run.caller()), -EINVAL);
    EXPECT_EQ(map->push(bytes(4u), 4, run.caller()), -EINVAL);
    EXPECT_EQ(map->push(bytes(4u), kExist, run.caller()), 0) << "drops the oldest";
    EXPECT_EQ(map->peek(reinterpret_cast<std::byte*>(&out), run.caller()), 0);
    EXPECT_EQ(out, 2u);
    for (uint32_t n = 2; n <= 4; ++n) {
        EXPECT_EQ(pop(), 0);
        EXPECT_EQ(out, n);
    }
    EXPECT_EQ(pop(), -ENOENT);
    EXPECT_EQ(map->values().size, 0u);
}

TEST(Stack, IsLastInFirstOut) {
    const auto map = make(def_of(MapType::Stack, 0, 4, 2));
    const RunScope run;
    uint32_t out = 9;
    EXPECT_EQ(map->host_update(nullptr, in_of(1u), 0), 0);
    EXPECT_EQ(map->host_update(nullptr, in_of(2u), 0), 0);
    EXPECT_EQ(map->host_update(nullptr, in_of(3u), kExist), 0);
    EXPECT_EQ(map->host_lookup(nullptr, out_of(out), 0), 0);
    EXPECT_EQ(out, 3u);
    EXPECT_EQ(map->host_pop(out_of(out)), 0);
    EXPECT_EQ(out, 3u);
    EXPECT_EQ(map->pop(reinterpret_cast<std::byte*>(&out), run.caller()), 0);
    EXPECT_EQ(out, 2u);
    EXPECT_EQ(map->host_pop(out_of(out)), -ENOENT);
    EXPECT_EQ(map->host_erase(nullptr), -EINVAL);
}

TEST(BloomFilter, KnowsWhatItHasSeen) {
    MapDef def = def_of(MapType::BloomFilter, 0, 8, 1000);
    const auto map = make(def);
    const RunScope run;
    for (uint64_t n = 0; n < 1000; ++n) ASSERT_EQ(map->push(bytes(n), 0, run.caller()), 0);
    EXPECT_EQ(map->push(bytes(uint64_t{1}), kExist, run.caller()), -EINVAL);
    unsigned wrong = 0;
    for (uint64_t n = 0; n < 11000; ++n) {
        const long result = map->peek(reinterpret_cast<std::byte*>(&n), run.caller());
        if (n < 1000) {
            ASSERT_EQ(result, 0);
        } else {
            ASSERT_TRUE(result == 0 || result == -ENOENT);
            wrong += result == 0;
        }
    }
    EXPECT_LT(wrong, 800u) << "about 3 % are expected";
    def.map_extra = 16;
    EXPECT_EQ(create_map(def).error().code, ErrorCode::BadMapDef);
}

std::vector<std::string> drained(Map& map, uint64_t limit = UINT64_MAX) {
    std::vector<std::string> records;
    const auto consume = [](void* context, const MapEvent& event) {
        static_cast<std::vector<std::string>*>(context)->emplace_back(
            reinterpret_cast<const char*>(event.data.data()), event.data.size());
        return true;
    };
    const long taken = map.consume(consume, &records, limit);
    EXPECT_EQ(taken, static_cast<long>(records.size()));
    return records;
}

std::span<const std::byte> text(std::string_view s) {
    return {reinterpret_cast<const std::byte*>(s.data()), s.size()};
}

bool readable(int fd) {
    pollfd p{fd, POLLIN, 0};
    return ::poll(&p, 1, 0) == 1;
}

TEST(RingBuffer, CarriesRecordsInOrderOfReservation) {
    const auto map = make(def_of(MapType::Ringbuf, 0, 0, 4096));
    EXPECT_EQ(map->output(text("one"), text("!"), 0, {}), 0);
    const MapReservation second = map->reserve(100, 0);
    ASSERT_NE(second.data, nullptr);
    EXPECT_GE(second.data, map->values().base);
    EXPECT_LE(second.data + 100, map->values().base + map->values().size);
    EXPECT_EQ(map->output(text("three"), {}, 0, {}), 0);
    EXPECT_EQ(drained(*map), (std::vector<std::string>{"one!"}));
    std::memcpy(second.data, "two", 4);
    EXPECT_EQ(map->commit(second.id, 0), 0);
    EXPECT_EQ(map->commit(second.id, 0), -EINVAL) << "only once";
    EXPECT_EQ(map->discard(second.id + 1, 0), -EINVAL);
    EXPECT_EQ(map->discard(UINT32_MAX, 0), -EINVAL);
    const auto rest = drained(*map);
    ASSERT_EQ(rest.size(), 2u);
    EXPECT_EQ(rest[0].size(), 100u);
    EXPECT_STREQ(rest[0].c_str(), "two");
    EXPECT_EQ(rest[1], "three");
    const MapReservation gone = map->reserve(8, 0);
    EXPECT_EQ(map->discard(gone.id, 0), 0);
    EXPECT_TRUE(drained(*map).empty());
    EXPECT_EQ(map->query(0), 0u);
    EXPECT_EQ(map->query(1), 4096u);
    EXPECT_EQ(map->query(2), map->query(3));
}

TEST(RingBuffer, FillsAsFarAsLinuxDoes) {
    const auto map = make(def_of(MapType::Ringbuf, 0, 0, 4096));
    EXPECT_EQ(map->reserve(4096, 0).data, nullptr);
    EXPECT_EQ(map->reserve(UINT64_MAX, 0).data, nullptr);
    EXPECT_EQ(map->reserve(8, 1).data, nullptr) << "flags";
    EXPECT_EQ(map->output(text("x"), {}, 4, {}), -EINVAL);
    unsigned taken = 0;
    while (map->output(text("12345678"), {}, 0, {}) == 0) ++taken;
    EXPECT_EQ(taken, 255u);  // 256 of 16 bytes would fill it wholly
    EXPECT_EQ(map->output(text("12345678"), {}, 0, {}), -EAGAIN);
    EXPECT_EQ(drained(*map, 5).size(), 5u);
    EXPECT_EQ(drained(*map).size(), 250u);
}

TEST(RingBuffer, NothingOvertakesAnOpenRecord) {
    const auto map = make(def_of(MapType::Ringbuf, 0, 0, 4096));
    const MapReservation open = map->reserve(8, 0);
    unsigned taken = 0;
    for (int i = 0; i < 1000; ++i) {
        taken += map->output(text("abc"), {}, 0, {}) == 0;
        EXPECT_TRUE(drained(*map).empty());
    }
    EXPECT_EQ(taken, 254u);
    EXPECT_EQ(map->commit(open.id, 0), 0);
    EXPECT_EQ(drained(*map).size(), 255u);
}

TEST(RingBuffer, ScribblingOverItsBytesHarmsNothing) {
    const auto map = make(def_of(MapType::Ringbuf, 0, 0, 4096));
    std::mt19937_64 random(7);
    for (int round = 0; round < 2000; ++round) {
        const MapReservation record = map->reserve(random() % 300, 0);
        if (record.data != nullptr) {
            const ValueRange range = map->values();
            std::memset(range.base, static_cast<int>(random()), range.size);
            EXPECT_EQ(random() % 2 ? map->commit(record.id, 0) : map->discard(record.id, 0), 0);
        }
        for (const std::string& r : drained(*map)) ASSERT_LT(r.size(), 300u);
    }
    EXPECT_EQ(map->query(0), 0u);
}

TEST(RingBuffer, WakesWhoPolls) {
    const auto map = make(def_of(MapType::Ringbuf, 0, 0, 4096));
    const int fd = map->event_fd();
    ASSERT_GE(fd, 0);
    EXPECT_EQ(map->event_fd(), fd);
    drained(*map);
    EXPECT_FALSE(readable(fd));
    EXPECT_EQ(map->output(text("a"), {}, 1, {}), 0) << "BPF_RB_NO_WAKEUP";
    EXPECT_FALSE(readable(fd));
    drained(*map);
    EXPECT_EQ(map->output(text("a"), {}, 0, {}), 0);
    EXPECT_TRUE(readable(fd));
    drained(*map);
    EXPECT_FALSE(readable(fd));
}

TEST(RingBuffer, ManyProducersOneConsumer) {
    const auto map = make(def_of(MapType::Ringbuf, 0, 0, 8192));
    constexpr uint64_t kEach = 3000;
    std::atomic<unsigned> running{3};
    std::vector<std::thread> producers;
    for (uint64_t t = 0; t < 3; ++t) {
        producers.emplace_back([&, t] {
            for (uint64_t n = 0; n < kEach;) {
                const uint64_t record[2] = {t, n};
                if (map->output(in_of(record), {}, 0, {}) == 0) {
                    ++n;
                } else {
                    std::this_thread::yield();
                }
            }
            --running;
        });
    }
    std::array<uint64_t, 3> next{};
    struct Seen {
        std::array<uint64_t, 3>* next;
        unsigned wrong = 0;
    } seen{&next};
    const auto consume = [](void* context, const MapEvent& event) {
        auto& s = *static_cast<Seen*>(context);
        uint64_t record[2] = {3, 0};
        if (event.data.size() == sizeof(record)) std::memcpy(record, event.data.data(), 16);
        if (record[0] > 2 || (*s.next)[record[0]]++ != record[1]) ++s.wrong;
        return true;
    };
    while (running != 0 || map->query(0) != 0) {
        if (map->consume(consume, &seen, 64) == 0) std::this_thread::yield();
    }
    for (std::thread& thread : producers) thread.join();
    EXPECT_EQ(seen.wrong, 0u);
    for (const uint64_t n : next) EXPECT_EQ(n, kEach);
}

TEST(UserRingBuffer, HandsTheHostsRecordsToPrograms) {
    const auto map = make(def_of(MapType::UserRingbuf, 0, 0, 4096));
    EXPECT_EQ(map->submit(text("first")), 0);
    EXPECT_EQ(map->submit(text("second")), 0);
    EXPECT_EQ(map->submit(std::vector<std::byte>(4096)), -E2BIG);
    std::vector<std::string> got;
    const auto take = [](void* context, const std::byte* data, uint64_t size) -> long {
        static_cast<std::vector<std::string>*>(context)->emplace_back(
            reinterpret_cast<const char*>(data), size);
        return 1;  // stop
    };
    EXPECT_EQ(map->drain(take, &got, 4), -EINVAL);
    EXPECT_EQ(map->drain(take, &got, 0), 1);
    EXPECT_EQ(map->drain(take, &got, 0), 1);
    EXPECT_EQ(map->drain(take, &got, 0), 0);
    EXPECT_EQ(got, (std::vector<std::string>{"first", "second"}));
    EXPECT_EQ(map->reserve(8, 0).data, nullptr);
}

TEST(PerfEventArray, KeepsABufferForEachCpu) {
    const auto map = make(def_of(MapType::PerfEventArray, 4, 4, cpu_slots()));
    constexpr uint64_t kCurrent = 0xffffffff;
    EXPECT_EQ(map->output(text("x"), {}, kCurrent, {1}), -ENOENT) << "nobody listens";
    EXPECT_EQ(map->open_events(100), -EINVAL);
    EXPECT_EQ(map->open_events(4096), 0);
    EXPECT_EQ(map->open_events(4096), -EBUSY);
    EXPECT_EQ(map->output(text("a"), text("b"), kCurrent, {1}), 0);
    EXPECT_EQ(map->output(text("c"), {}, 0, {0}), 0);
    EXPECT_EQ(map->output(text("c"), {}, 0, {1}), -EOPNOTSUPP) << "another CPU's";
    EXPECT_EQ(map->output(text("c"), {}, cpu_slots(), {1}), -E2BIG);
    EXPECT_EQ(map->output(text("c"), {}, uint64_t{1} << 60, {1}), -EINVAL);
    EXPECT_EQ(drained(*map), (std::vector<std::string>{"c", "ab"}));

    const std::string large(1000, 'z');
    unsigned taken = 0;
    for (int i = 0; i < 10; ++i) taken += map->output(text(large), {}, kCurrent, {2}) == 0;
    EXPECT_EQ(taken, 4u);
    EXPECT_EQ(map->output(text(large), {}, kCurrent, {2}), -ENOSPC);
    EXPECT_EQ(drained(*map).size(), 4u);
    EXPECT_EQ(map->output(text("after"), {}, kCurrent, {2}), 0);
    uint64_t lost = 0;
    const auto consume = [](void* context, const MapEvent& event) {
        *static_cast<uint64_t*>(context) = event.lost;
        EXPECT_EQ(event.cpu, 2u);
        return true;
    };
    EXPECT_EQ(map->consume(consume, &lost, 10), 1);
    EXPECT_EQ(lost, 7u);
}

TEST(StackTrace, NumbersEqualTracesEqually) {
    const auto map = make(def_of(MapType::StackTrace, 4, 8 * 20, 100));
    const std::vector<uint64_t> a{1, 2, 3}, b{1, 2, 4};
    const long first = map->store_stack(a, 0);
    ASSERT_GE(first, 0);
    EXPECT_EQ(map->store_stack(a, 0), first);
    const long second = map->store_stack(b, 1u << 10);
    ASSERT_GE(second, 0);
    EXPECT_EQ(map->store_stack(a, uint64_t{1} << 20), -EINVAL);
    EXPECT_EQ(map->store_stack({}, 0), -EFAULT);
    std::array<uint64_t, 20> out{};
    out.fill(9);
    const auto id = static_cast<uint32_t>(second);
    EXPECT_EQ(map->host_lookup(bytes(id), std::as_writable_bytes(std::span(out)), 0), 0);
    EXPECT_EQ(out[2], 4u);
    EXPECT_EQ(out[3], 0u);
    uint32_t key = 0;
    EXPECT_EQ(map->next_key(nullptr, reinterpret_cast<std::byte*>(&key)), 0);
    EXPECT_EQ(map->host_erase(bytes(id)), 0);
    EXPECT_EQ(map->host_erase(bytes(id)), -ENOENT);
    EXPECT_EQ(map->host_erase(bytes(1000u)), -E2BIG);
    EXPECT_EQ(create_map(def_of(MapType::StackTrace, 4, 12, 1)).error().code, ErrorCode::BadMapDef);
    EXPECT_EQ(create_map(def_of(MapType::StackTrace, 4, 8 * 128, 1)).error().code,
              ErrorCode::BadMapDef);
}

TEST(Targets, HoldTheHostsNumbers) {
    struct Case {
        MapType type;
        bool program_looks;
    };
    for (const Case& c : {Case{MapType::Devmap, true},
                          {MapType::DevmapHash, true},
                          {MapType::Cpumap, true},
                          {MapType::Xskmap, true},
                          {MapType::Sockmap, false},
                          {MapType::Sockhash, false},
                          {MapType::ReuseportSockarray, false},
                          {MapType::CgroupArray, false}}) {
        SCOPED_TRACE(map_type_info(c.type)->name);
        const auto map = make(def_of(c.type, 4, 4, 4));
        const RunScope run;
        uint64_t number = 0;
        EXPECT_EQ(map->target(bytes(1u), number), -ENOENT);
        EXPECT_EQ(map->lookup(bytes(1u), run.caller()), nullptr);
        EXPECT_EQ(map->host_update(bytes(1u), in_of(7u), 0), 0);
        EXPECT_EQ(map->target(bytes(1u), number), 0);
        EXPECT_EQ(number, 7u);
        EXPECT_EQ(map->lookup(bytes(1u), run.caller()) != nullptr, c.program_looks);
        EXPECT_EQ(map->update(bytes(1u), bytes(8u), 0, run.caller()), -EOPNOTSUPP);
        EXPECT_EQ(map->host_erase(bytes(1u)), 0);
        EXPECT_EQ(map->target(bytes(1u), number), -ENOENT);
        EXPECT_EQ(map->target(bytes(100u), number), -ENOENT);
    }
}

TEST(Storage, BelongsToObjects) {
    const auto map = make(def_of(MapType::TaskStorage, 4, 8, 0, kNoPrealloc));
    const RunScope run;
    EXPECT_EQ(map->storage(77, nullptr, 0, run.caller()), nullptr);
    std::byte* value = map->storage(77, bytes(uint64_t{5}), 1, run.caller());
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(*reinterpret_cast<uint64_t*>(value), 5u);
    EXPECT_EQ(map->storage(77, bytes(uint64_t{6}), 1, run.caller()), value);
    EXPECT_EQ(map->storage(77, nullptr, 2, run.caller()), nullptr);
    EXPECT_EQ(*reinterpret_cast<uint64_t*>(map->storage(78, nullptr, 1, run.caller())), 0u);
    EXPECT_EQ(map->storage_erase(77, run.caller()), 0);
    EXPECT_EQ(map->storage_erase(77, run.caller()), -ENOENT);
    uint64_t out = 1;
    EXPECT_EQ(map->host_lookup(bytes(78u), out_of(out), 0), 0);
    EXPECT_EQ(out, 0u);
    EXPECT_EQ(create_map(def_of(MapType::TaskStorage, 4, 8, 0)).error().code, ErrorCode::BadMapDef);
}

TEST(Batch, ReadsWritesAndErases) {
    for (const MapType type : {MapType::Hash, MapType::PercpuHash, MapType::LpmTrie, MapType::Array,
                               MapType::TaskStorage}) {
        SCOPED_TRACE(map_type_info(type)->name);
        const bool lazy = type == MapType::LpmTrie || type == MapType::TaskStorage;
        const uint32_t key_size = type == MapType::LpmTrie || type == MapType::TaskStorage ? 8 : 4;
        const auto map = make(def_of(type, key_size, 8, type == MapType::TaskStorage ? 0 : 20,
                                     lazy ? kNoPrealloc : 0));
        MapEntries entries;
        entries.key_size = key_size;
        entries.value_size = map->host_value_size();
        for (uint64_t n = 0; n < 20; ++n) {
            entries.keys.insert(entries.keys.end(), bytes(n), bytes(n) + key_size);
            entries.values.resize(entries.values.size() + entries.value_size, std::byte(n));
        }
        uint64_t done = 0;
        EXPECT_EQ(write_entries(*map, entries, 0, done), 0);
        EXPECT_EQ(done, 20u);
        const bool keeps = type == MapType::Array;
        auto some = read_entries(*map, 5);
        ASSERT_TRUE(some.has_value());
        EXPECT_EQ(some->count(), type == MapType::TaskStorage ? some->count() : 5u);
        auto all = read_entries(*map, UINT64_MAX, !keeps);
        ASSERT_TRUE(all.has_value());
        ASSERT_EQ(all->count(), 20u);
        for (uint64_t i = 0; i < 20; ++i) {
            EXPECT_EQ(all->key(i)[0], all->value(i)[0]);
            EXPECT_EQ(all->key(i)[0], all->value(i).back());
        }
        EXPECT_EQ(read_entries(*map)->count(), keeps ? 20u : 0u);
        EXPECT_EQ(erase_entries(*map, entries, done), keeps ? -EINVAL : -ENOENT);
        entries.value_size = 1;
        EXPECT_EQ(write_entries(*map, entries, 0, done), -EINVAL);
    }
    EXPECT_FALSE(read_entries(*make(def_of(MapType::Queue, 0, 4, 1))).has_value());
}

// Every row that can be made is made; each of its operations is there, and every other refused.
TEST(EveryType, HasTheOperationsOfItsRow) {
    for (const MapTypeInfo& row : map_types()) {
        if (row.state != MapState::Here) continue;
        SCOPED_TRACE(row.name);
        uint32_t key_size = 4, value_size = 8, entries = 4;
        if (row.key == MapKeyRule::None) key_size = 0;
        if (row.key == MapKeyRule::Lpm || row.key == MapKeyRule::Storage) key_size = 8;
        if (row.value == MapValueRule::None) value_size = 0;
        if (row.value == MapValueRule::U32 || row.value == MapValueRule::Dev) value_size = 4;
        if (row.entries == MapEntriesRule::Zero) entries = 0;
        if (row.entries == MapEntriesRule::Pages) entries = 4096;
        const bool lazy = row.key == MapKeyRule::Lpm || row.key == MapKeyRule::Object;
        MapDef def = def_of(row.type, key_size, value_size, entries, lazy ? kNoPrealloc : 0);
        if (row.has(map_ops::kLookupMap)) {
            def.inner = std::make_shared<MapDef>(def_of(MapType::Array, 4, 4, 1));
        }
        if (row.type == MapType::Arena) def.flags |= map_flags::kMmapable;
        const auto map = make(def);
        ASSERT_NE(map, nullptr);
        const RunScope run;
        const MapCaller caller = run.caller();
        alignas(8) const std::array<std::byte, 16> key{};
        std::vector<std::byte> value(std::max<uint64_t>(64, map->host_value_size()));
        uint64_t number = 0;
        std::array<std::byte, 16> next{};
        const auto visit = [](void*, const std::byte*, std::byte*) { return true; };
        const auto consume = [](void*, const MapEvent&) { return true; };
        const auto take = [](void*, const std::byte*, uint64_t) -> long { return 0; };
        const auto check = [&](uint32_t op, const char* name, auto operation) {
            const long result = operation();
            if (row.has(op)) {
                EXPECT_NE(result, -EOPNOTSUPP) << name;
            } else {
                EXPECT_LT(result, 0) << name;
            }
        };
        using namespace map_ops;
        check(kUpdate, "update", [&] { return map->update(key.data(), value.data(), 0, caller); });
        check(kForEach, "for_each", [&] { return map->for_each(visit, nullptr, caller); });
        check(kPush | kHostUpdate, "host update",
              [&] { return map->host_update(key.data(), value, 0); });
        check(kPeek | kHostLookup, "host lookup",
              [&] { return map->host_lookup(key.data(), value, 0); });
        check(kPush, "push", [&] { return map->push(value.data(), 0, caller); });
        check(kPeek, "peek", [&] { return map->peek(value.data(), caller); });
        check(kPop, "pop", [&] { return map->pop(value.data(), caller); });
        check(kPop, "host pop", [&] { return map->host_pop(value); });
        check(kRedirect | kUnderCgroup, "target", [&] { return map->target(key.data(), number); });
        check(kStackId, "store stack", [&] { return map->store_stack({&number, 1}, 0); });
        check(kOutput, "output", [&] { return map->output({}, {}, 0, caller); });
        check(kOutput, "consume", [&] { return map->consume(consume, nullptr, 1); });
        check(kReserve, "commit", [&] { return map->commit(0, 0); });
        check(kDrain, "drain", [&] { return map->drain(take, nullptr, 0); });
        check(kDrain, "submit", [&] { return map->submit({}); });
        check(kStorage | kLocalStorage, "storage erase",
              [&] { return map->storage_erase(1, caller); });
        if (row.has(kNextKey)) {
            EXPECT_NE(map->next_key(nullptr, next.data()), -EOPNOTSUPP);
        }
        if (row.has(kHostErase)) {
            EXPECT_NE(map->host_erase(key.data()), -EOPNOTSUPP);
        }
        EXPECT_GT(map->memory().values + map->memory().metadata, 0u);
        EXPECT_EQ(map->freeze(), 0);
    }
}

}  // namespace
}  // namespace skep
