// The product domain on all values of a four-bit word, and tnums of eight bits: sound for every
// operator and every branch, and how often they are as precise as they can be. SKEP_LONG=1 checks
// every pair instead of a sample.
#include <cstdio>
#include <gtest/gtest.h>

#include "tests/verifier/domain_check.hpp"

namespace skep::domain_check {
namespace {

// A prime that does not divide the number of inputs spreads a sample over both operands.
size_t stride() { return test::is_long_run() ? 1 : 307; }

TEST(DomainExhaustive, SyncKeepsExactlyTheSameValues) {
    const Tally tally = check_sync(test::is_long_run() ? 1 : 7);
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

// --- tnums

using Byte = Bits<8>;
using ByteTnum = BasicTnum<Byte>;

struct TnumOperator {
    const char* name;
    ByteTnum (*abstract)(ByteTnum, ByteTnum);
    unsigned (*concrete)(unsigned, unsigned);
};
constexpr TnumOperator kTnumOperators[] = {
    {"add", tnum_add<Byte>, [](unsigned x, unsigned y) { return x + y; }},
    {"sub", tnum_sub<Byte>, [](unsigned x, unsigned y) { return x - y; }},
    {"mul", tnum_mul<Byte>, [](unsigned x, unsigned y) { return x * y; }},
    {"and", tnum_and<Byte>, [](unsigned x, unsigned y) { return x & y; }},
    {"or", tnum_or<Byte>, [](unsigned x, unsigned y) { return x | y; }},
    {"xor", tnum_xor<Byte>, [](unsigned x, unsigned y) { return x ^ y; }},
};

// The smallest tnum with every result.
template <class Concrete>
ByteTnum image(ByteTnum a, ByteTnum b, Concrete concrete) {
    unsigned ones = 0xff, any = 0;
    // Subsets of a mask in descending order.
    for (unsigned x = a.mask.n;; x = (x - 1) & a.mask.n) {
        for (unsigned y = b.mask.n;; y = (y - 1) & b.mask.n) {
            const unsigned result = concrete(a.value.n | x, b.value.n | y) & 0xff;
            ones &= result;
            any |= result;
            if (y == 0) break;
        }
        if (x == 0) break;
    }
    return {Byte(ones), Byte(ones ^ any)};
}

TEST(DomainExhaustive, TnumsOfEightBitsContainEveryResult) {
    std::vector<ByteTnum> all;
    for (unsigned mask = 0; mask < 256; ++mask)
        for (unsigned value = 0; value < 256; ++value)
            if ((value & mask) == 0) all.push_back({Byte(value), Byte(mask)});
    ASSERT_EQ(all.size(), 6561u);
    const size_t step = test::is_long_run() ? 1 : 499;
    for (const TnumOperator& op : kTnumOperators) {
        size_t checked = 0, optimal = 0, unsound = 0;
        for (size_t pair = 0; pair < all.size() * all.size(); pair += step) {
            const ByteTnum a = all[pair % all.size()], b = all[pair / all.size()];
            const ByteTnum best = image(a, b, op.concrete), got = op.abstract(a, b);
            ++checked;
            optimal += got == best ? 1 : 0;
            unsound += tnum_subsumes(got, best) ? 0 : 1;
        }
        std::printf("%s: %zu pairs of tnums, %.2f%% optimal\n", op.name, checked,
                    100.0 * static_cast<double>(optimal) / static_cast<double>(checked));
        EXPECT_EQ(unsound, 0u) << op.name;
    }
}

}  // namespace
}  // namespace skep::domain_check
