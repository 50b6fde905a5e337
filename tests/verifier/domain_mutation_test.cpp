// The soundness tests must notice every seeded fault. The domains are compiled into this binary
// with the faults selectable at run time; words of a few bits are used by nothing else, so there is
// no second definition of anything in the library.
namespace skep::mutation {

enum class Mutant {
    None,
#define MUTANT(Name) Name,
#include "tests/verifier/mutants.def"
};
inline Mutant active = Mutant::None;

}  // namespace skep::mutation

#define SKEP_MUTANT(name) (skep::mutation::active == skep::mutation::Mutant::name)

#include <gtest/gtest.h>

#include "tests/verifier/domain_check.hpp"

namespace skep::domain_check {
namespace {

using mutation::Mutant;

// The first violation that the checks find, or nothing.
std::string find_violation(const std::vector<V>& inputs) {
    constexpr size_t kStride = 19997;
    if (const Tally t = check_sync(499); t.unsound != 0) return "sync: " + t.first;
    for (const Operator& op : operators())
        if (const Tally t = check_operator(op, inputs, kStride); t.unsound != 0) return t.first;
    for (const Condition& c : conditions())
        if (const Tally t = check_condition(c, inputs, kStride); t.unsound != 0) return t.first;
    return {};
}

struct Named {
    Mutant mutant;
    const char* name;
};
class DomainMutation : public testing::TestWithParam<Named> {};

// Computed once, without faults.
const std::vector<V>& all_inputs() {
    static const std::vector<V> inputs = (best_members(), abstract_values());
    return inputs;
}

TEST_P(DomainMutation, IsCaught) {
    const auto& inputs = all_inputs();
    mutation::active = GetParam().mutant;
    const std::string violation = find_violation(inputs);
    mutation::active = Mutant::None;
    EXPECT_FALSE(violation.empty()) << GetParam().name << " went unnoticed";
}

constexpr Named kMutants[] = {
#define MUTANT(Name) {Mutant::Name, #Name},
#include "tests/verifier/mutants.def"
};
INSTANTIATE_TEST_SUITE_P(All, DomainMutation, testing::ValuesIn(kMutants),
                         [](const auto& named) { return std::string(named.param.name); });

TEST(DomainMutationBase, WithoutFaultsNothingIsFound) {
    EXPECT_EQ(find_violation(all_inputs()), "");
}

}  // namespace
}  // namespace skep::domain_check
