// The JSON forms that several commands share.
#pragma once

#include <skep/error.hpp>

#include "tools/btf_json.hpp"

namespace skep::tool {

// {"code", "insn", "file", "line", "message"}; what is not known is null.
Json error_json(const Error& error);

}  // namespace skep::tool
