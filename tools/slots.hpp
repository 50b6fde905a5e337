// Raw programs: files of 8-byte instruction slots, and assembler text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <skep/error.hpp>

#include "vm/isa/insn.hpp"

namespace skep::tool {

// A whole file; "-" is standard input. Errors name the path.
Result<std::string> read_input(const std::string& path, size_t limit);

// Writes a whole file; "-" is standard output. Errors name the option.
Result<void> write_output(const std::string& path, std::string_view bytes, std::string_view option);

// 8-byte little-endian slots, at most kMaxInsns of them. Errors say what is wrong with the length.
Result<std::vector<RawInsn>> read_slots(const std::string& path);

}  // namespace skep::tool
