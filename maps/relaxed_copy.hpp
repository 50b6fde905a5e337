// Copies of bytes that other threads may be writing: values, and guest memory in general.
//
// Programs may race on value bytes as they may in Linux; for C++ a race must be made of atomics.
// Every access here is a relaxed atomic of the widest width that both addresses allow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_THREAD__)
#define SKEP_TSAN
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SKEP_TSAN
#endif
#endif

namespace skep {

namespace detail {
template <class Word>
inline void copy_words(std::byte* to, const std::byte* from, size_t bytes) noexcept {
    for (size_t i = 0; i + sizeof(Word) <= bytes; i += sizeof(Word)) {
        const Word word =
            __atomic_load_n(reinterpret_cast<const Word*>(from + i), __ATOMIC_RELAXED);
        __atomic_store_n(reinterpret_cast<Word*>(to + i), word, __ATOMIC_RELAXED);
    }
}
}  // namespace detail

inline void relaxed_copy(std::byte* to, const std::byte* from, size_t bytes) noexcept {
    const uintptr_t mixed = reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from);
    size_t done = 0;
    if ((mixed & 7) == 0) [[likely]] {
        done = bytes & ~size_t{7};
        detail::copy_words<uint64_t>(to, from, done);
    }
    if ((mixed & 3) == 0) {
        const size_t words = (bytes - done) & ~size_t{3};
        detail::copy_words<uint32_t>(to + done, from + done, words);
        done += words;
    }
    detail::copy_words<uint8_t>(to + done, from + done, bytes - done);
}

// `to` must be aligned to 8 bytes.
inline void relaxed_zero(std::byte* to, size_t bytes) noexcept {
    size_t i = 0;
    for (; i + 8 <= bytes; i += 8) {
        __atomic_store_n(reinterpret_cast<uint64_t*>(to + i), uint64_t{0}, __ATOMIC_RELAXED);
    }
    for (; i < bytes; ++i) {
        __atomic_store_n(reinterpret_cast<uint8_t*>(to + i), uint8_t{0}, __ATOMIC_RELAXED);
    }
}

// `to` is aligned for Word.
template <class Word>
inline void relaxed_store(std::byte* to, Word value) noexcept {
    __atomic_store_n(reinterpret_cast<Word*>(to), value, __ATOMIC_RELAXED);
}

template <class Word>
inline Word relaxed_load(const std::byte* from) noexcept {
#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(SKEP_TSAN)
    // One load wherever it lies, which these hosts make of an aligned one too.
    struct [[gnu::packed, gnu::may_alias]] Anywhere {
        Word word;
    };
    return reinterpret_cast<const volatile Anywhere*>(from)->word;
#else
    if ((reinterpret_cast<uintptr_t>(from) & (sizeof(Word) - 1)) == 0) [[likely]] {
        return __atomic_load_n(reinterpret_cast<const Word*>(from), __ATOMIC_RELAXED);
    }
    Word word{};
    relaxed_copy(reinterpret_cast<std::byte*>(&word), from, sizeof(word));
    return word;
#endif
}

}  // namespace skep
