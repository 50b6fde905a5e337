// Native code: an image compiled by one walk (translate.hpp) over the macro-assembler of a target.
//
// The product of compile() runs on the machine that made it; assemble() makes the same code for any
// target, for listings and tests.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <skep/error.hpp>

#include "jit/code.hpp"
#include "jit/masm.hpp"
#include "vm/run/image.hpp"

namespace skep::jit {

enum class Target : uint8_t { X64, A64 };

// Where code of a slot begins; sorted by offset. A slot has several positions if some of its code
// lies behind the last function (refused accesses, traps).
struct CodePosition {
    uint32_t offset = 0;  // bytes from the start of the code
    uint32_t slot = 0;
};

// True where compile() can work at all on this machine.
bool available() noexcept;

// Whom the code is made known to (jit/observe.hpp).
struct Announce {
    bool perf_map = false;
    bool gdb_jit = false;
};

// Compiles for this machine into pages of `arena`. The image must outlive the code.
// Errors: no_jit (executable memory refused), limit_exceeded, internal.
Result<std::shared_ptr<const Code>> compile(const Image& image,
                                            const std::shared_ptr<CodeArena>& arena,
                                            Announce announce = {});

// The code for `target` as if it stood at address 0, with what stands where.
struct Listing {
    std::vector<std::byte> bytes;
    std::vector<CodePosition> positions;
    // One native instruction per line, as the assembler that emitted it writes it, with its bytes
    // as a comment; labels; before the code of a slot a line "@SLOT"; "@4294967295" (kNoSlot)
    // behind the last function.
    std::string text;
};
// Without `text`, which takes most of the time, the bytes are made as compile() makes them.
Result<Listing> assemble(const Image& image, Target target, const Features& features = {},
                         bool text = true);

}  // namespace skep::jit
