// Which registers may still be read, per slot: backward data flow over the image, register masks
// only. Peepholes use it to see that a temporary dies, the sandbox to clear no more registers than
// a program can read.
#pragma once

#include <cstdint>
#include <vector>

#include "vm/run/image.hpp"

namespace skep::jit {

class Liveness {
public:
    explicit Liveness(const Image& image);

    // Bit r: register r may be read by `slot` or after it, before it is written.
    uint16_t live_before(uint32_t slot) const { return slots_[slot].before; }
    // The same for what comes after `slot`, over all its successors.
    uint16_t live_after(uint32_t slot) const { return slots_[slot].after; }
    // What `slot` reads and writes.
    uint16_t reads_at(uint32_t slot) const { return slots_[slot].reads; }
    uint16_t writes_at(uint32_t slot) const { return slots_[slot].writes; }
    bool is_live_after(uint32_t slot, unsigned r) const { return (live_after(slot) >> r & 1) != 0; }

    static uint16_t reads(const Insn& insn);
    static uint16_t writes(const Insn& insn);

private:
    struct Masks {
        uint16_t before = 0, after = 0, reads = 0, writes = 0;
    };

    uint16_t after(uint32_t slot, const Insn& insn) const;
    bool pass();
    void solve();
    uint16_t handed_to_functions() const;

    const Image& image_;
    std::vector<Masks> slots_;  // and one behind the last, all 0
};

}  // namespace skep::jit
