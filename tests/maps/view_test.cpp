// Typed views and saved entries.
#include <algorithm>
#include <numeric>
#include <set>

#include <skep/map_view.hpp>

#include "map_fixture.hpp"

namespace skep {
namespace {

using test::bytes;
using test::def_of;
using test::make;
using test::RunScope;

struct Pair {
    uint32_t a = 0, b = 0;
    bool operator==(const Pair&) const = default;
};

TEST(MapView, ReadsAndWritesTypes) {
    const auto map = make(def_of(MapType::Hash, 4, 8, 10));
    const auto view = map->view<uint32_t, Pair>();
    ASSERT_TRUE(view);
    EXPECT_EQ(view.copies(), 1u);
    EXPECT_EQ(view.lookup(1), std::nullopt);
    EXPECT_EQ(view.update(1, {2, 3}), 0);
    EXPECT_EQ(view.update(1, {2, 3}, map_flags::kNoExist), -EEXIST);
    EXPECT_EQ(view.lookup(1), (Pair{2, 3}));
    EXPECT_EQ(view.update(5, {6, 7}), 0);
    auto entries = view.entries();
    std::ranges::sort(entries, {}, [](const auto& e) { return e.first; });
    ASSERT_EQ(entries.size(), 2u);
    EXPECT_EQ(entries[1].first, 5u);
    EXPECT_EQ(entries[1].second, (Pair{6, 7}));
    EXPECT_EQ(view.entries(1).size(), 1u);
    EXPECT_EQ(view.erase(1), 0);
    EXPECT_EQ(view.erase(1), -ENOENT);
    EXPECT_TRUE(view.live().empty());
}

TEST(MapView, KnowsWhenTypesDoNotFit) {
    const auto map = make(def_of(MapType::Hash, 4, 8, 10));
    const auto view = map->view<uint64_t, Pair>();
    EXPECT_FALSE(view);
    EXPECT_EQ(view.update(1, {}), -EINVAL);
    EXPECT_EQ(view.erase(1), -EINVAL);
    EXPECT_EQ(view.lookup(1), std::nullopt);
    EXPECT_TRUE(view.entries().empty());
    EXPECT_FALSE((map->view<uint32_t, uint32_t>()));
}

TEST(MapView, GivesTheCopiesOfPerCpuMaps) {
    for (const MapType type : {MapType::PercpuArray, MapType::PercpuHash, MapType::LruPercpuHash}) {
        const auto map = make(def_of(type, 4, 12, 4));
        struct Twelve {
            uint32_t words[3] = {};
        };
        const auto view = map->view<uint32_t, Twelve>();
        ASSERT_TRUE(view);
        ASSERT_EQ(view.copies(), cpu_slots());
        std::vector<Twelve> values(cpu_slots());
        for (unsigned i = 0; i < cpu_slots(); ++i) values[i].words[2] = i + 1;
        ASSERT_EQ(view.update_all(2, values), 0);
        const auto back = view.lookup_all(2);
        ASSERT_TRUE(back);
        for (unsigned i = 0; i < cpu_slots(); ++i) EXPECT_EQ((*back)[i].words[2], i + 1);
        EXPECT_EQ(view.lookup(2)->words[2], 1u);
        EXPECT_EQ(view.update_all(2, std::span(values).first(1)), -EINVAL);
        EXPECT_EQ(view.entries_all().size(), type == MapType::PercpuArray ? 4u : 1u);
        ASSERT_EQ(view.update(2, {{9, 9, 9}}), 0);
        const auto all = view.lookup_all(2);
        ASSERT_TRUE(all);
        for (const Twelve& copy : *all) EXPECT_EQ(copy.words[0], 9u);
    }
}

TEST(MapView, LiveArraysAreWhatProgramsSee) {
    const auto map = make(def_of(MapType::Array, 4, 8, 16));
    const auto live = map->view<uint32_t, uint64_t>().live();
    ASSERT_EQ(live.size(), 16u);
    live[3] = 33;
    const uint32_t key = 3;
    const RunScope run;
    EXPECT_EQ(std::memcmp(map->lookup(bytes(key), run.caller()), &live[3], 8), 0);
    ASSERT_EQ(map->freeze(), 0);
    EXPECT_TRUE((map->view<uint32_t, uint64_t>().live().empty()));
    const auto padded = make(def_of(MapType::Array, 4, 4, 16));
    EXPECT_TRUE((padded->view<uint32_t, uint32_t>().live().empty()));
}

TEST(SavedEntries, ComeBack) {
    for (const MapType type : {MapType::Hash, MapType::Array, MapType::PercpuHash}) {
        const auto map = make(def_of(type, 4, 8, 50));
        const auto view = map->view<uint32_t, uint64_t>();
        for (uint32_t key = 0; key < 30; ++key) ASSERT_EQ(view.update(key, key * 7), 0);
        const auto saved = save_entries(*map);
        ASSERT_TRUE(saved.has_value());
        const auto other = make(def_of(type, 4, 8, 50));
        ASSERT_TRUE(restore_entries(*other, *saved).has_value());
        const auto same = other->view<uint32_t, uint64_t>();
        for (uint32_t key = 0; key < 30; ++key) EXPECT_EQ(same.lookup(key), key * 7);
        EXPECT_EQ(same.entries().size(), view.entries().size());
    }
}

TEST(SavedEntries, AreCheckedBeforeUse) {
    const auto map = make(def_of(MapType::Hash, 4, 8, 2));
    const auto view = map->view<uint32_t, uint64_t>();
    for (uint32_t key = 0; key < 2; ++key) ASSERT_EQ(view.update(key, key), 0);
    const auto saved = save_entries(*map);
    ASSERT_TRUE(saved.has_value());
    for (size_t size = 0; size < saved->size(); ++size) {
        EXPECT_FALSE(restore_entries(*map, std::span(*saved).first(size)).has_value()) << size;
    }
    for (size_t at = 0; at < 32; ++at) {
        auto broken = *saved;
        broken[at] ^= std::byte{0xff};
        EXPECT_FALSE(restore_entries(*map, broken).has_value()) << at;
    }
    EXPECT_FALSE(restore_entries(*make(def_of(MapType::Hash, 4, 16, 2)), *saved).has_value());
    const auto full = make(def_of(MapType::Hash, 4, 8, 1));
    EXPECT_EQ(restore_entries(*full, *saved).error().code, ErrorCode::BadMapContents);
}

}  // namespace
}  // namespace skep
