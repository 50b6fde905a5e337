// Accessors of the BTF type graph (see btf.hpp): views over checked bytes, and walks whose length
// is bounded by kMaxBtfDepth, because parse() refused anything that nests deeper.

#include "vm/btf/btf.hpp"

#include <algorithm>
#include <cstring>

namespace skep {
namespace {

constexpr uint32_t kRecordBytes = 12;

constexpr uint32_t kMaxWalkSteps = 1u << 17;  // more members than any real type has

uint32_t load32(const std::byte* p) {
    uint32_t value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

// FNV-1a: short names, no seed needed (a collision costs a comparison, and there are few names).
uint32_t hash_of(std::string_view name) {
    uint32_t h = 2166136261u;
    for (const char c : name) h = (h ^ static_cast<uint8_t>(c)) * 16777619u;
    return h;
}

}  // namespace

std::string_view name_of(BtfKind kind) noexcept {
    switch (kind) {
        case BtfKind::Void: return "void";
        case BtfKind::Int: return "int";
        case BtfKind::Ptr: return "pointer";
        case BtfKind::Array: return "array";
        case BtfKind::Struct: return "struct";
        case BtfKind::Union: return "union";
        case BtfKind::Enum: return "enum";
        case BtfKind::Fwd: return "forward declaration";
        case BtfKind::Typedef: return "typedef";
        case BtfKind::Volatile: return "volatile";
        case BtfKind::Const: return "const";
        case BtfKind::Restrict: return "restrict";
        case BtfKind::Func: return "function";
        case BtfKind::FuncProto: return "function prototype";
        case BtfKind::Var: return "variable";
        case BtfKind::Datasec: return "section";
        case BtfKind::Float: return "float";
        case BtfKind::DeclTag: return "declaration tag";
        case BtfKind::TypeTag: return "type tag";
        case BtfKind::Enum64: return "enum64";
    }
    return "unknown";
}

std::string_view essential_name(std::string_view name) {
    // A flavor needs a name before it and something behind it, as in libbpf.
    for (size_t at = name.rfind("___"); at != std::string_view::npos && at > 0;
         at = name.rfind("___", at - 1)) {
        if (at + 3 < name.size() && name[at - 1] != '_' && name[at + 3] != '_')
            return name.substr(0, at);
    }
    return name;
}

uint32_t BtfType::word(uint32_t byte) const { return load32(record_ + byte); }

std::string_view BtfType::name() const {
    return record_ == nullptr ? std::string_view() : btf_->string_at(word(0));
}

bool BtfType::is_modifier() const {
    return kind_ == BtfKind::Typedef || kind_ == BtfKind::Volatile || kind_ == BtfKind::Const ||
           kind_ == BtfKind::Restrict || kind_ == BtfKind::TypeTag;
}

uint32_t BtfType::size() const {
    switch (kind_) {
        case BtfKind::Int:
        case BtfKind::Struct:
        case BtfKind::Union:
        case BtfKind::Enum:
        case BtfKind::Enum64:
        case BtfKind::Float:
        case BtfKind::Datasec: return word(8);
        case BtfKind::Void:
        case BtfKind::Ptr:
        case BtfKind::Array:
        case BtfKind::Fwd:
        case BtfKind::Typedef:
        case BtfKind::Volatile:
        case BtfKind::Const:
        case BtfKind::Restrict:
        case BtfKind::Func:
        case BtfKind::FuncProto:
        case BtfKind::Var:
        case BtfKind::DeclTag:
        case BtfKind::TypeTag: return 0;
    }
    return 0;
}

uint32_t BtfType::type() const {
    switch (kind_) {
        case BtfKind::Ptr:
        case BtfKind::Typedef:
        case BtfKind::Volatile:
        case BtfKind::Const:
        case BtfKind::Restrict:
        case BtfKind::Func:
        case BtfKind::FuncProto:
        case BtfKind::Var:
        case BtfKind::DeclTag:
        case BtfKind::TypeTag: return word(8);
        case BtfKind::Void:
        case BtfKind::Int:
        case BtfKind::Array:
        case BtfKind::Struct:
        case BtfKind::Union:
        case BtfKind::Enum:
        case BtfKind::Fwd:
        case BtfKind::Datasec:
        case BtfKind::Float:
        case BtfKind::Enum64: return 0;
    }
    return 0;
}

BtfMember BtfType::member(uint32_t i) const {
    const uint32_t at = kRecordBytes + 12 * i;
    const uint32_t place = word(at + 8);
    BtfMember m{btf_->string_at(word(at)), word(at + 4), place, 0};
    if (kind_flag_) {
        m.bit_offset = place & 0xffffff;
        m.bit_size = place >> 24;
    }
    return m;
}

BtfEnumerator BtfType::enumerator(uint32_t i) const {
    if (kind_ == BtfKind::Enum64) {
        const uint32_t at = kRecordBytes + 12 * i;
        return {btf_->string_at(word(at)), uint64_t{word(at + 8)} << 32 | word(at + 4)};
    }
    const uint32_t at = kRecordBytes + 8 * i;
    return {btf_->string_at(word(at)),
            static_cast<uint64_t>(int64_t{static_cast<int32_t>(word(at + 4))})};
}

BtfParam BtfType::param(uint32_t i) const {
    const uint32_t at = kRecordBytes + 8 * i;
    return {btf_->string_at(word(at)), word(at + 4)};
}

BtfSectionVar BtfType::section_var(uint32_t i) const {
    const uint32_t at = kRecordBytes + 12 * i;
    return {word(at), word(at + 4), word(at + 8)};
}

BtfArray BtfType::array() const {
    return {word(kRecordBytes), word(kRecordBytes + 4), word(kRecordBytes + 8)};
}

BtfInt BtfType::int_info() const {
    const uint32_t info = word(kRecordBytes);
    const uint32_t encoding = info >> 24 & 0xf;
    return {static_cast<uint8_t>(info), static_cast<uint8_t>(info >> 16), (encoding & 1) != 0,
            (encoding & 2) != 0, (encoding & 4) != 0};
}

BtfLinkage BtfType::linkage() const {
    // A FUNC keeps its linkage where others keep their element count.
    const uint32_t value = kind_ == BtfKind::Var ? word(kRecordBytes) : word(4) & 0xffff;
    return value == 0 ? BtfLinkage::Static : value == 1 ? BtfLinkage::Global : BtfLinkage::Extern;
}

int32_t BtfType::component() const { return static_cast<int32_t>(word(kRecordBytes)); }

BtfType Btf::type(uint32_t id) const {
    if (base_ && id < first_id_) return base_->type(id);
    BtfType t;
    t.btf_ = this;
    const uint32_t index = id - first_id_;
    if (id == 0 || index >= offsets_.size()) return t;
    t.record_ = reinterpret_cast<const std::byte*>(bytes_.data()) + offsets_[index];
    t.id_ = id;
    const uint32_t info = load32(t.record_ + 4);
    t.kind_ = static_cast<BtfKind>(info >> 24 & 0x1f);
    t.kind_flag_ = info >> 31 != 0;
    t.count_ = t.kind_ == BtfKind::Func ? 0 : info & 0xffff;
    return t;
}

std::string_view Btf::string_at(uint32_t offset) const {
    if (offset < first_string_) return base_ ? base_->string_at(offset) : std::string_view();
    return std::string_view(bytes_.data() + strings_at_ + (offset - first_string_));
}

std::optional<std::string_view> Btf::string(uint32_t offset) const {
    if (offset >= first_string_ + strings_size_) return std::nullopt;
    return string_at(offset);
}

uint32_t Btf::resolve(uint32_t id) const {
    for (BtfType t = type(id); t.is_modifier(); t = type(id)) id = t.type();
    return id;
}

Btf::Flat Btf::flatten(uint32_t id) const {
    Flat flat{id, 1};
    for (BtfType t = resolved(id); t.is(BtfKind::Array); t = resolved(flat.element)) {
        const BtfArray array = t.array();
        flat.element = array.element;
        // Beyond any size that size_of() accepts, the exact product no longer matters.
        flat.count = std::min<uint64_t>(flat.count * array.count, uint64_t{1} << 32);
    }
    return flat;
}

std::optional<uint32_t> Btf::size_of(uint32_t id) const {
    const Flat flat = flatten(id);
    BtfType t = resolved(flat.element);
    if (t.is(BtfKind::Var)) return size_of(t.type());
    uint64_t size = 0;
    switch (t.kind()) {
        case BtfKind::Ptr: size = 8; break;  // the target is 64-bit
        case BtfKind::Int:
        case BtfKind::Struct:
        case BtfKind::Union:
        case BtfKind::Enum:
        case BtfKind::Enum64:
        case BtfKind::Float:
        case BtfKind::Datasec: size = t.size(); break;
        case BtfKind::Void:
        case BtfKind::Array:
        case BtfKind::Fwd:
        case BtfKind::Typedef:
        case BtfKind::Volatile:
        case BtfKind::Const:
        case BtfKind::Restrict:
        case BtfKind::Func:
        case BtfKind::FuncProto:
        case BtfKind::Var:
        case BtfKind::DeclTag:
        case BtfKind::TypeTag: return std::nullopt;
    }
    // count is at most 2^32, so the product fits in 64 bits.
    if (size * flat.count > UINT32_MAX) return std::nullopt;
    return static_cast<uint32_t>(size * flat.count);
}

uint64_t Btf::bits_of(const BtfMember& member) const {
    if (member.bit_size != 0) return member.bit_size;
    const BtfType t = resolved(member.type);
    if (t.is(BtfKind::Int)) return uint64_t{t.int_info().offset} + t.int_info().bits;
    return uint64_t{size_of(member.type).value_or(0)} * 8;
}

std::optional<uint32_t> Btf::align_of(uint32_t id) const {
    uint32_t budget = kMaxWalkSteps;
    return align_of(id, budget);
}

std::optional<uint32_t> Btf::align_of(uint32_t id, uint32_t& budget) const {
    const BtfType t = resolved(flatten(id).element);
    if (t.is(BtfKind::Ptr)) return 8;
    if (t.is_composite()) {
        uint32_t align = 1;
        for (uint32_t i = 0; i < t.count(); ++i) {
            if (budget == 0) return 1;
            --budget;
            const BtfMember m = t.member(i);
            const uint32_t own = align_of(m.type, budget).value_or(1);
            // A packed struct shows by a member off its alignment or an odd size.
            if (m.bit_size == 0 && (m.bit_offset % (8 * own) != 0 || t.size() % own != 0)) return 1;
            align = std::max(align, own);
        }
        return align;
    }
    if (t.is(BtfKind::Int) || t.is_any_enum() || t.is(BtfKind::Float))
        return std::min<uint32_t>(std::max<uint32_t>(t.size(), 1), 8);
    return std::nullopt;
}

// Unions may share their parts, so the number of ways down a type is exponential in its depth: what
// looks at all of them counts its steps.
std::optional<BtfMember> Btf::find_member(uint32_t id, std::string_view name) const {
    uint32_t budget = kMaxWalkSteps;
    return find_member(id, name, budget);
}

std::optional<BtfMember> Btf::find_member(uint32_t id, std::string_view name,
                                          uint32_t& budget) const {
    const BtfType t = resolved(id);
    if (!t.is_composite()) return std::nullopt;
    for (uint32_t i = 0; i < t.count() && budget != 0; ++i, --budget) {
        BtfMember m = t.member(i);
        if (!m.name.empty()) {
            if (m.name == name) return m;
            continue;
        }
        if (auto inner = find_member(m.type, name, budget)) {
            inner->bit_offset += m.bit_offset;
            return inner;
        }
        if (budget == 0) break;
    }
    return std::nullopt;
}

std::optional<BtfField> Btf::field_at(uint32_t id, uint32_t offset) const {
    BtfField field;
    uint64_t start = 0;
    for (unsigned depth = 0; depth <= 2 * kMaxBtfDepth; ++depth) {
        const BtfType t = resolved(id);
        const auto size = size_of(t.id());
        if (!size || offset < start || offset - start >= *size) return std::nullopt;
        if (t.is(BtfKind::Array)) {
            const uint32_t each = size_of(t.array().element).value_or(0);
            if (each == 0) return std::nullopt;
            const uint64_t index = (offset - start) / each;
            field.path += "[" + std::to_string(index) + "]";
            start += index * each;
            id = t.array().element;
            continue;
        }
        if (!t.is_composite()) {
            field.type = t.id();
            field.offset = static_cast<uint32_t>(start);
            field.size = *size;
            return field;
        }
        bool found = false;
        for (uint32_t i = 0; i < t.count() && !found; ++i) {
            const BtfMember m = t.member(i);
            const uint64_t at = start + m.offset();
            const uint64_t bits = bits_of(m);
            const uint32_t whole = size_of(m.type).value_or(0);
            const bool bit_field = m.bit_offset % 8 != 0 || bits != uint64_t{whole} * 8;
            const uint32_t bytes = static_cast<uint32_t>((m.bit_offset % 8 + bits + 7) / 8);
            if (offset < at || offset - at >= bytes) continue;
            if (!m.name.empty()) {
                if (!field.path.empty()) field.path += '.';
                field.path += m.name;
            }
            if (bit_field) {
                field.type = resolve(m.type);
                field.offset = static_cast<uint32_t>(at);
                field.size = bytes;
                return field;
            }
            start = at;
            id = m.type;
            found = true;
        }
        if (!found) return std::nullopt;  // padding
    }
    return std::nullopt;
}

std::vector<std::string_view> Btf::type_tags(uint32_t pointee) const {
    std::vector<std::string_view> tags;
    for (BtfType t = type(pointee); t.is_modifier(); t = type(t.type()))
        if (t.is(BtfKind::TypeTag)) tags.push_back(t.name());
    return tags;
}

// --- names
// ----------------------------------------------------------------------------------------

void Btf::build_index() const {
    std::call_once(index_once_, [this] {
        index_.reserve(offsets_.size());
        for (uint32_t id = std::max(first_id_, 1u); id < type_count(); ++id) {
            const BtfType t = type(id);
            if (t.is(BtfKind::DeclTag)) tags_.push_back(id);
            const std::string_view name = t.name();
            if (!name.empty() && !t.is(BtfKind::DeclTag) && !t.is(BtfKind::TypeTag))
                index_.push_back({hash_of(essential_name(name)), id});
        }
        std::sort(index_.begin(), index_.end(), [](const NameEntry& a, const NameEntry& b) {
            return a.hash != b.hash ? a.hash < b.hash : a.id < b.id;
        });
        std::stable_sort(tags_.begin(), tags_.end(), [this](uint32_t a, uint32_t b) {
            return type(a).type() < type(b).type();
        });
    });
}

std::vector<uint32_t> Btf::candidates(std::string_view essential) const {
    std::vector<uint32_t> ids;
    if (base_) ids = base_->candidates(essential);
    build_index();
    const uint32_t hash = hash_of(essential);
    auto it = std::lower_bound(index_.begin(), index_.end(), hash,
                               [](const NameEntry& e, uint32_t h) { return e.hash < h; });
    for (; it != index_.end() && it->hash == hash; ++it) ids.push_back(it->id);
    return ids;
}

uint32_t Btf::find(std::string_view name, BtfKind kind) const {
    if (base_)
        if (const uint32_t id = base_->find(name, kind)) return id;
    build_index();
    const uint32_t hash = hash_of(essential_name(name));
    auto it = std::lower_bound(index_.begin(), index_.end(), hash,
                               [](const NameEntry& e, uint32_t h) { return e.hash < h; });
    for (; it != index_.end() && it->hash == hash; ++it) {
        const BtfType t = type(it->id);
        if (t.is(kind) && t.name() == name) return it->id;
    }
    return 0;
}

std::vector<BtfDeclTag> Btf::decl_tags(uint32_t target) const {
    std::vector<BtfDeclTag> found;
    if (base_) found = base_->decl_tags(target);
    build_index();
    auto it = std::lower_bound(tags_.begin(), tags_.end(), target,
                               [this](uint32_t tag, uint32_t t) { return type(tag).type() < t; });
    for (; it != tags_.end() && type(*it).type() == target; ++it)
        found.push_back({type(*it).name(), target, type(*it).component()});
    return found;
}

uint64_t Btf::memory_bytes() const {
    return sizeof(Btf) + bytes_.capacity() + offsets_.capacity() * 4 + index_.capacity() * 8 +
           tags_.capacity() * 4;
}

}  // namespace skep
