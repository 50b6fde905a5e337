#include "bench/kernels.hpp"

#include <cstring>

#include "tests/support/random.hpp"

// The BPF code, as the build extracted it from the objects.
#define SKEP_KERNEL(name, group)                                                           \
    asm(".pushsection .rodata\n.balign 8\nskep_bpf_" #name ":\n.incbin \"" SKEP_KERNEL_DIR \
        "/" #name ".bin\"\nskep_bpf_" #name "_end:\n.popsection");                         \
    extern "C" const uint8_t skep_bpf_##name[];                                            \
    extern "C" const uint8_t skep_bpf_##name##_end[];                                      \
    extern "C" uint64_t native_##name(uint8_t* mem, uint64_t len);
#include "bench/kernels.def"

namespace skep::bench {
namespace {

// Calls: what the build extracted is the whole object.
Kernel kernel_of(std::string_view name, Group group, uint64_t (*native)(uint8_t*, uint64_t),
                 const uint8_t* begin, const uint8_t* end) {
    if (group == Group::Calls) return {name, group, native, {}, {begin, end}};
    std::vector<RawInsn> slots(static_cast<size_t>(end - begin) / sizeof(RawInsn));
    std::memcpy(slots.data(), begin, slots.size() * sizeof(RawInsn));
    return {name, group, native, std::move(slots), {}};
}

}  // namespace

std::vector<Kernel> kernels() {
    return {
#define SKEP_KERNEL(name, group) \
    kernel_of(#name, Group::group, native_##name, skep_bpf_##name, skep_bpf_##name##_end),
#include "bench/kernels.def"
    };
}

std::vector<uint8_t> fresh_memory() {
    test::Random random(2024);
    std::vector<uint8_t> memory(kMemoryBytes);
    for (uint8_t& byte : memory) byte = static_cast<uint8_t>(random.next());
    return memory;
}

}  // namespace skep::bench
