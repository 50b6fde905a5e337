// A small concrete machine for generated programs: one frame, one map value, one packet. Addresses
// are numbers in disjoint ranges; an access outside of them is a violation.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "vm/isa/insn.hpp"

namespace skep::test {

struct Concrete {
    static constexpr uint64_t kStackTop = 0x1000'0000'1000, kValue = 0x2000'0000'0000,
                              kPacket = 0x3000'0000'0000, kContext = 0x4000'0000'0000,
                              kMap = 0x5000'0000'0000;
    std::array<uint64_t, kRegisters> regs{};
    std::vector<uint8_t> stack = std::vector<uint8_t>(512, 0xa5);
    std::vector<uint8_t> value;
    std::vector<uint8_t> packet;
    bool lookup_finds = true;

    // The bytes at an address, or null.
    uint8_t* bytes(uint64_t address, unsigned size);
    // Runs at most `limit` instructions; `before` sees each. Returns what went wrong, if anything.
    std::optional<std::string> run(const std::vector<Insn>& insns, unsigned limit,
                                   const std::function<void(uint32_t slot)>& before);
};

}  // namespace skep::test
