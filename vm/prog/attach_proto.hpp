// What a program's arguments are, by the types of the system that it attaches to.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "vm/btf/btf.hpp"
#include "vm/prog/program.hpp"

namespace skep {

// The member of one of the kernel's structs of functions that a struct_ops program implements.
struct OpsMember {
    std::string_view ops, member;        // of the kernel's struct; empty: not known
    std::optional<BtfType> proto, stub;  // FUNC_PROTO; of the stub, whose parameters have names
};
OpsMember struct_ops_member(const Program& program, const Btf& btf);

// The FUNC_PROTO that the arguments of a tracing, LSM or struct_ops program follow; nothing if the
// types lack what it attaches to.
std::optional<BtfType> attach_prototype(const Program& program, const Btf& btf);
// The parameter that the program's first argument is.
uint32_t first_parameter(const Program& program);
// The struct that argument `index` points to, as the program sees it, if it points to one; `maybe`
// is set if it may be null.
std::optional<BtfType> argument_target(const Program& program, const Btf& btf, uint32_t index,
                                       bool& maybe);

}  // namespace skep
