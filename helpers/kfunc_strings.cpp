// Kernel functions on strings, which may be anywhere: what is not readable gives -EFAULT, what does
// not end within 4 KiB -E2BIG.
#include <cstring>

#include "helpers/kfunc_impl.hpp"
#include "helpers/readable.hpp"

namespace skep::kfunc {

namespace {

using helper::kE2big;
using helper::kEfault;
using helper::kEnoent;
constexpr uint64_t kMaxString = 4096;

// Reads a string byte by byte through a window of readable memory.
class Reader {
public:
    Reader(const HelperEnv& env, uint64_t address) : env_(env), address_(address) {}

    // The byte at `index`; false if it cannot be read.
    bool at(uint64_t index, uint8_t& out) {
        if (index < start_ || index - start_ >= window_.size()) {
            window_ = readable_bytes(env_, address_ + index);
            start_ = index;
            if (window_.empty()) return false;
        }
        out = static_cast<uint8_t>(window_[index - start_]);
        return true;
    }

private:
    const HelperEnv& env_;
    uint64_t address_;
    uint64_t start_ = 0;
    std::span<const std::byte> window_;
};

uint8_t lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? static_cast<uint8_t>(c + 32) : c; }

int32_t compare(HelperEnv& env, uint64_t a, uint64_t b, bool ignore_case) {
    Reader left(env, a), right(env, b);
    if (!env.charge(1)) return 0;
    for (uint64_t i = 0; i < kMaxString; ++i) {
        uint8_t x = 0, y = 0;
        if (!left.at(i, x) || !right.at(i, y)) return kEfault;
        if (ignore_case) x = lower(x), y = lower(y);
        if (x != y) return x < y ? -1 : 1;
        if (x == 0) return 0;
    }
    return kE2big;
}

// The index of the first byte among `count` for which stop(c) holds; what to return at the NUL
// (`at_end`: -1 = the index), and where the limits end the search.
template <class Stop>
int32_t scan(HelperEnv& env, uint64_t s, uint64_t count, bool end_is_found, int32_t at_limit,
             Stop stop) {
    Reader text(env, s);
    if (!env.charge(1)) return 0;
    for (uint64_t i = 0; i < kMaxString && i < count; ++i) {
        uint8_t c = 0;
        if (!text.at(i, c)) return kEfault;
        if (stop(c)) return static_cast<int32_t>(i);
        if (c == 0) return end_is_found ? static_cast<int32_t>(i) : static_cast<int32_t>(kEnoent);
    }
    if (count <= kMaxString) return at_limit;
    return kE2big;
}

// Whether `c` is in the string `set`; an errno if the set cannot be read.
int32_t contains(const HelperEnv& env, uint64_t set, uint8_t c) {
    Reader accepted(env, set);
    for (uint64_t i = 0; i < kMaxString; ++i) {
        uint8_t one = 0;
        if (!accepted.at(i, one)) return kEfault;
        if (one == 0) return 0;
        if (one == c) return 1;
    }
    return kE2big;
}

// Bytes at the start of `s` that are, or are not, in `set`.
int32_t span(HelperEnv& env, uint64_t s, uint64_t set, int32_t wanted) {
    Reader text(env, s);
    for (uint64_t i = 0; i < kMaxString; ++i) {
        uint8_t c = 0;
        if (!text.at(i, c)) return kEfault;
        if (c == 0) return static_cast<int32_t>(i);
        if (!env.charge(1)) return 0;
        const int32_t found = contains(env, set, c);
        if (found < 0) return found;
        if (found != wanted) return static_cast<int32_t>(i);
    }
    return kE2big;
}

int32_t find(HelperEnv& env, uint64_t text, uint64_t word, uint64_t length) {
    Reader haystack(env, text), needle(env, word);
    for (uint64_t i = 0; i < kMaxString; ++i) {
        if (!env.charge(1)) return 0;
        for (uint64_t j = 0;; ++j) {
            if (j == kMaxString) return kE2big;
            uint8_t wanted = 0, c = 0;
            if (!needle.at(j, wanted)) return kEfault;
            if (wanted == 0) return static_cast<int32_t>(i);
            // The whole word must lie within `length` bytes.
            if (i + j >= length) return kEnoent;
            if (!haystack.at(i + j, c)) return kEfault;
            if (c != wanted) {
                if (c == 0) return kEnoent;
                break;
            }
        }
    }
    return kE2big;
}

}  // namespace

int32_t bpf_strcmp(HelperEnv& env, uint64_t a, uint64_t b) noexcept {
    return compare(env, a, b, false);
}

int32_t bpf_strcasecmp(HelperEnv& env, uint64_t a, uint64_t b) noexcept {
    return compare(env, a, b, true);
}

int32_t bpf_strlen(HelperEnv& env, uint64_t s) noexcept { return bpf_strnlen(env, s, UINT64_MAX); }

int32_t bpf_strnlen(HelperEnv& env, uint64_t s, uint64_t count) noexcept {
    return scan(env, s, count, true, static_cast<int32_t>(count), [](uint8_t) { return false; });
}

int32_t bpf_strchr(HelperEnv& env, uint64_t s, char c) noexcept {
    return bpf_strnchr(env, s, UINT64_MAX, c);
}

int32_t bpf_strnchr(HelperEnv& env, uint64_t s, uint64_t count, char c) noexcept {
    return scan(env, s, count, false, kEnoent,
                [c](uint8_t byte) { return byte == static_cast<uint8_t>(c); });
}

int32_t bpf_strchrnul(HelperEnv& env, uint64_t s, char c) noexcept {
    return scan(env, s, UINT64_MAX, true, kEnoent,
                [c](uint8_t byte) { return byte == static_cast<uint8_t>(c); });
}

int32_t bpf_strrchr(HelperEnv& env, uint64_t s, int32_t c) noexcept {
    Reader text(env, s);
    if (!env.charge(1)) return 0;
    int32_t last = kEnoent;
    for (uint64_t i = 0; i < kMaxString; ++i) {
        uint8_t byte = 0;
        if (!text.at(i, byte)) return kEfault;
        if (byte == static_cast<uint8_t>(c)) last = static_cast<int32_t>(i);
        if (byte == 0) return last;
    }
    return kE2big;
}

int32_t bpf_strspn(HelperEnv& env, uint64_t s, uint64_t accept) noexcept {
    return span(env, s, accept, 1);
}

int32_t bpf_strcspn(HelperEnv& env, uint64_t s, uint64_t reject) noexcept {
    return span(env, s, reject, 0);
}

int32_t bpf_strstr(HelperEnv& env, uint64_t text, uint64_t word) noexcept {
    return find(env, text, word, UINT64_MAX);
}

int32_t bpf_strnstr(HelperEnv& env, uint64_t text, uint64_t word, uint64_t length) noexcept {
    return find(env, text, word, length);
}

}  // namespace skep::kfunc
