// The assembler's tokenizer. Signs are matched longest first, so `s>>=` is one token.
#include "vm/isa/asm_tokens.hpp"

#include <array>
#include <charconv>

#include "vm/base/try.hpp"

namespace skep::asm_text {
namespace {

// Every operator of the kernel's dialect and the punctuation of both.
constexpr auto kSigns = std::to_array<std::string_view>({
    "s>>=", "<<=", ">>=", "s>=", "s<=", "s/=", "s%=", "+=", "-=", "*=", "/=", "%=",
    "|=",   "&=",  "^=",  "==",  "!=",  ">=",  "<=",  "s>", "s<", ">",  "<",  "=",
    "&",    "+",   "-",   "*",   "(",   ")",   "[",   "]",  ",",  ":",
});

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' || c == '$';
}

}  // namespace

std::unexpected<Error> Lines::syntax(std::string message) const {
    return fail(ErrorCode::Syntax, std::move(message), Where{.line = line_});
}

Result<Token> Lines::number() {
    const size_t begin = pos_;
    int base = 10;
    if (peek() == '0' && (peek(1) == 'x' || peek(1) == 'X')) {
        base = 16;
        pos_ += 2;
    }
    Token token{Token::Type::Number};
    const auto [end, error] =
        std::from_chars(text_.data() + pos_, text_.data() + text_.size(), token.value, base);
    pos_ = static_cast<size_t>(end - text_.data());
    const bool runs_on = is_digit(peek()) || is_letter(peek());
    while (is_digit(peek()) || is_letter(peek())) ++pos_;
    token.text = text_.substr(begin, pos_ - begin);
    if (error == std::errc::result_out_of_range) {
        return syntax("`" + std::string(token.text) + "` does not fit in 64 bits");
    }
    if (error != std::errc{} || runs_on) {
        return syntax("`" + std::string(token.text) + "` is no number");
    }
    return token;
}

Token Lines::word() {
    const size_t begin = pos_;
    while (is_digit(peek()) || is_letter(peek())) ++pos_;
    return {Token::Type::Word, text_.substr(begin, pos_ - begin)};
}

Result<Token> Lines::sign() {
    for (const std::string_view sign : kSigns) {
        if (!text_.substr(pos_).starts_with(sign)) continue;
        const Token token{Token::Type::Sign, text_.substr(pos_, sign.size())};
        pos_ += sign.size();
        return token;
    }
    char shown[8] = {peek(), '\0'};
    if (static_cast<unsigned char>(shown[0]) < 0x20 ||
        static_cast<unsigned char>(shown[0]) > 0x7e) {
        shown[0] = '?';
    }
    return syntax("unexpected character `" + std::string(shown) + "`");
}

void Lines::skip_block_comment() {
    const size_t end = text_.find("*/", pos_ + 2);
    const size_t stop = end == std::string_view::npos ? text_.size() : end + 2;
    for (; pos_ < stop; ++pos_) {
        if (text_[pos_] == '\n') ++line_;
    }
}

Result<bool> Lines::next(std::vector<Token>& tokens) {
    tokens.clear();
    if (pos_ >= text_.size()) return false;
    ++line_;
    while (pos_ < text_.size() && peek() != '\n') {
        const char c = peek();
        if (c == ' ' || c == '\t' || c == '\r') {
            ++pos_;
        } else if (c == ';' || c == '#' || (c == '/' && peek(1) == '/')) {
            while (pos_ < text_.size() && peek() != '\n') ++pos_;
        } else if (c == '/' && peek(1) == '*') {
            skip_block_comment();
        } else if (is_digit(c)) {
            SKEP_TRY(tokens.emplace_back(), number());
        } else if (c == '%' && (peek(1) == 'r' || peek(1) == 'w')) {
            ++pos_;  // gas writes %r1
        } else if (is_letter(c) && !(c == 's' && std::string_view("></%").contains(peek(1)))) {
            tokens.push_back(word());
        } else {
            SKEP_TRY(tokens.emplace_back(), sign());
        }
    }
    ++pos_;
    tokens.push_back({});
    return true;
}

}  // namespace skep::asm_text
