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

TEST(Scalar, ShiftsThatDropTheUpperHalfKeepTheLowRange) {
    // r <<= 32; r >>= 32 after `if w > 9`: how compilers extend.
    const Scalar low = refine(CondOp::Le, Width::W, Scalar::unknown(), c(9), true).dst;
    const Scalar up = alu64(AluOp::Lsh, low, c(32));
    EXPECT_EQ(up.umax, 9ull << 32);
    EXPECT_EQ(alu64(AluOp::Rsh, up, c(32)), u(0, 9));
    const Scalar signed_low = refine(CondOp::Sge, Width::W, Scalar::unknown(), c(-3ull), true).dst;
    EXPECT_EQ(alu64(AluOp::Arsh, alu64(AluOp::Lsh, signed_low, c(32)), c(32)),
              Scalar::range_s64(-3, INT32_MAX));
}

TEST(Scalar, BranchesRefineBothOperands) {
    const Refined less = refine(CondOp::Lt, Width::Dw, Scalar::unknown(), u(0, 100), true);
    EXPECT_TRUE(less.feasible);
    EXPECT_EQ(less.dst, u(0, 99));
    EXPECT_EQ(less.src, u(1, 100));
    EXPECT_EQ(refine(CondOp::Ne, Width::Dw, u(0, 100), c(0), true).dst, u(1, 100));
    EXPECT_TRUE(refine(CondOp::Set, Width::Dw, u(0, 255), c(8), true).dst.bits.value == 8);
    EXPECT_EQ(refine(CondOp::Set, Width::Dw, u(0, 255), c(0xf0), false).dst, u(0, 15));
    // A way that no values go is not feasible.
    EXPECT_FALSE(refine(CondOp::Gt, Width::Dw, u(5, 9), u(0, 4), false).feasible);
    EXPECT_FALSE(refine(CondOp::Gt, Width::Dw, u(0, 4), u(4, 9), true).feasible);
    EXPECT_TRUE(refine(CondOp::Gt, Width::W, u(0, 5), u(4, 9), true).feasible);
    EXPECT_TRUE(refine(CondOp::Gt, Width::W, u(0, 5), u(4, 9), false).feasible);
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

// ---- Bugs that Linux's verifier had -----------------------------------------------------------

Insn insn32(AluOp op) {
    Insn i;
    i.kind = Kind::Alu;
    i.op = static_cast<uint8_t>(op);
    i.width = Width::W;
    return i;
}

TEST(HistoricalBugs, Cve2017_16995_MovImm32IsZeroExtended) {
    // w1 = -1 is 0xffffffff, not -1.
    EXPECT_EQ(transfer(insn32(AluOp::Mov), Scalar::unknown(), c(-1ull)), c(0xffffffff));
}

TEST(HistoricalBugs, Cve2017_16996_Alu32TruncatesWideRanges) {
    const Scalar wide = u(0, 1ull << 33);
    EXPECT_EQ(alu32(AluOp::Add, wide, c(1)).umax, UINT32_MAX);
    EXPECT_EQ(alu32(AluOp::Add, wide, c(1)).umin, 0u);
    EXPECT_TRUE(alu32(AluOp::Mov, c(0), c(1ull << 32)).is_const(0));
}

TEST(HistoricalBugs, Cve2018_18445_Rsh32ReadsTheLowHalf) {
    // Bit 32 is cut off before the shift: the result is below 2^1, not 4.
    const Scalar s = alu32(AluOp::Rsh, u(0, 1ull << 33), c(31));
    EXPECT_EQ(s, u(0, 1));
    EXPECT_TRUE(s.contains(static_cast<uint32_t>(0xffffffffu) >> 31));
}

TEST(HistoricalBugs, Cve2020_8835_Jump32LeavesTheUpperHalfUnknown) {
    const Refined r = refine(CondOp::Le, Width::W, Scalar::unknown(), c(15), true);
    EXPECT_EQ(r.dst.u32_max, 15u);
    EXPECT_TRUE(r.dst.contains(0xabcd00000003));
    EXPECT_EQ(r.dst.umax, 0xffffffff0000000full);
    EXPECT_EQ(r.dst.bits.mask, 0xffffffff0000000full);
}

TEST(HistoricalBugs, Cve2020_27194_Or32DoesNotCopy64BitBounds) {
    const Scalar a = u(1, 0x100000001ull), out = alu64(AluOp::Or, a, c(0));
    EXPECT_TRUE(out.contains(0xffffffff));
    EXPECT_EQ(out.u32_max, UINT32_MAX);
    EXPECT_EQ(alu32(AluOp::Or, a, c(0)).umax, UINT32_MAX);
}

TEST(HistoricalBugs, Cve2021_3490_Logic32UpdatesItsBounds) {
    Scalar low_known = Scalar::unknown();
    low_known.bits = {1, ~uint64_t{0} << 32};
    low_known = sync(low_known);
    EXPECT_EQ(low_known.u32_min, 1u);
    const Scalar out = alu64(AluOp::And, low_known, c(0xfffffffe00000002ull));
    EXPECT_EQ(out.u32_max, 0u);
    EXPECT_EQ(alu64(AluOp::Xor, low_known, c(1)).u32_max, 0u);
    EXPECT_EQ(alu64(AluOp::Or, low_known, c(2)).u32_min, 3u);
}

TEST(HistoricalBugs, Cve2021_31440_LowHalfOfARangeThatSpansIt) {
    // [1, 2^32]: the low half of 2^32 is 0, so it has no lower bound.
    EXPECT_EQ(u(1, 1ull << 32).u32_min, 0u);
    EXPECT_EQ(Scalar::range_s64(-1, 1ll << 32).s32_min, INT32_MIN);
    EXPECT_EQ(u(0x1fffffffe, 0x1ffffffffull).u32_min, 0xfffffffeu);
}

TEST(HistoricalBugs, Cve2021_3444_Mod32ByZeroTruncatesTheDividend) {
    EXPECT_TRUE(alu32(AluOp::Mod, c(0x700000005), c(0)).is_const(5));
    EXPECT_EQ(alu32(AluOp::Mod, Scalar::unknown(), c(0)).umax, UINT32_MAX);
    EXPECT_EQ(alu32(AluOp::Mod, Scalar::unknown(), u(0, 4)).umax, UINT32_MAX);
}

TEST(HistoricalBugs, Cve2021_45402_Mov32DropsSignedBounds) {
    const Scalar moved = alu32(AluOp::Mov, c(0), Scalar::range_s64(-4, -1));
    EXPECT_EQ(moved, u(0xfffffffc, 0xffffffff));
    EXPECT_EQ(moved.smin, 0xfffffffcll);
}

TEST(HistoricalBugs, Cve2024_41003_BothBranchesAgainstAConstant) {
    const Refined taken = refine(CondOp::Sgt, Width::Dw, Scalar::unknown(), c(7), true);
    const Refined other = refine(CondOp::Sgt, Width::Dw, Scalar::unknown(), c(7), false);
    EXPECT_EQ(taken.dst.smin, 8);
    EXPECT_EQ(other.dst.smax, 7);
    EXPECT_TRUE(taken.src.is_const(7));
    EXPECT_TRUE(other.src.is_const(7));
}

TEST(HistoricalBugs, DivisorsOf32BitDivisionsAreTheirLowHalf) {
    // As a 32-bit divisor 2^32 is 0.
    EXPECT_TRUE(alu32(AluOp::Div, c(7), c(1ull << 32)).is_const(0));
    EXPECT_TRUE(alu32(AluOp::Div, u(7, 9), u(1ull << 32, (1ull << 32) + 1)).contains(0));
    EXPECT_TRUE(alu32(AluOp::Mod, u(7, 9), u(1ull << 32, (1ull << 32) + 1)).contains(9));
}

TEST(HistoricalBugs, BottomStaysBottom) {
    const Scalar bottom = Scalar::bottom();
    for (unsigned op = 0; op < 12; ++op) {
        for (const bool is64 : {true, false}) {
            EXPECT_TRUE(alu(static_cast<AluOp>(op), is64, false, bottom, c(1)).is_bottom());
            EXPECT_TRUE(alu(static_cast<AluOp>(op), is64, false, c(1), bottom).is_bottom());
        }
    }
    EXPECT_FALSE(refine(CondOp::Ne, Width::Dw, bottom, c(1), true).feasible);
    EXPECT_TRUE(sign_extend(bottom, 8).is_bottom());
    EXPECT_TRUE(join(bottom, c(3)).is_const(3));
    EXPECT_TRUE(meet(c(3), c(4)).is_bottom());
}

}  // namespace
}  // namespace skep
