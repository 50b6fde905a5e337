// Loading programs into the running kernel for its verdict and its log. Needs root; tests skip
// where bpf(2) is refused.
#pragma once

#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <unistd.h>

#include "tests/support/kernel_bpf.hpp"
#include "vm/isa/insn.hpp"

namespace skep::test {

struct KernelVerdict {
    bool accepted = false;
    int error = 0;
    std::string log;
};

inline KernelVerdict kernel_verdict(uint32_t type, std::span<const RawInsn> insns,
                                    uint32_t log_level, std::string& buffer) {
    LoadAttr attr;
    attr.prog_type = type;
    attr.insn_count = static_cast<uint32_t>(insns.size());
    attr.insns = reinterpret_cast<uintptr_t>(insns.data());
    attr.license = reinterpret_cast<uintptr_t>("GPL");
    if (log_level != 0) {
        buffer.resize(1 << 20);
        buffer[0] = 0;
        attr.log_level = log_level;
        attr.log_size = static_cast<uint32_t>(buffer.size());
        attr.log_buf = reinterpret_cast<uintptr_t>(buffer.data());
    }
    KernelVerdict out;
    const auto fd = static_cast<int>(bpf(BPF_PROG_LOAD, &attr, sizeof attr));
    out.accepted = fd >= 0;
    out.error = fd < 0 ? errno : 0;
    if (log_level != 0) out.log = buffer.c_str();
    if (fd >= 0) close(fd);
    return out;
}

// An array map's descriptor, closed on destruction.
class KernelMap {
public:
    KernelMap(uint32_t type, uint32_t key, uint32_t value, uint32_t entries) {
        union bpf_attr attr;
        std::memset(&attr, 0, sizeof attr);
        attr.map_type = type;
        attr.key_size = key;
        attr.value_size = value;
        attr.max_entries = entries;
        fd = static_cast<int>(bpf(BPF_MAP_CREATE, &attr, sizeof attr));
    }
    ~KernelMap() {
        if (fd >= 0) close(fd);
    }
    KernelMap(const KernelMap&) = delete;
    KernelMap& operator=(const KernelMap&) = delete;
    int fd = -1;
};

// Wire forms.
namespace wire {
constexpr RawInsn alu(AluOp op, bool is64, unsigned dst, int32_t imm, int16_t off = 0) {
    constexpr uint8_t codes[] = {
#define SKEP_ALU(Name, code, sign, mnemonic) code,
#include "vm/isa/opcodes.def"
    };
    return {
        static_cast<uint8_t>(codes[static_cast<unsigned>(op)] | (is64 ? kClassAlu64 : kClassAlu)),
        static_cast<uint8_t>(dst), off, imm};
}
constexpr RawInsn alu_reg(AluOp op, bool is64, unsigned dst, unsigned src, int16_t off = 0) {
    RawInsn i = alu(op, is64, dst, 0, off);
    i.opcode |= kSourceReg;
    i.regs = static_cast<uint8_t>(dst | src << 4);
    return i;
}
constexpr RawInsn mov(unsigned dst, int32_t imm) { return alu(AluOp::Mov, true, dst, imm); }
constexpr RawInsn mov_reg(unsigned dst, unsigned src) {
    return alu_reg(AluOp::Mov, true, dst, src);
}
constexpr RawInsn branch(CondOp op, bool is64, unsigned dst, int32_t imm, int16_t off) {
    constexpr uint8_t codes[] = {
#define SKEP_COND(Name, code, sign, mnemonic) code,
#include "vm/isa/opcodes.def"
    };
    return {
        static_cast<uint8_t>(codes[static_cast<unsigned>(op)] | (is64 ? kClassJmp : kClassJmp32)),
        static_cast<uint8_t>(dst), off, imm};
}
constexpr RawInsn branch_reg(CondOp op, bool is64, unsigned dst, unsigned src, int16_t off) {
    RawInsn i = branch(op, is64, dst, 0, off);
    i.opcode |= kSourceReg;
    i.regs = static_cast<uint8_t>(dst | src << 4);
    return i;
}
constexpr uint8_t size_code(unsigned bytes) {
    return bytes == 1 ? 0x10 : bytes == 2 ? 0x08 : bytes == 4 ? 0x00 : 0x18;
}
constexpr RawInsn load(unsigned bytes, unsigned dst, unsigned src, int16_t off) {
    return {static_cast<uint8_t>(kClassLdx | kModeMem | size_code(bytes)),
            static_cast<uint8_t>(dst | src << 4), off, 0};
}
constexpr RawInsn store(unsigned bytes, unsigned dst, int16_t off, unsigned src) {
    return {static_cast<uint8_t>(kClassStx | kModeMem | size_code(bytes)),
            static_cast<uint8_t>(dst | src << 4), off, 0};
}
constexpr RawInsn store_imm(unsigned bytes, unsigned dst, int16_t off, int32_t imm) {
    return {static_cast<uint8_t>(kClassSt | kModeMem | size_code(bytes)), static_cast<uint8_t>(dst),
            off, imm};
}
constexpr RawInsn jump(int16_t off) { return {kClassJmp | kCodeJa, 0, off, 0}; }
constexpr RawInsn call(int32_t helper) { return {kClassJmp | kCodeCall, 0, 0, helper}; }
constexpr RawInsn exit() { return {kClassJmp | kCodeExit, 0, 0, 0}; }
}  // namespace wire

}  // namespace skep::test
