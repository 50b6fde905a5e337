// The two directions between BTF-typed bytes and JSON; see btf_json.hpp. Both walk the type, never
// the data's own idea of its length, and spend from a budget of nodes: unions nested in unions
// would otherwise multiply.
#include "tools/btf_json.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <nlohmann/json.hpp>

#include "tools/text.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/btf/btf.hpp"

namespace skep::tool {
namespace {

constexpr uint32_t kMaxNodes = 4u << 20;

using In = std::span<const std::byte>;
using Out = std::span<std::byte>;

uint64_t read_int(In bytes) {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data(), std::min<size_t>(bytes.size(), 8));
    return value;
}

// The `bits` at bit `shift` of up to 16 bytes.
uint64_t read_bits(In bytes, uint32_t shift, uint32_t bits) {
    unsigned __int128 raw = 0;
    std::memcpy(&raw, bytes.data() + shift / 8,
                std::min<size_t>(bytes.size() - shift / 8, sizeof raw));
    const uint64_t value = static_cast<uint64_t>(raw >> (shift % 8));
    return bits >= 64 ? value : value & ((uint64_t{1} << bits) - 1);
}

void write_bits(Out bytes, uint32_t shift, uint32_t bits, uint64_t value) {
    for (uint32_t i = 0; i < bits; ++i) {
        const uint32_t at = shift + i;
        if (at / 8 >= bytes.size()) return;
        const auto bit = static_cast<std::byte>(1u << (at % 8));
        if (value >> i & 1) {
            bytes[at / 8] |= bit;
        } else {
            bytes[at / 8] &= ~bit;
        }
    }
}

int64_t sign_extend(uint64_t value, uint32_t bits) {
    if (bits == 0 || bits >= 64) return static_cast<int64_t>(value);
    const uint32_t shift = 64 - bits;
    return static_cast<int64_t>(value << shift) >> shift;
}

bool is_char(const Btf& btf, uint32_t type) {
    const BtfType resolved = btf.resolved(type);
    if (!resolved.is(BtfKind::Int) || resolved.size() != 1) return false;
    return resolved.int_info().is_char || resolved.name() == "char";
}

// Text that fills the array or ends in NULs, without control characters.
bool is_text(In bytes) {
    size_t length = 0;
    while (length < bytes.size() && bytes[length] != std::byte{0}) ++length;
    for (size_t i = length; i < bytes.size(); ++i) {
        if (bytes[i] != std::byte{0}) return false;
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), length);
    return escaped(text) == text || text.find_first_of("\t\n") != std::string_view::npos;
}

Json untyped(In bytes) {
    switch (bytes.size()) {
        case 1:
        case 2:
        case 4:
        case 8: return read_int(bytes);
        default: return to_hex(bytes);
    }
}

Json int_json(uint64_t raw, uint32_t bits, bool is_signed, bool is_bool) {
    if (is_bool && raw <= 1) return raw == 1;
    if (is_signed) return sign_extend(raw, bits);
    return raw;
}

// --- bytes to JSON ------------------------------------------------------------------------------

class Writer {
public:
    explicit Writer(const Btf& btf) : btf_(btf) {}

    Json value(uint32_t type, In bytes) {
        if (nodes_++ > kMaxNodes) return nullptr;
        const BtfType t = btf_.resolved(type);
        const auto size = btf_.size_of(type);
        if (!size || *size > bytes.size()) return untyped(bytes);
        const In own = bytes.first(*size);
        switch (t.kind()) {
            case BtfKind::Int: return integer(t, own);
            case BtfKind::Enum:
            case BtfKind::Enum64: return enumerator(t, read_int(own), own.size() * 8);
            case BtfKind::Ptr: return read_int(own);
            case BtfKind::Float: return floating(own);
            case BtfKind::Array: return array(t, own);
            case BtfKind::Struct:
            case BtfKind::Union: {
                Json object = Json::object();
                members(t, own, object);
                return object;
            }
            case BtfKind::Var: return value(t.type(), own);
            case BtfKind::Void:
            case BtfKind::Fwd:
            case BtfKind::Typedef:
            case BtfKind::Volatile:
            case BtfKind::Const:
            case BtfKind::Restrict:
            case BtfKind::Func:
            case BtfKind::FuncProto:
            case BtfKind::Datasec:
            case BtfKind::DeclTag:
            case BtfKind::TypeTag: return untyped(own);
        }
        return untyped(own);
    }

private:
    static Json integer(const BtfType& t, In bytes) {
        const BtfInt info = t.int_info();
        if (bytes.size() > 8) return to_hex(bytes);
        return int_json(read_int(bytes), info.bits, info.is_signed, info.is_bool);
    }

    static Json enumerator(const BtfType& t, uint64_t raw, size_t bits) {
        for (uint32_t i = 0; i < t.count(); ++i) {
            const BtfEnumerator e = t.enumerator(i);
            const uint64_t mask = bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
            if ((e.value & mask) == raw) return std::string(e.name);
        }
        if (t.kind_flag()) return sign_extend(raw, static_cast<uint32_t>(bits));
        return raw;
    }

    static Json floating(In bytes) {
        double value = 0;
        if (bytes.size() == 4) {
            float narrow;
            std::memcpy(&narrow, bytes.data(), 4);
            value = narrow;
        } else if (bytes.size() == 8) {
            std::memcpy(&value, bytes.data(), 8);
        } else {
            return to_hex(bytes);
        }
        return std::isfinite(value) ? Json(value) : Json(to_hex(bytes));
    }

    Json array(const BtfType& t, In bytes) {
        const BtfArray a = t.array();
        const uint32_t step = btf_.size_of(a.element).value_or(0);
        if (is_char(btf_, a.element) && is_text(bytes)) {
            const char* text = reinterpret_cast<const char*>(bytes.data());
            return std::string(text, strnlen(text, bytes.size()));
        }
        Json list = Json::array();
        if (step == 0) return list;
        for (uint64_t off = 0; off + step <= bytes.size() && nodes_ < kMaxNodes; off += step) {
            list.push_back(value(a.element, bytes.subspan(off, step)));
        }
        return list;
    }

    void members(const BtfType& t, In bytes, Json& object) {
        for (uint32_t i = 0; i < t.count() && nodes_ < kMaxNodes; ++i) {
            const BtfMember m = t.member(i);
            const BtfType inner = btf_.resolved(m.type);
            if (m.offset() > bytes.size()) continue;
            if (m.name.empty()) {
                ++nodes_;
                if (inner.is_composite()) members(inner, bytes.subspan(m.offset()), object);
            } else if (m.bit_size != 0) {
                object[std::string(m.name)] = bit_field(inner, bytes, m);
            } else {
                object[std::string(m.name)] = value(m.type, bytes.subspan(m.offset()));
            }
        }
    }

    static Json bit_field(const BtfType& type, In bytes, const BtfMember& m) {
        const uint64_t raw = read_bits(bytes, m.bit_offset, m.bit_size);
        if (type.is_any_enum()) return enumerator(type, raw, m.bit_size);
        if (!type.is(BtfKind::Int)) return raw;
        const BtfInt info = type.int_info();
        return int_json(raw, m.bit_size, info.is_signed, info.is_bool);
    }

    const Btf& btf_;
    uint32_t nodes_ = 0;
};

// --- JSON to bytes ------------------------------------------------------------------------------

std::unexpected<Error> refuse(const std::string& path, const std::string& why) {
    return fail(ErrorCode::BadMapContents, (path.empty() ? "" : escaped(path) + ": ") + why);
}

std::string shown(const Json& json) {
    std::string text = json.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (text.size() > 60) text = text.substr(0, 57) + "...";
    return text;
}

// A number, or a string that holds one ("0x10"), that fits `bits`.
Result<uint64_t> number_of(const Json& json, uint32_t bits, const std::string& path) {
    uint64_t value = 0;
    bool negative = false;
    if (json.is_number_unsigned()) {
        value = json.get<uint64_t>();
    } else if (json.is_number_integer()) {
        negative = json.get<int64_t>() < 0;
        value = static_cast<uint64_t>(json.get<int64_t>());
    } else if (json.is_boolean()) {
        value = json.get<bool>();
    } else if (json.is_string()) {
        const std::string text = json.get<std::string>();
        auto parsed = parse_number(text, path.empty() ? "value" : path);
        if (!parsed) return refuse(path, "'" + escaped(text) + "' is not a number");
        value = *parsed;
        negative = text.starts_with('-');
    } else {
        return refuse(path, "a number belongs here, not " + shown(json));
    }
    const bool fits =
        bits >= 64 || (negative ? static_cast<int64_t>(value) >= -(int64_t{1} << (bits - 1))
                                : value < uint64_t{1} << bits);
    if (!fits) return refuse(path, shown(json) + " does not fit " + std::to_string(bits) + " bits");
    return value;
}

Result<void> untyped_from(const Json& json, Out out, const std::string& path) {
    if (json.is_string()) {
        const std::string text = json.get<std::string>();
        auto bytes = parse_hex(text, path.empty() ? "value" : path);
        if (bytes && bytes->size() == out.size()) {
            std::memcpy(out.data(), bytes->data(), out.size());
            return {};
        }
        if (out.size() > 8) {
            return refuse(path, "needs a string of " + std::to_string(out.size() * 2) +
                                    " hex digits (" + std::to_string(out.size()) + " bytes), not " +
                                    shown(json));
        }
    }
    if (out.size() > 8 || out.empty()) {
        return refuse(path, "needs a string of " + std::to_string(out.size() * 2) +
                                " hex digits (" + std::to_string(out.size()) + " bytes), not " +
                                shown(json));
    }
    SKEP_TRY(const uint64_t value, number_of(json, static_cast<uint32_t>(out.size() * 8), path));
    std::memcpy(out.data(), &value, out.size());
    return {};
}

class Reader {
public:
    explicit Reader(const Btf& btf) : btf_(btf) {}

    Result<void> value(uint32_t type, const Json& json, Out out, const std::string& path) {
        if (nodes_++ > kMaxNodes) return refuse(path, "too many values");
        const BtfType t = btf_.resolved(type);
        const auto size = btf_.size_of(type);
        if (!size || *size > out.size()) return untyped_from(json, out, path);
        const Out own = out.first(*size);
        switch (t.kind()) {
            case BtfKind::Int:
            case BtfKind::Ptr: return untyped_from(json, own, path);
            case BtfKind::Enum:
            case BtfKind::Enum64: return enumerator(t, json, own, path);
            case BtfKind::Float: return floating(json, own, path);
            case BtfKind::Array: return array(t, json, own, path);
            case BtfKind::Struct:
            case BtfKind::Union: return composite(t, json, own, path);
            case BtfKind::Var: return value(t.type(), json, own, path);
            case BtfKind::Void:
            case BtfKind::Fwd:
            case BtfKind::Typedef:
            case BtfKind::Volatile:
            case BtfKind::Const:
            case BtfKind::Restrict:
            case BtfKind::Func:
            case BtfKind::FuncProto:
            case BtfKind::Datasec:
            case BtfKind::DeclTag:
            case BtfKind::TypeTag: return untyped_from(json, own, path);
        }
        return untyped_from(json, own, path);
    }

private:
    static Result<uint64_t> enum_number(const BtfType& t, const Json& json, uint32_t bits,
                                        const std::string& path) {
        if (json.is_string()) {
            const auto& name = json.get_ref<const std::string&>();
            for (uint32_t i = 0; i < t.count(); ++i) {
                if (t.enumerator(i).name == name) return t.enumerator(i).value;
            }
        }
        return number_of(json, bits, path);
    }

    static Result<void> enumerator(const BtfType& t, const Json& json, Out out,
                                   const std::string& path) {
        SKEP_TRY(const uint64_t number,
                 enum_number(t, json, static_cast<uint32_t>(out.size() * 8), path));
        std::memcpy(out.data(), &number, std::min<size_t>(out.size(), 8));
        return {};
    }

    static Result<void> floating(const Json& json, Out out, const std::string& path) {
        if (!json.is_number() || (out.size() != 4 && out.size() != 8)) {
            return untyped_from(json, out, path);
        }
        const double wide = json.get<double>();
        const auto narrow = static_cast<float>(wide);
        std::memcpy(out.data(), out.size() == 4 ? static_cast<const void*>(&narrow) : &wide,
                    out.size());
        return {};
    }

    Result<void> array(const BtfType& t, const Json& json, Out out, const std::string& path) {
        const BtfArray a = t.array();
        const uint32_t step = btf_.size_of(a.element).value_or(0);
        if (json.is_string() && is_char(btf_, a.element)) {
            const auto& text = json.get_ref<const std::string&>();
            if (text.size() > out.size()) {
                return refuse(path, "text of " + std::to_string(text.size()) +
                                        " bytes does not fit char[" + std::to_string(out.size()) +
                                        "]");
            }
            std::memset(out.data(), 0, out.size());
            std::memcpy(out.data(), text.data(), text.size());
            return {};
        }
        if (!json.is_array()) return refuse(path, "an array belongs here, not " + shown(json));
        if (step == 0 ? !json.empty() : json.size() > out.size() / step) {
            return refuse(
                path, "an array of at most " + std::to_string(step == 0 ? 0 : out.size() / step) +
                          " elements belongs here, not of " + std::to_string(json.size()));
        }
        for (size_t i = 0; i < json.size(); ++i) {
            SKEP_CHECK(value(a.element, json[i], out.subspan(i * step, step),
                             path + "[" + std::to_string(i) + "]"));
        }
        return {};
    }

    Result<void> composite(const BtfType& t, const Json& json, Out out, const std::string& path) {
        if (!json.is_object()) {
            return refuse(path, "an object with the members of " + btf_.type_name(t.id()) +
                                    " belongs here, not " + shown(json));
        }
        for (const auto& [name, member_json] : json.items()) {
            const auto m = btf_.find_member(t.id(), name);
            if (!m) {
                return refuse(path,
                              btf_.type_name(t.id()) + " has no member '" + escaped(name) + "'");
            }
            const std::string inner = path.empty() ? name : path + "." + name;
            if (m->offset() > out.size()) return refuse(inner, "lies outside of the value");
            if (m->bit_size == 0) {
                SKEP_CHECK(value(m->type, member_json, out.subspan(m->offset()), inner));
                continue;
            }
            const BtfType type = btf_.resolved(m->type);
            SKEP_TRY(const uint64_t number, type.is_any_enum()
                                                ? enum_number(type, member_json, m->bit_size, inner)
                                                : number_of(member_json, m->bit_size, inner));
            write_bits(out, m->bit_offset, m->bit_size, number);
        }
        return {};
    }

    const Btf& btf_;
    uint32_t nodes_ = 0;
};

}  // namespace

Json to_json(const Btf* btf, uint32_t type, std::span<const std::byte> bytes) {
    return btf == nullptr || type == 0 ? untyped(bytes) : Writer(*btf).value(type, bytes);
}

Result<void> from_json(const Btf* btf, uint32_t type, const Json& json, std::span<std::byte> out) {
    return btf == nullptr || type == 0 ? untyped_from(json, out, "")
                                       : Reader(*btf).value(type, json, out, "");
}

Json section_to_json(const Btf* btf, std::span<const Variable> variables,
                     std::span<const std::byte> bytes) {
    Json object = Json::object();
    for (const Variable& variable : variables) {
        if (variable.offset > bytes.size() || variable.size > bytes.size() - variable.offset) {
            continue;
        }
        object[variable.name] =
            to_json(btf, variable.type, bytes.subspan(variable.offset, variable.size));
    }
    return object;
}

Result<void> section_from_json(const Btf* btf, std::span<const Variable> variables,
                               const Json& json, std::span<std::byte> out) {
    if (!json.is_object()) {
        return refuse("", "an object with variables by name belongs here, not " + shown(json));
    }
    for (const auto& [name, value] : json.items()) {
        const auto found = std::find_if(variables.begin(), variables.end(),
                                        [&](const Variable& v) { return v.name == name; });
        if (found == variables.end()) {
            return refuse("", "there is no variable '" + escaped(name) + "'");
        }
        if (found->offset > out.size() || found->size > out.size() - found->offset) {
            return refuse(name, "lies outside of the section");
        }
        auto done = from_json(btf, found->type, value, out.subspan(found->offset, found->size));
        if (done) continue;
        Error error = std::move(done).error();
        error.message = escaped(name) + ": " + error.message;
        return std::unexpected(std::move(error));
    }
    return {};
}

bool is_array_shaped(const Btf* btf, uint32_t type) {
    if (btf == nullptr || type == 0) return false;
    const BtfType t = btf->resolved(type);
    return t.is(BtfKind::Array);
}

Result<Json> parse_json_file(const std::string& path) {
    SKEP_TRY(const std::string text, os::read_file(path));
    try {
        return Json::parse(text);
    } catch (const Json::parse_error& error) {
        size_t line = 1, column = 1;
        for (size_t i = 0; i + 1 < error.byte && i < text.size(); ++i) {
            column = text[i] == '\n' ? 1 : column + 1;
            line += text[i] == '\n';
        }
        return fail(ErrorCode::BadMapContents,
                    "not JSON: line " + std::to_string(line) + ", column " + std::to_string(column),
                    {.object = path});
    }
}

namespace {

std::string leaf(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// The value on one line, or nothing once it is longer than `room`.
bool one_line(const Json& json, size_t room, std::string& out) {
    if (!json.is_structured() || json.empty()) {
        out += leaf(json);
        return out.size() <= room;
    }
    out += json.is_array() ? '[' : '{';
    bool first = true;
    for (const auto& [key, value] : json.items()) {
        if (!first) out += ", ";
        first = false;
        if (json.is_object()) out += leaf(Json(key)) + ": ";
        if (!one_line(value, room, out)) return false;
    }
    out += json.is_array() ? ']' : '}';
    return out.size() <= room;
}

}  // namespace

std::string pretty(const Json& json, unsigned indent, unsigned width) {
    std::string line;
    if (one_line(json, width > indent ? width - indent : 0, line)) return line;
    if (!json.is_structured() || json.empty()) return leaf(json);
    const std::string pad(indent + 2, ' ');
    std::string out = json.is_array() ? "[" : "{";
    bool first = true;
    for (const auto& [key, value] : json.items()) {
        out += first ? "\n" : ",\n";
        first = false;
        out += pad;
        if (json.is_object()) out += leaf(Json(key)) + ": ";
        out += pretty(value, indent + 2, width);
    }
    return out + "\n" + std::string(indent, ' ') + (json.is_array() ? "]" : "}");
}

}  // namespace skep::tool
