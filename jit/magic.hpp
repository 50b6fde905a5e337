// Division by constants: multiplication by a reciprocal, and shifts (Granlund and Montgomery, PLDI
// 1994; Hacker's Delight 10-8).
#pragma once

#include <bit>
#include <cstdint>

namespace skep::jit {

// n / d = hi(n' * multiplier) >> post with n' = n >> pre, hi being the upper 64 bits of the
// product; `wide`: the multiplier has a 65th bit, so n' is added to the product before the shift.
struct Magic {
    unsigned pre = 0, post = 0;
    uint64_t multiplier = 0;
    bool wide = false;
};

// For n below 2^32: one product is exact, since n * (d - 1) < 2^64. d is no power of 2.
constexpr Magic magic32(uint32_t divisor) { return {.multiplier = UINT64_MAX / divisor + 1}; }

// For any n below 2^bits. divisor > 1, no power of 2.
constexpr Magic magic64(uint64_t divisor, unsigned bits = 64) {
    const unsigned log = 63 - static_cast<unsigned>(std::countl_zero(divisor));
    const unsigned __int128 power = static_cast<unsigned __int128>(1) << (64 + log);
    const auto m = static_cast<uint64_t>(power / divisor);
    const auto rest = static_cast<uint64_t>(power % divisor);
    // The multiplier rounds up by (divisor - rest) / divisor, which times n must stay below
    // 2^(64 + log) / divisor.
    const unsigned slack = 64 + log - bits;
    if (slack >= 64 || divisor - rest < uint64_t{1} << slack)
        return {.post = log, .multiplier = m + 1};
    if (const auto zeros = static_cast<unsigned>(std::countr_zero(divisor)); zeros != 0) {
        Magic halved = magic64(divisor >> zeros, bits - zeros);
        if (!halved.wide) {
            halved.pre = zeros;
            return halved;
        }
    }
    // 2m, rounded, with the 65th bit implied.
    const uint64_t more = rest * 2 >= divisor || rest * 2 < rest ? 1 : 0;
    return {.post = log, .multiplier = m * 2 + more + 1, .wide = true};
}

// What the code that is made of it computes.
constexpr uint64_t divide(uint64_t n, const Magic& magic) {
    n >>= magic.pre;
    auto high = static_cast<uint64_t>((static_cast<unsigned __int128>(n) * magic.multiplier) >> 64);
    if (magic.wide) high += (n - high) >> 1;
    return high >> magic.post;
}

static_assert(divide(UINT64_MAX, magic64(100)) == UINT64_MAX / 100 && !magic64(100).wide);
static_assert(divide(UINT64_MAX, magic64(7)) == UINT64_MAX / 7 && magic64(7).wide);
static_assert(divide(UINT64_MAX, magic64(UINT64_MAX)) == 1);
static_assert(divide(UINT64_MAX - 1, magic64(UINT64_MAX)) == 0);
static_assert(divide(UINT32_MAX, magic32(7)) == UINT32_MAX / 7);
static_assert(divide(UINT32_MAX, magic32(UINT32_MAX)) == 1);

}  // namespace skep::jit
