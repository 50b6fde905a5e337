// Runs the cases of `.test` files.
//
// Inputs:
//   -- asm            assembler text, or
//   -- raw            8-byte slots in hex
//   -- mem            hex bytes behind r1 (r2 = length); packet types: the packet
//   -- prog TYPE      program type, `raw` if absent
//   -- fuel N         units of fuel, otherwise the engine's default
//   -- maps           for the verifier, one map a line: `hash key=8 value=48 entries=1 flags=0`
//   -- policy NAME    for the verifier: linux (if absent), extended, strict, hardened
//   -- kernel WHY     why the running kernel is not asked, where it defines less than Skep does
// Expectations, each held to what really happens, in any number:
//   -- result 0x..    every engine ends with this r0
//   -- trap NAME [N]  every engine traps so (at slot N)
//   -- after          hex bytes of the memory afterwards, in every engine
//   -- error CODE     assembling or decoding fails; the message below
//   -- disasm         the listing
//   -- verdict V      accepted, or `rejected [CODE [at SLOT]]`; the message below, if wanted
//   -- log            the verifier's log at level 2
// An expectation without a body does not look at what would be in it.
// With SKEP_BLESS=1 in the environment expectations that differ are rewritten in place, engines'
// ones from the first engine.
//
// Others add an engine by a row in engines(), a further expectation by a row in expectations().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <skep/error.hpp>
#include <skep/map.hpp>
#include <skep/policy.hpp>

#include "tests/support/test_file.hpp"
#include "vm/isa/insn.hpp"

namespace skep::test {

// A case whose inputs were read.
struct Prepared {
    const TestCase* test = nullptr;
    std::string type = "raw";
    std::vector<RawInsn> slots;
    std::vector<Insn> insns;  // empty if `error` is set
    std::vector<uint8_t> memory;
    std::optional<uint64_t> fuel;
    std::vector<std::shared_ptr<const MapDef>> maps;
    Policy policy = Policy::Linux;
    std::optional<Error> error;  // of assembling or decoding
};

// How one engine ended.
struct Outcome {
    uint64_t r0 = 0;
    TrapCode trap = TrapCode::None;
    uint32_t slot = 0;
    std::vector<uint8_t> memory;  // afterwards
};

struct Engine {
    std::string_view name;
    // Nothing: the engine does not run this type of program, or is not available here.
    std::optional<Result<Outcome>> (*run)(const Prepared& test);
};
std::span<const Engine> engines();

struct Expectation {
    std::string_view section;
    // What the section should be: its words and its body.
    Section (*actual)(const Prepared& test);
};
std::span<const Expectation> expectations();

// Hex text without blanks to bytes and back; a line has 16 bytes.
Result<std::vector<uint8_t>> parse_hex(std::string_view text);
std::string to_hex(std::span<const uint8_t> bytes);

Result<Prepared> prepare(const TestCase& test);

// Runs one case. Returns complaints, none if all is well; with `bless`, expectations that differ
// are replaced instead and `changed` is set.
std::vector<std::string> run_case(TestCase& test, bool bless, bool& changed);

}  // namespace skep::test
