// The cases of tests/verifier/cases must notice every fault that is seeded into the verifier: with
// it some verdict is another one. The verifier's sources are compiled into this binary once more,
// with the faults selectable at run time.
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>

#include "tests/verifier/verdict_case.hpp"
#include "verifier/verifier.hpp"

namespace skep::test {
namespace {

using mutation::Mutant;

struct Expectation {
    std::string title;
    std::shared_ptr<const Program> program;
    Policy policy;
    std::string verdict;
};

std::string verdict_of(const Program& program, Policy policy) {
    AnalyzeOptions options;
    options.policy = policy;
    options.budgets.insns = 5'000;
    const Analysis analysis = analyze(program, options);
    if (analysis.accepted()) return "accepted";
    return std::string(name_of(analysis.verdict)) + " " + std::string(name_of(analysis.error.code));
}

// Every verdict that the cases state, and that holds without a fault within a small budget.
const std::vector<Expectation>& expectations() {
    static const std::vector<Expectation> all = [] {
        std::vector<Expectation> out;
        for (const auto& entry :
             std::filesystem::directory_iterator(SKEP_SOURCE_DIR "/tests/verifier/cases")) {
            std::ifstream in(entry.path());
            const auto file = parse_test_file(std::string(std::istreambuf_iterator<char>(in), {}));
            if (!file) continue;
            for (const TestCase& test : file->cases) {
                auto read = read_verdict_case(test);
                if (!read || !read->program || test.find("btf") != nullptr) continue;
                const auto program = std::make_shared<const Program>(*read->program);
                for (const auto& [section, policy] :
                     {std::pair{"verdict", Policy::Linux}, std::pair{"extended", Policy::Extended},
                      std::pair{"strict", Policy::Strict}}) {
                    const Section* expected = test.find(section);
                    if (expected == nullptr) continue;
                    const std::string verdict = trimmed(expected->words);
                    if (verdict_of(*program, policy) == verdict)
                        out.push_back({test.title, program, policy, verdict});
                }
            }
        }
        return out;
    }();
    return all;
}

struct Named {
    Mutant mutant;
    const char* name;
};
class VerifierMutation : public testing::TestWithParam<Named> {};

TEST_P(VerifierMutation, IsCaught) {
    const auto& all = expectations();
    ASSERT_GT(all.size(), 1000u);
    mutation::active = GetParam().mutant;
    std::string caught;
    for (const Expectation& e : all) {
        if (verdict_of(*e.program, e.policy) == e.verdict) continue;
        caught = e.title;
        break;
    }
    mutation::active = Mutant::None;
    EXPECT_FALSE(caught.empty()) << GetParam().name << " went unnoticed";
    std::printf("%s: %s\n", GetParam().name, caught.c_str());
}

constexpr Named kMutants[] = {
#define MUTANT(Name) {Mutant::Name, #Name},
#include "tests/verifier/verifier_mutants.def"
};
INSTANTIATE_TEST_SUITE_P(All, VerifierMutation, testing::ValuesIn(kMutants),
                         [](const auto& named) { return std::string(named.param.name); });

}  // namespace
}  // namespace skep::test
