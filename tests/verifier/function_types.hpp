// Types for the functions of raw programs: a prototype for each, static, without arguments,
// returning an int. Linux wants them where a program names a callback.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "vm/isa/insn.hpp"

namespace skep::test {

struct FunctionTypes {
    struct Row {
        uint32_t slot, type;  // as struct bpf_func_info
    };
    std::vector<Row> rows;
    std::string btf;
};

bool names_callbacks(std::span<const RawInsn> slots);
FunctionTypes describe_functions(std::span<const RawInsn> slots);

}  // namespace skep::test
