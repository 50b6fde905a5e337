// Included before every source of the verifier in verifier_mutation_test: faults by name, of which
// one at a time can be switched on. The domains' own faults have a test of their own and stay off.
#pragma once

namespace skep::mutation {

enum class Mutant {
    None,
#define MUTANT(Name) Name,
#include "tests/verifier/verifier_mutants.def"
#define MUTANT(Name) Name,
#include "tests/verifier/mutants.def"
};
inline Mutant active = Mutant::None;

}  // namespace skep::mutation

#define SKEP_MUTANT(name) (skep::mutation::active == skep::mutation::Mutant::name)
