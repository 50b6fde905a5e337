// A window into an analysis, for tests: every abstract state, before each instruction. The
// containment oracle records them and checks that concrete runs stay inside.
#pragma once

#include <cstdint>

namespace skep {

namespace verifier {
class Analyzer;
class State;
}  // namespace verifier

class AnalysisObserver {
public:
    virtual ~AnalysisObserver() = default;
    // `state` is about to execute `slot`. References end with the call.
    virtual void at(const verifier::Analyzer& analyzer, const verifier::State& state,
                    uint32_t slot) = 0;
    // The search has ended: which numbers proofs rest on is final.
    virtual void done(const verifier::Analyzer& analyzer) = 0;
};

}  // namespace skep
