// From the address of an object inside a value (a lock, a timer) to the map that keeps it.
//
// Programs name such objects by address alone, and their maps are not all known to the run (inner
// maps). So every map whose values hold objects is listed here for as long as it lives.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include <skep/map.hpp>

namespace skep {

class TableMap;

struct ValueObject {
    TableMap* map = nullptr;     // alive as long as the run that holds the address
    std::byte* value = nullptr;  // where the value begins
    uint32_t offset = 0;         // of the address in it
};

// The object of `kind` at `address` exactly, or nothing. `likely` are looked at first.
std::optional<ValueObject> find_value_object(std::span<Map* const> likely, std::byte* address,
                                             FieldKind kind) noexcept;

// By TableMap, when values() is known and before it ends.
void list_value_objects(TableMap& map);
void unlist_value_objects(TableMap& map) noexcept;

}  // namespace skep
