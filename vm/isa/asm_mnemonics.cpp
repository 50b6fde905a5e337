// Text -> 8-byte slots: the classic mnemonics, `add64 r0, r1` and `ldxw r0, [r1+4]`.
#include "vm/isa/assembler.hpp"

namespace skep::asm_text {

// The classic mnemonics. Each group says whether the word was one of its own.
Result<void> Assembler::mnemonic() {
    const std::string_view word = peek().text;
    const size_t begin = at_++;
    for (const auto group :
         {&Assembler::alu_mnemonic, &Assembler::unary_mnemonic, &Assembler::memory_mnemonic,
          &Assembler::packet_mnemonic, &Assembler::jump_mnemonic}) {
        SKEP_TRY(const bool done, (this->*group)(word));
        if (done) return {};
    }
    at_ = begin;
    return expected("an instruction");
}

// "add64 r0, r1", "mov32 r0, 5", "sdiv r0, 3", "movsx864 r0, r1".
Result<bool> Assembler::alu_mnemonic(std::string_view word) {
    std::string_view rest = word;
    if (strip(rest, "movsx")) {
        const bool is64 = rest.ends_with("64");
        if (!is64 && !rest.ends_with("32")) return false;
        rest.remove_suffix(2);
        int bits = 0;
        if (rest == "8") bits = 8;
        if (rest == "16") bits = 16;
        if (rest == "32" && is64) bits = 32;
        if (bits == 0) return false;
        SKEP_TRY(const Reg dst, reg());
        SKEP_CHECK(expect_sign(","));
        SKEP_TRY(const Reg source, reg());
        emit_alu(0xb0, is64, dst.number, {.reg = source.number}, bits);
        return true;
    }
    const bool is32 = rest.ends_with("32");
    if (is32 || rest.ends_with("64")) rest.remove_suffix(2);
    const bool is_signed = rest == "sdiv" || rest == "smod";
    if (is_signed) rest.remove_prefix(1);
    for (const AluSign& op : kAlu) {
        if (op.mnemonic != rest) continue;
        SKEP_TRY(const Reg dst, reg());
        SKEP_CHECK(expect_sign(","));
        // The mnemonic has the width; registers are written r or w as one likes.
        Operand s;
        if (as_register(peek())) {
            SKEP_TRY(const Reg source, reg());
            s.reg = source.number;
        } else {
            SKEP_TRY(s, operand(true));
        }
        emit_alu(op.code, !is32, dst.number, s, is_signed ? 1 : 0);
        return true;
    }
    return false;
}

// "neg r0", "neg32 r0", "be16 r0", "bswap64 r0".
Result<bool> Assembler::unary_mnemonic(std::string_view word) {
    if (word == "neg" || word == "neg64" || word == "neg32") {
        SKEP_TRY(const Reg dst, reg());
        emit((word == "neg32" ? kClassAlu : kClassAlu64) | kCodeNeg, dst.number, 0, 0, 0);
        return true;
    }
    if (word.size() < 3) return false;
    const std::optional<int32_t> bits = order_bits(word.substr(word.size() - 2));
    const std::optional<uint8_t> opcode = order_opcode(word.substr(0, word.size() - 2));
    if (!bits || !opcode) return false;
    SKEP_TRY(const Reg dst, reg());
    emit(*opcode, dst.number, 0, 0, *bits);
    return true;
}

// "lddw r1, 5", "ldxw r0, [r1+4]", "ldxsh r0, [r1]", "stxdw [r10-8], r1", "stw [r1], 5".
Result<bool> Assembler::memory_mnemonic(std::string_view word) {
    if (word == "lddw") {
        SKEP_TRY(const uint8_t dst, reg64());
        SKEP_CHECK(expect_sign(","));
        SKEP_TRY(const int64_t value, imm64());
        emit64(dst, PseudoImm::Value, static_cast<int32_t>(value),
               static_cast<int32_t>(value >> 32));
        return true;
    }
    std::string_view rest = word;
    const bool load = strip(rest, "ldx");
    const bool store_reg = !load && strip(rest, "stx");
    const bool store_imm = !load && !store_reg && strip(rest, "st");
    if (!load && !store_reg && !store_imm) return false;
    const bool sign = load && rest.size() == 2 && strip(rest, "s");
    for (const SizeName& size : kSizes) {
        if (size.suffix != rest || (sign && size.bytes == 8)) continue;
        if (load) {
            SKEP_TRY(const Reg dst, reg());
            SKEP_CHECK(expect_sign(","));
            SKEP_TRY(const Address from, bracketed());
            emit(kClassLdx | (sign ? kModeMemSx : kModeMem) | size.code, dst.number, from.base,
                 from.off, 0);
            return true;
        }
        SKEP_TRY(const Address to, bracketed());
        SKEP_CHECK(expect_sign(","));
        if (store_reg) {
            SKEP_TRY(const Reg source, reg());
            emit(kClassStx | kModeMem | size.code, to.base, source.number, to.off, 0);
            return true;
        }
        SKEP_TRY(const int32_t imm, imm32());
        emit(kClassSt | kModeMem | size.code, to.base, 0, to.off, imm);
        return true;
    }
    return false;
}

// "ldabsb 3", "ldindh r1, 3".
Result<bool> Assembler::packet_mnemonic(std::string_view word) {
    std::string_view rest = word;
    const bool absolute = strip(rest, "ldabs");
    if (!absolute && !strip(rest, "ldind")) return false;
    for (const SizeName& size : kSizes) {
        if (size.suffix != rest || size.bytes == 8) continue;
        uint8_t index = 0;
        if (!absolute) {
            SKEP_TRY(index, reg64());
            SKEP_CHECK(expect_sign(","));
        }
        SKEP_TRY(const int32_t imm, imm32());
        emit(kClassLd | (absolute ? kModeAbs : kModeInd) | size.code, 0, index, 0, imm);
        return true;
    }
    return false;
}

// "ja +1", "ja32 +1" (gotol), "jne r1, 5, +2", "jne32 r1, r2, out".
Result<bool> Assembler::jump_mnemonic(std::string_view word) {
    if (word == "ja" || word == "ja32") {
        const bool by_imm = word == "ja32";
        emit((by_imm ? kClassJmp32 : kClassJmp) | kCodeJa, 0, 0, 0, 0);
        SKEP_CHECK(target(by_imm));
        return true;
    }
    std::string_view rest = word;
    const bool is32 = rest.ends_with("32");
    if (is32 || rest.ends_with("64")) rest.remove_suffix(2);
    for (const AluSign& op : kCond) {
        if (op.mnemonic != rest) continue;
        SKEP_TRY(const Reg left, reg());
        SKEP_CHECK(expect_sign(","));
        Operand s;
        if (as_register(peek())) {
            SKEP_TRY(const Reg source, reg());
            s.reg = source.number;
        } else {
            SKEP_TRY(s, operand(true));
        }
        SKEP_CHECK(expect_sign(","));
        emit((is32 ? kClassJmp32 : kClassJmp) | op.code | (s.is_imm ? 0 : kSourceReg), left.number,
             s.reg, 0, s.imm);
        SKEP_CHECK(target(false));
        return true;
    }
    return false;
}

}  // namespace skep::asm_text
