#include "bench/kernel_load.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/support/kernel_bpf.hpp"
#include "vm/base/try.hpp"
#include "vm/isa/codec.hpp"

namespace skep::bench {

using test::bpf;

KernelObject::~KernelObject() {
    if (fds_ == nullptr) return;
    if (fds_->program >= 0) ::close(fds_->program);
    for (const int fd : fds_->maps) ::close(fd);
}

Result<KernelObject> KernelObject::load(const Program& program,
                                        Result<int> (*make_map)(const MapDef& def)) {
    KernelObject object;
    for (const auto& def : program.maps) {
        SKEP_TRY(const int fd, make_map(*def));
        object.fds_->maps.push_back(fd);
    }
    std::vector<RawInsn> insns;
    for (uint32_t slot = 0; slot < program.insns.size(); ++slot) {
        const Insn& insn = program.insns[slot];
        RawInsn raw = encode(insn, slot);
        if (insn.kind == Kind::Imm64 && insn.pseudo_imm() != PseudoImm::Value) {
            const PseudoImm pseudo = insn.pseudo_imm();
            if (pseudo == PseudoImm::Func || pseudo == PseudoImm::BtfId)
                return fail(ErrorCode::Os, "the kernel wants types for callbacks and variables");
            const bool value = pseudo == PseudoImm::MapValue || pseudo == PseudoImm::MapIdxValue;
            raw.regs = static_cast<uint8_t>(insn.dst | (value ? 2 : 1) << 4);
            raw.imm = object.fds_->maps[static_cast<uint32_t>(insn.imm)];
        }
        insns.push_back(raw);
    }
    test::LoadAttr attr;
    attr.prog_type = kXdpProgram;
    attr.insn_count = static_cast<uint32_t>(insns.size());
    attr.insns = reinterpret_cast<uintptr_t>(insns.data());
    attr.license = reinterpret_cast<uintptr_t>("GPL");
    object.fds_->program = static_cast<int>(bpf(BPF_PROG_LOAD, &attr, sizeof(attr)));
    if (object.fds_->program >= 0) return object;
    return fail(ErrorCode::Os, std::string("the kernel refused it: ") + std::strerror(errno));
}

Result<int> plain_kernel_map(const MapDef& def) {
    union bpf_attr attr;
    std::memset(&attr, 0, sizeof(attr));
    attr.map_type = static_cast<uint32_t>(def.type);
    attr.key_size = def.key_size;
    attr.value_size = def.value_size;
    attr.max_entries = def.max_entries;
    attr.map_flags = def.flags;
    const int fd = static_cast<int>(bpf(BPF_MAP_CREATE, &attr, sizeof(attr)));
    if (fd < 0) return fail(ErrorCode::Os, def.name + ": " + std::strerror(errno));
    if (!def.contents.empty()) {
        const uint32_t key = 0;
        std::memset(&attr, 0, sizeof(attr));
        attr.map_fd = static_cast<uint32_t>(fd);
        attr.key = reinterpret_cast<uintptr_t>(&key);
        attr.value = reinterpret_cast<uintptr_t>(def.contents.data());
        bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
    }
    if (def.frozen) {
        std::memset(&attr, 0, sizeof(attr));
        attr.map_fd = static_cast<uint32_t>(fd);
        bpf(BPF_MAP_FREEZE, &attr, sizeof(attr));
    }
    return fd;
}

bool test_run(int program, std::span<const std::byte> packet, uint32_t repeat, uint32_t& retval,
              double& ns) {
    union bpf_attr attr;
    std::memset(&attr, 0, sizeof(attr));
    attr.test.prog_fd = static_cast<uint32_t>(program);
    attr.test.data_in = reinterpret_cast<uintptr_t>(packet.data());
    attr.test.data_size_in = static_cast<uint32_t>(packet.size());
    attr.test.repeat = repeat;
    if (bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr)) != 0) return false;
    retval = attr.test.retval;
    ns = attr.test.duration;
    return true;
}

double empty_test_run_ns() {
    const RawInsn insns[] = {{0xb7, 0, 0, 0}, {0x95, 0, 0, 0}};
    const test::KernelProgram program(kXdpProgram, insns);
    const std::byte packet[64] = {};
    double samples[15] = {};
    for (double& sample : samples) {
        uint32_t retval = 0;
        if (program.fd < 0 || !test_run(program.fd, packet, 5000, retval, sample)) return 0;
    }
    std::sort(std::begin(samples), std::end(samples));
    return samples[std::size(samples) / 2];
}

}  // namespace skep::bench
