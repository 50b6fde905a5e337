// 8-byte slots <-> instructions.
//
// One function per instruction class turns a wire slot into an Insn or says why not. What is
// refused: opcodes that do not exist, reserved fields that are not zero (RFC 9669 section 3.1:
// "unused fields SHALL be cleared to zero"), registers above r10, writes to r10, jumps out of the
// program or into the second slot of a 64-bit immediate. What is left to the verifier: everything
// that needs more than the bytes, such as shift counts, division by a zero immediate, a missing
// final exit, unknown helpers.
#include "vm/isa/codec.hpp"

#include <cstdio>
#include <optional>
#include <string>

#include "vm/base/try.hpp"

namespace skep {
namespace {

std::string hex(unsigned value) {
    char text[16];
    std::snprintf(text, sizeof(text), "0x%02x", value);
    return text;
}

std::unexpected<Error> refuse(ErrorCode code, uint32_t slot, std::string message) {
    return fail(code, std::move(message), Where{.slot = slot});
}

std::unexpected<Error> unknown_opcode(const RawInsn& raw, uint32_t slot) {
    return refuse(ErrorCode::BadOpcode, slot, "opcode " + hex(raw.opcode) + " is no instruction");
}

std::unexpected<Error> reserved(const RawInsn& raw, uint32_t slot, const char* field, int64_t found,
                                const char* allowed = "0") {
    return refuse(ErrorCode::BadEncoding, slot,
                  std::string(field) + " is " + std::to_string(found) + "; opcode " +
                      hex(raw.opcode) + " allows " + allowed);
}

// Checks of single fields; each returns the Error or nothing.
using Refusal = std::optional<std::unexpected<Error>>;

Refusal readable(unsigned reg, const char* field, uint32_t slot) {
    if (reg < kRegisters) return std::nullopt;
    return refuse(
        ErrorCode::BadRegister, slot,
        std::string(field) + " names r" + std::to_string(reg) + "; registers are r0 to r10");
}

Refusal writable(unsigned reg, const char* field, uint32_t slot) {
    if (auto bad = readable(reg, field, slot)) return bad;
    if (reg != kFramePointer) return std::nullopt;
    return refuse(ErrorCode::BadRegister, slot, "writes r10, which is read-only");
}

Refusal zero(const RawInsn& raw, const char* field, int64_t value, uint32_t slot) {
    if (value == 0) return std::nullopt;
    return reserved(raw, slot, field, value);
}

#define SKEP_REFUSE(check) \
    if (auto refusal = (check)) return *std::move(refusal)

std::optional<AluOp> alu_op(uint8_t code) {
    switch (code) {
#define SKEP_ALU(Name, number, sign, mnemonic) \
    case number: return AluOp::Name;
#include "vm/isa/opcodes.def"
        default: return std::nullopt;
    }
}

std::optional<CondOp> cond_op(uint8_t code) {
    switch (code) {
#define SKEP_COND(Name, number, sign, mnemonic) \
    case number: return CondOp::Name;
#include "vm/isa/opcodes.def"
        default: return std::nullopt;
    }
}

std::optional<AtomicOp> atomic_op(int32_t imm) {
    switch (imm) {
#define SKEP_ATOMIC(Name, number, text, fetch) \
    case number: return AtomicOp::Name;
#include "vm/isa/opcodes.def"
        default: return std::nullopt;
    }
}

Width width_of(uint8_t opcode) {
    switch (opcode & kSizeMask) {
#define SKEP_SIZE(Name, number, bytes, text) \
    case number: return Width::Name;
#include "vm/isa/opcodes.def"
        default: return Width::Dw;
    }
}

// Fields that every kind copies from the wire.
Insn common(Kind kind, const RawInsn& raw) {
    Insn insn;
    insn.kind = kind;
    insn.opcode = raw.opcode;
    insn.dst = raw.dst();
    insn.src = raw.src();
    insn.off = raw.off;
    insn.imm = raw.imm;
    return insn;
}

Result<Insn> decode_endian(const RawInsn& raw, uint32_t slot) {
    const bool is64 = (raw.opcode & kClassMask) == kClassAlu64;
    const bool to_be = (raw.opcode & kSourceReg) != 0;
    if (is64 && to_be) return unknown_opcode(raw, slot);
    SKEP_REFUSE(writable(raw.dst(), "dst", slot));
    SKEP_REFUSE(zero(raw, "src", raw.src(), slot));
    SKEP_REFUSE(zero(raw, "off", raw.off, slot));
    if (raw.imm != 16 && raw.imm != 32 && raw.imm != 64) {
        return reserved(raw, slot, "imm", raw.imm, "16, 32 or 64 bits");
    }
    Insn insn = common(Kind::Endian, raw);
    const EndianOp op = is64 ? EndianOp::Swap : to_be ? EndianOp::ToBe : EndianOp::ToLe;
    insn.op = static_cast<uint8_t>(op);
    return insn;
}

Result<Insn> decode_neg(const RawInsn& raw, uint32_t slot) {
    if ((raw.opcode & kSourceReg) != 0) return unknown_opcode(raw, slot);
    SKEP_REFUSE(writable(raw.dst(), "dst", slot));
    SKEP_REFUSE(zero(raw, "src", raw.src(), slot));
    SKEP_REFUSE(zero(raw, "off", raw.off, slot));
    SKEP_REFUSE(zero(raw, "imm", raw.imm, slot));
    Insn insn = common(Kind::Neg, raw);
    insn.width = (raw.opcode & kClassMask) == kClassAlu64 ? Width::Dw : Width::W;
    return insn;
}

// A cast between address space 0 and an arena's (1): a 64-bit register move whose off is 1 and
// whose imm is destination space << 16 | source space, as in Linux.
Result<Insn> decode_cast(const RawInsn& raw, uint32_t slot) {
    if (raw.imm != 1 && raw.imm != 1 << 16) {
        return reserved(raw, slot, "imm", raw.imm, "1 or 65536 (casts between spaces 0 and 1)");
    }
    return common(Kind::AddrSpaceCast, raw);
}

Result<Insn> decode_alu(const RawInsn& raw, uint32_t slot) {
    const uint8_t code = raw.opcode & kCodeMask;
    const bool is64 = (raw.opcode & kClassMask) == kClassAlu64;
    if (code == kCodeEnd) return decode_endian(raw, slot);
    if (code == kCodeNeg) return decode_neg(raw, slot);
    const std::optional<AluOp> op = alu_op(code);
    if (!op) return unknown_opcode(raw, slot);
    const bool is_imm = (raw.opcode & kSourceReg) == 0;
    SKEP_REFUSE(writable(raw.dst(), "dst", slot));
    if (is_imm) {
        SKEP_REFUSE(zero(raw, "src", raw.src(), slot));
    } else {
        SKEP_REFUSE(readable(raw.src(), "src", slot));
        if (*op == AluOp::Mov && is64 && raw.off == 1) return decode_cast(raw, slot);
        SKEP_REFUSE(zero(raw, "imm", raw.imm, slot));
    }
    Insn insn = common(Kind::Alu, raw);
    insn.op = static_cast<uint8_t>(*op);
    insn.width = is64 ? Width::Dw : Width::W;
    insn.is_imm = is_imm;
    if (*op == AluOp::Div || *op == AluOp::Mod) {
        if (raw.off != 0 && raw.off != 1) return reserved(raw, slot, "off", raw.off, "0 or 1");
        insn.sign = raw.off == 1;
    } else if (*op == AluOp::Mov && !is_imm) {
        const bool fits = raw.off == 0 || raw.off == 8 || raw.off == 16 || (is64 && raw.off == 32);
        if (!fits) return reserved(raw, slot, "off", raw.off, is64 ? "0, 8, 16, 32" : "0, 8, 16");
        insn.sext = static_cast<uint8_t>(raw.off);
    } else {
        SKEP_REFUSE(zero(raw, "off", raw.off, slot));
    }
    return insn;
}

// The absolute target of a jump by `distance` slots from the one after `slot`.
Result<int32_t> target_of(uint32_t slot, int64_t distance) {
    const int64_t target = int64_t{slot} + 1 + distance;
    if (target < INT32_MIN || target > INT32_MAX) {
        return refuse(ErrorCode::BadJump, slot,
                      "jumps to slot " + std::to_string(target) + ", outside of any program");
    }
    return static_cast<int32_t>(target);
}

Result<Insn> decode_goto(const RawInsn& raw, uint32_t slot) {
    const bool by_imm = (raw.opcode & kClassMask) == kClassJmp32;
    SKEP_REFUSE(zero(raw, "dst", raw.dst(), slot));
    SKEP_REFUSE(zero(raw, "src", raw.src(), slot));
    SKEP_REFUSE(by_imm ? zero(raw, "off", raw.off, slot) : zero(raw, "imm", raw.imm, slot));
    Insn insn = common(Kind::Jump, raw);
    SKEP_TRY(insn.target, target_of(slot, by_imm ? raw.imm : raw.off));
    return insn;
}

Result<Insn> decode_call(const RawInsn& raw, uint32_t slot) {
    SKEP_REFUSE(zero(raw, "dst", raw.dst(), slot));
    if (raw.src() > static_cast<uint8_t>(PseudoCall::Kfunc)) {
        return reserved(raw, slot, "src", raw.src(), "0 (helper), 1 (local), 2 (kernel function)");
    }
    const auto what = static_cast<PseudoCall>(raw.src());
    if (what != PseudoCall::Kfunc) SKEP_REFUSE(zero(raw, "off", raw.off, slot));
    Insn insn = common(what == PseudoCall::Local ? Kind::CallLocal : Kind::Call, raw);
    if (what == PseudoCall::Local) {
        SKEP_TRY(insn.target, target_of(slot, raw.imm));
    }
    return insn;
}

Result<Insn> decode_exit(const RawInsn& raw, uint32_t slot) {
    SKEP_REFUSE(zero(raw, "dst", raw.dst(), slot));
    SKEP_REFUSE(zero(raw, "src", raw.src(), slot));
    SKEP_REFUSE(zero(raw, "off", raw.off, slot));
    SKEP_REFUSE(zero(raw, "imm", raw.imm, slot));
    return common(Kind::Exit, raw);
}

Result<Insn> decode_may_goto(const RawInsn& raw, uint32_t slot) {
    SKEP_REFUSE(zero(raw, "dst", raw.dst(), slot));
    SKEP_REFUSE(zero(raw, "src", raw.src(), slot));  // 0 = may_goto, the only one
    SKEP_REFUSE(zero(raw, "imm", raw.imm, slot));
    Insn insn = common(Kind::MayGoto, raw);
    SKEP_TRY(insn.target, target_of(slot, raw.off));
    return insn;
}

Result<Insn> decode_branch(const RawInsn& raw, CondOp op, uint32_t slot) {
    const bool is_imm = (raw.opcode & kSourceReg) == 0;
    SKEP_REFUSE(readable(raw.dst(), "dst", slot));
    if (is_imm) {
        SKEP_REFUSE(zero(raw, "src", raw.src(), slot));
    } else {
        SKEP_REFUSE(readable(raw.src(), "src", slot));
        SKEP_REFUSE(zero(raw, "imm", raw.imm, slot));
    }
    Insn insn = common(Kind::Branch, raw);
    insn.op = static_cast<uint8_t>(op);
    insn.width = (raw.opcode & kClassMask) == kClassJmp ? Width::Dw : Width::W;
    insn.is_imm = is_imm;
    SKEP_TRY(insn.target, target_of(slot, raw.off));
    return insn;
}

Result<Insn> decode_jump(const RawInsn& raw, uint32_t slot) {
    if (const std::optional<CondOp> op = cond_op(raw.opcode & kCodeMask)) {
        return decode_branch(raw, *op, slot);
    }
    switch (raw.opcode) {
        case kClassJmp | kCodeJa:
        case kClassJmp32 | kCodeJa: return decode_goto(raw, slot);
        case kClassJmp | kCodeCall: return decode_call(raw, slot);
        case kClassJmp | kCodeExit: return decode_exit(raw, slot);
        case kClassJmp | kCodeJcond: return decode_may_goto(raw, slot);
        case kClassJmp | kCodeCall | kSourceReg:
            return refuse(ErrorCode::UnsupportedInsn, slot,
                          "callx (a call through a register) is not supported");
        case kClassJmp | kCodeJa | kSourceReg:
            return refuse(ErrorCode::UnsupportedInsn, slot,
                          "gotox (a jump through a register) is not supported");
        default: return unknown_opcode(raw, slot);
    }
}

Result<Insn> decode_packet_load(const RawInsn& raw, uint32_t slot) {
    const bool absolute = (raw.opcode & kModeMask) == kModeAbs;
    const Width width = width_of(raw.opcode);
    if (width == Width::Dw) return unknown_opcode(raw, slot);
    SKEP_REFUSE(zero(raw, "dst", raw.dst(), slot));
    SKEP_REFUSE(zero(raw, "off", raw.off, slot));
    SKEP_REFUSE(absolute ? zero(raw, "src", raw.src(), slot) : readable(raw.src(), "src", slot));
    Insn insn = common(Kind::LoadPacket, raw);
    insn.width = width;
    insn.is_imm = absolute;
    return insn;
}

Result<Insn> decode_imm64(std::span<const RawInsn> slots, uint32_t slot) {
    const RawInsn& raw = slots[slot];
    SKEP_REFUSE(writable(raw.dst(), "dst", slot));
    SKEP_REFUSE(zero(raw, "off", raw.off, slot));
    if (raw.src() > static_cast<uint8_t>(PseudoImm::MapIdxValue)) {
        return reserved(raw, slot, "src", raw.src(), "0 to 6");
    }
    if (slots.size() - slot < 2) {
        return refuse(ErrorCode::Truncated, slot,
                      "a 64-bit immediate takes two slots, and the program ends after the first");
    }
    const RawInsn& high = slots[slot + 1];
    if (high.opcode != 0 || high.regs != 0 || high.off != 0) {
        return refuse(ErrorCode::BadEncoding, slot + 1,
                      "the second slot of a 64-bit immediate holds more than its upper half; "
                      "opcode, registers and off must be 0");
    }
    Insn insn = common(Kind::Imm64, raw);
    insn.imm = static_cast<int64_t>(uint64_t{static_cast<uint32_t>(high.imm)} << 32 |
                                    static_cast<uint32_t>(raw.imm));
    switch (insn.pseudo_imm()) {
        case PseudoImm::MapFd:
        case PseudoImm::MapIdx:
        case PseudoImm::Func:
            if (high.imm != 0) return reserved(raw, slot + 1, "imm", high.imm);
            break;
        case PseudoImm::Value:
        case PseudoImm::MapValue:
        case PseudoImm::BtfId:
        case PseudoImm::MapIdxValue: break;
    }
    if (insn.pseudo_imm() == PseudoImm::Func) {
        SKEP_TRY(insn.target, target_of(slot, raw.imm));
    }
    return insn;
}

Result<Insn> decode_ld(std::span<const RawInsn> slots, uint32_t slot) {
    const RawInsn& raw = slots[slot];
    switch (raw.opcode & kModeMask) {
        case kModeAbs:
        case kModeInd: return decode_packet_load(raw, slot);
        case kModeImm:
            if (width_of(raw.opcode) == Width::Dw) return decode_imm64(slots, slot);
            return unknown_opcode(raw, slot);
        default: return unknown_opcode(raw, slot);
    }
}

Result<Insn> decode_ldx(const RawInsn& raw, uint32_t slot) {
    const uint8_t mode = raw.opcode & kModeMask;
    const Width width = width_of(raw.opcode);
    const bool sign = mode == kModeMemSx;
    if ((mode != kModeMem && !sign) || (sign && width == Width::Dw)) {
        return unknown_opcode(raw, slot);
    }
    SKEP_REFUSE(writable(raw.dst(), "dst", slot));
    SKEP_REFUSE(readable(raw.src(), "src", slot));
    SKEP_REFUSE(zero(raw, "imm", raw.imm, slot));
    Insn insn = common(Kind::Load, raw);
    insn.width = width;
    insn.sign = sign;
    return insn;
}

Result<Insn> decode_atomic(const RawInsn& raw, uint32_t slot) {
    const std::optional<AtomicOp> op = atomic_op(raw.imm);
    if (!op) return reserved(raw, slot, "imm", raw.imm, "the atomic operations of RFC 9669");
    const Width width = width_of(raw.opcode);
    const bool is_plain = *op == AtomicOp::LoadAcquire || *op == AtomicOp::StoreRelease;
    if ((width == Width::B || width == Width::H) && !is_plain) {
        return refuse(ErrorCode::BadEncoding, slot,
                      "an atomic operation on " + std::to_string(bytes_of(width)) +
                          " bytes; 4 or 8 are allowed");
    }
    SKEP_REFUSE(readable(raw.dst(), "dst", slot));
    SKEP_REFUSE(readable(raw.src(), "src", slot));
    if (*op == AtomicOp::LoadAcquire) {
        SKEP_REFUSE(writable(raw.dst(), "dst", slot));
    } else if (fetches(*op) && *op != AtomicOp::Cmpxchg) {
        SKEP_REFUSE(writable(raw.src(), "src", slot));
    }
    Insn insn = common(Kind::Atomic, raw);
    insn.op = static_cast<uint8_t>(*op);
    insn.width = width;
    return insn;
}

Result<Insn> decode_store(const RawInsn& raw, uint32_t slot) {
    const bool is_imm = (raw.opcode & kClassMask) == kClassSt;
    const uint8_t mode = raw.opcode & kModeMask;
    if (mode == kModeAtomic && !is_imm) return decode_atomic(raw, slot);
    if (mode != kModeMem) return unknown_opcode(raw, slot);
    SKEP_REFUSE(readable(raw.dst(), "dst", slot));
    if (is_imm) {
        SKEP_REFUSE(zero(raw, "src", raw.src(), slot));
    } else {
        SKEP_REFUSE(readable(raw.src(), "src", slot));
        SKEP_REFUSE(zero(raw, "imm", raw.imm, slot));
    }
    Insn insn = common(Kind::Store, raw);
    insn.width = width_of(raw.opcode);
    insn.is_imm = is_imm;
    return insn;
}

#undef SKEP_REFUSE

bool has_target(const Insn& insn) {
    switch (insn.kind) {
        case Kind::Jump:
        case Kind::Branch:
        case Kind::MayGoto:
        case Kind::CallLocal: return true;
        case Kind::Imm64: return insn.pseudo_imm() == PseudoImm::Func;
        default: return false;
    }
}

Result<void> check_target(const std::vector<Insn>& insns, uint32_t slot) {
    const int32_t target = insns[slot].target;
    if (target < 0 || static_cast<uint32_t>(target) >= insns.size()) {
        return refuse(ErrorCode::BadJump, slot,
                      "jumps to slot " + std::to_string(target) + "; the program has slots 0 to " +
                          std::to_string(insns.size() - 1));
    }
    if (insns[static_cast<uint32_t>(target)].kind == Kind::Imm64High) {
        return refuse(
            ErrorCode::BadJump, slot,
            "jumps to slot " + std::to_string(target) + ", the second half of a 64-bit immediate");
    }
    return {};
}

}  // namespace

Result<Insn> decode_one(std::span<const RawInsn> slots, uint32_t index) {
    if (index >= slots.size()) {
        return refuse(ErrorCode::InvalidArgument, index,
                      "there are " + std::to_string(slots.size()) + " slots");
    }
    const RawInsn& raw = slots[index];
    switch (raw.opcode & kClassMask) {
        case kClassLd: return decode_ld(slots, index);
        case kClassLdx: return decode_ldx(raw, index);
        case kClassSt:
        case kClassStx: return decode_store(raw, index);
        case kClassJmp:
        case kClassJmp32: return decode_jump(raw, index);
        default: return decode_alu(raw, index);
    }
}

Result<std::vector<Insn>> decode(std::span<const RawInsn> slots) {
    if (slots.empty()) return fail(ErrorCode::EmptyProgram, "the program has no instructions");
    if (slots.size() > kMaxInsns) {
        return fail(ErrorCode::LimitExceeded, "the program has " + std::to_string(slots.size()) +
                                                  " slots; " + std::to_string(kMaxInsns) +
                                                  " are allowed");
    }
    std::vector<Insn> insns(slots.size());
    const auto count = static_cast<uint32_t>(slots.size());
    for (uint32_t slot = 0; slot < count; ++slot) {
        SKEP_TRY(insns[slot], decode_one(slots, slot));
        if (insns[slot].kind != Kind::Imm64) continue;
        ++slot;
        insns[slot] = common(Kind::Imm64High, slots[slot]);
    }
    for (uint32_t slot = 0; slot < count; ++slot) {
        if (has_target(insns[slot])) SKEP_CHECK(check_target(insns, slot));
    }
    return insns;
}

RawInsn encode(const Insn& insn, uint32_t index) {
    RawInsn raw{.opcode = insn.opcode,
                .regs = static_cast<uint8_t>(insn.dst | insn.src << 4),
                .off = insn.off,
                .imm = static_cast<int32_t>(insn.imm)};
    // Targets win over the operands that they were decoded from, so that a linker that moves code
    // has one field to change.
    const int32_t distance = static_cast<int32_t>(int64_t{insn.target} - int64_t{index} - 1);
    if (has_target(insn)) {
        const bool by_off = insn.kind == Kind::Branch || insn.kind == Kind::MayGoto ||
                            (insn.kind == Kind::Jump && (insn.opcode & kClassMask) == kClassJmp);
        if (by_off) {
            raw.off = static_cast<int16_t>(distance);
        } else {
            raw.imm = distance;
        }
    }
    return raw;
}

}  // namespace skep
