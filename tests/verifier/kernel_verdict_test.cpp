// Verdicts on generated programs, the running kernel's against ours under the policy `linux`.
//
// What Linux accepts and we do not is a defect. What Linux rejects and we accept must be more
// precision or a larger budget: the kernel's reasons are counted and printed.
// SKEP_ROUNDS sets the number of programs, SKEP_SEED the first seed, SKEP_SHOW=1 prints a minimised
// program for every difference.
#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>
#include <map>

#include "tests/support/random.hpp"
#include "tests/verifier/kernel_load.hpp"
#include "tests/verifier/verdict_programs.hpp"
#include "verifier/verifier.hpp"
#include "vm/isa/codec.hpp"
#include "vm/isa/disasm.hpp"

namespace skep {
namespace {

using namespace test;

class KernelVerdictTest : public testing::Test {
protected:
    void SetUp() override {
        if (!kernel_available()) GTEST_SKIP() << "bpf(2) is not allowed here";
        type_ = find_prog_type(ProgKind::Xdp);
        ASSERT_NE(type_, nullptr);
        auto def = std::make_shared<MapDef>();
        def->name = "values";
        def->type = MapType::Array;
        def->key_size = 4;
        def->value_size = kVerdictMapBytes;
        def->max_entries = kVerdictMapEntries;
        def_ = std::move(def);
    }
    Analysis ours(const VerdictProgram& p) {
        auto program = make_raw_program(p.slots, *type_, {def_});
        AnalyzeOptions options;
        options.facts = false;
        options.budgets.insns = 1'500'000;
        if (program) return analyze(*program, options);
        Analysis refused;
        refused.error = program.error();
        return refused;
    }
    KernelVerdict theirs(const VerdictProgram& p, uint32_t level) {
        return kernel_verdict(BPF_PROG_TYPE_XDP, with_map(p.slots, map_.fd), level, buffer_);
    }
    std::string show(const VerdictProgram& p) {
        const auto insns = decode(p.slots);
        return insns ? disassemble(*insns) : insns.error().to_string();
    }

    KernelMap map_{BPF_MAP_TYPE_ARRAY, 4, kVerdictMapBytes, kVerdictMapEntries};
    const ProgType* type_ = nullptr;
    std::shared_ptr<const MapDef> def_;
    std::string buffer_;
};

// The kernel's last words before its statistics, with numbers left out.
std::string reason_of(const std::string& log) {
    std::string reason, line;
    for (size_t at = 0; at < log.size();) {
        const size_t end = std::min(log.find('\n', at), log.size());
        line = log.substr(at, end - at);
        at = end + 1;
        if (!line.empty() && !line.starts_with("processed") && !line.starts_with("verification") &&
            !line.starts_with("stack depth"))
            reason = line;
    }
    std::string out;
    for (const char c : reason)
        if (c < '0' || c > '9')
            out += c;
        else if (out.empty() || out.back() != '#')
            out += '#';
    return out;
}

TEST_F(KernelVerdictTest, WhatLinuxAcceptsIsAccepted) {
    const uint64_t first = seed_or(1);
    SCOPED_TRACE("SKEP_SEED=" + std::to_string(first));
    const bool is_shown = std::getenv("SKEP_SHOW") != nullptr;
    size_t accepted = 0, failures = 0;
    std::map<std::string, size_t> beyond;
    const size_t rounds = rounds_or(150);
    for (size_t round = 0; round < rounds && failures < 10; ++round) {
        const VerdictProgram program = verdict_program(first + round);
        const bool linux_accepts = theirs(program, 0).accepted;
        const Analysis analysis = ours(program);
        accepted += linux_accepts ? 1 : 0;
        if (linux_accepts == analysis.accepted()) continue;
        if (!linux_accepts) {
            const std::string reason = reason_of(theirs(program, 1).log);
            const bool is_budget = reason.find("too large") != std::string::npos;
            if (beyond[reason]++ == 0 && is_shown && !is_budget) {
                const VerdictProgram small = minimised(program, [&](const VerdictProgram& p) {
                    const KernelVerdict kernel = theirs(p, 1);
                    return !kernel.accepted && reason_of(kernel.log) == reason &&
                           ours(p).accepted();
                });
                std::printf("only we accept (seed %llu), Linux says: %s\n%s\n",
                            static_cast<unsigned long long>(program.seed),
                            theirs(small, 1).log.c_str(), show(small).c_str());
            }
            continue;
        }
        ++failures;
        const ErrorCode code = analysis.error.code;
        const VerdictProgram small = minimised(program, [&](const VerdictProgram& p) {
            return theirs(p, 0).accepted && ours(p).error.code == code;
        });
        ADD_FAILURE() << "Linux accepts, we say: " << ours(small).error.to_string() << " (seed "
                      << program.seed << ")\n"
                      << show(small);
    }
    std::printf("%zu programs, Linux accepts %zu\n", rounds, accepted);
    for (const auto& [reason, count] : beyond)
        std::printf("%6zu accepted by us only; Linux: %s\n", count, reason.c_str());
    EXPECT_GT(accepted, rounds / 10);
}

}  // namespace
}  // namespace skep
