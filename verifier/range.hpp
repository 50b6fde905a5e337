// Ranges, split by sign.
//
// A value's unsigned range and its signed range together say: if the sign bit is clear, the value
// lies in one interval, if it is set, in another. SplitRange is these two intervals, in unsigned
// order. The translation is exact both ways, and inside one interval every operation is monotone in
// the unsigned and in the signed sense at once. So an operator is computed for each pair of
// intervals, as an arc on the circle of words, and the arcs are joined: wrap-around, "both ends
// overflow" and sign changes need no cases of their own.
//
// Invariant: pos lies in [0, max signed], neg in [min signed as unsigned, all ones]; an empty
// interval is {all ones, 0}, the identity of join.
#pragma once

#include "verifier/tnum.hpp"

namespace skep {

template <class W>
struct Interval {
    W lo;
    W hi;

    constexpr auto operator==(const Interval&) const -> bool = default;
};

template <class W>
constexpr Interval<W> empty_interval() {
    return {all_ones<W>(), literal<W>(0)};
}
template <class W>
constexpr auto is_empty(Interval<W> i) {
    return i.hi < i.lo;
}
template <class B, class W>
constexpr Interval<W> select_interval(B condition, Interval<W> yes, Interval<W> no) {
    return {select(condition, yes.lo, no.lo), select(condition, yes.hi, no.hi)};
}
template <class W>
constexpr Interval<W> normal(Interval<W> i) {
    return select_interval(is_empty(i), empty_interval<W>(), i);
}
template <class W>
constexpr Interval<W> meet(Interval<W> a, Interval<W> b) {
    return normal(Interval<W>{greater(a.lo, b.lo), lesser(a.hi, b.hi)});
}
template <class W>
constexpr Interval<W> join(Interval<W> a, Interval<W> b) {
    return {lesser(a.lo, b.lo), greater(a.hi, b.hi)};
}

template <class W>
struct SplitRange {
    Interval<W> pos;
    Interval<W> neg;

    constexpr auto operator==(const SplitRange&) const -> bool = default;
};

template <class W>
constexpr SplitRange<W> empty_range() {
    return {empty_interval<W>(), empty_interval<W>()};
}
template <class W>
constexpr SplitRange<W> full_range() {
    return {{literal<W>(0), ~sign_bit<W>()}, {sign_bit<W>(), all_ones<W>()}};
}
template <class W>
constexpr auto is_empty(SplitRange<W> r) {
    return both(is_empty(r.pos), is_empty(r.neg));
}
template <class W>
constexpr SplitRange<W> meet(SplitRange<W> a, SplitRange<W> b) {
    return {meet(a.pos, b.pos), meet(a.neg, b.neg)};
}
template <class W>
constexpr SplitRange<W> join(SplitRange<W> a, SplitRange<W> b) {
    return {join(a.pos, b.pos), join(a.neg, b.neg)};
}
template <class B, class W>
constexpr SplitRange<W> select_range(B condition, SplitRange<W> yes, SplitRange<W> no) {
    return {select_interval(condition, yes.pos, no.pos),
            select_interval(condition, yes.neg, no.neg)};
}
template <class W>
constexpr auto range_contains(SplitRange<W> r, W x) {
    return either(both(r.pos.lo <= x, x <= r.pos.hi), both(r.neg.lo <= x, x <= r.neg.hi));
}

// The values lo, lo + 1, ... hi on the circle of words; hi below lo means that it wraps past zero.
template <class W>
constexpr SplitRange<W> arc(W lo, W hi) {
    const W top = sign_bit<W>();
    const W greatest_pos = ~top;
    const auto straight = lo <= hi;
    const SplitRange<W> plain{normal(Interval<W>{lo, lesser(hi, greatest_pos)}),
                              normal(Interval<W>{greater(lo, top), hi})};
    // [0, hi] and [lo, all ones]: a half that both ends reach into is hulled.
    const SplitRange<W> wrapped{
        {literal<W>(0), select(lo <= greatest_pos, greatest_pos, lesser(hi, greatest_pos))},
        {select(top <= hi, top, greater(lo, top)), all_ones<W>()}};
    return select_range(straight, plain, wrapped);
}

// The ends in unsigned and in signed order, of a range that is not empty.
template <class W>
constexpr W unsigned_min(SplitRange<W> r) {
    return lesser(r.pos.lo, r.neg.lo);
}
template <class W>
constexpr W unsigned_max(SplitRange<W> r) {
    return greater(r.pos.hi, r.neg.hi);
}
template <class W>
constexpr W signed_min(SplitRange<W> r) {
    return select(is_empty(r.neg), r.pos.lo, r.neg.lo);
}
template <class W>
constexpr W signed_max(SplitRange<W> r) {
    return select(is_empty(r.pos), r.neg.hi, r.pos.hi);
}

// f(x, y) joined over the pairs of intervals that are not empty. f gives a SplitRange.
template <class W, class F>
constexpr SplitRange<W> each_pair(Interval<W> x, Interval<W> y, F f) {
    if constexpr (WordTraits<W>::kNative) {
        if (is_empty(x) || is_empty(y)) return empty_range<W>();
        return f(x, y);
    } else {
        return select_range(either(is_empty(x), is_empty(y)), empty_range<W>(), f(x, y));
    }
}
template <class W, class F>
constexpr SplitRange<W> each_pair(SplitRange<W> a, SplitRange<W> b, F f) {
    return join(join(each_pair(a.pos, b.pos, f), each_pair(a.neg, b.neg, f)),
                join(each_pair(a.pos, b.neg, f), each_pair(a.neg, b.pos, f)));
}

// Two intervals of at most half the circle each: their sums never go all the way round.
template <class W>
constexpr Interval<W> sum_ends(Interval<W> x, Interval<W> y) {
    const Interval<W> ends{x.lo + y.lo, x.hi + y.hi};
    if (SKEP_MUTANT(RangeAddIgnoresWrap))
        return {lesser(ends.lo, ends.hi), greater(ends.lo, ends.hi)};
    return ends;
}
template <class W>
constexpr Interval<W> difference_ends(Interval<W> x, Interval<W> y) {
    if (SKEP_MUTANT(RangeSubSwapsEnds)) return {x.lo - y.lo, x.hi - y.hi};
    return {x.lo - y.hi, x.hi - y.lo};
}
template <class W>
constexpr SplitRange<W> range_add(SplitRange<W> a, SplitRange<W> b) {
    return each_pair(a, b, [](Interval<W> x, Interval<W> y) {
        const Interval<W> ends = sum_ends(x, y);
        return arc(ends.lo, ends.hi);
    });
}
template <class W>
constexpr SplitRange<W> range_sub(SplitRange<W> a, SplitRange<W> b) {
    return each_pair(a, b, [](Interval<W> x, Interval<W> y) {
        const Interval<W> ends = difference_ends(x, y);
        return arc(ends.lo, ends.hi);
    });
}

template <class W>
constexpr Interval<W> negated(Interval<W> i) {
    return {literal<W>(0) - i.hi, literal<W>(0) - i.lo};
}

// Applies f to magnitudes: f(|x|, |y|, signs differ, x is negative). |min signed| is itself as an
// unsigned word, which is right.
template <class W, class F>
constexpr SplitRange<W> each_magnitude(SplitRange<W> a, SplitRange<W> b, F f) {
    const auto run = [&](Interval<W> x, Interval<W> y, bool x_negative, bool y_negative) {
        return each_pair(x, y, [&](Interval<W> p, Interval<W> q) {
            return f(x_negative ? negated(p) : p, y_negative ? negated(q) : q,
                     x_negative != y_negative, x_negative);
        });
    };
    return join(join(run(a.pos, b.pos, false, false), run(a.neg, b.neg, true, true)),
                join(run(a.pos, b.neg, false, true), run(a.neg, b.pos, true, false)));
}
template <class W>
constexpr SplitRange<W> signed_arc(Interval<W> magnitudes, bool negative) {
    const Interval<W> i = negative ? negated(magnitudes) : magnitudes;
    return arc(i.lo, i.hi);
}

// The arc of the products of two intervals of numbers without a sign: it is one as long as the
// least and the greatest product differ by less than the circle.
template <class W>
constexpr SplitRange<W> multiply_magnitudes(Interval<W> x, Interval<W> y, bool negative) {
    const auto [least_high, least] = multiply_wide(x.lo, y.lo);
    const auto [most_high, most] = multiply_wide(x.hi, y.hi);
    const W borrow = select(most < least, literal<W>(1), literal<W>(0));
    if (!SKEP_MUTANT(RangeMulIgnoresOverflow) && most_high - least_high - borrow != literal<W>(0))
        return full_range<W>();
    return signed_arc(Interval<W>{least, most}, negative);
}
// Both readings of the factors are right, and either may say more: [0, 1] times [2^63, 2^64 - 2]
// ends at 2^64 - 2, but as [-2^63, -2] the product's arc runs through to 0.
template <class W>
constexpr SplitRange<W> range_mul(SplitRange<W> a, SplitRange<W> b) {
    const SplitRange<W> by_magnitude =
        each_magnitude(a, b, [](Interval<W> x, Interval<W> y, bool differ, bool) {
            return multiply_magnitudes(x, y, differ);
        });
    if (is_empty(a.neg) && is_empty(b.neg)) return by_magnitude;
    return meet(by_magnitude, each_pair(a, b, [](Interval<W> x, Interval<W> y) {
                    return multiply_magnitudes(x, y, false);
                }));
}

// Quotients of magnitudes; division by zero gives 0 (RFC 9669 section 4.1).
template <class W>
constexpr SplitRange<W> divide_magnitudes(Interval<W> x, Interval<W> y, bool negative) {
    SplitRange<W> out = empty_range<W>();
    if (y.lo == literal<W>(0)) {
        if (!SKEP_MUTANT(DivByZeroForgotten)) out = arc(literal<W>(0), literal<W>(0));
        y.lo = literal<W>(1);
    }
    if (is_empty(y)) return out;
    return join(out, signed_arc(Interval<W>{x.lo / y.hi, x.hi / y.lo}, negative));
}
template <class W>
constexpr SplitRange<W> range_udiv(SplitRange<W> a, SplitRange<W> b) {
    return each_pair(a, b,
                     [](Interval<W> x, Interval<W> y) { return divide_magnitudes(x, y, false); });
}
template <class W>
constexpr SplitRange<W> range_sdiv(SplitRange<W> a, SplitRange<W> b) {
    return each_magnitude(a, b, [](Interval<W> x, Interval<W> y, bool differ, bool) {
        return divide_magnitudes(x, y, differ);
    });
}

// Remainders of magnitudes, with the dividend's sign; modulo zero leaves the dividend.
template <class W>
constexpr SplitRange<W> remain_magnitudes(Interval<W> x, Interval<W> y, bool negative) {
    SplitRange<W> out = empty_range<W>();
    if (y.lo == literal<W>(0)) {
        if (!SKEP_MUTANT(ModByZeroForgotten)) out = signed_arc(x, negative);
        y.lo = literal<W>(1);
    }
    if (is_empty(y)) return out;
    if (x.hi < y.lo) return join(out, signed_arc(x, negative));
    // Where all quotients are the same q, the remainder is x - q * y.
    Interval<W> r{literal<W>(0), lesser(x.hi, y.hi - literal<W>(1))};
    const W q = x.lo / y.hi;
    if (x.hi / y.lo == q) r = meet(r, Interval<W>{x.lo - q * y.hi, x.hi - q * y.lo});
    return join(out, signed_arc(r, negative));
}
template <class W>
constexpr SplitRange<W> range_umod(SplitRange<W> a, SplitRange<W> b) {
    return each_pair(a, b,
                     [](Interval<W> x, Interval<W> y) { return remain_magnitudes(x, y, false); });
}
template <class W>
constexpr SplitRange<W> range_smod(SplitRange<W> a, SplitRange<W> b) {
    return each_magnitude(a, b, [](Interval<W> x, Interval<W> y, bool, bool x_negative) {
        return remain_magnitudes(x, y, x_negative);
    });
}

template <class W>
constexpr Interval<W> tnum_hull(BasicTnum<W> t) {
    return {t.value, t.value | t.mask};
}
template <class W>
constexpr SplitRange<W> range_and(SplitRange<W> a, SplitRange<W> b) {
    return each_pair(a, b, [](Interval<W> x, Interval<W> y) {
        Interval<W> i = tnum_hull(tnum_and(tnum_range(x.lo, x.hi), tnum_range(y.lo, y.hi)));
        i.hi = lesser(i.hi, lesser(x.hi, y.hi));
        if (SKEP_MUTANT(RangeAndKeepsMin)) i.lo = lesser(x.lo, y.lo);
        return arc(i.lo, i.hi);
    });
}
template <class W>
constexpr SplitRange<W> range_or(SplitRange<W> a, SplitRange<W> b) {
    return each_pair(a, b, [](Interval<W> x, Interval<W> y) {
        Interval<W> i = tnum_hull(tnum_or(tnum_range(x.lo, x.hi), tnum_range(y.lo, y.hi)));
        i.lo = greater(i.lo, greater(x.lo, y.lo));
        if (SKEP_MUTANT(RangeOrKeepsMax)) i.hi = greater(x.hi, y.hi);
        return arc(i.lo, i.hi);
    });
}
template <class W>
constexpr SplitRange<W> range_xor(SplitRange<W> a, SplitRange<W> b) {
    return each_pair(a, b, [](Interval<W> x, Interval<W> y) {
        Interval<W> i = tnum_hull(tnum_xor(tnum_range(x.lo, x.hi), tnum_range(y.lo, y.hi)));
        if (SKEP_MUTANT(RangeXorKeepsMax)) i.hi = greater(x.hi, y.hi);
        return arc(i.lo, i.hi);
    });
}

// Shifts by a constant below the width, one interval at a time.
template <class W, class F>
constexpr SplitRange<W> each_part(SplitRange<W> a, F f) {
    return join(select_range(is_empty(a.pos), empty_range<W>(), f(a.pos)),
                select_range(is_empty(a.neg), empty_range<W>(), f(a.neg)));
}
template <class W>
constexpr SplitRange<W> range_lsh(SplitRange<W> a, unsigned n) {
    return each_part(a, [n](Interval<W> x) {
        const W span = x.hi - x.lo;
        auto fits = ((span << n) >> n) == span;
        if (SKEP_MUTANT(RangeLshIgnoresOverflow)) fits = span == span;
        return select_range(fits, arc(x.lo << n, x.hi << n), full_range<W>());
    });
}
template <class W>
constexpr SplitRange<W> range_rsh(SplitRange<W> a, unsigned n) {
    return each_part(a, [n](Interval<W> x) { return arc(x.lo >> n, x.hi >> n); });
}
template <class W>
constexpr SplitRange<W> range_arsh(SplitRange<W> a, unsigned n) {
    return each_part(a, [n](Interval<W> x) {
        if (SKEP_MUTANT(RangeArshIsLogical)) return arc(x.lo >> n, x.hi >> n);
        return arc(shift_arithmetic(x.lo, n), shift_arithmetic(x.hi, n));
    });
}

// Without `c`, if it is an end of an interval.
template <class W>
constexpr Interval<W> trim(Interval<W> i, W c) {
    const W one = literal<W>(1);
    const auto at_lo = i.lo == c;
    const auto at_hi = i.hi == c;
    const Interval<W> cut{select(at_lo, i.lo + one, i.lo), select(at_hi, i.hi - one, i.hi)};
    return select_interval(both(at_lo, at_hi), empty_interval<W>(),
                           select_interval(is_empty(i), i, cut));
}
template <class W>
constexpr SplitRange<W> trim(SplitRange<W> r, W c) {
    return {trim(r.pos, c), trim(r.neg, c)};
}

// The ends of each interval moved to members of t; an interval without any becomes empty.
template <class W>
constexpr Interval<W> clamp_to(BasicTnum<W> t, Interval<W> i) {
    const auto lo = next_member(t, i.lo);
    const auto hi = previous_member(t, i.hi);
    const auto lost = either(is_empty(i), flip(both(lo.found, hi.found)));
    return select_interval(lost, empty_interval<W>(), normal(Interval<W>{lo.value, hi.value}));
}
template <class W>
constexpr SplitRange<W> clamp_to(BasicTnum<W> t, SplitRange<W> r) {
    return {clamp_to(t, r.pos), clamp_to(t, r.neg)};
}
// What the ranges say about bits.
template <class W>
constexpr BasicTnum<W> tnum_of(SplitRange<W> r) {
    const BasicTnum<W> pos = tnum_range(r.pos.lo, r.pos.hi);
    const BasicTnum<W> neg = tnum_range(r.neg.lo, r.neg.hi);
    const BasicTnum<W> joined = tnum_join(pos, neg);
    return {select(is_empty(r.neg), pos.value, select(is_empty(r.pos), neg.value, joined.value)),
            select(is_empty(r.neg), pos.mask, select(is_empty(r.pos), neg.mask, joined.mask))};
}

}  // namespace skep
