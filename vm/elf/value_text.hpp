// Values of BTF types as people write them, for globals and kernel configuration.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <skep/error.hpp>

#include "vm/btf/btf.hpp"

namespace skep {

// A member or element of a value, by path: ".member", "[2]", and so on.
struct ValuePart {
    uint32_t type = 0;
    uint32_t offset = 0, size = 0;
};
Result<ValuePart> find_part(const Btf& btf, uint32_t type, std::string_view path);

// The bytes of a value: decimal, 0x hexadecimal and 'c' numbers, true and false, enumerators, text
// for char arrays, "{1, 2, 3}" for arrays and "hex:..." for anything. `btf` null or `type` 0: a
// number of `size` bytes. Errors: invalid_argument.
Result<std::vector<std::byte>> value_from_text(const Btf* btf, uint32_t type, uint32_t size,
                                               std::string_view text);

}  // namespace skep
