// What the benchmarks' main functions share.
#pragma once

#include <benchmark/benchmark.h>
#include <sched.h>
#include <string>
#include <vector>

namespace skep::bench {

// The last CPU that the process may use: the first one serves more interrupts.
inline void pin_to_one_cpu() {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; --cpu) {
        if (!CPU_ISSET(cpu, &allowed)) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        sched_setaffinity(0, sizeof(one), &one);
        return;
    }
}

// Google Benchmark's options: repetitions in random order, `min_time` seconds each; the command
// line, which comes later, can change them. False, with a message, for an unknown option.
inline bool initialize(int argc, char** argv, int repetitions, const char* min_time) {
    std::string defaults[] = {"--benchmark_repetitions=" + std::to_string(repetitions),
                              "--benchmark_min_time=" + std::string(min_time),
                              "--benchmark_enable_random_interleaving=true"};
    std::vector<char*> arguments{argv[0]};
    for (std::string& option : defaults) arguments.push_back(option.data());
    arguments.insert(arguments.end(), argv + 1, argv + argc);
    int count = static_cast<int>(arguments.size());
    benchmark::Initialize(&count, arguments.data());
    return !benchmark::ReportUnrecognizedArguments(count, arguments.data());
}

}  // namespace skep::bench
