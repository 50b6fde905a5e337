// Verified and sandbox, interpreter and native code: the same program, the same results.
#include <filesystem>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/api/vm_fixture.hpp"

namespace skep::test {
namespace {

struct Setup {
    Mode mode;
    Engine engine;
};

class EveryMode : public testing::TestWithParam<Setup> {
protected:
    void SetUp() override {
        VmOptions options;
        options.mode = GetParam().mode;
        options.engine = GetParam().engine;
        options.policy = Policy::Extended;
        auto vm = Vm::create(std::move(options));
        if (!vm && vm.error().code == ErrorCode::NoJit) GTEST_SKIP() << vm.error().to_string();
        ASSERT_TRUE(vm) << vm.error().to_string();
        vm_.emplace(*std::move(vm));
    }
    std::optional<Vm> vm_;
};

TEST_P(EveryMode, PacketAndContext) {
    const LoadedProgram program = load(*vm_, R"(
        r2 = *(u32 *)(r1 + 0)
        r3 = *(u32 *)(r1 + 4)
        r5 = *(u32 *)(r1 + 12)
        r4 = r2
        r4 += 14
        if r4 > r3 goto drop
        r0 = *(u8 *)(r2 + 12)
        *(u8 *)(r2 + 0) = 0x77
        r0 += r5
        exit
  drop: r0 = 1
        exit)",
                                       "xdp");
    ASSERT_TRUE(program);
    EXPECT_EQ(program.mode(), GetParam().mode);
    EXPECT_EQ(program.engine(), GetParam().engine);
    TestPacket packet(60);
    packet.xdp.ingress_ifindex = 100;
    const RunResult result = program.run(packet.xdp);
    EXPECT_TRUE(result.ok()) << program.describe(result).message;
    EXPECT_EQ(result.r0, 112u);
    EXPECT_EQ(packet.bytes[256], std::byte{0x77});
    TestPacket small(10);
    EXPECT_EQ(program.run(small.xdp).r0, 1u);
}

TEST_P(EveryMode, SkbFieldsOfEveryWidth) {
    const LoadedProgram program = load(*vm_, R"(
        r0 = *(u32 *)(r1 + 8)
        r2 = *(u8 *)(r1 + 8)
        r0 += r2
        r2 = *(u16 *)(r1 + 8)
        r0 += r2
        *(u32 *)(r1 + 8) = r0
        r3 = 7
        *(u32 *)(r1 + 52) = r3
        exit)",
                                       "tc");
    ASSERT_TRUE(program);
    TestPacket packet(60);
    packet.skb.mark = 0x10203;
    const RunResult result = program.run(packet.skb);
    EXPECT_TRUE(result.ok()) << program.describe(result).message;
    EXPECT_EQ(static_cast<uint32_t>(result.r0), 0x10203u + 0x203 + 3);
    EXPECT_EQ(packet.skb.mark, static_cast<uint32_t>(result.r0));
    EXPECT_EQ(packet.skb.cb[1], 7u);
}

TEST_P(EveryMode, MapsCallsLoopsAndCallbacks) {
    const MapDef defs[] = {map_def("array", MapType::Array, 4, 8, 4)};
    const LoadedProgram program = load(*vm_, R"(
        *(u32 *)(r10 - 4) = 1
        r2 = r10
        r2 += -4
        r1 = map[0] ll
        call bpf_map_lookup_elem
        if r0 == 0 goto none
        r6 = r0
        r1 = 5
        call local square
        *(u64 *)(r6 + 0) = r0
        *(u64 *)(r10 - 16) = 0
        r1 = 10
        r2 = func body ll
        r3 = r10
        r3 += -16
        r4 = 0
        call bpf_loop
        r0 = *(u64 *)(r10 - 16)
        r1 = *(u64 *)(r6 + 0)
        r0 += r1
        r2 = 3
  loop: r0 += 100
        r2 += -1
        if r2 != 0 goto loop
        exit
  none: r0 = 0
        exit
square: r0 = r1
        r0 *= r1
        exit
  body: r3 = *(u64 *)(r2 + 0)
        r3 += 1
        *(u64 *)(r2 + 0) = r3
        r0 = 0
        exit)",
                                       "xdp", defs);
    ASSERT_TRUE(program);
    TestPacket packet(60);
    const RunResult result = program.run(packet.xdp);
    EXPECT_TRUE(result.ok()) << program.describe(result).message;
    EXPECT_EQ(result.r0, 335u);
}

TEST_P(EveryMode, RawMemoryOfADeclaredLength) {
    auto program = vm_->load_raw(slots_of("r0 = *(u64 *)(r1 + 8)\n*(u8 *)(r1 + 0) = 5\nexit"),
                                 "raw", {}, true, 16);
    ASSERT_TRUE(program) << program.error().to_string();
    std::array<std::byte, 16> memory{};
    memory[8] = std::byte{9};
    BytesContext context{memory.data(), memory.size()};
    const RunResult result = program->run(context);
    EXPECT_TRUE(result.ok()) << program->describe(result).message;
    EXPECT_EQ(result.r0, 9u);
    EXPECT_EQ(memory[0], std::byte{5});
    context.size = 8;
    EXPECT_EQ(program->run(context).trap, TrapCode::BadArgument);
}

TEST_P(EveryMode, UnsafeProgramsAreRefusedOrTrap) {
    auto program = vm_->load_raw(slots_of("r0 = *(u64 *)(r1 + 16)\nexit"), "raw", {}, true, 16);
    if (GetParam().mode == Mode::Verified) {
        ASSERT_FALSE(program);
        EXPECT_EQ(program.error().where.slot, 0) << program.error().to_string();
        return;
    }
    ASSERT_TRUE(program);
    EXPECT_EQ(run_bytes(*program, 16).trap, TrapCode::OutOfBounds);
}

// The object that Debian's xdp-tools ships.
TEST_P(EveryMode, XdpFilterOfXdpTools) {
    const char* path = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o";
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not installed (xdp-tools)";
    auto object = Object::open_file(path);
    ASSERT_TRUE(object) << object.error().to_string();
    auto program = vm_->load(*object, "");
    ASSERT_TRUE(program) << program.error().to_string();
    TestPacket packet(60);
    packet.bytes[256 + 12] = std::byte{8};  // IPv4
    packet.bytes[256 + 13] = std::byte{0};
    packet.bytes[256 + 14] = std::byte{0x45};
    packet.bytes[256 + 23] = std::byte{17};  // UDP
    const RunResult result = program->run(packet.xdp);
    EXPECT_TRUE(result.ok()) << program->describe(result).message;
    EXPECT_EQ(result.r0, 2u);  // nothing is denied: pass
}

// bpf_loop: rounds, the callback's way out, refused arguments.
TEST_P(EveryMode, LoopsCallBackRoundByRound) {
    const auto program = vm_->load_raw(slots_of(R"(
        r6 = r1
        *(u64 *)(r10 - 8) = 0
        r2 = *(u32 *)(r6 + 4)
        *(u64 *)(r10 - 16) = r2
        r1 = *(u32 *)(r6 + 0)
        r4 = *(u64 *)(r6 + 8)
        r2 = func body ll
        r3 = r10
        r3 += -16
        call bpf_loop
        w0 = w0
        r1 = *(u64 *)(r10 - 8)
        r1 <<= 32
        r0 |= r1
        exit
  body: r3 = *(u64 *)(r2 + 8)
        r3 += 1
        *(u64 *)(r2 + 8) = r3
        r4 = *(u64 *)(r2 + 0)
        r0 = 0
        if r1 != r4 goto out
        r0 = 1
  out:  exit)"),
                                       "raw", {}, true, 16);
    ASSERT_TRUE(program) << program.error().to_string();
    struct Arguments {
        uint32_t count, stop;
        uint64_t flags;
    };
    const auto run = [&](Arguments arguments) {
        BytesContext context{reinterpret_cast<std::byte*>(&arguments), sizeof(arguments)};
        const RunResult result = program->run(context);
        EXPECT_TRUE(result.ok()) << program->describe(result).message;
        return result.r0;
    };
    const auto both = [](uint64_t rounds, uint32_t r0) { return rounds << 32 | r0; };
    EXPECT_EQ(run({5, 99, 0}), both(5, 5));
    EXPECT_EQ(run({5, 2, 0}), both(3, 3));
    EXPECT_EQ(run({5, 4, 0}), both(5, 5));
    EXPECT_EQ(run({1, 0, 0}), both(1, 1));
    EXPECT_EQ(run({0, 0, 0}), 0u);
    EXPECT_EQ(run({5, 99, 1}), both(0, static_cast<uint32_t>(-22)));
    EXPECT_EQ(run({(1u << 23) + 1, 99, 0}), both(0, static_cast<uint32_t>(-7)));
    EXPECT_EQ(run({100000, 99999, 0}), both(100000, 100000));
}

// Loops in callbacks of loops: each has its own rounds, and the frames between stay apart.
TEST_P(EveryMode, LoopsNest) {
    const LoadedProgram program = load(*vm_, R"(
        *(u64 *)(r10 - 8) = 0
        r1 = 7
        r2 = func outer ll
        r3 = r10
        r3 += -8
        r4 = 0
        call bpf_loop
        r1 = *(u64 *)(r10 - 8)
        r0 += r1
        exit
 outer: r6 = r1
        r7 = r2
        *(u64 *)(r10 - 8) = r6
        r1 = 3
        r2 = func inner ll
        r3 = r7
        r4 = 0
        call bpf_loop
        r1 = *(u64 *)(r10 - 8)
        r2 = *(u64 *)(r7 + 0)
        r2 += r1
        *(u64 *)(r7 + 0) = r2
        r0 = 0
        exit
 inner: r3 = *(u64 *)(r2 + 0)
        r3 += r1
        *(u64 *)(r2 + 0) = r3
        r0 = 0
        exit)");
    ASSERT_TRUE(program);
    // 7 rounds; each adds 0 + 1 + 2 and its own number.
    EXPECT_EQ(run_bytes(program).r0, 7u + 7 * 3 + 21);
}

INSTANTIATE_TEST_SUITE_P(Vm, EveryMode,
                         testing::Values(Setup{Mode::Sandbox, Engine::Interpreter},
                                         Setup{Mode::Verified, Engine::Interpreter},
                                         Setup{Mode::Sandbox, Engine::Jit},
                                         Setup{Mode::Verified, Engine::Jit}),
                         [](const auto& setup) {
                             return std::string(setup.param.mode == Mode::Sandbox ? "Sandbox"
                                                                                  : "Verified") +
                                    (setup.param.engine == Engine::Jit ? "Jit" : "Interpreter");
                         });

// A process that may not make memory executable (prctl PR_SET_MDWE) still runs programs.
TEST(Fallback, WithoutExecutableMemoryTheInterpreterTakesOver) {
    constexpr int kSetMdwe = 65, kRefuseExecGain = 1;
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        if (::prctl(kSetMdwe, kRefuseExecGain, 0, 0, 0) != 0) ::_exit(77);
        auto vm = Vm::create({.mode = Mode::Sandbox});
        auto strict = Vm::create({.engine = Engine::Jit, .mode = Mode::Sandbox});
        const auto slots = slots_of("r0 = 7\nexit");
        auto program = vm->load_raw(slots, "raw");
        const auto refused = strict->load_raw(slots, "raw");
        const bool good = program && program->engine() == Engine::Interpreter &&
                          run_bytes(*program).r0 == 7 && !refused &&
                          refused.error().code == ErrorCode::NoJit;
        ::_exit(good ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this kernel has no PR_SET_MDWE";
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace skep::test
