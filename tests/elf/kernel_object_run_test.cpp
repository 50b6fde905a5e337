// Programs of tests/elf/kfuncs/kernel_objects.c on every engine, verified and in the sandbox. Their
// types are the running kernel's; without them the test is skipped.
#include <cstring>
#include <gtest/gtest.h>

#include <skep/vm.hpp>

#include "tests/support/ways.hpp"

namespace skep {
namespace {

using test::kWays;
using test::Way;

std::shared_ptr<const Btf> kernel_types() {
    auto types = load_btf("/sys/kernel/btf/vmlinux");
    return types ? *std::move(types) : nullptr;
}

RunResult run(const LoadedProgram& program, const ObjectProgram& info) {
    std::vector<std::byte> buffer(512);
    PacketBuffer packet;
    packet.head = buffer.data();
    packet.data = packet.data_meta = buffer.data() + 128;
    packet.data_end = buffer.data() + 192;
    packet.hard_end = buffer.data() + buffer.size();
    if (info.type_name == "xdp") {
        XdpContext context{};
        context.packet = packet;
        context.ingress_ifindex = 5;
        context.rx_queue_index = 3;
        return program.run(context);
    }
    if (info.type_name == "sched_cls") {
        SkbContext context{};
        context.packet = packet;
        context.len = 64;
        context.mark = 21;
        context.ifindex = 5;
        TcpSockFields tcp{.snd_cwnd = 33};
        SockContext socket{.family = 2, .type = 1, .protocol = 6, .tcp = &tcp};
        context.sk = &socket;
        return program.run(context);
    }
    BytesContext context{buffer.data(), 64};
    return program.run(context);
}

TEST(KernelObjects, EveryProgramInEveryWay) {
    OpenOptions open;
    open.target_btf = kernel_types();
    if (open.target_btf == nullptr) GTEST_SKIP() << "this kernel gives no types";
    for (const std::string file : {SKEP_KFUNC_OBJECTS "/kernel_objects.v3.o"}) {
        const auto object = Object::open_file(file, open);
        ASSERT_TRUE(object) << object.error().to_string();
        for (const Way& way : kWays) {
            VmOptions options;
            options.engine = way.engine;
            options.mode = way.mode;
            options.policy = Policy::Linux;
            options.kernel_btf = [&] { return open.target_btf; };
            options.services.cgroup_id = 9;
            options.services.ktime_ns = [] { return uint64_t{1'000'000'000}; };
            options.services.task = [] { return Services::Task{.pid = 77, .tgid = 70, .ppid = 1}; };
            auto vm = Vm::create(options);
            ASSERT_TRUE(vm) << vm.error().to_string();
            for (const auto& program : object->programs()) {
                SCOPED_TRACE(std::string(program.name) + ", " + way.name);
                auto loaded = vm->load(*object, program.name);
                EXPECT_TRUE(loaded) << loaded.error().to_string();
                for (int again = 0; loaded && again < 2; ++again) {
                    const RunResult result = run(*loaded, program);
                    const auto due = vm->run_timers(1'000'000'000);
                    EXPECT_TRUE(due && due->trapped == 0);
                    EXPECT_EQ(name_of(result.trap), name_of(TrapCode::None))
                        << loaded->describe(result).message;
                    EXPECT_EQ(static_cast<uint32_t>(result.r0), 1u) << "the line that failed";
                }
            }
        }
    }
}

}  // namespace
}  // namespace skep
