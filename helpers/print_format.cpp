// Format strings: parsed conversion by conversion, each printed as the kernel's vsnprintf does.
//
// What Linux accepts is narrow: flags 0 + - and space, a width, then d i u x X with l or ll, c, s,
// and p with its suffixes: (nothing), x, K, s, S, B for pointers and symbols, ks and us for strings
// of kernel and user memory, i4 I4 i6 I6 for addresses in memory. All else is -EINVAL. Plain %p is
// hashed by Linux; here it prints the value, as %px does.
#include "helpers/print_format.hpp"

#include <algorithm>
#include <cstring>

#include "helpers/readable.hpp"

namespace skep {

namespace {

constexpr int64_t kInvalid = -22, kNoSpace = -28;
// Linux keeps the values of one call, strings included, in a buffer of this size.
constexpr size_t kValueBytes = 512;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_graph(char c) { return c > ' ' && c < 0x7f; }
bool is_alnum(char c) { return is_digit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z'); }
bool is_punct(char c) { return is_graph(c) && !is_alnum(c); }

enum class Conversion : uint8_t { Signed, Unsigned, Hex, Char, String, Pointer, Symbol, Ip4, Ip6 };

struct Spec {
    Conversion kind = Conversion::Signed;
    bool zero = false, plus = false, minus = false, space = false;
    bool upper = false;    // %X
    bool leading = false;  // %pi4, %pi6: leading zeros, no separators
    unsigned width = 0;
    unsigned bytes = 4;  // of the value: int, or long
};

// Bounded output that goes on counting when it is full.
class Sink {
public:
    explicit Sink(std::span<char> out) : out_(out) {}
    void put(char c) {
        if (length_ + 1 < out_.size()) out_[length_] = c;
        ++length_;
    }
    void fill(char c, size_t count) {
        for (size_t i = 0; i < count; ++i) put(c);
    }
    void put(std::string_view text) {
        for (const char c : text) put(c);
    }
    // Text padded with spaces to the spec's width.
    void padded(const Spec& spec, std::string_view text) {
        const size_t pad = spec.width > text.size() ? spec.width - text.size() : 0;
        if (!spec.minus) fill(' ', pad);
        put(text);
        if (spec.minus) fill(' ', pad);
    }
    int64_t finish() {
        if (!out_.empty()) out_[std::min(length_, out_.size() - 1)] = '\0';
        return static_cast<int64_t>(length_);
    }

private:
    std::span<char> out_;
    size_t length_ = 0;
};

class Parser {
public:
    explicit Parser(std::span<const char> format) : format_(format) {}
    bool done() const { return at_ >= format_.size(); }
    char peek(size_t ahead = 0) const {
        return at_ + ahead < format_.size() ? format_[at_ + ahead] : '\0';
    }
    char next() { return format_[at_++]; }

    // After '%' (and not "%%"). False: a conversion that Linux refuses.
    bool spec(Spec& out) {
        for (;; ++at_) {
            if (peek() == '0')
                out.zero = true;
            else if (peek() == '+')
                out.plus = true;
            else if (peek() == '-')
                out.minus = true;
            else if (peek() == ' ')
                out.space = true;
            else
                break;
        }
        while (is_digit(peek())) {
            // Wider than anything that is kept is as wide as the widest.
            out.width = std::min<unsigned>(out.width * 10 + static_cast<unsigned>(peek() - '0'),
                                           kMaxPrinted);
            ++at_;
        }
        switch (peek()) {
            case 'p': ++at_; return pointer(out);
            case 's': ++at_; return string(out);
            case 'c':
                ++at_;
                out.kind = Conversion::Char;
                return true;
            default: return number(out);
        }
    }

private:
    bool at_word_end() const {
        const char c = peek();
        return c == '\0' || is_space(c) || is_punct(c);
    }

    bool string(Spec& out) {
        out.kind = Conversion::String;
        out.bytes = 8;
        return at_word_end();
    }

    bool pointer(Spec& out) {
        out.bytes = 8;
        if ((peek() == 'k' || peek() == 'u') && peek(1) == 's') {
            at_ += 2;
            return string(out);
        }
        out.kind = Conversion::Pointer;
        if (at_word_end()) return true;
        switch (peek()) {
            case 'K':
            case 'x': ++at_; return true;
            case 's':
            case 'S':
            case 'B':
                ++at_;
                out.kind = Conversion::Symbol;
                return true;
            case 'i':
            case 'I': {
                if (peek(1) != '4' && peek(1) != '6') return false;
                out.kind = peek(1) == '4' ? Conversion::Ip4 : Conversion::Ip6;
                out.leading = peek() == 'i';
                at_ += 2;
                return true;
            }
            default: return false;
        }
    }

    bool number(Spec& out) {
        if (peek() == 'l') {
            out.bytes = 8;
            ++at_;
            if (peek() == 'l') ++at_;
        }
        switch (peek()) {
            case 'd':
            case 'i': out.kind = Conversion::Signed; break;
            case 'u': out.kind = Conversion::Unsigned; break;
            case 'X': out.upper = true; [[fallthrough]];
            case 'x': out.kind = Conversion::Hex; break;
            default: return false;
        }
        ++at_;
        return true;
    }

    std::span<const char> format_;
    size_t at_ = 0;
};

void print_number(Sink& sink, const Spec& spec, uint64_t value) {
    const bool is_signed = spec.kind == Conversion::Signed;
    if (spec.bytes == 4) {
        value = is_signed ? static_cast<uint64_t>(int64_t{static_cast<int32_t>(value)})
                          : static_cast<uint32_t>(value);
    }
    char sign = '\0';
    if (is_signed) {
        if (static_cast<int64_t>(value) < 0) {
            sign = '-';
            value = 0 - value;
        } else if (spec.plus) {
            sign = '+';
        } else if (spec.space) {
            sign = ' ';
        }
    }
    const unsigned base = spec.kind == Conversion::Hex ? 16 : 10;
    const char* digits = spec.upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char text[24];
    size_t length = 0;
    do {
        text[length++] = digits[value % base];
        value /= base;
    } while (value != 0);
    const size_t used = length + (sign != '\0' ? 1 : 0);
    const size_t pad = spec.width > used ? spec.width - used : 0;
    if (!spec.minus && !spec.zero) sink.fill(' ', pad);
    if (sign != '\0') sink.put(sign);
    if (!spec.minus && spec.zero) sink.fill('0', pad);
    while (length > 0) sink.put(text[--length]);
    if (spec.minus) sink.fill(' ', pad);
}

// Pointers take at least sixteen digits; symbols, of which there are none, print as their address.
void print_pointer(Sink& sink, Spec spec, uint64_t value) {
    const bool symbol = spec.kind == Conversion::Symbol;
    char text[24];
    size_t length = 0;
    const unsigned digits = symbol ? 1 : 16;
    do {
        text[sizeof text - ++length] = "0123456789abcdef"[value % 16];
        value /= 16;
    } while (value != 0 || length < digits);
    if (symbol) {
        text[sizeof text - ++length] = 'x';
        text[sizeof text - ++length] = '0';
    }
    sink.padded(spec, {text + sizeof text - length, length});
}

void print_ip4(Sink& sink, const Spec& spec, const std::byte* bytes) {
    char text[16];
    size_t length = 0;
    for (int i = 0; i < 4; ++i) {
        const auto value = static_cast<unsigned>(bytes[i]);
        if (i > 0) text[length++] = '.';
        if (spec.leading || value >= 100) text[length++] = static_cast<char>('0' + value / 100);
        if (spec.leading || value >= 10) text[length++] = static_cast<char>('0' + value / 10 % 10);
        text[length++] = static_cast<char>('0' + value % 10);
    }
    sink.padded(spec, {text, length});
}

void print_ip6(Sink& sink, const Spec& spec, const std::byte* bytes) {
    char text[40];
    size_t length = 0;
    for (int i = 0; i < 16; ++i) {
        if (i > 0 && i % 2 == 0 && !spec.leading) text[length++] = ':';
        text[length++] = "0123456789abcdef"[static_cast<unsigned>(bytes[i]) >> 4];
        text[length++] = "0123456789abcdef"[static_cast<unsigned>(bytes[i]) & 15];
    }
    sink.padded(spec, {text, length});
}

// One conversion. `room`: what is left of the buffer that Linux keeps values in. Pass one only
// accounts (`sink` null), so that a format that is refused prints nothing.
bool convert(const HelperEnv& env, Sink& sink, const Spec& spec, uint64_t value, size_t& room) {
    const auto take = [&](size_t bytes) {
        if (bytes > room) return false;
        room -= bytes;
        return true;
    };
    switch (spec.kind) {
        case Conversion::Signed:
        case Conversion::Unsigned:
        case Conversion::Hex:
            if (!take(spec.bytes)) return false;
            print_number(sink, spec, value);
            return true;
        case Conversion::Char: {
            if (!take(1)) return false;
            const char c = static_cast<char>(value);
            sink.padded(spec, {&c, 1});
            return true;
        }
        case Conversion::Pointer:
        case Conversion::Symbol:
            if (!take(8)) return false;
            print_pointer(sink, spec, value);
            return true;
        case Conversion::String: {
            if (room == 0) return false;
            std::byte text[kValueBytes];
            const int64_t length = read_string(env, value, text, room);
            // What cannot be read prints as nothing.
            const size_t bytes = length < 0 ? 1 : static_cast<size_t>(length);
            take(bytes);
            sink.padded(spec, {reinterpret_cast<const char*>(text), bytes - 1});
            return true;
        }
        case Conversion::Ip4:
        case Conversion::Ip6: {
            const bool v4 = spec.kind == Conversion::Ip4;
            // Linux keeps the printed text of an address.
            if (!take(v4 ? 16 : 40)) return false;
            std::byte bytes[16];
            read_bytes(env, value, bytes, v4 ? 4 : 16);
            v4 ? print_ip4(sink, spec, bytes) : print_ip6(sink, spec, bytes);
            return true;
        }
    }
    return false;
}

}  // namespace

int64_t check_format(std::span<const char> format, size_t values) noexcept {
    Parser parser(format);
    size_t used = 0;
    while (!parser.done()) {
        const char c = parser.next();
        if (!is_space(c) && (c < ' ' || c >= 0x7f)) return kInvalid;
        if (c != '%') continue;
        if (parser.peek() == '%') {
            parser.next();
            continue;
        }
        Spec spec;
        if (used++ >= values || !parser.spec(spec)) return kInvalid;
    }
    return 0;
}

int64_t print_format(const HelperEnv& env, std::span<const char> format,
                     std::span<const uint64_t> values, std::span<char> out) noexcept {
    if (const int64_t error = check_format(format, values.size()); error != 0) return error;
    Sink sink(out);
    Parser parser(format);
    size_t room = kValueBytes, used = 0;
    while (!parser.done()) {
        const char c = parser.next();
        if (c != '%') {
            sink.put(c);
        } else if (parser.peek() == '%') {
            sink.put(parser.next());
        } else {
            Spec spec;
            parser.spec(spec);
            if (!convert(env, sink, spec, values[used++], room)) return kNoSpace;
        }
    }
    return sink.finish();
}

}  // namespace skep
