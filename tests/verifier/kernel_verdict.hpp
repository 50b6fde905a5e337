// Linux's verdict on a raw program, asked of the running kernel through bpf(2).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include <skep/map.hpp>

#include "tests/verifier/function_types.hpp"
#include "vm/isa/insn.hpp"
#include "vm/prog/prog_type.hpp"

namespace skep::test {

struct KernelVerdict {
    bool accepted = false;
    int error = 0;           // errno of a refusal
    uint64_t processed = 0;  // instructions, if the verifier ran
    uint64_t verify_us = 0;  // its own measure
    std::string log;
};

// Nothing where the kernel cannot be asked: no rights, or a map or type that it does not have.
// Map immediates of `slots` index `maps`. `functions` may be null; Linux wants them for programs
// with callbacks. `attach_target` is what typed programs attach to: for tp_btf the
// tracepoint's name, for iter the iterator's.
std::optional<KernelVerdict> kernel_verdict(std::span<const RawInsn> slots, const ProgType& type,
                                            uint32_t attach_type, std::span<const MapDef> maps,
                                            bool gpl, bool sleepable,
                                            const std::string& attach_target = {},
                                            const FunctionTypes* functions = nullptr);

}  // namespace skep::test
