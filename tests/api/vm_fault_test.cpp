// What a hostile program can do to its host: nothing. Every fault is a Trap with its place, what a
// run held is given back, and runs of many threads do not disturb each other.
#include <atomic>
#include <chrono>
#include <thread>

#include "tests/api/vm_fixture.hpp"
#include "vm/isa/codec.hpp"

namespace skep::test {
namespace {

struct Fault {
    const char* text;
    TrapCode trap;
};

TEST(Faults, EndInATrap) {
    Vm vm = make_vm();
    const MapDef defs[] = {map_def("hash", MapType::Hash, 4, 8, 4),
                           map_def("array", MapType::Array, 4, 8, 4)};
    const Fault faults[] = {
        {"r0 = *(u8 *)(r1 + 64)\nexit", TrapCode::OutOfBounds},
        {"r1 = 0x123456789abc ll\nr0 = *(u64 *)(r1 + 0)\nexit", TrapCode::OutOfBounds},
        {"l: goto l\nexit", TrapCode::Fuel},
        {"call local f\nexit\nf: call local f\nexit", TrapCode::CallDepth},
        {"call 4711\nexit", TrapCode::BadHelper},
        // Forged and wrong handles.
        {"r1 = 0x300000007 ll\nr2 = r10\nr2 += -8\ncall bpf_map_lookup_elem\nexit",
         TrapCode::BadArgument},
        {"r1 = 0\nr2 = r10\nr2 += -8\ncall bpf_map_lookup_elem\nexit", TrapCode::BadArgument},
        {"r1 = r10\nr2 = r10\nr2 += -8\ncall bpf_map_lookup_elem\nexit", TrapCode::BadArgument},
        {"r1 = map[0] ll\nr2 = 0\ncall bpf_map_lookup_elem\nexit", TrapCode::BadArgument},
        {"r1 = map[0] ll\nr2 = r10\nr2 += -2\ncall bpf_map_lookup_elem\nexit",
         TrapCode::BadArgument},
        {"r1 = 5\nr2 = 0x400000001 ll\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit", TrapCode::BadArgument},
        {"r1 = 5\nr2 = 0x55555555 ll\nr3 = 0\nr4 = 0\ncall bpf_loop\nexit", TrapCode::BadArgument},
        // Values of a map end where the map ends; metadata lies elsewhere.
        {"*(u32 *)(r10 - 4) = 0\nr2 = r10\nr2 += -4\nr1 = map[1] ll\ncall bpf_map_lookup_elem\n"
         "r0 += 65536\nr0 = *(u64 *)(r0 + 0)\nexit",
         TrapCode::OutOfBounds},
        {"r1 = map[1] ll\nr0 = *(u64 *)(r1 + 0)\nexit", TrapCode::OutOfBounds},
        {"r2 = r10\nr0 = *(u64 *)(r2 - 520)\nexit", TrapCode::OutOfBounds},
        {"r0 = 0", TrapCode::FellOffEnd},
    };
    for (const Fault& fault : faults) {
        const LoadedProgram program = load(vm, fault.text, "raw", defs);
        if (!program) continue;
        const RunResult result = run_bytes(program);
        EXPECT_EQ(result.trap, fault.trap) << fault.text << "\n" << name_of(result.trap);
        EXPECT_EQ(result.program, program.id());
        EXPECT_FALSE(program.describe(result).message.empty());
    }
    EXPECT_EQ(run_bytes(load(vm, "r0 = 1\nexit")).r0, 1u);
}

TEST(Faults, InCallbacksEndTheRunThere) {
    Vm vm = make_vm();
    const LoadedProgram program = load(vm, R"(
        r1 = 10
        r2 = func body ll
        r3 = 0
        r4 = 0
        call bpf_loop
        exit
  body: r0 = 0
        r3 = 0
        r0 = *(u8 *)(r3 + 0)
        exit)");
    const RunResult result = run_bytes(program);
    EXPECT_EQ(result.trap, TrapCode::OutOfBounds);
    EXPECT_EQ(result.slot, 9u);
}

TEST(Faults, NestedLoopsAndCallbackRecursionEnd) {
    VmOptions options;
    options.fuel = 1'000'000;
    Vm vm = make_vm(std::move(options));
    const char* nested = R"(
        r1 = 8388608
        r2 = func outer ll
        r3 = 0
        r4 = 0
        call bpf_loop
        exit
 outer: r1 = 8388608
        r2 = func outer ll
        r3 = 0
        r4 = 0
        call bpf_loop
        r0 = 0
        exit)";
    EXPECT_EQ(run_bytes(load(vm, nested)).trap, TrapCode::CallDepth);
    const char* flat = R"(
        r1 = 8388608
        r2 = func outer ll
        r3 = 0
        r4 = 0
        call bpf_loop
        exit
 outer: r1 = 8388608
        r2 = func inner ll
        r3 = 0
        r4 = 0
        call bpf_loop
        r0 = 0
        exit
 inner: r0 = 0
        exit)";
    EXPECT_EQ(run_bytes(load(vm, flat)).trap, TrapCode::Fuel);
}

TEST(Faults, ReadOnlyMemoryStaysSo) {
    Vm vm = make_vm();
    MapDef def = map_def(".rodata", MapType::Array, 4, 16, 1);
    def.flags = map_flags::kRdonlyProg;
    def.frozen = true;
    def.contents.resize(16, std::byte{3});
    const MapDef defs[] = {def};
    EXPECT_EQ(run_bytes(load(vm, "r1 = map[0] + 4 ll\nr0 = *(u8 *)(r1 + 0)\nexit", "raw", defs)).r0,
              3u);
    const RunResult store =
        run_bytes(load(vm, "r1 = map[0] + 4 ll\n*(u8 *)(r1 + 0) = 1\nexit", "raw", defs));
    EXPECT_EQ(store.trap, TrapCode::ReadOnly);
    EXPECT_EQ(store.slot, 2u);
}

TEST(Interrupt, FromAnotherThreadStopsTheRun) {
    VmOptions options;
    options.fuel = ~uint64_t{0} >> 1;
    Vm vm = make_vm(std::move(options));
    const LoadedProgram program = load(vm, "l: goto l\nexit");
    std::thread stopper([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
        program.interrupt();
    });
    EXPECT_EQ(run_bytes(program).trap, TrapCode::Interrupted);
    stopper.join();
    EXPECT_EQ(run_bytes(program).trap, TrapCode::Interrupted);  // sticky
    program.clear_interrupt();
    const LoadedProgram other = load(vm, "r0 = 1\nexit");
    EXPECT_EQ(run_bytes(other).r0, 1u);
}

TEST(Threads, RunTheSameProgramAtOnce) {
    Vm vm = make_vm();
    const MapDef defs[] = {map_def("array", MapType::Array, 4, 8, 4)};
    const LoadedProgram program = load(vm, R"(
        *(u64 *)(r10 - 16) = r1
        *(u32 *)(r10 - 4) = 1
        r2 = r10
        r2 += -4
        r1 = map[0] ll
        call bpf_map_lookup_elem
        if r0 == 0 goto bad
        r1 = 1
        lock *(u64 *)(r0 + 0) += r1
        r2 = *(u64 *)(r0 + 0)
        *(u64 *)(r0 + 8) = r2
        r1 = *(u64 *)(r10 - 16)
        r0 = *(u8 *)(r1 + 0)
        exit
   bad: r0 = 255
        exit)",
                                       "raw", defs);
    constexpr int kThreads = 4, kRuns = 2000;
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            std::byte memory[8] = {static_cast<std::byte>(t)};
            BytesContext context{memory, sizeof(memory)};
            for (int i = 0; i < kRuns; ++i) {
                const RunResult result = program.run(context);
                if (!result.ok() || result.r0 != static_cast<uint64_t>(t)) ++wrong;
            }
        });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
    uint32_t key = 1;
    uint64_t count = 0;
    ASSERT_EQ(vm.map("array")->host_lookup(reinterpret_cast<std::byte*>(&key),
                                           std::as_writable_bytes(std::span(&count, 1)), 0),
              0);
    EXPECT_EQ(count, uint64_t{kThreads} * kRuns);
}

LoadedProgram* nested_program = nullptr;
uint64_t run_again(HelperEnv&) noexcept {
    std::byte memory[8] = {};
    BytesContext context{memory, sizeof(memory)};
    const RunResult result = nested_program->run(context);
    return result.ok() ? result.r0 + 1 : 1000 + static_cast<uint64_t>(result.trap);
}

TEST(Nesting, OfRunsEndsAtItsLimit) {
    Vm vm = make_vm();
    ASSERT_TRUE(vm.add(make_helper<&run_again>(1000, "run_again")));
    LoadedProgram program = load(vm, "call 1000\nexit");
    nested_program = &program;
    const RunResult result = run_bytes(program);
    EXPECT_TRUE(result.ok());
    EXPECT_EQ(result.r0, 1000 + static_cast<uint64_t>(TrapCode::NestedRuns) + 3);
    nested_program = nullptr;
}

}  // namespace
}  // namespace skep::test
