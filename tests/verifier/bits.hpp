// A word of N <= 16 bits with the operators of an unsigned integer: the domains instantiated on it
// can be checked on all inputs.
#pragma once

#include <compare>
#include <cstdint>
#include <utility>

#include "verifier/word.hpp"

namespace skep {

template <unsigned N>
struct Bits {
    static constexpr uint32_t kMask = (1u << N) - 1;
    uint32_t n = 0;

    constexpr Bits() = default;
    constexpr explicit Bits(uint32_t v) : n(v & kMask) {}

    friend constexpr Bits operator+(Bits a, Bits b) { return Bits(a.n + b.n); }
    friend constexpr Bits operator-(Bits a, Bits b) { return Bits(a.n - b.n); }
    friend constexpr Bits operator*(Bits a, Bits b) { return Bits(a.n * b.n); }
    friend constexpr Bits operator/(Bits a, Bits b) { return Bits(a.n / b.n); }
    friend constexpr Bits operator&(Bits a, Bits b) { return Bits(a.n & b.n); }
    friend constexpr Bits operator|(Bits a, Bits b) { return Bits(a.n | b.n); }
    friend constexpr Bits operator^(Bits a, Bits b) { return Bits(a.n ^ b.n); }
    friend constexpr Bits operator~(Bits a) { return Bits(~a.n); }
    friend constexpr Bits operator<<(Bits a, unsigned s) { return Bits(s < N ? a.n << s : 0); }
    friend constexpr Bits operator>>(Bits a, unsigned s) { return Bits(s < N ? a.n >> s : 0); }
    friend constexpr auto operator<=>(Bits a, Bits b) = default;
};

template <unsigned N>
struct BitsHalf {
    using Type = Bits<N / 2>;
};
template <>
struct BitsHalf<1> {
    using Type = void;
};

template <unsigned N>
struct WordTraits<Bits<N>> {
    static constexpr unsigned kBits = N;
    static constexpr bool kNative = true;
    using Half = typename BitsHalf<N>::Type;
    static constexpr Bits<N> literal(uint64_t v) { return Bits<N>(static_cast<uint32_t>(v)); }
};

template <unsigned N>
constexpr Bits<N / 2> low_half(Bits<N> x) {
    return Bits<N / 2>(x.n);
}
template <unsigned N>
constexpr Bits<N / 2> high_half(Bits<N> x) {
    return Bits<N / 2>(x.n >> (N / 2));
}
template <unsigned H>
constexpr Bits<2 * H> from_halves(Bits<H> high, Bits<H> low) {
    return Bits<2 * H>((high.n << H) | low.n);
}
template <unsigned N>
constexpr std::pair<Bits<N>, Bits<N>> multiply_wide(Bits<N> a, Bits<N> b) {
    return {Bits<N>((a.n * b.n) >> N), Bits<N>(a.n * b.n)};
}

}  // namespace skep
