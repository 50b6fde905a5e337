#include "bench/kernel_engine.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <sys/mman.h>
#include <sys/resource.h>

#include "bench/call_maps.hpp"
#include "bench/kernel_load.hpp"
#include "tests/support/kernel_bpf.hpp"
#include "vm/base/try.hpp"

namespace skep::bench {
namespace {

using test::bpf;

constexpr RawInsn kSetR2{0xb7, 2, 0, static_cast<int32_t>(kMemoryBytes)};

union bpf_attr zeroed() {
    union bpf_attr attr;
    std::memset(&attr, 0, sizeof(attr));
    return attr;
}

constexpr std::byte kPacket[64] = {};

class KernelRunner final : public Runner {
public:
    ~KernelRunner() override {
        if (value_ != MAP_FAILED) ::munmap(value_, kMemoryBytes);
        if (map_ >= 0) ::close(map_);
    }

    Result<void> load(const Kernel& kernel) {
        if (kernel.group == Group::Calls) return load_object(kernel);
        auto attr = zeroed();
        attr.map_type = BPF_MAP_TYPE_ARRAY;
        attr.key_size = 4;
        attr.value_size = kMemoryBytes;
        attr.max_entries = 1;
        attr.map_flags = 1u << 10;  // BPF_F_MMAPABLE
        map_ = static_cast<int>(bpf(BPF_MAP_CREATE, &attr, sizeof(attr)));
        if (map_ < 0) return fail(ErrorCode::Os, std::strerror(errno));
        value_ = ::mmap(nullptr, kMemoryBytes, PROT_READ | PROT_WRITE, MAP_SHARED, map_, 0);
        if (value_ == MAP_FAILED) return fail(ErrorCode::Os, std::strerror(errno));
        // r1 = the value's address, r2 = its size, then the kernel as it is.
        std::vector<RawInsn> insns{{0x18, 1 | 2 << 4, 0, map_}, {}, kSetR2};
        insns.insert(insns.end(), kernel.slots.begin(), kernel.slots.end());
        return load_program(insns);
    }

    Result<uint64_t> check(std::span<uint8_t> memory) override {
        if (value_ != MAP_FAILED) std::memcpy(value_, memory.data(), kMemoryBytes);
        uint32_t retval = 0;
        double ns = 0;
        if (!test_run(fd(), kPacket, 1, retval, ns))
            return fail(ErrorCode::Os, std::strerror(errno));
        if (value_ != MAP_FAILED) std::memcpy(memory.data(), value_, kMemoryBytes);
        return retval;
    }
    uint64_t run(std::span<uint8_t>) override { return 0; }
    bool short_result() const override { return true; }

    double timed_run_ns() override {
        static const double fixed = empty_test_run_ns();
        uint32_t retval = 0;
        double ns = 0;
        if (repeat_ == 0) {
            if (!test_run(fd(), kPacket, 100, retval, ns)) return 0;
            // The kernel's clock also counts other processes' time: samples much shorter than a
            // time slice, the middle one of some.
            constexpr double kSampleNs = 2e5;
            repeat_ = static_cast<uint32_t>(std::clamp(kSampleNs / std::max(ns, 1.0), 10., 1e4));
        }
        double samples[7] = {};
        for (double& sample : samples) {
            if (!test_run(fd(), kPacket, repeat_, retval, sample)) return 0;
        }
        std::sort(std::begin(samples), std::end(samples));
        return std::max(samples[std::size(samples) / 2] - fixed, 0.1);
    }
    Code code() const override {
        struct bpf_prog_info info;
        std::memset(&info, 0, sizeof(info));
        auto attr = zeroed();
        attr.info.bpf_fd = static_cast<uint32_t>(fd());
        attr.info.info_len = sizeof(info);
        attr.info.info = reinterpret_cast<uintptr_t>(&info);
        if (bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)) != 0) return {};
        return {.bytes = info.jited_prog_len};
    }

private:
    // The object's program, with its maps as the kernel's.
    Result<void> load_object(const Kernel& kernel) {
        SKEP_TRY(const auto program, linked_program(kernel));
        SKEP_TRY(auto object, KernelObject::load(*program, filled_kernel_map));
        object_.emplace(std::move(object));
        return {};
    }
    int fd() const { return object_ ? object_->program() : program_->fd; }
    Result<void> load_program(std::span<const RawInsn> insns) {
        program_ = std::make_unique<test::KernelProgram>(kXdpProgram, insns, 0, 0, false);
        if (program_->fd >= 0) return {};
        return fail(ErrorCode::Os,
                    std::string("the kernel refused it: ") + std::strerror(program_->error));
    }

    std::optional<KernelObject> object_;
    int map_ = -1;
    void* value_ = MAP_FAILED;
    uint32_t repeat_ = 0;
    std::unique_ptr<test::KernelProgram> program_;
};

}  // namespace

bool kernel_engine_available() { return test::kernel_available(); }

Result<std::unique_ptr<Runner>> load_into_kernel(const Kernel& kernel) {
    auto runner = std::make_unique<KernelRunner>();
    if (auto loaded = runner->load(kernel); !loaded) return std::unexpected(loaded.error());
    return runner;
}

}  // namespace skep::bench
