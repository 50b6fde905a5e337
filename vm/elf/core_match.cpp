// Which types count as the same for CO-RE (see core.hpp): three relations of growing strictness.
//
//   fields_compatible   a field may have changed its size, but not its nature
//   types_compatible    kinds agree down to pointees and prototypes ("type exists")
//   types_match         names, members and enumerators agree too ("type matches")
//
// Types from outside may share parts, so that the number of paths is exponential: every comparison
// has a depth and a step budget; running out counts as "no".

#include <algorithm>

#include "vm/elf/core.hpp"

namespace skep::core {
namespace {

constexpr unsigned kMaxDepth = 32;
constexpr unsigned kMaxSteps = 1u << 18;
constexpr size_t kMaxSpecSteps = 64;

bool same_kind(const BtfType& a, const BtfType& b) {
    return a.kind() == b.kind() || (a.is_any_enum() && b.is_any_enum());
}

bool plain_int(const BtfType& t) { return t.int_info().offset == 0; }

bool same_essential(std::string_view a, std::string_view b) {
    return essential_name(a) == essential_name(b);
}

bool fields_compatible(const Btf& local, uint32_t a, const Btf& target, uint32_t b) {
    for (;;) {
        const BtfType l = local.resolved(a), t = target.resolved(b);
        if (l.is_composite() && t.is_composite()) return true;
        if (!same_kind(l, t)) return false;
        switch (l.kind()) {
            case BtfKind::Ptr:
            case BtfKind::Float: return true;
            case BtfKind::Fwd:
            case BtfKind::Enum:
            case BtfKind::Enum64:
                return l.name().empty() || t.name().empty() || same_essential(l.name(), t.name());
            case BtfKind::Int: return plain_int(l) && plain_int(t);
            case BtfKind::Array:  // acyclic by value, so this ends
                a = l.array().element;
                b = t.array().element;
                continue;
            case BtfKind::Void:
            case BtfKind::Struct:
            case BtfKind::Union:
            case BtfKind::Typedef:
            case BtfKind::Volatile:
            case BtfKind::Const:
            case BtfKind::Restrict:
            case BtfKind::Func:
            case BtfKind::FuncProto:
            case BtfKind::Var:
            case BtfKind::Datasec:
            case BtfKind::DeclTag:
            case BtfKind::TypeTag: return false;
        }
        return false;
    }
}

struct Comparison {
    const Btf& local;
    const Btf& target;
    unsigned steps = kMaxSteps;

    bool step() { return steps != 0 && --steps != 0; }

    bool compatible(uint32_t a, uint32_t b, unsigned depth) {
        for (; depth != 0 && step(); --depth) {
            const BtfType l = local.resolved(a), t = target.resolved(b);
            if (!same_kind(l, t)) return false;
            switch (l.kind()) {
                case BtfKind::Void:
                case BtfKind::Struct:
                case BtfKind::Union:
                case BtfKind::Enum:
                case BtfKind::Enum64:
                case BtfKind::Fwd: return true;
                case BtfKind::Int: return plain_int(l) && plain_int(t);
                case BtfKind::Ptr:
                    a = l.type();
                    b = t.type();
                    continue;
                case BtfKind::Array:
                    a = l.array().element;
                    b = t.array().element;
                    continue;
                case BtfKind::FuncProto:
                    if (l.count() != t.count()) return false;
                    for (uint32_t i = 0; i < l.count(); ++i)
                        if (!compatible(l.param(i).type, t.param(i).type, depth - 1)) return false;
                    a = l.type();
                    b = t.type();
                    continue;
                case BtfKind::Typedef:
                case BtfKind::Volatile:
                case BtfKind::Const:
                case BtfKind::Restrict:
                case BtfKind::Func:
                case BtfKind::Var:
                case BtfKind::Datasec:
                case BtfKind::Float:
                case BtfKind::DeclTag:
                case BtfKind::TypeTag: return false;
            }
        }
        return false;
    }

    bool enums_match(const BtfType& l, const BtfType& t) {
        if (l.size() != t.size() || l.count() > t.count()) return false;
        for (uint32_t i = 0; i < l.count(); ++i) {
            bool found = false;
            for (uint32_t k = 0; k < t.count() && !found && step(); ++k)
                found = same_essential(l.enumerator(i).name, t.enumerator(k).name);
            if (!found) return false;
        }
        return true;
    }

    bool members_match(const BtfType& l, const BtfType& t, bool behind_pointer, unsigned depth) {
        if (l.count() > t.count()) return false;
        for (uint32_t i = 0; i < l.count(); ++i) {
            const BtfMember m = l.member(i);
            bool found = false;
            for (uint32_t k = 0; k < t.count() && !found && step(); ++k) {
                const BtfMember other = t.member(k);
                found = same_essential(m.name, other.name) &&
                        matches(m.type, other.type, behind_pointer, depth - 1);
            }
            if (!found) return false;
        }
        return true;
    }

    // Behind a pointer, composites are compared by name only, and may be forward declarations.
    bool composite_matches(const BtfType& l, const BtfType& t, bool behind_pointer,
                           unsigned depth) {
        if (!behind_pointer)
            return l.kind() == t.kind() && members_match(l, t, behind_pointer, depth);
        return l.kind() == t.kind() ||
               (t.is(BtfKind::Fwd) && l.is(BtfKind::Union) == t.kind_flag());
    }

    bool forward_matches(const BtfType& l, const BtfType& t, bool behind_pointer) {
        if (t.is(BtfKind::Fwd)) return l.kind_flag() == t.kind_flag();
        return behind_pointer && t.is(l.kind_flag() ? BtfKind::Union : BtfKind::Struct);
    }

    bool matches(uint32_t a, uint32_t b, bool behind_pointer, unsigned depth) {
        for (; depth != 0 && step(); --depth) {
            const BtfType l = local.resolved(a), t = target.resolved(b);
            if (!same_essential(l.name(), t.name())) return false;
            switch (l.kind()) {
                case BtfKind::Void: return t.is(BtfKind::Void);
                case BtfKind::Fwd: return forward_matches(l, t, behind_pointer);
                case BtfKind::Enum:
                case BtfKind::Enum64: return t.is_any_enum() && enums_match(l, t);
                case BtfKind::Struct:
                case BtfKind::Union: return composite_matches(l, t, behind_pointer, depth);
                case BtfKind::Int:
                    return t.is(BtfKind::Int) && l.size() == t.size() &&
                           l.int_info().is_signed == t.int_info().is_signed;
                case BtfKind::Ptr:
                    if (!t.is(BtfKind::Ptr)) return false;
                    behind_pointer = true;
                    a = l.type();
                    b = t.type();
                    continue;
                case BtfKind::Array:
                    if (!t.is(BtfKind::Array) || l.array().count != t.array().count) return false;
                    a = l.array().element;
                    b = t.array().element;
                    continue;
                case BtfKind::FuncProto:
                    if (!t.is(BtfKind::FuncProto) || l.count() != t.count()) return false;
                    for (uint32_t i = 0; i < l.count(); ++i)
                        if (!matches(l.param(i).type, t.param(i).type, behind_pointer, depth - 1))
                            return false;
                    a = l.type();
                    b = t.type();
                    continue;
                case BtfKind::Typedef:
                case BtfKind::Volatile:
                case BtfKind::Const:
                case BtfKind::Restrict:
                case BtfKind::Func:
                case BtfKind::Var:
                case BtfKind::Datasec:
                case BtfKind::Float:
                case BtfKind::DeclTag:
                case BtfKind::TypeTag: return false;
            }
        }
        return false;
    }
};

// The last member of its struct, without a length: any index is inside.
bool is_flexible(const Btf& btf, const Accessor* before, const BtfType& array) {
    if (before == nullptr || before->name.empty() || array.array().count != 0) return false;
    return before->index + 1 == btf.type(before->type).count();
}

struct MemberSearch {
    const Btf& local;
    const Btf& target;
    uint32_t local_type;  // of the member searched
    std::string_view name;
    unsigned steps = kMaxSteps;

    // Searches `composite` and its anonymous members; on success appends the step and sets `next`.
    bool find(uint32_t composite, Spec& out, uint32_t& next, unsigned depth) {
        const BtfType t = target.resolved(composite);
        if (!t.is_composite() || depth == 0) return false;
        for (uint32_t i = 0; i < t.count() && steps != 0; ++i, --steps) {
            const BtfMember m = t.member(i);
            out.bit_offset += m.bit_offset;
            if (m.name.empty()) {
                if (find(m.type, out, next, depth - 1)) return true;
                if (steps == 0) return false;
            } else if (m.name == name) {
                if (!fields_compatible(local, local_type, target, m.type)) return false;
                out.steps.push_back({t.id(), i, m.name});
                next = m.type;
                return true;
            }
            out.bit_offset -= m.bit_offset;
        }
        return false;
    }
};

bool match_fields(const Spec& local, const Btf& target, uint32_t candidate, Spec& out) {
    uint32_t id = target.resolve(candidate);
    for (size_t i = 0; i < local.steps.size(); ++i) {
        const Accessor& step = local.steps[i];
        if (!step.name.empty()) {
            const uint32_t type = local.btf->type(step.type).member(step.index).type;
            MemberSearch search{*local.btf, target, type, step.name};
            if (!search.find(id, out, id, kMaxSpecSteps)) return false;
            continue;
        }
        // The first index is into what the root pointer points to: any.
        if (i > 0) {
            const BtfType array = target.resolved(id);
            if (!array.is(BtfKind::Array)) return false;
            const Accessor* before = out.steps.empty() ? nullptr : &out.steps.back();
            if (step.index >= array.array().count && !is_flexible(target, before, array))
                return false;
            id = target.resolve(array.array().element);
        }
        out.steps.push_back({id, step.index, {}});
        out.bit_offset += uint64_t{step.index} * target.size_of(id).value_or(0) * 8;
    }
    return true;
}

bool match_enumerator(const Spec& local, const Btf& target, uint32_t candidate, Spec& out) {
    const BtfType mine = local.btf->resolved(local.root), other = target.resolved(candidate);
    if (!other.is_any_enum()) return false;
    const std::string_view name = mine.enumerator(local.enumerator).name;
    for (uint32_t i = 0; i < other.count(); ++i) {
        if (!same_essential(other.enumerator(i).name, name)) continue;
        out.enumerator = i;
        return true;
    }
    return false;
}

// "0:1:2" as numbers.
Result<std::vector<uint32_t>> parse_access(std::string_view text) {
    const auto bad = [&] {
        return fail(ErrorCode::BadBtfExt, "CO-RE access \"" + std::string(text) +
                                              "\" is not a list of at most 64 numbers");
    };
    std::vector<uint32_t> numbers;
    uint64_t number = 0;
    bool digits = false;
    for (size_t i = 0; i <= text.size(); ++i) {
        if (i == text.size() || text[i] == ':') {
            if (!digits || numbers.size() == kMaxSpecSteps) return bad();
            numbers.push_back(static_cast<uint32_t>(number));
            number = 0;
            digits = false;
            continue;
        }
        if (text[i] < '0' || text[i] > '9') return bad();
        number = number * 10 + static_cast<unsigned>(text[i] - '0');
        digits = true;
        if (number > UINT32_MAX) return bad();
    }
    return numbers;
}

}  // namespace

bool types_compatible(const Btf& local, uint32_t a, const Btf& target, uint32_t b) {
    if (!same_kind(local.type(a), target.type(b))) return false;
    return Comparison{local, target}.compatible(a, b, kMaxDepth);
}

bool types_match(const Btf& local, uint32_t a, const Btf& target, uint32_t b) {
    return Comparison{local, target}.matches(a, b, false, kMaxDepth);
}

Result<Spec> parse_spec(const Btf& btf, const CoreRelocation& relocation) {
    const auto access = parse_access(relocation.access);
    if (!access) return std::unexpected(access.error());
    const auto bad = [&] {
        return fail(ErrorCode::BadBtfExt, "CO-RE access \"" + std::string(relocation.access) +
                                              "\" does not fit type '" +
                                              btf.type_name(relocation.type) + "'");
    };
    Spec spec{&btf, relocation.type, {}, 0, 0};
    if (is_type_kind(relocation.kind)) {
        if (*access != std::vector<uint32_t>{0}) return bad();
        return spec;
    }
    uint32_t id = btf.resolve(relocation.type);
    if (is_enum_kind(relocation.kind)) {
        const BtfType t = btf.type(id);
        if (!t.is_any_enum() || access->size() != 1 || (*access)[0] >= t.count()) return bad();
        spec.enumerator = (*access)[0];
        return spec;
    }
    const auto root_size = btf.size_of(id);
    if (!root_size) return bad();
    spec.steps.push_back({id, (*access)[0], {}});
    spec.bit_offset = uint64_t{(*access)[0]} * *root_size * 8;
    for (size_t i = 1; i < access->size(); ++i) {
        const uint32_t index = (*access)[i];
        const BtfType t = btf.resolved(id);
        if (t.is_composite()) {
            if (index >= t.count()) return bad();
            const BtfMember m = t.member(index);
            spec.bit_offset += m.bit_offset;
            if (!m.name.empty()) spec.steps.push_back({t.id(), index, m.name});
            id = m.type;
        } else if (t.is(BtfKind::Array)) {
            if (index >= t.array().count && !is_flexible(btf, &spec.steps.back(), t)) return bad();
            id = btf.resolve(t.array().element);
            const auto size = btf.size_of(id);
            if (!size) return bad();
            spec.steps.push_back({id, index, {}});
            spec.bit_offset += uint64_t{index} * *size * 8;
        } else {
            return bad();
        }
    }
    return spec;
}

bool match_spec(const Spec& local, CoreKind kind, const Btf& target, uint32_t candidate,
                Spec& out) {
    out = {&target, candidate, {}, 0, 0};
    if (kind == CoreKind::TypeMatches)
        return types_match(*local.btf, local.root, target, candidate);
    if (is_type_kind(kind)) return types_compatible(*local.btf, local.root, target, candidate);
    if (is_enum_kind(kind)) return match_enumerator(local, target, candidate, out);
    return match_fields(local, target, candidate, out);
}

}  // namespace skep::core
