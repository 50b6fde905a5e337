// What people read: ten typical mistakes, with the cause, the place and the hint.
#include <gtest/gtest.h>

#include "tests/verifier/verdict_case.hpp"
#include "verifier/verifier.hpp"

namespace skep::test {
namespace {

struct Mistake {
    const char* title;
    const char* type;
    const char* maps;
    const char* text;
    ErrorCode code;
    int64_t slot;
    const char* message;  // part of it
    const char* hint;     // part of it
};

constexpr const char* kHash = "type=hash,key=8,value=48,entries=1\n";
constexpr const char* kLookup =
    "*(u64 *)(r10 - 8) = 0\nr1 = map[0] ll\nr2 = r10\nr2 += -8\ncall bpf_map_lookup_elem\n";

const Mistake kMistakes[] = {
    {"missing null check", "xdp", kHash, "r0 = *(u64 *)(r0 + 0)\nexit\n", ErrorCode::PossiblyNull,
     6, "R0 invalid mem access 'map_value_or_null'", "if (!ptr)"},
    {"index without bound", "xdp", kHash,
     "if r0 == 0 goto +3\nr1 = *(u32 *)(r0 + 0)\nr0 += r1\nr1 = *(u8 *)(r0 + 0)\nr0 = 0\nexit\n",
     ErrorCode::UnboundedOffset, 9, "unbounded memory access", "bound the offset"},
    {"index with a wrong bound", "xdp", kHash,
     "if r0 == 0 goto +4\nr1 = *(u32 *)(r0 + 0)\nif r1 > 48 goto +2\nr0 += r1\n"
     "r1 = *(u8 *)(r0 + 0)\nr0 = 0\nexit\n",
     ErrorCode::OutOfBoundsAccess, 10, "offset 48 size 1 of map value", "bound the index"},
    {"packet without a check", "xdp", "", "r2 = *(u32 *)(r1 + 0)\nr0 = *(u8 *)(r2 + 12)\nexit\n",
     ErrorCode::PacketOutOfBounds, 1, "0 bytes are proven here", "data_end"},
    {"endless loop", "xdp", "", "r1 = 0\ngoto -1\n", ErrorCode::InfiniteLoop, 1,
     "infinite loop detected", "constant bound"},
    {"uninitialised register", "xdp", "", "r0 = r3\nexit\n", ErrorCode::UninitRegister, 0,
     "R3 !read_ok", "initialise"},
    {"beyond the frame", "xdp", "", "*(u64 *)(r10 - 520) = 0\nr0 = 0\nexit\n",
     ErrorCode::StackOutOfBounds, 0, "the frame is fp-512 to fp-1", "512 bytes"},
    {"helper of other types", "xdp", "", "r2 = 0\ncall bpf_skb_pull_data\nr0 = 0\nexit\n",
     ErrorCode::HelperNotAllowed, 1, "cannot use helper bpf_skb_pull_data#39", "skep helpers"},
    {"reference not released", "tc", "",
     "*(u64 *)(r10 - 8) = 0\n*(u64 *)(r10 - 16) = 0\nr2 = r10\nr2 += -16\nr3 = 12\nr4 = 0\nr5 = 0\n"
     "call bpf_sk_lookup_tcp\nr0 = 0\nexit\n",
     ErrorCode::UnreleasedReference, 9, "alloc_insn=7", "bpf_sk_release"},
    {"size that may be anything", "tc", "",
     "r4 = *(u32 *)(r1 + 0)\nr2 = 0\nr3 = r10\nr3 += -64\ncall bpf_skb_load_bytes\nr0 = 0\nexit\n",
     ErrorCode::BadArgumentSize, 4, "R4", "bound the size"},
    {"store to a read-only context field", "xdp", "", "*(u32 *)(r1 + 12) = 0\nr0 = 0\nexit\n",
     ErrorCode::BadContextField, 0, "xdp_md of xdp does not allow this store", "UAPI"},
};

class Diagnostics : public ::testing::TestWithParam<Mistake> {};

TEST_P(Diagnostics, SayWhatIsWrongWhereAndWhatHelps) {
    const Mistake& mistake = GetParam();
    TestCase text;
    text.title = mistake.title;
    const bool lookup = *mistake.maps != 0;
    text.sections = {{"prog", mistake.type, ""},
                     {"maps", "", mistake.maps},
                     {"asm", "", std::string(lookup ? kLookup : "") + mistake.text}};
    const auto read = read_verdict_case(text);
    ASSERT_TRUE(read) << read.error().to_string();
    ASSERT_TRUE(read->program) << read->program.error().to_string();
    const Analysis analysis = analyze(*read->program, {});
    EXPECT_EQ(analysis.verdict, Verdict::Rejected);
    EXPECT_EQ(analysis.error.code, mistake.code) << analysis.error.to_string();
    EXPECT_EQ(analysis.error.where.slot, mistake.slot) << analysis.error.to_string();
    EXPECT_NE(analysis.error.message.find(mistake.message), std::string::npos)
        << analysis.error.message;
    EXPECT_NE(analysis.hint.find(mistake.hint), std::string::npos) << analysis.hint;
}

INSTANTIATE_TEST_SUITE_P(Typical, Diagnostics, ::testing::ValuesIn(kMistakes));

// The branches on the way to the error, in order.
TEST(Path, NamesTheBranchesThatLeadToTheError) {
    TestCase text;
    text.sections = {
        {"prog", "xdp", ""},
        {"asm", "", "r2 = *(u32 *)(r1 + 12)\nif r2 > 5 goto +2\nr0 = 0\nexit\nr0 = r9\nexit\n"}};
    const auto read = read_verdict_case(text);
    ASSERT_TRUE(read && read->program);
    const Analysis analysis = analyze(*read->program, {});
    EXPECT_EQ(analysis.error.code, ErrorCode::UninitRegister);
    ASSERT_EQ(analysis.path.size(), 1u);
    EXPECT_EQ(analysis.path[0].slot, 1u);
    EXPECT_TRUE(analysis.path[0].taken);
}

TEST(Budgets, AreNamedWhenTheyAreExceeded) {
    TestCase text;
    text.sections = {{"prog", "xdp", ""},
                     {"asm", "", "r6 = 0\nr6 += 1\nif r6 != 100000 goto -2\nr0 = 0\nexit\n"}};
    const auto read = read_verdict_case(text);
    ASSERT_TRUE(read && read->program);
    AnalyzeOptions options;
    options.budgets.insns = 10'000;
    EXPECT_EQ(analyze(*read->program, options).error.code, ErrorCode::TooComplex);
    options.budgets.insns = 8'000'000;
    const Analysis whole = analyze(*read->program, options);
    EXPECT_TRUE(whole.accepted());
    EXPECT_TRUE(whole.beyond_linux.empty());
    // One path, whose length is the worst case.
    EXPECT_EQ(whole.facts.worst_case_insns, whole.processed);
}

}  // namespace
}  // namespace skep::test
