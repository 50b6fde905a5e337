// The executable form of a program, which both engines read: bound to maps, helpers and the context
// table, unfused, one element per wire slot.
//
//   lower(Program, Facts)      -> Form::Sandbox: registers hold guest addresses, every access is
//                                 translated and checked (proven ones skip the bounds check)
//   lower(VerifiedProgram)     -> Form::Unchecked: registers hold host addresses, nothing is
//   checked
// An image is immutable and shared by any number of runs.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <skep/error.hpp>
#include <skep/map.hpp>

#include "helpers/env.hpp"
#include "verifier/facts.hpp"
#include "vm/isa/insn.hpp"
#include "vm/prog/program.hpp"

namespace skep {

struct Helper;  // helpers/table.hpp
class ArenaMap;
class ObjectHeap;
class ObjectTypes;
class Image;

enum class Form : uint8_t { Sandbox, Unchecked };

// How a memory access is executed.
enum class Access : uint8_t {
    Checked,         // sandbox: translate, check region, bounds and permission
    Proven,          // unchecked: plain host access. Sandbox: translate only
    ContextField,    // host column of one context field: `host_off`, `host_size` in the slot
    ContextDynamic,  // by load_context / store_context (vm/run/engine_calls.hpp), see `memory`
};

struct ImageSlot {
    Insn insn;
    // Imm64: the value that dst gets (number, host address, guest address or handle, by form).
    // AddrSpaceCast: what is added to a low half that is not 0.
    // Call: the address of the Helper. Otherwise 0.
    uint64_t bound = 0;
    Access access = Access::Checked;
    uint8_t host_size = 0;  // ContextField
    uint16_t host_off = 0;  // ContextField: bytes from the host context
    // ContextField: the field's kind (CtxFieldKind); PacketStart/End/Meta load a pointer.
    uint8_t field_kind = 0;
    uint8_t field_shift = 0;  // ContextField, narrow loads: bytes into the host field
    bool charge = false;      // a taken jump or a call here costs a unit of fuel (backward, call)
    bool dead = false;        // never executed
    // Of an access, from the facts: what ContextDynamic leads to. Unknown: the context if the
    // address lies in it, else plain memory.
    Memory memory = Memory::Context;
    // Not None: executing the slot ends the run with this trap (poisoned, kernel-only, dead).
    TrapCode trap = TrapCode::None;
};

inline constexpr uint32_t kNoSlot = ~uint32_t{0};

// Executable code of an image, made by one of the engines. Immutable, shared by all runs.
class Code {
public:
    virtual ~Code() = default;
    // The program's own entry as a native function of r1..r5 and the environment, or null. Whoever
    // calls it opens and closes the frame (run_program()).
    using Entry = uint64_t (*)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, HelperEnv*);
    Entry direct_entry() const noexcept { return direct_; }
    // True if that function touches nothing of the environment: it cannot trap, calls nothing and
    // uses no frame, so that it may be called with any.
    bool is_bare() const noexcept { return bare_; }
    // Runs subprogram `index` with r1..r5 = args in a fresh frame below the ones that are open. On
    // a tail call that was not taken inside a local call, returns with env.tail_target set.
    virtual CallResult enter(HelperEnv& env, uint32_t subprogram,
                             const uint64_t (&args)[5]) const noexcept = 0;
    virtual size_t native_bytes() const noexcept { return 0; }
    // The slot whose native code `pc` lies in, or kNoSlot.
    virtual uint32_t slot_at(const void* pc) const noexcept {
        (void)pc;
        return kNoSlot;
    }

protected:
    Entry direct_ = nullptr;
    bool bare_ = false;
};

// What a slot of a program array leads to: set in HelperEnv::tail_target by the tail-call helper,
// acted upon by whoever runs the caller. Both belong to one loaded program, which outlives the run.
struct TailTarget : Executable {
    const Image* image = nullptr;
    const Code* code = nullptr;
};

// The stack frame of one subprogram.
struct FrameInfo {
    uint32_t bytes = kStackBytes;  // multiple of 16; what r10 may be used for
    bool zero = true;              // cleared on entry: bytes may be read before they are written
};

// A subprogram as a value that programs can hold: the target of callbacks. Lives as long as its
// image. In the unchecked form a function pointer is the address of one of these; in a sandbox it
// is guest_address(region::kFunction, first slot).
class FunctionEntry final : public Callable {
public:
    const Image* image = nullptr;
    uint32_t slot = 0;
    uint32_t subprogram = 0;
    CallResult call(HelperEnv& env, const uint64_t (&args)[5]) const noexcept override;
    uint64_t place() const noexcept override;
};

// Words of a bytes context that lead to what BytesContext names; -1 = none.
struct ContextWords {
    int8_t map = -1, key = -1, value = -1;
    bool any() const { return map >= 0 || key >= 0 || value >= 0; }
};
// Those that a program's kind and target say.
ContextWords context_words(const Program& program) noexcept;

class Image {
public:
    Form form = Form::Sandbox;
    bool hardened = false;  // engines add what policy `hardened` promises
    bool raw = false;       // the program is of type raw: r1 and r2 are bytes and their number
    bool fuel = true;       // charges are made; left out only where the proven worst case is small
    std::shared_ptr<const Program> program;
    std::shared_ptr<const Facts> facts;  // never null; may be incomplete
    std::vector<ImageSlot> slots;
    std::vector<std::shared_ptr<Map>> maps;  // by map index of the program
    ArenaMap* arena = nullptr;               // of `maps`: the program's arena
    std::shared_ptr<ObjectHeap> objects;     // null: the program allocates none
    std::shared_ptr<ObjectTypes> object_types;
    std::vector<Map*> map_pointers;        // the same, for HelperEnv::maps
    std::vector<Region> map_regions;       // sandbox: regions kFirstMap + map index
    std::vector<FunctionEntry> functions;  // by subprogram
    std::vector<FrameInfo> frames;         // by subprogram
    // Unchecked: what plain loads find of kernel variables that are numbers.
    std::vector<std::unique_ptr<uint64_t[]>> variables;
    bool reclaims = false;       // a map of it frees values while programs run: runs enter an epoch
    ContextWords words;          // of the context that the run fills in
    const Code* code = nullptr;  // what runs it; set once by the owner before the first run
    uint32_t program_id = 0;     // LoadedProgram::id()
};

}  // namespace skep
