// packets_bench OBJECT PCAP [PROGRAM]: packets per second of an XDP program over a capture, by Skep
// (verified, native code, through the public API: one call for each packet, and one for a burst of
// them) and by the running kernel's BPF_PROG_TEST_RUN on the same packets. Verdicts must agree
// before anything is timed. Chunks of all alternate on one CPU; the middle one of each packet's
// rounds counts.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <sched.h>
#include <vector>

#include <skep/context.hpp>
#include <skep/vm.hpp>

#include "bench/kernel_load.hpp"
#include "tools/capture.hpp"
#include "vm/base/try.hpp"

namespace skep::bench {
namespace {

constexpr uint32_t kBurst = 32, kRepeat = 64 * kBurst;
constexpr int kRounds = 9;
constexpr uint32_t kHeadroom = 256, kTailroom = 320;

double cpu_ns() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

void pin() {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(::sched_getcpu(), &one);
    ::sched_setaffinity(0, sizeof(one), &one);
}

class Packet {
public:
    explicit Packet(std::span<const std::byte> data)
        : data_(data), buffer_(kHeadroom + data.size() + kTailroom) {}
    // For every run the bounds afresh; the kernel does not even that between repetitions.
    void set_bounds(XdpContext& context) {
        std::byte* start = buffer_.data() + kHeadroom;
        context.packet.head = buffer_.data();
        context.packet.data_meta = context.packet.data = start;
        context.packet.data_end = start + data_.size();
        context.packet.hard_end = buffer_.data() + buffer_.size();
    }
    void fill() { std::copy(data_.begin(), data_.end(), buffer_.begin() + kHeadroom); }
    std::span<const std::byte> data() const { return data_; }

private:
    std::span<const std::byte> data_;
    std::vector<std::byte> buffer_;
};

double skep_ns(const LoadedProgram& program, Packet& packet, uint64_t& verdict) {
    packet.fill();
    XdpContext context;
    context.ingress_ifindex = 1;
    const double start = cpu_ns();
    for (uint32_t i = 0; i < kRepeat; ++i) {
        packet.set_bounds(context);
        verdict = program.run(context).r0;
    }
    return (cpu_ns() - start) / kRepeat;
}

double skep_burst_ns(const LoadedProgram& program, Packet& packet, uint64_t& verdict) {
    packet.fill();
    XdpContext contexts[kBurst];
    RunResult results[kBurst];
    for (XdpContext& context : contexts) context.ingress_ifindex = 1;
    const double start = cpu_ns();
    for (uint32_t i = 0; i < kRepeat; i += kBurst) {
        for (XdpContext& context : contexts) packet.set_bounds(context);
        program.run(contexts, results);
        verdict = results[kBurst - 1].r0;
    }
    return (cpu_ns() - start) / kRepeat;
}

double middle(std::vector<double>& samples) {
    std::sort(samples.begin(), samples.end());
    return samples[samples.size() / 2];
}

Result<void> run(const char* object_file, const char* capture_file, const char* name) {
    SKEP_TRY(const Object object, Object::open_file(object_file));
    SKEP_TRY(Vm vm, Vm::create({.policy = Policy::Linux}));
    SKEP_TRY(const LoadedProgram program, vm.load(object, name));
    SKEP_TRY(const Program linked, object.link(name));
    SKEP_TRY(const KernelObject kernel, KernelObject::load(linked, plain_kernel_map));
    SKEP_TRY(const tool::Capture capture, tool::read_capture(capture_file));
    pin();
    const double fixed = empty_test_run_ns();
    double single = 0, burst = 0, theirs = 0;
    size_t count = 0;
    for (const tool::Frame& frame : capture.frames) {
        Packet packet(capture.data(frame));
        if (packet.data().size() < 14) continue;
        std::vector<double> single_samples, burst_samples, kernel_samples;
        for (int round = 0; round < kRounds; ++round) {
            uint64_t verdicts[2] = {};
            uint32_t retval = 0;
            double ns = 0;
            single_samples.push_back(skep_ns(program, packet, verdicts[0]));
            burst_samples.push_back(skep_burst_ns(program, packet, verdicts[1]));
            if (!test_run(kernel.program(), packet.data(), kRepeat, retval, ns))
                return fail(ErrorCode::Os, std::strerror(errno));
            for (const uint64_t verdict : verdicts) {
                if (static_cast<uint32_t>(verdict) == retval) continue;
                return fail(ErrorCode::Internal, "packet " + std::to_string(count + 1) +
                                                     ": verdict " + std::to_string(verdict) +
                                                     ", the kernel's is " + std::to_string(retval));
            }
            kernel_samples.push_back(ns);
        }
        single += middle(single_samples);
        burst += middle(burst_samples);
        theirs += middle(kernel_samples);
        ++count;
    }
    if (count == 0) return fail(ErrorCode::NotFound, "no packets");
    const auto packets = static_cast<double>(count);
    const auto line = [&](const char* who, double ns) {
        std::printf("  %-14s %7.1f ns per packet, %6.2f M packets/s, %5.2f times the kernel's\n",
                    who, ns / packets, 1e3 * packets / ns, theirs / ns);
    };
    std::printf("%s, %zu packets\n", object_file, count);
    line("skep, bursts", burst);
    line("skep, single", single);
    line("kernel", theirs);
    std::printf("  (%.1f ns of the kernel's are test_run's own)\n", fixed);
    return {};
}

}  // namespace
}  // namespace skep::bench

int main(int argc, char** argv) {
    if (argc < 3 || argc > 4) {
        std::fprintf(stderr, "usage: packets_bench OBJECT PCAP [PROGRAM]\n");
        return 2;
    }
    const auto done = skep::bench::run(argv[1], argv[2], argc > 3 ? argv[3] : "");
    if (done) return 0;
    std::fprintf(stderr, "%s\n", done.error().to_string().c_str());
    return 1;
}
