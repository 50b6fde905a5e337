// The running kernel as an oracle, through bpf(2): loads a `raw` program as XDP with its memory in
// an array map, runs it once, and gives r0 (32 bits) and the memory. Needs root; absent elsewhere.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <skep/map.hpp>

#include "vm/isa/insn.hpp"

namespace skep::test {

class Kernel {
public:
    // Why the kernel cannot be asked, or nothing if it can.
    static std::optional<std::string> unavailable();

    struct Run {
        bool accepted = false;  // by the kernel's verifier
        std::string log;        // of a refused program
        uint32_t r0 = 0;
        std::vector<uint8_t> memory;
    };
    // Runs `slots` with r1 = memory and r2 = its length.
    static Run run(std::span<const RawInsn> slots, std::span<const uint8_t> memory);

    // Whether the kernel loads exactly these slots as a program of this UAPI type; the log if not.
    // Map immediates index `maps`, which are made for the call.
    static bool loads(std::span<const RawInsn> slots, uint32_t type, std::string* log = nullptr,
                      std::span<const std::shared_ptr<const MapDef>> maps = {});
};

}  // namespace skep::test
