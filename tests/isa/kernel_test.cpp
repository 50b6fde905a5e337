// The reference interpreter and the decoder against the running kernel.
#include "tests/support/kernel.hpp"

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

#include "tests/support/generate.hpp"
#include "tests/support/harness.hpp"
#include "tests/support/random.hpp"
#include "tests/support/reference.hpp"
#include "vm/isa/codec.hpp"
#include "vm/isa/disasm.hpp"
#include "vm/prog/prog_type.hpp"

namespace skep::test {
namespace {

constexpr uint32_t kSocketFilter = 1;  // BPF_PROG_TYPE_SOCKET_FILTER

class KernelTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (const auto reason = Kernel::unavailable()) GTEST_SKIP() << *reason;
    }
};

// What differs between the reference and the kernel, or nothing. `accepted` counts.
std::optional<std::string> difference(const Generated& program, size_t& accepted) {
    const auto insns = decode(program.slots);
    if (!insns) return std::nullopt;
    std::vector<uint8_t> memory = program.memory;
    const ReferenceResult expected = run_raw(*insns, memory);
    if (expected.trap != TrapCode::None) return std::nullopt;
    const Kernel::Run actual = Kernel::run(program.slots, program.memory);
    if (!actual.accepted) return std::nullopt;
    ++accepted;
    if (actual.r0 != static_cast<uint32_t>(expected.r0)) {
        return "kernel r0 " + std::to_string(actual.r0) + ", reference " +
               std::to_string(static_cast<uint32_t>(expected.r0));
    }
    if (actual.memory != memory) return "kernel memory\n" + to_hex(actual.memory);
    return std::nullopt;
}

TEST_F(KernelTest, GeneratedProgramsEndAsInTheReference) {
    const uint64_t first = seed_or(1);
    const size_t programs = rounds_or(400);
    size_t accepted = 0;
    std::string refused;
    for (uint64_t seed = first; seed < first + programs; ++seed) {
        const Generated program = generate(seed);
        const size_t before = accepted;
        const auto found = difference(program, accepted);
        if (accepted == before && refused.empty()) {
            refused = Kernel::run(program.slots, program.memory).log;
            refused = refused.substr(refused.size() - std::min<size_t>(refused.size(), 600));
        }
        if (!found) continue;
        const Generated small = minimise(
            program, [&](const Generated& p) { return difference(p, accepted).has_value(); });
        FAIL() << "SKEP_SEED=" << seed << ": " << *found << "\n" << to_test(small);
    }
    // The generator promises programs that the kernel takes; a few exceed its budget.
    EXPECT_GE(accepted, programs * 9 / 10) << refused;
    RecordProperty("accepted", static_cast<int>(accepted));
}

TEST_F(KernelTest, VectorsEndAsWritten) {
    size_t accepted = 0;
    const auto root = std::filesystem::path(SKEP_SOURCE_DIR) / "tests/data/isa";
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
        std::stringstream text;
        text << std::ifstream(entry.path()).rdbuf();
        const auto file = parse_test_file(text.str());
        ASSERT_TRUE(file.has_value()) << entry.path();
        for (const TestCase& test : file->cases) {
            const auto prepared = prepare(test);
            if (!prepared || prepared->error || prepared->type != "raw") continue;
            if (test.find("kernel") != nullptr) continue;
            const auto found =
                difference({.slots = prepared->slots, .memory = prepared->memory}, accepted);
            if (found) ADD_FAILURE() << entry.path() << ": " << test.title << ": " << *found;
        }
    }
    EXPECT_GT(accepted, 900u);
}

// The verdicts in tests/data/verifier are Linux's.
TEST_F(KernelTest, VerdictsAreTheKernels) {
    size_t asked = 0;
    const auto root = std::filesystem::path(SKEP_SOURCE_DIR) / "tests/data/verifier";
    for (const auto& entry : std::filesystem::directory_iterator(root)) {
        std::stringstream text;
        text << std::ifstream(entry.path()).rdbuf();
        const auto file = parse_test_file(text.str());
        ASSERT_TRUE(file.has_value()) << entry.path();
        for (const TestCase& test : file->cases) {
            const Section* verdict = test.find("verdict");
            const auto prepared = prepare(test);
            ASSERT_TRUE(prepared.has_value()) << test.title;
            const ProgType* type = find_prog_type(prepared->type);
            const bool is_linux =
                prepared->policy == Policy::Linux && type != nullptr && type->kind != ProgKind::Raw;
            if (verdict == nullptr || !is_linux || test.find("kernel") != nullptr) continue;
            ++asked;
            std::string log;
            const bool loads = Kernel::loads(prepared->slots, static_cast<uint32_t>(type->kind),
                                             &log, prepared->maps);
            EXPECT_EQ(loads, verdict->words == "accepted") << test.title << "\n" << log;
        }
    }
    EXPECT_GT(asked, 50u);
}

// Whatever the kernel loads, the decoder takes.
TEST_F(KernelTest, TheDecoderRefusesNothingThatTheKernelLoads) {
    size_t asked = 0;
    for (unsigned opcode = 0; opcode < 256; ++opcode)
        for (const unsigned dst : {0u, 1u, 10u})
            for (const unsigned src : {0u, 1u, 10u})
                for (const int off : {0, 1, 8, -8})
                    for (const int32_t imm : {0, 1, 16, 0xe1}) {
                        const RawInsn insn{static_cast<uint8_t>(opcode),
                                           static_cast<uint8_t>(dst | src << 4),
                                           static_cast<int16_t>(off), imm};
                        std::vector<RawInsn> slots{{0xb7, 0, 0, 0}, insn};
                        if (opcode == 0x18) slots.push_back({0, 0, 0, 0});
                        slots.push_back({0x95, 0, 0, 0});
                        const auto insns = decode(slots);
                        if (insns) continue;
                        ++asked;
                        EXPECT_FALSE(Kernel::loads(slots, kSocketFilter))
                            << std::hex << opcode << " dst " << dst << " src " << src << std::dec
                            << " off " << off << " imm " << imm << ": "
                            << insns.error().to_string();
                    }
    EXPECT_GT(asked, 10000u);
}

}  // namespace
}  // namespace skep::test
