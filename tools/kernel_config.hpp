// Where the values of CONFIG_ externs come from.
#pragma once

#include <string>

#include <skep/error.hpp>

namespace skep::tool {

// The text of a kernel configuration: a file as it is or compressed by gzip, at most 16 MiB of
// text.
// "-" is standard input. Errors name the path.
Result<std::string> read_kernel_config(const std::string& path);

// The running kernel's, from the places where libbpf looks for it; empty if there is none.
std::string running_kernel_config();

}  // namespace skep::tool
