// Words as Z3 bit-vectors: the domains instantiated on them are formulas, so the very source that
// the verifier runs is what is proved.
#pragma once

#include <z3++.h>

#include "verifier/word.hpp"

namespace skep {

// Terms belong to a context; a proof works in one at a time.
inline z3::context& proof_context() {
    static z3::context context;
    return context;
}

struct SymBool {
    z3::expr e;
};
inline SymBool both(const SymBool& a, const SymBool& b) { return {a.e && b.e}; }
inline SymBool either(const SymBool& a, const SymBool& b) { return {a.e || b.e}; }
inline SymBool flip(const SymBool& a) { return {!a.e}; }

template <unsigned N>
struct Sym {
    z3::expr e;

    friend Sym operator+(const Sym& a, const Sym& b) { return {a.e + b.e}; }
    friend Sym operator-(const Sym& a, const Sym& b) { return {a.e - b.e}; }
    friend Sym operator&(const Sym& a, const Sym& b) { return {a.e & b.e}; }
    friend Sym operator|(const Sym& a, const Sym& b) { return {a.e | b.e}; }
    friend Sym operator^(const Sym& a, const Sym& b) { return {a.e ^ b.e}; }
    friend Sym operator~(const Sym& a) { return {~a.e}; }
    friend Sym operator<<(const Sym& a, unsigned n) {
        return {z3::shl(a.e, proof_context().bv_val(n, N))};
    }
    friend Sym operator>>(const Sym& a, unsigned n) {
        return {z3::lshr(a.e, proof_context().bv_val(n, N))};
    }
    friend SymBool operator==(const Sym& a, const Sym& b) { return {a.e == b.e}; }
    friend SymBool operator!=(const Sym& a, const Sym& b) { return {a.e != b.e}; }
    friend SymBool operator<(const Sym& a, const Sym& b) { return {z3::ult(a.e, b.e)}; }
    friend SymBool operator<=(const Sym& a, const Sym& b) { return {z3::ule(a.e, b.e)}; }
};

template <unsigned N>
struct WordTraits<Sym<N>> {
    static constexpr unsigned kBits = N;
    static constexpr bool kNative = false;
    using Half = Sym<N / 2>;
    static Sym<N> literal(uint64_t v) { return {proof_context().bv_val(v, N)}; }
};

template <unsigned N>
Sym<N> select(const SymBool& c, const Sym<N>& yes, const Sym<N>& no) {
    return {z3::ite(c.e, yes.e, no.e)};
}
template <unsigned N>
Sym<N / 2> low_half(const Sym<N>& x) {
    return {x.e.extract(N / 2 - 1, 0)};
}
template <unsigned N>
Sym<N / 2> high_half(const Sym<N>& x) {
    return {x.e.extract(N - 1, N / 2)};
}
template <unsigned H>
Sym<2 * H> from_halves(const Sym<H>& high, const Sym<H>& low) {
    return {z3::concat(high.e, low.e)};
}
template <unsigned N>
Sym<N> variable(const char* name) {
    return {proof_context().bv_const(name, N)};
}

}  // namespace skep
