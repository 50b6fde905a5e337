// The verifier's front door: Program -> Analysis, and the one way to a VerifiedProgram.
//
// analyze() explores every path of a program over abstract states and proves that no execution can
// leave its memory, leak what it holds or run forever. It keeps no global state: any number of
// analyses may run at once, on one or several threads, also of the same Program.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <skep/error.hpp>
#include <skep/map.hpp>
#include <skep/policy.hpp>

#include "verifier/facts.hpp"
#include "vm/prog/program.hpp"

namespace skep {

struct Helper;  // skep/helper.hpp

class Btf;
struct Helper;
class AnalysisObserver;  // verifier/observer.hpp

enum class Verdict : uint8_t {
    Accepted,
    Rejected,
    Unsupported,  // Linux knows what the program needs, Skep lacks it
};
std::string_view name_of(Verdict verdict) noexcept;

// Exceeding one of these rejects the program with an Error that names the budget.
struct AnalyzeBudgets {
    uint64_t insns = 8'000'000;                 // processed, over all paths
    uint64_t states = 2'000'000;                // kept for pruning, at one time
    uint64_t memory_bytes = uint64_t{1} << 30;  // of the analysis
    uint64_t wall_ns = 60'000'000'000;
    uint64_t log_bytes = uint64_t{16} << 20;  // the log is cut, the analysis goes on
};

struct AnalyzeOptions {
    Policy policy = Policy::Linux;
    AnalyzeBudgets budgets;
    unsigned log_level = 0;  // 0 nothing, 1 branches and calls, 2 every state; Linux's format
    bool facts = true;
    // Type information of the system that typed pointers come from; may be null.
    std::shared_ptr<const Btf> kernel_btf;
    // Helpers of the host's by number, null for others; may be empty.
    std::function<const Helper*(uint32_t number)> host_helper;
    // What a host forbids on top of the policy.
    std::vector<ProgKind> denied_types;
    std::vector<uint32_t> denied_helpers;
    std::vector<MapType> denied_map_types;
    // The host's own function of that name, or null.
    std::function<const Helper*(std::string_view name)> host_kfunc;
    AnalysisObserver* observer = nullptr;  // tests: sees every abstract state
};

// One decision on the way to the error.
struct PathStep {
    uint32_t slot = 0;
    bool taken = false;
    std::string text;  // the instruction and what was known of its operands
};

struct Analysis {
    Verdict verdict = Verdict::Rejected;
    Error error;                 // of a program that is not accepted
    std::string hint;            // what usually helps; may be empty
    std::vector<PathStep> path;  // the last branches before the error, oldest first
    uint64_t processed = 0;      // instructions, over all paths
    uint64_t states = 0;         // kept in total
    uint64_t peak_states = 0;
    uint64_t peak_memory = 0;  // bytes
    uint64_t time_ns = 0;
    std::vector<std::string> beyond_linux;  // limits of Linux's verifier that were exceeded
    std::vector<std::string> relaxations;   // rules that Linux would not grant
    std::string log;
    Facts facts;
    Policy policy = Policy::Linux;

    bool accepted() const noexcept { return verdict == Verdict::Accepted; }
};

// A program with the proof that it is safe, under the policy it was held to. Immutable; copies
// share. Only analyze() makes one.
class VerifiedProgram {
public:
    VerifiedProgram() = default;
    explicit operator bool() const noexcept { return program_ != nullptr; }
    const Program& program() const noexcept { return *program_; }
    const std::shared_ptr<const Program>& shared_program() const noexcept { return program_; }
    const Facts& facts() const noexcept { return *facts_; }
    const std::shared_ptr<const Facts>& shared_facts() const noexcept { return facts_; }
    Policy policy() const noexcept { return policy_; }

private:
    friend VerifiedProgram analyze(std::shared_ptr<const Program>, const AnalyzeOptions&,
                                   Analysis&);
    std::shared_ptr<const Program> program_;
    std::shared_ptr<const Facts> facts_;
    Policy policy_ = Policy::Linux;
};

// Everything about a program. Never throws but std::bad_alloc.
Analysis analyze(const Program& program, const AnalyzeOptions& options = {});

// The same, and the program as verified; empty when the verdict is not Accepted.
VerifiedProgram analyze(std::shared_ptr<const Program> program, const AnalyzeOptions& options,
                        Analysis& analysis);

}  // namespace skep
