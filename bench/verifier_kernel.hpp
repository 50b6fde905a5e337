// The running kernel's verifier on the programs of an object, through libbpf, and on raw programs.
//
// Times are what the kernel says itself ("verification time"), so neither system calls nor maps
// nor libbpf's own work are in them.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "vm/isa/insn.hpp"

namespace skep::bench {

struct KernelStats {
    uint64_t verify_us = 0;
    uint64_t processed = 0;
    uint64_t states = 0;
};

// Why the kernel cannot be asked here; empty if it can.
std::string kernel_refusal();

// One object. Which of its programs the kernel accepts is found out at construction.
class KernelObject {
public:
    KernelObject(std::string file, std::string kconfig);
    // Accepted programs, by function name.
    const std::set<std::string>& accepted() const { return accepted_; }
    // Loads these programs and unloads them; by function name.
    std::map<std::string, KernelStats> load() const;

private:
    std::map<std::string, KernelStats> load(const std::set<std::string>* only) const;

    std::string file_, kconfig_;
    std::set<std::string> accepted_;
};

// A program without maps; nothing if the kernel refuses it.
std::optional<KernelStats> kernel_verifies(uint32_t type, std::span<const RawInsn> slots);

}  // namespace skep::bench
