// What a host injects into a Vm: time, randomness, identity, output, published memory.
//
// Every function is called from running programs, on any of their threads: it must be safe to call
// concurrently, must not throw, and should not block. Empty functions mean the default.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace skep {

struct Services {
    // Nanoseconds; default: the operating system's clocks.
    std::function<uint64_t()> ktime_ns, boot_ns, coarse_ns, tai_ns;
    // 64 fresh random bits; default: a generator seeded from the operating system.
    std::function<uint64_t()> random;
    struct Task {
        uint32_t pid = 1, tgid = 1, uid = 0, gid = 0;
        char comm[16] = "skep";
    };
    // Who the programs believe to run as; default: Task{}.
    std::function<Task()> task;
    // One bpf_printk line, without newline; default: dropped.
    std::function<void(std::string_view line)> trace;
    // What get_smp_processor_id says; -1: the run's CPU slot.
    int32_t cpu = -1;
    // Memory that probe_read* may reach, sorted by `address`, disjoint. Borrowed for the Vm's life.
    struct Range {
        uint64_t address = 0;  // as the program names it
        const std::byte* data = nullptr;
        uint64_t size = 0;  // bytes
    };
    std::vector<Range> published;
};

}  // namespace skep
