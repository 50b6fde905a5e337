// Programs of tests/elf/kfuncs/kfuncs.c on every engine, verified and in the sandbox; and a host's
// own functions called by name.
#include <gtest/gtest.h>
#include <numeric>

#include <skep/vm.hpp>

namespace skep {
namespace {

struct Setting {
    Engine engine;
    Mode mode;
};
std::vector<Setting> settings() {
    std::vector<Setting> all;
    for (const Engine engine : {Engine::Interpreter, Engine::Default})
        for (const Mode mode : {Mode::Verified, Mode::Sandbox}) all.push_back({engine, mode});
    return all;
}

RunResult run_on_packet(const LoadedProgram& program) {
    std::vector<std::byte> buffer(512);
    for (unsigned i = 0; i < 64; ++i) buffer[128 + i] = static_cast<std::byte>(i);
    XdpContext context{};
    context.packet.head = context.packet.data_meta = buffer.data();
    context.packet.data = context.packet.data_meta = buffer.data() + 128;
    context.packet.data_end = buffer.data() + 192;
    context.packet.hard_end = buffer.data() + buffer.size();
    return program.run(context);
}

TEST(KfuncRun, EveryProgramOnEveryEngine) {
    for (const std::string file :
         {SKEP_KFUNC_OBJECTS "/kfuncs.v2.o", SKEP_KFUNC_OBJECTS "/kfuncs.v3.o"}) {
        const auto object = Object::open_file(file);
        ASSERT_TRUE(object) << object.error().to_string();
        for (const Setting& setting : settings()) {
            VmOptions options;
            options.engine = setting.engine;
            options.mode = setting.mode;
            auto vm = Vm::create(options);
            ASSERT_TRUE(vm);
            for (const auto& program : object->programs()) {
                if (!program.name.starts_with("run_")) continue;
                SCOPED_TRACE(file + " " + std::string(program.name) +
                             (setting.mode == Mode::Sandbox ? " sandbox" : " verified") +
                             (setting.engine == Engine::Interpreter ? " interpreter" : ""));
                auto loaded = vm->load(*object, program.name);
                ASSERT_TRUE(loaded) << loaded.error().to_string();
                const RunResult result = run_on_packet(*loaded);
                EXPECT_EQ(name_of(result.trap), name_of(TrapCode::None));
                EXPECT_EQ(static_cast<uint32_t>(result.r0), 1u);
            }
        }
    }
}

int32_t host_length(ReadMemOrEmpty bytes) noexcept { return static_cast<int32_t>(bytes.size); }
bool host_is_seven(uint32_t value) noexcept { return value == 7; }

TEST(KfuncRun, HostsBringTheirOwn) {
    for (const std::string file : {SKEP_KFUNC_OBJECTS "/host_kfuncs.v2.o"}) {
        const auto object = Object::open_file(file);
        ASSERT_TRUE(object) << object.error().to_string();
        for (const Setting& setting : settings()) {
            SCOPED_TRACE(file + (setting.mode == Mode::Sandbox ? " sandbox" : " verified"));
            VmOptions options;
            options.engine = setting.engine;
            options.mode = setting.mode;
            auto vm = Vm::create(options);
            ASSERT_TRUE(vm);
            // Without the functions nothing is loaded verified, and the call traps in a sandbox.
            auto without = vm->load(*object, "asks_host");
            EXPECT_EQ(without.has_value(), setting.mode == Mode::Sandbox);
            if (without) {
                EXPECT_EQ(run_on_packet(*without).trap, TrapCode::Unsupported);
            }

            ASSERT_TRUE(vm->add_kfunc(make_kfunc<&host_length>("host_length")));
            ASSERT_TRUE(vm->add_kfunc(make_kfunc<&host_is_seven>("host_is_seven")));
            EXPECT_FALSE(vm->add_kfunc(make_kfunc<&host_length>("host_length")));
            auto loaded = vm->load(*object, "asks_host");
            ASSERT_TRUE(loaded) << loaded.error().to_string();
            const RunResult result = run_on_packet(*loaded);
            EXPECT_EQ(name_of(result.trap), name_of(TrapCode::None));
            EXPECT_EQ(static_cast<uint32_t>(result.r0), 8u);

            // Memory that is not the program's: refused when it is loaded, or when it runs.
            auto wrong = vm->load(*object, "asks_wrongly");
            EXPECT_EQ(wrong.has_value(), setting.mode == Mode::Sandbox);
            if (wrong) {
                EXPECT_EQ(run_on_packet(*wrong).trap, TrapCode::BadArgument);
            }
        }
    }
}

}  // namespace
}  // namespace skep
