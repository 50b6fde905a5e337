// BTF: the type graph that compilers leave in .BTF, and that kernels publish.
//
// A Btf owns the wire bytes and one 32-bit offset per type; BtfType and the records below are views
// that decode on access. So a kernel's 5 MB of types are ready a few milliseconds after they were
// read. The bytes may come from anybody; parse() establishes, once, what every accessor relies on:
//   - every record lies inside the type section, every name inside the string section,
//   - every type id exists and fits its place (a VAR's type is not a FUNC, ...),
//   - no type contains itself by value, and value nesting is at most kMaxBtfDepth deep,
//   - sizes do not overflow, members and section variables lie inside their parent.
//
// Immutable and safe to share between threads; string_views and views live as long as the Btf.
// Source: Documentation/bpf/btf.rst (the format); the checks are our own.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <skep/error.hpp>

#include "vm/base/bytes.hpp"

namespace skep {

class Btf;

enum class BtfKind : uint8_t {
    Void = 0,
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Fwd = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    Datasec = 15,
    Float = 16,
    DeclTag = 17,
    TypeTag = 18,
    Enum64 = 19,
};
inline constexpr unsigned kBtfKinds = 20;
std::string_view name_of(BtfKind kind) noexcept;  // "int", "struct", "type tag" ...

// Budgets of one Btf.
inline constexpr uint32_t kMaxBtfBytes = 256u << 20;
inline constexpr uint32_t kMaxBtfTypes = 4u << 20;  // the base's included
inline constexpr uint32_t kMaxBtfDepth = 128;       // of modifiers, arrays and members by value

struct BtfMember {
    std::string_view name;  // empty: anonymous
    uint32_t type = 0;
    uint32_t bit_offset = 0;  // from the start of the struct
    uint32_t bit_size = 0;    // of a bit field, 0 = not one
    uint32_t offset() const { return bit_offset / 8; }
};
struct BtfEnumerator {
    std::string_view name;
    uint64_t value = 0;  // 32-bit values sign-extended, as libbpf relocates them
};
struct BtfParam {
    std::string_view name;
    uint32_t type = 0;  // 0 for the last one: variadic
};
struct BtfSectionVar {
    uint32_t type = 0;  // a VAR, or a FUNC in .ksyms
    uint32_t offset = 0;
    uint32_t size = 0;
};
struct BtfArray {
    uint32_t element = 0;
    uint32_t index = 0;
    uint32_t count = 0;
};
struct BtfInt {
    uint8_t bits = 0;
    uint8_t offset = 0;  // of the value inside its bytes, in bits (old bit fields)
    bool is_signed = false, is_char = false, is_bool = false;
};
enum class BtfLinkage : uint8_t { Static = 0, Global = 1, Extern = 2 };

// One type. A view: cheap to copy, valid as long as its Btf.
class BtfType {
public:
    uint32_t id() const { return id_; }
    BtfKind kind() const { return kind_; }
    bool kind_flag() const { return kind_flag_; }
    // Members, enumerators, parameters or section variables.
    uint32_t count() const { return count_; }
    std::string_view name() const;
    // Bytes: Int, Struct, Union, Enum, Enum64, Float, Datasec; 0 for the others (see Btf::size_of).
    uint32_t size() const;
    // What it refers to: Ptr, Typedef, modifiers, tags, Func (its prototype), FuncProto (what it
    // returns), Var; 0 for the others.
    uint32_t type() const;

    // `i` < count(); each for its kinds only.
    BtfMember member(uint32_t i) const;           // Struct, Union
    BtfEnumerator enumerator(uint32_t i) const;   // Enum, Enum64
    BtfParam param(uint32_t i) const;             // FuncProto
    BtfSectionVar section_var(uint32_t i) const;  // Datasec
    BtfArray array() const;                       // Array
    BtfInt int_info() const;                      // Int
    BtfLinkage linkage() const;                   // Var, Func
    int32_t component() const;                    // DeclTag: member or argument index, -1 = itself

    bool is(BtfKind kind) const { return kind_ == kind; }
    bool is_composite() const { return is(BtfKind::Struct) || is(BtfKind::Union); }
    bool is_any_enum() const { return is(BtfKind::Enum) || is(BtfKind::Enum64); }
    // Typedef, Volatile, Const, Restrict, TypeTag: transparent for sizes and for CO-RE.
    bool is_modifier() const;

private:
    friend class Btf;
    uint32_t word(uint32_t byte) const;

    const Btf* btf_ = nullptr;
    const std::byte* record_ = nullptr;
    uint32_t id_ = 0;
    uint32_t count_ = 0;
    BtfKind kind_ = BtfKind::Void;
    bool kind_flag_ = false;
};

// A member found by offset: innermost first scalar at that place.
struct BtfField {
    std::string path;     // "hdr.ports[1]"
    uint32_t type = 0;    // resolved through modifiers
    uint32_t offset = 0;  // bytes from the start of the outer type
    uint32_t size = 0;    // bytes
};

// Decl tags ("user", "contains:node:n") on a type, member or argument.
struct BtfDeclTag {
    std::string_view value;
    uint32_t target = 0;
    int32_t component = -1;
};

class Btf : public std::enable_shared_from_this<Btf> {
public:
    // Takes the wire bytes of a .BTF section; `base` makes it a split BTF, whose ids and strings
    // follow the base's. Errors: bad_btf, limit_exceeded.
    static Result<std::shared_ptr<const Btf>> parse(std::string bytes,
                                                    std::shared_ptr<const Btf> base = nullptr);
    static Result<std::shared_ptr<const Btf>> parse(Bytes bytes,
                                                    std::shared_ptr<const Btf> base = nullptr);

    // Ids are 0 (void) .. type_count() - 1, the base's included.
    uint32_t type_count() const { return first_id_ + static_cast<uint32_t>(offsets_.size()); }
    uint32_t first_id() const { return first_id_; }  // first id that is not the base's
    bool has(uint32_t id) const { return id < type_count(); }
    // `id` must exist; anything else gives void.
    BtfType type(uint32_t id) const;
    const std::shared_ptr<const Btf>& base() const { return base_; }
    // The string at an offset of the string section, which .BTF.ext uses too.
    std::optional<std::string_view> string(uint32_t offset) const;

    // The first type of that name and kind, 0 if there is none. Fast after a first use, which
    // indexes the names.
    uint32_t find(std::string_view name, BtfKind kind) const;
    // All ids, of any kind, whose name up to "___" (a CO-RE flavor) hashes like `essential`'s: a
    // superset of the equal ones, which the caller compares. Ascending.
    std::vector<uint32_t> candidates(std::string_view essential) const;

    // Through typedefs, const, volatile, restrict and type tags.
    uint32_t resolve(uint32_t id) const;
    BtfType resolved(uint32_t id) const { return type(resolve(id)); }
    // Bytes of a value of the type; nothing for void, functions and forward declarations.
    std::optional<uint32_t> size_of(uint32_t id) const;
    std::optional<uint32_t> align_of(uint32_t id) const;
    // Bits that a member takes from its bit_offset on; 0 without a known size. Compilers before
    // kind_flag described a bit field by an integer type with fewer bits than its bytes have.
    uint64_t bits_of(const BtfMember& member) const;
    // An array of arrays as one: innermost element (unresolved) and the product of the counts.
    // Anything else: itself, once.
    struct Flat {
        uint32_t element = 0;
        uint64_t count = 1;
    };
    Flat flatten(uint32_t id) const;

    // The member of that name, also inside anonymous structs and unions; its offset is from the
    // start of `id`.
    std::optional<BtfMember> find_member(uint32_t id, std::string_view name) const;
    // The innermost scalar at `offset` bytes into a value of type `id`. Unions: the first member
    // that covers it.
    std::optional<BtfField> field_at(uint32_t id, uint32_t offset) const;

    // As C writes it: "struct flow *", "unsigned int[4]", "int (*)(void *, int)". Bounded.
    std::string type_name(uint32_t id) const;

    // Type tags directly in front of what a pointer points to, outermost first ("kptr", "user").
    std::vector<std::string_view> type_tags(uint32_t pointee) const;
    // The decl tags of a type, all components.
    std::vector<BtfDeclTag> decl_tags(uint32_t target) const;

    uint64_t memory_bytes() const;

private:
    friend class BtfType;
    friend class BtfParser;
    struct NameEntry {
        uint32_t hash;
        uint32_t id;
    };

    Btf() = default;
    std::string_view string_at(uint32_t offset) const;
    std::optional<BtfMember> find_member(uint32_t id, std::string_view name,
                                         uint32_t& budget) const;
    std::optional<uint32_t> align_of(uint32_t id, uint32_t& budget) const;
    void build_index() const;
    void append_name(std::string& out, uint32_t id, unsigned depth) const;

    std::string bytes_;
    std::shared_ptr<const Btf> base_;
    uint32_t types_at_ = 0;  // of the type section in bytes_
    uint32_t strings_at_ = 0;
    uint32_t strings_size_ = 0;
    uint32_t first_id_ = 0;          // base: 0 (void has an entry), split: the base's type_count()
    uint32_t first_string_ = 0;      // string offsets below are the base's
    std::vector<uint32_t> offsets_;  // of each record in bytes_

    mutable std::once_flag index_once_;
    mutable std::vector<NameEntry> index_;  // of this Btf's own types, sorted by hash, id
    mutable std::vector<uint32_t> tags_;    // own DECL_TAGs, sorted by target
};

// The part of a name before a CO-RE flavor: "task_struct" of "task_struct___old".
std::string_view essential_name(std::string_view name);

}  // namespace skep
