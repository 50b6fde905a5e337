// The helper table: every number once, prototypes that follow from signatures, host helpers.
#include <gtest/gtest.h>
#include <stdexcept>

#include "helpers/env.hpp"
#include "helpers/table.hpp"

namespace skep {
namespace {

TEST(HelperTable, EveryNumberIsFoundByNumberAndName) {
    for (uint32_t id = 1; id <= kLastHelper; ++id) {
        const Helper* helper = find_helper(id);
        ASSERT_NE(helper, nullptr) << id;
        EXPECT_EQ(helper->id, id);
        EXPECT_EQ(find_helper(helper->name)->id, id);
        EXPECT_FALSE(helper->summary.empty()) << helper->name;
        EXPECT_NE(helper->thunk, nullptr) << helper->name;
    }
    EXPECT_EQ(find_helper(0u), nullptr);
    EXPECT_EQ(find_helper(kLastHelper + 1), nullptr);
    EXPECT_EQ(find_helper("bpf_map_lookup_elem")->id, 1u);
    EXPECT_EQ(similar_helpers("map_lokup_elem").front(), "map_lookup_elem");
}

TEST(HelperTable, MemoryIsFollowedByItsSize) {
    for (const Helper& helper : helpers()) {
        for (unsigned i = 0; i < 5; ++i) {
            const bool memory = helper.proto.args[i].kind == ArgKind::Memory;
            const bool size = i < 4 && helper.proto.args[i + 1].kind == ArgKind::Size;
            EXPECT_EQ(memory, size) << helper.name << " argument " << i + 1;
            EXPECT_EQ(i < helper.proto.count, helper.proto.args[i].kind != ArgKind::None)
                << helper.name;
        }
    }
}

TEST(HelperTable, RowsOfOneNumberAreForDifferentTypes) {
    for (const Helper& a : helpers()) {
        for (const Helper& b : helpers()) {
            if (a.id != b.id || &a >= &b) continue;
            EXPECT_EQ(a.types & b.types, 0u) << a.name;
        }
    }
    const ProgType& lookup = *find_prog_type(ProgKind::SkLookup);
    EXPECT_EQ(find_helper(124, lookup)->proto.args[1].kind, ArgKind::Socket);
    EXPECT_EQ(find_helper(124, *find_prog_type(ProgKind::SchedCls))->proto.args[1].kind,
              ArgKind::BtfSockCommon);
}

TEST(HelperTable, PrototypesFollowFromSignatures) {
    const HelperProto& proto = find_helper("map_update_elem")->proto;
    EXPECT_EQ(proto.count, 4);
    EXPECT_EQ(proto.args[0].kind, ArgKind::Map);
    EXPECT_EQ(proto.args[1].kind, ArgKind::MapKey);
    EXPECT_EQ(proto.args[2].kind, ArgKind::MapValue);
    EXPECT_EQ(proto.args[3].kind, ArgKind::Anything);
    EXPECT_EQ(describe(*find_helper("map_lookup_elem")),
              "bpf_map_lookup_elem(a map, memory of the map's key size) -> map value or null");
    EXPECT_EQ(find_helper("loop")->proto.args[1].callback, CallbackKind::Loop);
    EXPECT_EQ(find_helper("strtoul")->proto.args[3].size, 8);
}

long sum(ReadMem bytes, uint64_t seed) noexcept {
    long total = static_cast<long>(seed);
    for (uint64_t i = 0; i < bytes.size; ++i) total += static_cast<int>(bytes.data[i]);
    return total;
}
int throws(HelperEnv&, Out<uint32_t> out) {
    *out.value = 1;
    throw std::runtime_error("host");
}

TEST(HelperTable, HostFunctionsBecomeHelpers) {
    HelperEnv env;
    const Helper helper = make_helper<&sum>(1000, "sum");
    EXPECT_EQ(helper.proto.count, 3);
    const std::byte data[2] = {std::byte{3}, std::byte{4}};
    EXPECT_EQ(helper.thunk(reinterpret_cast<uintptr_t>(data), 2, 10, 0, 0, &env), 17u);
    EXPECT_EQ(helper.thunk(reinterpret_cast<uintptr_t>(data), 2, ~uint64_t{0} - 9, 0, 0, &env),
              static_cast<uint64_t>(-3));
}

TEST(HelperTable, ExceptionsEndTheRun) {
    HelperEnv env;
    constexpr Helper helper = make_helper<&throws>(1001, "throws");
    uint32_t out = 0;
    EXPECT_EQ(helper.thunk(reinterpret_cast<uintptr_t>(&out), 0, 0, 0, 0, &env), 0u);
    EXPECT_EQ(env.trap, TrapCode::HostException);
}

TEST(HelperTable, KernelOnlyHelpersTrap) {
    HelperEnv env;
    const Helper* helper = find_helper("sys_close");
    ASSERT_NE(helper->flags & helper_flag::kKernelOnly, 0u);
    helper->thunk(0, 0, 0, 0, 0, &env);
    EXPECT_EQ(env.trap, TrapCode::Unsupported);
}

}  // namespace
}  // namespace skep
