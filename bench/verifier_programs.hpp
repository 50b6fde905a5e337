// Programs that are hard to verify, made by hand and by loops: the verifier's cost where there are
// many paths, many rounds or much state.
#pragma once

#include <string>
#include <vector>

namespace skep::bench {

struct HardProgram {
    std::string name;
    std::string text;  // assembler; a socket filter without maps
};

std::vector<HardProgram> hard_programs();

}  // namespace skep::bench
