// What a host injects into a Vm: time, randomness, identity, output, published memory.
//
// Every function is called from running programs, on any of their threads: it must be safe to call
// concurrently, must not throw, and should not block. Empty functions mean the default.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <skep/context.hpp>

namespace skep {

class Map;

// What bpf_sk_lookup_tcp, _udp and bpf_skc_lookup_tcp ask for. Addresses and ports in network byte
// order; IPv4 addresses are the first 4 bytes.
struct SocketQuery {
    uint32_t family = 0;    // 2 AF_INET, 10 AF_INET6
    uint32_t protocol = 0;  // 6 TCP, 17 UDP
    std::byte source[16] = {}, dest[16] = {};
    uint16_t source_port = 0, dest_port = 0;
    // Of the network namespace, -1: the program's own. Interface that the packet came in on, or 0.
    int32_t netns = -1;
    uint32_t ifindex = 0;
    bool any_state = false;  // request and timewait sockets too (bpf_skc_lookup_tcp)
};

// A get- or setsockopt of a program. `value` is read (set) or to be filled in.
struct SocketOption {
    SockContext* socket = nullptr;
    int32_t level = 0, name = 0;
    bool set = false;
    std::span<std::byte> value;
};

// A call of a helper that only a kernel can serve, handed to the host.
struct HelperCall {
    std::string_view helper;   // "bpf_tcp_send_ack"
    uint64_t args[5] = {};     // registers; pointers are meaningless outside the run
    std::span<std::byte> out;  // the memory argument, if the helper has one that it writes; zeroed
    std::span<const std::byte> in;  // the one that it reads
    void* context = nullptr;        // host struct of the program's context
};

struct Services {
    // Nanoseconds; default: the operating system's clocks.
    std::function<uint64_t()> ktime_ns, boot_ns, coarse_ns, tai_ns;
    // 64 fresh random bits; default: a generator seeded from the operating system.
    std::function<uint64_t()> random;
    struct Task {
        uint32_t pid = 1, tgid = 1, uid = 0, gid = 0;
        char comm[16] = "skep";
        uint32_t ppid = 1;  // of the parent process
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
    // What bpf_get_current_task and bpf_get_current_task_btf answer: an address in `published`. 0:
    // a synthetic task_struct with what `task` says, where the Vm knows the kernel's types.
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

    // Sockets. What is handed out stays valid until the run returns; default: there is none.
    std::function<SockContext*(const SocketQuery& query)> find_socket;
    // The program gave back (or its run ended with) a socket that find_socket or map_socket found.
    std::function<void(SockContext& socket)> release_socket;
    // The socket that an entry `number` of a socket map stands for.
    std::function<SockContext*(const Map& map, uint64_t number)> map_socket;
    // Options of a socket; default: what SockContext has of SOL_SOCKET (mark, priority, device),
    // else -ENOPROTOOPT.
    std::function<int64_t(const SocketOption& option)> sockopt;
    // bpf_bind: the address as struct sockaddr; default: -EOPNOTSUPP.
    std::function<int64_t(SockAddrContext& context, std::span<const std::byte> address)> bind;

    // The key of SYN cookies; 0: a random one of the process.
    uint64_t syncookie_secret[2] = {};

    // What seq_printf, seq_write and seq_printf_btf write; default: dropped.
    std::function<void(std::span<const std::byte> text)> seq;
    // A mapping of the current task (bpf_find_vma): fills in start and end of the one that holds
    // `address`; default: none, -ENOENT.
    std::function<bool(uint64_t address, uint64_t& start, uint64_t& end)> find_mapping;
    // The name of a struct path at `path`: writes it without NUL, returns its length, or a negative
    // errno; default: names are put together from published directory entries.
    std::function<int64_t(uint64_t path, std::span<char> name)> path_name;
    // Address of a kernel symbol (bpf_kallsyms_lookup_name), 0 = unknown; default: all unknown.
    std::function<uint64_t(std::string_view name)> symbol;
    // Helpers that only a kernel can serve (`skep helpers` names them); nothing: the run ends with
    // the trap `unsupported`, which is also the default.
    std::function<std::optional<int64_t>(const HelperCall& call)> helper;
};

}  // namespace skep
