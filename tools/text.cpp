// Numbers, hex and presentation; see text.hpp.
#include "tools/text.hpp"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <unistd.h>

#include "vm/base/os.hpp"

namespace skep::tool {
namespace {

std::string printed(const char* format, double value) {
    char text[64];
    std::snprintf(text, sizeof text, format, value);
    return text;
}

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

// Bytes of the well-formed UTF-8 sequence at text[i], 0 if there is none.
size_t utf8_length(std::string_view text, size_t i) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead >= 0xf0 && lead < 0xf5 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 0;
    if (lead >= 0xf5 || length == 0 || i + length > text.size()) return 0;
    for (size_t k = 1; k < length; ++k) {
        if ((static_cast<unsigned char>(text[i + k]) & 0xc0) != 0x80) return 0;
    }
    // U+0080..U+009F are control characters too.
    if (lead == 0xc2 && static_cast<unsigned char>(text[i + 1]) < 0xa0) return 0;
    return length;
}

}  // namespace

Result<uint64_t> parse_number(std::string_view text, std::string_view option) {
    std::string_view digits = text;
    const bool negative = digits.starts_with('-');
    if (negative) digits.remove_prefix(1);
    int base = 10;
    if (digits.starts_with("0x") || digits.starts_with("0X")) {
        base = 16;
        digits.remove_prefix(2);
    } else if (digits.starts_with("0b")) {
        base = 2;
        digits.remove_prefix(2);
    } else if (digits.size() > 1 && digits[0] == '0') {
        base = 8;
    }
    uint64_t value = 0;
    const auto [end, status] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
    if (status != std::errc{} || end != digits.data() + digits.size() || digits.empty() ||
        (negative && value > uint64_t{1} << 63)) {
        return fail(ErrorCode::InvalidArgument,
                    std::string(option) + ": '" + escaped(text) +
                        "' is not a number of at most 64 bits (decimal, 0x.., 0b.., 0.. octal)");
    }
    return negative ? ~value + 1 : value;
}

Result<std::vector<std::byte>> parse_hex(std::string_view text, std::string_view option) {
    std::vector<std::byte> bytes;
    std::string_view rest = text;
    if (rest.starts_with("0x") || rest.starts_with("0X")) rest.remove_prefix(2);
    int high = -1;
    for (char c : rest) {
        if (c == ' ' || c == ':' || c == '\n' || c == '\t' || c == '\r') continue;
        const int digit = hex_digit(c);
        if (digit < 0) {
            return fail(ErrorCode::InvalidArgument, std::string(option) + ": '" +
                                                        escaped(std::string_view(&c, 1)) +
                                                        "' is not a hex digit");
        }
        if (high < 0) {
            high = digit;
        } else {
            bytes.push_back(static_cast<std::byte>(high << 4 | digit));
            high = -1;
        }
    }
    if (high >= 0) {
        return fail(ErrorCode::InvalidArgument,
                    std::string(option) + ": an odd number of hex digits; bytes need two each");
    }
    return bytes;
}

Result<std::pair<std::string, std::string>> split_pair(std::string_view text,
                                                       std::string_view option) {
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size()) {
        return fail(ErrorCode::InvalidArgument,
                    std::string(option) + ": '" + escaped(text) + "' should look like NAME=VALUE");
    }
    return std::pair{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

std::string to_hex(std::span<const std::byte> bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (std::byte b : bytes) {
        text += kDigits[std::to_integer<unsigned>(b) >> 4];
        text += kDigits[std::to_integer<unsigned>(b) & 0xf];
    }
    return text;
}

std::string with_commas(uint64_t value) {
    std::string text = std::to_string(value);
    for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
    return text;
}

std::string rate(double per_second) {
    if (per_second >= 1e9) return printed("%.2f G ", per_second / 1e9);
    if (per_second >= 1e6) return printed("%.2f M ", per_second / 1e6);
    if (per_second >= 1e4) return printed("%.1f k ", per_second / 1e3);
    return printed("%.0f ", per_second);
}

std::string duration(double nanoseconds) {
    if (nanoseconds < 1e3) return printed("%.1f ns", nanoseconds);
    if (nanoseconds < 1e6) return printed("%.2f us", nanoseconds / 1e3);
    if (nanoseconds < 1e9) return printed("%.2f ms", nanoseconds / 1e6);
    return printed("%.2f s", nanoseconds / 1e9);
}

std::string escaped(std::string_view text) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size();) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c >= 0x20 && c < 0x7f) {
            out += text[i++];
        } else if (c == '\t') {
            out += ' ';
            ++i;
        } else if (const size_t length = c >= 0x80 ? utf8_length(text, i) : 0; length > 0) {
            out.append(text.substr(i, length));
            i += length;
        } else {
            out += "\\x";
            out += kDigits[c >> 4];
            out += kDigits[c & 0xf];
            ++i;
        }
    }
    return out;
}

std::string list_of(std::span<const std::string> names, std::string_view last) {
    std::string text;
    for (size_t i = 0; i < names.size(); ++i) {
        if (i > 0) text += i + 1 == names.size() ? " " + std::string(last) + " " : ", ";
        text += names[i];
    }
    return text;
}

bool is_terminal(std::FILE* stream) { return ::isatty(::fileno(stream)) == 1; }

Colour::Colour(std::FILE* stream) {
    const char* no_color = std::getenv("NO_COLOR");
    const char* term = std::getenv("TERM");
    if (!is_terminal(stream) || (no_color != nullptr && *no_color != 0)) return;
    if (term == nullptr || std::string_view(term) == "dumb") return;
    bold = "\033[1m";
    dim = "\033[2m";
    red = "\033[31m";
    green = "\033[32m";
    yellow = "\033[33m";
    cyan = "\033[36m";
    plain = "\033[0m";
}

Table::Table(std::vector<std::string> header, std::vector<Align> align)
    : header_(std::move(header)), align_(std::move(align)) {}

void Table::add(std::vector<std::string> row) {
    row.resize(header_.size());
    rows_.push_back(std::move(row));
}

std::string Table::text(const Colour& colour) const {
    std::vector<size_t> width(header_.size());
    for (size_t c = 0; c < header_.size(); ++c) {
        width[c] = header_[c].size();
        for (const auto& row : rows_) width[c] = std::max(width[c], row[c].size());
    }
    const auto line = [&](const std::vector<std::string>& cells) {
        std::string out;
        for (size_t c = 0; c < cells.size(); ++c) {
            const std::string pad(width[c] - cells[c].size(), ' ');
            if (c > 0) out += "  ";
            out += align_[c] == Align::Right ? pad + cells[c] : cells[c] + pad;
        }
        while (out.ends_with(' ')) out.pop_back();
        return out;
    };
    std::string out = colour.bold + line(header_) + colour.plain + "\n";
    for (const auto& row : rows_) out += line(row) + "\n";
    return out;
}

std::string Table::markdown() const {
    const auto line = [](const std::vector<std::string>& cells) {
        std::string out = "|";
        for (const auto& cell : cells) {
            out += ' ';
            for (char c : cell) {
                if (c == '|') out += '\\';
                out += c;
            }
            out += " |";
        }
        return out + "\n";
    };
    std::string out = line(header_) + "|";
    for (Align align : align_) out += align == Align::Right ? "---:|" : "---|";
    out += "\n";
    for (const auto& row : rows_) out += line(row);
    return out;
}

Progress::Progress(std::string what, uint64_t total)
    : what_(std::move(what)),
      total_(total),
      last_ns_(os::monotonic_ns()),
      enabled_(is_terminal(stderr)) {}

Progress::~Progress() {
    if (shown_) std::fputs("\r\033[K", stderr);
}

void Progress::at(uint64_t done, double per_second) {
    if (!enabled_) return;
    const uint64_t now = os::monotonic_ns();
    if (now - last_ns_ < 100'000'000) return;
    last_ns_ = now;
    shown_ = true;
    static constexpr unsigned kWidth = 32;
    const unsigned filled =
        total_ == 0 ? 0 : static_cast<unsigned>(std::min<uint64_t>(done * kWidth / total_, kWidth));
    const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
    std::fprintf(stderr, "\r%s [%s] %s/%s  %spackets/s\033[K", what_.c_str(), bar.c_str(),
                 with_commas(done).c_str(), with_commas(total_).c_str(), rate(per_second).c_str());
    std::fflush(stderr);
}

}  // namespace skep::tool
