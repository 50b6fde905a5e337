// Contexts: what the host hands to a run. Plain structs that the host fills in; all pointers are
// borrowed until the run returns. Fields are in host byte order unless their name says otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace skep {

// A packet in a buffer with room around it. head <= data_meta <= data <= data_end <= hard_end.
// Helpers that move the bounds (adjust_head, adjust_tail, adjust_room ...) change the four inner
// pointers and stay inside [head, hard_end).
struct PacketBuffer {
    std::byte* head = nullptr;       // start of the buffer: headroom begins here
    std::byte* data_meta = nullptr;  // start of the metadata; equals data when there is none
    std::byte* data = nullptr;
    std::byte* data_end = nullptr;
    std::byte* hard_end = nullptr;  // end of the buffer: tailroom ends here
};

// struct xdp_md.
struct XdpContext {
    PacketBuffer packet;
    uint32_t ingress_ifindex = 0;
    uint32_t rx_queue_index = 0;
    uint32_t egress_ifindex = 0;
};

// struct bpf_tcp_sock, with its layout in memory: programs read it directly.
struct TcpSockFields {
    uint32_t snd_cwnd = 0;
    uint32_t srtt_us = 0;
    uint32_t rtt_min = 0;
    uint32_t snd_ssthresh = 0;
    uint32_t rcv_nxt = 0;
    uint32_t snd_nxt = 0;
    uint32_t snd_una = 0;
    uint32_t mss_cache = 0;
    uint32_t ecn_flags = 0;
    uint32_t rate_delivered = 0;
    uint32_t rate_interval_us = 0;
    uint32_t packets_out = 0;
    uint32_t retrans_out = 0;
    uint32_t total_retrans = 0;
    uint32_t segs_in = 0;
    uint32_t data_segs_in = 0;
    uint32_t segs_out = 0;
    uint32_t data_segs_out = 0;
    uint32_t lost_out = 0;
    uint32_t sacked_out = 0;
    uint64_t bytes_received = 0;
    uint64_t bytes_acked = 0;
    uint32_t dsack_dups = 0;
    uint32_t delivered = 0;
    uint32_t delivered_ce = 0;
    uint32_t icsk_retransmits = 0;
};
static_assert(sizeof(TcpSockFields) == 112);

// struct bpf_sock: a socket as programs see it. Addresses and dst_port in network byte order.
struct SockContext {
    uint32_t bound_dev_if = 0;
    uint32_t family = 0;
    uint32_t type = 0;
    uint32_t protocol = 0;
    uint32_t mark = 0;
    uint32_t priority = 0;
    uint32_t src_ip4 = 0;
    uint32_t src_ip6[4] = {};
    uint32_t src_port = 0;  // host byte order
    uint16_t dst_port = 0;  // network byte order
    uint16_t zero = 0;
    uint32_t dst_ip4 = 0;
    uint32_t dst_ip6[4] = {};
    uint32_t state = 0;
    int32_t rx_queue_mapping = -1;
    // Not in the UAPI struct: what helpers say about the socket.
    uint64_t cookie = 0;
    uint32_t uid = 65534;
    bool full = true;  // false: a request or timewait socket
    bool ipv6_only = false;
    uint64_t cgroup_id = 0;
    uint64_t netns_cookie = 0;        // 0: Services::netns_cookie
    TcpSockFields* tcp = nullptr;     // TCP sockets
    SockContext* listener = nullptr;  // the listening socket of a connection
};

// struct bpf_flow_keys, with its layout in memory: programs read and write it directly.
struct FlowKeys {
    uint16_t nhoff = 0;
    uint16_t thoff = 0;
    uint16_t addr_proto = 0;
    uint8_t is_frag = 0;
    uint8_t is_first_frag = 0;
    uint8_t is_encap = 0;
    uint8_t ip_proto = 0;
    uint16_t n_proto = 0;
    uint16_t sport = 0;
    uint16_t dport = 0;
    uint32_t addresses[8] = {};  // ipv4: src, dst; ipv6: src[4], dst[4]
    uint32_t flags = 0;
    uint32_t flow_label = 0;
};
static_assert(sizeof(FlowKeys) == 56);

// struct __sk_buff.
struct SkbContext {
    PacketBuffer packet;
    uint32_t len = 0;  // of the packet, also beyond data_end
    uint32_t pkt_type = 0;
    uint32_t mark = 0;
    uint32_t queue_mapping = 0;
    uint32_t protocol = 0;  // network byte order in the low 16 bits, as in Linux
    uint32_t vlan_present = 0;
    uint32_t vlan_tci = 0;
    uint32_t vlan_proto = 0;  // network byte order
    uint32_t priority = 0;
    uint32_t ingress_ifindex = 0;
    uint32_t ifindex = 0;
    uint32_t tc_index = 0;
    uint32_t cb[5] = {};
    uint32_t hash = 0;
    uint32_t tc_classid = 0;
    uint32_t napi_id = 0;
    uint32_t family = 0;
    uint32_t remote_ip4 = 0;  // network byte order
    uint32_t local_ip4 = 0;   // network byte order
    uint32_t remote_ip6[4] = {};
    uint32_t local_ip6[4] = {};
    uint32_t remote_port = 0;  // network byte order
    uint32_t local_port = 0;   // host byte order
    uint64_t tstamp = 0;
    uint32_t wire_len = 0;
    uint32_t gso_segs = 0;
    uint32_t gso_size = 0;
    uint32_t tstamp_type = 0;
    uint64_t hwtstamp = 0;
    SockContext* sk = nullptr;
    FlowKeys* flow_keys = nullptr;  // flow dissector programs
    // Bytes of link header in front of the network header; kAutoMac: 14 for program types that see
    // the link header, else 0.
    static constexpr uint32_t kAutoMac = ~uint32_t{0};
    uint32_t mac_len = kAutoMac;
    uint32_t transport_offset = 0;  // of the outer transport header, 0 = not known
    bool encapsulated = false;      // skb_adjust_room added an outer header
    int8_t csum_level = -1;         // checksums known to be good, minus one
    // struct bpf_tunnel_key that the packet came with, or that skb_set_tunnel_key set; whether its
    // addresses are IPv6; and what struct bpf_tunnel_key says as tunnel_flags.
    uint32_t tunnel_key_size = 0;  // valid bytes, 0 = none
    uint32_t tunnel_key[11] = {};
    bool tunnel_ipv6 = false;
    bool tunnel_set = false;  // by the program: what the packet leaves with
    uint16_t tunnel_flags = 0;
    uint32_t tunnel_opt_size = 0;  // valid bytes of the options, 0 = none
    std::byte tunnel_opt[252] = {};
};

class Map;

// Programs whose context is bytes that the host gives (tracing, raw).
struct BytesContext {
    std::byte* data = nullptr;
    uint64_t size = 0;
    // What some programs find behind words of their context; a run writes the addresses, as the
    // program knows them, into `data`, 0 for null. Iterators over maps: `map` is word 1 (left as it
    // is for null). Iterators over the elements of a map (bpf_map_elem, sockmap,
    // bpf_sk_storage_map): the element's key and value, both null in the last run. Writable raw
    // tracepoints: `value` is the buffer. A verified program that reads or writes beyond what is
    // given does not run: Trap BadArgument.
    Map* map = nullptr;
    std::byte* key = nullptr;  // read by the program only
    uint64_t key_size = 0;
    std::byte* value = nullptr;
    uint64_t value_size = 0;
};

// struct bpf_sock_addr. Addresses and ports in network byte order.
struct SockAddrContext {
    uint32_t user_family = 0;
    uint32_t user_ip4 = 0;
    uint32_t user_ip6[4] = {};
    uint32_t user_port = 0;
    uint32_t family = 0;
    uint32_t type = 0;
    uint32_t protocol = 0;
    uint32_t msg_src_ip4 = 0;
    uint32_t msg_src_ip6[4] = {};
    SockContext* sk = nullptr;
};

// struct bpf_sock_ops.
struct SockOpsContext {
    uint32_t op = 0;
    uint32_t args[4] = {};  // reply is args[0]
    uint32_t family = 0;
    uint32_t remote_ip4 = 0;
    uint32_t local_ip4 = 0;
    uint32_t remote_ip6[4] = {};
    uint32_t local_ip6[4] = {};
    uint32_t remote_port = 0;
    uint32_t local_port = 0;
    uint32_t is_fullsock = 0;
    uint32_t snd_cwnd = 0;
    uint32_t srtt_us = 0;
    uint32_t cb_flags = 0;
    uint32_t state = 0;
    uint32_t rtt_min = 0;
    uint32_t snd_ssthresh = 0;
    uint32_t rcv_nxt = 0;
    uint32_t snd_nxt = 0;
    uint32_t snd_una = 0;
    uint32_t mss_cache = 0;
    uint32_t ecn_flags = 0;
    uint32_t rate_delivered = 0;
    uint32_t rate_interval_us = 0;
    uint32_t packets_out = 0;
    uint32_t retrans_out = 0;
    uint32_t total_retrans = 0;
    uint32_t segs_in = 0;
    uint32_t data_segs_in = 0;
    uint32_t segs_out = 0;
    uint32_t data_segs_out = 0;
    uint32_t lost_out = 0;
    uint32_t sacked_out = 0;
    uint32_t sk_txhash = 0;
    uint64_t bytes_received = 0;
    uint64_t bytes_acked = 0;
    SockContext* sk = nullptr;
    PacketBuffer packet;  // from the TCP header on
    uint32_t skb_len = 0;
    uint32_t skb_tcp_flags = 0;
    uint64_t skb_hwtstamp = 0;
    // Bytes of TCP options that may still be reserved (op 14) or written behind packet.data_end
    // (op 15).
    uint32_t remaining_opt_len = 0;
    // The TCP header of the packet that opened the connection, if it was kept.
    const std::byte* syn = nullptr;
    uint32_t syn_size = 0;
};

// struct sk_msg_md.
struct SkMsgContext {
    PacketBuffer packet;
    uint32_t family = 0;
    uint32_t remote_ip4 = 0;
    uint32_t local_ip4 = 0;
    uint32_t remote_ip6[4] = {};
    uint32_t local_ip6[4] = {};
    uint32_t remote_port = 0;
    uint32_t local_port = 0;
    uint32_t size = 0;
    SockContext* sk = nullptr;
    uint32_t apply_bytes = 0, cork_bytes = 0;  // what the program asked for
};

// struct sk_reuseport_md.
struct SkReuseportContext {
    PacketBuffer packet;
    uint32_t len = 0;
    uint32_t eth_protocol = 0;
    uint32_t ip_protocol = 0;
    uint32_t bind_inany = 0;
    uint32_t hash = 0;
    SockContext* sk = nullptr;
    SockContext* migrating_sk = nullptr;
};

// struct bpf_sk_lookup.
struct SkLookupContext {
    SockContext* sk = nullptr;
    uint64_t cookie = 0;
    uint32_t family = 0;
    uint32_t protocol = 0;
    uint32_t remote_ip4 = 0;
    uint32_t remote_ip6[4] = {};
    uint16_t remote_port = 0;  // network byte order
    uint16_t zero = 0;
    uint32_t local_ip4 = 0;
    uint32_t local_ip6[4] = {};
    uint32_t local_port = 0;  // host byte order
    uint32_t ingress_ifindex = 0;
};

// struct bpf_sockopt.
struct SockoptContext {
    SockContext* sk = nullptr;
    std::byte* optval = nullptr;
    std::byte* optval_end = nullptr;
    int32_t level = 0;
    int32_t optname = 0;
    int32_t optlen = 0;
    int32_t retval = 0;
};

// struct bpf_sysctl, and what its helpers read.
struct SysctlContext {
    uint32_t write = 0;
    uint32_t file_pos = 0;
    const char* name = nullptr;           // "net/ipv4/tcp_mem"
    const char* current_value = nullptr;  // NUL-terminated
    const char* new_value = nullptr;      // what is being written
    std::byte* written = nullptr;         // where sysctl_set_new_value stores; may be null
    uint32_t written_capacity = 0, written_size = 0;
};

// struct bpf_cgroup_dev_ctx.
struct CgroupDeviceContext {
    uint32_t access_type = 0;
    uint32_t major = 0;
    uint32_t minor = 0;
};

// struct bpf_perf_event_data on x86-64.
struct PerfEventContext {
    uint64_t regs[21] = {};
    uint64_t sample_period = 0;
    uint64_t addr = 0;
};

// struct bpf_nf_ctx: two opaque kernel objects.
struct NetfilterContext {
    void* state = nullptr;
    void* skb = nullptr;
};

}  // namespace skep
