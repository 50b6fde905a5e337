#include "jit/optimise.hpp"

namespace skep::jit {

namespace {

// Control does not simply go on behind such a slot, or comes back with other registers.
bool ends_block(const ImageSlot& s) {
    if (s.trap != TrapCode::None) return true;
    switch (s.insn.kind) {
        case Kind::Jump:
        case Kind::Exit:
        case Kind::Call:
        case Kind::CallLocal:
        case Kind::LoadPacket: return true;
        default: return false;
    }
}

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

std::vector<Op> optimise(const Image& image, const Liveness& liveness,
                         const std::vector<uint8_t>& targets, const std::vector<uint8_t>& selects,
                         Abilities abilities) {
    std::vector<Op> ops(image.slots.size());
    if (image.hardened) return ops;  // constants must not get into operands
    Selector selector(image, liveness, selects, abilities);
    for (const Subprogram& f : image.program->subprograms) {
        const uint32_t last = f.first + f.count;
        const bool private_frame = has_private_frame(image, liveness, f);
        for (uint32_t first = f.first; first < last;) {
            uint32_t end = first;
            while (end < last) {
                const bool wide = image.slots[end].insn.kind == Kind::Imm64 && end + 1 < last;
                const bool stop = ends_block(image.slots[end]);
                end += wide ? 2 : 1;
                if (end > 0 && selects[end - 1]) continue;  // its move belongs to it
                if (stop || end - first + 2 >= kMaxBlock || (end < last && targets[end])) break;
            }
            selector.select(first, end, private_frame, ops);
            first = end;
        }
    }
    return ops;
}

}  // namespace skep::jit
