// Kernel functions on masks of CPUs. A bpf_cpumask that a program makes lies in the heap of
// objects; a kernel's cpumask, such as a task's, is read by look-up. Bits beyond the CPUs that
// programs see are zero, and are not set.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <new>

#include "helpers/kfunc_impl.hpp"
#include "helpers/objects.hpp"
#include "helpers/readable.hpp"
#include "vm/sync/slots.hpp"

namespace skep::kfunc {

namespace {

constexpr uint32_t kMaxCpus = 4096;  // as many as there are slots at most
constexpr uint32_t kWords = kMaxCpus / 64;
// struct bpf_cpumask of a kernel for 8192 CPUs: a mask, a count of references.
constexpr uint32_t kObjectBytes = 1024 + 8;

using Mask = std::array<uint64_t, kWords>;

uint32_t cpus() noexcept { return std::min(sync::slot_count(), kMaxCpus); }
uint32_t words() noexcept { return (cpus() + 63) / 64; }
// The bits of word `index` that stand for CPUs.
uint64_t valid_bits(uint32_t index) noexcept {
    const uint32_t left = cpus() - index * 64;
    return left >= 64 ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
}

// What a program may read as a mask; false: nothing is there, which counts as empty.
bool load(const HelperEnv& env, uint64_t value, Mask& mask) noexcept {
    mask.fill(0);
    const bool there =
        read_bytes(env, value, reinterpret_cast<std::byte*>(mask.data()), uint64_t{words()} * 8);
    for (uint32_t i = 0; i < words(); ++i) mask[i] &= valid_bits(i);
    return there;
}

// A mask that the program made, to write to; null and a trap: it is none.
std::byte* own_mask(HelperEnv& env, uint64_t value) noexcept {
    ObjectHeap* heap = objects::heap_of(env);
    if (heap == nullptr) return nullptr;
    std::byte* at = objects::in_object(env, value);
    if (at != nullptr && heap->object_of(at) == at && heap->object_bytes(at) >= kObjectBytes)
        return at;
    objects::refused(env);
    return nullptr;
}
std::atomic_ref<uint64_t> word(std::byte* mask, uint32_t index) noexcept {
    return std::atomic_ref<uint64_t>(reinterpret_cast<uint64_t*>(mask)[index]);
}
void store(HelperEnv& env, uint64_t to, const Mask& mask) noexcept {
    std::byte* own = own_mask(env, to);
    for (uint32_t i = 0; own != nullptr && i < words(); ++i)
        word(own, i).store(mask[i], std::memory_order_relaxed);
}

uint32_t first_of(const Mask& mask) noexcept {
    for (uint32_t i = 0; i < words(); ++i)
        if (mask[i] != 0) return i * 64 + static_cast<uint32_t>(std::countr_zero(mask[i]));
    return cpus();
}
bool is_empty(const Mask& mask) noexcept { return first_of(mask) == cpus(); }

template <class Combine>
Mask combined(const HelperEnv& env, uint64_t a, uint64_t b, Combine combine) noexcept {
    Mask left, right;
    load(env, a, left);
    load(env, b, right);
    for (uint32_t i = 0; i < words(); ++i) left[i] = combine(left[i], right[i]);
    return left;
}
Mask both(const HelperEnv& env, uint64_t a, uint64_t b) noexcept {
    return combined(env, a, b, [](uint64_t x, uint64_t y) { return x & y; });
}

}  // namespace

uint64_t bpf_cpumask_create(HelperEnv& env) noexcept {
    ObjectHeap* heap = objects::heap_of(env);
    if (heap == nullptr) return 0;
    try {
        auto layout = std::make_shared<ObjectLayout>();
        layout->size = kObjectBytes;
        layout->refcounted = true;
        std::byte* object = heap->allocate(std::move(layout));
        return object != nullptr && objects::hold(env, object) ? objects::shown(env, object) : 0;
    } catch (const std::bad_alloc&) {
        return 0;
    }
}

uint64_t bpf_cpumask_acquire(HelperEnv& env, uint64_t mask) noexcept {
    std::byte* own = own_mask(env, mask);
    if (own == nullptr || !env.heap->retain(own) || !objects::hold(env, own)) return 0;
    return mask;
}
void bpf_cpumask_release(HelperEnv& env, uint64_t mask) noexcept { objects::release(env, mask); }

uint32_t bpf_cpumask_first(HelperEnv& env, uint64_t mask) noexcept {
    Mask bits;
    load(env, mask, bits);
    return first_of(bits);
}
uint32_t bpf_cpumask_first_zero(HelperEnv& env, uint64_t mask) noexcept {
    Mask bits;
    load(env, mask, bits);
    for (uint32_t i = 0; i < words(); ++i) bits[i] = ~bits[i] & valid_bits(i);
    return first_of(bits);
}
uint32_t bpf_cpumask_first_and(HelperEnv& env, uint64_t a, uint64_t b) noexcept {
    return first_of(both(env, a, b));
}

void bpf_cpumask_set_cpu(HelperEnv& env, uint32_t cpu, uint64_t mask) noexcept {
    bpf_cpumask_test_and_set_cpu(env, cpu, mask);
}
void bpf_cpumask_clear_cpu(HelperEnv& env, uint32_t cpu, uint64_t mask) noexcept {
    bpf_cpumask_test_and_clear_cpu(env, cpu, mask);
}
bool bpf_cpumask_test_cpu(HelperEnv& env, uint32_t cpu, uint64_t mask) noexcept {
    Mask bits;
    return cpu < cpus() && load(env, mask, bits) && (bits[cpu / 64] >> cpu % 64 & 1) != 0;
}
bool bpf_cpumask_test_and_set_cpu(HelperEnv& env, uint32_t cpu, uint64_t mask) noexcept {
    std::byte* own = own_mask(env, mask);
    if (own == nullptr || cpu >= cpus()) return false;
    const uint64_t bit = uint64_t{1} << cpu % 64;
    return (word(own, cpu / 64).fetch_or(bit) & bit) != 0;
}
bool bpf_cpumask_test_and_clear_cpu(HelperEnv& env, uint32_t cpu, uint64_t mask) noexcept {
    std::byte* own = own_mask(env, mask);
    if (own == nullptr || cpu >= cpus()) return false;
    const uint64_t bit = uint64_t{1} << cpu % 64;
    return (word(own, cpu / 64).fetch_and(~bit) & bit) != 0;
}
void bpf_cpumask_setall(HelperEnv& env, uint64_t mask) noexcept {
    Mask bits{};
    for (uint32_t i = 0; i < words(); ++i) bits[i] = valid_bits(i);
    store(env, mask, bits);
}
void bpf_cpumask_clear(HelperEnv& env, uint64_t mask) noexcept { store(env, mask, Mask{}); }

bool bpf_cpumask_and(HelperEnv& env, uint64_t to, uint64_t a, uint64_t b) noexcept {
    const Mask bits = both(env, a, b);
    store(env, to, bits);
    return !is_empty(bits);
}
void bpf_cpumask_or(HelperEnv& env, uint64_t to, uint64_t a, uint64_t b) noexcept {
    store(env, to, combined(env, a, b, [](uint64_t x, uint64_t y) { return x | y; }));
}
void bpf_cpumask_xor(HelperEnv& env, uint64_t to, uint64_t a, uint64_t b) noexcept {
    store(env, to, combined(env, a, b, [](uint64_t x, uint64_t y) { return x ^ y; }));
}
void bpf_cpumask_copy(HelperEnv& env, uint64_t to, uint64_t from) noexcept {
    Mask bits;
    load(env, from, bits);
    store(env, to, bits);
}
bool bpf_cpumask_equal(HelperEnv& env, uint64_t a, uint64_t b) noexcept {
    return is_empty(combined(env, a, b, [](uint64_t x, uint64_t y) { return x ^ y; }));
}
bool bpf_cpumask_intersects(HelperEnv& env, uint64_t a, uint64_t b) noexcept {
    return !is_empty(both(env, a, b));
}
bool bpf_cpumask_subset(HelperEnv& env, uint64_t a, uint64_t b) noexcept {
    return is_empty(combined(env, a, b, [](uint64_t x, uint64_t y) { return x & ~y; }));
}
bool bpf_cpumask_empty(HelperEnv& env, uint64_t mask) noexcept {
    return bpf_cpumask_first(env, mask) == cpus();
}
bool bpf_cpumask_full(HelperEnv& env, uint64_t mask) noexcept {
    return bpf_cpumask_first_zero(env, mask) == cpus();
}
// Linux goes on from where it was last; here it is always the first.
uint32_t bpf_cpumask_any_distribute(HelperEnv& env, uint64_t mask) noexcept {
    return bpf_cpumask_first(env, mask);
}
uint32_t bpf_cpumask_any_and_distribute(HelperEnv& env, uint64_t a, uint64_t b) noexcept {
    return bpf_cpumask_first_and(env, a, b);
}
uint32_t bpf_cpumask_weight(HelperEnv& env, uint64_t mask) noexcept {
    Mask bits;
    load(env, mask, bits);
    int count = 0;
    for (const uint64_t one : bits) count += std::popcount(one);
    return static_cast<uint32_t>(count);
}
int32_t bpf_cpumask_populate(HelperEnv& env, uint64_t mask, ReadMem from) noexcept {
    constexpr int32_t kEacces = -13;
    if (from.size < uint64_t{words()} * 8) return kEacces;
    Mask bits{};
    std::memcpy(bits.data(), from.data, uint64_t{words()} * 8);
    for (uint32_t i = 0; i < words(); ++i) bits[i] &= valid_bits(i);
    store(env, mask, bits);
    return 0;
}

}  // namespace skep::kfunc
