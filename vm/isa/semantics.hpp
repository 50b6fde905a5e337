// What each operation computes: the only definition of eBPF arithmetic in the project.
//
// The interpreter runs it, the verifier folds constants with it, and tests hold the JIT and the
// abstract domains to it. All constexpr, total and free of undefined behaviour: division by zero
// gives 0, modulo by zero the dividend, shift counts are masked, INT_MIN / -1 wraps
// (RFC 9669 section 4.1).
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "vm/isa/insn.hpp"

namespace skep {

// `d op s` at the width of U (uint32_t or uint64_t).
template <std::unsigned_integral U>
constexpr U eval_alu(AluOp op, U d, U s, bool is_signed = false) {
    using S = std::make_signed_t<U>;
    constexpr U mask = sizeof(U) * 8 - 1;
    switch (op) {
        case AluOp::Add: return d + s;
        case AluOp::Sub: return d - s;
        case AluOp::Mul: return d * s;
        case AluOp::Div:
            if (s == 0) return 0;
            if (!is_signed) return d / s;
            // The quotient of the smallest number by -1 does not fit; it wraps to the dividend.
            return s == static_cast<U>(-1) ? static_cast<U>(0 - d)
                                           : static_cast<U>(static_cast<S>(d) / static_cast<S>(s));
        case AluOp::Mod:
            if (s == 0) return d;
            if (!is_signed) return d % s;
            return s == static_cast<U>(-1) ? U{0}
                                           : static_cast<U>(static_cast<S>(d) % static_cast<S>(s));
        case AluOp::Or: return d | s;
        case AluOp::And: return d & s;
        case AluOp::Xor: return d ^ s;
        case AluOp::Lsh: return d << (s & mask);
        case AluOp::Rsh: return d >> (s & mask);
        case AluOp::Arsh: return static_cast<U>(static_cast<S>(d) >> (s & mask));
        case AluOp::Mov: return s;
    }
    return 0;
}

// Sign-extends the low `bits` (8, 16 or 32) of x.
constexpr uint64_t sign_extend(uint64_t x, unsigned bits) {
    const unsigned shift = 64 - bits;
    return static_cast<uint64_t>(static_cast<int64_t>(x << shift) >> shift);
}

constexpr uint64_t zero_extend(uint64_t x, unsigned bits) {
    return bits >= 64 ? x : x & ((uint64_t{1} << bits) - 1);
}

// Whether `d op s` holds at the width of U.
template <std::unsigned_integral U>
constexpr bool eval_cond(CondOp op, U d, U s) {
    using S = std::make_signed_t<U>;
    switch (op) {
        case CondOp::Eq: return d == s;
        case CondOp::Ne: return d != s;
        case CondOp::Gt: return d > s;
        case CondOp::Ge: return d >= s;
        case CondOp::Lt: return d < s;
        case CondOp::Le: return d <= s;
        case CondOp::Set: return (d & s) != 0;
        case CondOp::Sgt: return static_cast<S>(d) > static_cast<S>(s);
        case CondOp::Sge: return static_cast<S>(d) >= static_cast<S>(s);
        case CondOp::Slt: return static_cast<S>(d) < static_cast<S>(s);
        case CondOp::Sle: return static_cast<S>(d) <= static_cast<S>(s);
    }
    return false;
}

// `s mirrored(op) d` holds exactly when `d op s` does.
constexpr CondOp mirrored(CondOp op) {
    switch (op) {
        case CondOp::Gt: return CondOp::Lt;
        case CondOp::Ge: return CondOp::Le;
        case CondOp::Lt: return CondOp::Gt;
        case CondOp::Le: return CondOp::Ge;
        case CondOp::Sgt: return CondOp::Slt;
        case CondOp::Sge: return CondOp::Sle;
        case CondOp::Slt: return CondOp::Sgt;
        case CondOp::Sle: return CondOp::Sge;
        case CondOp::Eq:
        case CondOp::Ne:
        case CondOp::Set: return op;
    }
    return op;
}

// The condition that holds exactly when `op` does not. Set has none.
constexpr CondOp negate(CondOp op) {
    switch (op) {
        case CondOp::Eq: return CondOp::Ne;
        case CondOp::Ne: return CondOp::Eq;
        case CondOp::Gt: return CondOp::Le;
        case CondOp::Ge: return CondOp::Lt;
        case CondOp::Lt: return CondOp::Ge;
        case CondOp::Le: return CondOp::Gt;
        case CondOp::Sgt: return CondOp::Sle;
        case CondOp::Sge: return CondOp::Slt;
        case CondOp::Slt: return CondOp::Sge;
        case CondOp::Sle: return CondOp::Sgt;
        case CondOp::Set: return CondOp::Set;
    }
    return op;
}

// Byte order operations on the low `bits` (16, 32, 64) of x; the rest becomes 0. Little-endian
// guests: ToLe truncates, ToBe swaps.
constexpr uint64_t eval_endian(EndianOp op, uint64_t x, unsigned bits) {
    if (op == EndianOp::ToLe) return zero_extend(x, bits);
    switch (bits) {
        case 16: return __builtin_bswap16(static_cast<uint16_t>(x));
        case 32: return __builtin_bswap32(static_cast<uint32_t>(x));
        default: return __builtin_bswap64(x);
    }
}

// The new memory value of a read-modify-write; Xchg gives `s`. Cmpxchg is not one of these: it
// compares with r0 and is written out by whoever executes it.
template <std::unsigned_integral U>
constexpr U eval_atomic(AtomicOp op, U old, U s) {
    switch (op) {
        case AtomicOp::Add:
        case AtomicOp::FetchAdd: return old + s;
        case AtomicOp::Or:
        case AtomicOp::FetchOr: return old | s;
        case AtomicOp::And:
        case AtomicOp::FetchAnd: return old & s;
        case AtomicOp::Xor:
        case AtomicOp::FetchXor: return old ^ s;
        case AtomicOp::Xchg:
        case AtomicOp::StoreRelease: return s;
        case AtomicOp::Cmpxchg:
        case AtomicOp::LoadAcquire: return old;
    }
    return old;
}

// One Kind::Alu, Neg or Endian instruction: the new 64-bit value of dst from the old one and from
// the second operand (the src register or the immediate). 32-bit forms zero-extend.
constexpr uint64_t eval_alu_insn(const Insn& i, uint64_t d, uint64_t s) {
    switch (i.kind) {
        case Kind::Neg:
            return i.is64() ? 0 - d : static_cast<uint32_t>(0 - static_cast<uint32_t>(d));
        case Kind::Endian: return eval_endian(i.endian(), d, static_cast<unsigned>(i.imm));
        default: break;
    }
    if (i.sext != 0) s = sign_extend(s, i.sext);
    return i.is64() ? eval_alu<uint64_t>(i.alu(), d, s, i.sign)
                    : eval_alu<uint32_t>(i.alu(), static_cast<uint32_t>(d),
                                         static_cast<uint32_t>(s), i.sign);
}

constexpr bool eval_branch(const Insn& i, uint64_t d, uint64_t s) {
    return i.is64()
               ? eval_cond<uint64_t>(i.cond(), d, s)
               : eval_cond<uint32_t>(i.cond(), static_cast<uint32_t>(d), static_cast<uint32_t>(s));
}

static_assert(eval_alu<uint64_t>(AluOp::Div, 7, 0) == 0);
static_assert(eval_alu<uint64_t>(AluOp::Mod, 7, 0) == 7);
static_assert(eval_alu<uint32_t>(AluOp::Div, 0x80000000u, 0xffffffffu, true) == 0x80000000u);
static_assert(eval_alu<uint32_t>(AluOp::Mod, 0x80000000u, 0xffffffffu, true) == 0);
static_assert(eval_endian(EndianOp::ToBe, 0x1122334455667788, 16) == 0x8877);

}  // namespace skep
