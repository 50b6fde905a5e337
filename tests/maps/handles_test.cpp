// Program arrays and maps of maps.
#include <atomic>
#include <cerrno>
#include <thread>

#include "map_fixture.hpp"

namespace skep {
namespace {

using test::bytes;
using test::def_of;
using test::make;
using test::RunScope;

class Program : public Executable {
public:
    Program(uint32_t id, std::atomic<int>* alive) : id_(id), alive_(alive) { ++*alive_; }
    ~Program() override { --*alive_; }
    uint32_t id() const noexcept override { return id_; }

private:
    uint32_t id_;
    std::atomic<int>* alive_;
};

uint32_t shown(Map& map, uint32_t key, long expected) {
    uint32_t id = 0;
    EXPECT_EQ(map.host_lookup(bytes(key), std::as_writable_bytes(std::span(&id, 1)), 0), expected);
    return id;
}

TEST(ProgArray, HoldsPrograms) {
    std::atomic<int> alive{0};
    {
        const auto map = make(def_of(MapType::ProgArray, 4, 4, 3));
        EXPECT_EQ(map->executable(0), nullptr);
        EXPECT_EQ(map->executable(3), nullptr);
        const auto program = std::make_shared<Program>(41, &alive);
        EXPECT_EQ(map->set_executable(bytes(3u), program, 0), -E2BIG);
        EXPECT_EQ(map->set_executable(bytes(2u), program, map_flags::kNoExist), -EINVAL);
        EXPECT_EQ(map->set_executable(bytes(2u), nullptr, 0), -EBADF);
        EXPECT_EQ(map->set_executable(bytes(2u), program, 0), 0);
        EXPECT_EQ(map->executable(2), program.get());
        EXPECT_EQ(shown(*map, 2, 0), 41u);
        shown(*map, 1, -ENOENT);
        shown(*map, 3, -ENOENT);
        EXPECT_EQ(map->host_erase(bytes(3u)), -E2BIG);
        EXPECT_EQ(map->host_erase(bytes(1u)), -ENOENT);
        EXPECT_EQ(map->host_erase(bytes(2u)), 0);
        EXPECT_EQ(map->executable(2), nullptr);
        EXPECT_EQ(map->values().size, 0u);
        EXPECT_EQ(map->set_map(bytes(0u), make(def_of(MapType::Array, 4, 4, 1)), 0), -EOPNOTSUPP);
    }
    EXPECT_EQ(alive, 0);
}

TEST(ProgArray, AReplacedProgramLivesUntilTheRunEnds) {
    std::atomic<int> alive{0};
    const auto map = make(def_of(MapType::ProgArray, 4, 4, 1));
    ASSERT_EQ(map->set_executable(bytes(0u), std::make_shared<Program>(1, &alive), 0), 0);
    {
        const RunScope run;
        const Executable* program = map->executable(0);
        std::thread([&] {
            EXPECT_EQ(map->set_executable(bytes(0u), std::make_shared<Program>(2, &alive), 0), 0);
        }).join();
        EXPECT_EQ(alive, 2);
        EXPECT_EQ(program->id(), 1u);
    }
    for (uint32_t n = 3; n < 6; ++n) {
        ASSERT_EQ(map->set_executable(bytes(0u), std::make_shared<Program>(n, &alive), 0), 0);
    }
    EXPECT_LE(alive, 3);
}

TEST(MapsOfMaps, TakeOnlyWhatFits) {
    for (const MapType type : {MapType::ArrayOfMaps, MapType::HashOfMaps}) {
        MapDef def = def_of(type, 4, 4, 2);
        EXPECT_EQ(create_map(def).error().code, ErrorCode::BadMapDef) << "no inner definition";
        def.inner = std::make_shared<MapDef>(def_of(MapType::ArrayOfMaps, 4, 4, 2));
        EXPECT_EQ(create_map(def).error().code, ErrorCode::BadMapDef) << "nested twice";
        def.inner = std::make_shared<MapDef>(def_of(MapType::Array, 4, 8, 5));
        const auto map = make(def);
        const auto inner = make(*def.inner);
        const RunScope run;
        EXPECT_EQ(map->lookup_map(bytes(1u), run.caller()), nullptr);
        EXPECT_EQ(map->set_map(bytes(1u), make(def_of(MapType::Array, 4, 4, 5)), 0), -EINVAL);
        EXPECT_EQ(map->set_map(bytes(1u), make(def_of(MapType::Array, 4, 8, 6)), 0), -EINVAL);
        EXPECT_EQ(map->set_map(bytes(1u), make(def_of(MapType::Hash, 4, 8, 5)), 0), -EINVAL);
        EXPECT_EQ(map->set_map(bytes(1u), inner, 0), 0);
        EXPECT_EQ(map->lookup_map(bytes(1u), run.caller()), inner.get());
        EXPECT_EQ(shown(*map, 1, 0), inner->id());
        shown(*map, 0, -ENOENT);
        const auto second = make(*def.inner);
        EXPECT_EQ(map->set_map(bytes(1u), second, 0), 0);
        EXPECT_EQ(map->lookup_map(bytes(1u), run.caller()), second.get());
        if (type == MapType::HashOfMaps) {
            EXPECT_EQ(map->set_map(bytes(1u), inner, map_flags::kNoExist), -EEXIST);
            EXPECT_EQ(map->set_map(bytes(7u), inner, map_flags::kExist), -ENOENT);
            EXPECT_EQ(map->set_map(bytes(7u), inner, 0), 0);
            EXPECT_EQ(map->set_map(bytes(8u), inner, 0), -E2BIG);
        } else {
            EXPECT_EQ(map->set_map(bytes(2u), inner, 0), -E2BIG);
        }
        EXPECT_EQ(map->host_erase(bytes(1u)), 0);
        EXPECT_EQ(map->host_erase(bytes(1u)), -ENOENT);
        EXPECT_EQ(map->lookup_map(bytes(1u), run.caller()), nullptr);
    }
}

TEST(MapsOfMaps, ArraysOfAnyLengthFitWithTheFlag) {
    MapDef def = def_of(MapType::ArrayOfMaps, 4, 4, 1);
    def.inner = std::make_shared<MapDef>(def_of(MapType::Array, 4, 8, 5, map_flags::kInnerMap));
    const auto map = make(def);
    EXPECT_EQ(
        map->set_map(bytes(0u), make(def_of(MapType::Array, 4, 8, 9, map_flags::kInnerMap)), 0), 0);
}

}  // namespace
}  // namespace skep
