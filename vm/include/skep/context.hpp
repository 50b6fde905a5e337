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
};

// Programs whose context is bytes that the host gives (tracing, raw).
struct BytesContext {
    std::byte* data = nullptr;
    uint64_t size = 0;
};

}  // namespace skep
