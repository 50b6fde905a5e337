// skep_bench: every engine on every kernel, in one process.
//
//   skep_bench                              the tables: times as ratios to native code, geomeans,
//                                           compile time and code bytes per instruction
//   skep_bench --svg FILE                   the ratios as a chart, too
//   skep_bench --check                      only compare results (what ctest runs)
//   skep_bench --benchmark_filter=sha256    Google Benchmark's options work as usual
//
// Where bpf(2) may be used, the running kernel's JIT is one of the engines: the same bytecode, run
// by BPF_PROG_TEST_RUN, whose own cost (that of an empty program) is subtracted.
//
// Every engine's result and memory must equal the reference interpreter's before anything is timed.
// Repetitions of all benchmarks are interleaved at random and pinned to one CPU; the table shows
// medians of the repetitions. ns per instruction divides by what the reference counted.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bench/call_maps.hpp"
#include "bench/engines.hpp"
#include "bench/kernels.hpp"
#include "bench/report.hpp"
#include "bench/setup.hpp"
#include "tests/support/reference.hpp"
#include "vm/isa/codec.hpp"

namespace skep::bench {
namespace {

// What a kernel must give, counted by the reference.
struct Expected {
    uint64_t r0 = 0;
    uint64_t executed = 0;
    std::vector<uint8_t> memory;
};

Result<Expected> reference(const Kernel& kernel) {
    if (kernel.group == Group::Calls) {
        // The reference knows no maps: native code says what is right.
        Expected expected;
        expected.memory = fresh_memory();
        expected.r0 = kernel.native(expected.memory.data(), expected.memory.size());
        return expected;
    }
    auto insns = decode(kernel.slots);
    if (!insns) return std::unexpected(insns.error());
    Expected expected;
    expected.memory = fresh_memory();
    const auto result = test::run_raw(*insns, expected.memory);
    if (result.trap != TrapCode::None) {
        return fail(ErrorCode::Internal, "trapped: " + std::string(text_of(result.trap)),
                    Where{.slot = result.slot});
    }
    expected.r0 = result.r0;
    expected.executed = result.executed;
    return expected;
}

// Loads the kernel and compares two runs, the second on what the first left behind.
Result<std::unique_ptr<Runner>> load_checked(const Engine& engine, const Kernel& kernel,
                                             const Expected& expected) {
    auto runner = engine.load(kernel);
    if (!runner) return runner;
    std::vector<uint8_t> memory = fresh_memory();
    for (int round = 0; round < 2; ++round) {
        const auto r0 = (*runner)->check(memory);
        if (!r0) return std::unexpected(r0.error());
        const bool equal = (*runner)->short_result()
                               ? static_cast<uint32_t>(*r0) == static_cast<uint32_t>(expected.r0)
                               : *r0 == expected.r0;
        if (!equal || memory != expected.memory) {
            return fail(ErrorCode::Internal,
                        "r0 is " + std::to_string(*r0) + ", the reference says " +
                            std::to_string(expected.r0) +
                            (memory == expected.memory ? "" : "; memory differs"));
        }
    }
    return runner;
}

void time_runs(benchmark::State& state, Runner& runner) {
    if (const double ns = runner.timed_run_ns(); ns > 0) {
        for (auto _ : state) state.SetIterationTime(runner.timed_run_ns() * 1e-9);
        return;
    }
    std::vector<uint8_t> memory = fresh_memory();
    for (auto _ : state) benchmark::DoNotOptimize(runner.run(memory));
}

// Takes `--svg FILE` out of the arguments.
std::string take_svg(int& argc, char** argv) {
    for (int i = 1; i + 1 < argc; ++i) {
        if (std::strcmp(argv[i], "--svg") != 0) continue;
        std::string file = argv[i + 1];
        std::rotate(argv + i, argv + i + 2, argv + argc);
        argc -= 2;
        return file;
    }
    return {};
}

uint64_t slots_of(const Kernel& kernel) {
    if (kernel.group != Group::Calls) return kernel.slots.size();
    const auto program = linked_program(kernel);
    return program ? (*program)->insns.size() : 0;
}

void register_benchmark(const std::string& name, Runner& runner) {
    auto* registered = benchmark::RegisterBenchmark(
        name.c_str(), [&runner](benchmark::State& state) { time_runs(state, runner); });
    if (runner.timed_run_ns() > 0) registered->UseManualTime()->Iterations(1);
}

int run(int argc, char** argv) {
    const bool only_check = argc > 1 && std::strcmp(argv[1], "--check") == 0;
    const std::string svg = take_svg(argc, argv);
    const std::vector<Kernel> all = kernels();
    if (const auto made = make_native_maps(); !made) {
        std::fprintf(stderr, "maps: %s\n", made.error().to_string().c_str());
        return 1;
    }
    std::vector<TableReporter::Row> rows;
    std::vector<std::unique_ptr<Runner>> runners;
    int failures = 0;
    for (const Kernel& kernel : all) {
        const auto expected = reference(kernel);
        if (!expected) {
            std::fprintf(stderr, "%s: %s\n", std::string(kernel.name).c_str(),
                         expected.error().to_string().c_str());
            ++failures;
            continue;
        }
        rows.push_back(
            {std::string(kernel.name), kernel.group, expected->executed, slots_of(kernel), {}});
        for (const Engine& engine : engines()) {
            if (only_check && engine.optional) continue;
            auto runner = load_checked(engine, kernel, *expected);
            const std::string name = std::string(kernel.name) + "/" + std::string(engine.name);
            if (!runner && runner.error().code == ErrorCode::UnsupportedInsn) continue;
            if (!runner && engine.optional) {
                std::fprintf(stderr, "%s: %s\n", name.c_str(), runner.error().to_string().c_str());
                continue;
            }
            if (!runner) {
                std::fprintf(stderr, "%s: %s\n", name.c_str(), runner.error().to_string().c_str());
                ++failures;
                continue;
            }
            Runner& loaded = *runners.emplace_back(*std::move(runner));
            rows.back().code[std::string(engine.name)] = loaded.code();
            register_benchmark(name, loaded);
        }
    }
    std::printf("%zu kernels, %zu engines, %d failures\n", rows.size(), engines().size(), failures);
    if (only_check) return failures == 0 ? 0 : 1;

    if (!initialize(argc, argv, 7, "0.005")) return 2;
    pin_to_one_cpu();
    std::vector<std::string> names;
    for (const Engine& engine : engines()) names.emplace_back(engine.name);
    TableReporter reporter(std::move(rows), std::move(names));
    benchmark::RunSpecifiedBenchmarks(&reporter);
    if (!svg.empty() && !reporter.write_svg(svg)) {
        std::fprintf(stderr, "%s: %s\n", svg.c_str(), std::strerror(errno));
        return 1;
    }
    return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace skep::bench

int main(int argc, char** argv) { return skep::bench::run(argc, argv); }
