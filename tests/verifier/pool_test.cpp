#include "verifier/pool.hpp"

#include <gtest/gtest.h>
#include <random>

#include "tests/prog/insn_builder.hpp"

namespace skep {
namespace {

TEST(ScalarPool, EqualScalarsShareAnIndex) {
    ScalarPool pool;
    EXPECT_EQ(pool.intern(Scalar::bottom()), ScalarPool::kBottom);
    EXPECT_EQ(pool.intern(Scalar::unknown()), ScalarPool::kUnknown);
    const uint32_t seven = pool.constant(7);
    EXPECT_EQ(pool.intern(Scalar::constant(7)), seven);
    EXPECT_NE(pool.constant(8), seven);
    EXPECT_TRUE(pool[seven].is_const(7));
    std::vector<uint32_t> first;
    for (uint64_t n = 0; n < 5000; ++n) first.push_back(pool.intern(Scalar::range_u64(n, 3 * n)));
    for (uint64_t n = 0; n < 5000; ++n) {
        ASSERT_EQ(pool.intern(Scalar::range_u64(n, 3 * n)), first[n]);
        ASSERT_EQ(pool[first[n]], Scalar::range_u64(n, 3 * n));
    }
    pool.clear();
    EXPECT_EQ(pool.size(), 2u);
}

TEST(ScalarPool, RememberedResultsEqualComputedOnes) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    ScalarPool pool;
    std::vector<uint32_t> values{pool.constant(0), ScalarPool::kUnknown, ScalarPool::kBottom};
    for (int i = 0; i < 12; ++i) {
        const uint64_t lo = random() >> random() % 64;
        values.push_back(pool.intern(Scalar::range_u64(lo, lo | random() >> random() % 64)));
    }
    for (int round = 0; round < 20000; ++round) {
        const uint32_t a = values[random() % values.size()], b = values[random() % values.size()];
        const auto op = static_cast<AluOp>(random() % 12);
        const Width width = random() % 2 ? Width::Dw : Width::W;
        const Insn insn = build::alu_reg(op, 0, 1, width);
        ASSERT_EQ(pool[pool.transfer(insn, a, b)], transfer(insn, pool[a], pool[b]));
        ASSERT_EQ(pool[pool.join(a, b)], join(pool[a], pool[b]));
        ASSERT_EQ(pool[pool.meet(a, b)], meet(pool[a], pool[b]));
        ASSERT_EQ(pool.covers(a, b), subsumes(pool[a], pool[b]));
        const auto cond = static_cast<CondOp>(random() % 11);
        const bool taken = random() % 2;
        const auto got = pool.refine(cond, width, a, b, taken);
        const auto expected = refine(cond, width, pool[a], pool[b], taken);
        ASSERT_EQ(got.feasible, expected.feasible);
        ASSERT_EQ(pool[got.dst], expected.dst);
        ASSERT_EQ(pool[got.src], expected.src);
        const unsigned bits = 8u << random() % 3;
        ASSERT_EQ(pool[pool.zero_extend(a, bits)], zero_extend(pool[a], bits));
        ASSERT_EQ(pool[pool.sign_extend(a, bits)], sign_extend(pool[a], bits));
    }
}

}  // namespace
}  // namespace skep
