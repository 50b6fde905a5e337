// Tail calls: Linux's rules, from programs and from subprograms, and who keeps whom alive.
#include "tests/api/vm_fixture.hpp"

namespace skep::test {
namespace {

const char* const kTailCaller = R"(
        r2 = map[0] ll
        r3 = 0
        call bpf_tail_call
        r0 = 5
        exit)";

TEST(TailCalls, TailCallsReplaceTheProgram) {
    ASSERT_TRUE(has_program_arrays());
    Vm vm = make_vm();
    const MapDef defs[] = {map_def("jumps", MapType::ProgArray, 4, 4, 4)};
    const LoadedProgram caller = load(vm, kTailCaller, "xdp", defs);
    const LoadedProgram target = load(vm, "r0 = *(u32 *)(r1 + 12)\nexit", "xdp");
    TestPacket packet(20);
    packet.xdp.ingress_ifindex = 77;
    EXPECT_EQ(caller.run(packet.xdp).r0, 5u);
    ASSERT_TRUE(vm.set_program(*vm.map("jumps"), 0, target));
    EXPECT_EQ(caller.run(packet.xdp).r0, 77u);
    EXPECT_FALSE(vm.set_program(*vm.map("jumps"), 4, target));
    // A program that calls itself ends after 33 rounds and falls through.
    ASSERT_TRUE(vm.set_program(*vm.map("jumps"), 0, caller));
    EXPECT_EQ(caller.run(packet.xdp).r0, 5u);
    // One of another type cannot go on with this context.
    const LoadedProgram other = load(vm, "r0 = 1\nexit", "tc");
    ASSERT_TRUE(vm.set_program(*vm.map("jumps"), 0, other));
    EXPECT_EQ(caller.run(packet.xdp).r0, 5u);
}

// Linux: the target takes the place of the subprogram, and returns to its caller.
TEST(TailCalls, TailCallsFromSubprogramsReturnToTheirCaller) {
    ASSERT_TRUE(has_program_arrays());
    Vm vm = make_vm();
    const MapDef defs[] = {map_def("jumps", MapType::ProgArray, 4, 4, 4)};
    const LoadedProgram caller = load(vm, R"(
        r6 = 1000
        *(u64 *)(r10 - 8) = 3
        call local sub
        r0 += r6
        r1 = *(u64 *)(r10 - 8)
        r0 += r1
        exit
   sub: *(u64 *)(r10 - 8) = 50
        r2 = map[0] ll
        r3 = 1
        call bpf_tail_call
        r0 = 5
        exit)",
                                      "xdp", defs);
    const LoadedProgram target =
        load(vm, "r6 = 9\nr0 = *(u64 *)(r10 - 8)\n*(u64 *)(r10 - 8) = 1\nr0 += 20\nexit", "xdp");
    TestPacket packet(20);
    EXPECT_EQ(caller.run(packet.xdp).r0, 1008u);
    ASSERT_TRUE(vm.set_program(*vm.map("jumps"), 1, target));
    const RunResult result = caller.run(packet.xdp);
    EXPECT_TRUE(result.ok()) << caller.describe(result).message;
    EXPECT_EQ(result.r0, 1023u);
    // Its own subprogram tail-calls it again: each round leaves a frame open, 33 times.
    ASSERT_TRUE(vm.set_program(*vm.map("jumps"), 1, caller));
    EXPECT_EQ(caller.run(packet.xdp).r0, 5u + 34 * 1003);
}

TEST(TailCalls, ProgramsOutliveTheirVm) {
    ASSERT_TRUE(has_program_arrays());
    LoadedProgram program;
    {
        Vm vm = make_vm();
        const MapDef defs[] = {map_def("jumps", MapType::ProgArray, 4, 4, 4)};
        program = load(vm, kTailCaller, "xdp", defs);
        ASSERT_TRUE(vm.set_program(*vm.map("jumps"), 0, load(vm, "r0 = 3\nexit", "xdp")));
    }
    TestPacket packet(20);
    EXPECT_EQ(program.run(packet.xdp).r0, 3u);
}

}  // namespace
}  // namespace skep::test
