// Scalars at 64 bits: the rules that programs depend on, by example.
#include "verifier/scalar.hpp"

#include <gtest/gtest.h>

#include "vm/isa/semantics.hpp"

namespace skep {
namespace {

Scalar alu64(AluOp op, const Scalar& a, const Scalar& b, bool is_signed = false) {
    return alu(op, true, is_signed, a, b);
}
Scalar alu32(AluOp op, const Scalar& a, const Scalar& b, bool is_signed = false) {
    return alu(op, false, is_signed, a, b);
}
Scalar c(uint64_t v) { return Scalar::constant(v); }
Scalar u(uint64_t lo, uint64_t hi) { return Scalar::range_u64(lo, hi); }

TEST(Scalar, UnknownBottomAndConstants) {
    EXPECT_TRUE(Scalar::unknown().is_unknown());
    EXPECT_TRUE(Scalar::bottom().is_bottom());
    EXPECT_FALSE(Scalar::bottom().is_const());
    EXPECT_TRUE(c(5).is_const(5));
    EXPECT_EQ(c(0xffffffffffffffff).smin, -1);
    EXPECT_EQ(sync(c(7)), c(7));
    EXPECT_EQ(sync(Scalar::unknown()), Scalar::unknown());
    EXPECT_EQ(u(5, 5), c(5));
    EXPECT_TRUE(u(6, 5).is_bottom());
    EXPECT_TRUE(subsumes(Scalar::unknown(), c(3)));
    EXPECT_FALSE(subsumes(c(3), Scalar::unknown()));
    EXPECT_TRUE(subsumes(c(3), Scalar::bottom()));
}

TEST(Scalar, RangesAndBitsTightenEachOther) {
    const Scalar byte = zero_extend(Scalar::unknown(), 8);
    EXPECT_EQ(byte, u(0, 255));
    EXPECT_EQ(byte.smax, 255);
    EXPECT_EQ(byte.s32_max, 255);
    // Multiples of 8 up to 20 end at 16.
    const Scalar index = meet(alu64(AluOp::Lsh, byte, c(3)), u(0, 20));
    EXPECT_EQ(index.umax, 16u);
    EXPECT_EQ(index.bits.mask, 0x18u);
}

TEST(Scalar, DisjointBitsAndRangeAreBottom) {
    Scalar even = Scalar::unknown();
    even.bits = {0, ~uint64_t{7}};  // multiples of 8
    EXPECT_TRUE(meet(even, u(17, 23)).is_bottom());
    EXPECT_TRUE(meet(even, u(17, 24)).is_const(24));
}

TEST(Scalar, LoadsAndMovesExtend) {
    EXPECT_EQ(sign_extend(Scalar::unknown(), 8), Scalar::range_s64(-128, 127));
    EXPECT_EQ(sign_extend(Scalar::unknown(), 32), Scalar::range_s64(INT32_MIN, INT32_MAX));
    EXPECT_EQ(zero_extend(Scalar::range_s64(-1, 0), 32).umax, UINT32_MAX);
    EXPECT_EQ(sign_extend(zero_extend(Scalar::range_s64(-5, 5), 32), 32), Scalar::range_s64(-5, 5));
}

TEST(Scalar, DivisionAndRemainderHaveRanges) {
    EXPECT_EQ(alu64(AluOp::Mod, Scalar::unknown(), c(64)), u(0, 63));
    EXPECT_EQ(alu64(AluOp::Mod, Scalar::unknown(), c(10)).umax, 9u);
    EXPECT_EQ(alu64(AluOp::Div, u(10, 100), c(10)), u(1, 10));
    EXPECT_EQ(alu64(AluOp::Div, u(10, 100), u(0, 10)), u(0, 100));
    EXPECT_EQ(alu32(AluOp::Mod, Scalar::unknown(), c(7)).umax, 6u);
    EXPECT_EQ(alu64(AluOp::Mod, Scalar::range_s64(-100, 100), c(8), true).smin, -7);
    EXPECT_EQ(alu64(AluOp::Div, Scalar::range_s64(-100, 100), c(-10ull), true).smin, -10);
    // INT_MIN / -1 wraps.
    EXPECT_TRUE(alu64(AluOp::Div, c(1ull << 63), c(~0ull), true).is_const(1ull << 63));
    EXPECT_TRUE(alu64(AluOp::Div, u(1, 9), c(0)).is_const(0));
    EXPECT_EQ(alu64(AluOp::Mod, u(1, 9), c(0)), u(1, 9));
}

TEST(Scalar, ShiftCountsMayBeRanges) {
    EXPECT_EQ(alu64(AluOp::Lsh, c(1), u(0, 3)).umax, 8u);
    EXPECT_EQ(alu64(AluOp::Rsh, u(0, 255), u(1, 4)).umax, 127u);
    EXPECT_EQ(alu32(AluOp::Arsh, Scalar::unknown(), c(31)).bits.mask, 0xffffffffu);
    // Counts are modulo the width.
    EXPECT_EQ(alu64(AluOp::Rsh, u(0, 255), c(64)), u(0, 255));
}

TEST(Scalar, BranchesRefineBothOperands) {
    const Refined less = refine(CondOp::Lt, Width::Dw, Scalar::unknown(), u(0, 100), true);
    EXPECT_TRUE(less.feasible);
    EXPECT_EQ(less.dst, u(0, 99));
    EXPECT_EQ(less.src, u(1, 100));
    EXPECT_EQ(refine(CondOp::Ne, Width::Dw, u(0, 100), c(0), true).dst, u(1, 100));
    EXPECT_TRUE(refine(CondOp::Set, Width::Dw, u(0, 255), c(8), true).dst.bits.value == 8);
    EXPECT_EQ(refine(CondOp::Set, Width::Dw, u(0, 255), c(0xf0), false).dst, u(0, 15));
    EXPECT_EQ(branch_outcome(CondOp::Gt, Width::Dw, u(5, 9), u(0, 4)), BranchOutcome::Always);
    EXPECT_EQ(branch_outcome(CondOp::Gt, Width::Dw, u(0, 4), u(4, 9)), BranchOutcome::Never);
    EXPECT_EQ(branch_outcome(CondOp::Gt, Width::W, u(0, 5), u(4, 9)), BranchOutcome::Unknown);
}

TEST(Scalar, PrintsAsLinuxDoes) {
    EXPECT_EQ(to_string(c(7)), "7");
    EXPECT_EQ(to_string(c(-1ull)), "-1");
    EXPECT_EQ(to_string(Scalar::unknown()), "scalar()");
    EXPECT_EQ(to_string(u(0, 255)),
              "scalar(smin=smin32=0,smax=umax=smax32=umax32=255,var_off=(0x0; 0xff))");
    EXPECT_EQ(to_string(u(0, 1 << 20)),
              "scalar(smin=smin32=0,smax=umax=smax32=umax32=0x100000,var_off=(0x0; 0x1fffff))");
}

}  // namespace
}  // namespace skep
