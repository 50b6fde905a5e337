// Bounds-checked little-endian reading of bytes from outside. Every parser of untrusted input reads
// through this: no read past the end is possible, and no sum of an offset and a length overflows.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

namespace skep {

using Bytes = std::span<const std::byte>;

class ByteView {
public:
    constexpr ByteView() = default;
    constexpr explicit ByteView(Bytes bytes) : bytes_(bytes) {}

    constexpr uint64_t size() const { return bytes_.size(); }
    constexpr bool empty() const { return bytes_.empty(); }
    constexpr Bytes bytes() const { return bytes_; }

    // True if [off, off + len) lies inside; never overflows.
    constexpr bool contains(uint64_t off, uint64_t len) const {
        return off <= bytes_.size() && len <= bytes_.size() - off;
    }

    // The little-endian integer or trivially copyable struct at `off`, or nothing.
    template <class T>
        requires std::is_trivially_copyable_v<T>
    std::optional<T> read(uint64_t off) const {
        if (!contains(off, sizeof(T))) return std::nullopt;
        T value;
        std::memcpy(&value, bytes_.data() + off, sizeof(T));
        return value;
    }

    std::optional<ByteView> sub(uint64_t off, uint64_t len) const {
        if (!contains(off, len)) return std::nullopt;
        return ByteView(bytes_.subspan(off, len));
    }

    // The NUL-terminated string at `off`, without its NUL; nothing if it does not end inside.
    std::optional<std::string_view> c_string(uint64_t off) const {
        if (off >= bytes_.size()) return std::nullopt;
        const char* begin = reinterpret_cast<const char*>(bytes_.data()) + off;
        const void* end = std::memchr(begin, 0, bytes_.size() - off);
        if (end == nullptr) return std::nullopt;
        return std::string_view(begin, static_cast<const char*>(end) - begin);
    }

private:
    Bytes bytes_;
};

// a + b, a * b, or nothing when the result does not fit.
template <std::unsigned_integral T>
constexpr std::optional<T> checked_add(T a, T b) {
    T sum{};
    if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
    return sum;
}
template <std::unsigned_integral T>
constexpr std::optional<T> checked_mul(T a, T b) {
    T product{};
    if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
    return product;
}

}  // namespace skep
