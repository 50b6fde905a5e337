// CO-RE on types made by hand: what libbpf's rules say where no kernel has the case.

#include "vm/elf/core.hpp"

#include <gtest/gtest.h>

#include "tests/btf/build.hpp"

namespace skep {
namespace {

using core::Resolver;
using test::BtfBuilder;

std::shared_ptr<const Btf> built(const BtfBuilder& b) {
    auto btf = Btf::parse(b.bytes());
    EXPECT_TRUE(btf) << btf.error().to_string();
    return btf ? *btf : nullptr;
}

// struct s { int a; unsigned b; }, with b at `b_offset`.
std::shared_ptr<const Btf> simple(uint32_t b_offset, uint32_t b_bytes = 4, unsigned copies = 1,
                                  uint32_t shift = 0, bool b_signed = false) {
    BtfBuilder b;
    const uint32_t i = b.add_int("int", 4, true);
    const uint32_t u = b.add_int("b_t", b_bytes, b_signed);
    for (unsigned n = 0; n < copies; ++n)
        b.add("s", 4, 2, 64, {b.string("a"), i, 0, b.string("b"), u, (b_offset + n * shift) * 8});
    return built(b);
}

constexpr uint32_t kStruct = 3;

TEST(Core, MovesAnOffset) {
    const auto local = simple(4), target = simple(24);
    auto r = Resolver(*local, target.get()).resolve({0, kStruct, "0:1", CoreKind::FieldByteOffset});
    ASSERT_TRUE(r) << r.error().to_string();
    EXPECT_EQ(r->original, 4u);
    EXPECT_EQ(r->value, 24u);
    std::vector<RawInsn> load = {{0x61, 0x12, 4, 0}};
    ASSERT_TRUE(core::patch(load, 0, *r));
    EXPECT_EQ(load[0].off, 24);
    std::vector<RawInsn> other = {{0x61, 0x12, 8, 0}};
    EXPECT_EQ(core::patch(other, 0, *r).error().code, ErrorCode::CoreMismatch);
    std::vector<RawInsn> exit = {{0x95, 0, 0, 0}};
    EXPECT_EQ(core::patch(exit, 0, *r).error().code, ErrorCode::CoreMismatch);
}

TEST(Core, UnsignedFieldsMayChangeTheirSizeSignedOnesMayNot) {
    for (const bool is_signed : {false, true}) {
        const auto local = simple(8, 4, 1, 0, is_signed), target = simple(8, 8, 1, 0, is_signed);
        auto r =
            Resolver(*local, target.get()).resolve({0, kStruct, "0:1", CoreKind::FieldByteOffset});
        ASSERT_TRUE(r);
        std::vector<RawInsn> load = {{0x61, 0x12, 8, 0}};
        auto poisoned = core::patch(load, 0, *r);
        ASSERT_TRUE(poisoned);
        EXPECT_EQ(*poisoned, is_signed);
        EXPECT_EQ(load[0].opcode, is_signed ? 0x85 : 0x79);
    }
}

TEST(Core, CandidatesThatDifferAreAmbiguous) {
    const auto local = simple(4);
    const auto same = simple(8, 4, 2, 0), different = simple(8, 4, 2, 8);
    const CoreRelocation relo{0, kStruct, "0:1", CoreKind::FieldByteOffset};
    EXPECT_TRUE(Resolver(*local, same.get()).resolve(relo));
    EXPECT_EQ(Resolver(*local, different.get()).resolve(relo).error().code,
              ErrorCode::CoreAmbiguous);
}

TEST(Core, MissingFieldsPoisonButExistenceIsZero) {
    const auto local = simple(4);
    BtfBuilder b;
    const uint32_t i = b.add_int("int", 4, true);
    b.add("s", 4, 1, 4, {b.string("a"), i, 0});
    const auto target = built(b);
    Resolver resolver(*local, target.get());
    auto offset = resolver.resolve({0, kStruct, "0:1", CoreKind::FieldByteOffset});
    ASSERT_TRUE(offset);
    EXPECT_TRUE(offset->poison);
    std::vector<RawInsn> wide = {{0x18, 1, 0, 4}, {}};
    EXPECT_TRUE(*core::patch(wide, 0, *offset));
    for (const RawInsn& insn : wide) EXPECT_EQ(insn, (RawInsn{0x85, 0, 0, core::kPoisonHelper}));
    auto exists = resolver.resolve({0, kStruct, "0:1", CoreKind::FieldExists});
    ASSERT_TRUE(exists);
    EXPECT_FALSE(exists->poison);
    EXPECT_EQ(exists->value, 0u);
}

TEST(Core, LocalTypeIdsNeedNoTarget) {
    const auto local = simple(4);
    Resolver resolver(*local, nullptr);
    auto id = resolver.resolve({0, kStruct, "0", CoreKind::TypeIdLocal});
    ASSERT_TRUE(id);
    EXPECT_EQ(id->value, kStruct);
    EXPECT_EQ(resolver.resolve({0, kStruct, "0:1", CoreKind::FieldExists}).error().code,
              ErrorCode::BtfNeeded);
}

TEST(Core, RefusesAccessesThatDoNotFitTheType) {
    const auto local = simple(4);
    Resolver resolver(*local, local.get());
    for (const char* access : {"", ":", "0:", "0:2", "0:0:0", "x", "0:99999999999", "0::1"})
        EXPECT_EQ(resolver.resolve({0, kStruct, access, CoreKind::FieldByteOffset}).error().code,
                  ErrorCode::BadBtfExt)
            << access;
    EXPECT_FALSE(resolver.resolve({0, kStruct, "1", CoreKind::TypeExists}));
    EXPECT_FALSE(resolver.resolve({0, kStruct, "0", CoreKind::EnumvalValue}));
}

// Members two levels down in anonymous structs and unions are found, with all offsets added.
TEST(Core, LooksIntoAnonymousMembers) {
    const auto local = simple(4);
    BtfBuilder b;
    const uint32_t i = b.add_int("int", 4, true), u = b.add_int("u32", 4);
    const uint32_t in = b.add("", 4, 1, 16, {b.string("b"), u, 96});
    const uint32_t un = b.add("", 5, 2, 16, {b.string("x"), i, 0, 0, in, 0});
    b.add("s___flavor", 4, 2, 40, {b.string("a"), i, 0, 0, un, 128});
    const auto target = built(b);
    auto r = Resolver(*local, target.get()).resolve({0, kStruct, "0:1", CoreKind::FieldByteOffset});
    ASSERT_TRUE(r);
    EXPECT_EQ(r->value, 28u);
}

}  // namespace
}  // namespace skep
