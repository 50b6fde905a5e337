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

// Where the code of a slot begins; sorted by offset. Code behind the last function (refused
// accesses, exits) belongs to the slot of its last position.
struct CodePosition {
    uint32_t offset = 0;  // bytes from the start of the code
    uint32_t slot = 0;
};

// True where compile() can work at all on this machine.
bool available() noexcept;

// Compiles for this machine into pages of `arena`. The image must outlive the code.
// Errors: no_jit (executable memory refused), limit_exceeded, internal.
Result<std::shared_ptr<const Code>> compile(const Image& image,
                                            const std::shared_ptr<CodeArena>& arena);

// The code for `target` as if it stood at address 0, with what stands where.
struct Listing {
    std::vector<std::byte> bytes;
    std::vector<CodePosition> positions;
    std::string text;                    // one native instruction per line, asmjit's notation
    std::vector<uint32_t> text_offsets;  // by line of `text`: where its instruction starts
};
Result<Listing> assemble(const Image& image, Target target, const Features& features = {});

}  // namespace skep::jit
