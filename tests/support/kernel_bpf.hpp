// The running kernel as an oracle, by bpf(2): tests that need it skip where it refuses.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <linux/bpf.h>
#include <span>
#include <string>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#include "vm/isa/insn.hpp"

namespace skep::test {

inline long bpf(int command, void* attr, unsigned size) {
    return syscall(__NR_bpf, command, attr, size);
}

// What BPF_PROG_LOAD reads, in full, whatever the installed header knows.
struct LoadAttr {
    uint32_t prog_type = 0, insn_count = 0;
    uint64_t insns = 0, license = 0;
    uint32_t log_level = 0, log_size = 0;
    uint64_t log_buf = 0;
    uint32_t kern_version = 0, prog_flags = 0;
    char prog_name[16] = "skep_test";
    uint32_t ifindex = 0, attach_type = 0;
    uint32_t btf_fd = 0, func_info_size = 0;
    uint64_t func_info = 0;
    uint32_t func_info_count = 0, line_info_size = 0;
    uint64_t line_info = 0;
    uint32_t line_info_count = 0, attach_btf_id = 0;
    uint64_t rest[5] = {};
};

class KernelProgram {
public:
    KernelProgram(uint32_t type, std::span<const RawInsn> insns, uint32_t attach_type = 0,
                  uint32_t flags = 0, bool want_log = false, const char* license = "GPL") {
        LoadAttr attr;
        attr.prog_type = type;
        attr.insn_count = static_cast<uint32_t>(insns.size());
        attr.insns = reinterpret_cast<uintptr_t>(insns.data());
        attr.license = reinterpret_cast<uintptr_t>(license);
        attr.attach_type = attach_type;
        attr.prog_flags = flags;
        if (want_log) {
            log.resize(1 << 16);
            attr.log_level = 1;
            attr.log_size = static_cast<uint32_t>(log.size());
            attr.log_buf = reinterpret_cast<uintptr_t>(log.data());
        }
        fd = static_cast<int>(bpf(BPF_PROG_LOAD, &attr, sizeof attr));
        error = fd < 0 ? errno : 0;
        log.resize(strnlen(log.data(), log.size()));
    }
    ~KernelProgram() {
        if (fd >= 0) close(fd);
    }
    KernelProgram(const KernelProgram&) = delete;
    KernelProgram& operator=(const KernelProgram&) = delete;

    int fd = -1;
    int error = 0;
    std::string log;
};

// One BPF_PROG_TEST_RUN. `out` is resized to what the kernel gave back.
struct TestRun {
    bool ok = false;
    uint32_t retval = 0;
    std::vector<std::byte> out;
    std::vector<std::byte> ctx_out;
};
inline TestRun test_run(int fd, std::span<const std::byte> data,
                        std::span<const std::byte> ctx = {}) {
    TestRun result;
    result.out.resize(data.empty() ? 0 : data.size() + 4096);
    result.ctx_out.resize(ctx.size());
    union bpf_attr attr;
    std::memset(&attr, 0, sizeof attr);
    attr.test.prog_fd = static_cast<uint32_t>(fd);
    attr.test.data_in = reinterpret_cast<uintptr_t>(data.data());
    attr.test.data_size_in = static_cast<uint32_t>(data.size());
    attr.test.data_out = reinterpret_cast<uintptr_t>(result.out.data());
    attr.test.data_size_out = static_cast<uint32_t>(result.out.size());
    attr.test.ctx_in = reinterpret_cast<uintptr_t>(ctx.data());
    attr.test.ctx_size_in = static_cast<uint32_t>(ctx.size());
    if (bpf(BPF_PROG_TEST_RUN, &attr, sizeof attr) != 0) return result;
    result.ok = true;
    result.retval = attr.test.retval;
    result.out.resize(attr.test.data_size_out);
    return result;
}

// False where bpf(2) is not allowed, or the kernel is not one whose rules the tests know.
inline bool kernel_available() {
    const RawInsn insns[] = {{0xb7, 0, 0, 0}, {0x95, 0, 0, 0}};
    return KernelProgram(BPF_PROG_TYPE_SOCKET_FILTER, insns).fd >= 0;
}

}  // namespace skep::test
