// Which rules a program is held to.
#pragma once

#include <cstdint>

namespace skep {

// Linux: the privileged kernel's rules, none looser. Extended: besides, safe idioms that Linux
// refuses (each use is listed in the analysis). Strict: Extended without pointer leaks and without
// reads of uninitialised stack. Hardened: Strict, and native code gets speculation barriers.
enum class Policy : uint8_t { Linux, Extended, Strict, Hardened };

}  // namespace skep
