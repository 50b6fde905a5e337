// Native code of a program as text, by slot.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <skep/error.hpp>

#include "vm/prog/program.hpp"

namespace skep::tool {

struct NativeListing {
    bool verified = false;  // the code of the verified form; otherwise of the sandbox
    uint64_t bytes = 0;
    std::vector<std::string> entry;               // lines before the first slot's
    std::vector<std::vector<std::string>> slots;  // by slot: the code in line with the others'
    // What lies behind the functions, in order: the slot that it belongs to, and its lines.
    std::vector<std::pair<uint32_t, std::vector<std::string>>> behind;
};

// The code that this program would get; `arch` is "x86-64", "arm64" or empty for the machine's own.
// Verified if the verifier accepts the program by Linux's rules, else sandboxed.
Result<NativeListing> list_native(const std::shared_ptr<const Program>& program,
                                  const std::string& arch);

}  // namespace skep::tool
