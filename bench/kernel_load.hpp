// A linked program of an object, with its maps, loaded into the running kernel by bpf(2).
#pragma once

#include <memory>
#include <vector>

#include <skep/error.hpp>
#include <skep/map.hpp>

#include "vm/prog/program.hpp"

namespace skep::bench {

inline constexpr uint32_t kXdpProgram = 6;  // BPF_PROG_TYPE_XDP

class KernelObject {
public:
    ~KernelObject();
    KernelObject(KernelObject&&) noexcept = default;
    KernelObject& operator=(KernelObject&&) noexcept = default;

    // `make_map` gives the file descriptor of each of the program's maps. Errors: what the kernel
    // refused; callbacks, for which it wants types.
    static Result<KernelObject> load(const Program& program,
                                     Result<int> (*make_map)(const MapDef& def));
    int program() const { return fds_->program; }

private:
    struct Fds {
        int program = -1;
        std::vector<int> maps;
    };
    KernelObject() : fds_(std::make_unique<Fds>()) {}
    std::unique_ptr<Fds> fds_;
};

// A map with the definition's contents, frozen if it says so.
Result<int> plain_kernel_map(const MapDef& def);

// One BPF_PROG_TEST_RUN of `repeat` runs on `packet`: what the program returned, and nanoseconds
// per run as the kernel counts them. False (and errno) if the kernel refuses.
bool test_run(int program, std::span<const std::byte> packet, uint32_t repeat, uint32_t& retval,
              double& ns);
// What test_run() reports for a program that does nothing.
double empty_test_run_ns();

}  // namespace skep::bench
