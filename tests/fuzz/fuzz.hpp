// What a fuzz target defines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <span>
#include <string_view>

// One input; must return 0. A finding ends the process (require() below, or a sanitizer).
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace skep::test {

// Gives the target's seed inputs, one after the other.
using SeedSink = std::function<void(std::span<const uint8_t>)>;
void fuzz_seeds(const SeedSink& sink);

// A property of the target; `details` helps whoever reads the report.
inline void require(bool holds, std::string_view property, std::string_view details = {}) {
    if (holds) return;
    std::fprintf(stderr, "fuzzing found: %.*s\n%.*s\n", static_cast<int>(property.size()),
                 property.data(), static_cast<int>(details.size()), details.data());
    std::abort();
}

}  // namespace skep::test
