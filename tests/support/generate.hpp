// Random programs for differential tests, and a minimiser for those that show a difference.
//
// A generated program has type `raw` (r1 = memory, r2 = its length) and ends by itself. Without
// `wild` it is also safe: every access is inside memory or its stack, every register and stack slot
// is written before it is read, loops are counted, so that the kernel's verifier takes it; it never
// shows an address, and it leaves all its registers in memory and a digest in r0. With `wild` it
// may do anything that decodes: leave memory, use up its fuel, recurse.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "vm/isa/insn.hpp"

namespace skep::test {

struct GenerateOptions {
    bool wild = false;
    bool atomics = true;
    bool calls = true;  // bpf2bpf
    bool loops = true;
    unsigned idioms = 0;       // percent of statements that are sequences as compilers write them
    unsigned statements = 40;  // per function, about
    uint32_t memory_bytes = 256;  // at least 128
};

struct Generated {
    uint64_t seed = 0;
    std::vector<RawInsn> slots;
    std::vector<uint8_t> memory;
};

Generated generate(uint64_t seed, const GenerateOptions& options = {});

// A smaller program for which `fails` still holds. Calls it a few hundred times.
Generated minimise(Generated program, const std::function<bool(const Generated&)>& fails);

// The program as a `.test` case, with what the reference says as its expectation.
std::string to_test(const Generated& program);

}  // namespace skep::test
