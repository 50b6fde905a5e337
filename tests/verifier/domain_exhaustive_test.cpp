// The product domain on all values of a four-bit word: sound for every operator and every branch,
// and how often it is as precise as it can be. SKEP_LONG=1 checks every pair instead of a sample.
#include <cstdio>
#include <gtest/gtest.h>

#include "tests/verifier/domain_check.hpp"

namespace skep::domain_check {
namespace {

// A prime that does not divide the number of inputs spreads a sample over both operands.
size_t stride() { return is_long_run() ? 1 : 9973; }

TEST(DomainExhaustive, SyncKeepsExactlyTheSameValues) {
    const Tally tally = check_sync(is_long_run() ? 1 : 37);
    std::printf("sync: %zu combinations, %.2f%% optimal\n", size_t{tally.checked}, tally.percent());
    EXPECT_EQ(tally.unsound, 0u) << tally.first;
    EXPECT_GT(tally.percent(), 90.0);
}

TEST(DomainExhaustive, OperatorsContainEveryResult) {
    const auto inputs = abstract_values();
    std::printf("%zu abstract values\n", inputs.size());
    for (const Operator& op : operators()) {
        const Tally tally = check_operator(op, inputs, stride());
        std::printf("%-7s %9zu pairs, %6.2f%% optimal; by a constant %6.2f%%\n", op.name.c_str(),
                    size_t{tally.checked}, tally.percent(), tally.constant_percent());
        EXPECT_EQ(tally.unsound, 0u) << tally.first;
    }
}

TEST(DomainExhaustive, BranchesKeepEveryValueThatGoesTheirWay) {
    const auto inputs = abstract_values();
    for (const Condition& c : conditions()) {
        const Tally tally = check_condition(c, inputs, stride());
        std::printf("%-17s %9zu pairs, %6.2f%% optimal\n", c.name.c_str(), size_t{tally.checked},
                    tally.percent());
        EXPECT_EQ(tally.unsound, 0u) << tally.first;
    }
}

}  // namespace
}  // namespace skep::domain_check
