// Text -> 8-byte slots: the kernel's dialect.
//
// One recursive-descent step per statement form; there is no nesting, so no recursion. Operators
// come from opcodes.def. Jumps to labels are patched at the end, when every label is known.
#include "vm/isa/assemble.hpp"

#include "vm/isa/assembler.hpp"

namespace skep {
namespace asm_text {

Result<void> Assembler::line() {
    while (is_sign(":", 1)) SKEP_CHECK(label());
    if (peek().type == Token::Type::End) return {};
    if (out_.size() >= kMaxInsns) {
        return fail(ErrorCode::LimitExceeded, "more than " + std::to_string(kMaxInsns) + " slots",
                    {.line = lines_.line()});
    }
    SKEP_CHECK(statement());
    if (peek().type != Token::Type::End) return expected("the end of the line");
    return {};
}

Result<void> Assembler::label() {
    const Token& name = peek();
    if (name.type == Token::Type::Word) {
        const auto slot = static_cast<uint32_t>(out_.size());
        if (!labels_.emplace(name.text, slot).second) {
            return syntax("label `" + std::string(name.text) + "` is there already");
        }
    } else if (name.type != Token::Type::Number) {
        return expected("a label before `:`");
    }
    at_ += 2;
    return {};
}

Result<void> Assembler::statement() {
    if (as_register(peek())) return register_statement();
    if (is_sign("*")) return store_statement();
    if (peek().type != Token::Type::Word) return expected("an instruction");
    if (take_word("if")) return if_statement();
    if (take_word("goto")) {
        emit(kClassJmp | kCodeJa, 0, 0, 0, 0);
        return target(false);
    }
    if (take_word("gotol")) {
        emit(kClassJmp32 | kCodeJa, 0, 0, 0, 0);
        return target(true);
    }
    if (take_word("may_goto")) {
        emit(kClassJmp | kCodeJcond, 0, 0, 0, 0);
        return target(false);
    }
    if (take_word("call")) return call_statement();
    if (take_word("lock")) return lock_statement();
    if (take_word("store_release")) return release_statement();
    if (take_word("exit")) {
        emit(kClassJmp | kCodeExit, 0, 0, 0, 0);
        return {};
    }
    return mnemonic();
}

Result<void> Assembler::register_statement() {
    SKEP_TRY(const Reg dst, reg());
    if (take_sign("=")) return assignment(dst);
    const std::string_view sign = peek().text;
    const bool is_signed = sign == "s/=" || sign == "s%=";
    for (const AluSign& op : kAlu) {
        if (op.sign != (is_signed ? sign.substr(1) : sign)) continue;
        ++at_;
        SKEP_TRY(const Operand s, operand(dst.is64));
        emit_alu(op.code, dst.is64, dst.number, s, is_signed ? 1 : 0);
        return {};
    }
    return expected("an assignment (=, +=, -=, s>>= ...)");
}

// What follows `dst =`.
Result<void> Assembler::assignment(Reg dst) {
    constexpr uint8_t kMov = 0xb0;
    if (is_number()) {
        SKEP_TRY(const int64_t value, imm64());
        if (take_word("ll")) {
            if (!dst.is64) return syntax("`ll` needs a 64-bit register (r0 to r10)");
            emit64(dst.number, PseudoImm::Value, static_cast<int32_t>(value),
                   static_cast<int32_t>(value >> 32));
            return {};
        }
        if (value < INT32_MIN || value > int64_t{UINT32_MAX}) {
            return syntax("the number takes more than 32 bits; end it with `ll`");
        }
        emit_alu(kMov, dst.is64, dst.number, {.is_imm = true, .imm = static_cast<int32_t>(value)});
        return {};
    }
    if (take_sign("-")) {
        SKEP_TRY(const uint8_t source, reg_as(dst.is64));
        if (source != dst.number) return syntax("negation works in place: `r1 = -r1`");
        emit((dst.is64 ? kClassAlu64 : kClassAlu) | kCodeNeg, dst.number, 0, 0, 0);
        return {};
    }
    if (is_sign("*")) return load_value(dst);
    if (take_sign("(")) {
        SKEP_TRY(const MemoryType type, memory_type());
        if (!type.sign || (type.bytes == 4 && !dst.is64)) {
            return syntax("only (s8), (s16) and, to 64 bits, (s32) extend a register");
        }
        SKEP_CHECK(expect_sign(")"));
        SKEP_TRY(const uint8_t source, reg_as(dst.is64));
        emit_alu(kMov, dst.is64, dst.number, {.reg = source}, static_cast<int>(type.bytes * 8));
        return {};
    }
    if (as_register(peek())) {
        SKEP_TRY(const uint8_t source, reg_as(dst.is64));
        emit_alu(kMov, dst.is64, dst.number, {.reg = source});
        return {};
    }
    if (peek().type == Token::Type::Word) return word_value(dst);
    return expected("a value");
}

// Values that begin with a word: byte order, atomics, casts, pseudo immediates.
Result<void> Assembler::word_value(Reg dst) {
    const std::string_view word = peek().text;
    for (const std::string_view name : {"be", "le", "bswap"}) {
        if (!word.starts_with(name)) continue;
        const std::optional<int32_t> bits = order_bits(word.substr(name.size()));
        if (!bits) break;
        ++at_;
        SKEP_TRY(const uint8_t source, reg64());
        if (!dst.is64 || source != dst.number) {
            return syntax("byte order operations work in place: `r1 = be16 r1`");
        }
        emit(*order_opcode(name), dst.number, 0, 0, *bits);
        return {};
    }
    std::string_view rest = word;
    if (strip(rest, "atomic64_") || strip(rest, "atomic_")) {
        for (const AtomicName& op : kAtomic) {
            if (op.text != rest || !rest.starts_with("fetch_")) continue;
            ++at_;
            return fetch_value(dst, op.imm);
        }
    }
    const bool is32 = word == "xchg32_32" || word == "cmpxchg32_32";
    if (is32 || word == "xchg_64" || word == "cmpxchg_64") {
        ++at_;
        return exchange_value(dst, !is32, word.starts_with("cmp"));
    }
    if (take_word("load_acquire")) return acquire_value(dst);
    if (take_word("addr_space_cast")) return cast_value(dst);
    return pseudo_value(dst);
}

// "*(u8 *)(r1 + 0)", "*(u8 *)skb[12]".
Result<void> Assembler::load_value(Reg dst) {
    SKEP_CHECK(expect_sign("*"));
    SKEP_TRY(const MemoryType type, pointer_type());
    if (take_word("skb")) return packet_value(dst, type);
    // A w register is how LLVM writes a load that zero-extends to 32 bits; same instruction.
    if (!dst.is64 && (type.sign || type.bytes == 8)) {
        return syntax("this load fills 64 bits; it needs r" + std::to_string(dst.number));
    }
    SKEP_TRY(const Address from, parenthesized());
    emit(kClassLdx | (type.sign ? kModeMemSx : kModeMem) | type.size_code, dst.number, from.base,
         from.off, 0);
    return {};
}

Result<void> Assembler::packet_value(Reg dst, const MemoryType& type) {
    if (dst.number != 0 || type.sign || type.bytes == 8) {
        return syntax("packet loads are `r0 = *(u8 | u16 | u32 *)skb[...]`");
    }
    SKEP_CHECK(expect_sign("["));
    uint8_t index = 0;
    int32_t imm = 0;
    const bool indirect = as_register(peek()).has_value();
    if (indirect) {
        SKEP_TRY(index, reg64());
    }
    if (!indirect || !is_sign("]")) {
        SKEP_TRY(imm, imm32());
    }
    SKEP_CHECK(expect_sign("]"));
    emit(kClassLd | (indirect ? kModeInd : kModeAbs) | type.size_code, 0, index, 0, imm);
    return {};
}

// "map[0] ll", "map[0] + 8 ll", "btf[77] ll", "func +3 ll".
Result<void> Assembler::pseudo_value(Reg dst) {
    if (!dst.is64) return expected("a value for a 32-bit register");
    if (take_word("func")) {
        emit64(dst.number, PseudoImm::Func, 0, 0);
        SKEP_CHECK(target(true, 2));
        return take_word("ll") ? Result<void>() : expected("`ll`");
    }
    const bool map = is_word("map");
    const bool map_idx = is_word("map_idx");
    if (!map && !map_idx && !is_word("btf")) return expected("a value");
    ++at_;
    SKEP_CHECK(expect_sign("["));
    SKEP_TRY(const int32_t low, imm32());
    SKEP_CHECK(expect_sign("]"));
    int32_t high = 0;
    const bool with_offset = is_sign("+");
    if (with_offset) {
        SKEP_TRY(high, imm32());
    }
    if (!take_word("ll")) return expected("`ll`");
    PseudoImm what = PseudoImm::BtfId;
    if (map) what = with_offset ? PseudoImm::MapValue : PseudoImm::MapFd;
    if (map_idx) what = with_offset ? PseudoImm::MapIdxValue : PseudoImm::MapIdx;
    emit64(dst.number, what, low, high);
    return {};
}

// "atomic_fetch_add" is read; "((u64 *)(r1 + 0), r2)" follows.
Result<void> Assembler::fetch_value(Reg dst, int32_t op) {
    SKEP_CHECK(expect_sign("("));
    SKEP_TRY(const MemoryType type, pointer_type());
    SKEP_TRY(const Address place, parenthesized());
    SKEP_CHECK(expect_sign(","));
    SKEP_TRY(const uint8_t source, reg_as(dst.is64));
    SKEP_CHECK(expect_sign(")"));
    if (source != dst.number || type.bytes != (dst.is64 ? 8u : 4u) || type.sign) {
        return syntax(
            "a fetch replaces its own operand, of the pointer's width: "
            "`r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)`");
    }
    emit(kClassStx | kModeAtomic | type.size_code, place.base, source, place.off, op);
    return {};
}

// "xchg_64" or "cmpxchg_64" is read; "(r1 + 0, r2)" or "(r1 + 0, r0, r2)" follows.
Result<void> Assembler::exchange_value(Reg dst, bool is64, bool compare) {
    if (dst.is64 != is64) return syntax("the register and the operation differ in width");
    SKEP_CHECK(expect_sign("("));
    SKEP_TRY(const Address place, base_and_offset());
    SKEP_CHECK(expect_sign(","));
    SKEP_TRY(const uint8_t first, reg_as(is64));
    if (first != dst.number || (compare && first != 0)) {
        return syntax(compare ? "cmpxchg compares with r0 and gives r0"
                              : "xchg replaces its own operand");
    }
    uint8_t source = first;
    if (compare) {
        SKEP_CHECK(expect_sign(","));
        SKEP_TRY(source, reg_as(is64));
    }
    SKEP_CHECK(expect_sign(")"));
    emit(kClassStx | kModeAtomic | (is64 ? 0x18 : 0x00), place.base, source, place.off,
         compare ? 0xf1 : 0xe1);
    return {};
}

Result<void> Assembler::acquire_value(Reg dst) {
    SKEP_CHECK(expect_sign("("));
    SKEP_TRY(const MemoryType type, pointer_type());
    SKEP_TRY(const Address place, parenthesized());
    SKEP_CHECK(expect_sign(")"));
    if (type.sign || (type.bytes == 8 && !dst.is64)) return syntax("load_acquire of this type");
    emit(kClassStx | kModeAtomic | type.size_code, dst.number, place.base, place.off, 0x100);
    return {};
}

Result<void> Assembler::cast_value(Reg dst) {
    if (!dst.is64) return syntax("addr_space_cast needs 64-bit registers");
    SKEP_CHECK(expect_sign("("));
    SKEP_TRY(const uint8_t source, reg64());
    SKEP_CHECK(expect_sign(","));
    SKEP_TRY(const int16_t to, off16());
    SKEP_CHECK(expect_sign(","));
    SKEP_TRY(const int16_t from, off16());
    SKEP_CHECK(expect_sign(")"));
    if (to < 0 || to > 1 || from != 1 - to) return syntax("address spaces are 0 and 1");
    emit(kClassAlu64 | 0xb0 | kSourceReg, dst.number, source, 1, to << 16 | from);
    return {};
}

// "*(u64 *)(r10 - 8) = r1" or "= 5".
Result<void> Assembler::store_statement() {
    SKEP_CHECK(expect_sign("*"));
    SKEP_TRY(const MemoryType type, pointer_type());
    if (type.sign) return syntax("stores have no sign: u8, u16, u32, u64");
    SKEP_TRY(const Address to, parenthesized());
    SKEP_CHECK(expect_sign("="));
    if (const std::optional<Reg> source = as_register(peek())) {
        if (!source->is64 && type.bytes == 8) return expected("a 64-bit register (r0 to r10)");
        ++at_;
        emit(kClassStx | kModeMem | type.size_code, to.base, source->number, to.off, 0);
        return {};
    }
    SKEP_TRY(const int32_t imm, imm32());
    emit(kClassSt | kModeMem | type.size_code, to.base, 0, to.off, imm);
    return {};
}

Result<void> Assembler::release_statement() {
    SKEP_CHECK(expect_sign("("));
    SKEP_TRY(const MemoryType type, pointer_type());
    SKEP_TRY(const Address place, parenthesized());
    SKEP_CHECK(expect_sign(","));
    SKEP_TRY(const Reg source, reg());
    SKEP_CHECK(expect_sign(")"));
    if (type.sign || (type.bytes == 8 && !source.is64)) return syntax("store_release of this type");
    emit(kClassStx | kModeAtomic | type.size_code, place.base, source.number, place.off, 0x110);
    return {};
}

Result<void> Assembler::if_statement() {
    SKEP_TRY(const Reg left, reg());
    for (const AluSign& op : kCond) {
        if (!is_sign(op.sign)) continue;
        ++at_;
        SKEP_TRY(const Operand s, operand(left.is64));
        if (!take_word("goto")) return expected("`goto`");
        emit((left.is64 ? kClassJmp : kClassJmp32) | op.code | (s.is_imm ? 0 : kSourceReg),
             left.number, s.reg, 0, s.imm);
        return target(false);
    }
    return expected("a comparison (==, !=, <, s>=, & ...)");
}

Result<void> Assembler::call_statement() {
    constexpr uint8_t kCall = kClassJmp | kCodeCall;
    if (take_word("local")) {
        emit(kCall, 0, static_cast<unsigned>(PseudoCall::Local), 0, 0);
        return target(true);
    }
    if (take_word("kfunc")) {
        SKEP_TRY(const int32_t id, imm32());
        int16_t fd = 0;
        if (take_word("fd")) {
            SKEP_TRY(fd, off16());
        }
        emit(kCall, 0, static_cast<unsigned>(PseudoCall::Kfunc), fd, id);
        return {};
    }
    if (peek().type == Token::Type::Number) {
        SKEP_TRY(const int32_t number, imm32());
        emit(kCall, 0, 0, 0, number);
        return {};
    }
    if (peek().type == Token::Type::Word && options_.helper) {
        if (const std::optional<int32_t> number = options_.helper(peek().text)) {
            ++at_;
            emit(kCall, 0, 0, 0, *number);
            return {};
        }
    }
    emit(kCall, 0, static_cast<unsigned>(PseudoCall::Local), 0, 0);
    return target(true);
}

// "lock *(u64 *)(r1 + 0) += r2", "lock fetch_add [r1+8], r2", "lock add32 [r1], r2".
Result<void> Assembler::lock_statement() {
    if (take_sign("*")) {
        SKEP_TRY(const MemoryType type, pointer_type());
        SKEP_TRY(const Address place, parenthesized());
        for (const AluSign& op : kAlu) {
            if (!is_sign(op.sign)) continue;
            if (op.mnemonic != "add" && op.mnemonic != "or" && op.mnemonic != "and" &&
                op.mnemonic != "xor") {
                break;
            }
            ++at_;
            SKEP_TRY(const Reg source, reg());
            if (type.bytes < 4 || type.sign || (type.bytes == 8 && !source.is64)) {
                return syntax("atomic operations work on u32 and u64");
            }
            emit(kClassStx | kModeAtomic | type.size_code, place.base, source.number, place.off,
                 op.code);
            return {};
        }
        return expected("`+=`, `|=`, `&=` or `^=`");
    }
    if (peek().type != Token::Type::Word) return expected("an atomic operation");
    std::string_view word = peek().text;
    const bool is32 = word.ends_with("32");
    if (is32 || word.ends_with("64")) word.remove_suffix(2);
    for (const AtomicName& op : kAtomic) {
        if (op.text != word || op.imm >= 0x100) continue;
        ++at_;
        SKEP_TRY(const Address place, bracketed());
        SKEP_CHECK(expect_sign(","));
        SKEP_TRY(const Reg source, reg());
        emit(kClassStx | kModeAtomic | (is32 ? 0x00 : 0x18), place.base, source.number, place.off,
             op.imm);
        return {};
    }
    return expected("add, or, and, xor, xchg, cmpxchg, fetch_add ... (with 32 for 32 bits)");
}

}  // namespace asm_text

Result<std::vector<RawInsn>> assemble(std::string_view text, const AssembleOptions& options) {
    return asm_text::Assembler(text, options).run();
}

}  // namespace skep
