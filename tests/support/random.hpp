// A small random number generator whose sequence is the same everywhere, so that a printed seed
// reproduces a failure on any machine (SplitMix64, Steele et al., OOPSLA 2014).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

namespace skep::test {

class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
    // 0 to n - 1.
    uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 32) * n >> 32); }
    int64_t between(int64_t low, int64_t high) {
        return low + static_cast<int64_t>(next() % static_cast<uint64_t>(high - low + 1));
    }
    bool chance(unsigned percent) { return below(100) < percent; }
    template <class T, size_t N>
    const T& pick(const T (&values)[N]) {
        return values[below(N)];
    }
    template <class T>
    const T& pick(std::span<const T> values) {
        return values[below(static_cast<uint32_t>(values.size()))];
    }

private:
    uint64_t state_;
};

// SKEP_SEED from the environment, otherwise `fallback`; tests print it on failure.
inline uint64_t seed_or(uint64_t fallback) {
    const char* text = std::getenv("SKEP_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 0) : fallback;
}

// SKEP_ROUNDS from the environment, for long runs by hand, otherwise `fallback`.
inline size_t rounds_or(size_t fallback) {
    const char* text = std::getenv("SKEP_ROUNDS");
    return text != nullptr ? std::strtoull(text, nullptr, 0) : fallback;
}

// Whether the long soaks are wanted: SKEP_LONG is set, and not to 0.
inline bool is_long_run() {
    const char* text = std::getenv("SKEP_LONG");
    return text != nullptr && *text != '\0' && std::string_view(text) != "0";
}

}  // namespace skep::test
