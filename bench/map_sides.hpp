// The two sides of the comparison: the same program on the running kernel, through bpf(2), and as
// Skep's native code.
#pragma once

#include <memory>

#include <skep/error.hpp>

#include "bench/map_shapes.hpp"

namespace skep::bench {

class MapSide {
public:
    virtual ~MapSide() = default;
    // Runs the program `times` times; any number of threads at once. False: it failed.
    virtual bool run(uint32_t times) = 0;
    // Between measurements: a ring buffer is emptied.
    virtual void empty_ring() {}
};

// The Error says why the kernel refuses.
Result<std::unique_ptr<MapSide>> kernel_side(const MapShape& shape);
Result<std::unique_ptr<MapSide>> skep_side(const MapShape& shape);

}  // namespace skep::bench
