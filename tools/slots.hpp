// Raw programs: files of 8-byte instruction slots, and assembler text.
#pragma once

#include <string>
#include <vector>

#include <skep/error.hpp>

#include "vm/isa/insn.hpp"

namespace skep::tool {

// A whole file; "-" is standard input. Errors name the path.
Result<std::string> read_input(const std::string& path, size_t limit);

// 8-byte little-endian slots, at most kMaxInsns of them. Errors say what is wrong with the length.
Result<std::vector<RawInsn>> read_slots(const std::string& path);

}  // namespace skep::tool
