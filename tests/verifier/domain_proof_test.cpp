// Proofs at 64 bits that the domains' operators are sound, by Z3 on the operators' own source.
//
// Each test states: if the inputs contain x and y, the output contains x op y. What loops is proved
// by induction on its step. Multiplication and division of ranges are beyond a bit-vector solver;
// they rest on monotonicity and on the exhaustive tests at small widths.
#include <cstdlib>
#include <gtest/gtest.h>

#include "tests/support/random.hpp"
#include "tests/verifier/sym.hpp"
#include "verifier/value.hpp"

namespace skep {
namespace {

using W = Sym<64>;
using H = Sym<32>;
using Bit = z3::expr;

constexpr unsigned kTimeoutMs = 300'000;

// Proofs that take more than a few seconds are made with SKEP_LONG=1.
#define SKEP_LONG_ONLY() \
    if (!test::is_long_run()) GTEST_SKIP() << "takes minutes; set SKEP_LONG=1"

// Valid, unless Z3 gives a counterexample, which is printed. A timeout counts as a failure.
testing::AssertionResult is_valid(const z3::expr& assumption, const z3::expr& claim) {
    z3::solver solver(proof_context());
    z3::params params(proof_context());
    params.set("timeout", kTimeoutMs);
    solver.set(params);
    solver.add(assumption && !claim);
    switch (solver.check()) {
        case z3::unsat: return testing::AssertionSuccess();
        case z3::sat: {
            std::string text;
            const z3::model model = solver.get_model();
            for (unsigned i = 0; i < model.num_consts(); ++i) {
                const auto f = model.get_const_decl(i);
                text += f.name().str() + " = " + model.get_const_interp(f).to_string() + "\n";
            }
            return testing::AssertionFailure() << "counterexample:\n" << text;
        }
        default: return testing::AssertionFailure() << "no answer within the time limit";
    }
}

template <class S>
BasicTnum<S> tnum(const char* value, const char* mask) {
    return {variable<kBitsOf<S>>(value), variable<kBitsOf<S>>(mask)};
}
template <class S>
Bit well_formed(const BasicTnum<S>& t) {
    return ((t.value & t.mask) == literal<S>(0)).e;
}
template <class S>
Bit in(const BasicTnum<S>& t, const S& x) {
    return tnum_contains(t, x).e;
}
template <class S>
Interval<S> interval(const std::string& name) {
    return {variable<kBitsOf<S>>((name + "_lo").c_str()),
            variable<kBitsOf<S>>((name + "_hi").c_str())};
}
template <class S>
SplitRange<S> range(const std::string& name) {
    return {interval<S>(name + "_pos"), interval<S>(name + "_neg")};
}
// The invariant of SplitRange.
template <class S>
Bit well_formed(const SplitRange<S>& r) {
    const S top = sign_bit<S>();
    const auto canonical = [](const Interval<S>& i) {
        const Interval<S> none = empty_interval<S>();
        return (i.lo == none.lo).e && (i.hi == none.hi).e;
    };
    const Bit pos = (r.pos.lo <= r.pos.hi).e && (r.pos.hi < top).e;
    const Bit neg = (r.neg.lo <= r.neg.hi).e && (top <= r.neg.lo).e;
    return (canonical(r.pos) || pos) && (canonical(r.neg) || neg);
}
template <class S>
Bit in(const SplitRange<S>& r, const S& x) {
    return range_contains(r, x).e;
}

class DomainProof : public testing::Test {
protected:
    W x_ = variable<64>("x"), y_ = variable<64>("y");
    BasicTnum<W> a_ = tnum<W>("a_value", "a_mask"), b_ = tnum<W>("b_value", "b_mask");
    SplitRange<W> p_ = range<W>("p"), q_ = range<W>("q");
    Bit tnums_ = well_formed(a_) && well_formed(b_) && in(a_, x_) && in(b_, y_);
    Bit ranges_ = well_formed(p_) && well_formed(q_) && in(p_, x_) && in(q_, y_);
};

TEST_F(DomainProof, TnumOperators) {
    EXPECT_TRUE(is_valid(tnums_, in(tnum_add(a_, b_), x_ + y_)));
    if (test::is_long_run()) {
        EXPECT_TRUE(is_valid(tnums_, in(tnum_sub(a_, b_), x_ - y_)));
    }
    EXPECT_TRUE(is_valid(tnums_, in(tnum_and(a_, b_), x_ & y_)));
    EXPECT_TRUE(is_valid(tnums_, in(tnum_or(a_, b_), x_ | y_)));
    EXPECT_TRUE(is_valid(tnums_, in(tnum_xor(a_, b_), x_ ^ y_)));
    EXPECT_TRUE(is_valid(tnums_, in(tnum_join(a_, b_), x_) && in(tnum_join(a_, b_), y_)));
    EXPECT_TRUE(
        is_valid(tnums_ && in(b_, x_), in(tnum_meet(a_, b_), x_) && !tnum_disjoint(a_, b_).e));
    EXPECT_TRUE(is_valid(
        well_formed(a_) && well_formed(b_) && tnum_subsumes(a_, b_).e && in(b_, x_), in(a_, x_)));
    for (const unsigned n : {1u, 32u, 63u}) {
        EXPECT_TRUE(is_valid(tnums_, in(tnum_lsh(a_, n), x_ << n)));
        EXPECT_TRUE(is_valid(tnums_, in(tnum_rsh(a_, n), x_ >> n)));
        const W shifted{z3::ashr(x_.e, proof_context().bv_val(n, 64))};
        EXPECT_TRUE(is_valid(tnums_, in(tnum_arsh(a_, n), shifted)));
    }
}

// The invariant of the loop: the sum contains the partial product of the rounds done. With the
// shifts above, which lead from one round to the next, and the sum 0 at the start, the end contains
// the product; rounds left out when a factor has become 0 add nothing.
TEST_F(DomainProof, TnumMultiplicationByInduction) {
    const W partial = variable<64>("partial");
    const BasicTnum<W> sum = tnum<W>("sum_value", "sum_mask");
    const W one = literal<W>(1);
    const W next = select((x_ & one) == one, partial + y_, partial);
    EXPECT_TRUE(is_valid(tnums_ && well_formed(sum) && in(sum, partial),
                         in(tnum_mul_step(sum, a_, b_), next)));
}

TEST_F(DomainProof, NextMemberIsTheLeastThatIsNotBelow) {
    SKEP_LONG_ONLY();
    const W bound = variable<64>("bound");
    const Bit tnums = well_formed(a_);
    const auto up = next_member(a_, bound);
    EXPECT_TRUE(is_valid(tnums && up.found.e, in(a_, up.value) && (bound <= up.value).e));
    EXPECT_TRUE(is_valid(tnums && in(a_, x_) && (bound <= x_).e, up.found.e && (up.value <= x_).e));
    const auto down = previous_member(a_, bound);
    EXPECT_TRUE(is_valid(tnums && down.found.e, in(a_, down.value) && (down.value <= bound).e));
    EXPECT_TRUE(
        is_valid(tnums && in(a_, x_) && (x_ <= bound).e, down.found.e && (x_ <= down.value).e));
}

TEST_F(DomainProof, Ranges) {
    const W lo = variable<64>("lo"), hi = variable<64>("hi");
    if (test::is_long_run()) {
        EXPECT_TRUE(is_valid((x_ - lo <= hi - lo).e, in(arc(lo, hi), x_)));
        EXPECT_TRUE(is_valid(proof_context().bool_val(true), well_formed(arc(lo, hi))));
    }
    const Interval<W> i = p_.pos, j = q_.pos;
    const auto inside = [&](const Interval<W>& k, const W& x) {
        return (k.lo <= x).e && (x <= k.hi).e;
    };
    EXPECT_TRUE(is_valid(inside(i, x_) && inside(j, x_), inside(meet(i, j), x_)));
    EXPECT_TRUE(is_valid(inside(i, x_), inside(join(i, j), x_) && inside(join(j, i), x_)));
    EXPECT_TRUE(is_valid(inside(i, x_) && (x_ != y_).e, inside(trim(i, y_), x_)));
    EXPECT_TRUE(is_valid(well_formed(p_) && in(p_, x_), in(tnum_of(p_), x_)));
}

// x + y lies on the arc between the sums of the ends if the intervals are at most half the circle
// long; the ends are written as distances from the lower one.
TEST_F(DomainProof, SumsAndDifferencesLieBetweenTheirEnds) {
    const W l = variable<64>("l"), m = variable<64>("m"), s = variable<64>("s"),
            t = variable<64>("t"), d = variable<64>("d"), e = variable<64>("e");
    const Interval<W> i{l, l + s}, j{m, m + t};
    const Bit given = (s < sign_bit<W>()).e && (t < sign_bit<W>()).e && (d <= s).e && (e <= t).e;
    const Interval<W> sum = sum_ends(i, j), difference = difference_ends(i, j);
    EXPECT_TRUE(is_valid(given, ((l + d) + (m + e) - sum.lo <= sum.hi - sum.lo).e));
    EXPECT_TRUE(
        is_valid(given, ((l + d) - (m + e) - difference.lo <= difference.hi - difference.lo).e));
}

// Ranges with one interval only: operators join over the pairs of intervals, so with the lemma on
// join these prove them on all ranges.
std::vector<SplitRange<W>> halves_of(const SplitRange<W>& r) {
    return {{r.pos, empty_interval<W>()}, {empty_interval<W>(), r.neg}};
}

TEST_F(DomainProof, RangeOperators) {
    SKEP_LONG_ONLY();
    for (const auto& p : halves_of(p_)) {
        for (const auto& q : halves_of(q_)) {
            const Bit given = well_formed(p) && well_formed(q) && in(p, x_) && in(q, y_);
            EXPECT_TRUE(is_valid(given, in(range_and(p, q), x_ & y_)));
            EXPECT_TRUE(is_valid(given, in(range_or(p, q), x_ | y_)));
            EXPECT_TRUE(is_valid(given, in(range_xor(p, q), x_ ^ y_)));
        }
    }
}

TEST_F(DomainProof, RangeShifts) {
    SKEP_LONG_ONLY();
    for (const auto& p : halves_of(p_)) {
        const Bit given = well_formed(p) && in(p, x_);
        for (const unsigned n : {1u, 32u, 63u}) {
            EXPECT_TRUE(is_valid(given, in(range_lsh(p, n), x_ << n)));
            EXPECT_TRUE(is_valid(given, in(range_rsh(p, n), x_ >> n)));
            const W shifted{z3::ashr(x_.e, proof_context().bv_val(n, 64))};
            EXPECT_TRUE(is_valid(given, in(range_arsh(p, n), shifted)));
        }
    }
}

TEST_F(DomainProof, EndsOfRanges) {
    const W lo = variable<64>("lo");
    EXPECT_TRUE(is_valid(ranges_, (unsigned_min(p_) <= x_).e && (x_ <= unsigned_max(p_)).e));
    const auto not_above = [](const W& a, const W& b) { return z3::sle(a.e, b.e); };
    EXPECT_TRUE(is_valid(ranges_, not_above(signed_min(p_), x_) && not_above(x_, signed_max(p_))));
    EXPECT_TRUE(is_valid(ranges_ && (unsigned_min(p_) == lo).e, in(p_, lo)));
}

Value<W> value() { return {tnum<W>("a_value", "a_mask"), range<W>("p"), range<H>("low")}; }
Bit well_formed(const Value<W>& v) {
    return well_formed(v.bits) && well_formed(v.range) && well_formed(v.low);
}

// sync_round() is made of these, of clamp_to(), which moves ends by next_member(), and of meets and
// joins: since each keeps every value, so does any number of rounds.
TEST_F(DomainProof, StepsOfSyncKeepEveryValue) {
    SKEP_LONG_ONLY();
    const Value<W> v = value();
    const H low = low_half(x_);
    for (const auto& p : halves_of(v.range)) {
        const Bit given = well_formed(v) && in(p, x_) && in(v.bits, x_) && in(v.low, low);
        EXPECT_TRUE(is_valid(given, in(join(low_of(p.pos), low_of(p.neg)), low)));
        const SplitRange<W> clamped{clamp_to_low(p.pos, v.low), clamp_to_low(p.neg, v.low)};
        EXPECT_TRUE(is_valid(given, in(clamped, x_)));
        const BasicTnum<W> of_range = tnum_of(p);
        EXPECT_TRUE(is_valid(
            given, in(tnum_meet(v.bits, of_range), x_) && !tnum_disjoint(v.bits, of_range).e));
    }
    for (const auto& p : halves_of(v.range))
        EXPECT_TRUE(
            is_valid(well_formed(v) && in(p, x_) && in(v.bits, x_), in(clamp_to(v.bits, p), x_)));
    EXPECT_TRUE(is_valid(in(v.bits, x_), in(low_bits(v.bits), low)));
    const BasicTnum<H> bits = tnum<H>("low_value", "low_mask");
    EXPECT_TRUE(is_valid(in(v.bits, x_) && in(bits, low), in(with_low_bits(v.bits, bits), x_)));
}

TEST_F(DomainProof, Branches) {
    SKEP_LONG_ONLY();
    const Bit assumption = tnums_ && ranges_;
    struct Case {
        CondOp op;
        Bit holds;
    };
    const W zero = literal<W>(0);
    const Case cases[] = {
        {CondOp::Eq, (x_ == y_).e},
        {CondOp::Ne, (x_ != y_).e},
        {CondOp::Gt, (y_ < x_).e},
        {CondOp::Ge, (y_ <= x_).e},
        {CondOp::Lt, (x_ < y_).e},
        {CondOp::Le, (x_ <= y_).e},
        {CondOp::Sgt, z3::sgt(x_.e, y_.e)},
        {CondOp::Sge, z3::sge(x_.e, y_.e)},
        {CondOp::Slt, z3::slt(x_.e, y_.e)},
        {CondOp::Sle, z3::sle(x_.e, y_.e)},
        {CondOp::Set, ((x_ & y_) != zero).e},
    };
    for (const Case& c : cases) {
        for (const bool taken : {true, false}) {
            Core<W> left{a_, p_}, right{b_, q_};
            const auto feasible = restrict_cores(c.op, taken, left, right);
            EXPECT_TRUE(
                is_valid(assumption && (taken ? c.holds : !c.holds),
                         feasible.e && core_contains(left, x_).e && core_contains(right, y_).e))
                << "condition " << static_cast<int>(c.op) << (taken ? "" : ", not taken");
        }
    }
}

}  // namespace
}  // namespace skep
