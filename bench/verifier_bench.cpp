// verifier_bench: the same programs through Skep's verifier and through the running kernel's, in
// one process, pinned, object by object in random turns.
//
//   verifier_bench [OPTIONS] [FOLDER or OBJECT]...   default: the objects that the tests collected
//   verifier_bench --check                           one short round (what ctest runs)
//   verifier_bench --skep                            only Skep's half, for profilers
//   verifier_bench --benchmark_repetitions=9         Google Benchmark's options work as usual
//
// A program's time is the median of its repetitions. Totals are over the programs that both accept;
// memory is what the analyses hold at most, over all programs.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include <skep/object.hpp>

#include "bench/setup.hpp"
#include "bench/verifier_kernel.hpp"
#include "bench/verifier_programs.hpp"
#include "verifier/verifier.hpp"
#include "vm/btf/btf.hpp"
#include "vm/isa/assemble.hpp"
#include "vm/prog/program.hpp"

namespace skep::bench {
namespace {

constexpr const char* kKernelTypes = "/sys/kernel/btf/vmlinux";
constexpr const char* kKconfig = "CONFIG_HZ=250\nCONFIG_X86_64=y\nCONFIG_BLK_CGROUP_IOCOST=y\n";

struct Subject {
    std::string name, unit;
    std::shared_ptr<const Program> program;
    Verdict verdict = Verdict::Rejected;
    uint64_t processed = 0, states = 0, memory = 0;
    std::vector<double> ns{};         // Skep's
    std::vector<double> kernel_us{};  // Linux's
    KernelStats kernel{};
};

double median(std::vector<double> samples) {
    if (samples.empty()) return 0;
    std::sort(samples.begin(), samples.end());
    return samples[samples.size() / 2];
}

// Programs that are measured together: an object's, or one that was made here.
struct Unit {
    std::string name;
    std::vector<Subject> subjects;
    std::unique_ptr<KernelObject> object;  // null: a raw program
    std::vector<RawInsn> slots;

    void verify(const AnalyzeOptions& options) {
        for (Subject& s : subjects) {
            const auto start = std::chrono::steady_clock::now();
            const Analysis analysis = analyze(*s.program, options);
            const std::chrono::duration<double, std::nano> took =
                std::chrono::steady_clock::now() - start;
            s.ns.push_back(took.count());
            s.verdict = analysis.verdict;
            s.processed = analysis.processed;
            s.states = analysis.states;
            s.memory = analysis.peak_memory;
        }
    }
    void ask_kernel() {
        const auto note = [](Subject& s, const KernelStats& stats) {
            s.kernel = stats;
            s.kernel_us.push_back(static_cast<double>(stats.verify_us));
        };
        if (object == nullptr) {
            constexpr uint32_t kSocketFilter = 1;
            if (const auto stats = kernel_verifies(kSocketFilter, slots)) note(subjects[0], *stats);
            return;
        }
        const auto all = object->load();
        for (Subject& s : subjects)
            if (const auto found = all.find(s.name); found != all.end()) note(s, found->second);
    }
};

std::vector<std::string> objects_under(const std::vector<std::string>& paths) {
    namespace fs = std::filesystem;
    std::vector<std::string> files;
    for (const std::string& path : paths) {
        std::error_code error;
        if (!fs::is_directory(path, error)) {
            files.push_back(path);
            continue;
        }
        for (const auto& entry : fs::recursive_directory_iterator(path, error))
            if (entry.path().extension() == ".o") files.push_back(entry.path().string());
    }
    std::sort(files.begin(), files.end());
    return files;
}

void add_object(std::vector<Unit>& units, const std::string& file,
                const std::shared_ptr<const Btf>& types, bool with_kernel) {
    OpenOptions open;
    open.target_btf = types;
    open.kconfig = kKconfig;
    const auto object = Object::open_file(file, open);
    if (!object) return;
    Unit unit;
    unit.name = std::filesystem::path(file).filename().string();
    const auto programs = object->programs();
    for (size_t i = 0; i < programs.size(); ++i) {
        if (!programs[i].autoload || programs[i].type == nullptr) continue;
        if (auto program = object->link(i))
            unit.subjects.push_back({.name = std::string(programs[i].name),
                                     .unit = unit.name,
                                     .program = std::make_shared<Program>(*std::move(program))});
    }
    if (unit.subjects.empty()) return;
    if (with_kernel) unit.object = std::make_unique<KernelObject>(file, kKconfig);
    units.push_back(std::move(unit));
}

void add_hard_programs(std::vector<Unit>& units) {
    for (const HardProgram& hard : hard_programs()) {
        const auto slots = assemble(hard.text);
        if (!slots) {
            std::fprintf(stderr, "%s: %s\n", hard.name.c_str(), slots.error().to_string().c_str());
            continue;
        }
        auto program = make_raw_program(*slots, *find_prog_type(ProgKind::SocketFilter), {});
        if (!program) continue;
        Unit unit;
        unit.name = hard.name;
        unit.slots = *slots;
        unit.subjects.push_back({.name = hard.name,
                                 .unit = "made here",
                                 .program = std::make_shared<Program>(*std::move(program))});
        units.push_back(std::move(unit));
    }
}

struct Total {
    size_t programs = 0;
    double us = 0, kernel_us = 0;
    uint64_t processed = 0, kernel_processed = 0;

    void add(const Subject& s) {
        ++programs;
        us += median(s.ns) / 1000;
        kernel_us += median(s.kernel_us);
        processed += s.processed;
        kernel_processed += s.kernel.processed;
    }
    void print(const char* title) const {
        if (programs == 0) return;
        std::printf(
            "%-14s %5zu programs  Skep %9.0f us  Linux %9.0f us  ratio %5.1f   ns per "
            "processed instruction: Skep %4.0f, Linux %4.0f   processed: Skep %llu, Linux "
            "%llu\n",
            title, programs, us, kernel_us, kernel_us / us,
            us * 1000 / static_cast<double>(processed),
            kernel_us * 1000 / static_cast<double>(kernel_processed),
            static_cast<unsigned long long>(processed),
            static_cast<unsigned long long>(kernel_processed));
    }
};

void print_row(const Subject& s) {
    const double us = median(s.ns) / 1000, kernel_us = median(s.kernel_us);
    std::printf(
        "  %-28.28s %-24.24s %9.0f us  Linux %9.0f us  ratio %6.1f  processed %8llu, Linux "
        "%8llu  states %6llu, Linux %6llu  %7.2f MiB\n",
        s.unit.c_str(), s.name.c_str(), us, kernel_us, us == 0 ? 0 : kernel_us / us,
        static_cast<unsigned long long>(s.processed),
        static_cast<unsigned long long>(s.kernel.processed),
        static_cast<unsigned long long>(s.states), static_cast<unsigned long long>(s.kernel.states),
        static_cast<double>(s.memory) / (1 << 20));
}

void print_top(const char* title, std::vector<const Subject*> rows,
               bool (*before)(const Subject*, const Subject*)) {
    constexpr size_t kRows = 12;
    std::sort(rows.begin(), rows.end(), before);
    rows.resize(std::min(rows.size(), kRows));
    if (!rows.empty()) std::printf("%s\n", title);
    for (const Subject* s : rows) print_row(*s);
}

void print_tables(const std::vector<Unit>& units) {
    Total objects, made, skep_only;
    std::vector<const Subject*> all, more;
    for (const Unit& unit : units) {
        for (const Subject& s : unit.subjects) {
            if (s.ns.empty()) continue;
            all.push_back(&s);
            const bool both = s.verdict == Verdict::Accepted && !s.kernel_us.empty();
            if (both) (unit.slots.empty() ? objects : made).add(s);
            if (both && s.processed > s.kernel.processed) more.push_back(&s);
            if (!both) skep_only.add(s);
        }
    }
    print_top("slowest:", all,
              [](const Subject* a, const Subject* b) { return median(a->ns) > median(b->ns); });
    print_top("most memory:", all,
              [](const Subject* a, const Subject* b) { return a->memory > b->memory; });
    std::printf("%zu programs process more instructions than Linux does\n", more.size());
    print_top("of these the most:", more, [](const Subject* a, const Subject* b) {
        return a->processed - a->kernel.processed > b->processed - b->kernel.processed;
    });
    objects.print("objects:");
    made.print("made here:");
    std::printf("not compared:  %5zu programs  Skep %9.0f us  %4.0f ns per processed instruction\n",
                skep_only.programs, skep_only.us,
                skep_only.processed == 0
                    ? 0
                    : skep_only.us * 1000 / static_cast<double>(skep_only.processed));
}

// Google Benchmark turns the repetitions; the tables are made of what each one measured.
class Silent final : public benchmark::BenchmarkReporter {
public:
    bool ReportContext(const Context&) override { return true; }
    void ReportRuns(const std::vector<Run>&) override {}
};

void register_unit(Unit& unit, const AnalyzeOptions& options, bool with_kernel) {
    const auto once = [](const std::string& name, auto body) {
        benchmark::RegisterBenchmark(name.c_str(), [body](benchmark::State& state) {
            for (auto _ : state) body();
        })->Iterations(1);
    };
    once(unit.name + "/skep", [&] { unit.verify(options); });
    if (with_kernel) once(unit.name + "/linux", [&] { unit.ask_kernel(); });
}

int run(int argc, char** argv) {
    bool check = false, only_skep = false;
    std::vector<std::string> paths;
    std::string defaults[] = {"--benchmark_repetitions=5",
                              "--benchmark_enable_random_interleaving=true"};
    std::vector<char*> arguments{argv[0]};
    for (std::string& option : defaults) arguments.push_back(option.data());
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--check") == 0) {
            check = true;
        } else if (std::strcmp(argv[i], "--skep") == 0) {
            only_skep = true;
        } else if (argv[i][0] == '-') {
            arguments.push_back(argv[i]);
        } else {
            paths.emplace_back(argv[i]);
        }
    }
    std::string once = "--benchmark_repetitions=1";
    if (check) arguments.push_back(once.data());
    if (paths.empty() && !check) paths.emplace_back(SKEP_CORPUS);
    int count = static_cast<int>(arguments.size());
    benchmark::Initialize(&count, arguments.data());
    if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;

    const std::string refusal = only_skep ? "not asked for" : kernel_refusal();
    if (!refusal.empty()) std::printf("without the kernel's half: %s\n", refusal.c_str());
    const bool with_kernel = refusal.empty();
    std::shared_ptr<const Btf> types;
    if (auto loaded = load_btf(kKernelTypes)) types = *std::move(loaded);
    std::vector<Unit> units;
    for (const std::string& file : objects_under(paths))
        add_object(units, file, types, with_kernel);
    add_hard_programs(units);
    AnalyzeOptions options;
    options.kernel_btf = types;
    for (Unit& unit : units) register_unit(unit, options, with_kernel);
    pin_to_one_cpu();
    Silent silent;
    benchmark::RunSpecifiedBenchmarks(&silent);
    print_tables(units);
    int refused = 0;
    for (const Unit& unit : units)
        for (const Subject& s : unit.subjects)
            if (!unit.slots.empty() && !s.ns.empty() && s.verdict != Verdict::Accepted) ++refused;
    return refused == 0 ? 0 : 1;
}

}  // namespace
}  // namespace skep::bench

int main(int argc, char** argv) { return skep::bench::run(argc, argv); }
