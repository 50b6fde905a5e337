// Programs of more than 100,000 instructions with jumps across all of them: branches that reach far
// on both targets, in both forms, at every kind of distance.
#include <gtest/gtest.h>

#include "tests/support/engine_run.hpp"

namespace skep::test {
namespace {

constexpr uint32_t kInsns = 120'000;

RawInsn insn(unsigned opcode, unsigned dst, unsigned src, int off, int32_t imm) {
    return {static_cast<uint8_t>(opcode), static_cast<uint8_t>(dst | src << 4),
            static_cast<int16_t>(off), imm};
}

// r0 counts what runs. The first instructions jump over everything to the end, where a loop goes
// back to the start `rounds` times; in between, branches skip as far as 16 bits say.
std::vector<Insn> far_jumps(int rounds) {
    std::vector<RawInsn> out;
    out.push_back(insn(0xb7, 0, 0, 0, 0));
    out.push_back(insn(0xb7, 6, 0, 0, rounds));
    const auto head = static_cast<int32_t>(out.size());
    out.push_back(insn(0x07, 0, 0, 0, 1));
    out.push_back(insn(0x15, 6, 0, 1, 1));  // the last round goes through the middle
    out.push_back(insn(0x06, 0, 0, 0, 0));  // to the end, patched
    const size_t over = out.size() - 1;
    while (out.size() < kInsns) {
        const auto k = static_cast<int32_t>(out.size());
        out.push_back(insn(0x67, 0, 0, 0, 1));
        out.push_back(insn(0xa7, 0, 0, 0, k));
        if (k % 40'000 < 3 && out.size() + 32'100 < kInsns)
            out.push_back(insn(0x55, 6, 0, 32'000, 1));
    }
    out[over].imm = static_cast<int32_t>(out.size() - over) - 1;
    out.push_back(insn(0x07, 0, 0, 0, 3));
    out.push_back(insn(0x07, 6, 0, 0, -1));
    out.push_back(insn(0x15, 6, 0, 1, 0));
    out.push_back(insn(0x06, 0, 0, 0, head - static_cast<int32_t>(out.size()) - 1));
    out.push_back(insn(0x95, 0, 0, 0, 0));
    auto insns = decode(out);
    EXPECT_TRUE(insns.has_value());
    return insns ? *std::move(insns) : std::vector<Insn>{};
}

TEST(LargePrograms, JumpAcrossAllTheirCode) {
    auto area = RunArea::create();
    ASSERT_TRUE(area.has_value());
    for (const int rounds : {1, 2, 5}) {
        const auto program = program_of(far_jumps(rounds));
        std::vector<std::byte> memory(64);
        const Loaded expected = load(Form::Sandbox, program);
        const EngineResult want = run(**area, expected, memory);
        ASSERT_EQ(want.trap, TrapCode::None);
        for (const Form form : {Form::Sandbox, Form::Unchecked}) {
            const Loaded loaded = load(form, program, {}, Runs::Native);
            const EngineResult got = run(**area, loaded, memory);
            EXPECT_EQ(got.r0, want.r0) << rounds;
            EXPECT_EQ(got.trap, want.trap) << rounds;
            EXPECT_EQ(got.fuel_used, want.fuel_used) << rounds;
        }
    }
}

// Branches to the head of a loop, which is aligned and paid for, over code of every length that
// a short jump may or may not reach across.
TEST(LargePrograms, BranchOverCodeOfEveryLength) {
    auto area = RunArea::create();
    ASSERT_TRUE(area.has_value());
    for (unsigned length = 0; length < 40; ++length) {
        for (const unsigned opcode : {0x07u, 0xbfu, 0x71u, 0x7bu, 0xdbu}) {
            std::vector<RawInsn> out{insn(0xb7, 0, 0, 0, 0), insn(0xb7, 6, 0, 0, 3)};
            out.push_back(insn(0x15, 2, 0, static_cast<int>(length), 64));
            for (unsigned i = 0; i < length; ++i) {
                const bool stores = opcode == 0x7b || opcode == 0xdb;
                const unsigned src = opcode == 0x71 ? 1 : opcode == 0x07 ? 0 : 3;
                out.push_back(insn(opcode, stores ? 1 : 0, src, opcode == 0xdb ? 8 : 0,
                                   opcode == 0x07 ? 0x12345678 : 0));
            }
            out.push_back(insn(0x07, 0, 0, 0, 2));
            out.push_back(insn(0x07, 6, 0, 0, -1));
            out.push_back(insn(0x55, 6, 0, -3, 0));
            out.push_back(insn(0x95, 0, 0, 0, 0));
            auto insns = decode(out);
            ASSERT_TRUE(insns.has_value());
            const auto program = program_of(*insns);
            for (const bool hardened : {false, true}) {
                std::vector<std::byte> memory(64);
                const Loaded native =
                    load(Form::Sandbox, program, {.hardened = hardened}, Runs::Native);
                const EngineResult got = run(**area, native, memory);
                EXPECT_EQ(got.r0, 6u) << length << " of " << opcode;
                EXPECT_EQ(got.trap, TrapCode::None);
                EXPECT_EQ(got.fuel_used, 2u);
            }
        }
    }
}

TEST(LargePrograms, AssembleForBothTargets) {
    const auto program = program_of(far_jumps(3));
    for (const jit::Target target : {jit::Target::X64, jit::Target::A64}) {
        auto image = lower_checked(program, nullptr, {});
        ASSERT_TRUE(image.has_value());
        const auto listing = jit::assemble(**image, target, {});
        EXPECT_TRUE(listing.has_value()) << listing.error().to_string();
    }
}

}  // namespace
}  // namespace skep::test
