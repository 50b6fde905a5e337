// Iterators over numbers and over the set bits of words.
//
// Their state lies on the program's stack. A verified program cannot touch it; a sandboxed one may
// write there what it likes, so every call takes it as any value it may be.
#include <bit>
#include <cstring>

#include "helpers/kfunc_impl.hpp"
#include "helpers/readable.hpp"

namespace skep::kfunc {

namespace {

using helper::kE2big;
using helper::kEfault;
using helper::kEinval;

template <class T>
T load(const std::byte* at) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
}
template <class T>
void store(std::byte* at, const T& value) {
    std::memcpy(at, &value, sizeof value);
}

// [current + 1, end): the element that next() gave last, and where it ends.
struct Numbers {
    int32_t current = 0, end = 0;
};
static_assert(sizeof(Numbers) == 8);
constexpr int64_t kMaxNumbers = int64_t{1} << 23;

// Linux keeps up to 511 words; more than one lie in memory that it allocates. Here the words are
// read from where they are, at each step: the address, the bit that comes next, how many bits.
struct Bits {
    uint64_t words = 0;  // address as the program names it, or the word itself
    uint16_t next = 0;
    uint16_t count = 0;  // bits
    int32_t bit = 0;     // what next() gave last
};
static_assert(sizeof(Bits) == 16);
constexpr uint32_t kMaxWords = 511;

}  // namespace

int32_t bpf_iter_num_new(HelperEnv&, StackObject<8> it, int32_t start, int32_t end) noexcept {
    store(it.data, Numbers{});
    if (start > end) return kEinval;
    if (int64_t{end} - start > kMaxNumbers) return kE2big;
    // One before the first: wraps for the smallest number, and next() wraps back.
    store(it.data, Numbers{static_cast<int32_t>(static_cast<uint32_t>(start) - 1), end});
    return 0;
}

DynptrMemResult bpf_iter_num_next(HelperEnv&, StackObject<8> it) noexcept {
    auto numbers = load<Numbers>(it.data);
    const auto next = static_cast<int32_t>(static_cast<uint32_t>(numbers.current) + 1);
    if (next >= numbers.end) {
        store(it.data, Numbers{});
        return {nullptr};
    }
    numbers.current = next;
    store(it.data, numbers);
    return {it.data};
}

void bpf_iter_num_destroy(HelperEnv&, StackObject<8> it) noexcept { store(it.data, Numbers{}); }

int32_t bpf_iter_bits_new(HelperEnv& env, StackObject<16> it, uint64_t words,
                          uint32_t count) noexcept {
    store(it.data, Bits{});
    if (words == 0 || count == 0) return kEinval;
    if (count > kMaxWords) return kE2big;
    uint64_t first = 0;
    for (uint32_t i = 0; i < count; ++i)
        if (!read_bytes(env, words + uint64_t{i} * 8, reinterpret_cast<std::byte*>(&first), 8))
            return kEfault;
    Bits bits{words, 0, static_cast<uint16_t>(count * 64), 0};
    if (count == 1) bits.words = first;
    store(it.data, bits);
    return 0;
}

DynptrMemResult bpf_iter_bits_next(HelperEnv& env, StackObject<16> it) noexcept {
    auto bits = load<Bits>(it.data);
    const uint32_t count = bits.count;
    for (uint32_t at = bits.next; at < count; at = (at / 64 + 1) * 64) {
        uint64_t word = bits.words;
        if (count > 64 &&
            !read_bytes(env, bits.words + at / 64 * 8, reinterpret_cast<std::byte*>(&word), 8))
            break;
        word &= ~uint64_t{0} << at % 64;
        if (word == 0) continue;
        const uint32_t found = at / 64 * 64 + static_cast<uint32_t>(std::countr_zero(word));
        if (found >= count) break;
        bits.next = static_cast<uint16_t>(found + 1);
        bits.bit = static_cast<int32_t>(found);
        store(it.data, bits);
        return {it.data + offsetof(Bits, bit)};
    }
    store(it.data, Bits{});
    return {nullptr};
}

void bpf_iter_bits_destroy(HelperEnv&, StackObject<16> it) noexcept { store(it.data, Bits{}); }

}  // namespace skep::kfunc
