// The product domain over any word: tnum x sign-split range x sign-split range of the low half.
//
// Scalar (scalar.hpp) is its packed form for 64 bits. Every operator works on a Core, one word's
// tnum and range, and is then brought to full width and made consistent by sync(), which lets each
// component tighten the others until nothing changes or kSyncRounds are done. It subsumes Linux
// 6.18's reg_bounds_sync: ends of ranges are moved to members of the tnum, signed and unsigned
// ranges are exact in each other, the low half clamps the whole and the whole the low half. If a
// component becomes empty the value is bottom: no concrete value exists, the code is dead.
#pragma once

#include "verifier/range.hpp"
#include "vm/isa/insn.hpp"
#include "vm/isa/semantics.hpp"

namespace skep {

// One word's bits and range.
template <class W>
struct Core {
    BasicTnum<W> bits;
    SplitRange<W> range;

    constexpr auto operator==(const Core&) const -> bool = default;
};

template <class W>
struct Value {
    BasicTnum<W> bits;
    SplitRange<W> range;
    SplitRange<HalfOf<W>> low;

    constexpr auto operator==(const Value&) const -> bool = default;
};

template <class W>
constexpr Core<W> core_unknown() {
    return {tnum_unknown<W>(), full_range<W>()};
}
template <class W>
constexpr Core<W> core_const(W v) {
    return {tnum_const(v), arc(v, v)};
}
template <class W>
constexpr auto is_empty(Core<W> c) {
    return is_empty(c.range);
}
template <class W>
constexpr bool is_const(const Core<W>& c) {
    return c.bits.mask == literal<W>(0);
}
template <class W>
constexpr Core<W> join(Core<W> a, Core<W> b) {
    return {tnum_join(a.bits, b.bits), join(a.range, b.range)};
}
template <class W>
constexpr auto core_contains(Core<W> c, W x) {
    return both(tnum_contains(c.bits, x), range_contains(c.range, x));
}

template <class W>
constexpr Value<W> value_unknown() {
    return {tnum_unknown<W>(), full_range<W>(), full_range<HalfOf<W>>()};
}
template <class W>
constexpr Value<W> value_bottom() {
    return {tnum_const(literal<W>(0)), empty_range<W>(), empty_range<HalfOf<W>>()};
}
template <class W>
constexpr Value<W> value_const(W v) {
    return {tnum_const(v), arc(v, v), arc(low_half(v), low_half(v))};
}
template <class W>
constexpr auto is_bottom(const Value<W>& v) {
    return is_empty(v.range);
}
template <class W>
constexpr auto value_contains(const Value<W>& v, W x) {
    return both(both(tnum_contains(v.bits, x), range_contains(v.range, x)),
                range_contains(v.low, low_half(x)));
}

// Tnum and range tighten each other; an empty range means that they exclude each other.
template <class W>
constexpr Core<W> tighten(Core<W> c) {
    c.range = clamp_to(c.bits, c.range);
    const BasicTnum<W> of_range = tnum_of(c.range);
    const auto disjoint = tnum_disjoint(c.bits, of_range);
    c.bits = tnum_meet(c.bits, of_range);
    c.range = select_range(disjoint, empty_range<W>(), c.range);
    return c;
}

template <class W>
constexpr BasicTnum<HalfOf<W>> low_bits(BasicTnum<W> t) {
    return {low_half(t.value), low_half(t.mask)};
}
template <class W>
constexpr BasicTnum<W> with_low_bits(BasicTnum<W> t, BasicTnum<HalfOf<W>> low) {
    return {from_halves(high_half(t.value), low.value), from_halves(high_half(t.mask), low.mask)};
}
template <class W>
constexpr Core<HalfOf<W>> low_core(const Value<W>& v) {
    return {low_bits(v.bits), v.low};
}
template <class W>
constexpr Core<W> full_core(const Value<W>& v) {
    return {v.bits, v.range};
}

// What an interval says about low halves: everything, if it is as long as they have values.
template <class W>
constexpr SplitRange<HalfOf<W>> low_of(Interval<W> i) {
    using H = HalfOf<W>;
    auto is_short = high_half(i.hi - i.lo) == literal<H>(0);
    if (SKEP_MUTANT(LowHalfTruncatesEnds)) is_short = i.lo == i.lo;
    const SplitRange<H> span =
        select_range(is_short, arc(low_half(i.lo), low_half(i.hi)), full_range<H>());
    return select_range(is_empty(i), empty_range<H>(), span);
}

// The least value >= x, or the greatest <= x, whose low half lies in `low` (not empty).
template <class W>
constexpr auto next_by_low(W x, SplitRange<HalfOf<W>> low) {
    using H = HalfOf<W>;
    const H h = high_half(x), l = low_half(x);
    const auto in_pos = both(flip(is_empty(low.pos)), l <= low.pos.hi);
    const auto in_neg = both(flip(is_empty(low.neg)), l <= low.neg.hi);
    const auto here = either(in_pos, in_neg);
    const H next = select(in_pos, greater(l, low.pos.lo), greater(l, low.neg.lo));
    const W value =
        select(here, from_halves(h, next), from_halves(h + literal<H>(1), unsigned_min(low)));
    return TnumMember<W, decltype(either(here, here))>{value,
                                                       either(here, flip(h == all_ones<H>()))};
}
template <class W>
constexpr auto previous_by_low(W x, SplitRange<HalfOf<W>> low) {
    using H = HalfOf<W>;
    const H h = high_half(x), l = low_half(x);
    const auto in_neg = both(flip(is_empty(low.neg)), low.neg.lo <= l);
    const auto in_pos = both(flip(is_empty(low.pos)), low.pos.lo <= l);
    const auto here = either(in_pos, in_neg);
    const H next = select(in_neg, lesser(l, low.neg.hi), lesser(l, low.pos.hi));
    const W value =
        select(here, from_halves(h, next), from_halves(h - literal<H>(1), unsigned_max(low)));
    return TnumMember<W, decltype(either(here, here))>{value,
                                                       either(here, flip(h == literal<H>(0)))};
}
template <class W>
constexpr Interval<W> clamp_to_low(Interval<W> i, SplitRange<HalfOf<W>> low) {
    auto lo = next_by_low(i.lo, low);
    auto hi = previous_by_low(i.hi, low);
    if (SKEP_MUTANT(LowHalfReplacesEnd)) lo.value = from_halves(high_half(i.hi), unsigned_min(low));
    const auto lost = either(either(is_empty(i), is_empty(low)), flip(both(lo.found, hi.found)));
    return select_interval(lost, empty_interval<W>(), normal(Interval<W>{lo.value, hi.value}));
}

// One round of mutual tightening. Never loses a concrete value, whatever it is given.
template <class W>
constexpr Value<W> sync_round(Value<W> v) {
    using H = HalfOf<W>;
    const Core<W> full = tighten(full_core(v));
    const SplitRange<H> low_range = join(low_of(full.range.pos), low_of(full.range.neg));
    const Core<H> low = tighten(Core<H>{low_bits(full.bits), meet(v.low, low_range)});
    const SplitRange<W> clamped{clamp_to_low(full.range.pos, low.range),
                                clamp_to_low(full.range.neg, low.range)};
    const auto dead = either(is_empty(clamped), is_empty(low.range));
    return {with_low_bits(full.bits, low.bits), select_range(dead, empty_range<W>(), clamped),
            select_range(dead, empty_range<H>(), low.range)};
}

inline constexpr unsigned kSyncRounds = 5;

template <class W>
constexpr Value<W> sync(Value<W> v) {
    for (unsigned round = 0; round < kSyncRounds; ++round) {
        const Value<W> next = sync_round(v);
        if (is_bottom(next)) return value_bottom<W>();
        if (next == v) break;
        v = next;
    }
    return v;
}

// ---- Lattice ----------------------------------------------------------------------------------

template <class W>
constexpr Value<W> meet(const Value<W>& a, const Value<W>& b) {
    if (is_bottom(a) || is_bottom(b) || tnum_disjoint(a.bits, b.bits)) return value_bottom<W>();
    return sync(Value<W>{tnum_meet(a.bits, b.bits), meet(a.range, b.range), meet(a.low, b.low)});
}
// Joined component by component: the result is consistent enough not to need sync().
template <class W>
constexpr Value<W> join(const Value<W>& a, const Value<W>& b) {
    if (is_bottom(a)) return b;
    if (is_bottom(b)) return a;
    return {tnum_join(a.bits, b.bits), join(a.range, b.range), join(a.low, b.low)};
}
template <class W>
constexpr bool interval_subsumes(Interval<W> a, Interval<W> b) {
    return is_empty(b) || (a.lo <= b.lo && b.hi <= a.hi);
}
template <class W>
constexpr bool range_subsumes(SplitRange<W> a, SplitRange<W> b) {
    return interval_subsumes(a.pos, b.pos) && interval_subsumes(a.neg, b.neg);
}
template <class W>
constexpr bool subsumes(const Value<W>& a, const Value<W>& b) {
    if (is_bottom(b)) return true;
    if (is_bottom(a)) return false;
    return tnum_subsumes(a.bits, b.bits) && range_subsumes(a.range, b.range) &&
           range_subsumes(a.low, b.low);
}

// ---- Operators --------------------------------------------------------------------------------

// Bit operations on a whole core by a constant below the width.
template <class W>
constexpr Core<W> core_shift_by(AluOp op, Core<W> a, unsigned n) {
    switch (op) {
        case AluOp::Lsh: return {tnum_lsh(a.bits, n), range_lsh(a.range, n)};
        case AluOp::Rsh: return {tnum_rsh(a.bits, n), range_rsh(a.range, n)};
        default: return {tnum_arsh(a.bits, n), range_arsh(a.range, n)};
    }
}

// f(n) for every shift count that is possible: the count is taken modulo the width (RFC 9669
// section 4.1). f returns false to stop.
template <class W, class F>
constexpr void each_count(const Core<W>& count, F f) {
    const W modulus = literal<W>(kBitsOf<W> - 1);
    const bool in_range = unsigned_max(count.range) <= modulus || SKEP_MUTANT(ShiftTrustsRange);
    for (unsigned n = 0; n < kBitsOf<W>; ++n) {
        const W c = literal<W>(n);
        if (((c ^ count.bits.value) & ~count.bits.mask & modulus) != literal<W>(0)) continue;
        if (in_range && !range_contains(count.range, c)) continue;
        if (!f(n)) return;
    }
}

// The join over the possible counts.
template <class W>
constexpr Core<W> core_shift(AluOp op, const Core<W>& a, const Core<W>& count) {
    Core<W> out{};
    bool any = false;
    each_count(count, [&](unsigned n) {
        const Core<W> shifted = core_shift_by(op, a, n);
        out = any ? join(out, shifted) : shifted;
        any = true;
        return op != AluOp::Lsh || !(out == core_unknown<W>());
    });
    return any ? out : core_unknown<W>();
}

// The number of low bits known to be 0; the width if all are.
template <class W>
constexpr unsigned trailing_zeros(BasicTnum<W> t) {
    unsigned n = 0;
    while (n < kBitsOf<W> && ((t.value | t.mask) >> n & literal<W>(1)) == literal<W>(0)) ++n;
    return n;
}

template <class W>
constexpr BasicTnum<W> tnum_divide(bool is_signed, Core<W> a, Core<W> b) {
    const bool power = is_const(b) && b.bits.value != literal<W>(0) &&
                       (b.bits.value & (b.bits.value - literal<W>(1))) == literal<W>(0);
    // Without a sign, dividing by a power of two is a shift.
    const bool plain = !is_signed || (is_empty(a.range.neg) && is_empty(b.range.neg));
    if (power && plain) return tnum_rsh(a.bits, trailing_zeros(b.bits));
    return tnum_unknown<W>();
}
// dst - q * src has dst's low bits as far as src is a multiple of a power of two; also for src = 0,
// where dst stays, and for either sign.
template <class W>
constexpr BasicTnum<W> tnum_remain(Core<W> a, Core<W> b) {
    const unsigned n = trailing_zeros(b.bits);
    if (n >= kBitsOf<W>) return a.bits;
    const W known = (literal<W>(1) << n) - literal<W>(1);
    return {a.bits.value & known, a.bits.mask | ~known};
}

// dst op src for one word. The operands are not empty.
template <class W>
constexpr Core<W> core_alu(AluOp op, bool is_signed, const Core<W>& a, const Core<W>& b) {
    switch (op) {
        case AluOp::Add: return {tnum_add(a.bits, b.bits), range_add(a.range, b.range)};
        case AluOp::Sub: return {tnum_sub(a.bits, b.bits), range_sub(a.range, b.range)};
        case AluOp::Mul: return {tnum_mul(a.bits, b.bits), range_mul(a.range, b.range)};
        case AluOp::And: return {tnum_and(a.bits, b.bits), range_and(a.range, b.range)};
        case AluOp::Or: return {tnum_or(a.bits, b.bits), range_or(a.range, b.range)};
        case AluOp::Xor: return {tnum_xor(a.bits, b.bits), range_xor(a.range, b.range)};
        case AluOp::Div:
            return {tnum_divide(is_signed, a, b),
                    is_signed ? range_sdiv(a.range, b.range) : range_udiv(a.range, b.range)};
        case AluOp::Mod:
            return {tnum_remain(a, b),
                    is_signed ? range_smod(a.range, b.range) : range_umod(a.range, b.range)};
        case AluOp::Lsh:
        case AluOp::Rsh:
        case AluOp::Arsh: return core_shift(op, a, b);
        case AluOp::Mov: return b;
    }
    return core_unknown<W>();
}

// Whether the low half of the result depends only on the low halves of the operands.
constexpr bool is_low_closed(AluOp op) {
    return op == AluOp::Add || op == AluOp::Sub || op == AluOp::Mul || op == AluOp::And ||
           op == AluOp::Or || op == AluOp::Xor || op == AluOp::Mov;
}

// The low half of a << count: what is shifted in from the right is 0.
template <class W>
constexpr SplitRange<HalfOf<W>> low_of_lsh(const Value<W>& a, const Core<W>& count) {
    using H = HalfOf<W>;
    SplitRange<H> out = empty_range<H>();
    each_count(count, [&](unsigned n) {
        const H zero = literal<H>(0);
        out = join(out, n < kBitsOf<H> ? range_lsh(a.low, n) : arc(zero, zero));
        return !(out == full_range<H>());
    });
    return is_empty(out) ? full_range<H>() : out;
}

// a << count where all counts shift the upper half out: then only the low half's range matters.
template <class W>
constexpr SplitRange<W> lsh_of_low(const Value<W>& a, const Core<W>& count) {
    using H = HalfOf<W>;
    const auto shifted = [](Interval<H> i, unsigned n) {
        if (is_empty(i)) return empty_range<W>();
        const H zero = literal<H>(0);
        return range_lsh(arc(from_halves(zero, i.lo), from_halves(zero, i.hi)), n);
    };
    SplitRange<W> out = empty_range<W>();
    each_count(count, [&](unsigned n) {
        const bool is_out = n >= kBitsOf<H> || SKEP_MUTANT(LshForgetsUpperHalf);
        out = is_out ? join(out, join(shifted(a.low.pos, n), shifted(a.low.neg, n)))
                     : full_range<W>();
        return is_out;
    });
    return is_empty(out) ? full_range<W>() : out;
}

// The 32-bit result (the half word's) as a full word: the upper half is 0.
template <class W>
constexpr Value<W> zero_extended(Core<HalfOf<W>> half) {
    using H = HalfOf<W>;
    const H zero = literal<H>(0);
    half = tighten(half);
    if (is_empty(half)) return value_bottom<W>();
    return sync(Value<W>{{from_halves(zero, half.bits.value), from_halves(zero, half.bits.mask)},
                         arc(from_halves(zero, unsigned_min(half.range)),
                             from_halves(zero, unsigned_max(half.range))),
                         half.range});
}

template <class W>
constexpr Value<W> value_alu64(AluOp op, bool is_signed, const Value<W>& a, const Value<W>& b) {
    using H = HalfOf<W>;
    if (is_bottom(a) || is_bottom(b)) return value_bottom<W>();
    Core<W> full = core_alu(op, is_signed, full_core(a), full_core(b));
    SplitRange<H> low = full_range<H>();
    if (is_low_closed(op) && SKEP_MUTANT(LogicLeavesLowRange) && op == AluOp::And) {
        low = a.low;
    } else if (is_low_closed(op)) {
        low = core_alu(op, is_signed, low_core(a), low_core(b)).range;
    } else if (op == AluOp::Lsh) {
        low = low_of_lsh(a, full_core(b));
        full.range = meet(full.range, lsh_of_low(a, full_core(b)));
    }
    if (SKEP_MUTANT(Rsh64ShiftsLowHalf) && op == AluOp::Rsh && is_const(full_core(b)))
        low = core_shift(op, low_core(a), low_core(b)).range;
    return sync(Value<W>{full.bits, full.range, low});
}

template <class W>
constexpr Value<W> value_alu32(AluOp op, bool is_signed, const Value<W>& a, const Value<W>& b) {
    using H = HalfOf<W>;
    if (is_bottom(a) || is_bottom(b)) return value_bottom<W>();
    Core<H> half = core_alu(op, is_signed, low_core(a), low_core(b));
    if (SKEP_MUTANT(Alu32TruncatesFullBounds)) {
        const Core<W> full = core_alu(op, is_signed, full_core(a), full_core(b));
        half.range = arc(low_half(unsigned_min(full.range)), low_half(unsigned_max(full.range)));
    }
    if (SKEP_MUTANT(Mod32ByZeroKeepsAll) && op == AluOp::Mod &&
        range_contains(b.low, literal<H>(0)))
        return a;
    if (SKEP_MUTANT(Alu32KeepsUpperHalf))
        return sync(Value<W>{with_low_bits(a.bits, half.bits), full_range<W>(), half.range});
    return zero_extended<W>(half);
}

// The low `bits` of v, sign- or zero-extended to W.
template <class W>
constexpr Core<W> core_extend(const Core<W>& v, unsigned bits, bool is_signed) {
    const unsigned n = kBitsOf<W> - bits;
    if (n == 0) return v;
    const Core<W> top = tighten(core_shift_by(AluOp::Lsh, v, n));
    return core_shift_by(is_signed ? AluOp::Arsh : AluOp::Rsh, top, n);
}
template <class W>
constexpr Value<W> value_extend(const Value<W>& v, unsigned bits, bool is_signed) {
    using H = HalfOf<W>;
    if (is_bottom(v) || bits >= kBitsOf<W>) return v;
    if (bits > kBitsOf<H>) {
        const Core<W> full = core_extend(full_core(v), bits, is_signed);
        return sync(Value<W>{full.bits, full.range, v.low});
    }
    const Core<H> half = tighten(core_extend(low_core(v), bits, is_signed));
    if (is_empty(half)) return value_bottom<W>();
    const H zero = literal<H>(0);
    if (!is_signed || SKEP_MUTANT(SignExtensionZeroes)) return zero_extended<W>(half);
    const Core<W> high{tnum_lsh(BasicTnum<W>{from_halves(zero, half.bits.value),
                                             from_halves(zero, half.bits.mask)},
                                kBitsOf<H>),
                       full_range<W>()};
    const auto widen = [&](H x) { return shift_arithmetic(from_halves(x, zero), kBitsOf<H>); };
    return sync(Value<W>{tnum_arsh(high.bits, kBitsOf<H>),
                         arc(widen(signed_min(half.range)), widen(signed_max(half.range))),
                         half.range});
}

// ---- Branches ---------------------------------------------------------------------------------

// What a comparison says about both operands at one width. The functions give whether it can hold
// at all; if not, what they leave in the operands means nothing.

// a < b or a <= b.
template <class W>
constexpr auto restrict_less(Core<W>& a, Core<W>& b, bool is_signed, bool or_equal) {
    const W zero = literal<W>(0);
    const W least = is_signed ? sign_bit<W>() : zero;
    const W most = ~least;
    const W hi = is_signed ? signed_max(b.range) : unsigned_max(b.range);
    const W lo = is_signed ? signed_min(a.range) : unsigned_min(a.range);
    W step = literal<W>(or_equal ? 0 : 1);
    const auto feasible = either(step == zero, both(flip(hi == least), flip(lo == most)));
    b.range = meet(b.range, arc(lo + step, most));
    if (SKEP_MUTANT(LessTrimsTwice)) step = step + step;
    a.range = meet(a.range, arc(least, hi - step));
    return feasible;
}

template <class W>
constexpr auto restrict_equal(Core<W>& a, Core<W>& b) {
    const auto feasible = flip(tnum_disjoint(a.bits, b.bits));
    a.bits = b.bits = tnum_meet(a.bits, b.bits);
    a.range = b.range = meet(a.range, b.range);
    return feasible;
}

template <class W>
constexpr auto restrict_unequal(Core<W>& a, Core<W>& b) {
    const auto a_const = tnum_is_const(a.bits), b_const = tnum_is_const(b.bits);
    const auto same = both(both(a_const, b_const), a.bits.value == b.bits.value);
    const SplitRange<W> left = a.range;
    if (!SKEP_MUTANT(UnequalTrimsUnknown)) {
        a.range = select_range(b_const, trim(a.range, b.bits.value), a.range);
        b.range = select_range(a_const, trim(b.range, a.bits.value), b.range);
    } else {
        a.range = trim(left, b.bits.value);
    }
    return flip(same);
}

// (a & b) != 0: if only one bit may be set in both, it is set in both. Either operand is at least
// the lowest of these bits.
template <class W>
constexpr auto restrict_common_bit(Core<W>& a, Core<W>& b) {
    const W zero = literal<W>(0), one = literal<W>(1);
    const W common = (a.bits.value | a.bits.mask) & (b.bits.value | b.bits.mask);
    const W lowest = common & (zero - common);
    W certain = select((common & (common - one)) == zero, common, zero);
    if (SKEP_MUTANT(SetKnowsAllBits)) certain = common;
    const SplitRange<W> reach = arc(lowest, all_ones<W>());
    a = {{a.bits.value | certain, a.bits.mask & ~certain}, meet(a.range, reach)};
    b = {{b.bits.value | certain, b.bits.mask & ~certain}, meet(b.range, reach)};
    return flip(common == zero);
}
// (a & b) == 0: where one has a 1, the other has a 0.
template <class W>
constexpr auto restrict_no_common_bit(Core<W>& a, Core<W>& b) {
    const W a_ones = a.bits.value, b_ones = b.bits.value;
    a.bits.mask = a.bits.mask & ~b_ones;
    b.bits.mask = b.bits.mask & ~a_ones;
    return (a_ones & b_ones) == literal<W>(0);
}

template <class W>
constexpr auto restrict_cores(CondOp op, bool taken, Core<W>& a, Core<W>& b)
    -> decltype(restrict_equal(a, b)) {
    if (SKEP_MUTANT(NotTakenIsTaken)) taken = true;
    // a > b is b < a, and where a comparison does not hold its opposite does.
    if (!taken && op != CondOp::Set) op = negate(op);
    switch (op) {
        case CondOp::Eq: return restrict_equal(a, b);
        case CondOp::Ne: return restrict_unequal(a, b);
        case CondOp::Lt: return restrict_less(a, b, false, false);
        case CondOp::Le: return restrict_less(a, b, false, true);
        case CondOp::Gt: return restrict_less(b, a, false, false);
        case CondOp::Ge: return restrict_less(b, a, false, true);
        case CondOp::Slt: return restrict_less(a, b, true, false);
        case CondOp::Sle: return restrict_less(a, b, true, true);
        case CondOp::Sgt: return restrict_less(b, a, true, false);
        case CondOp::Sge: return restrict_less(b, a, true, true);
        case CondOp::Set: break;
    }
    return taken ? restrict_common_bit(a, b) : restrict_no_common_bit(a, b);
}

// Both operands after a branch on `a op b` went one way; false (and bottoms) if it cannot.
template <class W>
constexpr bool refine_values(CondOp op, bool is64, bool taken, Value<W>& a, Value<W>& b) {
    bool feasible = !is_bottom(a) && !is_bottom(b);
    if (feasible && (is64 || SKEP_MUTANT(Jump32RefinesAll))) {
        Core<W> x = full_core(a), y = full_core(b);
        const bool equal = taken ? op == CondOp::Eq : op == CondOp::Ne;
        if (equal && is64) a.low = b.low = meet(a.low, b.low);
        feasible = restrict_cores(op, taken, x, y);
        if (feasible) {
            a = sync(Value<W>{x.bits, x.range, a.low});
            b = sync(Value<W>{y.bits, y.range, b.low});
        }
    } else if (feasible) {
        Core<HalfOf<W>> x = low_core(a), y = low_core(b);
        feasible = restrict_cores(op, taken, x, y);
        if (feasible) {
            a = sync(Value<W>{with_low_bits(a.bits, x.bits), a.range, x.range});
            b = sync(Value<W>{with_low_bits(b.bits, y.bits), b.range, y.range});
        }
    }
    feasible = feasible && !is_bottom(a) && !is_bottom(b);
    if (!feasible) a = b = value_bottom<W>();
    return feasible;
}

}  // namespace skep
