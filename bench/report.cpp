#include "bench/report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace skep::bench {
namespace {

bool is_compute(Group group) { return group == Group::Compute; }
bool is_call(Group group) { return group == Group::Calls; }
bool is_no_copy(Group group) { return group != Group::Copy; }
bool is_any(Group) { return true; }

}  // namespace

void TableReporter::ReportRuns(const std::vector<Run>& runs) {
    for (const Run& run : runs) {
        if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
        // "fnv1a/interp", then what the library adds.
        const std::string& name = run.run_name.function_name;
        // CPU time: a kernel never waits, so what is missing is other processes' time. Engines that
        // measure themselves report what they measured as real time.
        const bool own_time = !run.run_name.time_type.empty();
        samples_[name].push_back(own_time ? run.GetAdjustedRealTime() : run.GetAdjustedCPUTime());
    }
}

double TableReporter::median(const std::string& kernel, const std::string& engine) const {
    const auto found = samples_.find(kernel + "/" + engine);
    if (found == samples_.end() || found->second.empty()) return 0;
    std::vector<double> sorted = found->second;
    std::sort(sorted.begin(), sorted.end());
    const size_t half = sorted.size() / 2;
    return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

double TableReporter::ratio(const Row& row, size_t engine) const {
    const double native = median(row.name, engines_[0]);
    return native <= 0 ? 0 : median(row.name, engines_[engine]) / native;
}

double TableReporter::geomean(size_t engine, size_t base, const Wanted& wanted) const {
    double sum = 0;
    size_t count = 0;
    for (const Row& row : rows_) {
        const double time = median(row.name, engines_[engine]);
        const double other = median(row.name, engines_[base]);
        if (!wanted(row.group) || time <= 0 || other <= 0) continue;
        sum += std::log(time / other);
        ++count;
    }
    return count == 0 ? 0 : std::exp(sum / static_cast<double>(count));
}

void TableReporter::print_ratios() const {
    std::printf("\n%-14s %8s %11s", "times native", "insns", "native ns");
    for (size_t e = 1; e < engines_.size(); ++e) std::printf(" %11s", engines_[e].c_str());
    std::printf("\n");
    for (const Row& row : rows_) {
        if (median(row.name, engines_[0]) <= 0) continue;
        std::printf("%-14s %8llu %11.1f", row.name.c_str(),
                    static_cast<unsigned long long>(row.executed), median(row.name, engines_[0]));
        for (size_t e = 1; e < engines_.size(); ++e) {
            if (const double r = ratio(row, e); r > 0)
                std::printf(" %10.2fx", r);
            else
                std::printf(" %11s", "-");
        }
        std::printf("\n");
    }
}

void TableReporter::print_geomeans() const {
    const struct {
        const char* title;
        Wanted wanted;
    } lines[] = {{"compute", is_compute},
                 {"maps, helpers", is_call},
                 {"both", is_no_copy},
                 {"with copies", is_any}};
    for (const auto& line : lines) {
        std::printf("geomean %-27s", line.title);
        for (size_t e = 1; e < engines_.size(); ++e) {
            if (const double mean = geomean(e, 0, line.wanted); mean > 0)
                std::printf(" %10.2fx", mean);
            else
                std::printf(" %11s", "-");
        }
        std::printf("\n");
    }
    std::printf("%-35s", "ns per instruction, compute");
    for (size_t e = 1; e < engines_.size(); ++e) {
        double sum = 0, count = 0;
        for (const Row& row : rows_) {
            const double time = median(row.name, engines_[e]);
            if (!is_compute(row.group) || time <= 0) continue;
            sum += std::log(time / static_cast<double>(row.executed));
            ++count;
        }
        std::printf(" %11.2f", count == 0 ? 0 : std::exp(sum / count));
    }
    std::printf("\n");
    // Engines that ran less than all are compared on what they ran.
    const auto kernel = std::find(engines_.begin(), engines_.end(), "kernel");
    if (kernel == engines_.end()) return;
    const auto base = static_cast<size_t>(kernel - engines_.begin());
    std::printf("%-35s", "times the running kernel, compute");
    for (size_t e = 1; e < engines_.size(); ++e)
        std::printf(" %10.2fx", geomean(e, base, is_compute));
    std::printf("\n");
}

void TableReporter::print_code() const {
    std::printf("\n%-35s", "native code");
    for (size_t e = 1; e < engines_.size(); ++e) std::printf(" %11s", engines_[e].c_str());
    for (const bool bytes : {true, false}) {
        std::printf("\n%-35s", bytes ? "bytes per instruction" : "compile ns per instruction");
        for (size_t e = 1; e < engines_.size(); ++e) {
            double sum = 0, count = 0;
            for (const Row& row : rows_) {
                const auto code = row.code.find(engines_[e]);
                if (code == row.code.end() || code->second.bytes == 0) continue;
                const uint64_t value = bytes ? code->second.bytes : code->second.compile_ns;
                if (value == 0) continue;
                sum += std::log(static_cast<double>(value) / static_cast<double>(row.slots));
                ++count;
            }
            if (count == 0)
                std::printf(" %11s", "-");
            else
                std::printf(" %11.2f", std::exp(sum / count));
        }
    }
    std::printf("\n");
}

void TableReporter::Finalize() {
    print_ratios();
    print_geomeans();
    print_code();
}

}  // namespace skep::bench
