// Fields of a struct that programs may use only through helpers and kernel functions: locks,
// timers, kptrs, lists and trees.
//
// They are found by the names and tags that Linux 6.18 knows them by, under its rules; a type that
// breaks one of them is an Error, and Linux makes no map (with fields) of it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <skep/map.hpp>

#include "vm/btf/btf.hpp"

namespace skep {

// What Linux looks for: in the values of a map, or in a struct that programs allocate.
enum class FieldScope : uint8_t { MapValue, Object };

// The special fields of a type, sorted by offset. Errors: bad_map_def.
Result<std::vector<SpecialField>> special_fields(const Btf& btf, uint32_t type,
                                                 FieldScope scope = FieldScope::MapValue);

// The same for the variables of a data section.
struct PlacedVariable {
    uint32_t type = 0;
    uint32_t variable = 0;  // the VAR, for its decl tags
    uint64_t offset = 0;
};
Result<std::vector<SpecialField>> special_fields(const Btf& btf,
                                                 std::span<const PlacedVariable> variables);

// Timers, and work that is put off, which is kept like one.
constexpr bool is_timer(FieldKind kind) {
    return kind == FieldKind::Timer || kind == FieldKind::Workqueue || kind == FieldKind::TaskWork;
}
// "bpf_spin_lock", "kptr" ...: Linux's name of a field of that kind.
std::string_view name_of(FieldKind kind) noexcept;
constexpr bool is_kptr(FieldKind kind) {
    return kind == FieldKind::KptrUntrusted || kind == FieldKind::KptrRef ||
           kind == FieldKind::KptrPercpu;
}
constexpr bool is_graph_root(FieldKind kind) {
    return kind == FieldKind::ListHead || kind == FieldKind::RbRoot;
}
constexpr bool is_graph_node(FieldKind kind) {
    return kind == FieldKind::ListNode || kind == FieldKind::RbNode;
}
// The field of `fields` that starts at `offset`, or null.
const SpecialField* field_at(std::span<const SpecialField> fields, int64_t offset) noexcept;

}  // namespace skep
