// The operations of a whole image: extended basic blocks are found and each one is selected for
// (select.hpp). Linear in the image's size.
#pragma once

#include <vector>

#include "jit/liveness.hpp"
#include "jit/op.hpp"
#include "jit/select.hpp"
#include "vm/run/image.hpp"

namespace skep::jit {

// By slot. `targets`: the slots that jumps lead to. `selects`: the branches that become selections.
std::vector<Op> optimise(const Image& image, const Liveness& liveness,
                         const std::vector<uint8_t>& targets, const std::vector<uint8_t>& selects,
                         Abilities abilities);

}  // namespace skep::jit
