// Checks of the product domain on all values of a four-bit word, whose half is two bits wide.
//
// A set of concrete values is a 16-bit mask, so an operator's concrete image of two abstract values
// is a few table look-ups, and the best abstraction of every set can be tabulated. Used by the
// soundness tests and, with faults seeded, by the mutation tests: nothing here knows which.
#pragma once

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/random.hpp"
#include "tests/verifier/bits.hpp"
#include "verifier/value.hpp"

namespace skep::domain_check {

using W = Bits<4>;
using H = Bits<2>;
using V = Value<W>;
using Set = uint16_t;
inline constexpr unsigned kValues = 16;

// The values from lo to hi, none if hi < lo.
constexpr Set between(unsigned lo, unsigned hi) {
    return hi < lo ? Set{0} : static_cast<Set>((2u << hi) - (1u << lo));
}

// value_contains() of every value at once: bit masks of what each component allows.
inline Set members(const V& v) {
    struct Tables {
        Set of_tnum[kValues][kValues] = {};  // by value and mask
        Set with_low[4] = {};                // by the low half
        Tables() {
            for (unsigned x = 0; x < kValues; ++x) {
                with_low[x % 4] |= static_cast<Set>(1u << x);
                for (unsigned value = 0; value < kValues; ++value)
                    for (unsigned mask = 0; mask < kValues; ++mask)
                        if (tnum_contains(BasicTnum<W>{W(value), W(mask)}, W(x)))
                            of_tnum[value][mask] |= static_cast<Set>(1u << x);
            }
        }
    };
    static const Tables tables;
    Set low = 0;
    for (unsigned x = 0; x < 4; ++x)
        if (range_contains(v.low, H(x))) low |= tables.with_low[x];
    const SplitRange<W>& r = v.range;
    return tables.of_tnum[v.bits.value.n][v.bits.mask.n] & low &
           (between(r.pos.lo.n, r.pos.hi.n) | between(r.neg.lo.n, r.neg.hi.n));
}

// The best abstraction of a set: every component as small as can be.
inline V abstraction(Set set) {
    V out = value_bottom<W>();
    for (unsigned x = 0; x < kValues; ++x)
        if (set >> x & 1) out = join(out, value_const(W(x)));
    return out;
}

// The members of the best abstraction, by set.
inline const std::vector<Set>& best_members() {
    static const std::vector<Set> table = [] {
        std::vector<Set> out(size_t{1} << kValues);
        for (size_t set = 1; set < out.size(); ++set)
            out[set] = members(abstraction(static_cast<Set>(set)));
        return out;
    }();
    return table;
}

// Abstract inputs without repetition: best abstractions of all sets, and what sync() makes of
// combinations of components that it cannot fully reduce.
inline std::vector<V> abstract_values() {
    std::vector<V> out;
    std::vector<bool> seen(size_t{1} << 16);
    for (unsigned set = 1; set < 1u << 16; ++set) {
        const V v = abstraction(static_cast<Set>(set));
        const Set all = members(v);
        if (seen[all]) continue;
        seen[all] = true;
        out.push_back(v);
    }
    return out;
}

// Signed reading of the low n bits.
constexpr int as_signed(unsigned x, unsigned n) {
    x &= (1u << n) - 1;
    return x >> (n - 1) & 1 ? static_cast<int>(x) - (1 << n) : static_cast<int>(x);
}

// RFC 9669 section 4.1 for n-bit words, written without the product's semantics.hpp.
constexpr unsigned concrete_alu(AluOp op, bool is_signed, unsigned n, unsigned d, unsigned s) {
    const unsigned mask = (1u << n) - 1;
    d &= mask;
    s &= mask;
    const int sd = as_signed(d, n), ss = as_signed(s, n);
    const unsigned count = s & (n - 1);
    unsigned out = 0;
    switch (op) {
        case AluOp::Add: out = d + s; break;
        case AluOp::Sub: out = d - s; break;
        case AluOp::Mul: out = d * s; break;
        case AluOp::Div:
            out = s == 0 ? 0 : is_signed ? static_cast<unsigned>(sd / ss) : d / s;
            break;
        case AluOp::Mod:
            out = s == 0 ? d : is_signed ? static_cast<unsigned>(sd % ss) : d % s;
            break;
        case AluOp::Or: out = d | s; break;
        case AluOp::And: out = d & s; break;
        case AluOp::Xor: out = d ^ s; break;
        case AluOp::Lsh: out = d << count; break;
        case AluOp::Rsh: out = d >> count; break;
        case AluOp::Arsh: out = static_cast<unsigned>(sd >> count); break;
        case AluOp::Mov: out = s; break;
    }
    return out & mask;
}

constexpr bool concrete_cond(CondOp op, unsigned n, unsigned d, unsigned s) {
    const unsigned mask = (1u << n) - 1;
    d &= mask;
    s &= mask;
    const int sd = as_signed(d, n), ss = as_signed(s, n);
    switch (op) {
        case CondOp::Eq: return d == s;
        case CondOp::Ne: return d != s;
        case CondOp::Gt: return d > s;
        case CondOp::Ge: return d >= s;
        case CondOp::Lt: return d < s;
        case CondOp::Le: return d <= s;
        case CondOp::Set: return (d & s) != 0;
        case CondOp::Sgt: return sd > ss;
        case CondOp::Sge: return sd >= ss;
        case CondOp::Slt: return sd < ss;
        case CondOp::Sle: return sd <= ss;
    }
    return false;
}

struct Operator {
    std::string name;
    std::function<V(const V&, const V&)> abstract;
    std::function<unsigned(unsigned, unsigned)> concrete;
    bool unary = false;
};

inline std::vector<Operator> operators() {
    std::vector<Operator> out;
    for (const bool is64 : {true, false}) {
        const unsigned n = is64 ? 4 : 2;
        const auto add = [&](const char* name, AluOp op, bool is_signed) {
            out.push_back(
                {std::string(name) + (is64 ? "" : "32"),
                 [=](const V& a, const V& b) {
                     return is64 ? value_alu64(op, is_signed, a, b)
                                 : value_alu32(op, is_signed, a, b);
                 },
                 [=](unsigned d, unsigned s) { return concrete_alu(op, is_signed, n, d, s); }});
        };
#define SKEP_ALU(Name, code, sign, mnemonic) add(mnemonic, AluOp::Name, false);
#include "vm/isa/opcodes.def"
        add("sdiv", AluOp::Div, true);
        add("smod", AluOp::Mod, true);
    }
    for (const unsigned bits : {1u, 2u, 3u}) {
        for (const bool is_signed : {false, true}) {
            out.push_back({(is_signed ? "sext" : "zext") + std::to_string(bits),
                           [=](const V& a, const V&) { return value_extend(a, bits, is_signed); },
                           [=](unsigned d, unsigned) {
                               const unsigned low = d & ((1u << bits) - 1);
                               return is_signed ? static_cast<unsigned>(as_signed(low, bits)) & 15
                                                : low;
                           },
                           true});
        }
    }
    return out;
}

struct Tally {
    uint64_t checked = 0;
    uint64_t unsound = 0;
    uint64_t optimal = 0;
    uint64_t constant = 0, constant_optimal = 0;  // of these, the second operand a constant
    std::string first;                            // the first violation, in words

    double percent() const { return checked == 0 ? 0 : 100.0 * optimal / checked; }
    double constant_percent() const {
        return constant == 0 ? 0 : 100.0 * constant_optimal / constant;
    }
};

inline std::string text(Set set) {
    std::string out = "{";
    for (unsigned x = 0; x < kValues; ++x)
        if (set >> x & 1) out += (out.size() > 1 ? " " : "") + std::to_string(x);
    return out + "}";
}

// Every `stride`-th pair of inputs: no concrete result may be missing from the abstract one.
inline Tally check_operator(const Operator& op, const std::vector<V>& inputs, size_t stride) {
    std::vector<Set> sets;
    for (const V& v : inputs) sets.push_back(members(v));
    Set results[kValues][kValues];
    for (unsigned x = 0; x < kValues; ++x)
        for (unsigned y = 0; y < kValues; ++y)
            results[x][y] = static_cast<Set>(1u << op.concrete(x, y));
    Tally tally;
    const std::vector<Set>& best = best_members();
    const auto check = [&](size_t i, size_t j) {
        Set expected = 0;
        for (unsigned left = sets[i]; left != 0; left &= left - 1)
            for (unsigned right = sets[j]; right != 0; right &= right - 1)
                expected |= results[std::countr_zero(left)][std::countr_zero(right)];
        const Set actual = members(op.abstract(inputs[i], inputs[j]));
        const bool is_best = actual == best[expected];
        ++tally.checked;
        tally.optimal += is_best ? 1 : 0;
        if (std::has_single_bit(sets[j])) {
            ++tally.constant;
            tally.constant_optimal += is_best ? 1 : 0;
        }
        if ((expected & ~actual) != 0 && tally.unsound++ == 0)
            tally.first = op.name + " of " + text(sets[i]) + " and " + text(sets[j]) + " gives " +
                          text(actual) + ", without " + text(static_cast<Set>(expected & ~actual));
    };
    const size_t count = op.unary ? inputs.size() : inputs.size() * inputs.size();
    const size_t step = op.unary ? 1 : stride;
    for (size_t pair = 0; pair < count; pair += step)
        check(pair % inputs.size(), pair / inputs.size());
    // Constants are what programs compute with most.
    for (size_t j = 0; j < inputs.size() && step > 1; ++j) {
        if (!std::has_single_bit(sets[j])) continue;
        for (size_t i = j % 7; i < inputs.size(); i += 1 + stride / 300) check(i, j);
    }
    return tally;
}

struct Condition {
    std::string name;
    CondOp op;
    bool is64;
    bool taken;
};
inline std::vector<Condition> conditions() {
    std::vector<Condition> out;
    for (const bool is64 : {true, false})
        for (const bool taken : {true, false}) {
#define SKEP_COND(Name, code, sign, mnemonic)                                                 \
    out.push_back({std::string(mnemonic) + (is64 ? "" : "32") + (taken ? "" : ", not taken"), \
                   CondOp::Name, is64, taken});
#include "vm/isa/opcodes.def"
        }
    return out;
}

// Both operands after a branch keep every value that goes this way.
inline Tally check_condition(const Condition& c, const std::vector<V>& inputs, size_t stride) {
    std::vector<Set> sets;
    for (const V& v : inputs) sets.push_back(members(v));
    Set holds_for[kValues] = {}, held_by[kValues] = {};
    for (unsigned x = 0; x < kValues; ++x)
        for (unsigned y = 0; y < kValues; ++y)
            if (concrete_cond(c.op, c.is64 ? 4 : 2, x, y) == c.taken) {
                holds_for[x] |= static_cast<Set>(1u << y);
                held_by[y] |= static_cast<Set>(1u << x);
            }
    Tally tally;
    const std::vector<Set>& best = best_members();
    for (size_t pair = 0; pair < inputs.size() * inputs.size(); pair += stride) {
        const size_t i = pair % inputs.size(), j = pair / inputs.size();
        Set left = 0, right = 0;
        for (unsigned x = 0; x < kValues; ++x) {
            if ((sets[i] >> x & 1) && (holds_for[x] & sets[j])) left |= static_cast<Set>(1u << x);
            if ((sets[j] >> x & 1) && (held_by[x] & sets[i])) right |= static_cast<Set>(1u << x);
        }
        V a = inputs[i], b = inputs[j];
        const bool feasible = refine_values(c.op, c.is64, c.taken, a, b);
        const Set got_left = members(a), got_right = members(b);
        ++tally.checked;
        if (got_left == best[left] && got_right == best[right]) ++tally.optimal;
        const bool lost = (left & ~got_left) || (right & ~got_right) || (!feasible && left != 0);
        if (lost && tally.unsound++ == 0)
            tally.first = c.name + " on " + text(sets[i]) + " and " + text(sets[j]) + " leaves " +
                          text(got_left) + " and " + text(got_right);
    }
    return tally;
}

inline std::vector<Interval<W>> intervals(unsigned lo, unsigned hi) {
    std::vector<Interval<W>> out{empty_interval<W>()};
    for (unsigned a = lo; a <= hi; ++a)
        for (unsigned b = a; b <= hi; ++b) out.push_back({W(a), W(b)});
    return out;
}

// sync() on every `stride`-th combination of components keeps the set of values. `optimal` counts
// the results that are the best abstraction.
inline Tally check_sync(size_t stride) {
    std::vector<SplitRange<W>> ranges;
    for (const auto& pos : intervals(0, 7))
        for (const auto& neg : intervals(8, 15)) ranges.push_back({pos, neg});
    std::vector<SplitRange<H>> lows;
    const auto narrow = [](Interval<W> i) {
        return i.hi < i.lo ? empty_interval<H>() : Interval<H>{low_half(i.lo), low_half(i.hi)};
    };
    for (const auto& pos : intervals(0, 1))
        for (const auto& neg : intervals(2, 3)) lows.push_back({narrow(pos), narrow(neg)});
    Tally tally;
    size_t n = 0;
    for (unsigned mask = 0; mask < kValues; ++mask) {
        for (unsigned value = 0; value < kValues; ++value) {
            if (value & mask) continue;
            for (const auto& range : ranges) {
                for (const auto& low : lows) {
                    if (n++ % stride != 0) continue;
                    const V v{{W(value), W(mask)}, range, low};
                    const Set before = members(v);
                    const V synced = sync(v);
                    const Set after = members(synced);
                    ++tally.checked;
                    if (synced == abstraction(before)) ++tally.optimal;
                    if (before != after && tally.unsound++ == 0)
                        tally.first = text(before) + " became " + text(after);
                }
            }
        }
    }
    return tally;
}

}  // namespace skep::domain_check
