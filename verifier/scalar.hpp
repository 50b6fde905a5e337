// Scalar: what the verifier knows about a 64-bit number.
//
// Five views of one set of values: known bits, unsigned and signed range, and both ranges of the
// low 32 bits. Every Scalar that functions here return is consistent (value.hpp) or bottom, the
// empty set. Plain value, 64 bytes, no allocation; all functions are pure and thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "verifier/tnum.hpp"
#include "vm/isa/insn.hpp"

namespace skep {

struct Scalar {
    Tnum bits{0, ~uint64_t{0}};
    uint64_t umin = 0, umax = UINT64_MAX;
    int64_t smin = INT64_MIN, smax = INT64_MAX;
    uint32_t u32_min = 0, u32_max = UINT32_MAX;
    int32_t s32_min = INT32_MIN, s32_max = INT32_MAX;

    static constexpr Scalar unknown() { return {}; }
    static constexpr Scalar bottom() {
        return {{0, 0}, UINT64_MAX, 0, INT64_MAX, INT64_MIN, UINT32_MAX, 0, INT32_MAX, INT32_MIN};
    }
    static constexpr Scalar constant(uint64_t v) {
        const auto low = static_cast<uint32_t>(v);
        const auto s = static_cast<int64_t>(v);
        const auto s32 = static_cast<int32_t>(low);
        return {{v, 0}, v, v, s, s, low, low, s32, s32};
    }
    // Everything in [lo, hi], unsigned or signed; bottom if lo > hi.
    static Scalar range_u64(uint64_t lo, uint64_t hi);
    static Scalar range_s64(int64_t lo, int64_t hi);

    constexpr bool is_bottom() const { return umin > umax; }
    constexpr bool is_const() const { return bits.mask == 0 && !is_bottom(); }
    constexpr bool is_const(uint64_t v) const { return is_const() && bits.value == v; }
    constexpr bool is_unknown() const { return *this == Scalar{}; }
    // The number, if is_const().
    constexpr uint64_t value() const { return bits.value; }
    // Whether x is one of the values.
    constexpr bool contains(uint64_t x) const {
        const auto low = static_cast<uint32_t>(x);
        const auto s = static_cast<int64_t>(x);
        const auto s32 = static_cast<int32_t>(low);
        return tnum_contains(bits, x) && umin <= x && x <= umax && smin <= s && s <= smax &&
               u32_min <= low && low <= u32_max && s32_min <= s32 && s32 <= s32_max;
    }
    constexpr bool operator==(const Scalar&) const = default;
};
static_assert(sizeof(Scalar) == 64);

// Makes the components consistent: the same values, each component as tight as the others allow.
Scalar sync(const Scalar& s);
Scalar meet(const Scalar& a, const Scalar& b);
Scalar join(const Scalar& a, const Scalar& b);
// Whether every component of a contains b's: then a holds wherever b does.
constexpr bool subsumes(const Scalar& a, const Scalar& b) {
    if (b.is_bottom()) return true;
    return a.umin <= b.umin && b.umax <= a.umax && a.smin <= b.smin && b.smax <= a.smax &&
           a.u32_min <= b.u32_min && b.u32_max <= a.u32_max && a.s32_min <= b.s32_min &&
           b.s32_max <= a.s32_max && tnum_subsumes(a.bits, b.bits);
}

// dst after a Kind::Alu, Neg or Endian instruction. `src` is the second operand: the register's
// scalar, or Scalar::constant of the immediate (sign-extended, as Insn::imm is); ignored by Neg and
// Endian. Constants give exactly eval_alu_insn's result.
Scalar transfer(const Insn& insn, const Scalar& dst, const Scalar& src);
// dst op src at 64 bits or, with the upper half zeroed, at 32.
Scalar alu(AluOp op, bool is64, bool is_signed, const Scalar& dst, const Scalar& src);
// The low `bits` (1..64), zero- or sign-extended to 64: narrow loads and fills, movsx, w-moves.
Scalar zero_extend(const Scalar& s, unsigned bits);
Scalar sign_extend(const Scalar& s, unsigned bits);
inline Scalar add(const Scalar& a, const Scalar& b) { return alu(AluOp::Add, true, false, a, b); }
inline Scalar sub(const Scalar& a, const Scalar& b) { return alu(AluOp::Sub, true, false, a, b); }

// The operands of a conditional jump after it went one way; both bottom if it cannot.
struct Refined {
    Scalar dst, src;
    bool feasible = true;
};
Refined refine(CondOp op, Width width, const Scalar& dst, const Scalar& src, bool taken);

// In the notation of Linux's verifier log: "scalar(umax=255,var_off=(0x0; 0xff))", or the number.
std::string to_string(const Scalar& s);

}  // namespace skep
