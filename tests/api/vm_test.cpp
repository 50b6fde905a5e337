// Vm and LoadedProgram: loading, contexts, maps, tail calls, the host's helpers.
#include "tests/api/vm_fixture.hpp"

namespace skep::test {
namespace {

TEST(Vm, RawProgramsGetMemoryAndItsLength) {
    Vm vm = make_vm();
    const LoadedProgram program = load(vm, "*(u8 *)(r1 + 1) = 9\nr0 = r2\nexit");
    std::array<std::byte, 16> memory{};
    BytesContext context{memory.data(), memory.size()};
    const RunResult result = program.run(context);
    EXPECT_TRUE(result.ok());
    EXPECT_EQ(result.r0, 16u);
    EXPECT_EQ(memory[1], std::byte{9});
    EXPECT_EQ(program.mode(), Mode::Sandbox);
    BytesContext empty;
    EXPECT_EQ(load(vm, "r0 = r1\nr0 |= r2\nexit").run(empty).r0, 0u);
}

TEST(Vm, XdpProgramsReadAndWriteTheirPacket) {
    Vm vm = make_vm();
    const LoadedProgram program = load(vm, R"(
        r2 = *(u32 *)(r1 + 0)
        r3 = *(u32 *)(r1 + 4)
        r4 = r2
        r4 += 14
        if r4 > r3 goto drop
        r0 = *(u8 *)(r2 + 12)
        *(u8 *)(r2 + 0) = 0x77
        exit
  drop: r0 = 99
        exit)",
                                       "xdp");
    TestPacket packet(60);
    RunResult result = program.run(packet.xdp);
    EXPECT_TRUE(result.ok()) << name_of(result.trap);
    EXPECT_EQ(result.r0, 12u);
    EXPECT_EQ(packet.bytes[256], std::byte{0x77});
    TestPacket small(10);
    EXPECT_EQ(program.run(small.xdp).r0, 99u);
    EXPECT_EQ(program.run(small.skb).trap, TrapCode::BadArgument);
    std::swap(small.xdp.packet.data, small.xdp.packet.data_end);
    EXPECT_EQ(program.run(small.xdp).trap, TrapCode::BadArgument);
}

// A burst gives what single runs give, in order, bad contexts and traps among them.
TEST(Vm, BurstsAreRunsInOrder) {
    Vm vm = make_vm();
    const LoadedProgram program = load(vm, R"(
        r6 = r1
        r1 = map[0] ll
        r2 = r10
        r2 += -4
        *(u32 *)(r10 - 4) = 0
        call map_lookup_elem
        if r0 == 0 goto out
        r7 = *(u64 *)(r0 + 0)
        r7 += 1
        *(u64 *)(r0 + 0) = r7
        r2 = *(u32 *)(r6 + 0)
        r3 = *(u8 *)(r2 + 20)
        r7 <<= 8
        r7 += r3
   out: r0 = r7
        exit)",
                                       "xdp", std::array{map_def("m", MapType::Array, 4, 8, 1)});
    std::vector<TestPacket> packets(150, TestPacket(60));
    std::vector<XdpContext> contexts(packets.size());
    for (size_t i = 0; i < packets.size(); ++i) {
        std::byte* const start = packets[i].bytes.data() + 256;
        const size_t length = i == 70 ? 10 : 60;  // the program reads byte 20
        contexts[i].packet = {packets[i].bytes.data(), start, start, start + length,
                              packets[i].bytes.data() + packets[i].bytes.size()};
    }
    contexts[71].packet.data_end = nullptr;
    std::vector<RunResult> results(149);
    program.run(contexts, results);
    uint64_t runs = 0;
    for (size_t i = 0; i < results.size(); ++i) {
        EXPECT_EQ(results[i].program, program.id());
        if (i == 71) {
            EXPECT_EQ(results[i].trap, TrapCode::BadArgument);
            continue;
        }
        ++runs;
        if (i == 70) {
            EXPECT_EQ(results[i].trap, TrapCode::OutOfBounds) << name_of(results[i].trap);
            EXPECT_EQ(results[i].r0, 0u);
            continue;
        }
        ASSERT_TRUE(results[i].ok()) << i << ": " << name_of(results[i].trap);
        EXPECT_EQ(results[i].slot, 0u);
        EXPECT_EQ(results[i].r0, runs << 8 | 20);
    }
    EXPECT_EQ(program.run(contexts[0]).r0, (runs + 1) << 8 | 20);
    LoadedProgram().run(contexts, results);
    EXPECT_EQ(results[0].trap, TrapCode::BadArgument);
    EXPECT_EQ(results[148].trap, TrapCode::BadArgument);
}

TEST(Vm, ContextFieldsAreReadThroughTheTable) {
    Vm vm = make_vm();
    TestPacket packet(20);
    packet.xdp.ingress_ifindex = 7;
    packet.xdp.rx_queue_index = 3;
    const LoadedProgram program =
        load(vm, "r0 = *(u32 *)(r1 + 12)\nr2 = *(u32 *)(r1 + 16)\nr0 <<= 8\nr0 |= r2\nexit", "xdp");
    EXPECT_EQ(program.run(packet.xdp).r0, 0x703u);
    EXPECT_EQ(load(vm, "r0 = *(u32 *)(r1 + 24)\nexit", "xdp").run(packet.xdp).trap,
              TrapCode::BadContextAccess);
    EXPECT_EQ(load(vm, "*(u32 *)(r1 + 0) = 1\nexit", "xdp").run(packet.xdp).trap,
              TrapCode::BadContextAccess);
    packet.skb.mark = 5;
    const LoadedProgram mark = load(vm, "r0 = *(u32 *)(r1 + 8)\n*(u32 *)(r1 + 8) = 6\nexit", "tc");
    EXPECT_EQ(mark.run(packet.skb).r0, 5u);
    EXPECT_EQ(packet.skb.mark, 6u);
}

TEST(Vm, MapsAreSharedBetweenProgramAndHost) {
    Vm vm = make_vm();
    const MapDef defs[] = {map_def("counts", MapType::Hash, 4, 8, 16)};
    const LoadedProgram program = load(vm, R"(
        *(u32 *)(r10 - 4) = 7
        r2 = r10
        r2 += -4
        r1 = map[0] ll
        call bpf_map_lookup_elem
        if r0 == 0 goto out
        r1 = 1
        lock *(u64 *)(r0 + 0) += r1
        r0 = *(u64 *)(r0 + 0)
   out: exit)",
                                       "raw", defs);
    EXPECT_EQ(run_bytes(program).r0, 0u);
    const auto map = vm.map("counts");
    ASSERT_NE(map, nullptr);
    uint32_t key = 7;
    uint64_t value = 41;
    ASSERT_EQ(map->host_update(reinterpret_cast<std::byte*>(&key),
                               std::as_bytes(std::span(&value, 1)), 0),
              0);
    EXPECT_EQ(run_bytes(program).r0, 42u);
    ASSERT_EQ(map->host_lookup(reinterpret_cast<std::byte*>(&key),
                               std::as_writable_bytes(std::span(&value, 1)), 0),
              0);
    EXPECT_EQ(value, 42u);
}

uint64_t add_seed(HelperEnv& env, ReadMem bytes, uint64_t seed) noexcept {
    for (uint64_t i = 0; i < bytes.size; ++i) seed += std::to_integer<uint64_t>(bytes.data[i]);
    return seed + *static_cast<uint64_t*>(helper_user(env));
}
long throwing(uint64_t) { throw 1; }

TEST(Vm, HostsAddTypedHelpers) {
    uint64_t offset = 1000;
    VmOptions options;
    options.user = &offset;
    Vm vm = make_vm(std::move(options));
    ASSERT_TRUE(vm.add(make_helper<&add_seed>(1000, "add_seed")));
    ASSERT_TRUE(vm.add(make_helper<&throwing>(1001, "throwing")));
    EXPECT_FALSE(vm.add(make_helper<&add_seed>(1000, "again")));
    EXPECT_FALSE(vm.add(make_helper<&add_seed>(12, "tail_call")));
    EXPECT_EQ(run_bytes(load(vm, "*(u32 *)(r1 + 0) = 5\nr2 = 4\nr3 = 30\ncall 1000\nexit")).r0,
              1035u);
    // The helper never sees memory that is not the program's.
    const RunResult result = run_bytes(load(vm, "r1 = 0x7fffffff0000 ll\nr2 = 4\ncall 1000\nexit"));
    EXPECT_EQ(result.trap, TrapCode::BadArgument);
    EXPECT_EQ(result.slot, 3u);
    EXPECT_EQ(run_bytes(load(vm, "r2 = 65\ncall 1000\nexit")).trap, TrapCode::BadArgument);
    EXPECT_EQ(run_bytes(load(vm, "call 1001\nexit")).trap, TrapCode::HostException);
}

TEST(Vm, CallbacksRunAsLoops) {
    Vm vm = make_vm();
    const LoadedProgram program = load(vm, R"(
        *(u64 *)(r10 - 8) = 0
        r1 = 100
        r2 = func body ll
        r3 = r10
        r3 += -8
        r4 = 0
        call bpf_loop
        r0 = *(u64 *)(r10 - 8)
        exit
  body: r3 = *(u64 *)(r2 + 0)
        r3 += r1
        *(u64 *)(r2 + 0) = r3
        r0 = 0
        exit)");
    const RunResult result = run_bytes(program);
    EXPECT_TRUE(result.ok()) << program.describe(result).message;
    EXPECT_EQ(result.r0, 4950u);
}

TEST(Vm, MapMemoryIsBounded) {
    VmOptions options;
    options.map_bytes = 1 << 20;
    Vm vm = make_vm(std::move(options));
    const MapDef big[] = {map_def("big", MapType::Array, 4, 4096, 4096)};
    const auto refused = vm.load_raw(slots_of("r1 = map[0] ll\nr0 = 0\nexit"), "raw", big);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::LimitExceeded);
}

TEST(Vm, ErrorsNameTheSlot) {
    Vm vm = make_vm();
    const auto refused = vm.load_raw(slots_of("r0 = 0\ngoto +5\nexit"), "raw");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().where.slot, 1);
    const auto type = vm.load_raw(slots_of("r0 = 0\nexit"), "no_such_type");
    ASSERT_FALSE(type);
    EXPECT_EQ(type.error().code, ErrorCode::UnknownProgramType);
}

TEST(Vm, RedirectsAreHandedToTheHost) {
    Vm vm = make_vm();
    const LoadedProgram program = load(vm, "r1 = 9\nr2 = 0\ncall bpf_redirect\nexit", "xdp");
    TestPacket packet(20);
    RedirectTarget target;
    const RunResult result = program.run(packet.xdp, &target);
    EXPECT_TRUE(result.ok()) << program.describe(result).message;
    EXPECT_EQ(result.r0, 4u);
    EXPECT_EQ(target.key, 9u);
    EXPECT_EQ(target.map, nullptr);
}

}  // namespace
}  // namespace skep::test
