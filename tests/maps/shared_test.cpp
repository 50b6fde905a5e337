// Maps in a shared-memory segment: two processes at once, deaths, and a scribbler.
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <functional>
#include <random>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <skep/map_batch.hpp>
#include <skep/shared_map.hpp>

#include "map_fixture.hpp"

namespace skep {
namespace {

using test::bytes;
using test::def_of;
using test::RunScope;

// A name of this test's own, removed at its end.
class Name {
public:
    Name() : text_("test." + std::to_string(::getpid()) + "." + std::to_string(next_++)) {}
    ~Name() { static_cast<void>(remove_shared_map(text_)); }
    operator std::string_view() const { return text_; }
    std::string path() const { return "/skep." + text_; }

private:
    static inline int next_ = 0;
    std::string text_;
};

std::shared_ptr<Map> create(std::string_view name, const MapDef& def, unsigned processes = 4) {
    auto map = create_shared_map(name, def, processes);
    EXPECT_TRUE(map.has_value()) << map.error().to_string();
    return map ? *map : nullptr;
}

// Runs `work` in a process of its own; its exit status, or -signal.
int in_child(const std::function<int()>& work) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(work());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

TEST(SharedMap, TwoProcessesSeeOneMap) {
    for (const MapType type : {MapType::Array, MapType::Hash}) {
        const Name name;
        const auto map = create(name, def_of(type, 4, 8, 64));
        ASSERT_NE(map, nullptr);
        const uint32_t one = 1, two = 2;
        const uint64_t ours = 10, theirs = 20;
        ASSERT_EQ(map->host_update(bytes(one), {bytes(ours), 8}, 0), 0);
        EXPECT_EQ(in_child([&] {
                      const auto same = open_shared_map(name);
                      if (!same) return 1;
                      uint64_t value = 0;
                      if ((*same)->host_lookup(bytes(one),
                                               std::as_writable_bytes(std::span(&value, 1)), 0))
                          return 2;
                      if (value != ours) return 3;
                      return (*same)->host_update(bytes(two), {bytes(theirs), 8}, 0) == 0 ? 0 : 4;
                  }),
                  0);
        uint64_t value = 0;
        EXPECT_EQ(map->host_lookup(bytes(two), std::as_writable_bytes(std::span(&value, 1)), 0), 0);
        EXPECT_EQ(value, theirs);
    }
}

TEST(SharedMap, ProgramsOfBothProcessesWorkOnIt) {
    const Name name;
    const auto map = create(name, def_of(MapType::Hash, 4, 8, 32));
    const auto work = [&](Map& shared) {
        std::mt19937 random(static_cast<unsigned>(::getpid()));
        for (int round = 0; round < 300; ++round) {
            const RunScope run;
            for (int n = 0; n < 16; ++n) {
                const uint32_t key = random() % 40;
                const uint64_t value = uint64_t{key} << 32 | key;
                long result = 0;
                switch (random() % 3) {
                    case 0:
                        result = shared.update(bytes(key), bytes(value), 0, run.caller());
                        break;
                    case 1: result = shared.erase(bytes(key), run.caller()); break;
                    default: {
                        const std::byte* found = shared.lookup(bytes(key), run.caller());
                        if (found == nullptr) break;
                        uint64_t seen = 0;
                        std::memcpy(&seen, found, 8);
                        if (seen != value) return 1;
                    }
                }
                if (result != 0 && result != -ENOENT && result != -E2BIG && result != -ENOMEM)
                    return 2;
            }
        }
        return 0;
    };
    const pid_t child = ::fork();
    if (child == 0) {
        const auto same = open_shared_map(name);
        ::_exit(same ? work(**same) : 9);
    }
    EXPECT_EQ(work(*map), 0);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    // Exactly what is there can be read, and 32 entries fit.
    uint32_t key = 0;
    while (map->next_key(nullptr, reinterpret_cast<std::byte*>(&key)) == 0) {
        ASSERT_EQ(map->host_erase(bytes(key)), 0);
    }
    const uint64_t value = 0;
    for (key = 0; key < 32; ++key) EXPECT_EQ(map->host_update(bytes(key), {bytes(value), 8}, 0), 0);
    EXPECT_EQ(map->host_update(bytes(key), {bytes(value), 8}, 0), -E2BIG);
}

TEST(SharedMap, PerCpuCopiesBelongToTheProcesssSlots) {
    for (const MapType type : {MapType::PercpuArray, MapType::PercpuHash}) {
        const Name name;
        const auto map = create(name, def_of(type, 4, 8, 8), 2);
        const uint32_t key = 1;
        const auto add = [&](Map& shared, uint64_t value) {
            const RunScope run;
            return shared.update(bytes(key), bytes(value), 0, run.caller());
        };
        EXPECT_EQ(add(*map, 5), 0);
        EXPECT_EQ(in_child([&] {
                      const auto same = open_shared_map(name);
                      return same && add(**same, 7) == 0 ? 0 : 1;
                  }),
                  0);
        ASSERT_EQ(map->host_value_size(), 2 * cpu_slots() * 8);
        std::vector<uint64_t> copies(2 * cpu_slots());
        ASSERT_EQ(map->host_lookup(bytes(key), std::as_writable_bytes(std::span(copies)), 0), 0);
        uint64_t first = 0, second = 0;
        for (unsigned i = 0; i < cpu_slots(); ++i) {
            first += copies[i];
            second += copies[cpu_slots() + i];
        }
        EXPECT_EQ(first, 5u);
        EXPECT_EQ(second, 7u);
    }
}

TEST(SharedMap, AValueStaysUntilTheOtherProcesssRunEnds) {
    const Name name;
    const auto map = create(name, def_of(MapType::Hash, 4, 8, 1));
    const uint32_t key = 7;
    const uint64_t value = 77;
    ASSERT_EQ(map->host_update(bytes(key), {bytes(value), 8}, 0), 0);
    uint64_t churned = 0;
    {
        const RunScope run;
        const std::byte* held = map->lookup(bytes(key), run.caller());
        ASSERT_NE(held, nullptr);
        EXPECT_EQ(in_child([&] {
                      const auto same = open_shared_map(name);
                      if (!same) return 1;
                      for (uint32_t n = 0; n < 300; ++n) {
                          const uint64_t other = n;
                          (*same)->host_erase(bytes(key));
                          const long result =
                              (*same)->host_update(bytes(key), {bytes(other), 8}, 0);
                          if (result != 0 && result != -ENOMEM) return 2;
                      }
                      return 0;
                  }),
                  0);
        std::memcpy(&churned, held, 8);
        EXPECT_EQ(churned, value);
    }
    // Nobody looks any more: what waited is free again.
    map->host_erase(bytes(key));
    for (int n = 0; n < 300; ++n) {
        ASSERT_EQ(map->host_update(bytes(key), {bytes(value), 8}, 0), 0);
        ASSERT_EQ(map->host_erase(bytes(key)), 0);
    }
}

TEST(SharedMap, WhatADeadProcessHeldIsRecovered) {
    const Name name;
    const auto map = create(name, def_of(MapType::Hash, 4, 8, 64), 2);
    const uint64_t value = 1;
    for (int death = 0; death < 20; ++death) {
        const pid_t child = ::fork();
        if (child == 0) {
            const auto same = open_shared_map(name);
            if (!same) ::_exit(1);
            EXPECT_TRUE(sync::enter());
            for (uint32_t n = 0;; ++n) {
                const uint32_t key = n % 64;
                (*same)->lookup(bytes(key), {sync::current_slot()});
                (*same)->update(bytes(key), bytes(value), 0, {sync::current_slot()});
                (*same)->erase(bytes(key), {sync::current_slot()});
            }
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2 + death % 5));
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
        uint32_t key = 0;
        while (map->next_key(nullptr, reinterpret_cast<std::byte*>(&key)) == 0) {
            ASSERT_EQ(map->host_erase(bytes(key)), 0);
        }
    }
    for (uint32_t key = 0; key < 64; ++key) {
        ASSERT_EQ(map->host_update(bytes(key), {bytes(value), 8}, 0), 0) << key;
    }
    EXPECT_EQ(read_entries(*map)->count(), 64u);
}

TEST(SharedMap, ADeadProducersRecordDoesNotBlockTheRing) {
    const Name name;
    const auto ring = create(name, def_of(MapType::Ringbuf, 0, 0, 4096), 2);
    EXPECT_EQ(in_child([&] {
                  const auto same = open_shared_map(name);
                  return same && (*same)->reserve(100, 0).data != nullptr ? 0 : 1;
              }),
              0);
    const std::array<std::byte, 16> record{std::byte{9}};
    EXPECT_EQ(ring->output(record, {}, 0, {}), 0);
    std::vector<size_t> sizes;
    const auto note = [](void* context, const MapEvent& event) {
        static_cast<std::vector<size_t>*>(context)->push_back(event.data.size());
        return true;
    };
    EXPECT_EQ(ring->consume(note, &sizes, 100), 1);
    EXPECT_EQ(sizes, std::vector<size_t>{16});
    // Many times around, in both processes.
    EXPECT_EQ(in_child([&] {
                  const auto same = open_shared_map(name);
                  if (!same) return 1;
                  for (int n = 0; n < 1000; ++n) {
                      if ((*same)->output(record, {}, 0, {}) != 0) return 2;
                      if ((*same)->consume(note, &sizes, 100) != 1) return 3;
                  }
                  return 0;
              }),
              0);
    EXPECT_EQ(ring->output(std::vector<std::byte>(4089), {}, 0, {}), -EAGAIN) << "never fits";
    EXPECT_EQ(ring->query(1), 4096u);
    EXPECT_EQ(ring->query(0), 0u);
}

TEST(SharedMap, RefusesWhatIsNone) {
    const Name name;
    EXPECT_EQ(open_shared_map("no.such.map").error().code, ErrorCode::NotFound);
    EXPECT_FALSE(create_shared_map("../x", def_of(MapType::Array, 4, 8, 1)).has_value());
    EXPECT_FALSE(create_shared_map("", def_of(MapType::Array, 4, 8, 1)).has_value());
    EXPECT_FALSE(create_shared_map(name, def_of(MapType::LruHash, 4, 8, 1)).has_value());
    EXPECT_FALSE(create_shared_map(name, def_of(MapType::Array, 4, 8, 1), 0).has_value());
    MapDef locked = def_of(MapType::Hash, 4, 8, 1);
    locked.fields = {{FieldKind::SpinLock, 0, 4, 0}};
    EXPECT_FALSE(create_shared_map(name, locked).has_value());
    const auto map = create(name, def_of(MapType::Array, 4, 8, 1), 1);
    EXPECT_FALSE(create_shared_map(name, def_of(MapType::Array, 4, 8, 1)).has_value());
    EXPECT_EQ(open_shared_map(name).error().code, ErrorCode::LimitExceeded);
    EXPECT_TRUE(remove_shared_map(name).has_value());
    EXPECT_FALSE(remove_shared_map(name).has_value());
    // Segments that others made.
    const int fd = ::shm_open(name.path().c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
    ASSERT_GE(fd, 0);
    EXPECT_EQ(open_shared_map(name).error().code, ErrorCode::BadMapDef);
    std::mt19937_64 random(1);
    std::vector<uint64_t> noise(4096);
    for (uint64_t& word : noise) word = random();
    ASSERT_GT(::write(fd, noise.data(), noise.size() * 8), 0);
    EXPECT_EQ(open_shared_map(name).error().code, ErrorCode::BadMapDef);
    ::close(fd);
}

// Another process overwrites the segment at random while this one uses the map: nothing is reached
// outside of it, and everything ends.
TEST(SharedMap, SurvivesAScribbler) {
    const bool longer = std::getenv("SKEP_LONG") != nullptr;
    const auto span = std::chrono::milliseconds(longer ? 20000 : 300);
    for (const MapType type :
         {MapType::Hash, MapType::PercpuHash, MapType::PercpuArray, MapType::Ringbuf}) {
        const Name name;
        const bool ring = type == MapType::Ringbuf;
        const auto map = create(name, ring ? def_of(type, 0, 0, 4096) : def_of(type, 4, 8, 64), 2);
        ASSERT_NE(map, nullptr);
        const int fd = ::shm_open(name.path().c_str(), O_RDWR, 0);
        struct stat info{};
        ASSERT_EQ(::fstat(fd, &info), 0);
        const auto size = static_cast<size_t>(info.st_size);
        void* at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        ::close(fd);
        ASSERT_NE(at, MAP_FAILED);
        const pid_t scribbler = ::fork();
        if (scribbler == 0) {
            auto* words = static_cast<volatile uint32_t*>(at);
            std::mt19937_64 random(static_cast<uint64_t>(type));
            for (;;) {
                // Often small numbers, which are links somewhere.
                const uint64_t n = random();
                words[n % (size / 4)] =
                    static_cast<uint32_t>(n >> 62 == 0 ? random() : random() % 80);
            }
        }
        std::mt19937 random(5);
        const auto end = std::chrono::steady_clock::now() + span;
        uint64_t operations = 0;
        std::vector<std::byte> out(map->host_value_size());
        const auto ignore = [](void*, const MapEvent& event) { return event.data.size() <= 4096; };
        while (std::chrono::steady_clock::now() < end) {
            const RunScope run;
            for (int n = 0; n < 8; ++n, ++operations) {
                const uint32_t key = random() % 100;
                const uint64_t value = key;
                if (ring) {
                    map->output({bytes(value), 8}, {}, 0, run.caller());
                    const MapReservation record = map->reserve(random() % 5000, 0);
                    if (record.data != nullptr) {
                        EXPECT_GE(record.data, map->values().base);
                        EXPECT_LT(record.data, map->values().base + map->values().size);
                        map->commit(record.id, 0);
                    }
                    EXPECT_LE(map->consume(ignore, nullptr, 1000), 1000);
                    continue;
                }
                map->update(bytes(key), bytes(value), 0, run.caller());
                if (std::byte* found = map->lookup(bytes(key), run.caller())) {
                    const ValueRange values = map->values();
                    ASSERT_TRUE(found >= values.base && found + 8 <= values.base + values.size);
                    __atomic_store_n(reinterpret_cast<uint64_t*>(found), value, __ATOMIC_RELAXED);
                }
                if (random() % 4 == 0) map->erase(bytes(key), run.caller());
                if (random() % 16 == 0) map->host_lookup(bytes(key), out, 0);
                uint32_t next = 0;
                if (random() % 16 == 0)
                    map->next_key(bytes(key), reinterpret_cast<std::byte*>(&next));
            }
        }
        ::kill(scribbler, SIGKILL);
        ::waitpid(scribbler, nullptr, 0);
        EXPECT_GT(operations, 0u);
        ::munmap(at, size);
    }
}

}  // namespace
}  // namespace skep
