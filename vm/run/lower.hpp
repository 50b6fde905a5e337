// Lowering: a Program bound to maps, helpers and its context table, as an Image for the engines.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include <skep/error.hpp>

#include "verifier/verifier.hpp"
#include "vm/run/image.hpp"

namespace skep {

class Btf;
class ObjectHeap;

// What a program is bound to. `maps` are the program's, by its map indices.
struct Binding {
    std::vector<std::shared_ptr<Map>> maps;
    // The helper with this number, or null. Must outlive the image.
    std::function<const Helper*(uint32_t number)> helper;
    // The host's own kernel function of that name, or null. Must outlive the image.
    std::function<const Helper*(std::string_view name)> host_kfunc;
    std::shared_ptr<ObjectHeap> objects;  // for programs that allocate; may be null
    bool fuel = true;                     // charge fuel; may be false only for the unchecked form
    bool hardened = false;                // Image::hardened
    // The kernel's types, for its variables; may be null. And the address of one that the host
    // publishes, 0 = it does not; may be empty.
    std::shared_ptr<const Btf> kernel_btf;
    std::function<uint64_t(std::string_view name)> symbol;
};

// The sandbox form: nothing is trusted, every access is checked.
Result<std::shared_ptr<Image>> lower_checked(std::shared_ptr<const Program> program,
                                             std::shared_ptr<const Facts> facts, Binding binding);

// The unchecked form of what analyze() accepted.
Result<std::shared_ptr<Image>> lower(const VerifiedProgram& program, Binding binding);

// The same for a program whose safety the caller vouches for, with what is known of it. Internal:
// tests and benchmarks use it with programs that they wrote themselves.
Result<std::shared_ptr<Image>> lower_unchecked(std::shared_ptr<const Program> program,
                                               std::shared_ptr<const Facts> facts, Binding binding);

}  // namespace skep
