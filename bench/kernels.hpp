// The benchmark kernels: each natively and as BPF slots, both from the same C file.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "vm/isa/insn.hpp"

namespace skep::bench {

inline constexpr size_t kMemoryBytes = 4096;  // SIZE of kernels/kernel.h

enum class Group : uint8_t { Compute, Calls, Copy };

struct Kernel {
    std::string_view name;
    Group group;
    uint64_t (*native)(uint8_t* mem, uint64_t len);
    std::vector<RawInsn> slots;
    // Calls: the object, whose only program it is.
    std::span<const uint8_t> object = {};
};

// All kernels; built once by the caller.
std::vector<Kernel> kernels();

// The content of the memory that every run starts from.
std::vector<uint8_t> fresh_memory();

}  // namespace skep::bench
