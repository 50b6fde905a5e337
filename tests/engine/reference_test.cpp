// The engines against the reference interpreter, on generated programs: r0, memory, trap and its
// slot, and fuel.
#include "tests/support/reference.hpp"

#include <algorithm>
#include <gtest/gtest.h>
#include <optional>
#include <string>

#include "tests/support/engine_run.hpp"
#include "tests/support/generate.hpp"
#include "tests/support/random.hpp"

namespace skep::test {
namespace {

constexpr uint64_t kFuel = 20'000;

struct Ended {
    uint64_t r0 = 0;
    TrapCode trap = TrapCode::None;
    uint32_t slot = 0;
    uint64_t fuel_used = 0;
    std::vector<uint8_t> memory;
};

Ended in_reference(const Generated& generated) {
    Ended ended;
    ended.memory = generated.memory;
    const auto insns = decode(generated.slots).value();
    const Loaded loaded = load(Form::Sandbox, program_of(insns));
    std::map<uint32_t, uint32_t> frame_bytes;
    for (size_t f = 0; f < loaded.image->functions.size(); ++f)
        frame_bytes[loaded.image->functions[f].slot] = loaded.image->frames[f].bytes;
    const ReferenceResult result = run_raw(insns, ended.memory, kFuel, frame_bytes);
    ended.r0 = result.r0;
    ended.trap = result.trap;
    ended.slot = result.slot;
    ended.fuel_used = result.fuel_used;
    return ended;
}

Ended in_engine(RunArea& area, const Generated& generated, Form form, Runs runs) {
    const Loaded loaded = load(form, program_of(decode(generated.slots).value()), {}, runs);
    std::vector<std::byte> memory(generated.memory.size());
    std::ranges::transform(generated.memory, memory.begin(),
                           [](uint8_t b) { return std::byte{b}; });
    const EngineResult result = run(area, loaded, memory, kFuel);
    Ended ended{result.r0, result.trap, result.slot, result.fuel_used, {}};
    for (const std::byte b : memory) ended.memory.push_back(std::to_integer<uint8_t>(b));
    return ended;
}

// What differs, or nothing.
std::optional<std::string> difference(const Ended& expected, const Ended& actual) {
    if (expected.trap != actual.trap || expected.slot != actual.slot) {
        return std::string(name_of(actual.trap)) + " at " + std::to_string(actual.slot) + ", not " +
               std::string(name_of(expected.trap)) + " at " + std::to_string(expected.slot);
    }
    if (expected.trap == TrapCode::None && expected.r0 != actual.r0) {
        return "r0 " + std::to_string(actual.r0) + ", not " + std::to_string(expected.r0);
    }
    if (expected.memory != actual.memory) return "memory";
    if (expected.trap == TrapCode::None && expected.fuel_used != actual.fuel_used) {
        return "fuel " + std::to_string(actual.fuel_used) + ", not " +
               std::to_string(expected.fuel_used);
    }
    return std::nullopt;
}

void compare(bool wild, uint64_t rounds) {
    auto area = RunArea::create();
    ASSERT_TRUE(area.has_value());
    const uint64_t first = seed_or(wild ? 50'000 : 1);
    for (uint64_t seed = first; seed < first + rounds; ++seed) {
        const Generated program = generate(seed, {.wild = wild});
        const Ended expected = in_reference(program);
        for (const Form form : {Form::Sandbox, Form::Unchecked}) {
            // The unchecked form runs only what is safe; wild programs may show addresses.
            if (form == Form::Unchecked && (wild || expected.trap != TrapCode::None)) continue;
            for (const Runs runs : {Runs::Interpreted, Runs::Native}) {
                const auto differs = [&](const Generated& p) {
                    const Ended reference = in_reference(p);
                    if (form == Form::Unchecked && reference.trap != TrapCode::None) return false;
                    return difference(reference, in_engine(**area, p, form, runs)).has_value();
                };
                const auto found = difference(expected, in_engine(**area, program, form, runs));
                if (!found) continue;
                FAIL() << "SKEP_SEED=" << seed
                       << (form == Form::Sandbox ? " sandbox" : " unchecked")
                       << (runs == Runs::Native ? " native: " : " interpreter: ") << *found << "\n"
                       << to_test(minimise(program, differs));
            }
        }
    }
}

// Half a million programs of each kind with SKEP_LONG=1.
uint64_t rounds() { return rounds_or(is_long_run() ? 500'000 : 150); }

TEST(Engines, SafeProgramsEndAsInTheReference) { compare(false, rounds()); }
TEST(Engines, WildProgramsEndAsInTheReference) { compare(true, rounds()); }

}  // namespace
}  // namespace skep::test
