// Medians per kernel and engine, the tables of ratios, and the chart.
#pragma once

#include <benchmark/benchmark.h>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "bench/engines.hpp"
#include "bench/kernels.hpp"

namespace skep::bench {

// Collects every repetition of "kernel/engine"; prints the tables at the end.
class TableReporter final : public benchmark::BenchmarkReporter {
public:
    struct Row {
        std::string name;
        Group group;
        uint64_t executed;                         // BPF instructions per run
        uint64_t slots;                            // of the program
        std::map<std::string, Runner::Code> code;  // by engine
    };
    TableReporter(std::vector<Row> rows, std::vector<std::string> engines)
        : rows_(std::move(rows)), engines_(std::move(engines)) {}

    bool ReportContext(const Context&) override { return true; }
    void ReportRuns(const std::vector<Run>& runs) override;
    void Finalize() override;

    // The ratios to native as a chart; false (and errno) if the file cannot be written.
    bool write_svg(const std::string& file) const;

private:
    using Wanted = std::function<bool(Group)>;
    // Nanoseconds per run; 0 if it was not measured.
    double median(const std::string& kernel, const std::string& engine) const;
    double ratio(const Row& row, size_t engine) const;  // to native; 0 if not measured
    // Over the kernels that both engines ran; 0 if there are none.
    double geomean(size_t engine, size_t base, const Wanted& wanted) const;
    void print_ratios() const;
    void print_geomeans() const;
    void print_code() const;

    std::vector<Row> rows_;
    std::vector<std::string> engines_;
    std::map<std::string, std::vector<double>> samples_;
};

}  // namespace skep::bench
