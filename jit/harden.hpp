// Keys for blinded constants: what an attacker puts into a program must not appear in code pages.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "vm/base/os.hpp"

namespace skep::jit {

// Random keys from the operating system, fetched in batches.
class Keys {
public:
    // Fits in what `value` fits in: 32 bits or 64.
    uint64_t key_for(uint64_t value) {
        const uint64_t key = next();
        return value <= UINT32_MAX ? key & UINT32_MAX : key;
    }

private:
    uint64_t next() {
        if (used_ == batch_.size()) {
            os::random_bytes(std::as_writable_bytes(std::span(batch_)));
            used_ = 0;
        }
        return batch_[used_++];
    }

    std::array<uint64_t, 64> batch_{};
    size_t used_ = batch_.size();
};

}  // namespace skep::jit
