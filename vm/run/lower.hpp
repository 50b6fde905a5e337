// Lowering: a Program bound to maps, helpers and its context table, as an Image for the engines.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <skep/error.hpp>

#include "vm/run/image.hpp"

namespace skep {

// What a program is bound to. `maps` are the program's, by its map indices.
struct Binding {
    std::vector<std::shared_ptr<Map>> maps;
    // The helper with this number, or null. Must outlive the image.
    std::function<const Helper*(uint32_t number)> helper;
    bool fuel = true;  // charge fuel; may be false only for the unchecked form
};

// The sandbox form: nothing is trusted, every access is checked.
Result<std::shared_ptr<Image>> lower_checked(std::shared_ptr<const Program> program,
                                             std::shared_ptr<const Facts> facts, Binding binding);

// The unchecked form of a program whose safety `facts` prove. Internal: the product calls it with
// what analyze() returned, tests and benchmarks with programs that they wrote themselves.
Result<std::shared_ptr<Image>> lower_unchecked(std::shared_ptr<const Program> program,
                                               std::shared_ptr<const Facts> facts, Binding binding);

}  // namespace skep
