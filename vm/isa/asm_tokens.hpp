// The assembler's words, numbers and operators, one line at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <skep/error.hpp>

namespace skep::asm_text {

struct Token {
    enum class Type : uint8_t { Word, Number, Sign, End };
    Type type = Type::End;
    std::string_view text;
    uint64_t value = 0;  // of a Number; signs are tokens of their own
};

// Splits text into lines of tokens, without comments.
class Lines {
public:
    explicit Lines(std::string_view text) : text_(text) {}

    // The tokens of the next line, ended by a Token of type End; empty lines have only that.
    // False at the end of the text.
    Result<bool> next(std::vector<Token>& tokens);
    uint32_t line() const { return line_; }  // on which the tokens last given end, from 1

private:
    Result<Token> number();
    Token word();
    Result<Token> sign();
    void skip_block_comment();
    char peek(size_t ahead = 0) const {
        return pos_ + ahead < text_.size() ? text_[pos_ + ahead] : '\0';
    }
    std::unexpected<Error> syntax(std::string message) const;

    std::string_view text_;
    size_t pos_ = 0;
    uint32_t line_ = 0;
};

}  // namespace skep::asm_text
