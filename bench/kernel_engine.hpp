// The running kernel's JIT as an engine: the same bytecode through bpf(2) and BPF_PROG_TEST_RUN.
#pragma once

#include <memory>

#include <skep/error.hpp>

#include "bench/engines.hpp"
#include "bench/kernels.hpp"

namespace skep::bench {

// True where bpf(2) may be used.
bool kernel_engine_available();

// Loads the kernel's bytecode as an XDP program whose r1 is the value of an array map of
// kMemoryBytes, so that its verifier takes variable offsets. Errors: what the kernel's verifier
// refused. Its times are those that the kernel reports, less those of an empty program.
Result<std::unique_ptr<Runner>> load_into_kernel(const Kernel& kernel);

}  // namespace skep::bench
