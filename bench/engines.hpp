// What runs a kernel. An engine is a row in engines(); its Runner is a kernel that was loaded.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include <skep/error.hpp>

#include "bench/kernels.hpp"

namespace skep::bench {

class Runner {
public:
    virtual ~Runner() = default;
    // One run on `memory`; r0. A trap gives an Error.
    virtual Result<uint64_t> check(std::span<uint8_t> memory) = 0;
    // The same as fast as the engine's caller could; the result is not looked at.
    virtual uint64_t run(std::span<uint8_t> memory) = 0;
};

struct Engine {
    std::string_view name;
    Result<std::unique_ptr<Runner>> (*load)(const Kernel& kernel);
};

// Native first: it is what the others are compared with.
std::span<const Engine> engines();

}  // namespace skep::bench
