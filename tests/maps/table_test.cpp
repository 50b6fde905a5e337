#include <cerrno>
#include <random>
#include <set>

#include "map_fixture.hpp"
#include "maps/map_types.hpp"

namespace skep {
namespace {

using test::def_of;

TEST(MapTypes, RowsAreInOrderAndNamedOnce) {
    std::set<std::string_view> names;
    uint32_t number = 0;
    for (const MapTypeInfo& row : map_types()) {
        EXPECT_EQ(static_cast<uint32_t>(row.type), ++number);
        EXPECT_TRUE(names.insert(row.name).second) << row.name;
        EXPECT_EQ(map_type_info(row.type), &row);
        EXPECT_EQ(map_type_by_name(row.name), &row);
    }
    EXPECT_EQ(number, 33u);
    EXPECT_EQ(map_type_info(MapType::Unspec), nullptr);
    EXPECT_EQ(map_type_info(MapType{34}), nullptr);
    EXPECT_EQ(map_type_by_name("nosuch"), nullptr);
}

TEST(MapDefs, AreCheckedByTheirRow) {
    const uint32_t rw_prog = map_flags::kRdonlyProg | map_flags::kWronlyProg;
    struct Case {
        const char* what;
        MapDef def;
        ErrorCode code;
    };
    const Case cases[] = {
        {"good", def_of(MapType::Hash, 4, 8, 1), ErrorCode::None},
        {"unknown type", def_of(MapType{34}, 4, 4, 1), ErrorCode::UnknownMapType},
        {"type 0", def_of(MapType::Unspec, 4, 4, 1), ErrorCode::UnknownMapType},
        {"kernel only", def_of(MapType::StructOps, 4, 8, 1), ErrorCode::UnsupportedMapType},
        {"array key", def_of(MapType::Array, 8, 8, 1), ErrorCode::BadMapDef},
        {"no key", def_of(MapType::Hash, 0, 8, 1), ErrorCode::BadMapDef},
        {"no value", def_of(MapType::Hash, 4, 0, 1), ErrorCode::BadMapDef},
        {"no size", def_of(MapType::Hash, 4, 8, 0), ErrorCode::MapSizeNeeded},
        {"array prealloc", def_of(MapType::Array, 4, 8, 1, map_flags::kNoPrealloc),
         ErrorCode::BadMapDef},
        {"hash common lru", def_of(MapType::Hash, 4, 8, 1, map_flags::kNoCommonLru),
         ErrorCode::BadMapDef},
        {"lru prealloc", def_of(MapType::LruHash, 4, 8, 1, map_flags::kNoPrealloc),
         ErrorCode::BadMapDef},
        {"both directions", def_of(MapType::Hash, 4, 8, 1, rw_prog), ErrorCode::BadMapDef},
        {"percpu value", def_of(MapType::PercpuArray, 4, 32769, 1), ErrorCode::BadMapDef},
        {"percpu value at the limit", def_of(MapType::PercpuArray, 4, 32768, 1), ErrorCode::None},
        {"element too large", def_of(MapType::Hash, 4, 4u << 20, 1), ErrorCode::BadMapDef},
        {"ring not a power of two", def_of(MapType::Ringbuf, 0, 0, 12288), ErrorCode::BadMapDef},
        {"queue with a key", def_of(MapType::Queue, 4, 8, 1), ErrorCode::BadMapDef},
        {"too many bytes", def_of(MapType::Array, 4, 1u << 30, UINT32_MAX), ErrorCode::BadMapDef},
    };
    for (const Case& c : cases) {
        const auto map = create_map(c.def);
        const ErrorCode code = map ? ErrorCode::None : map.error().code;
        EXPECT_EQ(code, c.code) << c.what << (map ? "" : ": " + map.error().to_string());
        if (!map) {
            EXPECT_FALSE(map.error().message.empty());
        }
    }
}

TEST(MapDefs, SpecialFieldsStayInsideTheValue) {
    MapDef def = def_of(MapType::Hash, 4, 8, 1);
    def.fields = {{FieldKind::Timer, 4, 16, 0}};
    EXPECT_EQ(create_map(def).error().code, ErrorCode::BadMapDef);
    def.fields = {{FieldKind::SpinLock, UINT32_MAX, 4, 0}};
    EXPECT_EQ(create_map(def).error().code, ErrorCode::BadMapDef);
}

TEST(MapDefs, ContentsFitTheOneValue) {
    MapDef def = def_of(MapType::Array, 4, 8, 1);
    def.contents.resize(9);
    EXPECT_EQ(create_map(def).error().code, ErrorCode::BadMapContents);
    def = def_of(MapType::Hash, 4, 8, 1);
    def.contents.resize(8);
    EXPECT_EQ(create_map(def).error().code, ErrorCode::BadMapContents);
}

// Keys of every size at every alignment, by all ways into the map, which differ by size: what one
// way stored the others find, and a key that differs in its last or first byte alone is another.
TEST(HashKeys, EverySizeByEveryWay) {
    std::mt19937 random(5);
    for (uint32_t size = 1; size <= 80; ++size) {
        const auto map = test::make(test::def_of(MapType::Hash, size, 8, 16));
        const MapFastPath path = map->fast_path();
        ASSERT_NE(path.lookup, nullptr);
        ASSERT_NE(path.update, nullptr);
        ASSERT_NE(path.erase, nullptr);
        const test::RunScope run;
        const unsigned cpu = run.caller().cpu;
        for (uint32_t shift = 0; shift < 8; ++shift) {
            std::vector<std::byte> memory(size + shift + 8);
            for (std::byte& byte : memory) byte = static_cast<std::byte>(random());
            std::byte* const key = memory.data() + shift;
            const std::vector<std::byte> elsewhere(key, key + size);
            uint64_t value = random();
            ASSERT_EQ(shift % 2 != 0 ? map->update(key, test::bytes(value), 0, {cpu})
                                     : path.update(map.get(), key, test::bytes(value), 0, cpu),
                      0)
                << size;
            for (const std::byte* at : {static_cast<const std::byte*>(key), elsewhere.data()}) {
                const std::byte* found = path.lookup(map.get(), at, cpu);
                ASSERT_NE(found, nullptr) << size << " at " << shift;
                EXPECT_EQ(std::memcmp(found, &value, sizeof(value)), 0);
                EXPECT_EQ(map->lookup(at, {cpu}), found);
                uint64_t out = 0;
                EXPECT_EQ(map->host_lookup(at, std::as_writable_bytes(std::span(&out, 1)), 0), 0);
                EXPECT_EQ(out, value);
            }
            for (std::byte* differs : {key, key + size - 1}) {
                *differs ^= std::byte{0x80};
                EXPECT_EQ(path.lookup(map.get(), key, cpu), nullptr) << size << " at " << shift;
                *differs ^= std::byte{0x80};
            }
            EXPECT_EQ(path.erase(map.get(), elsewhere.data(), cpu), 0);
            EXPECT_EQ(path.erase(map.get(), elsewhere.data(), cpu), -ENOENT);
            EXPECT_EQ(path.lookup(map.get(), key, cpu), nullptr);
        }
    }
}

}  // namespace
}  // namespace skep
