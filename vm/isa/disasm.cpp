// Instructions -> text. The operators and sizes come from opcodes.def; the rest is punctuation.
#include "vm/isa/disasm.hpp"

#include <cstdio>
#include <string_view>

namespace skep {
namespace {

std::string_view sign_of(AluOp op) {
    switch (op) {
#define SKEP_ALU(Name, code, sign, mnemonic) \
    case AluOp::Name: return sign;
#include "vm/isa/opcodes.def"
    }
    return "?";
}

std::string_view sign_of(CondOp op) {
    switch (op) {
#define SKEP_COND(Name, code, sign, mnemonic) \
    case CondOp::Name: return sign;
#include "vm/isa/opcodes.def"
    }
    return "?";
}

std::string_view text_of(AtomicOp op) {
    switch (op) {
#define SKEP_ATOMIC(Name, imm, text, fetches) \
    case AtomicOp::Name: return text;
#include "vm/isa/opcodes.def"
    }
    return "?";
}

std::string_view type_of(Width width) {
    switch (width) {
#define SKEP_SIZE(Name, code, bytes, text) \
    case Width::Name: return text;
#include "vm/isa/opcodes.def"
    }
    return "?";
}

std::string reg(unsigned number, bool is64 = true) {
    return (is64 ? "r" : "w") + std::to_string(number);
}

// "r1 + 8", "r10 - 16".
std::string address(unsigned base, int off) {
    return reg(base) + (off < 0 ? " - " : " + ") + std::to_string(off < 0 ? -off : off);
}

// "+2", "-3".
std::string distance(int64_t slots) { return (slots < 0 ? "" : "+") + std::to_string(slots); }

std::string memory(Width width, unsigned base, int off, bool sign = false) {
    std::string type(type_of(width));
    if (sign) type[0] = 's';
    return "*(" + type + " *)(" + address(base, off) + ")";
}

std::string hex64(int64_t value) {
    char text[24];
    std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

std::string alu(const Insn& insn) {
    const std::string dst = reg(insn.dst, insn.is64());
    const std::string operand = insn.is_imm ? std::to_string(insn.imm) : reg(insn.src, insn.is64());
    if (insn.sext != 0) return dst + " = (s" + std::to_string(insn.sext) + ")" + operand;
    return dst + (insn.sign ? " s" : " ") + std::string(sign_of(insn.alu())) + " " + operand;
}

std::string endian(const Insn& insn) {
    const char* name = "bswap";
    switch (insn.endian()) {
        case EndianOp::ToLe: name = "le"; break;
        case EndianOp::ToBe: name = "be"; break;
        case EndianOp::Swap: break;
    }
    return reg(insn.dst) + " = " + name + std::to_string(insn.imm) + " " + reg(insn.dst);
}

std::string imm64(const Insn& insn, uint32_t index, const DisasmNames& names) {
    const std::string dst = reg(insn.dst) + " = ";
    const auto low = static_cast<uint32_t>(insn.imm);
    const auto high = static_cast<uint32_t>(static_cast<uint64_t>(insn.imm) >> 32);
    const auto indexed = [&](std::string_view what, bool with_offset) {
        std::string name;
        if (names.map && what != "btf") name = names.map(low);
        if (name.empty()) name = std::string(what) + "[" + std::to_string(low) + "]";
        return dst + name + (with_offset ? " + " + std::to_string(high) : "") + " ll";
    };
    switch (insn.pseudo_imm()) {
        case PseudoImm::Value: return dst + hex64(insn.imm) + " ll";
        case PseudoImm::MapFd: return indexed("map", false);
        case PseudoImm::MapValue: return indexed("map", true);
        case PseudoImm::BtfId: return indexed("btf", high != 0);
        case PseudoImm::MapIdx: return indexed("map_idx", false);
        case PseudoImm::MapIdxValue: return indexed("map_idx", true);
        case PseudoImm::Func: break;
    }
    std::string name;
    if (names.function) name = names.function(static_cast<uint32_t>(insn.target));
    if (name.empty()) name = distance(int64_t{insn.target} - index - 1);
    return dst + "func " + name + " ll";
}

std::string atomic(const Insn& insn) {
    const bool is64 = insn.is64();
    const std::string src = reg(insn.src, is64);
    const std::string place = address(insn.dst, insn.off);
    const std::string pointer = "(" + std::string(type_of(insn.width)) + " *)(";
    switch (insn.atomic()) {
        case AtomicOp::Add: return "lock " + memory(insn.width, insn.dst, insn.off) + " += " + src;
        case AtomicOp::Or: return "lock " + memory(insn.width, insn.dst, insn.off) + " |= " + src;
        case AtomicOp::And: return "lock " + memory(insn.width, insn.dst, insn.off) + " &= " + src;
        case AtomicOp::Xor: return "lock " + memory(insn.width, insn.dst, insn.off) + " ^= " + src;
        case AtomicOp::FetchAdd:
        case AtomicOp::FetchOr:
        case AtomicOp::FetchAnd:
        case AtomicOp::FetchXor:
            return src + " = atomic_" + std::string(text_of(insn.atomic())) + "(" + pointer +
                   place + "), " + src + ")";
        case AtomicOp::Xchg:
            return src + (is64 ? " = xchg_64(" : " = xchg32_32(") + place + ", " + src + ")";
        case AtomicOp::Cmpxchg: {
            const std::string r0 = reg(0, is64);
            return r0 + (is64 ? " = cmpxchg_64(" : " = cmpxchg32_32(") + place + ", " + r0 + ", " +
                   src + ")";
        }
        case AtomicOp::LoadAcquire:
            return reg(insn.dst, is64) + " = load_acquire(" + pointer +
                   address(insn.src, insn.off) + "))";
        case AtomicOp::StoreRelease: return "store_release(" + pointer + place + "), " + src + ")";
    }
    return {};
}

std::string call(const Insn& insn, const DisasmNames& names) {
    if (insn.pseudo_call() == PseudoCall::Kfunc) {
        return "call kfunc " + std::to_string(insn.imm) +
               (insn.off != 0 ? " fd " + std::to_string(insn.off) : "");
    }
    std::string name;
    if (names.helper) name = names.helper(static_cast<int32_t>(insn.imm));
    // Unsigned: a sign marks the distance of a local call.
    const auto number = static_cast<uint32_t>(insn.imm);
    return "call " + (name.empty() ? std::to_string(number) : name);
}

std::string call_local(const Insn& insn, uint32_t index, const DisasmNames& names) {
    std::string name;
    if (names.function) name = names.function(static_cast<uint32_t>(insn.target));
    return "call " + (name.empty() ? distance(int64_t{insn.target} - index - 1) : name);
}

std::string packet_load(const Insn& insn) {
    const std::string imm = std::to_string(insn.imm);
    const std::string place =
        insn.is_imm ? imm : reg(insn.src) + (insn.imm < 0 ? " - " + imm.substr(1) : " + " + imm);
    return "r0 = *(" + std::string(type_of(insn.width)) + " *)skb[" + place + "]";
}

}  // namespace

std::string disassemble(const Insn& insn, uint32_t index, const DisasmNames& names) {
    const auto jump = [&](const char* word) {
        return word + distance(int64_t{insn.target} - index - 1);
    };
    const bool is64 = insn.is64();
    const auto operand = [&] {
        return insn.is_imm ? std::to_string(insn.imm) : reg(insn.src, is64);
    };
    switch (insn.kind) {
        case Kind::Alu: return alu(insn);
        case Kind::Neg: return reg(insn.dst, is64) + " = -" + reg(insn.dst, is64);
        case Kind::Endian: return endian(insn);
        case Kind::Imm64: return imm64(insn, index, names);
        case Kind::Imm64High: return {};
        case Kind::Load:
            return reg(insn.dst) + " = " + memory(insn.width, insn.src, insn.off, insn.sign);
        case Kind::Store:
            return memory(insn.width, insn.dst, insn.off) + " = " +
                   (insn.is_imm ? std::to_string(insn.imm) : reg(insn.src));
        case Kind::Atomic: return atomic(insn);
        case Kind::LoadPacket: return packet_load(insn);
        case Kind::Jump:
            return jump((insn.opcode & kClassMask) == kClassJmp32 ? "gotol " : "goto ");
        case Kind::Branch:
            return "if " + reg(insn.dst, is64) + " " + std::string(sign_of(insn.cond())) + " " +
                   operand() + jump(" goto ");
        case Kind::MayGoto: return jump("may_goto ");
        case Kind::Call: return call(insn, names);
        case Kind::CallLocal: return call_local(insn, index, names);
        case Kind::Exit: return "exit";
        case Kind::AddrSpaceCast:
            return reg(insn.dst) + " = addr_space_cast(" + reg(insn.src) + ", " +
                   std::to_string(insn.imm >> 16) + ", " + std::to_string(insn.imm & 0xffff) + ")";
    }
    return {};
}

std::string disassemble(std::span<const Insn> insns, const DisasmNames& names) {
    std::string out;
    for (uint32_t slot = 0; slot < insns.size(); ++slot) {
        if (insns[slot].kind == Kind::Imm64High) continue;
        out += std::to_string(slot) + ": " + disassemble(insns[slot], slot, names) + "\n";
    }
    return out;
}

}  // namespace skep
