// Each budget of an analysis against programs made to exceed it: the analysis ends soon after, with
// an error that names the budget.
#include <gtest/gtest.h>
#include <string>

#include "verifier/verifier.hpp"
#include "vm/isa/assemble.hpp"
#include "vm/prog/program.hpp"

namespace skep::test {
namespace {

// A loop that counts: many instructions, numbers and states on one path.
std::string counting(unsigned rounds) {
    return "r1 = 0\nagain:\nr1 += 1\nif r1 < " + std::to_string(rounds) +
           " goto again\nr0 = 0\nexit\n";
}

// A branch after the other, each leaving a state that waits.
std::string branches(unsigned count) {
    std::string out = "r6 = *(u32 *)(r1 + 0)\nr7 = *(u32 *)(r1 + 4)\nr0 = 0\n";
    for (unsigned i = 0; i < count; ++i)
        out += "if r" + std::to_string(6 + i % 2) + " == " + std::to_string(i) + " goto out\n";
    return out + "out:\nexit\n";
}

// Branches that go one way only: states are kept at many places, and none waits.
std::string decided(unsigned count) {
    std::string out = "r0 = 0\n";
    for (unsigned i = 0; i < count; ++i) out += "if r0 == 1 goto out\n";
    return out + "out:\nexit\n";
}

// Diamonds whose sums all matter at the end: twice as many paths after each.
std::string diamonds(unsigned count) {
    std::string out = "r8 = *(u32 *)(r1 + 0)\nr7 = 0\n";
    for (unsigned i = 0; i < count; ++i) {
        const std::string n = std::to_string(i);
        out += "r9 = r8\nr9 >>= " + n + "\nr9 &= 1\nif r9 == 0 goto l" + n +
               "\nr7 += " + std::to_string(1u << i) + "\nl" + n + ":\n";
    }
    return out + "r7 &= 63\nr1 = r10\nr1 += -64\nr1 += r7\n*(u8 *)(r1 + 0) = 0\nr0 = 0\nexit\n";
}

Analysis run(const std::string& text, const AnalyzeBudgets& budgets, unsigned log_level = 0) {
    const auto slots = assemble(text);
    EXPECT_TRUE(slots) << slots.error().to_string();
    auto program = make_raw_program(*slots, *find_prog_type(ProgKind::SocketFilter), {});
    EXPECT_TRUE(program) << program.error().to_string();
    AnalyzeOptions options;
    options.budgets = budgets;
    options.log_level = log_level;
    return analyze(*program, options);
}

void expect_refused(const Analysis& analysis, ErrorCode code, const char* words) {
    EXPECT_EQ(analysis.verdict, Verdict::Rejected);
    EXPECT_EQ(analysis.error.code, code) << analysis.error.to_string();
    EXPECT_NE(analysis.error.message.find("budget"), std::string::npos) << analysis.error.message;
    EXPECT_NE(analysis.error.message.find(words), std::string::npos) << analysis.error.message;
    EXPECT_FALSE(analysis.facts.complete);
}

TEST(Budgets, AreLargeEnoughForOrdinaryPrograms) {
    EXPECT_TRUE(run(counting(20'000), {}).accepted());
    EXPECT_TRUE(run(branches(2'000), {}).accepted());
    EXPECT_TRUE(run(diamonds(9), {}).accepted());
}

TEST(Budgets, Instructions) {
    for (const std::string& text : {counting(100'000), diamonds(15)}) {
        const Analysis analysis = run(text, {.insns = 20'000});
        expect_refused(analysis, ErrorCode::TooComplex, "20000");
        EXPECT_LE(analysis.processed, 20'000u + 1024);
    }
}

TEST(Budgets, States) {
    const Analysis analysis = run(decided(2'000), {.states = 100});
    expect_refused(analysis, ErrorCode::TooManyStates, "keeps");
    EXPECT_LE(analysis.peak_states, 100u);
}

TEST(Budgets, WaitingBranches) {
    expect_refused(run(branches(5'000), {.states = 1'000}), ErrorCode::TooManyStates, "wait");
}

TEST(Budgets, Memory) {
    const Analysis analysis = run(counting(200'000), {.memory_bytes = 1u << 20});
    expect_refused(analysis, ErrorCode::AnalysisMemory, "1048576");
    EXPECT_LE(analysis.peak_memory, 4u << 20);
}

TEST(Budgets, WallTime) {
    expect_refused(run(counting(100'000), {.wall_ns = 1}), ErrorCode::AnalysisTime, "1 ns");
}

// A log that is full says no more; the verdict stays.
TEST(Budgets, LogBytes) {
    const Analysis analysis = run(counting(1'000), {.log_bytes = 4096}, 2);
    EXPECT_TRUE(analysis.accepted()) << analysis.error.to_string();
    EXPECT_LE(analysis.log.size(), 4096u + 1024);
    EXPECT_GT(run(counting(1'000), {}, 2).log.size(), 3 * analysis.log.size());
}

}  // namespace
}  // namespace skep::test
