// Keys of hash maps by size: how they are read once, hashed, compared and stored.
//
// The hash folds the 128-bit product of key and secret; both factors depend on secrets drawn per
// map (unless BPF_F_ZERO_SEED), so that who chooses the keys cannot choose the buckets. Longer keys
// chain the same step over 16-byte blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "maps/relaxed_copy.hpp"

namespace skep {

struct HashSecret {
    uint64_t a = 0x9e3779b97f4a7c15;  // of the golden ratio
    uint64_t b = 0xd1b54a32d192ed03;  // of the plastic number's generalisation
    uint64_t c = 0x8cb92ba72f3d8dd7;
};

inline uint64_t fold(uint64_t x, uint64_t y) noexcept {
    const auto product = static_cast<unsigned __int128>(x) * y;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// Eight key bytes, read by halves: programs put keys together from smaller fields, and a load that
// is wider than the last store waits until that store has reached the cache.
inline uint64_t load_by_halves(const std::byte* key) noexcept {
    return relaxed_load<uint32_t>(key) | uint64_t{relaxed_load<uint32_t>(key + 4)} << 32;
}

// Key policies. Held: what a key is while it is used; it no longer depends on the caller's memory,
// except for long keys, whose caller owns a copy.
template <class Word>
struct WordKey {
    using Held = Word;
    static constexpr uint32_t kSize = sizeof(Word);
    static Held load(const std::byte* key, uint32_t) noexcept {
        if constexpr (sizeof(Word) == 8) return load_by_halves(key);
        return relaxed_load<Word>(key);
    }
    static uint64_t hash(Held key, uint32_t, const HashSecret& s) noexcept {
        return fold(uint64_t{key} ^ s.a, s.b);
    }
    static bool equal(Held key, const std::byte* stored, uint32_t) noexcept {
        Word other{};
        std::memcpy(&other, stored, sizeof(other));
        return other == key;
    }
    static void store(Held key, std::byte* to, uint32_t) noexcept {
        std::memcpy(to, &key, sizeof(key));
    }
    static constexpr uint64_t stride(uint32_t) noexcept { return sizeof(Word); }
};

struct PairKey {
    struct Held {
        uint64_t low = 0, high = 0;
    };
    static constexpr uint32_t kSize = 16;
    static Held load(const std::byte* key, uint32_t) noexcept {
        return {load_by_halves(key), load_by_halves(key + 8)};
    }
    static uint64_t hash(Held key, uint32_t, const HashSecret& s) noexcept {
        return fold(fold(key.low ^ s.a, key.high ^ s.b) ^ s.c, s.b);
    }
    static bool equal(Held key, const std::byte* stored, uint32_t) noexcept {
        Held other;
        std::memcpy(&other, stored, sizeof(other));
        return ((other.low ^ key.low) | (other.high ^ key.high)) == 0;
    }
    static void store(Held key, std::byte* to, uint32_t) noexcept {
        std::memcpy(to, &key, sizeof(key));
    }
    static constexpr uint64_t stride(uint32_t) noexcept { return 16; }
};

struct BytesKey {
    using Held = const std::byte*;
    static constexpr uint32_t kSize = 0;  // any
    static Held load(const std::byte* key, uint32_t) noexcept { return key; }
    static uint64_t hash(Held key, uint32_t size, const HashSecret& s) noexcept {
        uint64_t state = s.c ^ size;
        uint32_t at = 0;
        for (; size - at > 16; at += 16) {
            state = fold(load_by_halves(key + at) ^ s.a, load_by_halves(key + at + 8) ^ state);
        }
        uint64_t tail[2] = {0, 0};
        if (size - at == 8) {
            tail[0] = load_by_halves(key + at);
        } else if (size - at == 16) {
            tail[0] = load_by_halves(key + at);
            tail[1] = load_by_halves(key + at + 8);
        } else {
            relaxed_copy(reinterpret_cast<std::byte*>(tail), key + at, size - at);
        }
        state = fold(tail[0] ^ s.a, tail[1] ^ state);
        return fold(state ^ s.c, s.b);
    }
    static bool equal(Held key, const std::byte* stored, uint32_t size) noexcept {
        uint32_t i = 0;
        for (; i + 8 <= size; i += 8) {
            uint64_t other = 0;
            std::memcpy(&other, stored + i, 8);
            if (other != load_by_halves(key + i)) return false;
        }
        for (; i < size; ++i) {
            if (stored[i] != std::byte{relaxed_load<uint8_t>(key + i)}) return false;
        }
        return true;
    }
    static void store(Held key, std::byte* to, uint32_t size) noexcept {
        relaxed_copy(to, key, size);
    }
    static constexpr uint64_t stride(uint32_t size) noexcept { return (size + 7u) & ~7u; }
};

}  // namespace skep
