// The call floor: what a run costs before the program does anything. An empty program (r0 = 0;
// exit) through the public API, by context, mode and engine; beside it a call of an empty native
// function through a pointer, which is the least that any of this could cost.
#include <benchmark/benchmark.h>

#include <skep/vm.hpp>

namespace skep {
namespace {

struct Setting {
    Mode mode;
    Engine engine;
    std::string_view type;
};

constexpr uint64_t kEmptyProgram[] = {0x00000000000000b7, 0x0000000000000095};

Result<LoadedProgram> load(const Setting& setting, std::vector<Vm>& keep) {
    auto vm = Vm::create({.engine = setting.engine, .mode = setting.mode});
    if (!vm) return std::unexpected(vm.error());
    auto program = vm->load_raw(kEmptyProgram, setting.type);
    keep.push_back(*std::move(vm));
    return program;
}

template <class Context>
void run_all(benchmark::State& state, const LoadedProgram& program, Context& context) {
    for (auto _ : state) {
        const RunResult result = program.run(context);
        if (!result.ok()) [[unlikely]] {
            state.SkipWithError("the program trapped");
            return;
        }
        benchmark::DoNotOptimize(result.r0);
    }
}

void floor_bench(benchmark::State& state, Setting setting) {
    std::vector<Vm> keep;
    const auto program = load(setting, keep);
    if (!program) {
        state.SkipWithError(program.error().to_string().c_str());
        return;
    }
    std::byte bytes[256] = {};
    if (setting.type == "raw") {
        BytesContext context{bytes, sizeof(bytes)};
        run_all(state, *program, context);
    } else {
        XdpContext context;
        context.packet = {bytes, bytes + 64, bytes + 64, bytes + 128, bytes + 256};
        run_all(state, *program, context);
    }
}

[[gnu::noinline]] uint64_t nothing(void*) {
    uint64_t zero = 0;
    benchmark::DoNotOptimize(zero);
    return zero;
}

void native_call(benchmark::State& state) {
    uint64_t (*function)(void*) = nothing;
    benchmark::DoNotOptimize(function);
    for (auto _ : state) benchmark::DoNotOptimize(function(nullptr));
}

BENCHMARK(native_call);
#define SKEP_FLOOR(name, mode, engine, type) \
    BENCHMARK_CAPTURE(floor_bench, name, Setting{Mode::mode, Engine::engine, type})
SKEP_FLOOR(raw_jit, Verified, Jit, "raw");
SKEP_FLOOR(xdp_jit, Verified, Jit, "xdp");
SKEP_FLOOR(raw_interpreter, Verified, Interpreter, "raw");
SKEP_FLOOR(xdp_interpreter, Verified, Interpreter, "xdp");
SKEP_FLOOR(raw_sandbox_jit, Sandbox, Jit, "raw");
SKEP_FLOOR(xdp_sandbox_jit, Sandbox, Jit, "xdp");

}  // namespace
}  // namespace skep

BENCHMARK_MAIN();
