#include "bench/report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace skep::bench {

void TableReporter::ReportRuns(const std::vector<Run>& runs) {
    for (const Run& run : runs) {
        if (run.run_type != Run::RT_Iteration || run.error_occurred) continue;
        // "fnv1a/interp", then what the library adds.
        const std::string& name = run.run_name.function_name;
        // CPU time: a kernel never waits, so what is missing is other processes' time.
        samples_[name].push_back(run.GetAdjustedCPUTime());
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

void TableReporter::print_averages(const char* title, bool copies) const {
    std::printf("%-14s %8s %11s", title, "", "");
    for (size_t e = 1; e < engines_.size(); ++e) {
        double per_insn = 0, ratio = 0;
        size_t count = 0;
        for (const Row& row : rows_) {
            if (!copies && row.group == Group::Copy) continue;
            const double native = median(row.name, engines_[0]);
            const double time = median(row.name, engines_[e]);
            if (native <= 0 || time <= 0) continue;
            per_insn += std::log(time / static_cast<double>(row.executed));
            ratio += std::log(time / native);
            ++count;
        }
        if (count == 0) {
            std::printf(" %12s %8s", "-", "-");
            continue;
        }
        const auto n = static_cast<double>(count);
        std::printf(" %12.2f %7.2fx", std::exp(per_insn / n), std::exp(ratio / n));
    }
    std::printf("\n");
}

void TableReporter::Finalize() {
    std::printf("\n%-14s %8s %11s", "kernel", "insns", "native ns");
    for (size_t e = 1; e < engines_.size(); ++e) {
        std::printf(" %12s %8s", ("ns/i " + engines_[e]).substr(0, 12).c_str(), "/native");
    }
    std::printf("\n");
    for (const Row& row : rows_) {
        const double native = median(row.name, engines_[0]);
        if (native <= 0) continue;
        std::printf("%-14s %8llu %11.1f", row.name.c_str(),
                    static_cast<unsigned long long>(row.executed), native);
        for (size_t e = 1; e < engines_.size(); ++e) {
            const double time = median(row.name, engines_[e]);
            if (time <= 0) {
                std::printf(" %12s %8s", "-", "-");
            } else {
                std::printf(" %12.2f %7.2fx", time / static_cast<double>(row.executed),
                            time / native);
            }
        }
        std::printf("\n");
    }
    print_averages("geomean", false);
    print_averages("with copies", true);
}

}  // namespace skep::bench
