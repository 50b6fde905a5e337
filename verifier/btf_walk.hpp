// One load through a pointer to a typed object: which member it reads, by Linux's rules, and how
// far a pointer that it gives can be trusted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vm/btf/btf.hpp"

namespace skep::verifier {

struct BtfStep {
    enum class Kind : uint8_t {
        Number,
        Pointer,   // to the struct or union `target`
        Beyond,    // outside the object; `message` says of what
        Straddle,  // part of a pointer, or more than one member
    };
    Kind kind = Kind::Number;
    uint32_t target = 0;
    std::string_view member;  // lives in the BTF
    bool in_union = false;    // of several members: nobody knows which one is there
    bool user = false, percpu = false, rcu = false;  // type tags of the member
    std::string message;
};

// A load of `size` bytes (at least 1) at `off` into a value of struct or union `id`. `lax`: a
// number may reach beyond its member.
BtfStep walk_struct(const Btf& btf, uint32_t id, uint32_t off, uint32_t size, bool lax);

// Whether the BTF lists the member that `step` read among the safe ones of struct `id`, which the
// pointer was to: Linux's BTF has a struct NAME__LIST of them per list ("safe_rcu", "safe_trusted",
// ..._or_null).
bool is_listed(const Btf& btf, uint32_t id, const BtfStep& step, std::string_view list);

}  // namespace skep::verifier
