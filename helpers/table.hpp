// The helper table: every helper of Linux 6.18 by number and name, with its prototype, who may call
// it, and the thunk that runs it. The rows are in helpers.def.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <skep/helper.hpp>

#include "vm/prog/prog_type.hpp"

namespace skep {

inline constexpr uint32_t kLastHelper = 211;

// All rows, by number; a helper whose prototype depends on the program type has several.
std::span<const Helper> helpers();

// The row for a program type, or, when no row is for that type, the first row of that number; null
// for an unknown number. The second form takes the first row.
const Helper* find_helper(uint32_t id, const ProgType& type);
const Helper* find_helper(uint32_t id);
// By name, with or without "bpf_".
const Helper* find_helper(std::string_view name);

// Whether Linux lets a program of this type and attach type call the helper.
bool helper_allowed(const Helper& helper, const ProgType& type, uint32_t attach_type);

// The kernel's struct, such as "task_struct"; empty for None and Kptr, which name none.
std::string_view object_name(ObjectKind kind);

// "bpf_map_lookup_elem(map, key) -> map value or null", for messages and `skep helpers`.
std::string describe(const Helper& helper);
// "a map", "memory of the map's key size": what an argument must be, for messages.
std::string describe(const ArgSpec& arg);

// Names close to an unknown one, best first.
std::vector<std::string_view> similar_helpers(std::string_view name, size_t count = 3);

}  // namespace skep
