// The format strings of bpf_printk, bpf_snprintf and bpf_seq_printf, by Linux's rules.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "helpers/env.hpp"

namespace skep {

inline constexpr size_t kMaxPrinted = 1024;  // bytes of one printed line
inline constexpr size_t kMaxPrintValues = 12;

// 0, or -22 for a format that Linux refuses: unknown conversions, more of them than `values`, bytes
// that do not print. `format` has no NUL inside.
int64_t check_format(std::span<const char> format, size_t values) noexcept;

// Prints `format` (no NUL inside) with `values` into `out`, cut to its size with a NUL at the end.
// Returns the length of the whole text without NUL, or a negative errno: -22 for a format that
// check_format() refuses, -28 when the printed strings exceed what one call may hold.
int64_t print_format(const HelperEnv& env, std::span<const char> format,
                     std::span<const uint64_t> values, std::span<char> out) noexcept;

}  // namespace skep
