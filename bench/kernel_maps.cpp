// kernel_maps_bench: map operations of compiled programs against the running kernel's, one and two
// threads, in one process.
//
//   kernel_maps_bench           the table: ns per operation net of the loop, and ratios
//   kernel_maps_bench --check   only loads and runs each program once
//   kernel_maps_bench --benchmark_filter=hash   Google Benchmark's options work as usual
//
// Repetitions of all benchmarks are interleaved at random; the table shows medians of the threads'
// CPU time (of the system call too, where the kernel runs the program). One more thread of the
// process holds a CPU slot all the time and does nothing, so that Skep's maps never have the
// process to themselves. Where bpf(2) is refused, the kernel's column is empty.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <sched.h>
#include <string>
#include <thread>
#include <vector>

#include "bench/map_sides.hpp"
#include "bench/setup.hpp"
#include "vm/sync/slots.hpp"

namespace skep::bench {
namespace {

constexpr uint32_t kRunsPerIteration = 2000;

// The n-th CPU from the end that the process may use.
void pin(unsigned n) {
    static const cpu_set_t allowed = [] {
        cpu_set_t set;
        CPU_ZERO(&set);
        sched_getaffinity(0, sizeof(set), &set);
        return set;
    }();
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; --cpu) {
        if (!CPU_ISSET(cpu, &allowed) || n-- != 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof(one), &one);
        return;
    }
}

// Holds a CPU slot for as long as it lives.
class Bystander {
public:
    Bystander() : thread_([this] { wait(); }) {}
    ~Bystander() {
        {
            const std::scoped_lock lock(mutex_);
            over_ = true;
        }
        changed_.notify_one();
        thread_.join();
    }

private:
    void wait() {
        if (sync::enter()) sync::leave();
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return over_; });
    }
    std::mutex mutex_;
    std::condition_variable changed_;
    bool over_ = false;
    std::thread thread_;
};

void time_runs(benchmark::State& state, MapSide& side, bool ring) {
    pin(static_cast<unsigned>(state.thread_index()));
    for (auto _ : state) {
        if (!side.run(kRunsPerIteration)) {
            state.SkipWithError("a run failed");
            break;
        }
        if (!ring) continue;
        state.PauseTiming();
        side.empty_ring();
        state.ResumeTiming();
    }
}

// Medians of the repetitions of "shape/side/threads:n", per operation.
class Report final : public benchmark::BenchmarkReporter {
public:
    bool ReportContext(const Context&) override { return true; }
    void ReportRuns(const std::vector<Run>& runs) override {
        for (const Run& run : runs) {
            if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
            samples_[run.run_name.function_name + "/" + std::to_string(run.threads)].push_back(
                run.GetAdjustedCPUTime() / kRunsPerIteration / kOpsPerRun);
        }
    }
    void Finalize() override {
        std::printf("\nns per operation net of the loop (kernel %.2f, skep %.2f)\n",
                    median("loop", "kernel", 1), median("loop", "skep", 1));
        std::printf("%-20s %9s %9s %7s %8s   %9s %9s   %11s\n", "shape", "kernel", "skep", "ratio",
                    "gate", "kernel 2T", "skep 2T", "slower by");
        for (const MapShape& shape : map_shapes()) {
            if (shape.has_map()) print(shape);
        }
    }

private:
    double median(std::string_view shape, const char* side, int threads) const {
        const auto found =
            samples_.find(std::string(shape) + "/" + side + "/" + std::to_string(threads));
        if (found == samples_.end()) return 0;
        std::vector<double> sorted = found->second;
        std::sort(sorted.begin(), sorted.end());
        return sorted[sorted.size() / 2];
    }
    double net(std::string_view shape, const char* side, int threads) const {
        const double gross = median(shape, side, threads);
        return gross == 0 ? 0 : std::max(0.0, gross - median("loop", side, 1));
    }
    void print(const MapShape& shape) const {
        const double kernel = net(shape.name, "kernel", 1), skep = net(shape.name, "skep", 1);
        const double kernel2 = net(shape.name, "kernel", 2), skep2 = net(shape.name, "skep", 2);
        const double gate = kernel * shape.part + shape.slack_ns;
        std::printf("%-20.*s %9.2f %9.2f %7.2f %8s   %9.2f %9.2f   %5.2f %5.2f\n",
                    static_cast<int>(shape.name.size()), shape.name.data(), kernel, skep,
                    kernel > 0 ? skep / kernel : 0,
                    kernel <= 0    ? "-"
                    : skep <= gate ? "reached"
                                   : "missed",
                    kernel2, skep2, kernel > 0 ? kernel2 / kernel : 0, skep > 0 ? skep2 / skep : 0);
    }

    std::map<std::string, std::vector<double>> samples_;
};

struct Loaded {
    std::string name;
    std::unique_ptr<MapSide> side;
    bool ring = false;
};

// Loads every shape on both sides and runs it once. The number of failures of Skep's.
int load_all(std::vector<Loaded>& loaded) {
    int failures = 0;
    std::string kernel_refuses;
    for (const MapShape& shape : map_shapes()) {
        const std::string name(shape.name);
        auto skep = skep_side(shape);
        if (!skep || !(*skep)->run(1)) {
            std::fprintf(stderr, "%s: %s\n", name.c_str(),
                         skep ? "a run failed" : skep.error().to_string().c_str());
            ++failures;
            continue;
        }
        loaded.push_back({name + "/skep", *std::move(skep), shape.is_ring()});
        auto kernel = kernel_side(shape);
        if (kernel && (*kernel)->run(1)) {
            loaded.push_back({name + "/kernel", *std::move(kernel), shape.is_ring()});
        } else if (kernel_refuses.empty()) {
            kernel_refuses = kernel ? "a run failed" : kernel.error().to_string();
            std::fprintf(stderr, "without the kernel's figures: %s: %s\n", name.c_str(),
                         kernel_refuses.c_str());
        }
    }
    return failures;
}

int run(int argc, char** argv) {
    const Bystander bystander;
    std::vector<Loaded> loaded;
    const int failures = load_all(loaded);
    std::printf("%zu programs, %d failures\n", loaded.size(), failures);
    if (argc > 1 && std::strcmp(argv[1], "--check") == 0) return failures == 0 ? 0 : 1;

    for (const Loaded& each : loaded) {
        auto* registered = benchmark::RegisterBenchmark(
            each.name.c_str(), [&side = *each.side, ring = each.ring](benchmark::State& state) {
                time_runs(state, side, ring);
            });
        registered->Threads(1);
        // Emptying a ring is one thread's business.
        if (!each.ring) registered->Threads(2);
    }
    if (!initialize(argc, argv, 7, "0.01")) return 2;
    Report report;
    benchmark::RunSpecifiedBenchmarks(&report);
    return failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace skep::bench

int main(int argc, char** argv) { return skep::bench::run(argc, argv); }
