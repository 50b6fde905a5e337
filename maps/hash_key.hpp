// Keys of hash maps by size: how they are read once, hashed, compared and stored.
//
// A key is a row of 64-bit words, the last one filled up with zeros. The hash folds the 128-bit
// product of two words and secrets drawn per map (unless BPF_F_ZERO_SEED), so that who chooses the
// keys cannot choose the buckets; keys beyond two words go through two chains of that step, which
// the processor runs side by side.
//
// Lookups come through FixedKey, which knows the size when it is compiled; it hashes and stores as
// the policy of its size class does.
#pragma once

#include <array>
#include <bit>
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

constexpr uint32_t key_words(uint32_t size) noexcept { return (size + 7) / 8; }

// The hash of a key whose n-th word is word(n).
template <class WordAt>
inline uint64_t hash_words(WordAt word, uint32_t words, const HashSecret& s) noexcept {
    if (words == 1) return fold(word(0) ^ s.a, s.b);
    if (words == 2) return fold(word(0) ^ s.a, word(1) ^ s.b);
    uint64_t one = s.c, other = std::rotl(s.c, 32);
    for (uint32_t i = 0; i < words; i += 4) {
        one = fold(word(i) ^ s.a, (i + 1 < words ? word(i + 1) : 0) ^ one);
        if (i + 2 < words)
            other = fold(word(i + 2) ^ s.b, (i + 3 < words ? word(i + 3) : 0) ^ other);
    }
    return one ^ std::rotl(other, 29);
}

namespace detail {

// `kBytes` (1..8) bytes by pieces of at most four: programs put keys together from smaller fields,
// and a load that is wider than the last store waits until that store has reached the cache.
template <uint32_t kBytes>
inline uint64_t load_pieces(const std::byte* key) noexcept {
    constexpr uint32_t kFour = kBytes / 4 * 4, kTwo = kFour + kBytes % 4 / 2 * 2;
    uint64_t word = 0;
    if constexpr (kFour >= 4) word = relaxed_load<uint32_t>(key);
    if constexpr (kFour == 8) word |= uint64_t{relaxed_load<uint32_t>(key + 4)} << 32;
    if constexpr (kTwo != kFour) word |= uint64_t{relaxed_load<uint16_t>(key + kFour)} << 8 * kFour;
    if constexpr (kBytes % 2 != 0) word |= uint64_t{relaxed_load<uint8_t>(key + kTwo)} << 8 * kTwo;
    return word;
}

}  // namespace detail

template <uint32_t kSize>
inline std::array<uint64_t, key_words(kSize)> load_words(const std::byte* key) noexcept {
    constexpr uint32_t kWords = key_words(kSize), kWhole = kWords - 1;
    std::array<uint64_t, kWords> words;
    for (uint32_t i = 0; i < kWhole; ++i) words[i] = detail::load_pieces<8>(key + size_t{8} * i);
    words[kWhole] = detail::load_pieces<kSize - 8 * kWhole>(key + size_t{8} * kWhole);
    return words;
}

// The n-th word of a key as policies store it.
inline uint64_t stored_word(const std::byte* stored, uint32_t n) noexcept {
    uint64_t word = 0;
    std::memcpy(&word, stored + size_t{8} * n, sizeof(word));
    return word;
}

template <size_t kWords>
inline bool equal_words(const std::array<uint64_t, kWords>& key, const std::byte* stored) noexcept {
    uint64_t difference = 0;
    for (uint32_t i = 0; i < kWords; ++i) difference |= key[i] ^ stored_word(stored, i);
    return difference == 0;
}

// Key policies. Held: what a key is while it is used; it no longer depends on the caller's memory,
// except for long keys, whose caller owns a copy. kCopied: whether load() made that copy.

// Of four bytes.
struct WordKey {
    using Held = uint32_t;
    static constexpr bool kCopied = true;
    static Held load(const std::byte* key, uint32_t) noexcept {
        return relaxed_load<uint32_t>(key);
    }
    static uint64_t hash(Held key, uint32_t, const HashSecret& s) noexcept {
        return fold(uint64_t{key} ^ s.a, s.b);
    }
    static bool equal(Held key, const std::byte* stored, uint32_t) noexcept {
        Held other{};
        std::memcpy(&other, stored, sizeof(other));
        return other == key;
    }
    static void store(Held key, std::byte* to, uint32_t) noexcept {
        std::memcpy(to, &key, sizeof(key));
    }
    static constexpr uint64_t stride(uint32_t) noexcept { return sizeof(Held); }
};

// Of one word, or of two: of 8 * kWords - 7 to 8 * kWords bytes.
template <uint32_t kWords>
struct ShortKey {
    using Held = std::array<uint64_t, kWords>;
    static constexpr bool kCopied = true;
    static Held load(const std::byte* key, uint32_t size) noexcept {
        constexpr uint32_t kFirst = 8 * kWords - 7;
        switch (size - kFirst) {
            case 0: return load_words<kFirst>(key);
            case 1: return load_words<kFirst + 1>(key);
            case 2: return load_words<kFirst + 2>(key);
            case 3: return load_words<kFirst + 3>(key);
            case 4: return load_words<kFirst + 4>(key);
            case 5: return load_words<kFirst + 5>(key);
            case 6: return load_words<kFirst + 6>(key);
            default: return load_words<kFirst + 7>(key);
        }
    }
    static uint64_t hash(const Held& key, uint32_t, const HashSecret& s) noexcept {
        return hash_words([&](uint32_t i) { return key[i]; }, kWords, s);
    }
    static bool equal(const Held& key, const std::byte* stored, uint32_t) noexcept {
        return equal_words(key, stored);
    }
    static void store(const Held& key, std::byte* to, uint32_t) noexcept {
        std::memcpy(to, key.data(), sizeof(key));
    }
    static constexpr uint64_t stride(uint32_t) noexcept { return 8 * kWords; }
};

// Of any size.
struct BytesKey {
    using Held = const std::byte*;
    static constexpr bool kCopied = false;
    static Held load(const std::byte* key, uint32_t) noexcept { return key; }
    static uint64_t hash(Held key, uint32_t size, const HashSecret& s) noexcept {
        return hash_words([&](uint32_t i) { return word(key, size, i); }, key_words(size), s);
    }
    static bool equal(Held key, const std::byte* stored, uint32_t size) noexcept {
        for (uint32_t i = 0; i < key_words(size); ++i) {
            if (word(key, size, i) != stored_word(stored, i)) return false;
        }
        return true;
    }
    // What fills the last word up is zero from the start.
    static void store(Held key, std::byte* to, uint32_t size) noexcept {
        relaxed_copy(to, key, size);
    }
    static constexpr uint64_t stride(uint32_t size) noexcept { return 8 * key_words(size); }

private:
    static uint64_t word(const std::byte* key, uint32_t size, uint32_t n) noexcept {
        const uint32_t at = 8 * n;
        if (at + 8 <= size) return detail::load_pieces<8>(key + at);
        uint64_t last = 0;
        for (uint32_t i = at; i < size; ++i) {
            last |= uint64_t{relaxed_load<uint8_t>(key + i)} << 8 * (i - at);
        }
        return last;
    }
};

// For lookups of keys of `kSize` bytes, in tables of the policy of that size.
template <uint32_t kSize>
struct FixedKey {
    using Held = std::array<uint64_t, key_words(kSize)>;
    static Held load(const std::byte* key, uint32_t) noexcept { return load_words<kSize>(key); }
    static uint64_t hash(const Held& key, uint32_t, const HashSecret& s) noexcept {
        return hash_words([&](uint32_t i) { return key[i]; }, key_words(kSize), s);
    }
    static bool equal(const Held& key, const std::byte* stored, uint32_t) noexcept {
        return equal_words(key, stored);
    }
    static constexpr uint64_t stride(uint32_t) noexcept { return 8 * key_words(kSize); }
};

}  // namespace skep
