// The code that both targets get for what compilers write, as asmjit prints it: the body of the
// function, without entry and exit.
#include <gtest/gtest.h>
#include <sstream>

#include "tests/support/engine_run.hpp"
#include "tests/support/generate.hpp"
#include "tests/support/random.hpp"

namespace skep::test {
namespace {

struct Golden {
    std::string_view name;
    std::string_view program;
    std::string_view x64, a64;  // instructions, separated by " | "
};

constexpr Golden kGolden[] = {
    {"rotation from shifts and or", "r2 = r1\nr2 >>= 7\nr0 = r1\nr0 <<= 57\nr0 |= r2\nexit",
     "rorx rax, rdi, 7", "ror x7, x0, 7"},
    {"rotation whose operand is shifted in place", "w0 = w2\nw0 <<= 13\nw2 >>= 19\nw0 |= w2\nexit",
     "rorx eax, esi, 19", "ror w7, w1, 19"},
    {"scaled index and displacement",
     "r2 &= 15\nr2 <<= 2\nr3 = r1\nr3 += r2\nr0 = *(u32 *)(r3 + 8)\nexit",
     "and esi, 15 | mov eax, dword ptr [rdi+rsi*4+8]",
     "and x1, x1, 15 | add x2, x0, x1, 2 | ldr w7, [x2, 8]"},
    {"load in network order", "r3 = r1\nr3 += r2\nr0 = *(u16 *)(r3 + 0)\nr0 = be16 r0\nexit",
     "movzx eax, word ptr [rdi+rsi] | rol ax, 8", "ldrh w7, [x0, x1] | rev16 w7, w7"},
    {"load and shift pair", "r0 = *(u8 *)(r1 + 3)\nr0 <<= 56\nr0 s>>= 56\nexit",
     "movsx rax, byte ptr [rdi+3]", "ldrsb x7, [x0, 3]"},
    {"operand in memory", "r3 = *(u64 *)(r1 + 8)\nr0 = r2\nr0 += r3\nexit",
     "mov rax, rsi | add rax, qword ptr [rdi+8]", "ldr x2, [x0, 8] | add x7, x1, x2"},
    {"mask before a branch",
     "r3 = r2\nr3 &= 4\nr0 = 1\nif r3 == 0 goto +1\nr0 = *(u8 *)(r1 + 0)\nexit",
     "mov eax, 1 | rex test sil, 4 | short je L2 | movzx eax, byte ptr [rdi]",
     "mov w7, 1 | tbz x1, 2, L2 | ldrb w7, [x0]"},
    {"comparison with memory",
     "r3 = *(u8 *)(r1 + 5)\nr0 = 1\nif r3 != 7 goto +1\nr0 = *(u8 *)(r1 + 0)\nexit",
     "mov eax, 1 | cmp byte ptr [rdi+5], 7 | short jne L2 | movzx eax, byte ptr [rdi]",
     "ldrb w2, [x0, 5] | mov w7, 1 | cmp x2, 7 | b.ne L2 | ldrb w7, [x0]"},
    {"branch over one move", "r0 = r2\nif r2 > r1 goto +1\nr0 = r1\nexit",
     "cmp rsi, rdi | mov rax, rsi | cmovbe rax, rdi", "cmp x1, x0 | csel x7, x1, x0, 10"},
    {"condition as a number", "r0 = 1\nif r2 s< 5 goto +1\nr0 = 0\nexit",
     "xor eax, eax | cmp rsi, 5 | setl al", "cmp x1, 5 | cset x7, 13"},
    {"division by a constant", "r0 = r2\nr0 /= 10\nexit",
     "mov r11, rsi | mov r9, rdx | mov rdx, -3689348814741910323 | mulx r10, rdx, r11, rdx | "
     "mov rdx, r9 | shr r10, 3 | mov rax, r10",
     "mov x12, -3689348814741910323 | umulh x9, x1, x12 | lsr x7, x9, 3"},
    {"constants", "r0 = 7\nr3 = 3\nr0 *= r3\nr0 += 2\nexit", "mov eax, 23", "mov w7, 23"},
    {"what nobody reads", "r3 = r2\nr3 *= 5\nr0 = r1\nr4 = *(u64 *)(r1 + 8)\nexit", "mov rax, rdi",
     "mov x7, x0"},
    {"result that is a product of copies", "r3 = r1\nr4 = r3\nr4 += r2\nr0 = r4\nexit",
     "lea rax, [rdi+rsi]", "add x7, x0, x1"},
};

std::string body(std::string_view program, jit::Target target,
                 std::shared_ptr<const Facts> facts = nullptr) {
    auto image = lower_unchecked(program_of(program), std::move(facts), {.fuel = false});
    if (!image) return image.error().to_string();
    auto listing = jit::assemble(**image, target, {.bmi2 = true, .movbe = true, .lse = true});
    if (!listing) return listing.error().to_string();
    const std::string_view ending = target == jit::Target::X64 ? "ret" : "mov x0, x7";
    std::istringstream lines(listing->text);
    std::string out;
    for (std::string line; std::getline(lines, line);) {
        line.resize(std::min(line.find(';'), line.size()));
        while (!line.empty() && line.back() == ' ') line.pop_back();
        const bool mark = line.empty() || line.front() == '@' || line.back() == ':';
        if (mark || line == "endbr64" || line == "hint 34") continue;
        if (line == ending) break;
        if (!out.empty()) out += " | ";
        out += line;
    }
    return out;
}

TEST(GoldenCode, IsWhatItWas) {
    for (const Golden& g : kGolden) {
        EXPECT_EQ(body(g.program, jit::Target::X64), g.x64) << g.name;
        EXPECT_EQ(body(g.program, jit::Target::A64), g.a64) << g.name;
    }
}

// The line of a listing whose bytes, in its comment, hold the one at `offset`.
std::string line_at(const std::string& text, size_t offset) {
    std::istringstream lines(text);
    size_t bytes = 0;
    for (std::string line; std::getline(lines, line);) {
        const size_t comment = line.find(';');
        if (comment == std::string::npos) continue;
        for (size_t i = comment + 2; i + 1 < line.size() && line[i] != ' '; i += 2) ++bytes;
        if (bytes > offset) return line;
    }
    return "behind the end";
}

// What is written without asmjit's assembler is what that would write. Whole programs are compared,
// which their random numbers fill with all registers, widths and sizes of constants; both forms,
// with and without what only some processors have.
TEST(GoldenCode, BytesAreAsmjits) {
    const uint64_t first = seed_or(1), rounds = rounds_or(200);
    for (uint64_t seed = first; seed < first + rounds; ++seed) {
        const auto generated = generate(seed, {.wild = seed % 2 == 0, .idioms = 40});
        const auto program = program_of(decode(generated.slots).value());
        for (const bool newer : {false, true}) {
            const jit::Features features{.bmi2 = newer, .movbe = newer};
            for (const Form form : {Form::Sandbox, Form::Unchecked}) {
                auto image = form == Form::Sandbox ? lower_checked(program, nullptr, {})
                                                   : lower_unchecked(program, nullptr, {});
                ASSERT_TRUE(image.has_value());
                const auto listing = jit::assemble(**image, jit::Target::X64, features);
                const auto bytes = jit::assemble(**image, jit::Target::X64, features, false);
                if (!listing) continue;  // functions run into each other
                ASSERT_TRUE(bytes.has_value()) << bytes.error().to_string();
                const auto at = std::ranges::mismatch(bytes->bytes, listing->bytes).in1;
                ASSERT_EQ(bytes->bytes, listing->bytes)
                    << "SKEP_SEED=" << seed << "\n"
                    << line_at(listing->text, static_cast<size_t>(at - bytes->bytes.begin()));
            }
        }
    }
}

TEST(GoldenCode, DecidedBranchesAndWhatTheySkipMakeNone) {
    constexpr std::string_view kProgram =
        "r0 = r2\nif r2 > 5 goto +2\nr0 *= 3\nr0 += r1\nif r0 == 9 goto +1\nr0 ^= r1\nexit";
    auto facts = std::make_shared<Facts>();
    facts->complete = true;
    facts->slots.resize(7);
    facts->slots[1].branch = BranchFact::Always;
    facts->slots[2].reachable = facts->slots[3].reachable = false;
    facts->slots[4].branch = BranchFact::Never;
    const auto contains = [&](jit::Target target, std::string_view code) {
        return body(kProgram, target, facts).find(code) != std::string::npos;
    };
    EXPECT_TRUE(contains(jit::Target::X64, "| mov rax, rsi | xor rax, rdi |"));
    EXPECT_TRUE(contains(jit::Target::A64, "| mov x7, x1 | eor x7, x7, x0 |"));
}

}  // namespace
}  // namespace skep::test
