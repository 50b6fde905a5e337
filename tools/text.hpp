// Text of the command line: numbers, hex, NAME=VALUE pairs, and what goes to a terminal.
//
// Everything that comes from objects or captures passes escaped() before a terminal sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <skep/error.hpp>

namespace skep::tool {

// Decimal, 0x..., 0b... or octal 0..., with an optional minus (two's complement).
Result<uint64_t> parse_number(std::string_view text, std::string_view option);
// Hex digits in pairs; blanks, colons and a leading 0x are skipped.
Result<std::vector<std::byte>> parse_hex(std::string_view text, std::string_view option);
// "NAME=VALUE"; neither may be empty.
Result<std::pair<std::string, std::string>> split_pair(std::string_view text,
                                                       std::string_view option);

std::string to_hex(std::span<const std::byte> bytes);
std::string with_commas(uint64_t value);   // 1234567 -> "1,234,567"
std::string rate(double per_second);       // 3210000 -> "3.21 M ", a unit follows
std::string duration(double nanoseconds);  // 1234 -> "1.23 us"
// Control characters and bytes that are not UTF-8 as \xNN, so that no name can drive a terminal.
std::string escaped(std::string_view text);
// "a, b and c"
std::string list_of(std::span<const std::string> names, std::string_view last = "and");

// Whether `stream` is a terminal that wants colour (NO_COLOR is honoured).
bool is_terminal(std::FILE* stream);

// SGR colours for one stream; all empty when it is no terminal.
struct Colour {
    explicit Colour(std::FILE* stream);
    const char *bold = "", *dim = "", *red = "", *green = "", *yellow = "", *cyan = "", *plain = "";
};

// Columns of text, as wide as their widest cell.
class Table {
public:
    enum class Align : uint8_t { Left, Right };
    Table(std::vector<std::string> header, std::vector<Align> align);
    void add(std::vector<std::string> row);
    bool empty() const { return rows_.empty(); }
    std::string text(const Colour& colour) const;
    std::string markdown() const;

private:
    std::vector<std::string> header_;
    std::vector<Align> align_;
    std::vector<std::vector<std::string>> rows_;
};

// A line on stderr that shows how far a long run is; silent when stderr is no terminal.
class Progress {
public:
    Progress(std::string what, uint64_t total);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    void at(uint64_t done, double per_second);

private:
    std::string what_;
    uint64_t total_;
    uint64_t last_ns_ = 0;
    bool shown_ = false;
    bool enabled_;
};

}  // namespace skep::tool
