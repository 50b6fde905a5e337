// What a host injects into a Vm: time, randomness, identity, output, published memory.
//
// Every function is called from running programs, on any of their threads: it must be safe to call
// concurrently, must not throw, and should not block. Empty functions mean the default.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
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
    // What bpf_fib_lookup answers: fills `params` (struct bpf_fib_lookup), returns 0 or one of
    // BPF_FIB_LKUP_RET_*; default: 4, not forwarded.
    std::function<int64_t(std::span<std::byte> params, uint32_t flags)> fib_lookup;
    // The MTU of an interface, 0 if there is none; default: 1500 for all.
    std::function<uint32_t(uint32_t ifindex)> mtu;
    // Takes the copy that bpf_clone_redirect sends; default: dropped.
    std::function<int64_t(std::span<const std::byte> packet, uint32_t ifindex, uint64_t flags)>
        clone_redirect;
    // bpf_send_signal and bpf_send_signal_thread; default: -EPERM.
    std::function<int64_t(uint32_t signal, bool thread)> send_signal;
    // Fills in the addresses of the current stack, innermost first, and returns their number;
    // default: none, get_stack and get_stackid say -EFAULT.
    std::function<size_t(std::span<uint64_t> frames, bool user)> stack;
    // What bpf_get_current_task answers: an address in `published`, or 0.
    uint64_t current_task = 0;
    uint64_t cgroup_id = 1;  // of the current task; 1 is the root
    uint64_t netns_cookie = 1;
    // Memory that probe_read* may reach, sorted by `address`, disjoint. Borrowed for the Vm's life.
    struct Range {
        uint64_t address = 0;  // as the program names it
        const std::byte* data = nullptr;
        uint64_t size = 0;  // bytes
    };
    std::vector<Range> published;
};

}  // namespace skep
