// The Internet checksum (RFC 1071) and its incremental update (RFC 1624), with 32-bit partial sums
// as Linux's helpers exchange them. All sums are over 16-bit words in memory order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace skep::checksum {

constexpr uint32_t add(uint32_t a, uint32_t b) {
    const uint64_t sum = uint64_t{a} + b;
    return static_cast<uint32_t>(sum) + static_cast<uint32_t>(sum >> 32);
}
constexpr uint32_t sub(uint32_t a, uint32_t b) { return add(a, ~b); }

// 32 bits to 16, carries included.
constexpr uint16_t fold(uint32_t sum) {
    sum = (sum >> 16) + (sum & 0xffff);
    return static_cast<uint16_t>(sum + (sum >> 16));
}

// The partial sum of bytes, added to `seed`. An odd last byte counts as if a zero followed.
inline uint32_t partial(std::span<const std::byte> bytes, uint32_t seed) {
    uint64_t sum = seed;
    size_t i = 0;
    for (; i + 4 <= bytes.size(); i += 4) {
        uint32_t word = 0;
        std::memcpy(&word, bytes.data() + i, 4);
        sum += word;
    }
    uint32_t rest = 0;
    if (i < bytes.size()) std::memcpy(&rest, bytes.data() + i, bytes.size() - i);
    sum += rest;
    sum = (sum >> 32) + (sum & 0xffffffff);
    return add(static_cast<uint32_t>(sum), static_cast<uint32_t>(sum >> 32));
}

// A header's checksum after a change that adds `diff` to the sum of what it covers.
constexpr uint16_t apply(uint16_t check, uint32_t diff) {
    const auto sum = static_cast<uint32_t>(static_cast<uint16_t>(~check));
    return static_cast<uint16_t>(~fold(add(diff, sum)));
}
// The same after a field changed from `from` to `to`.
constexpr uint16_t replace(uint16_t check, uint32_t from, uint32_t to) {
    const auto sum = static_cast<uint32_t>(static_cast<uint16_t>(~check));
    return static_cast<uint16_t>(~fold(add(sub(sum, from), to)));
}

}  // namespace skep::checksum
