// An XDP filter: counts the packets of each transport protocol and drops DNS over UDP.
//
//   clang -g -O2 -target bpf -c tools/examples/dns_guard.c -o dns_guard.o
//   skep run dns_guard.o --pcap traffic.pcap --dump-map packets
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct counter {
    __u64 packets;
    __u64 bytes;
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 256);
    __type(key, __u8);  // IPPROTO_...
    __type(value, struct counter);
} packets SEC(".maps");

const volatile __u16 blocked_port = 53;  // skep run --set blocked_port=123

static void count(__u8 protocol, __u64 bytes) {
    struct counter *seen = bpf_map_lookup_elem(&packets, &protocol);
    if (seen) {
        __sync_fetch_and_add(&seen->packets, 1);
        __sync_fetch_and_add(&seen->bytes, bytes);
    } else {
        struct counter first = {1, bytes};
        bpf_map_update_elem(&packets, &protocol, &first, BPF_ANY);
    }
}

SEC("xdp")
int dns_guard(struct xdp_md *ctx) {
    void *data = (void *)(long)ctx->data;
    void *end = (void *)(long)ctx->data_end;

    struct ethhdr *eth = data;
    struct iphdr *ip = (void *)(eth + 1);
    if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP)) return XDP_PASS;
    count(ip->protocol, end - data);
    if (ip->protocol != IPPROTO_UDP || ip->ihl != 5) return XDP_PASS;

    struct udphdr *udp = (void *)(ip + 1);
    if ((void *)(udp + 1) > end) return XDP_PASS;
    return udp->dest == bpf_htons(blocked_port) ? XDP_DROP : XDP_PASS;
}

char LICENSE[] SEC("license") = "MIT";
