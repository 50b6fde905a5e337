#include "bench/verifier_kernel.hpp"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "tests/support/kernel_bpf.hpp"
#ifdef SKEP_HAS_LIBBPF
#include <bpf/libbpf.h>
#endif

namespace skep::bench {
namespace {

constexpr size_t kLogBytes = 4096;
constexpr uint32_t kOnlyStatistics = 4;  // log level

uint64_t number_after(const char* log, const char* words) {
    const char* at = std::strstr(log, words);
    return at == nullptr ? 0 : std::strtoull(at + std::strlen(words), nullptr, 10);
}

std::optional<KernelStats> read_log(const char* log) {
    if (std::strstr(log, "processed ") == nullptr) return std::nullopt;
    return KernelStats{number_after(log, "verification time "), number_after(log, "processed "),
                       number_after(log, "total_states ")};
}

}  // namespace

std::optional<KernelStats> kernel_verifies(uint32_t type, std::span<const RawInsn> slots) {
    std::vector<char> log(kLogBytes, '\0');
    test::LoadAttr attr;
    attr.prog_type = type;
    attr.insn_count = static_cast<uint32_t>(slots.size());
    attr.insns = reinterpret_cast<uintptr_t>(slots.data());
    attr.license = reinterpret_cast<uintptr_t>("GPL");
    attr.log_level = kOnlyStatistics;
    attr.log_size = kLogBytes;
    attr.log_buf = reinterpret_cast<uintptr_t>(log.data());
    const auto fd = static_cast<int>(test::bpf(BPF_PROG_LOAD, &attr, sizeof attr));
    if (fd < 0) return std::nullopt;
    close(fd);
    return read_log(log.data());
}

#ifdef SKEP_HAS_LIBBPF

namespace {

struct Closer {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using Handle = std::unique_ptr<bpf_object, Closer>;

Handle open(const std::string& file, const std::string& kconfig) {
    LIBBPF_OPTS(bpf_object_open_opts, opts, .kconfig = kconfig.c_str());
    bpf_object* object = bpf_object__open_file(file.c_str(), &opts);
    if (libbpf_get_error(object) != 0) return nullptr;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
        bpf_map__set_pin_path(map, nullptr);  // nothing outlives the benchmark
    }
    return Handle(object);
}

}  // namespace

std::string kernel_refusal() {
    if (!test::kernel_available()) return "bpf(2) is refused here";
    libbpf_set_print(nullptr);
    return {};
}

KernelObject::KernelObject(std::string file, std::string kconfig)
    : file_(std::move(file)), kconfig_(std::move(kconfig)) {
    std::set<std::string> names;
    {
        const Handle object = open(file_, kconfig_);
        if (object == nullptr) return;
        bpf_program* p = nullptr;
        bpf_object__for_each_program(p, object.get()) {
            if (bpf_program__autoload(p)) names.insert(bpf_program__name(p));
        }
    }
    if (!load(&names).empty()) {
        accepted_ = names;
        return;
    }
    // One that is refused hides the others.
    for (const std::string& name : names) {
        const std::set<std::string> one{name};
        if (!load(&one).empty()) accepted_.insert(name);
    }
}

std::map<std::string, KernelStats> KernelObject::load() const { return load(&accepted_); }

std::map<std::string, KernelStats> KernelObject::load(const std::set<std::string>* only) const {
    std::map<std::string, KernelStats> out;
    const Handle object = open(file_, kconfig_);
    if (object == nullptr || only->empty()) return out;
    std::map<std::string, std::vector<char>> logs;
    bpf_program* p = nullptr;
    bpf_object__for_each_program(p, object.get()) {
        const std::string name = bpf_program__name(p);
        bpf_program__set_autoload(p, only->contains(name));
        std::vector<char>& log = logs[name];
        log.assign(kLogBytes, '\0');
        bpf_program__set_log_level(p, kOnlyStatistics);
        bpf_program__set_log_buf(p, log.data(), log.size());
    }
    if (bpf_object__load(object.get()) != 0) return out;
    for (const std::string& name : *only)
        if (const auto stats = read_log(logs[name].data())) out[name] = *stats;
    return out;
}

#else

std::string kernel_refusal() { return "built without libbpf"; }
KernelObject::KernelObject(std::string, std::string) {}
std::map<std::string, KernelStats> KernelObject::load() const { return {}; }

#endif

}  // namespace skep::bench
