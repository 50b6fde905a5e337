// A pool of scalars: equal scalars have equal indices, so states hold 4 bytes instead of 64,
// compare them by index, and results of transfer functions and comparisons can be remembered.
//
// Index 0 is bottom, 1 the unknown scalar; they mean the same in every pool. Indices stay valid,
// and references to scalars too, until clear(). One pool belongs to one analysis; not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "verifier/scalar.hpp"

namespace skep {

class ScalarPool {
public:
    static constexpr uint32_t kBottom = 0, kUnknown = 1;

    ScalarPool() { clear(); }

    const Scalar& operator[](uint32_t index) const {
        return chunks_[index >> kChunkBits][index & (kChunkSize - 1)];
    }
    uint32_t size() const { return size_; }
    size_t memory_bytes() const {
        return chunks_.size() * kChunkSize * sizeof(Scalar) + slots_.size() * sizeof(uint32_t) +
               results_.size() * sizeof(Memo) + refined_.size() * sizeof(RefineMemo) +
               constants_.size() * sizeof(uint32_t);
    }

    uint32_t intern(const Scalar& s) {
        if (s.is_const()) return constant(s.value());
        return insert(s);
    }
    uint32_t constant(uint64_t v) {
        uint32_t& cached = constants_[hash(v) & (kConstants - 1)];
        if (cached != 0 && (*this)[cached].is_const(v)) return cached;
        return cached = insert(Scalar::constant(v));
    }

    // transfer(), remembered. Only the fields of the instruction that decide the result are part of
    // the key, so equal instructions share it.
    uint32_t transfer(const Insn& insn, uint32_t dst, uint32_t src) {
        const uint64_t op = key_of(insn);
        Memo& memo = results_[hash(op ^ hash(uint64_t{dst} << 32 | src)) & (kMemos - 1)];
        if (memo.op == op && memo.a == dst && memo.b == src) return memo.result;
        const uint32_t result = intern(skep::transfer(insn, (*this)[dst], (*this)[src]));
        memo = {op, dst, src, result};
        return result;
    }
    // Whether a holds wherever b does.
    bool covers(uint32_t a, uint32_t b) const {
        if (a == b || a == kUnknown || b == kBottom) return true;
        if (b == kUnknown) return false;
        return subsumes((*this)[a], (*this)[b]);
    }
    uint32_t join(uint32_t a, uint32_t b) {
        if (a == b || b == kBottom) return a;
        if (a == kBottom) return b;
        if (a == kUnknown || b == kUnknown) return kUnknown;
        return remembered(kJoin, a, b, [&] { return skep::join((*this)[a], (*this)[b]); });
    }
    uint32_t meet(uint32_t a, uint32_t b) {
        if (a == b || b == kUnknown) return a;
        if (a == kUnknown) return b;
        return remembered(kMeet, a, b, [&] { return skep::meet((*this)[a], (*this)[b]); });
    }
    uint32_t zero_extend(uint32_t a, unsigned bits) {
        return remembered(kZext + bits, a, 0, [&] { return skep::zero_extend((*this)[a], bits); });
    }
    uint32_t sign_extend(uint32_t a, unsigned bits) {
        return remembered(kSext + bits, a, 0, [&] { return skep::sign_extend((*this)[a], bits); });
    }

    // refine(), remembered.
    struct Refined {
        uint32_t dst = kBottom, src = kBottom;
        bool feasible = false;
    };
    Refined refine(CondOp op, Width width, uint32_t dst, uint32_t src, bool taken) {
        const uint64_t key = kRefine + (static_cast<uint64_t>(op) << 16 |
                                        static_cast<uint64_t>(width) << 8 | (taken ? 1 : 0));
        RefineMemo& memo =
            refined_[hash(key ^ hash(uint64_t{dst} << 32 | src)) & (kRefineMemos - 1)];
        if (memo.key == key && memo.a == dst && memo.b == src) return memo.result;
        const skep::Refined r = skep::refine(op, width, (*this)[dst], (*this)[src], taken);
        memo = {key, dst, src, {}};
        if (r.feasible) memo.result = {intern(r.dst), intern(r.src), true};
        return memo.result;
    }

    void clear();

private:
    static constexpr unsigned kChunkBits = 8;
    static constexpr uint32_t kChunkSize = 1u << kChunkBits;
    static constexpr uint32_t kConstants = 1u << 9;
    static constexpr uint32_t kMemos = 1u << 11;
    static constexpr uint32_t kRefineMemos = 1u << 10;
    // Keys of what is no instruction; key_of() stays below.
    static constexpr uint64_t kJoin = uint64_t{1} << 60, kMeet = uint64_t{2} << 60,
                              kZext = uint64_t{3} << 60, kSext = uint64_t{4} << 60,
                              kRefine = uint64_t{5} << 60;

    struct Memo {
        uint64_t op = UINT64_MAX;
        uint32_t a = 0, b = 0;
        uint32_t result = 0;
    };
    struct RefineMemo {
        uint64_t key = UINT64_MAX;
        uint32_t a = 0, b = 0;
        Refined result;
    };

    static constexpr uint64_t hash(uint64_t x) {
        x *= 0x9e3779b97f4a7c15;
        return x ^ x >> 29;
    }
    static uint64_t hash(const Scalar& s);
    static constexpr uint64_t key_of(const Insn& i) {
        const uint64_t size = i.kind == Kind::Endian ? static_cast<uint64_t>(i.imm & 0x7f) : 0;
        return static_cast<uint64_t>(i.kind) | uint64_t{i.op} << 8 |
               static_cast<uint64_t>(i.width) << 16 | uint64_t{i.sext} << 24 |
               uint64_t{i.sign} << 32 | size << 40;
    }
    template <class F>
    uint32_t remembered(uint64_t op, uint32_t a, uint32_t b, F compute) {
        Memo& memo = results_[hash(op ^ hash(uint64_t{a} << 32 | b)) & (kMemos - 1)];
        if (memo.op == op && memo.a == a && memo.b == b) return memo.result;
        const uint32_t result = intern(compute());
        memo = {op, a, b, result};
        return result;
    }
    uint32_t insert(const Scalar& s);
    void grow();

    std::vector<std::unique_ptr<Scalar[]>> chunks_;
    uint32_t size_ = 0;
    std::vector<uint32_t> slots_;  // open addressing; index + 1, 0 = free
    std::vector<uint32_t> constants_;
    std::vector<Memo> results_;
    std::vector<RefineMemo> refined_;
};

}  // namespace skep
