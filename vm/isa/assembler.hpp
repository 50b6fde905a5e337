// The assembler behind assemble(): its state, and the pieces that both dialects are made of.
// assemble.cpp reads the kernel's dialect, asm_mnemonics.cpp the classic one.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "vm/base/try.hpp"
#include "vm/isa/asm_tokens.hpp"
#include "vm/isa/assemble.hpp"

namespace skep::asm_text {

struct Reg {
    uint8_t number = 0;
    bool is64 = true;
};

struct Address {
    uint8_t base = 0;
    int16_t off = 0;
};

struct MemoryType {
    uint8_t size_code = 0;
    unsigned bytes = 0;
    bool sign = false;
};

struct AluSign {
    std::string_view sign, mnemonic;
    uint8_t code;
};
inline constexpr auto kAlu = std::to_array<AluSign>({
#define SKEP_ALU(Name, code, sign, mnemonic) {sign, mnemonic, code},
#include "vm/isa/opcodes.def"
});
inline constexpr auto kCond = std::to_array<AluSign>({
#define SKEP_COND(Name, code, sign, mnemonic) {sign, mnemonic, code},
#include "vm/isa/opcodes.def"
});

struct AtomicName {
    std::string_view text;
    int32_t imm;
};
inline constexpr auto kAtomic = std::to_array<AtomicName>({
#define SKEP_ATOMIC(Name, imm, text, fetches) {text, imm},
#include "vm/isa/opcodes.def"
});

struct SizeName {
    std::string_view text, suffix;
    uint8_t code;
    unsigned bytes;
};
inline constexpr auto kSizes = std::to_array<SizeName>({
    {"u8", "b", 0x10, 1},
    {"u16", "h", 0x08, 2},
    {"u32", "w", 0x00, 4},
    {"u64", "dw", 0x18, 8},
});

// Takes `prefix` off the front of `text`.
inline bool strip(std::string_view& text, std::string_view prefix) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
}

// 16, 32, 64 from the end of "be16".
inline std::optional<int32_t> order_bits(std::string_view text) {
    if (text == "16") return 16;
    if (text == "32") return 32;
    if (text == "64") return 64;
    return std::nullopt;
}

// The opcode of a byte order operation by its name without the number.
inline std::optional<uint8_t> order_opcode(std::string_view name) {
    if (name == "le") return kClassAlu | kCodeEnd;
    if (name == "be") return kClassAlu | kCodeEnd | kSourceReg;
    if (name == "bswap" || name == "swap") return kClassAlu64 | kCodeEnd;
    return std::nullopt;
}

class Assembler {
public:
    Assembler(std::string_view text, const AssembleOptions& options)
        : lines_(text), options_(options) {}

    Result<std::vector<RawInsn>> run() {
        while (true) {
            SKEP_TRY(const bool more, lines_.next(tokens_));
            if (!more) break;
            at_ = 0;
            SKEP_CHECK(line());
        }
        SKEP_CHECK(patch_labels());
        return std::move(out_);
    }

private:
    // A reference to a label, to be written into `slot` when all labels are known.
    struct Fixup {
        uint32_t slot;
        bool in_imm;
        uint32_t line;
        std::string label;
    };
    // The second operand of arithmetic and conditions.
    struct Operand {
        bool is_imm = false;
        uint8_t reg = 0;
        int32_t imm = 0;
    };

    // --- tokens -------------------------------------------------------------------------------
    const Token& peek(size_t ahead = 0) const {
        return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
    }
    bool is_word(std::string_view word) const {
        return peek().type == Token::Type::Word && peek().text == word;
    }
    bool is_sign(std::string_view sign, size_t ahead = 0) const {
        return peek(ahead).type == Token::Type::Sign && peek(ahead).text == sign;
    }
    bool take_sign(std::string_view sign) {
        if (!is_sign(sign)) return false;
        ++at_;
        return true;
    }
    bool take_word(std::string_view word) {
        if (!is_word(word)) return false;
        ++at_;
        return true;
    }
    std::unexpected<Error> syntax(std::string message) const {
        return syntax(message, lines_.line());
    }
    static std::unexpected<Error> syntax(std::string message, uint32_t line) {
        return fail(ErrorCode::Syntax, std::move(message), Where{.line = line});
    }
    std::unexpected<Error> expected(std::string_view what) const {
        const Token& token = peek();
        return syntax("expected " + std::string(what) + ", found " +
                      (token.type == Token::Type::End ? "the end of the line"
                                                      : "`" + std::string(token.text) + "`"));
    }
    Result<void> expect_sign(std::string_view sign) {
        if (take_sign(sign)) return {};
        return expected("`" + std::string(sign) + "`");
    }

    // --- pieces -------------------------------------------------------------------------------
    static std::optional<Reg> as_register(const Token& token) {
        if (token.type != Token::Type::Word) return std::nullopt;
        const std::string_view t = token.text;
        if (t.size() < 2 || (t[0] != 'r' && t[0] != 'w')) return std::nullopt;
        unsigned number = 0;
        for (const char c : t.substr(1)) {
            if (c < '0' || c > '9' || number > kRegisters) return std::nullopt;
            number = number * 10 + static_cast<unsigned>(c - '0');
        }
        if (number >= kRegisters || (t[1] == '0' && t.size() > 2)) return std::nullopt;
        return Reg{static_cast<uint8_t>(number), t[0] == 'r'};
    }
    Result<Reg> reg() {
        const std::optional<Reg> found = as_register(peek());
        if (!found) return expected("a register (r0 to r10, w0 to w10)");
        ++at_;
        return *found;
    }
    Result<uint8_t> reg64() {
        const std::optional<Reg> found = as_register(peek());
        if (!found || !found->is64) return expected("a 64-bit register (r0 to r10)");
        ++at_;
        return found->number;
    }
    // A register as wide as another operand.
    Result<uint8_t> reg_as(bool is64) {
        const std::optional<Reg> found = as_register(peek());
        if (!found || found->is64 != is64) {
            return expected(is64 ? "a 64-bit register (r0 to r10)"
                                 : "a 32-bit register (w0 to w10)");
        }
        ++at_;
        return found->number;
    }
    bool is_number() const {
        const bool is_signed = is_sign("-") || is_sign("+");
        return peek(is_signed ? 1 : 0).type == Token::Type::Number;
    }
    Result<int64_t> imm64() {
        const bool negative = take_sign("-");
        if (!negative) take_sign("+");
        if (peek().type != Token::Type::Number) return expected("a number");
        const uint64_t value = peek().value;
        if (negative && value > uint64_t{1} << 63) return expected("a number of 64 bits");
        ++at_;
        return static_cast<int64_t>(negative ? 0 - value : value);
    }
    Result<int32_t> imm32() {
        const bool negative = is_sign("-");
        const size_t begin = at_;
        SKEP_TRY(const int64_t value, imm64());
        const bool fits = negative ? value >= INT32_MIN && value <= 0
                                   : static_cast<uint64_t>(value) <= UINT32_MAX;
        if (!fits) {
            at_ = begin;
            return expected("a number from -2147483648 to 4294967295");
        }
        return static_cast<int32_t>(value);
    }
    Result<int16_t> off16() {
        const size_t begin = at_;
        SKEP_TRY(const int64_t value, imm64());
        if (value < INT16_MIN || value > INT16_MAX) {
            at_ = begin;
            return expected("an offset from -32768 to 32767");
        }
        return static_cast<int16_t>(value);
    }
    Result<Operand> operand(bool is64) {
        if (as_register(peek())) {
            SKEP_TRY(const uint8_t number, reg_as(is64));
            return Operand{.reg = number};
        }
        if (!is_number()) return expected("a register or a number");
        SKEP_TRY(const int32_t imm, imm32());
        return Operand{.is_imm = true, .imm = imm};
    }
    // "r1 + 8", "r10 - 16", "r1".
    Result<Address> base_and_offset() {
        Address address;
        SKEP_TRY(address.base, reg64());
        if (is_sign("+") || is_sign("-")) {
            SKEP_TRY(address.off, off16());
        }
        return address;
    }
    // "[r1+8]" of the mnemonics.
    Result<Address> bracketed() {
        SKEP_CHECK(expect_sign("["));
        SKEP_TRY(const Address address, base_and_offset());
        SKEP_CHECK(expect_sign("]"));
        return address;
    }
    // "u8", "s32".
    Result<MemoryType> memory_type() {
        const Token& token = peek();
        if (token.type == Token::Type::Word && !token.text.empty()) {
            for (const SizeName& size : kSizes) {
                if (size.text.substr(1) != token.text.substr(1)) continue;
                const char letter = token.text[0];
                if (letter != 'u' && (letter != 's' || size.bytes == 8)) break;
                ++at_;
                return MemoryType{size.code, size.bytes, letter == 's'};
            }
        }
        return expected("a type (u8, u16, u32, u64, s8, s16, s32)");
    }
    // "(u8 *)" with the opening parenthesis.
    Result<MemoryType> pointer_type() {
        SKEP_CHECK(expect_sign("("));
        SKEP_TRY(const MemoryType type, memory_type());
        SKEP_CHECK(expect_sign("*"));
        SKEP_CHECK(expect_sign(")"));
        return type;
    }
    Result<Address> parenthesized() {
        SKEP_CHECK(expect_sign("("));
        SKEP_TRY(const Address address, base_and_offset());
        SKEP_CHECK(expect_sign(")"));
        return address;
    }

    // --- output -------------------------------------------------------------------------------
    void emit(unsigned opcode, unsigned dst, unsigned src, int off, int32_t imm) {
        out_.push_back({.opcode = static_cast<uint8_t>(opcode),
                        .regs = static_cast<uint8_t>(dst | src << 4),
                        .off = static_cast<int16_t>(off),
                        .imm = imm});
    }
    void emit64(unsigned dst, PseudoImm what, int32_t low, int32_t high) {
        emit(kClassLd | kModeImm | 0x18, dst, static_cast<unsigned>(what), 0, low);
        emit(0, 0, 0, 0, high);
    }
    void emit_alu(uint8_t code, bool is64, unsigned dst, const Operand& s, int off = 0) {
        emit((is64 ? kClassAlu64 : kClassAlu) | code | (s.is_imm ? 0 : kSourceReg), dst, s.reg, off,
             s.imm);
    }
    // A distance or a label into the last instruction emitted (its first slot).
    Result<void> target(bool in_imm, size_t back = 1) {
        const auto slot = static_cast<uint32_t>(out_.size() - back);
        if (take_word("pc") && !is_sign("+") && !is_sign("-")) return expected("`+` or `-`");
        if (is_sign("+") || is_sign("-")) {
            if (in_imm) {
                SKEP_TRY(out_[slot].imm, imm32());
            } else {
                SKEP_TRY(out_[slot].off, off16());
            }
            return {};
        }
        if (peek().type != Token::Type::Word) return expected("a label or a distance (+2, -3)");
        fixups_.push_back({slot, in_imm, lines_.line(), std::string(peek().text)});
        ++at_;
        return {};
    }
    Result<void> patch_labels() {
        for (const Fixup& fixup : fixups_) {
            const auto label = labels_.find(fixup.label);
            if (label == labels_.end()) {
                return syntax("no label `" + fixup.label + "`", fixup.line);
            }
            const int64_t distance = int64_t{label->second} - fixup.slot - 1;
            if (fixup.in_imm) {
                out_[fixup.slot].imm = static_cast<int32_t>(distance);
            } else if (distance < INT16_MIN || distance > INT16_MAX) {
                return syntax("label `" + fixup.label + "` is " + std::to_string(distance) +
                                  " slots away; -32768 to 32767 are reached, more by gotol",
                              fixup.line);
            } else {
                out_[fixup.slot].off = static_cast<int16_t>(distance);
            }
        }
        return {};
    }

    Result<void> line();
    Result<void> label();
    Result<void> statement();
    Result<void> register_statement();
    Result<void> assignment(Reg dst);
    Result<void> word_value(Reg dst);
    Result<void> load_value(Reg dst);
    Result<void> packet_value(Reg dst, const MemoryType& type);
    Result<void> pseudo_value(Reg dst);
    Result<void> fetch_value(Reg dst, int32_t op);
    Result<void> exchange_value(Reg dst, bool is64, bool compare);
    Result<void> acquire_value(Reg dst);
    Result<void> cast_value(Reg dst);
    Result<void> store_statement();
    Result<void> release_statement();
    Result<void> if_statement();
    Result<void> call_statement();
    Result<void> lock_statement();
    Result<void> mnemonic();
    Result<bool> alu_mnemonic(std::string_view word);
    Result<bool> unary_mnemonic(std::string_view word);
    Result<bool> memory_mnemonic(std::string_view word);
    Result<bool> packet_mnemonic(std::string_view word);
    Result<bool> jump_mnemonic(std::string_view word);

    Lines lines_;
    const AssembleOptions& options_;
    std::vector<Token> tokens_;
    size_t at_ = 0;
    std::vector<RawInsn> out_;
    std::map<std::string, uint32_t, std::less<>> labels_;
    std::vector<Fixup> fixups_;
};

}  // namespace skep::asm_text
