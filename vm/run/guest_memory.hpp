// Guest memory: the one accessor through which engines written in C++ touch bytes that programs may
// share, and the translation of guest addresses.
//
// Guest programs may race with each other on map values by design. A plain C++ access would make
// that race undefined behaviour of the host, so every access is a volatile access of exactly the
// guest's width: one load or store instruction, never split, merged or repeated by the compiler.
// Under ThreadSanitizer, which does not know that convention, the same accesses are relaxed
// atomics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "helpers/env.hpp"

#if defined(__SANITIZE_THREAD__)
#define SKEP_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SKEP_TSAN 1
#endif
#endif

namespace skep::guest {

template <class T>
struct [[gnu::packed, gnu::may_alias]] Unaligned {
    T value;
};

template <class T>
inline T load(const void* address) noexcept {
#ifdef SKEP_TSAN
    if (reinterpret_cast<uintptr_t>(address) % sizeof(T) == 0)
        return __atomic_load_n(static_cast<const T*>(address), __ATOMIC_RELAXED);
    T value{};
    for (size_t i = 0; i < sizeof(T); ++i) {
        const auto byte =
            __atomic_load_n(static_cast<const uint8_t*>(address) + i, __ATOMIC_RELAXED);
        std::memcpy(reinterpret_cast<uint8_t*>(&value) + i, &byte, 1);
    }
    return value;
#else
    return static_cast<const volatile Unaligned<T>*>(address)->value;
#endif
}

template <class T>
inline void store(void* address, T value) noexcept {
#ifdef SKEP_TSAN
    if (reinterpret_cast<uintptr_t>(address) % sizeof(T) == 0) {
        __atomic_store_n(static_cast<T*>(address), value, __ATOMIC_RELAXED);
        return;
    }
    for (size_t i = 0; i < sizeof(T); ++i) {
        uint8_t byte = 0;
        std::memcpy(&byte, reinterpret_cast<const uint8_t*>(&value) + i, 1);
        __atomic_store_n(static_cast<uint8_t*>(address) + i, byte, __ATOMIC_RELAXED);
    }
#else
    static_cast<volatile Unaligned<T>*>(address)->value = value;
#endif
}

// The host address of `size` readable (or writable) bytes at guest address `address`, or null.
template <bool kWrite>
[[gnu::always_inline]] inline std::byte* translate(const Region* regions, uint32_t count,
                                                   uint64_t address, uint64_t size) noexcept {
    const uint64_t number = address >> 32;
    if (number >= count) [[unlikely]]
        return nullptr;
    const Region& region = regions[number];
    const uint64_t distance = static_cast<uint32_t>(static_cast<uint32_t>(address) - region.lo);
    if (distance + size > (kWrite ? region.writable : region.readable)) [[unlikely]]
        return nullptr;
    return region.base + distance;
}

}  // namespace skep::guest
