// An object as text in the shape of its BTF type, as Linux's bpf_snprintf_btf prints it:
//   (struct sk_buff){ .len = (unsigned int)84, .data = (unsigned char *)0xffff..., }
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace skep {

class Btf;

namespace btf_print {
inline constexpr uint64_t kCompact = 1, kNoName = 2, kRawPointers = 4, kZero = 8;
inline constexpr uint64_t kKnown = 15;
}  // namespace btf_print

inline constexpr size_t kMaxBtfText = 1 << 20;

// `bytes` is the object, at least as long as its type. Members that are zero are left out unless
// kZero is given. The text is cut at `limit` bytes (at most kMaxBtfText); nesting is bounded.
std::string print_btf(const Btf& btf, uint32_t type, std::span<const std::byte> bytes,
                      uint64_t flags, size_t limit);

}  // namespace skep
