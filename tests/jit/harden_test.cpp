// Policy `hardened` in generated code, for both targets on any host: no constant of the program
// appears in it, and a barrier stands behind every decision.
#include <algorithm>
#include <gtest/gtest.h>

#include "tests/support/engine_run.hpp"

namespace skep::test {
namespace {

// Every kind of instruction that takes a constant, with one that is easy to find.
constexpr std::string_view kConstants = R"(
    r0 = 0x41424344
    r0 += 0x41424344
    r0 &= 0x41424344
    r0 *= 0x41424344
    r0 /= 0x41424344
    w0 ^= 0x41424344
    r3 = 0x4142434441424344 ll
    *(u32 *)(r1 + 0) = 0x41424344
    *(u64 *)(r10 - 8) = 0x41424344
    if r0 == 0x41424344 goto out
    if w0 s> 0x41424344 goto out
    if r0 & 0x41424344 goto out
    r0 = r3
out:
    exit
)";

std::shared_ptr<Image> image_of(std::string_view text, Form form, bool hardened) {
    const Loaded loaded = load(form, program_of(text), {.hardened = hardened});
    return loaded.image;
}

size_t occurrences(const std::vector<std::byte>& code) {
    const std::byte wanted[] = {std::byte{0x44}, std::byte{0x43}, std::byte{0x42}, std::byte{0x41}};
    size_t count = 0;
    for (auto at = code.begin();; ++at, ++count) {
        at = std::search(at, code.end(), std::begin(wanted), std::end(wanted));
        if (at == code.end()) return count;
    }
}

size_t count_of(const std::string& text, std::string_view word) {
    size_t count = 0;
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
        ++count;
    return count;
}

jit::Listing listing_of(std::string_view text, Form form, bool hardened, jit::Target target) {
    const auto image = image_of(text, form, hardened);
    auto listing = jit::assemble(*image, target);
    EXPECT_TRUE(listing.has_value()) << (listing ? "" : listing.error().to_string());
    return listing ? *std::move(listing) : jit::Listing{};
}

TEST(Hardened, NoConstantOfTheProgramAppearsInCode) {
    for (const Form form : {Form::Sandbox, Form::Unchecked}) {
        const auto plain = listing_of(kConstants, form, false, jit::Target::X64);
        EXPECT_GE(occurrences(plain.bytes), 5u);
        // Random bytes make the four in 2^32 cases per position: not in this many tries.
        for (int i = 0; i < 50; ++i) {
            const auto code = listing_of(kConstants, form, true, jit::Target::X64);
            ASSERT_EQ(occurrences(code.bytes), 0u) << code.text;
        }
    }
}

// AArch64 builds constants from 16-bit pieces inside instructions, so the text is looked at.
TEST(Hardened, NoConstantOfTheProgramAppearsInArmCode) {
    for (const Form form : {Form::Sandbox, Form::Unchecked}) {
        const auto plain = listing_of(kConstants, form, false, jit::Target::A64);
        EXPECT_GE(count_of(plain.text, "16706") + count_of(plain.text, "1094861636"), 5u)
            << plain.text;
        for (int i = 0; i < 50; ++i) {
            const auto code = listing_of(kConstants, form, true, jit::Target::A64);
            ASSERT_EQ(count_of(code.text, "1094861636"), 0u) << code.text;
        }
    }
}

TEST(Hardened, CodeIsAnotherEachTime) {
    for (const jit::Target target : {jit::Target::X64, jit::Target::A64}) {
        const auto one = listing_of(kConstants, Form::Sandbox, true, target);
        const auto two = listing_of(kConstants, Form::Sandbox, true, target);
        EXPECT_NE(one.bytes, two.bytes);
    }
}

TEST(Hardened, DecisionsAreFollowedByBarriers) {
    constexpr std::string_view text = R"(
        if r1 == r2 goto other
        r0 = *(u8 *)(r1 + 3)
        exit
    other:
        r0 = 1
        exit
    )";
    for (const jit::Target target : {jit::Target::X64, jit::Target::A64}) {
        const std::string_view barrier = target == jit::Target::X64 ? "lfence" : "isb";
        EXPECT_EQ(count_of(listing_of(text, Form::Unchecked, false, target).text, barrier), 0u);
        EXPECT_EQ(count_of(listing_of(text, Form::Sandbox, false, target).text, barrier), 0u);
        // Behind the branch and where it leads to.
        EXPECT_EQ(count_of(listing_of(text, Form::Unchecked, true, target).text, barrier), 2u);
        // Besides, behind the check of the access, expected and exact.
        EXPECT_EQ(count_of(listing_of(text, Form::Sandbox, true, target).text, barrier), 4u);
    }
}

}  // namespace
}  // namespace skep::test
