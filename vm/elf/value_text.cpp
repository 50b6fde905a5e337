// Reading values by their BTF types (see value_text.hpp).

#include "vm/elf/value_text.hpp"

#include <charconv>
#include <cstring>
#include <optional>

#include "vm/base/try.hpp"

namespace skep {
namespace {

std::unexpected<Error> bad(std::string message) {
    return fail(ErrorCode::InvalidArgument, std::move(message));
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return text;
}

// A number of up to 64 bits: its bits, and whether it was written negative.
struct Number {
    uint64_t bits = 0;
    bool negative = false;
};
std::optional<Number> parse_number(std::string_view text) {
    if (text == "true") return Number{1};
    if (text == "false") return Number{0};
    if (text.size() == 3 && text.front() == '\'' && text.back() == '\'')
        return Number{static_cast<uint8_t>(text[1])};
    Number n;
    if (text.starts_with('-')) {
        n.negative = true;
        text.remove_prefix(1);
    }
    int base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    }
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n.bits, base);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    if (n.negative) n.bits = 0 - n.bits;
    return n;
}

// Whether a number fits in `bytes`: as a signed or unsigned one, as C's initialisers take both.
bool fits(const Number& n, uint32_t bytes, bool is_bool) {
    if (is_bool) return n.bits <= 1;
    if (bytes >= 8) return !n.negative || static_cast<int64_t>(n.bits) <= 0;
    const unsigned width = bytes * 8;
    if (!n.negative) return n.bits >> width == 0;
    return static_cast<int64_t>(n.bits) >= -(int64_t{1} << (width - 1)) &&
           static_cast<int64_t>(n.bits) <= 0;
}

Result<std::vector<std::byte>> number_value(const Btf* btf, const BtfType& t, uint32_t size,
                                            std::string_view text) {
    std::vector<std::byte> out(size);
    auto number = parse_number(text);
    if (!number && btf != nullptr && t.is_any_enum()) {
        for (uint32_t i = 0; i < t.count() && !number; ++i) {
            const BtfEnumerator e = t.enumerator(i);
            if (e.name == text) {
                std::memcpy(out.data(), &e.value, std::min<size_t>(size, 8));
                return out;
            }
        }
        return bad("\"" + std::string(text) + "\" is no number and no enumerator of '" +
                   btf->type_name(t.id()) + "'");
    }
    if (!number) return bad("\"" + std::string(text) + "\" is no number");
    if (!fits(*number, size, t.is(BtfKind::Int) && t.int_info().is_bool))
        return bad(std::string(text) + " does not fit in " + std::to_string(size) + " bytes");
    // Wider than 64 bits: extended by its sign.
    std::memset(out.data(), number->negative && number->bits != 0 ? 0xff : 0, out.size());
    std::memcpy(out.data(), &number->bits, std::min<size_t>(size, 8));
    return out;
}

Result<std::vector<std::byte>> hex_value(uint32_t size, std::string_view text) {
    std::vector<std::byte> out;
    if (text.size() != size_t{size} * 2)
        return bad(std::to_string(text.size()) + " hexadecimal digits for " + std::to_string(size) +
                   " bytes");
    for (size_t i = 0; i < text.size(); i += 2) {
        uint8_t byte = 0;
        const auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
        if (error != std::errc() || end != text.data() + i + 2)
            return bad("\"" + std::string(text.substr(i, 2)) + "\" is no hexadecimal byte");
        out.push_back(static_cast<std::byte>(byte));
    }
    return out;
}

Result<std::vector<std::byte>> array_value(const Btf& btf, const BtfType& t, uint32_t size,
                                           std::string_view text) {
    const Btf::Flat flat = btf.flatten(t.id());
    const uint32_t each = btf.size_of(flat.element).value_or(0);
    const BtfType element = btf.resolved(flat.element);
    std::vector<std::byte> out(size);
    if (text.starts_with('{') && text.ends_with('}')) {
        text = text.substr(1, text.size() - 2);
        for (uint64_t i = 0; !trimmed(text).empty(); ++i) {
            if (each == 0 || i >= flat.count)
                return bad("more than " + std::to_string(flat.count) + " elements");
            const size_t comma = text.find(',');
            SKEP_TRY(const std::vector<std::byte> value,
                     number_value(&btf, element, each, trimmed(text.substr(0, comma))));
            std::memcpy(out.data() + i * each, value.data(), each);
            text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
        }
        return out;
    }
    if (each != 1 || !element.is(BtfKind::Int))
        return bad("'" + btf.type_name(t.id()) + "' takes {1, 2, ...} or hex: and its bytes");
    if (text.size() >= 2 && text.starts_with('"') && text.ends_with('"'))
        text = text.substr(1, text.size() - 2);
    // Room for the terminating NUL, which programs rely on.
    if (text.size() >= size)
        return bad("text of " + std::to_string(text.size()) + " bytes and a NUL for " +
                   std::to_string(size) + " bytes");
    std::memcpy(out.data(), text.data(), text.size());
    return out;
}

}  // namespace

Result<ValuePart> find_part(const Btf& btf, uint32_t type, std::string_view path) {
    ValuePart part{type, 0, btf.size_of(type).value_or(0)};
    uint64_t offset = 0;
    while (!path.empty()) {
        const bool index = path[0] == '[';
        const size_t end =
            index ? path.find(']') : std::min(path.find_first_of(".[", 1), path.size());
        if (end == std::string_view::npos || end < 2)
            return bad("\"" + std::string(path) + "\" is cut off");
        const std::string_view name = path.substr(1, end - 1);
        path.remove_prefix(index ? end + 1 : end);
        if (!path.empty() && path[0] != '.' && path[0] != '[')
            return bad("\"" + std::string(path) + "\" does not start with '.' or '['");
        const BtfType t = btf.resolved(part.type);
        if (index) {
            const auto n = parse_number(name);
            if (!t.is(BtfKind::Array) || !n || n->bits >= t.array().count)
                return fail(
                    ErrorCode::UnknownGlobal,
                    "'" + btf.type_name(t.id()) + "' has no element [" + std::string(name) + "]");
            part.type = t.array().element;
            offset += n->bits * btf.size_of(part.type).value_or(0);
        } else {
            const auto member = btf.find_member(part.type, name);
            if (!member)
                return fail(
                    ErrorCode::UnknownGlobal,
                    "'" + btf.type_name(t.id()) + "' has no member '" + std::string(name) + "'");
            if (member->bit_size != 0) return bad("'" + std::string(name) + "' is a bit field");
            part.type = member->type;
            offset += member->offset();
        }
        if (offset > UINT32_MAX) return bad("an offset beyond 4 GiB");
        part.size = btf.size_of(part.type).value_or(0);
    }
    part.offset = static_cast<uint32_t>(offset);
    return part;
}

Result<std::vector<std::byte>> value_from_text(const Btf* btf, uint32_t type, uint32_t size,
                                               std::string_view text) {
    text = trimmed(text);
    if (text.starts_with("hex:")) return hex_value(size, text.substr(4));
    const BtfType t = btf != nullptr ? btf->resolved(type) : BtfType();
    if (t.is(BtfKind::Array)) return array_value(*btf, t, size, text);
    const bool number =
        t.is(BtfKind::Void) || t.is(BtfKind::Int) || t.is_any_enum() || t.is(BtfKind::Ptr);
    if (!number || size > 16)
        return bad("a value of type '" +
                   (btf != nullptr ? btf->type_name(type) : std::string("?")) +
                   "' is set by its members or by hex: and its bytes");
    return number_value(btf, t, size, text);
}

}  // namespace skep
