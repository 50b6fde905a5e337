// Random changes to a program that uses maps, callbacks, tail calls and the packet.
#include <random>

#include "tests/api/vm_fixture.hpp"

namespace skep::test {
namespace {

// Random instructions, most of them plausible: whatever they do ends in a result or a Trap.
TEST(Mutation, RandomProgramsHarmNothing) {
    const uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    VmOptions options;
    options.fuel = 2000;
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
    for (int round = 0; round < 3000; ++round) {
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
        Vm vm = make_vm(options);
        const auto program = vm.load_raw(slots, "xdp", defs);
        if (!program) continue;
        ++loaded;
        if (has_arrays) {
            ASSERT_TRUE(vm.set_program(*vm.map("jumps"), 0, *program));
        }
        TestPacket packet(40);
        const RunResult result = program->run(packet.xdp);
        ended += result.ok() ? 1 : 0;
        EXPECT_LE(packet.xdp.packet.head, packet.xdp.packet.data);
        EXPECT_LE(packet.xdp.packet.data_end, packet.xdp.packet.hard_end);
    }
    EXPECT_GT(loaded, 300u);
    EXPECT_GT(ended, has_arrays ? 20u : 0u);
}

}  // namespace
}  // namespace skep::test
