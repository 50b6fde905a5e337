// The words that the abstract domains compute with.
//
// Tnums, ranges and their product are templates over an unsigned word W, so that one source runs on
// uint64_t and uint32_t in the product, on words of a few bits in exhaustive tests, and on Z3
// bit-vectors in proofs. What a word type needs is the operators of an unsigned integer, a
// WordTraits, and the functions below, found by argument-dependent lookup. Where a proof runs the
// code, choices are written with select() instead of `if`.
#pragma once

#include <bit>
#include <cstdint>
#include <utility>

namespace skep {

// kBits; Half: the word of half the width, or void; literal(n): the word of value n.
// kNative: comparisons give bool, so code may branch to save work.
template <class W>
struct WordTraits;

template <>
struct WordTraits<uint64_t> {
    static constexpr unsigned kBits = 64;
    static constexpr bool kNative = true;
    using Half = uint32_t;
    static constexpr uint64_t literal(uint64_t n) { return n; }
};
template <>
struct WordTraits<uint32_t> {
    static constexpr unsigned kBits = 32;
    static constexpr bool kNative = true;
    using Half = void;
    static constexpr uint32_t literal(uint64_t n) { return static_cast<uint32_t>(n); }
};

template <class W>
inline constexpr unsigned kBitsOf = WordTraits<W>::kBits;
template <class W>
using HalfOf = typename WordTraits<W>::Half;

template <class W>
constexpr W literal(uint64_t n) {
    return WordTraits<W>::literal(n);
}
template <class W>
constexpr W all_ones() {
    return ~literal<W>(0);
}
template <class W>
constexpr W sign_bit() {
    return literal<W>(1) << (kBitsOf<W> - 1);
}

constexpr bool both(bool a, bool b) { return a && b; }
constexpr bool either(bool a, bool b) { return a || b; }
constexpr bool flip(bool a) { return !a; }

template <class T>
constexpr T select(bool condition, T yes, T no) {
    return condition ? yes : no;
}
template <class W>
constexpr W lesser(W a, W b) {
    return select(a < b, a, b);
}
template <class W>
constexpr W greater(W a, W b) {
    return select(a < b, b, a);
}

// Every bit at and below the highest set bit of x.
template <class W>
constexpr W smear(W x) {
    for (unsigned n = 1; n < kBitsOf<W>; n *= 2) x = x | (x >> n);
    return x;
}
constexpr uint64_t smear(uint64_t x) { return x == 0 ? 0 : ~uint64_t{0} >> std::countl_zero(x); }
constexpr uint32_t smear(uint32_t x) { return x == 0 ? 0 : ~uint32_t{0} >> std::countl_zero(x); }

// Arithmetic shift right by a constant below the width.
template <class W>
constexpr W shift_arithmetic(W x, unsigned n) {
    const W fill = ~(all_ones<W>() >> n);
    return select((x & sign_bit<W>()) == literal<W>(0), x >> n, (x >> n) | fill);
}

constexpr uint32_t low_half(uint64_t x) { return static_cast<uint32_t>(x); }
constexpr uint32_t high_half(uint64_t x) { return static_cast<uint32_t>(x >> 32); }
constexpr uint64_t from_halves(uint32_t high, uint32_t low) { return (uint64_t{high} << 32) | low; }

// The product at twice the width, as {high, low}.
constexpr std::pair<uint64_t, uint64_t> multiply_wide(uint64_t a, uint64_t b) {
    const auto product = static_cast<unsigned __int128>(a) * b;
    return {static_cast<uint64_t>(product >> 64), static_cast<uint64_t>(product)};
}
constexpr std::pair<uint32_t, uint32_t> multiply_wide(uint32_t a, uint32_t b) {
    const uint64_t product = uint64_t{a} * b;
    return {static_cast<uint32_t>(product >> 32), static_cast<uint32_t>(product)};
}

}  // namespace skep

// A seeded fault of the mutation tests, which define this to select one fault at run time; the
// library is built without any.
#ifndef SKEP_MUTANT
#define SKEP_MUTANT(name) false
#endif
