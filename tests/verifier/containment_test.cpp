// The containment oracle: whatever a program that was accepted does on any input lies inside of
// what the verifier said could happen, before every instruction; and nothing that it touches lies
// outside of its memory.
#include <algorithm>
#include <cstdlib>
#include <gtest/gtest.h>
#include <random>

#include "tests/verifier/concrete.hpp"
#include "tests/verifier/generate_verdict.hpp"
#include "tests/verifier/verdict_case.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/observer.hpp"

namespace skep::test {
namespace {

using verifier::Cell;
using verifier::CellType;

// What one visit said about each register.
struct Known {
    CellType type = CellType::NotInit;
    uint8_t flags = 0;
    uint16_t object = 0;
    uint32_t id = 0;
    int32_t off = 0;
    Scalar number;
    uint32_t node = 0;
    bool any = false;  // no proof rests on this number
};
using KnownState = std::array<Known, kRegisters>;

class Recorder final : public AnalysisObserver {
public:
    void at(const verifier::Analyzer& analyzer, const verifier::State& state,
            uint32_t slot) override {
        if (slot >= visits.size()) visits.resize(slot + 1);
        KnownState known;
        for (unsigned r = 0; r < kRegisters; ++r) {
            const Cell& cell = state.reg(r);
            known[r] = {.type = cell.type,
                        .flags = cell.flags,
                        .object = cell.object,
                        .id = cell.id,
                        .off = cell.off,
                        .number = analyzer.pool()[cell.scalar],
                        .node = cell.ref};
        }
        visits[slot].push_back(known);
    }
    void done(const verifier::Analyzer& analyzer) override {
        for (auto& slot : visits)
            for (KnownState& state : slot)
                for (Known& known : state)
                    known.any = known.type == CellType::Scalar &&
                                !analyzer.provenance().is_precise(known.node);
    }
    std::vector<std::vector<KnownState>> visits;
};

bool contains(const Known& known, uint64_t x, const Concrete& run) {
    const auto moved = [&](uint64_t base) {
        return known.number.contains(x - base - static_cast<uint64_t>(int64_t{known.off}));
    };
    switch (known.type) {
        case CellType::NotInit: return true;
        case CellType::Scalar: return known.any || known.number.contains(x);
        case CellType::Context: return x == Concrete::kContext;
        case CellType::MapHandle: return x == Concrete::kMap;
        case CellType::Stack: return moved(Concrete::kStackTop);
        case CellType::MapValue:
            if ((known.flags & verifier::flag::kMaybeNull) != 0 && x == 0) return true;
            return moved(Concrete::kValue);
        case CellType::Packet: {
            // Pointers of one base may have been let move together (Subsumption::packet): what is
            // claimed is that `object` bytes from the base on are inside of the packet.
            const uint64_t base = x - static_cast<uint64_t>(int64_t{known.off}) - Concrete::kPacket;
            const int64_t end = static_cast<int64_t>(base) + known.object;
            return known.object == 0 || end <= static_cast<int64_t>(run.packet.size());
        }
        case CellType::PacketEnd: return x == Concrete::kPacket + run.packet.size();
        default: return false;
    }
}

// Whether all registers of a visit hold at once.
bool contains(const KnownState& state, const Concrete& run) {
    for (unsigned r = 0; r < kRegisters; ++r) {
        if (!contains(state[r], run.regs[r], run)) return false;
        if (state[r].type != CellType::Packet) continue;
        for (unsigned other = 0; other < r; ++other) {
            if (state[other].type != CellType::Packet || state[other].id != state[r].id) continue;
            const auto apart = static_cast<uint64_t>(int64_t{state[r].off} - state[other].off);
            if (run.regs[r] - run.regs[other] != apart) return false;
        }
    }
    return true;
}

uint8_t biased(std::mt19937_64& random) {
    constexpr uint8_t kValues[] = {0,  1,  7,  8,  15, 16,   31,   32,
                                   40, 47, 48, 63, 64, 0x7f, 0x80, 0xff};
    return random() % 3 == 0 ? static_cast<uint8_t>(random()) : kValues[random() % 16];
}

TEST(Containment, ConcreteRunsStayInsideOfWhatWasProved) {
    const char* given = std::getenv("SKEP_SEED");
    const uint64_t first = given != nullptr ? std::strtoull(given, nullptr, 0) : 20'000;
    const char* many = std::getenv("SKEP_COUNT");
    const uint64_t count = many != nullptr ? std::strtoull(many, nullptr, 0) : 800;
    unsigned accepted = 0;
    for (uint64_t seed = first; seed < first + count; ++seed) {
        const Generated generated = generate_program(seed);
        TestCase text;
        text.title = std::to_string(seed);
        text.sections = {{"prog", generated.type, ""},
                         {"maps", "", "type=hash,key=8,value=48,entries=1\n"},
                         {"asm", "", generated.text}};
        const auto read = read_verdict_case(text);
        ASSERT_TRUE(read) << read.error().to_string();
        if (!read->program) continue;
        for (const Policy policy : {Policy::Linux, Policy::Extended}) {
            Recorder recorder;
            AnalyzeOptions options;
            options.policy = policy;
            options.observer = &recorder;
            if (!analyze(*read->program, options).accepted()) continue;
            ++accepted;
            std::mt19937_64 random(seed);
            for (unsigned round = 0; round < 24; ++round) {
                Concrete run;
                run.value.resize(48);
                run.packet.resize(random() % 40);
                for (uint8_t& byte : run.value) byte = biased(random);
                // Whole words of small numbers, too.
                if (round % 3 == 0)
                    for (unsigned i = 0; i < 48; ++i)
                        if (i % 8 != 0 && i != 1 && i != 2 && i != 4 && i != 12) run.value[i] = 0;
                run.lookup_finds = round != 0;
                const auto fault = run.run(read->program->insns, 100'000, [&](uint32_t slot) {
                    ASSERT_TRUE(
                        std::any_of(recorder.visits[slot].begin(), recorder.visits[slot].end(),
                                    [&](const KnownState& state) { return contains(state, run); }))
                        << "seed " << seed << " slot " << slot << " round " << round << "\n"
                        << generated.text;
                });
                ASSERT_FALSE(fault) << *fault << ", seed " << seed << "\n" << generated.text;
                if (HasFatalFailure()) return;
            }
        }
    }
    // The generator is of no use if hardly anything passes.
    EXPECT_GT(accepted, count / 4);
}

}  // namespace
}  // namespace skep::test
