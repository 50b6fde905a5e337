// The interpreter in both forms: what programs compute, and how faults end.
#include "tests/support/engine_run.hpp"

namespace skep::test {
namespace {

struct Case {
    const char* text;
    uint64_t r0;
};

// RFC 9669: values that follow from the text of each section.
const Case kPrograms[] = {
    {"r0 = 5\nexit", 5},
    {"exit", 0},
    {"r0 = r9\nr0 += r5\nexit", 0},
    {"r0 = 7\nr1 = 0\nr0 /= r1\nexit", 0},
    {"r0 = 7\nr1 = 0\nr0 %= r1\nexit", 7},
    {"r0 = -9\nr1 = 2\nr0 s/= r1\nexit", static_cast<uint64_t>(-4)},
    {"r0 = -9\nr0 s%= 2\nexit", static_cast<uint64_t>(-1)},
    {"w0 = -1\nexit", 0xffffffff},
    {"r0 = -1\nw0 += 1\nexit", 0},
    {"r0 = 0x1122334455667788 ll\nexit", 0x1122334455667788},
    {"r0 = 0x1122\nr0 = be16 r0\nexit", 0x2211},
    {"r0 = 0x11223344\nr0 = bswap32 r0\nexit", 0x44332211},
    {"r0 = 0x112233445566 ll\nr0 = le16 r0\nexit", 0x5566},
    {"r1 = 0x80\nr0 = (s8)r1\nexit", static_cast<uint64_t>(-128)},
    {"r1 = 0x80\nw0 = (s8)w1\nexit", 0xffffff80},
    {"r0 = 5\nr0 = -r0\nexit", static_cast<uint64_t>(-5)},
    {"r0 = 1\nr1 = 65\nr0 <<= r1\nexit", 2},
    {"r0 = -8\nr0 s>>= 1\nexit", static_cast<uint64_t>(-4)},
    {"r0 = 0\nif r0 s> -1 goto +1\nexit\nr0 = 3\nexit", 3},
    {"r0 = 0\nr1 = 10\nl: r0 += r1\nr1 -= 1\nif r1 != 0 goto l\nexit", 55},
    {"*(u64 *)(r10 - 8) = 7\nr0 = *(u32 *)(r10 - 8)\nexit", 7},
    {"r0 = *(u64 *)(r10 - 256)\nexit", 0},
    {"*(u8 *)(r1 + 3) = 0xff\nr0 = *(s8 *)(r1 + 3)\nexit", static_cast<uint64_t>(-1)},
    {"r2 = 0x1234\n*(u16 *)(r1 + 4) = r2\nr0 = *(u32 *)(r1 + 4)\nexit", 0x1234},
    {"r0 = r2\nexit", 64},
    {"r2 = 5\nlock *(u64 *)(r1 + 0) += r2\nlock *(u64 *)(r1 + 0) += r2\nr0 = *(u64 *)(r1 + "
     "0)\nexit",
     10},
    {"r2 = 5\nw2 = atomic_fetch_add((u32 *)(r1 + 4), w2)\nr0 = r2\nexit", 0},
    {"r6 = 3\nr1 = 4\ncall local f\nr0 += r6\nexit\nf: r6 = 100\nr0 = r1\nr0 *= 2\nexit", 11},
    // A callee's frame is its own, cleared.
    {"*(u64 *)(r10 - 8) = 9\ncall local f\nr1 = *(u64 *)(r10 - 8)\nr0 += r1\nexit\n"
     "f: r0 = *(u64 *)(r10 - 8)\n*(u64 *)(r10 - 8) = 77\nexit",
     9},
    // A callee may write to its caller's frame through a pointer.
    {"r1 = r10\nr1 += -8\ncall local f\nr0 = *(u64 *)(r10 - 8)\nexit\n"
     "f: *(u64 *)(r1 + 0) = 21\nr0 = 0\nexit",
     21},
    {"r1 = 1\nr2 = 2\nr3 = 3\ncall local f\nr0 = r1\nr0 += r2\nexit\nf: r0 = 0\nexit", 0},
};

class BothForms : public testing::TestWithParam<Form> {};

TEST_P(BothForms, ComputeWhatTheRfcSays) {
    for (const Case& c : kPrograms) {
        const EngineResult result = run_text(GetParam(), c.text);
        EXPECT_EQ(result.trap, TrapCode::None) << c.text << "\n" << name_of(result.trap);
        EXPECT_EQ(result.r0, c.r0) << c.text;
    }
}

TEST_P(BothForms, FuelIsChargedPerBackwardJumpAndLocalCall) {
    const char* loop =
        "r1 = 10\nl: r1 -= 1\nif r1 != 0 goto l\ncall local f\nexit\nf: r0 = 1\nexit";
    EXPECT_EQ(run_text(GetParam(), loop).fuel_used, 10u);
    EXPECT_EQ(run_text(GetParam(), loop, 64, 10).trap, TrapCode::None);
    const EngineResult result = run_text(GetParam(), loop, 64, 9);
    EXPECT_EQ(result.trap, TrapCode::Fuel);
    EXPECT_EQ(result.slot, 3u);
}

TEST_P(BothForms, EndlessLoopsRunOutOfFuel) {
    const EngineResult result = run_text(GetParam(), "l: goto l\nexit", 64, 1'000'000);
    EXPECT_EQ(result.trap, TrapCode::Fuel);
    EXPECT_EQ(result.slot, 0u);
    EXPECT_EQ(result.fuel_used, 1'000'000u);
}

TEST_P(BothForms, RecursionEndsAtTheFrameLimit) {
    const EngineResult result = run_text(
        GetParam(), "r1 = 1\ncall local f\nexit\nf: *(u64 *)(r10 - 512) = 1\ncall local f\nexit");
    EXPECT_EQ(result.trap, TrapCode::CallDepth);
    EXPECT_EQ(result.slot, 4u);
    const char* nested = R"(
        r1 = 6
        call local f
        exit
     f: if r1 == 0 goto out
        r1 -= 1
        *(u64 *)(r10 - 512) = r1
        call local f
        r0 += 1
        exit
   out: r0 = 0
        exit)";
    EXPECT_EQ(run_text(GetParam(), nested).r0, 6u);
}

TEST_P(BothForms, MayGotoEndsAfterItsRounds) {
    const EngineResult result =
        run_text(GetParam(), "r0 = 0\nl: r0 += 1\nmay_goto +1\ngoto l\nexit");
    EXPECT_EQ(result.trap, TrapCode::None);
    EXPECT_EQ(result.r0, uint64_t{kMayGotoMax} + 1);
}

INSTANTIATE_TEST_SUITE_P(Interpreter, BothForms, testing::Values(Form::Sandbox, Form::Unchecked),
                         [](const auto& form) {
                             return form.param == Form::Sandbox ? "Sandbox" : "Unchecked";
                         });

struct FaultCase {
    const char* text;
    TrapCode trap;
    uint32_t slot;
};

const FaultCase kFaults[] = {
    {"r0 = *(u64 *)(r1 + 57)\nexit", TrapCode::OutOfBounds, 0},
    {"r0 = *(u8 *)(r1 - 1)\nexit", TrapCode::OutOfBounds, 0},
    {"r0 = *(u64 *)(r1 + 56)\nexit", TrapCode::None, 0},
    {"r2 = 0\nr0 = *(u8 *)(r2 + 0)\nexit", TrapCode::OutOfBounds, 1},
    {"r2 = 0x7fff12345678 ll\n*(u64 *)(r2 + 0) = 1\nexit", TrapCode::OutOfBounds, 2},
    {"r2 = -1\nr0 = *(u64 *)(r2 + 0)\nexit", TrapCode::OutOfBounds, 1},
    {"r2 = -1\nlock *(u64 *)(r2 + 0) += r1\nexit", TrapCode::OutOfBounds, 1},
    {"r3 = 1\nlock *(u64 *)(r1 + 4) += r3\nexit", TrapCode::Misaligned, 1},
    {"r2 = 1\nw2 = atomic_fetch_add((u32 *)(r1 + 2), w2)\nexit", TrapCode::Misaligned, 1},
    {"r2 = r10\nr0 = *(u8 *)(r2 + 0)\nexit", TrapCode::OutOfBounds, 1},
    {"r2 = r10\nr0 = *(u8 *)(r2 - 513)\nexit", TrapCode::OutOfBounds, 1},
    {"r2 = r10\nr0 = *(u8 *)(r2 - 512)\nexit", TrapCode::None, 0},
    // Handles of maps, functions and objects have no bytes.
    {"r2 = 0x300000000 ll\nr0 = *(u8 *)(r2 + 0)\nexit", TrapCode::OutOfBounds, 2},
    {"r2 = 0x400000000 ll\n*(u8 *)(r2 + 0) = 1\nexit", TrapCode::OutOfBounds, 2},
    {"r2 = 0x500000000 ll\n*(u8 *)(r2 + 0) = 1\nexit", TrapCode::OutOfBounds, 2},
    {"call 999999\nexit", TrapCode::BadHelper, 0},
    {"r0 = 1", TrapCode::FellOffEnd, 0},
};

TEST(Sandbox, FaultsEndInATrapThatNamesTheSlot) {
    for (const FaultCase& c : kFaults) {
        const EngineResult result = run_text(Form::Sandbox, c.text);
        EXPECT_EQ(result.trap, c.trap) << c.text << "\n" << name_of(result.trap);
        EXPECT_EQ(result.slot, c.slot) << c.text;
    }
}

TEST(Sandbox, NoHostAddressIsInARegister) {
    EXPECT_EQ(run_text(Form::Sandbox, "r0 = r1\nexit").r0, guest_address(region::kContext, 0));
    EXPECT_EQ(run_text(Form::Sandbox, "r0 = r10\nexit").r0,
              guest_address(region::kStack, kStackBase + kStackSize));
}

// Bytes that another run left on the stack stay unseen, whatever address they are read at.
TEST(Sandbox, StackOfEarlierRunsIsNotVisible) {
    auto area = RunArea::create();
    ASSERT_TRUE(area);
    std::vector<std::byte> memory(8);
    const Loaded writer = load(Form::Sandbox, program_of("r2 = r10\n*(u64 *)(r2 - 200) = 77\n"
                                                         "r0 = 0\nexit"));
    ASSERT_EQ(run(**area, writer, memory).trap, TrapCode::None);
    const uint64_t secret = guest_address(region::kStack, kStackBase + kStackSize - 200);
    const Loaded reader = load(Form::Sandbox, program_of("r1 = " + std::to_string(secret) +
                                                         " ll\nr0 = *(u64 *)(r1 + 0)\nexit"));
    const EngineResult result = run(**area, reader, memory);
    EXPECT_EQ(result.trap, TrapCode::OutOfBounds);
    const Loaded other = load(Form::Sandbox, program_of("r2 = r10\nr0 = *(u64 *)(r2 - 200)\nexit"));
    EXPECT_EQ(run(**area, other, memory).r0, 0u);
}

TEST(Interrupt, IsPolledWithinAQuantumOfFuel) {
    auto area = RunArea::create();
    ASSERT_TRUE(area);
    std::atomic<uint32_t> flag{1};
    (*area)->interrupt = &flag;
    std::vector<std::byte> memory(8);
    const Loaded loop = load(Form::Sandbox, program_of("l: goto l\nexit"));
    const EngineResult result = run(**area, loop, memory);
    EXPECT_EQ(result.trap, TrapCode::Interrupted);
    EXPECT_LE(result.fuel_used, kFuelQuantum);
}

}  // namespace
}  // namespace skep::test
