// The harness itself: a test that cannot fail would go unnoticed.
#include "tests/support/harness.hpp"

#include <gtest/gtest.h>

#include "tests/support/reference.hpp"
#include "vm/isa/assemble.hpp"
#include "vm/isa/codec.hpp"

namespace skep::test {
namespace {

TestCase one_case(std::string_view text) {
    auto file = parse_test_file(text);
    EXPECT_TRUE(file.has_value());
    return file ? file->cases.at(0) : TestCase{};
}

std::vector<std::string> complaints_of(std::string_view text) {
    TestCase test = one_case(text);
    bool changed = false;
    auto complaints = run_case(test, false, changed);
    EXPECT_FALSE(changed);
    return complaints;
}

TEST(Harness, AFileIsWrittenAsItWasRead) {
    const std::string text =
        "# head\n\n== one\n-- asm\n  r0 = 1\n  exit\n-- result 0x1\n\n== two\n# why\n-- raw\n  00\n"
        "-- error bad_opcode\nmessage\n";
    const auto file = parse_test_file(text);
    ASSERT_TRUE(file.has_value());
    EXPECT_EQ(file->cases.size(), 2u);
    EXPECT_EQ(to_text(*file), text);
    EXPECT_FALSE(parse_test_file("nonsense\n").has_value());
}

TEST(Harness, RightExpectationsPass) {
    EXPECT_TRUE(complaints_of("-- asm\nr0 = 3\nexit\n-- result 0x3\n").empty());
    EXPECT_TRUE(complaints_of("-- asm\nr0 = 3\nexit\n-- result\n3\n").empty());
    EXPECT_TRUE(complaints_of("-- fuel 9\n-- asm\ngoto -1\n-- trap fuel\n").empty());
    EXPECT_TRUE(complaints_of("-- mem\n01 02\n-- asm\n*(u8 *)(r1 + 1) = 9\nexit\n-- after\n01 09\n")
                    .empty());
}

TEST(Harness, WrongExpectationsAreReported) {
    const char* wrong[] = {
        "-- asm\nr0 = 3\nexit\n-- result 0x4\n",
        "-- asm\nr0 = 3\nexit\n-- trap fuel\n",
        "-- fuel 9\n-- asm\ngoto -1\n-- result 0x0\n",
        "-- fuel 9\n-- asm\ngoto -1\n-- trap fuel 1\n",
        "-- asm\nr0 = 3\nexit\n-- disasm\n0: r0 = 4\n1: exit\n",
        "-- asm\nr0 = 3\nexit\n-- error syntax\n",
        "-- asm\nr0 : 3\nexit\n-- result 0x0\n",
        "-- mem\n01 02\n-- asm\nexit\n-- after\n01 03\n",
        "-- asm\nr0 = 3\nexit\n",
        "-- asm\nr0 = 3\nexit\n-- resutl 0x3\n",
        "-- result 0x3\n",
    };
    for (const char* text : wrong) EXPECT_FALSE(complaints_of(text).empty()) << text;
}

TEST(Harness, BlessingMakesACaseRight) {
    TestCase test = one_case("-- asm\nr0 = 3\nexit\n-- result 0x4\n\n-- disasm\n");
    bool changed = false;
    EXPECT_TRUE(run_case(test, true, changed).empty());
    EXPECT_TRUE(changed);
    EXPECT_EQ(to_text({{test}}),
              "-- asm\nr0 = 3\nexit\n-- result 0x3\n\n-- disasm\n0: r0 = 3\n1: exit\n");
    changed = false;
    EXPECT_TRUE(run_case(test, true, changed).empty());
    EXPECT_FALSE(changed);
}

TEST(Harness, DiffShowsWhatChanged) {
    EXPECT_EQ(diff("a\nb\nc\nd\ne\n", "a\nb\nx\nd\ne\n"), "  a\n  b\n- c\n+ x\n  d\n  e\n");
    EXPECT_EQ(diff("a\n", "a\nb\n"), "  a\n+ b\n");
}

TEST(Reference, HelpersGetArgumentsAndMemory) {
    const auto insns = decode(*assemble("r1 = 4\nr5 = 38\ncall 77\nr6 = r1\nr0 += r6\nexit"));
    ASSERT_TRUE(insns.has_value());
    ReferenceRun run;
    run.helper = [](int32_t number, std::span<const uint64_t, 5> args, GuestMemory&) {
        return number == 77 ? std::optional(args[0] + args[4]) : std::nullopt;
    };
    const ReferenceResult result = run_reference(*insns, run);
    EXPECT_EQ(result.trap, TrapCode::None);
    EXPECT_EQ(result.r0, 42u);
    EXPECT_EQ(result.executed, 6u);
    EXPECT_EQ(result.fuel_used, 1u);
}

TEST(Reference, ReadOnlyRegionsAreRead) {
    const auto insns = decode(*assemble("r0 = *(u8 *)(r1 + 0)\n*(u8 *)(r1 + 0) = 1\nexit"));
    ReferenceRun run;
    run.regs[1] = 4096;
    run.memory.regions.push_back({4096, {7}, false});
    const ReferenceResult result = run_reference(*insns, run);
    EXPECT_EQ(result.trap, TrapCode::ReadOnly);
    EXPECT_EQ(result.slot, 1u);
}

TEST(Reference, RunningOffTheEndTraps) {
    std::vector<uint8_t> memory;
    const auto result = run_raw(*decode(*assemble("r0 = 1")), memory);
    EXPECT_EQ(result.trap, TrapCode::FellOffEnd);
    EXPECT_EQ(result.slot, 1u);
}

}  // namespace
}  // namespace skep::test
