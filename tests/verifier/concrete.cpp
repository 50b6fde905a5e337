#include "tests/verifier/concrete.hpp"

#include "vm/isa/semantics.hpp"

namespace skep::test {

uint8_t* Concrete::bytes(uint64_t address, unsigned size) {
    const auto inside = [&](std::vector<uint8_t>& memory, uint64_t base) -> uint8_t* {
        if (address < base || address - base + size > memory.size()) return nullptr;
        return memory.data() + (address - base);
    };
    if (uint8_t* found = inside(stack, kStackTop - 512)) return found;
    if (uint8_t* found = inside(value, kValue)) return found;
    return inside(packet, kPacket);
}

std::optional<std::string> Concrete::run(const std::vector<Insn>& insns, unsigned limit,
                                         const std::function<void(uint32_t)>& before) {
    regs[1] = kContext;
    regs[10] = kStackTop;
    uint32_t slot = 0;
    for (unsigned n = 0; n < limit; ++n) {
        if (slot >= insns.size()) return "left the program";
        const Insn& i = insns[slot];
        before(slot);
        const auto fault = [&](const char* what) {
            return std::string(what) + " at slot " + std::to_string(slot);
        };
        const uint64_t operand = i.is_imm ? static_cast<uint64_t>(i.imm) : regs[i.src];
        uint32_t next = slot + 1;
        switch (i.kind) {
            case Kind::Alu:
            case Kind::Neg:
            case Kind::Endian: regs[i.dst] = eval_alu_insn(i, regs[i.dst], operand); break;
            case Kind::Imm64:
                regs[i.dst] =
                    i.pseudo_imm() == PseudoImm::Value ? static_cast<uint64_t>(i.imm) : kMap;
                next = slot + 2;
                break;
            case Kind::Load: {
                const uint64_t at = regs[i.src] + static_cast<uint64_t>(int64_t{i.off});
                const unsigned size = bytes_of(i.width);
                uint64_t loaded = 0;
                if (at >= kContext && at < kContext + 64) {
                    loaded = at == kContext ? kPacket : kPacket + packet.size();
                } else {
                    const uint8_t* from = bytes(at, size);
                    if (from == nullptr) return fault("load out of bounds");
                    for (unsigned b = size; b-- > 0;) loaded = loaded << 8 | from[b];
                }
                regs[i.dst] = i.sign ? sign_extend(loaded, size * 8) : loaded;
                break;
            }
            case Kind::Store: {
                const unsigned size = bytes_of(i.width);
                uint8_t* to = bytes(regs[i.dst] + static_cast<uint64_t>(int64_t{i.off}), size);
                if (to == nullptr) return fault("store out of bounds");
                for (unsigned b = 0; b < size; ++b)
                    to[b] = static_cast<uint8_t>(operand >> (8 * b));
                break;
            }
            case Kind::Jump: next = static_cast<uint32_t>(i.target); break;
            case Kind::Branch:
                if (eval_branch(i, regs[i.dst], operand)) next = static_cast<uint32_t>(i.target);
                break;
            case Kind::Call:
                if (i.imm != 1) return fault("a call that this machine does not know");
                regs[0] = lookup_finds ? kValue : 0;
                for (unsigned r = 1; r <= 5; ++r) regs[r] = 0xdead'0000'0000'0000 + r;
                break;
            case Kind::Exit: return std::nullopt;
            default: return fault("an instruction that this machine does not know");
        }
        slot = next;
    }
    return "ran too long";
}

}  // namespace skep::test
