// Every case of tests/verifier/cases: our verdict is the one that is written there, and so is that
// of the running kernel, where it can be asked (a fifth of the cases; SKEP_ALL=1: all). SKEP_SHOW=1
// prints both with their reasons.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>

#include "tests/support/registered.hpp"
#include "tests/verifier/kernel_verdict.hpp"
#include "tests/verifier/verdict_case.hpp"
#include "verifier/verifier.hpp"
#include "vm/btf/btf.hpp"

namespace skep::test {
namespace {

namespace fs = std::filesystem;

// The running kernel's types; null where there are none.
std::shared_ptr<const Btf> running_btf() {
    static const std::shared_ptr<const Btf> btf = [] {
        std::ifstream in("/sys/kernel/btf/vmlinux", std::ios::binary);
        auto parsed = Btf::parse(std::string((std::istreambuf_iterator<char>(in)), {}));
        return parsed ? *parsed : nullptr;
    }();
    return btf;
}

std::string verdict_of(const VerdictCase& test, Policy policy, std::string* why = nullptr,
                       std::shared_ptr<const Btf> btf = nullptr) {
    if (!test.program) {
        if (why != nullptr) *why = test.program.error().to_string();
        return "rejected " + std::string(name_of(test.program.error().code));
    }
    AnalyzeOptions options;
    options.policy = policy;
    options.kernel_btf = std::move(btf);
    options.budgets.insns = 1'100'000;  // a little more than Linux: endless loops end here
    Analysis analysis = analyze(*test.program, options);
    if (analysis.error.code == ErrorCode::BtfNeeded) {
        options.kernel_btf = running_btf();
        if (options.kernel_btf != nullptr) analysis = analyze(*test.program, options);
    }
    if (why != nullptr) *why = analysis.error.to_string();
    if (analysis.accepted()) return "accepted";
    return std::string(name_of(analysis.verdict)) + " " + std::string(name_of(analysis.error.code));
}

std::string last_line(const std::string& log) {
    std::stringstream lines(log);
    std::string last;
    for (std::string line; std::getline(lines, line);)
        if (!line.starts_with("processed") && !line.starts_with("verification time") &&
            !line.starts_with("stack depth") && !line.empty())
            last = line;
    return last;
}

class VerdictTest : public ::testing::Test {
public:
    explicit VerdictTest(TestCase test) : test_(std::move(test)) {}

    void TestBody() override {
        auto read = read_verdict_case(test_);
        ASSERT_TRUE(read) << read.error().to_string();
        const Section* expected = test_.find("verdict");
        std::string why;
        // By the table's prototypes of kernel functions, and by the running kernel's.
        const bool needs_btf = test_.find("btf") != nullptr;
        if (needs_btf && running_btf() == nullptr)
            GTEST_SKIP() << "no /sys/kernel/btf/vmlinux here";
        const std::string ours =
            verdict_of(*read, Policy::Linux, &why, needs_btf ? running_btf() : nullptr);
        if (!read->kfuncs.empty() && !needs_btf && running_btf() != nullptr) {
            EXPECT_EQ(ours, verdict_of(*read, Policy::Linux, &why, running_btf())) << why;
        }
        if (ours == "unsupported btf_needed" && running_btf() == nullptr)
            GTEST_SKIP() << "no /sys/kernel/btf/vmlinux here";
        const bool show = std::getenv("SKEP_SHOW") != nullptr;
        if (show) std::printf("%s: %s (%s)\n", test_.title.c_str(), ours.c_str(), why.c_str());
        if (expected != nullptr) {
            EXPECT_EQ(ours, trimmed(expected->words)) << why;
        }
        for (const auto& [name, policy] :
             {std::pair{"extended", Policy::Extended}, std::pair{"strict", Policy::Strict}})
            if (const Section* section = test_.find(name); section != nullptr) {
                EXPECT_EQ(verdict_of(*read, policy, &why), trimmed(section->words)) << why;
            }
        // The kernel takes its time over each load; a part of the cases does between changes.
        const bool all = std::getenv("SKEP_ALL") != nullptr || show;
        if (!all && std::hash<std::string>{}(test_.title) % 5 != 0) return;
        for (const auto& [slot, name] : read->kfuncs) {
            if (running_btf() == nullptr) return;
            read->slots[slot].imm = static_cast<int32_t>(running_btf()->find(name, BtfKind::Func));
        }
        const auto kernel = kernel_verdict(
            read->slots, *read->type.type, read->type.attach_type, read->maps, read->gpl,
            read->sleepable, read->attach_target, read->functions ? &*read->functions : nullptr);
        if (!kernel) return;
        if (show)
            std::printf("   kernel: %s %s\n", kernel->accepted ? "accepted" : "rejected",
                        last_line(kernel->log).c_str());
        if (test_.find("kernel") != nullptr) return;
        EXPECT_EQ(ours == "accepted", kernel->accepted)
            << "we: " << why << "\nLinux: " << last_line(kernel->log);
    }

private:
    TestCase test_;
};

void register_cases() {
    std::vector<fs::path> paths;
    const char* only = std::getenv("SKEP_CASES");
    if (only != nullptr) {
        paths.emplace_back(only);
    } else {
        for (const auto& entry : fs::directory_iterator(SKEP_SOURCE_DIR "/tests/verifier/cases"))
            if (entry.path().extension() == ".test") paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    for (const fs::path& path : paths) {
        std::ifstream in(path);
        const std::string text((std::istreambuf_iterator<char>(in)), {});
        auto file = parse_test_file(text);
        const std::string stem = test_name(path.stem().string());
        if (!file) {
            testing::RegisterTest("Verdict", stem.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                                  [message = file.error().to_string()]() -> testing::Test* {
                                      return new UnreadableFile(message);
                                  });
            continue;
        }
        for (TestCase& test : file->cases)
            testing::RegisterTest("Verdict", (stem + "/" + test_name(test.title)).c_str(), nullptr,
                                  nullptr, __FILE__, __LINE__,
                                  [test]() -> testing::Test* { return new VerdictTest(test); });
    }
}

}  // namespace
}  // namespace skep::test

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    skep::test::register_cases();
    return RUN_ALL_TESTS();
}
