#include "jit/optimise.hpp"

#include <algorithm>

namespace skep::jit {

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
            const uint32_t longest = first + kMaxBlock - 2;
            for (bool open = true; open && end < last;) {
                const uint8_t how = ends[end];
                end = std::min(end + 1 + how / kTakesTwoSlots, last);
                open = selects[end - 1] != 0 ||  // its move belongs to it
                       ((how & kEndsBlock) == 0 && targets[end] == 0 && end < longest);
            }
            selector.select(first, end, private_frame, ops);
            first = end;
        }
    }
    return ops;
}

}  // namespace skep::jit
