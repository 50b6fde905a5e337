// Packet helpers against the running kernel: random sequences of calls on random packets, run by
// BPF_PROG_TEST_RUN and by the helpers here; results and packet bytes must agree.
#include <algorithm>
#include <array>
#include <gtest/gtest.h>
#include <random>
#include <sstream>

#include <skep/context.hpp>

#include "helpers/env.hpp"
#include "helpers/table.hpp"
#include "tests/support/kernel_bpf.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep {
namespace {

constexpr unsigned kStackBytes = 64;
// On an error, Linux's xdp_load_bytes leaves its buffer as it was, and ours zeroes it: the programs
// fill it again before they look.
constexpr uint32_t kLeavesBuffer = 189;

struct Arg {
    enum class What : uint8_t { Ctx, Number, Stack } what = What::Number;
    int32_t value = 0;  // number, or offset into the stack area
};
constexpr Arg ctx() { return {Arg::What::Ctx, 0}; }
constexpr Arg stack(int32_t offset = 0) { return {Arg::What::Stack, offset}; }

struct Step {
    uint32_t helper = 0;
    std::vector<Arg> args;
};

using Random = std::mt19937_64;

int32_t pick(Random& random, int32_t low, int32_t high) {
    return low + static_cast<int32_t>(random() % static_cast<uint64_t>(high - low + 1));
}
template <size_t N>
int32_t one_of(Random& random, const int32_t (&values)[N]) {
    return values[random() % N];
}
Arg number(int32_t value) { return {Arg::What::Number, value}; }

constexpr int32_t kProtocols[] = {0x0008, 0xdd86, 0x0081, 0xa888, 0x0608, 0};

Step random_tc_step(Random& random) {
    const Arg offset = number(pick(random, 0, 90)), size = number(pick(random, 1, 40));
    const Arg flags = number(one_of(random, {0, 0, 0, 1, 2, 3, 4, 16, 32}));
    const Arg any = number(static_cast<int32_t>(random()));
    switch (random() % 27) {
        case 0: return {9, {ctx(), offset, stack(), size, flags}};
        case 1: return {26, {ctx(), offset, stack(), size}};
        case 2: return {68, {ctx(), offset, stack(), size, number(pick(random, 0, 2))}};
        case 3:
            return {10,
                    {ctx(), offset, number(pick(random, 0, 65535)), number(pick(random, 0, 65535)),
                     number(one_of(random, {0, 2, 4, 3}))}};
        case 4: return {10, {ctx(), offset, number(0), any, number(one_of(random, {0, 2, 4}))}};
        case 5:
            return {11,
                    {ctx(), offset, any, any,
                     number(one_of(random, {0, 2, 4, 18, 20, 34, 36, 100, 132}))}};
        case 6:
            return {11, {ctx(), offset, number(0), any, number(one_of(random, {0, 16, 32, 96}))}};
        case 7:
            return {18, {ctx(), number(one_of(random, kProtocols)), number(pick(random, 0, 4095))}};
        case 8: return {19, {ctx()}};
        case 9:
            return {31,
                    {ctx(), number(one_of(random, kProtocols)), number(pick(random, 0, 8) / 8)}};
        case 10: return {32, {ctx(), number(pick(random, 0, 5))}};
        case 11: return {38, {ctx(), number(pick(random, 0, 200)), number(pick(random, 0, 8) / 8)}};
        case 12: return {39, {ctx(), number(pick(random, 0, 120))}};
        case 13: return {43, {ctx(), number(pick(random, 0, 60)), number(pick(random, 0, 8) / 8)}};
        case 14:
            return {50,
                    {ctx(), number(pick(random, -60, 60)), number(pick(random, 0, 2)),
                     number(one_of(random,
                                   {0, 0, 0, 1, 2, 4, 6, 8, 10, 12, 18, 32, 66, 128, 256, 384}))}};
        case 15: return {40, {ctx(), any}};
        case 16: return {135, {ctx(), number(pick(random, 0, 5))}};
        case 17: return {48, {ctx(), any}};
        case 18: return {41, {ctx()}};
        case 19: return {97, {ctx()}};
        case 20:
            return {28,
                    {stack(0), number(pick(random, 0, 8) * 4), stack(32),
                     number(pick(random, 0, 8) * 4), any}};
        case 21:
        case 22:
            return {21,
                    {ctx(), stack(0), number(one_of(random, {8, 22, 24, 28, 44, 44, 20})),
                     number(one_of(random, {0, 0, 1, 2, 4, 8, 16, 32}))}};
        case 23:
            return {20,
                    {ctx(), stack(0), number(one_of(random, {8, 22, 24, 28, 44, 44, 20})),
                     number(one_of(random, {0, 0, 1, 16, 17, 2}))}};
        case 24: return {30, {ctx(), stack(0), number(pick(random, 1, 12))}};
        case 25: return {29, {ctx(), stack(0), number(pick(random, 1, 24))}};
        default: return {23, {number(1), flags}};
    }
}

Step random_xdp_step(Random& random) {
    const Arg size = number(pick(random, 1, 40));
    switch (random() % 8) {
        case 0: return {44, {ctx(), number(pick(random, -240, 60))}};
        case 1: return {54, {ctx(), number(pick(random, -70, 16) * 4)}};
        case 2: return {65, {ctx(), number(pick(random, -80, 300))}};
        case 3: return {65, {ctx(), number(pick(random, 3000, 4000))}};
        case 4: return {189, {ctx(), number(pick(random, 0, 90)), stack(), size}};
        case 5: return {190, {ctx(), number(pick(random, 0, 90)), stack(), size}};
        case 6: return {188, {ctx()}};
        default:
            return {28,
                    {stack(0), number(pick(random, 0, 8) * 4), stack(32),
                     number(pick(random, 0, 8) * 4), number(static_cast<int32_t>(random()))}};
    }
}

struct Scenario {
    std::vector<Step> steps;
    std::array<uint64_t, kStackBytes / 8> fill{};
    std::vector<std::byte> packet;
};

std::string describe(const Scenario& scenario) {
    std::ostringstream out;
    for (const Step& step : scenario.steps) {
        out << find_helper(step.helper)->name << '(';
        for (const Arg& arg : step.args) {
            if (arg.what == Arg::What::Ctx)
                out << "ctx, ";
            else if (arg.what == Arg::What::Stack)
                out << "stack+" << arg.value << ", ";
            else
                out << arg.value << ", ";
        }
        out << "); ";
    }
    out << "packet of " << scenario.packet.size() << " bytes, protocol " << std::hex
        << static_cast<int>(scenario.packet[12]) << ' ' << static_cast<int>(scenario.packet[13]);
    return out.str();
}

// r7 = a hash over every result and what the calls left on the stack.
std::vector<RawInsn> program_of(const Scenario& scenario, bool last_result = false) {
    std::vector<RawInsn> code = {{0xbf, 0x16, 0, 0}, {0xb7, 0x07, 0, 0}};
    const auto wide = [&](uint8_t reg, uint64_t value) {
        code.push_back({0x18, reg, 0, static_cast<int32_t>(value)});
        code.push_back({0x00, 0, 0, static_cast<int32_t>(value >> 32)});
    };
    const auto refill = [&] {
        for (unsigned i = 0; i < scenario.fill.size(); ++i) {
            wide(1, scenario.fill[i]);
            code.push_back({0x7b, 0x1a, static_cast<int16_t>(int(i * 8) - int(kStackBytes)), 0});
        }
    };
    refill();
    const auto mix = [&](uint8_t reg) {
        code.push_back({0x27, 0x07, 0, 31});
        code.push_back({0x0f, static_cast<uint8_t>(reg << 4 | 7), 0, 0});
    };
    for (const Step& step : scenario.steps) {
        uint8_t reg = 1;
        for (const Arg& arg : step.args) {
            switch (arg.what) {
                case Arg::What::Ctx:
                    code.push_back({0xbf, static_cast<uint8_t>(0x60 | reg), 0, 0});
                    break;
                case Arg::What::Number: code.push_back({0xb7, reg, 0, arg.value}); break;
                case Arg::What::Stack:
                    code.push_back({0xbf, static_cast<uint8_t>(0xa0 | reg), 0, 0});
                    code.push_back({0x07, reg, 0, arg.value - static_cast<int32_t>(kStackBytes)});
                    break;
            }
            ++reg;
        }
        code.push_back({0x85, 0, 0, static_cast<int32_t>(step.helper)});
        if (find_helper(step.helper)->proto.ret != RetKind::Void) mix(0);
        if (step.helper == kLeavesBuffer) {
            code.push_back({0x15, 0, static_cast<int16_t>(scenario.fill.size() * 3), 0});
            refill();
        }
        for (unsigned i = 0; i < kStackBytes / 8; ++i) {
            code.push_back({0x79, 0xa1, static_cast<int16_t>(int(i * 8) - int(kStackBytes)), 0});
            mix(1);
        }
    }
    if (!last_result) code.push_back({0xbf, 0x70, 0, 0});
    code.push_back({0x95, 0, 0, 0});
    return code;
}

// What the kernel returned step by step, for messages.
std::string kernel_results(Scenario scenario, uint32_t type, uint32_t attach) {
    std::string text = "; kernel:";
    std::vector<Step> steps = std::move(scenario.steps);
    scenario.steps.clear();
    for (const Step& step : steps) {
        scenario.steps.push_back(step);
        const test::KernelProgram program(type, program_of(scenario, true), attach);
        const test::TestRun run = test::test_run(program.fd, scenario.packet);
        text += ' ' + std::to_string(static_cast<int32_t>(run.retval)) + '/' +
                std::to_string(run.out.size());
    }
    return text;
}

// The same with our helpers, on host pointers.
uint32_t run_here(const Scenario& scenario, HelperEnv& env, void* context,
                  std::vector<int64_t>& results) {
    alignas(8) std::array<uint64_t, kStackBytes / 8> area = scenario.fill;
    uint64_t hash = 0;
    for (const Step& step : scenario.steps) {
        uint64_t r[5] = {};
        for (size_t i = 0; i < step.args.size(); ++i) {
            const Arg& arg = step.args[i];
            switch (arg.what) {
                case Arg::What::Ctx: r[i] = reinterpret_cast<uintptr_t>(context); break;
                case Arg::What::Number: r[i] = static_cast<uint64_t>(int64_t{arg.value}); break;
                case Arg::What::Stack:
                    r[i] =
                        reinterpret_cast<uintptr_t>(area.data()) + static_cast<uint64_t>(arg.value);
                    break;
            }
        }
        const Helper& helper = *find_helper(step.helper);
        const uint64_t r0 = helper.thunk(r[0], r[1], r[2], r[3], r[4], &env);
        results.push_back(static_cast<int64_t>(r0));
        if (helper.proto.ret != RetKind::Void) hash = hash * 31 + r0;
        if (step.helper == kLeavesBuffer && r0 != 0) area = scenario.fill;
        for (const uint64_t word : area) hash = hash * 31 + word;
    }
    return static_cast<uint32_t>(hash);
}

Scenario random_scenario(Random& random, bool xdp) {
    Scenario scenario;
    // Zeroes too: structs with reserved fields are refused otherwise.
    for (uint64_t& word : scenario.fill) word = random() % 2 == 0 ? 0 : random();
    scenario.packet.resize(14 + static_cast<size_t>(pick(random, 0, 106)));
    for (std::byte& byte : scenario.packet) byte = static_cast<std::byte>(random());
    // To the loopback device's address, so that the kernel says PACKET_HOST.
    for (int i = 0; i < 6; ++i) scenario.packet[i] = std::byte{0};
    const int32_t protocol = one_of(random, {0x0008, 0x0008, 0xdd86, 0xdd86, 0x0081, 0x0608});
    scenario.packet[12] = static_cast<std::byte>(protocol);
    scenario.packet[13] = static_cast<std::byte>(protocol >> 8);
    const int steps = pick(random, 1, 4);
    for (int i = 0; i < steps; ++i) {
        scenario.steps.push_back(xdp ? random_xdp_step(random) : random_tc_step(random));
    }
    return scenario;
}

bool skip_reason(std::string& reason) {
    if (test::kernel_available()) return false;
    reason = "bpf(2) is not allowed here";
    return true;
}

uint64_t fresh_seed() { return std::random_device{}(); }

std::vector<std::byte> bytes_between(const std::byte* begin, const std::byte* end) {
    return {begin, end};
}

TEST(PacketHelpersAgainstKernel, TcResultsAndPacketsAgree) {
    if (std::string reason; skip_reason(reason)) GTEST_SKIP() << reason;
    const uint64_t seed = fresh_seed();
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    int loaded = 0;
    for (int round = 0; round < 1500; ++round) {
        const Scenario scenario = random_scenario(random, false);
        const auto code = program_of(scenario);
        constexpr uint32_t kType = 3, kAttach = 0;
        const test::KernelProgram program(kType, code, kAttach);
        if (program.fd < 0) continue;
        const test::TestRun theirs = test::test_run(program.fd, scenario.packet);
        if (!theirs.ok) continue;
        ++loaded;

        std::vector<std::byte> buffer(8192);
        std::byte* data = buffer.data() + 4096;
        std::copy(scenario.packet.begin(), scenario.packet.end(), data);
        SkbContext context;
        context.packet = {buffer.data(), data, data, data + scenario.packet.size(),
                          buffer.data() + buffer.size()};
        context.len = static_cast<uint32_t>(scenario.packet.size());
        context.protocol = static_cast<uint32_t>(scenario.packet[12]) |
                           static_cast<uint32_t>(scenario.packet[13]) << 8;
        HelperEnv env;
        env.fuel = 1 << 20;
        env.ctx = &context;
        env.packet = &context.packet;
        env.layout = &kTcCtx;
        std::vector<int64_t> results;
        const uint32_t ours = run_here(scenario, env, &context, results);
        // Room behind a header that was trimmed away: Linux moves stale bytes, we say -ENOMEM.
        if (std::find(results.begin(), results.end(), -12) != results.end()) continue;
        // Out of its first headroom, Linux moves an unset transport header along.
        if (context.packet.data < data - 60) continue;
        ASSERT_EQ(ours, theirs.retval) << describe(scenario) << testing::PrintToString(results)
                                       << kernel_results(scenario, kType, kAttach);
        ASSERT_EQ(bytes_between(context.packet.data, context.packet.data_end), theirs.out)
            << describe(scenario) << testing::PrintToString(results);
    }
    EXPECT_GT(loaded, 500);
}

TEST(PacketHelpersAgainstKernel, XdpResultsAndPacketsAgree) {
    if (std::string reason; skip_reason(reason)) GTEST_SKIP() << reason;
    const uint64_t seed = fresh_seed();
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    int loaded = 0;
    for (int round = 0; round < 1500; ++round) {
        const Scenario scenario = random_scenario(random, true);
        const auto code = program_of(scenario);
        constexpr uint32_t kType = 6, kAttach = 37;
        const test::KernelProgram program(kType, code, kAttach);
        if (program.fd < 0) continue;
        const test::TestRun theirs = test::test_run(program.fd, scenario.packet);
        if (!theirs.ok) continue;
        ++loaded;

        // A page: headroom of 256 bytes, and Linux's struct skb_shared_info at the end.
        std::vector<std::byte> buffer(4096 - 320);
        std::byte* data = buffer.data() + 256;
        std::copy(scenario.packet.begin(), scenario.packet.end(), data);
        XdpContext context;
        context.packet = {buffer.data(), data, data, data + scenario.packet.size(),
                          buffer.data() + buffer.size()};
        HelperEnv env;
        env.fuel = 1 << 20;
        env.ctx = &context;
        env.packet = &context.packet;
        env.layout = &kXdpCtx;
        std::vector<int64_t> results;
        const uint32_t ours = run_here(scenario, env, &context, results);
        ASSERT_EQ(ours, theirs.retval) << describe(scenario) << testing::PrintToString(results)
                                       << kernel_results(scenario, kType, kAttach);
        ASSERT_EQ(bytes_between(context.packet.data_meta, context.packet.data_end), theirs.out)
            << describe(scenario) << testing::PrintToString(results);
    }
    EXPECT_GT(loaded, 500);
}

// The numbers of cookies are secret, in Linux as here: what must agree is which headers are
// refused, and the segment size that a cookie remembers.
TEST(PacketHelpersAgainstKernel, CookiesRememberTheSameSegmentSizes) {
    if (std::string reason; skip_reason(reason)) GTEST_SKIP() << reason;
    const uint64_t seed = fresh_seed();
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    int made = 0;
    for (int round = 0; round < 600; ++round) {
        const bool v6 = random() % 2 == 0;
        constexpr int32_t kTcpAt = 40;
        Scenario scenario = random_scenario(random, true);
        auto* bytes = reinterpret_cast<uint8_t*>(scenario.fill.data());
        // A header of 20 or 24 bytes, mostly as long as it says, often with the option.
        const int32_t size = one_of(random, {20, 24, 24, 24, 16});
        bytes[kTcpAt + 12] =
            static_cast<uint8_t>(random() % 4 == 0 ? random() : static_cast<uint64_t>(size) << 2);
        if (random() % 4 != 0) {
            bytes[kTcpAt + 20] = 2;
            bytes[kTcpAt + 21] = 4;
            bytes[kTcpAt + 22] = static_cast<uint8_t>(random() % 40);
        }
        scenario.steps = {{v6 ? 205u : 204u, {stack(0), stack(kTcpAt), number(size)}}};
        std::vector<RawInsn> code = program_of(scenario, true);
        code.pop_back();
        code.push_back({0xc5, 0x00, 1, 0});   // if r0 s< 0 goto exit
        code.push_back({0x77, 0x00, 0, 32});  // r0 >>= 32
        code.push_back({0x95, 0, 0, 0});
        const test::KernelProgram program(6, code, 37);
        if (program.fd < 0) continue;
        const test::TestRun theirs = test::test_run(program.fd, scenario.packet);
        if (!theirs.ok) continue;
        HelperEnv env;
        env.fuel = 1 << 20;
        std::vector<int64_t> results;
        run_here(scenario, env, nullptr, results);
        const int64_t ours = results[0] < 0 ? results[0] : results[0] >> 32;
        ASSERT_EQ(static_cast<uint32_t>(ours), theirs.retval) << describe(scenario);
        made += ours > 0 ? 1 : 0;
    }
    EXPECT_GT(made, 50);
}

}  // namespace
}  // namespace skep
