// Random small programs that stay close to what the verifier must decide: numbers of many shapes,
// bounds that hold or nearly hold, spills, and accesses to stack, map values and packets through
// pointers that were moved by them.
#pragma once

#include <cstdint>
#include <random>
#include <string>

namespace skep::test {

struct Generated {
    std::string type;  // "socket_filter" or "xdp"
    std::string text;  // assembler text; map[0] is a hash map with 8-byte keys and 48-byte values
};
Generated generate_program(uint64_t seed);

}  // namespace skep::test
