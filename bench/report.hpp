// Medians per kernel and engine, and the table of ratios.
#pragma once

#include <benchmark/benchmark.h>
#include <map>
#include <string>
#include <vector>

#include "bench/kernels.hpp"

namespace skep::bench {

// Collects every repetition of "kernel/engine"; prints one table at the end.
class TableReporter final : public benchmark::BenchmarkReporter {
public:
    struct Row {
        std::string name;
        Group group;
        uint64_t executed;  // BPF instructions per run
    };
    TableReporter(std::vector<Row> rows, std::vector<std::string> engines)
        : rows_(std::move(rows)), engines_(std::move(engines)) {}

    bool ReportContext(const Context&) override { return true; }
    void ReportRuns(const std::vector<Run>& runs) override;
    void Finalize() override;

private:
    // Nanoseconds per run; 0 if it was not measured.
    double median(const std::string& kernel, const std::string& engine) const;
    void print_averages(const char* title, bool copies) const;

    std::vector<Row> rows_;
    std::vector<std::string> engines_;
    std::map<std::string, std::vector<double>> samples_;
};

}  // namespace skep::bench
