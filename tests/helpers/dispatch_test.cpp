// The sandbox's helper calls: good arguments arrive translated, forged ones never arrive.
#include "helpers/dispatch.hpp"

#include <gtest/gtest.h>
#include <random>

#include "tests/helpers/sandbox.hpp"

namespace skep {
namespace {

using test::Sandbox;

TEST(Dispatch, MapValuesAreGuestAddresses) {
    Sandbox box({test::array_map(16, 4), test::hash_map(8, 8, 16)});
    box.put<uint32_t>(0, 2);
    const uint64_t value = box.call("map_lookup_elem", box.map_handle(0), box.stack_at(0));
    ASSERT_EQ(box.env.trap, TrapCode::None);
    EXPECT_EQ(value >> 32, region::kFirstMap);
    EXPECT_LT(static_cast<uint32_t>(value), box.maps[0]->values().size);

    box.put<uint64_t>(8, 77);
    box.put<uint64_t>(16, 0x1234);
    EXPECT_EQ(box.call("map_lookup_elem", box.map_handle(1), box.stack_at(8)), 0u);
    EXPECT_EQ(box.call("map_update_elem", box.map_handle(1), box.stack_at(8), box.stack_at(16), 0),
              0u);
    const uint64_t found = box.call("map_lookup_elem", box.map_handle(1), box.stack_at(8));
    EXPECT_EQ(found >> 32, region::kFirstMap + 1);
    EXPECT_EQ(box.call("map_delete_elem", box.map_handle(1), box.stack_at(8)), 0u);
    EXPECT_EQ(static_cast<int64_t>(box.call("map_delete_elem", box.map_handle(1), box.stack_at(8))),
              -2);
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

TEST(Dispatch, KeysMayLieInMapValues) {
    Sandbox box({test::array_map(16, 4)});
    const uint64_t key = guest_address(region::kFirstMap, 0);  // value 0 is zero: key 0
    EXPECT_NE(box.call("map_lookup_elem", box.map_handle(0), key), 0u);
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

struct BadCall {
    std::string_view helper;
    uint64_t r[5];
};

TEST(Dispatch, ForgedArgumentsTrap) {
    const uint64_t key = guest_address(region::kStack, Sandbox::kStackLow);
    const BadCall calls[] = {
        {"map_lookup_elem", {0, key}},
        {"map_lookup_elem", {guest_address(region::kMapHandle, 2), key}},
        {"map_lookup_elem", {guest_address(region::kMapHandle, ~0u), key}},
        {"map_lookup_elem", {guest_address(region::kFunction, 0), key}},
        {"map_lookup_elem", {Sandbox::map_handle(0), 0}},
        {"map_lookup_elem", {Sandbox::map_handle(0), key + 1024 - 3}},
        {"map_lookup_elem", {Sandbox::map_handle(0), key - 1}},
        {"map_lookup_elem", {Sandbox::map_handle(0), guest_address(region::kMapHandle, 0)}},
        {"map_lookup_elem", {Sandbox::map_handle(0), ~uint64_t{0}}},
        {"map_update_elem", {Sandbox::map_handle(0), key, key + 1024 - 15, 0}},
        {"get_current_comm", {key, 0}},
        {"get_current_comm", {key, 1025}},
        {"get_current_comm", {key, ~uint64_t{0}}},
        {"get_current_comm", {key + 8, ~uint64_t{0} - 7}},
        {"tail_call", {0, Sandbox::map_handle(0), 0}},
        {"loop", {1, guest_address(region::kFunction, 0), 0, 0}},
    };
    for (const BadCall& bad : calls) {
        Sandbox box({test::array_map(16, 4), test::hash_map(8, 8, 16)});
        dispatch_helper(*find_helper(bad.helper), bad.r, box.env);
        EXPECT_EQ(box.env.trap, TrapCode::BadArgument)
            << bad.helper << ' ' << std::hex << bad.r[0] << ' ' << bad.r[1];
    }
}

// Under ASan, a helper that got an unchecked pointer or size would be seen.
TEST(Dispatch, RandomRegistersNeverReachHostMemory) {
    const uint64_t seed = std::random_device{}();
    RecordProperty("seed", std::to_string(seed));
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Sandbox box({test::array_map(16, 4), test::hash_map(8, 8, 16)});
    std::vector<std::byte> bytes(512);
    PacketBuffer packet{bytes.data(), bytes.data() + 100, bytes.data() + 100, bytes.data() + 160,
                        bytes.data() + bytes.size()};
    box.set_packet(packet);
    const auto value = [&]() -> uint64_t {
        switch (random() % 8) {
            case 0: return random();
            case 1: return random() % 64;
            case 2: return box.map_handle(static_cast<uint32_t>(random() % 3));
            case 3: return box.context();
            case 4:
                return guest_address(static_cast<uint32_t>(random() % 40),
                                     static_cast<uint32_t>(random()));
            case 5:
                return guest_address(region::kFirstMap + random() % 3,
                                     static_cast<uint32_t>(random() % 80));
            case 6: return guest_address(region::kPacket, region::kPacketBase + 90 + random() % 80);
            default: return box.stack_at(static_cast<uint32_t>(random() % 1040));
        }
    };
    const std::span<const Helper> table = helpers();
    for (int i = 0; i < 100'000; ++i) {
        const Helper& helper = table[random() % table.size()];
        const uint64_t registers[5] = {value(), value(), value(), value(), value()};
        box.env.trap = TrapCode::None;
        box.env.fuel = 1000;
        dispatch_helper(helper, registers, box.env);
        box.env.release_all();
    }
}

}  // namespace
}  // namespace skep
