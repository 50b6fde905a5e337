// Contexts from the command line: --ctx-hex in UAPI layout and --ctx FIELD=VALUE.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <skep/error.hpp>

#include "tools/replay.hpp"

namespace skep::tool {

// For types whose context is a table of fields. Fields that are all zero in `hex` keep what the
// packet says, pointers are ignored.
Result<std::vector<ContextEdit>> read_context_edits(const ProgType& type,
                                                    std::span<const std::byte> hex,
                                                    const std::vector<std::string>& fields);

// For types whose context is bytes: `hex`, or else `data`, with the fields written over them, and
// as long as the type's programs may read. Type raw: exactly `data`. Without either, the context is
// the objects that `program` finds as its arguments; values may name such an object by its struct.
Result<std::vector<std::byte>> read_context_bytes(const ProgType& type,
                                                  std::span<const std::byte> data,
                                                  std::span<const std::byte> hex,
                                                  const std::vector<std::string>& fields,
                                                  const LoadedProgram& program);

}  // namespace skep::tool
