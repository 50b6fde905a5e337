// Values as JSON in the shape of their BTF type, and back.
//
//   int, char        number             bool     true/false
//   enum             enumerator's name, or number where none has the value
//   char[n]          string where it is text and NUL-terminated or full, else array of numbers
//   array            array              pointer  number
//   struct, union    object by member name; anonymous ones are merged into their parent
// Without a type: a number for 1, 2, 4 and 8 bytes, else a string of hex digits.
//
// from_json() writes only what the JSON names, so the rest of `out` keeps its bytes; padding and
// unnamed members are never written. Both are bounded: types may come from hostile objects.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include <skep/error.hpp>

namespace skep {
class Btf;
}

namespace skep::tool {

using Json = nlohmann::ordered_json;

// `type` 0 or a null `btf`: no type is known.
Json to_json(const Btf* btf, uint32_t type, std::span<const std::byte> bytes);

// Errors (bad_map_contents) name the member by its path.
Result<void> from_json(const Btf* btf, uint32_t type, const Json& json, std::span<std::byte> out);

// A variable of a data section. Compilers leave offsets and sizes out of the section's type, so
// they come from the object's symbols.
struct Variable {
    std::string name;
    uint32_t type = 0;
    uint32_t offset = 0, size = 0;
};
Json section_to_json(const Btf* btf, std::span<const Variable> variables,
                     std::span<const std::byte> bytes);
Result<void> section_from_json(const Btf* btf, std::span<const Variable> variables,
                               const Json& json, std::span<std::byte> out);

// True if values of the type are JSON arrays (an array that is not text).
bool is_array_shaped(const Btf* btf, uint32_t type);

// A file's JSON; errors give line and column.
Result<Json> parse_json_file(const std::string& path);

// One line for nested values that fit, indented otherwise: what people read.
std::string pretty(const Json& json, unsigned indent = 0, unsigned width = 100);

}  // namespace skep::tool
