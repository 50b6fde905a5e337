// Text -> 8-byte slots. One statement per line, in either of two dialects, mixed at will:
//
//   r0 += r1            add64 r0, r1  (add r0, r1)      w0 = 5               mov32 r0, 5
//   r0 = 0x11 ll        lddw r0, 0x11                   r0 = (s8)r1          movsx864 r0, r1
//   r0 = be16 r0        be16 r0                         r0 = -r0             neg r0
//   r0 = *(u8 *)(r1 + 4)             ldxb r0, [r1+4]    *(u64 *)(r10 - 8) = r1   stxdw [r10-8], r1
//   lock *(u64 *)(r1 + 0) += r2      lock add [r1], r2  r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)
//   if r1 s> -5 goto +2              jsgt r1, -5, +2    if w1 == w2 goto out     jeq32 r1, r2, out
//   goto out            ja out       gotol out          may_goto +3          exit
//   call 12   call bpf_x (by name)   call +5            call local out       call kfunc 77
//   r1 = map[0] ll      r1 = map[0] + 8 ll (value)      r1 = func out ll
//
// Labels: `out:`. Distances (`+2`, `-3`) count slots from the next instruction; a leading "12:" is
// ignored, so that listings assemble. Comments: `;`, `#`, `//` to the end of the line, `/* */`.
// 32-bit immediates take -2^31 to 2^32 - 1; the upper half of that range stands for its bits.
#pragma once

#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include <skep/error.hpp>

#include "vm/isa/insn.hpp"

namespace skep {

struct AssembleOptions {
    // The number of a helper by its name ("bpf_map_lookup_elem"); without it names are labels only.
    std::function<std::optional<int32_t>(std::string_view)> helper;
};

// Errors are ErrorCode::Syntax; where.line is the line in `text`, counted from 1. What comes out is
// not validated further: decode() does that.
Result<std::vector<RawInsn>> assemble(std::string_view text, const AssembleOptions& options = {});

}  // namespace skep
