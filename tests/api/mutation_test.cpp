// Random changes to a program that uses maps, callbacks, tail calls and the packet.
#include <algorithm>
#include <optional>
#include <random>

#include "tests/api/vm_fixture.hpp"
#include "tests/support/random.hpp"

namespace skep::test {
namespace {

struct Ended {
    RunResult result;
    std::vector<std::byte> packet;
};

// One run in a Vm of its own; nothing if the program cannot be loaded.
std::optional<Ended> run_once(const std::vector<uint64_t>& slots, std::span<const MapDef> defs,
                              Engine engine, bool has_arrays) {
    VmOptions options;
    options.fuel = 2000;
    options.engine = engine;
    Vm vm = make_vm(options);
    const auto program = vm.load_raw(slots, "xdp", defs);
    if (!program) return std::nullopt;
    if (has_arrays) {
        EXPECT_TRUE(vm.set_program(*vm.map("jumps"), 0, *program));
    }
    TestPacket packet(40);
    Ended ended{program->run(packet.xdp), {}};
    EXPECT_LE(packet.xdp.packet.head, packet.xdp.packet.data);
    EXPECT_LE(packet.xdp.packet.data_end, packet.xdp.packet.hard_end);
    ended.packet.assign(packet.xdp.packet.data, packet.xdp.packet.data_end);
    return ended;
}

// Calls nothing that gives another answer each time.
bool is_deterministic(const std::vector<uint64_t>& slots) {
    constexpr uint32_t known[] = {1, 2, 3, 12, 44, 65, 181};
    return std::ranges::all_of(slots, [&](uint64_t slot) {
        const bool calls_helper = (slot & 0xff) == 0x85 && (slot >> 12 & 0xf) == 0;
        return !calls_helper || std::ranges::find(known, slot >> 32) != std::end(known);
    });
}

std::string text_of(const std::vector<uint64_t>& slots) {
    std::string text = "slots:";
    char number[24];
    for (const uint64_t slot : slots) {
        std::snprintf(number, sizeof(number), " %016llx", static_cast<unsigned long long>(slot));
        text += number;
    }
    return text;
}

// Random instructions, most of them plausible: whatever they do ends in a result or a Trap,
// the same in native code and in the interpreter.
TEST(Mutation, RandomProgramsHarmNothing) {
    const uint64_t seed = seed_or(std::random_device{}());
    SCOPED_TRACE("SKEP_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    const bool has_arrays = has_program_arrays();
    const MapDef defs[] = {
        map_def("hash", MapType::Hash, 4, 8, 4), map_def("array", MapType::PercpuArray, 4, 8, 4),
        map_def("jumps", has_arrays ? MapType::ProgArray : MapType::Array, 4, 4, 4)};
    const auto base = slots_of(R"(
        r6 = r1
        r7 = *(u32 *)(r1 + 0)
        r8 = *(u32 *)(r1 + 4)
        *(u32 *)(r10 - 4) = 0
        *(u64 *)(r10 - 16) = 7
        r1 = map[0] ll
        r2 = r10
        r2 += -4
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_map_update_elem
        r1 = map[1] ll
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        if r0 == 0 goto next
        r1 = 1
        lock *(u64 *)(r0 + 0) += r1
  next: r1 = 3
        r2 = func body ll
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_loop
        r1 = r6
        r2 = map[2] ll
        r3 = 0
        call bpf_tail_call
        r0 = *(u8 *)(r7 + 3)
        r1 = r6
        r2 = -4
        call bpf_xdp_adjust_head
        call local body
        exit
  body: r0 = 0
        exit)");
    unsigned loaded = 0, ended = 0;
    const uint64_t rounds = rounds_or(is_long_run() ? 1'000'000 : 2500);
    for (uint64_t round = 0; round < rounds; ++round) {
        auto slots = base;
        for (unsigned i = 0, n = 1 + random() % 4; i < n; ++i) {
            uint64_t& slot = slots[random() % slots.size()];
            switch (random() % 5) {
                case 0: slot ^= uint64_t{1} << random() % 64; break;
                case 1: slot = (slot & ~uint64_t{0xff00}) | (random() & 0xff00); break;
                case 2: slot = (slot & 0xffffffff) | random() << 32; break;
                case 3: slot = slots[random() % slots.size()]; break;
                default: slot = (slot & ~uint64_t{0xff}) | (random() & 0xff); break;
            }
        }
        const auto native = run_once(slots, defs, Engine::Default, has_arrays);
        if (!native) continue;
        ++loaded;
        ended += native->result.ok() ? 1 : 0;
        if (!is_deterministic(slots)) continue;
        const auto interpreted = run_once(slots, defs, Engine::Interpreter, has_arrays);
        ASSERT_TRUE(interpreted);
        ASSERT_EQ(native->result.r0, interpreted->result.r0) << text_of(slots);
        ASSERT_EQ(native->result.trap, interpreted->result.trap) << text_of(slots);
        ASSERT_EQ(native->result.slot, interpreted->result.slot) << text_of(slots);
        ASSERT_EQ(native->packet, interpreted->packet) << text_of(slots);
    }
    EXPECT_GT(loaded, rounds / 10);
    EXPECT_GT(ended, has_arrays ? rounds / 150 : 0);
}

}  // namespace
}  // namespace skep::test
