// Generated programs against the running kernel: what Linux accepts, we accept. What we accept and
// Linux refuses is more precision of the domains, and must stay rare; containment_test holds it to
// concrete runs.
#include <cstdlib>
#include <gtest/gtest.h>

#include "tests/verifier/generate_verdict.hpp"
#include "tests/verifier/kernel_verdict.hpp"
#include "tests/verifier/verdict_case.hpp"
#include "verifier/verifier.hpp"

namespace skep::test {
namespace {

TEST(GeneratedVerdict, WhatLinuxAcceptsIsAccepted) {
    const char* given = std::getenv("SKEP_SEED");
    const uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 0) : 1;
    const char* many = std::getenv("SKEP_COUNT");
    const uint64_t count = many != nullptr ? std::strtoull(many, nullptr, 0) : 600;
    uint64_t asked = 0, looser = 0, kernel_us = 0, our_ns = 0;
    for (uint64_t seed = first; seed < first + count; ++seed) {
        const Generated generated = generate_program(seed);
        TestCase text;
        text.title = std::to_string(seed);
        text.sections = {{"prog", generated.type, ""},
                         {"maps", "", "type=hash,key=8,value=48,entries=1\n"},
                         {"asm", "", generated.text}};
        const auto read = read_verdict_case(text);
        ASSERT_TRUE(read) << read.error().to_string();
        if (!read->program) continue;
        const auto kernel =
            kernel_verdict(read->slots, *read->type.type, 0, read->maps, true, false);
        if (!kernel) GTEST_SKIP() << "the kernel does not load programs for us";
        ++asked;
        const Analysis analysis = analyze(*read->program, {});
        if (kernel->accepted) {
            ASSERT_TRUE(analysis.accepted())
                << "seed " << seed << ": " << analysis.error.to_string() << "\n"
                << generated.text;
        }
        kernel_us += kernel->verify_us;
        our_ns += analysis.time_ns;
        looser += analysis.accepted() && !kernel->accepted ? 1 : 0;
    }
    std::printf("%llu programs, %llu accepted beyond Linux; verified in %.1f ms, Linux %.1f ms\n",
                static_cast<unsigned long long>(asked), static_cast<unsigned long long>(looser),
                static_cast<double>(our_ns) / 1e6, static_cast<double>(kernel_us) / 1e3);
    EXPECT_LT(looser * 40, asked);
}

}  // namespace
}  // namespace skep::test
