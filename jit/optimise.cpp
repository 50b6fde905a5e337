#include "jit/optimise.hpp"

namespace skep::jit {

uint8_t how_block_ends(const ImageSlot& s) {
    constexpr auto bit = [](Kind kind) { return 1u << static_cast<unsigned>(kind); };
    constexpr unsigned kEnding = bit(Kind::Jump) | bit(Kind::Exit) | bit(Kind::Call) |
                                 bit(Kind::CallLocal) | bit(Kind::LoadPacket);
    const bool ends = s.trap != TrapCode::None || (kEnding & bit(s.insn.kind)) != 0;
    return static_cast<uint8_t>((ends ? kEndsBlock : 0) |
                                (s.insn.kind == Kind::Imm64 ? kTakesTwoSlots : 0));
}

namespace {

// Nothing but loads and stores through r10 itself names the frame.
bool has_private_frame(const Image& image, const Liveness& liveness, const Subprogram& f) {
    for (uint32_t slot = f.first; slot < f.first + f.count; ++slot) {
        if ((liveness.reads_at(slot) >> kFramePointer & 1) == 0) continue;
        const Insn& i = image.slots[slot].insn;
        const bool plain = i.kind == Kind::Load || i.kind == Kind::Store;
        if (!plain || (i.kind == Kind::Store && !i.is_imm && i.src == kFramePointer)) return false;
    }
    return true;
}

}  // namespace

std::vector<Op> optimise(const Image& image, const Liveness& liveness, const Outline& outline,
                         Abilities abilities) {
    std::vector<Op> ops(image.slots.size());
    if (image.hardened) return ops;  // constants must not get into operands
    Selector selector(image, liveness, outline.selects, abilities);
    const uint8_t *targets = outline.targets.data(), *selects = outline.selects.data(),
                  *ends = outline.ends.data();
    for (const Subprogram& f : image.program->subprograms) {
        const uint32_t last = f.first + f.count;
        const bool private_frame = has_private_frame(image, liveness, f);
        for (uint32_t first = f.first; first < last;) {
            uint32_t end = first;
            while (end < last) {
                const uint8_t how = ends[end];
                const bool wide = (how & kTakesTwoSlots) != 0 && end + 1 < last;
                end += wide ? 2 : 1;
                if (selects[end - 1] != 0) continue;  // its move belongs to it
                if ((how & kEndsBlock) != 0 || end - first + 2 >= kMaxBlock) break;
                if (end < last && targets[end] != 0) break;
            }
            selector.select(first, end, private_frame, ops);
            first = end;
        }
    }
    return ops;
}

}  // namespace skep::jit
