// A linked program: everything that one entry function needs, before any of it is bound to maps,
// helpers or a context of a Vm. Immutable once built; cheap to share.
//
// Instruction index = wire slot, everywhere. Subprograms follow the entry, as libbpf and the kernel
// lay them out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <skep/map.hpp>

#include "vm/isa/insn.hpp"
#include "vm/prog/prog_type.hpp"

namespace skep {

class Btf;

struct Subprogram {
    std::string name;
    uint32_t first = 0;      // slot
    uint32_t count = 0;      // slots
    uint32_t btf_func = 0;   // BTF id of the FUNC, 0 = none
    bool is_global = false;  // verified on its own, by its BTF prototype
};

struct SourceLine {
    uint32_t slot = 0;  // first slot that belongs to this line
    uint32_t line = 0;
    uint32_t column = 0;
    std::string_view file;  // both live in the Program's BTF
    std::string_view text;
};

// A call to, or the address of, something outside of the object.
struct ExternRef {
    enum class What : uint8_t { Kfunc, Variable };
    What what{};
    std::string name;
    bool weak = false;    // unresolved: reads as null
    uint32_t btf_id = 0;  // FUNC_PROTO of a kfunc, type of a variable, in the object's BTF
};

struct Program {
    std::string name;  // of the entry function
    std::string section;
    const ProgType* type = nullptr;             // never null
    const SectionType* section_type = nullptr;  // the row that the section matched, or null
    uint32_t attach_type = 0;                   // UAPI number
    std::string attach_target;                  // what follows the '/' in the section name
    bool autoload = true;
    bool sleepable = false;
    bool gpl_compatible = false;
    uint32_t raw_size = 0;  // type raw: bytes behind r1

    std::vector<Insn> insns;              // by slot
    std::vector<Subprogram> subprograms;  // [0] is the entry; sorted by first, no gaps
    int32_t exception_callback = -1;      // the subprogram that bpf_throw() ends in, -1 = none
    // Imm64 MapFd/MapValue: the low half of `imm` indexes this; MapValue's high half is the offset.
    std::vector<std::shared_ptr<const MapDef>> maps;
    std::map<uint32_t, ExternRef> externs;     // by slot of the Call or Imm64
    std::map<uint32_t, std::string> poisoned;  // slots whose CO-RE relocation has no target: why
    std::vector<SourceLine> lines;             // sorted by slot
    std::shared_ptr<const Btf> btf;            // of the object; may be null

    // The line that `slot` belongs to, or null.
    const SourceLine* line_of(uint32_t slot) const;
    // The subprogram that contains `slot`.
    const Subprogram& subprogram_of(uint32_t slot) const;
    // Fills where.program, slot, file and line.
    Where where(uint32_t slot) const;
};

// Decodes raw slots into a program of one or more subprograms (found from its local calls and
// function addresses) with the given maps. Errors name the slot.
Result<Program> make_raw_program(std::vector<RawInsn> slots, const ProgType& type,
                                 std::vector<std::shared_ptr<const MapDef>> maps,
                                 bool gpl_compatible = true);

}  // namespace skep
