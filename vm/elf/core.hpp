// CO-RE ("compile once, run everywhere"): finds what a local type, field or enumerator is in a
// target's BTF and patches the instruction that depends on it.
//
// An access "0:1:2" is, from the root type's pointer: array index, then member or element indices.
// The local one is turned into names; every target type of the same essential name (without
// "___flavor") is tried for a match; all that match must agree.
// Semantics: as libbpf's, so that the same instructions come out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <skep/error.hpp>

#include "vm/btf/btf.hpp"
#include "vm/btf/btf_ext.hpp"
#include "vm/isa/insn.hpp"

namespace skep::core {

// What a relocation comes to; independent of the instruction.
struct Resolution {
    bool poison = false;    // nothing in the target matches
    bool validate = true;   // the instruction must hold `original`
    bool bad_size = false;  // the field's size changed in a way that a load cannot follow
    uint64_t original = 0, value = 0;
    uint32_t original_size = 0, size = 0;  // of the field, for loads and stores; 0 = not known
    std::string what;                      // "struct sk_buff::len" for messages
};

// One step of an access: a member (by name) or an index.
struct Accessor {
    uint32_t type = 0;  // the composite that has the member; the element type of an index
    uint32_t index = 0;
    std::string_view name;  // empty: an index
};

struct Spec {
    const Btf* btf = nullptr;
    uint32_t root = 0;
    std::vector<Accessor> steps;  // anonymous members are folded into bit_offset
    uint32_t enumerator = 0;
    uint64_t bit_offset = 0;
};

constexpr bool is_field_kind(CoreKind k) { return k <= CoreKind::FieldRshiftU64; }
constexpr bool is_enum_kind(CoreKind k) {
    return k == CoreKind::EnumvalExists || k == CoreKind::EnumvalValue;
}
constexpr bool is_type_kind(CoreKind k) { return !is_field_kind(k) && !is_enum_kind(k); }
std::string_view name_of(CoreKind kind);

// Resolves the relocations of one object, in file order: what an earlier one ruled out of a root
// type's candidates stays out, as in libbpf. Not thread-safe.
class Resolver {
public:
    // `target` may be null if all relocations are of kind TypeIdLocal.
    Resolver(const Btf& local, const Btf* target) : local_(local), target_(target) {}
    // Errors: bad_btf_ext, core_ambiguous, btf_needed.
    Result<Resolution> resolve(const CoreRelocation& relocation);

private:
    struct Candidates {
        std::vector<uint32_t> ids;
    };
    Result<Candidates*> candidates_of(uint32_t type);

    const Btf& local_;
    const Btf* target_;
    std::unordered_map<uint32_t, Candidates> cache_;
};

// --- the steps, for tests
// ---------------------------------------------------------------------------
Result<Spec> parse_spec(const Btf& btf, const CoreRelocation& relocation);
// Whether `candidate` in `target` has what `local` accesses; fills `out`.
bool match_spec(const Spec& local, CoreKind kind, const Btf& target, uint32_t candidate, Spec& out);
bool types_compatible(const Btf& local, uint32_t a, const Btf& target, uint32_t b);
bool types_match(const Btf& local, uint32_t a, const Btf& target, uint32_t b);

// libbpf's call of a helper that does not exist, in place of what cannot be relocated.
inline constexpr int32_t kPoisonHelper = 0xbad2310;
// Patches `slots[at]` (and the next one of a 16-byte instruction). Returns whether the instruction
// was poisoned. Errors: core_mismatch.
Result<bool> patch(std::vector<RawInsn>& slots, uint32_t at, const Resolution& resolution);

}  // namespace skep::core
