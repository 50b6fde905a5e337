// What runs a kernel. An engine is a row in engines(); its Runner is a kernel that was loaded.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include <skep/error.hpp>

#include "bench/kernels.hpp"
#include "vm/prog/program.hpp"

namespace skep::bench {

class Runner {
public:
    virtual ~Runner() = default;
    // One run on `memory`; r0. A trap gives an Error.
    virtual Result<uint64_t> check(std::span<uint8_t> memory) = 0;
    // The same as fast as the engine's caller could; the result is not looked at.
    virtual uint64_t run(std::span<uint8_t> memory) = 0;
    // True if only the low half of r0 comes back.
    virtual bool short_result() const { return false; }
    // Engines that measure themselves: nanoseconds per run of one sample. 0: call run() and look at
    // the clock.
    virtual double timed_run_ns() { return 0; }
    // Code that was made: its size, and what making it took. Zero where there is none, or where it
    // is not known.
    struct Code {
        uint64_t bytes = 0, compile_ns = 0;
    };
    virtual Code code() const { return {}; }
};

// The program of a kernel of group Calls.
Result<std::shared_ptr<const Program>> linked_program(const Kernel& kernel);

struct Engine {
    std::string_view name;
    bool optional = false;  // may refuse kernels, and is left out of checks
    Result<std::unique_ptr<Runner>> (*load)(const Kernel& kernel);
};

// Native first: it is what the others are compared with.
std::span<const Engine> engines();

}  // namespace skep::bench
