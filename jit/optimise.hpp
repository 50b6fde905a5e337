// The operations of a whole image: extended basic blocks are found and each one is selected for
// (select.hpp). Linear in the image's size.
#pragma once

#include <vector>

#include "jit/liveness.hpp"
#include "jit/op.hpp"
#include "jit/select.hpp"
#include "vm/run/image.hpp"

namespace skep::jit {

// Of a slot: control does not simply go on behind it, or comes back with other registers; it is a
// 64-bit immediate.
inline constexpr uint8_t kEndsBlock = 1, kTakesTwoSlots = 2;
inline uint8_t how_block_ends(const ImageSlot& s) {
    constexpr auto bit = [](Kind kind) { return 1u << static_cast<unsigned>(kind); };
    constexpr unsigned kEnding = bit(Kind::Jump) | bit(Kind::Exit) | bit(Kind::Call) |
                                 bit(Kind::CallLocal) | bit(Kind::LoadPacket);
    const bool ends = s.trap != TrapCode::None || (kEnding & bit(s.insn.kind)) != 0;
    return static_cast<uint8_t>((ends ? kEndsBlock : 0) |
                                (s.insn.kind == Kind::Imm64 ? kTakesTwoSlots : 0));
}

// What is known of the slots, by slot.
struct Outline {
    const std::vector<uint8_t>& targets;  // of jumps
    const std::vector<uint8_t>& selects;  // branches that become selections
    const std::vector<uint8_t>& ends;     // how_block_ends()
};

std::vector<Op> optimise(const Image& image, const Liveness& liveness, const Outline& outline,
                         Abilities abilities);

}  // namespace skep::jit
