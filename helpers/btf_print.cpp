// Printing by BTF type: see the header. The form is Linux's, learnt from its output
// (tests/helpers/format_kernel_test.cpp holds the two together).
#include "helpers/btf_print.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "vm/btf/btf.hpp"

namespace skep {

namespace {

using namespace btf_print;  // NOLINT: the vocabulary of the flags

constexpr unsigned kDeepest = 64;

// As Linux sees it: Latin-1.
bool is_printable(unsigned char c) { return (c >= 0x20 && c < 0x7f) || c >= 0xa0; }

class Printer {
public:
    Printer(const Btf& btf, std::span<const std::byte> bytes, uint64_t flags, size_t limit)
        : btf_(btf), bytes_(bytes), flags_(flags), limit_(limit) {}

    std::string run(uint32_t type) {
        value({type, "", false, false}, 0, 0, 0);
        return std::move(out_);
    }

private:
    // Where a value stands: what its type is called there, and how it is introduced.
    struct Place {
        uint32_t type = 0;
        std::string_view member;
        bool has_member = false;  // of a struct or union
        bool is_element = false;  // of an array
    };

    bool has(uint64_t flag) const { return (flags_ & flag) != 0; }
    bool full() const { return out_.size() >= limit_; }
    void put(std::string_view text) {
        out_.append(text.substr(0, limit_ - std::min(limit_, out_.size())));
    }

    // ".len = (unsigned int)"
    std::string introduction(const Place& place) const {
        if (has(kNoName) || place.is_element) return "";
        std::string text;
        if (place.has_member && !place.member.empty()) {
            text += '.';
            text += place.member;
            text += " = ";
        }
        return text + "(" + type_text(place.type) + ")";
    }
    // A type as a cast has it: pointers and arrays as suffixes, modifiers left out.
    std::string type_text(uint32_t id) const {
        std::string stars, brackets;
        for (unsigned depth = 0; depth < kDeepest; ++depth) {
            const BtfType type = btf_.type(id);
            switch (type.kind()) {
                case BtfKind::Ptr:
                    stars += '*';
                    id = type.type();
                    continue;
                case BtfKind::Array:
                    brackets += "[]";
                    id = type.array().element;
                    continue;
                case BtfKind::Const:
                case BtfKind::Volatile:
                case BtfKind::Restrict:
                case BtfKind::TypeTag: id = type.type(); continue;
                default: break;
            }
            std::string name = prefix_of(type.kind());
            if (!name.empty() && !type.name().empty()) name += ' ';
            name += type.is(BtfKind::FuncProto) ? std::string_view() : type.name();
            if (!stars.empty()) name += (name.empty() ? "" : " ") + stars;
            return name + brackets;
        }
        return stars + brackets;
    }
    static std::string prefix_of(BtfKind kind) {
        switch (kind) {
            case BtfKind::Struct: return "struct";
            case BtfKind::Union: return "union";
            case BtfKind::Enum:
            case BtfKind::Enum64: return "enum";
            default: return "";
        }
    }

    void indent(unsigned depth) {
        if (!has(kCompact)) put(std::string(depth, ' '));
    }
    void line_end() {
        if (!has(kCompact)) put("\n");
    }
    void after(unsigned depth) {
        if (depth != 0) put(",");
        line_end();
    }
    // One value that is not zero, or has to be shown all the same.
    void plain(const Place& place, unsigned depth, const std::string& text) {
        indent(depth);
        put(introduction(place) + text);
        after(depth);
    }
    bool shown(unsigned depth, uint64_t number) const {
        return number != 0 || has(kZero) || depth == 0;
    }
    bool is_zero(uint64_t at, uint64_t size) const {
        for (uint64_t i = 0; i < size; ++i)
            if (at + i < bytes_.size() && bytes_[at + i] != std::byte{0}) return false;
        return true;
    }
    uint64_t number(uint64_t at, uint32_t size) const {
        uint64_t value = 0;
        if (at < bytes_.size())
            std::memcpy(&value, bytes_.data() + at,
                        std::min<uint64_t>({size, 8, bytes_.size() - at}));
        return value;
    }

    void value(const Place& place, uint64_t at, unsigned depth, unsigned nesting) {
        if (full() || nesting > kDeepest) return;
        const BtfType type = btf_.resolved(place.type);
        switch (type.kind()) {
            case BtfKind::Int: return integer(place, type, at, depth);
            case BtfKind::Ptr: return pointer(place, at, depth);
            case BtfKind::Enum:
            case BtfKind::Enum64: return enumerator(place, type, at, depth);
            case BtfKind::Struct:
            case BtfKind::Union: return composite(place, type, at, depth, nesting);
            case BtfKind::Array: return array(place, type, at, depth, nesting);
            default: return;
        }
    }

    static std::string decimal(uint64_t bits, uint32_t size, bool is_signed) {
        if (size < 8 && is_signed) {
            const unsigned shift = 64 - size * 8;
            return std::to_string(static_cast<int64_t>(bits << shift) >> shift);
        }
        return is_signed ? std::to_string(static_cast<int64_t>(bits)) : std::to_string(bits);
    }
    static std::string hex(uint64_t bits) {
        char text[32];
        std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(bits));
        return text;
    }

    void integer(const Place& place, const BtfType& type, uint64_t at, unsigned depth) {
        const BtfInt info = type.int_info();
        const uint32_t size = type.size();
        if (size > 8) return wide_integer(place, at, size, depth);
        uint64_t bits = number(at, size);
        if (info.offset != 0 || info.bits != size * 8) {
            bits = info.bits >= 64 ? bits >> info.offset
                                   : bits >> info.offset & ((uint64_t{1} << info.bits) - 1);
            if (shown(depth, bits)) plain(place, depth, hex(bits));
            return;
        }
        if (!shown(depth, bits)) return;
        plain(place, depth, decimal(bits, size, info.is_signed));
    }
    void wide_integer(const Place& place, uint64_t at, uint32_t size, unsigned depth) {
        if (!shown(depth, is_zero(at, size) ? 0 : 1)) return;
        const uint64_t low = number(at, 8), high = number(at + 8, 8);
        char text[48];
        if (high == 0)
            std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(low));
        else
            std::snprintf(text, sizeof text, "0x%llx%016llx", static_cast<unsigned long long>(high),
                          static_cast<unsigned long long>(low));
        plain(place, depth, text);
    }
    void pointer(const Place& place, uint64_t at, unsigned depth) {
        const uint64_t address = number(at, 8);
        if (!shown(depth, address)) return;
        char text[32];
        std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(address));
        plain(place, depth, text);
    }
    void enumerator(const Place& place, const BtfType& type, uint64_t at, unsigned depth) {
        const uint32_t size = type.size();
        const uint64_t bits = number(at, size);
        if (!shown(depth, bits)) return;
        const uint64_t mask = size >= 8 ? ~uint64_t{0} : (uint64_t{1} << size * 8) - 1;
        for (uint32_t i = 0; i < type.count(); ++i) {
            const BtfEnumerator named = type.enumerator(i);
            if ((named.value & mask) == bits) return plain(place, depth, std::string(named.name));
        }
        plain(place, depth, decimal(bits, size, !type.kind_flag() ? size == 4 : true));
    }

    void composite(const Place& place, const BtfType& type, uint64_t at, unsigned depth,
                   unsigned nesting) {
        const Opening opening = open(place, depth, "{");
        for (uint32_t i = 0; i < type.count() && !full(); ++i) {
            const BtfMember member = type.member(i);
            const Place inside{member.type, member.name, true, false};
            if (member.bit_size != 0)
                bit_field(inside, member, at, depth + 1);
            else
                value(inside, at + member.offset(), depth + 1, nesting + 1);
        }
        close(opening, depth, "}");
    }
    // Where something with members begins, and where its members do.
    struct Opening {
        size_t start = 0, inside = 0;
    };
    Opening open(const Place& place, unsigned depth, std::string_view bracket) {
        const size_t start = out_.size();
        indent(depth);
        put(introduction(place));
        put(bracket);
        line_end();
        return {start, out_.size()};
    }
    // What shows nothing inside is itself not shown inside of something else.
    void close(const Opening& opening, unsigned depth, std::string_view bracket) {
        if (out_.size() == opening.inside && depth != 0 && !has(kZero)) {
            out_.resize(opening.start);
            return;
        }
        indent(depth);
        put(bracket);
        after(depth);
    }
    void bit_field(const Place& place, const BtfMember& member, uint64_t at, unsigned depth) {
        const uint64_t first = at + member.bit_offset / 8;
        const unsigned shift = member.bit_offset % 8;
        uint64_t bits = number(first, 8) >> shift;
        if (shift != 0 && member.bit_size + shift > 64)
            bits |= number(first + 8, 1) << (64 - shift);
        if (member.bit_size < 64) bits &= (uint64_t{1} << member.bit_size) - 1;
        const BtfType type = btf_.resolved(member.type);
        if (!shown(depth, bits)) return;
        plain(place, depth,
              type.is_any_enum() ? std::to_string(static_cast<int64_t>(bits)) : hex(bits));
    }

    void array(const Place& place, const BtfType& type, uint64_t at, unsigned depth,
               unsigned nesting) {
        const BtfArray info = type.array();
        const auto size = btf_.size_of(info.element);
        const Opening opening = open(place, depth, "[");
        const BtfType element = btf_.resolved(info.element);
        const bool text = element.is(BtfKind::Int) && element.size() == 1;
        for (uint32_t i = 0; i < info.count && !full() && size; ++i) {
            const uint64_t where = at + uint64_t{i} * *size;
            if (where >= bytes_.size()) break;
            const auto c = std::to_integer<unsigned char>(bytes_[where]);
            if (text && c == 0) break;
            const Place inside{info.element, "", false, true};
            if (text && is_printable(c))
                plain(inside, depth + 1, std::string("'") + static_cast<char>(c) + "'");
            else
                value(inside, where, depth + 1, nesting + 1);
        }
        close(opening, depth, "]");
    }

    const Btf& btf_;
    std::span<const std::byte> bytes_;
    uint64_t flags_;
    size_t limit_;
    std::string out_;
};

}  // namespace

std::string print_btf(const Btf& btf, uint32_t type, std::span<const std::byte> bytes,
                      uint64_t flags, size_t limit) {
    return Printer(btf, bytes, flags, std::min(limit, kMaxBtfText)).run(type);
}

}  // namespace skep
