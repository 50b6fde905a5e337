// Tnums ("tracked numbers"): each bit is known 0, known 1, or unknown.
//
// `value` holds the known ones, `mask` the unknown bits; they never overlap. {value=4, mask=1} is
// {4, 5}. Addition and subtraction follow Vishwanathan et al. (CGO 2022), who prove them sound and
// optimal; multiplication joins, bit by bit of one factor, the sums with and without the other
// (Vishwanathan et al., SAS 2025), here in both orders. next_member() is the least member that is
// not below a bound: with it, a tnum and a range that share no value are found out.
#pragma once

#include "verifier/word.hpp"

namespace skep {

template <class W>
struct BasicTnum {
    W value;
    W mask;

    constexpr auto operator==(const BasicTnum&) const -> bool = default;
};
using Tnum = BasicTnum<uint64_t>;

template <class W>
constexpr BasicTnum<W> tnum_const(W v) {
    return {v, literal<W>(0)};
}
template <class W>
constexpr BasicTnum<W> tnum_unknown() {
    return {literal<W>(0), all_ones<W>()};
}
// The smallest tnum that contains [lo, hi]: the bits above the highest that differs are known.
template <class W>
constexpr BasicTnum<W> tnum_range(W lo, W hi) {
    const W unknown = smear(lo ^ hi);
    return {lo & ~unknown, unknown};
}

template <class W>
constexpr auto tnum_contains(BasicTnum<W> t, W x) {
    return (x & ~t.mask) == t.value;
}
template <class W>
constexpr auto tnum_is_const(BasicTnum<W> t) {
    return t.mask == literal<W>(0);
}
// Whether every member of b is one of a.
template <class W>
constexpr auto tnum_subsumes(BasicTnum<W> a, BasicTnum<W> b) {
    return both((b.mask & ~a.mask) == literal<W>(0), (b.value & ~a.mask) == a.value);
}
// Whether a and b have no member in common: some bit is known in both, and differs.
template <class W>
constexpr auto tnum_disjoint(BasicTnum<W> a, BasicTnum<W> b) {
    return ((a.value ^ b.value) & ~a.mask & ~b.mask) != literal<W>(0);
}
// The members common to a and b, if they are not disjoint.
template <class W>
constexpr BasicTnum<W> tnum_meet(BasicTnum<W> a, BasicTnum<W> b) {
    const W mask = a.mask & b.mask;
    return {(a.value | b.value) & ~mask, mask};
}
template <class W>
constexpr BasicTnum<W> tnum_join(BasicTnum<W> a, BasicTnum<W> b) {
    const W mask = a.mask | b.mask | (a.value ^ b.value);
    return {a.value & ~mask, mask};
}

template <class W>
constexpr BasicTnum<W> tnum_add(BasicTnum<W> a, BasicTnum<W> b) {
    const W least = a.value + b.value;
    const W greatest = least + a.mask + b.mask;
    // A carry may differ exactly where the least and the greatest sum differ.
    W mask = (greatest ^ least) | a.mask | b.mask;
    if (SKEP_MUTANT(TnumAddForgetsCarries)) mask = a.mask | b.mask;
    return {least & ~mask, mask};
}
template <class W>
constexpr BasicTnum<W> tnum_sub(BasicTnum<W> a, BasicTnum<W> b) {
    const W difference = a.value - b.value;
    W mask = ((difference + a.mask) ^ (difference - b.mask)) | a.mask | b.mask;
    if (SKEP_MUTANT(TnumSubForgetsBorrows)) mask = a.mask | b.mask;
    return {difference & ~mask, mask};
}
template <class W>
constexpr BasicTnum<W> tnum_and(BasicTnum<W> a, BasicTnum<W> b) {
    const W ones = a.value & b.value;
    return {ones, ((a.value | a.mask) & (b.value | b.mask)) & ~ones};
}
template <class W>
constexpr BasicTnum<W> tnum_or(BasicTnum<W> a, BasicTnum<W> b) {
    const W ones = a.value | b.value;
    return {ones, (a.mask | b.mask) & ~ones};
}
template <class W>
constexpr BasicTnum<W> tnum_xor(BasicTnum<W> a, BasicTnum<W> b) {
    const W mask = a.mask | b.mask;
    return {(a.value ^ b.value) & ~mask, mask};
}
template <class W>
constexpr BasicTnum<W> tnum_lsh(BasicTnum<W> a, unsigned n) {
    return {a.value << n, a.mask << n};
}
template <class W>
constexpr BasicTnum<W> tnum_rsh(BasicTnum<W> a, unsigned n) {
    return {a.value >> n, a.mask >> n};
}
// An unknown sign bit is copied as unknown, a known one as known.
template <class W>
constexpr BasicTnum<W> tnum_arsh(BasicTnum<W> a, unsigned n) {
    return {shift_arithmetic(a.value, n), shift_arithmetic(a.mask, n)};
}

// One round of the multiplication a * b: adds b to the sum if the lowest bit of a is 1, may add it
// if that bit is unknown.
template <class W>
constexpr BasicTnum<W> tnum_mul_step(BasicTnum<W> sum, BasicTnum<W> a, BasicTnum<W> b) {
    const W one = literal<W>(1);
    const BasicTnum<W> with = tnum_add(sum, b);
    const BasicTnum<W> maybe = tnum_join(sum, with);
    const auto certain = (a.value & one) == one;
    const auto uncertain = (a.mask & one) == one;
    if (SKEP_MUTANT(TnumMulDropsTheSumWithout))
        return {select(uncertain, with.value, sum.value), select(uncertain, with.mask, sum.mask)};
    return {select(certain, with.value, select(uncertain, maybe.value, sum.value)),
            select(certain, with.mask, select(uncertain, maybe.mask, sum.mask))};
}

template <class W>
constexpr BasicTnum<W> tnum_mul_ordered(BasicTnum<W> a, BasicTnum<W> b) {
    BasicTnum<W> sum = tnum_const(literal<W>(0));
    while ((a.value | a.mask) != literal<W>(0) && (b.value | b.mask) != literal<W>(0)) {
        sum = tnum_mul_step(sum, a, b);
        a = tnum_rsh(a, 1);
        b = tnum_lsh(b, 1);
    }
    return sum;
}
template <class W>
constexpr BasicTnum<W> tnum_mul(BasicTnum<W> a, BasicTnum<W> b) {
    return tnum_meet(tnum_mul_ordered(a, b), tnum_mul_ordered(b, a));
}

// The result of next_member and previous_member; `found` is false if there is none.
template <class W, class B>
struct TnumMember {
    W value;
    B found;
};

// The least member of t that is >= bound.
//
// Take the bound's bits where t leaves a choice. If that differs from the bound first at bit k,
// then either t has a 1 there: the candidate is above the bound and its lower free bits may be 0;
// or t has a 0 there: the free bits above k, read as a number, must be incremented.
template <class W>
constexpr auto next_member(BasicTnum<W> t, W bound) {
    const W candidate = t.value | (bound & t.mask);
    const W below = smear(candidate ^ bound);  // bits k..0
    const W free = t.mask & ~below;
    // Adding 1 to a number whose fixed bits are all 1 carries over them.
    const W incremented = (((bound & free) | ~free) + literal<W>(1)) & free;
    const auto is_above = bound < candidate;
    const auto exact = candidate == bound;
    const auto full = (bound & free) == free;
    W up = t.value | incremented;
    if (SKEP_MUTANT(NextMemberSkipsOne)) up = t.value | ((incremented << 1) & free);
    const W value = select(exact, bound, select(is_above, t.value | (bound & free), up));
    return TnumMember<W, decltype(either(exact, full))>{
        value, either(either(exact, is_above), flip(full))};
}
// The greatest member of t that is <= bound: the mirror image of next_member.
template <class W>
constexpr auto previous_member(BasicTnum<W> t, W bound) {
    auto mirrored = next_member(BasicTnum<W>{~(t.value | t.mask), t.mask}, ~bound);
    mirrored.value = ~mirrored.value;
    return mirrored;
}

}  // namespace skep
