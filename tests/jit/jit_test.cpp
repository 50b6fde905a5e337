// Native code against the reference interpreter and the interpreter: results, memory, traps, slots
// and fuel, on generated programs in both forms.
#include <gtest/gtest.h>

#include "tests/support/engine_run.hpp"
#include "tests/support/generate.hpp"
#include "tests/support/random.hpp"
#include "tests/support/reference.hpp"

namespace skep::test {
namespace {

struct Observed {
    EngineResult result;
    std::vector<std::byte> memory;
    bool operator==(const Observed& o) const {
        return result.r0 == o.result.r0 && result.trap == o.result.trap &&
               result.slot == o.result.slot && result.fuel_used == o.result.fuel_used &&
               memory == o.memory;
    }
};

constexpr uint64_t kFuel = 4096;

Observed observe(RunArea& area, const Generated& generated, Form form, Runs runs,
                 bool hardened = false) {
    auto insns = decode(generated.slots);
    if (!insns) return {};
    const Loaded loaded = load(form, program_of(*std::move(insns)), {.hardened = hardened}, runs);
    Observed out;
    for (const uint8_t byte : generated.memory) out.memory.push_back(std::byte{byte});
    out.result = run(area, loaded, out.memory, kFuel);
    return out;
}

std::string text_of(const Observed& o) {
    return "r0 " + std::to_string(o.result.r0) + " trap " + std::string(name_of(o.result.trap)) +
           " slot " + std::to_string(o.result.slot) + " fuel " + std::to_string(o.result.fuel_used);
}

void compare(bool wild) {
    auto area = RunArea::create();
    ASSERT_TRUE(area.has_value());
    const uint64_t first = seed_or(1), rounds = rounds_or(is_long_run() ? 1'000'000 : 600);
    for (uint64_t seed = first; seed < first + rounds; ++seed) {
        // Some of the usual instructions only, some of what compilers make of them.
        const GenerateOptions options{.wild = wild, .idioms = static_cast<unsigned>(seed % 3) * 40};
        const auto differs = [&](const Generated& g) {
            const Observed expected = observe(**area, g, Form::Sandbox, Runs::Interpreted);
            if (!(observe(**area, g, Form::Sandbox, Runs::Native) == expected)) return true;
            for (const Runs runs : {Runs::Interpreted, Runs::Native}) {
                if (!(observe(**area, g, Form::Sandbox, runs, true) == expected)) return true;
            }
            if (wild || expected.result.trap != TrapCode::None) return false;
            // A smaller program may show an address, which differs by form.
            if (!(observe(**area, g, Form::Unchecked, Runs::Interpreted) == expected)) return false;
            return !(observe(**area, g, Form::Unchecked, Runs::Native) == expected) ||
                   !(observe(**area, g, Form::Unchecked, Runs::Native, true) == expected);
        };
        const Generated generated = generate(seed, options);
        if (!differs(generated)) continue;
        const Generated small = minimise(generated, differs);
        FAIL() << "SKEP_SEED=" << seed << "\n"
               << to_test(small) << "interpreter: "
               << text_of(observe(**area, small, Form::Sandbox, Runs::Interpreted))
               << "\nsandboxed:   " << text_of(observe(**area, small, Form::Sandbox, Runs::Native))
               << "\nunchecked:   "
               << (wild ? "not run"
                        : text_of(observe(**area, small, Form::Unchecked, Runs::Native)));
    }
}

TEST(NativeCode, SafeProgramsDoWhatTheInterpreterDoes) { compare(false); }
TEST(NativeCode, WildProgramsTrapWhereTheInterpreterTraps) { compare(true); }

}  // namespace
}  // namespace skep::test
