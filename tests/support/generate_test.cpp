// What the generator promises, and that the minimiser keeps what matters.
#include "tests/support/generate.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <set>

#include "tests/support/random.hpp"
#include "tests/support/reference.hpp"
#include "vm/isa/codec.hpp"

namespace skep::test {
namespace {

ReferenceResult run(const Generated& program) {
    std::vector<uint8_t> memory = program.memory;
    const auto insns = decode(program.slots);
    EXPECT_TRUE(insns.has_value()) << program.seed;
    return insns ? run_raw(*insns, memory, 100'000) : ReferenceResult{};
}

TEST(Generate, ASeedGivesAlwaysTheSame) {
    EXPECT_EQ(generate(7).slots, generate(7).slots);
    EXPECT_EQ(generate(7).memory, generate(7).memory);
    EXPECT_NE(generate(7).slots, generate(8).slots);
}

TEST(Generate, SafeProgramsEndByThemselves) {
    const uint64_t first = seed_or(1);
    for (uint64_t seed = first; seed < first + 500; ++seed) {
        const Generated program = generate(seed);
        const ReferenceResult result = run(program);
        ASSERT_EQ(result.trap, TrapCode::None) << to_test(program);
    }
}

TEST(Generate, ProgramsUseEveryKindOfInstruction) {
    std::set<Kind> kinds;
    std::set<uint8_t> opcodes;
    for (uint64_t seed = 1; seed < 200; ++seed) {
        const auto insns = decode(generate(seed).slots).value();
        for (const Insn& insn : insns) {
            kinds.insert(insn.kind);
            opcodes.insert(insn.opcode);
        }
    }
    for (const Kind kind :
         {Kind::Alu, Kind::Neg, Kind::Endian, Kind::Imm64, Kind::Load, Kind::Store, Kind::Atomic,
          Kind::Jump, Kind::Branch, Kind::MayGoto, Kind::CallLocal, Kind::Exit}) {
        EXPECT_TRUE(kinds.contains(kind)) << static_cast<int>(kind);
    }
    EXPECT_GE(opcodes.size(), 115u);  // all but packet loads, helper calls and their like
}

TEST(Generate, WildProgramsTrapInManyWays) {
    std::set<TrapCode> traps;
    for (uint64_t seed = 1; seed < 500; ++seed)
        traps.insert(run(generate(seed, {.wild = true})).trap);
    for (const TrapCode trap : {TrapCode::None, TrapCode::OutOfBounds, TrapCode::Misaligned,
                                TrapCode::Fuel, TrapCode::CallDepth}) {
        EXPECT_TRUE(traps.contains(trap)) << name_of(trap);
    }
}

TEST(Minimise, KeepsOnlyWhatFails) {
    const auto divides = [](const Generated& program) {
        const auto insns = decode(program.slots).value();
        return std::ranges::any_of(insns, [](const Insn& insn) {
            return insn.kind == Kind::Alu && insn.alu() == AluOp::Div;
        });
    };
    Generated program = generate(1);
    for (uint64_t seed = 2; !divides(program); ++seed) program = generate(seed);
    const Generated small = minimise(program, divides);
    EXPECT_LE(small.slots.size(), 2u);  // the last one stays: nothing jumps behind it
    EXPECT_TRUE(divides(small));
    EXPECT_NE(to_test(small).find("/="), std::string::npos);
}

TEST(Minimise, MovesTargets) {
    // The loop must stay a loop while what is in it goes away.
    Generated program;
    program.slots = {{0xb7, 1, 0, 3},  {0xb7, 2, 0, 9}, {0x07, 1, 0, -1}, {0x07, 2, 0, 5},
                     {0x55, 1, -3, 0}, {0xb7, 0, 0, 1}, {0x95, 0, 0, 0}};
    const auto loops = [](const Generated& p) { return run(p).fuel_used == 2; };
    ASSERT_TRUE(loops(program));
    const Generated small = minimise(program, loops);
    EXPECT_LT(small.slots.size(), program.slots.size());
    EXPECT_TRUE(loops(small));
}

}  // namespace
}  // namespace skep::test
