#include "verifier/btf_walk.hpp"

namespace skep::verifier {
namespace {

std::string access(uint32_t off, uint32_t size) {
    return " with off " + std::to_string(off) + " size " + std::to_string(size);
}
std::string beyond(const BtfType& type, uint32_t off, uint32_t size) {
    return "access beyond struct " + std::string(type.name()) + access(off, size);
}

// Behind the end of a struct there is something only if its last member is an array without a
// size. Moves `off` into an element and `id` to its type, or says that the array is of numbers.
enum class Tail : uint8_t { None, Number, Struct };
Tail flexible_tail(const Btf& btf, const BtfType& type, uint32_t& id, uint32_t& off) {
    if (type.count() == 0) return Tail::None;
    const BtfMember last = type.member(type.count() - 1);
    const BtfType array = btf.resolved(last.type);
    if (!array.is(BtfKind::Array) || array.array().count != 0 || off < last.offset())
        return Tail::None;
    const BtfType element = btf.resolved(array.array().element);
    if (element.is(BtfKind::Int)) return Tail::Number;
    if (!element.is(BtfKind::Struct) || element.size() == 0) return Tail::None;
    off = (off - last.offset()) % element.size();
    id = element.id();
    return Tail::Struct;
}

void read_tags(const Btf& btf, uint32_t pointee, BtfStep& step) {
    for (const std::string_view tag : btf.type_tags(pointee)) {
        step.user |= tag == "user";
        step.percpu |= tag == "percpu";
        step.rcu |= tag == "rcu";
    }
}

enum class Found : uint8_t { Done, Inside, Nothing };

// The member of `type` that the load at `off` touches: decides the step, or moves `id` and `off`
// into a struct that is a member.
Found find_touched(const Btf& btf, const BtfType& type, uint32_t& id, uint32_t& off, uint32_t size,
                   bool lax, BtfStep& step) {
    for (uint32_t i = 0; i < type.count(); ++i) {
        const BtfMember member = type.member(i);
        uint32_t start = member.offset();
        if (off + size <= start) break;
        if (member.bit_size != 0) {
            const uint64_t end = (uint64_t{member.bit_offset} + member.bit_size + 7) / 8;
            if (off <= start && end <= uint64_t{off} + size) return Found::Done;
            continue;
        }
        if (off < start) break;
        const auto whole = btf.size_of(member.type);
        if (!whole) continue;
        const uint64_t end = uint64_t{start} + *whole;
        if (off >= end) continue;
        BtfType inner = btf.resolved(member.type);
        if (inner.is(BtfKind::Array)) {
            const uint32_t element = btf.flatten(inner.id()).element;
            const uint32_t bytes = btf.size_of(element).value_or(0);
            if (bytes == 0) break;
            inner = btf.resolved(element);
            start += (off - start) / bytes * bytes;
        }
        if (inner.is_composite()) {
            id = inner.id();
            off -= start;
            return Found::Inside;
        }
        step.member = member.name;
        if (inner.is(BtfKind::Ptr)) {
            if (size != 8 || off != start) {
                step.kind = BtfStep::Kind::Straddle;
                step.message = "cannot access ptr member " + std::string(member.name) + " at " +
                               std::to_string(start) + " in struct " + std::string(type.name()) +
                               access(off, size);
                return Found::Done;
            }
            const BtfType target = btf.resolved(inner.type());
            if (target.is_composite()) {
                step.kind = BtfStep::Kind::Pointer;
                step.target = target.id();
                read_tags(btf, inner.type(), step);
                return Found::Done;
            }
        }
        if (uint64_t{off} + size > end && !lax) {
            step.kind = BtfStep::Kind::Straddle;
            step.message = "access beyond the end of member " + std::string(member.name) + " (at " +
                           std::to_string(end) + ") in struct " + std::string(type.name()) +
                           access(off, size);
        }
        return Found::Done;
    }
    return Found::Nothing;
}

}  // namespace

BtfStep walk_struct(const Btf& btf, uint32_t id, uint32_t off, uint32_t size, bool lax) {
    BtfStep step;
    constexpr unsigned kMaxDepth = 64;
    for (unsigned depth = 0; depth < kMaxDepth; ++depth) {
        const BtfType type = btf.resolved(id);
        if (!type.is_composite()) {
            step.kind = BtfStep::Kind::Beyond;
            step.message = "type '" + std::string(type.name()) + "' is not a struct";
            return step;
        }
        if (type.is(BtfKind::Union) && type.count() != 1) step.in_union = true;
        if (uint64_t{off} + size > type.size()) {
            const uint32_t at = off;
            const Tail tail = flexible_tail(btf, type, id, off);
            if (tail == Tail::Number) return step;
            if (tail == Tail::Struct) continue;
            step.kind = BtfStep::Kind::Beyond;
            step.message = beyond(type, at, size);
            return step;
        }
        switch (find_touched(btf, type, id, off, size, lax, step)) {
            case Found::Done: return step;
            case Found::Inside: continue;
            case Found::Nothing:
                step.kind = BtfStep::Kind::Beyond;
                step.message =
                    "struct " + std::string(type.name()) + " has no field" + access(off, size);
                return step;
        }
    }
    step.kind = BtfStep::Kind::Beyond;
    step.message = "the type is nested too deeply";
    return step;
}

bool is_listed(const Btf& btf, uint32_t id, const BtfStep& step, std::string_view list) {
    const std::string name =
        std::string(essential_name(btf.type(id).name())) + "__" + std::string(list);
    const uint32_t safe = btf.find(name, BtfKind::Struct);
    if (safe == 0) return false;
    const BtfType type = btf.type(safe);
    for (uint32_t i = 0; i < type.count(); ++i) {
        const BtfMember member = type.member(i);
        if (member.name != step.member) continue;
        const BtfType pointer = btf.resolved(member.type);
        return pointer.is(BtfKind::Ptr) && btf.resolve(pointer.type()) == step.target;
    }
    return false;
}

}  // namespace skep::verifier
