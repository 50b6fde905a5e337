// Generated programs and the verifier: the safe ones are accepted, and whatever is accepted runs
// without a trap in the reference interpreter, which checks everything at every step.
#include <gtest/gtest.h>

#include "tests/support/generate.hpp"
#include "tests/support/random.hpp"
#include "tests/support/reference.hpp"
#include "verifier/verifier.hpp"
#include "vm/isa/codec.hpp"
#include "vm/prog/program.hpp"

namespace skep::test {
namespace {

Analysis analyze_raw(const Generated& generated, Policy policy, AnalyzeBudgets budgets) {
    auto program = make_raw_program(generated.slots, *find_prog_type(ProgKind::Raw), {});
    EXPECT_TRUE(program.has_value()) << program.error().to_string();
    if (!program) return {};
    program->raw_size = static_cast<uint32_t>(generated.memory.size());
    return analyze(*program, {.policy = policy, .budgets = budgets, .facts = false});
}

TEST(Generated, SafeProgramsAreAccepted) {
    const uint64_t first = seed_or(1);
    const uint64_t rounds = rounds_or(100);
    for (uint64_t seed = first; seed < first + rounds; ++seed) {
        const Generated program = generate(seed);
        for (const Policy policy : {Policy::Linux, Policy::Strict}) {
            const Analysis analysis = analyze_raw(program, policy, {});
            ASSERT_TRUE(analysis.accepted())
                << "SKEP_SEED=" << seed << ": " << analysis.error.to_string() << "\n"
                << to_test(program);
        }
    }
}

TEST(Generated, WhatIsAcceptedDoesNotTrap) {
    const uint64_t first = seed_or(1);
    const uint64_t rounds = rounds_or(250);
    size_t accepted = 0;
    for (uint64_t seed = first; seed < first + rounds; ++seed) {
        const Generated program = generate(seed, {.wild = true, .statements = 15});
        // Endless loops end at this budget.
        if (!analyze_raw(program, Policy::Extended, {.insns = 200'000}).accepted()) continue;
        ++accepted;
        std::vector<uint8_t> memory = program.memory;
        const ReferenceResult result = run_raw(decode(program.slots).value(), memory);
        ASSERT_EQ(result.trap, TrapCode::None) << "SKEP_SEED=" << seed << "\n" << to_test(program);
    }
    EXPECT_GT(accepted, rounds / 20);
}

}  // namespace
}  // namespace skep::test
