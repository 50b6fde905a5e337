// Scalar as the packed form of Value<uint64_t>: conversions, and the shortcuts for constants.
#include "verifier/scalar.hpp"

#include <cinttypes>
#include <cstdio>
#include <iterator>
#include <string_view>

#include "verifier/value.hpp"
#include "vm/isa/semantics.hpp"

namespace skep {
namespace {

using V = Value<uint64_t>;

template <class U>
constexpr SplitRange<U> split(U umin, U umax, U smin, U smax) {
    return meet(arc(umin, umax), arc(smin, smax));
}

V unpack(const Scalar& s) {
    if (s.is_bottom()) return value_bottom<uint64_t>();
    return {s.bits,
            split<uint64_t>(s.umin, s.umax, static_cast<uint64_t>(s.smin),
                            static_cast<uint64_t>(s.smax)),
            split<uint32_t>(s.u32_min, s.u32_max, static_cast<uint32_t>(s.s32_min),
                            static_cast<uint32_t>(s.s32_max))};
}

Scalar pack(const V& v) {
    if (is_bottom(v)) return Scalar::bottom();
    return {v.bits,
            unsigned_min(v.range),
            unsigned_max(v.range),
            static_cast<int64_t>(signed_min(v.range)),
            static_cast<int64_t>(signed_max(v.range)),
            unsigned_min(v.low),
            unsigned_max(v.low),
            static_cast<int32_t>(signed_min(v.low)),
            static_cast<int32_t>(signed_max(v.low))};
}

Scalar byte_order(const Insn& insn, const Scalar& dst) {
    const auto bits = static_cast<unsigned>(insn.imm);
    if (insn.endian() == EndianOp::ToLe) return zero_extend(dst, bits);
    V v = value_unknown<uint64_t>();
    v.bits = {eval_endian(insn.endian(), dst.bits.value, bits),
              eval_endian(insn.endian(), dst.bits.mask, bits)};
    return pack(sync(v));
}

}  // namespace

Scalar Scalar::range_u64(uint64_t lo, uint64_t hi) {
    if (lo > hi) return bottom();
    V v = value_unknown<uint64_t>();
    v.range = arc(lo, hi);
    return pack(sync(v));
}

Scalar Scalar::range_s64(int64_t lo, int64_t hi) {
    if (lo > hi) return bottom();
    V v = value_unknown<uint64_t>();
    v.range = arc(static_cast<uint64_t>(lo), static_cast<uint64_t>(hi));
    return pack(sync(v));
}

Scalar sync(const Scalar& s) {
    if (s.umin > s.umax || s.smin > s.smax || s.u32_min > s.u32_max || s.s32_min > s.s32_max)
        return Scalar::bottom();
    return pack(sync(unpack(s)));
}

Scalar meet(const Scalar& a, const Scalar& b) {
    if (a == b) return a;
    return pack(meet(unpack(a), unpack(b)));
}

Scalar join(const Scalar& a, const Scalar& b) {
    if (a == b) return a;
    return pack(join(unpack(a), unpack(b)));
}

Scalar alu(AluOp op, bool is64, bool is_signed, const Scalar& dst, const Scalar& src) {
    if (dst.is_bottom() || src.is_bottom()) return Scalar::bottom();
    if (op == AluOp::Mov) return is64 ? src : zero_extend(src, 32);
    if (dst.is_const() && src.is_const()) {
        const uint64_t d = dst.value(), s = src.value();
        return Scalar::constant(is64 ? eval_alu<uint64_t>(op, d, s, is_signed)
                                     : eval_alu<uint32_t>(op, static_cast<uint32_t>(d),
                                                          static_cast<uint32_t>(s), is_signed));
    }
    const V a = unpack(dst), b = unpack(src);
    return pack(is64 ? value_alu64(op, is_signed, a, b) : value_alu32(op, is_signed, a, b));
}

Scalar zero_extend(const Scalar& s, unsigned bits) {
    if (s.is_const()) return Scalar::constant(zero_extend(s.value(), bits));
    if (bits >= 64 || s.is_bottom()) return s;
    return pack(value_extend(unpack(s), bits, false));
}

Scalar sign_extend(const Scalar& s, unsigned bits) {
    if (bits >= 64 || s.is_bottom()) return s;
    if (s.is_const()) return Scalar::constant(sign_extend(s.value(), bits));
    return pack(value_extend(unpack(s), bits, true));
}

Scalar transfer(const Insn& insn, const Scalar& dst, const Scalar& src) {
    switch (insn.kind) {
        case Kind::Neg: return alu(AluOp::Sub, insn.is64(), false, Scalar::constant(0), dst);
        case Kind::Endian:
            if (dst.is_bottom()) return dst;
            if (dst.is_const()) return Scalar::constant(eval_alu_insn(insn, dst.value(), 0));
            return byte_order(insn, dst);
        case Kind::Alu: break;
        default: return Scalar::unknown();
    }
    // A move does not read dst, which may be anything.
    if (insn.alu() == AluOp::Mov) {
        const Scalar moved = insn.sext != 0 ? sign_extend(src, insn.sext) : src;
        return insn.is64() ? moved : zero_extend(moved, 32);
    }
    return alu(insn.alu(), insn.is64(), insn.sign, dst, src);
}

Refined refine(CondOp op, Width width, const Scalar& dst, const Scalar& src, bool taken) {
    if (dst.is_const() && src.is_const()) {
        const bool holds = width == Width::Dw
                               ? eval_cond<uint64_t>(op, dst.value(), src.value())
                               : eval_cond<uint32_t>(op, static_cast<uint32_t>(dst.value()),
                                                     static_cast<uint32_t>(src.value()));
        if (holds == taken) return {dst, src, true};
        return {Scalar::bottom(), Scalar::bottom(), false};
    }
    V a = unpack(dst), b = unpack(src);
    const bool feasible = refine_values(op, width == Width::Dw, taken, a, b);
    return {pack(a), pack(b), feasible};
}

namespace {

// Linux's log writes what fits 16 bits in decimal, the rest in hexadecimal.
std::string number(int64_t value, bool is_signed) {
    char text[32];
    const bool is_short =
        is_signed ? value >= INT16_MIN && value <= INT16_MAX : value >= 0 && value <= UINT16_MAX;
    std::snprintf(text, sizeof text, is_short ? "%" PRId64 : "0x%" PRIx64, value);
    return text;
}

struct Bound {
    std::string_view name;
    int64_t value;
    bool silent;  // the widest there is, or said already
};

}  // namespace

std::string to_string(const Scalar& s) {
    if (s.is_bottom()) return "bottom";
    if (s.is_const()) return number(static_cast<int64_t>(s.value()), true);
    Bound bounds[] = {
        {"smin", s.smin, s.smin == INT64_MIN},
        {"smax", s.smax, s.smax == INT64_MAX},
        {"umin", static_cast<int64_t>(s.umin), s.umin == 0},
        {"umax", static_cast<int64_t>(s.umax), s.umax == UINT64_MAX},
        {"smin32", s.s32_min, s.s32_min == INT32_MIN},
        {"smax32", s.s32_max, s.s32_max == INT32_MAX},
        {"umin32", s.u32_min, s.u32_min == 0},
        {"umax32", s.u32_max, s.u32_max == UINT32_MAX},
    };
    std::string out;
    for (size_t i = 0; i < std::size(bounds); ++i) {
        const Bound& bound = bounds[i];
        if (bound.silent) continue;
        if (!out.empty()) out += ',';
        out += std::string(bound.name) + "=";
        for (size_t j = i + 1; j < std::size(bounds); ++j) {
            if (bounds[j].silent || bounds[j].value != bound.value) continue;
            out += std::string(bounds[j].name) + "=";
            bounds[j].silent = true;
        }
        out += number(bound.value, bound.name.front() == 's');
    }
    if (s.bits.mask != ~uint64_t{0}) {
        char text[64];
        std::snprintf(text, sizeof text, "%svar_off=(0x%" PRIx64 "; 0x%" PRIx64 ")",
                      out.empty() ? "" : ",", s.bits.value, s.bits.mask);
        out += text;
    }
    return "scalar(" + out + ")";
}

}  // namespace skep
