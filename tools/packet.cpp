// Packets for program types; see packet.hpp.
#include "tools/packet.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace skep::tool {
namespace {

constexpr uint32_t kFamilyInet = 2, kFamilyInet6 = 10;
constexpr uint8_t kPacketBroadcast = 1, kPacketMulticast = 2, kPacketOtherHost = 3;
constexpr uint8_t kProtocolTcp = 6, kProtocolUdp = 17;
constexpr uint32_t kLoopback = 1;        // the interface that BPF_PROG_TEST_RUN uses
constexpr uint32_t kTcpStateClosed = 7;  // of the socket that BPF_PROG_TEST_RUN makes
constexpr uint32_t kEgress = 1;          // BPF_CGROUP_INET_EGRESS

uint16_t be16(const std::byte* p) {
    return static_cast<uint16_t>(std::to_integer<unsigned>(p[0]) << 8 |
                                 std::to_integer<unsigned>(p[1]));
}

uint32_t raw32(const std::byte* p) {
    uint32_t value;
    std::memcpy(&value, p, 4);
    return value;
}

// What the headers of an IP packet say; zero where they end early.
struct Headers {
    uint32_t family = 0;
    uint8_t protocol = 0;
    std::array<uint32_t, 4> source{}, target{};  // network byte order
    uint16_t source_port = 0, target_port = 0;
    uint32_t payload = 0;  // bytes from the IP header to what follows the transport header
};

Headers read_headers(std::span<const std::byte> ip, uint16_t ether_type) {
    Headers h;
    uint32_t transport = 0;
    if (ether_type == kEtherIpv4 && ip.size() >= 20) {
        h.family = kFamilyInet;
        h.protocol = std::to_integer<uint8_t>(ip[9]);
        h.source[0] = raw32(ip.data() + 12);
        h.target[0] = raw32(ip.data() + 16);
        transport = (std::to_integer<uint32_t>(ip[0]) & 0xf) * 4;
    } else if (ether_type == kEtherIpv6 && ip.size() >= 40) {
        h.family = kFamilyInet6;
        h.protocol = std::to_integer<uint8_t>(ip[6]);
        std::memcpy(h.source.data(), ip.data() + 8, 16);
        std::memcpy(h.target.data(), ip.data() + 24, 16);
        transport = 40;
    } else {
        return h;
    }
    if (transport < 20 || transport > ip.size()) return h;
    h.payload = transport;
    const std::span<const std::byte> rest = ip.subspan(transport);
    if ((h.protocol != kProtocolTcp && h.protocol != kProtocolUdp) || rest.size() < 8) return h;
    h.source_port = be16(rest.data());
    h.target_port = be16(rest.data() + 2);
    uint32_t header = 8;
    if (h.protocol == kProtocolTcp) {
        header = rest.size() < 20 ? 0 : (std::to_integer<uint32_t>(rest[12]) >> 4) * 4;
    }
    if (header <= rest.size()) h.payload += header;
    return h;
}

uint8_t packet_type(std::span<const std::byte> frame, const Frame& meta, Framing framing) {
    if (framing == Framing::Attach && meta.packet_type != 0) return meta.packet_type;
    if (frame.size() < 6) return 0;
    const auto is = [&](unsigned value) {
        return std::all_of(frame.begin(), frame.begin() + 6,
                           [&](std::byte b) { return std::to_integer<unsigned>(b) == value; });
    };
    if (is(0xff)) return kPacketBroadcast;
    if ((std::to_integer<unsigned>(frame[0]) & 1) != 0) return kPacketMulticast;
    // The loopback device's own address is all zeros.
    return framing == Framing::TestRun && !is(0) ? kPacketOtherHost : 0;
}

// The addresses of a context, seen from this machine: what was sent to us comes from the remote
// end.
template <class Context>
void set_addresses(Context& context, const Headers& h, bool outgoing) {
    const auto& local = outgoing ? h.source : h.target;
    const auto& remote = outgoing ? h.target : h.source;
    context.family = h.family;
    if (h.family == kFamilyInet) {
        context.local_ip4 = local[0];
        context.remote_ip4 = remote[0];
    } else if (h.family == kFamilyInet6) {
        std::copy(local.begin(), local.end(), context.local_ip6);
        std::copy(remote.begin(), remote.end(), context.remote_ip6);
    }
    context.local_port = outgoing ? h.source_port : h.target_port;
    context.remote_port = __builtin_bswap32(outgoing ? h.target_port : h.source_port);
}

void set_socket(SockContext& socket, const Headers& h, bool outgoing) {
    const auto& local = outgoing ? h.source : h.target;
    const auto& remote = outgoing ? h.target : h.source;
    socket = {};
    socket.family = h.family;
    socket.protocol = h.protocol;
    socket.state = kTcpStateClosed;
    if (h.family == kFamilyInet) {
        socket.src_ip4 = local[0];
        socket.dst_ip4 = remote[0];
    } else {
        std::copy(local.begin(), local.end(), socket.src_ip6);
        std::copy(remote.begin(), remote.end(), socket.dst_ip6);
    }
    socket.src_port = outgoing ? h.source_port : h.target_port;
    socket.dst_port = __builtin_bswap16(outgoing ? h.target_port : h.source_port);
}

// What Linux takes for the protocol (eth_type_trans()): below 0x600 the field is a length, as in
// IEEE 802.3, and what follows says of which kind the packet is.
uint16_t protocol_of(std::span<const std::byte> payload, uint16_t ether_type) {
    constexpr uint16_t kFirstType = 0x600, kRaw8023 = 1, kWith8022 = 4;
    if (ether_type >= kFirstType) return ether_type;
    const bool raw =
        payload.size() >= 2 && payload[0] == std::byte{0xff} && payload[1] == std::byte{0xff};
    return raw ? kRaw8023 : kWith8022;
}

void fill_skb(const PacketShape& shape, std::span<const std::byte> frame, const Frame& meta,
              const Headers& headers, uint16_t ether_type, Packet& packet) {
    SkbContext& skb = packet.skb;
    const auto captured = static_cast<uint32_t>(skb.packet.data_end - skb.packet.data);
    skb.len = captured + packet.cut;
    skb.wire_len = skb.len;
    skb.protocol = __builtin_bswap16(ether_type);
    skb.pkt_type = packet_type(frame, meta, shape.framing);
    skb.ifindex = kLoopback;
    const bool test_run = shape.framing == Framing::TestRun;
    const bool outgoing = test_run || shape.attach_type == kEgress;
    if (!test_run) {
        skb.ingress_ifindex = kLoopback;
        skb.tstamp = shape.kind == ProgKind::SocketFilter ? meta.time_ns : 0;
    }
    if (test_run || shape.layer != PacketShape::Layer::Link) {
        // Cgroup programs run on behalf of a socket; the test runner makes one.
        set_addresses(skb, headers, outgoing);
        if (test_run) skb.local_port = skb.remote_port = 0;
        set_socket(packet.socket, headers, outgoing);
        if (test_run) packet.socket.src_port = packet.socket.dst_port = 0;
        skb.sk = &packet.socket;
    }
    if (shape.kind == ProgKind::FlowDissector) {
        packet.flow = {};
        packet.flow.nhoff = packet.flow.thoff = kEthernetHeader;
        packet.flow.n_proto = static_cast<uint16_t>(skb.protocol);
        skb.flow_keys = &packet.flow;
    }
}

// Takes the VLAN tag out of the frame in place (its addresses move up); the EtherType behind it.
uint16_t take_tag(Packet& packet, uint32_t& length, uint16_t ether_type) {
    SkbContext& skb = packet.skb;
    if ((ether_type != kEtherVlan && ether_type != kEtherQinq) ||
        length < kEthernetHeader + kVlanTag) {
        return ether_type;
    }
    skb.vlan_present = 1;
    skb.vlan_proto = __builtin_bswap16(ether_type);
    skb.vlan_tci = be16(packet.frame + 14);
    std::memmove(packet.frame + kVlanTag, packet.frame, 12);
    packet.frame += kVlanTag;
    length -= kVlanTag;
    return be16(packet.frame + 12);
}

}  // namespace

uint32_t buffer_bytes(uint32_t frame_length) {
    const uint64_t needed = (uint64_t{kHeadroom} + frame_length + 63) / 64 * 64;
    return static_cast<uint32_t>(std::max<uint64_t>(needed, kBufferBytes));
}

PacketShape packet_shape(const ProgType& type, uint32_t attach_type, Framing framing) {
    using Layer = PacketShape::Layer;
    PacketShape shape{type.kind, attach_type, framing, Layer::Network, false};
    const bool tc = type.kind == ProgKind::SchedCls || type.kind == ProgKind::SchedAct;
    if (type.kind == ProgKind::Xdp || type.kind == ProgKind::FlowDissector) {
        shape.layer = Layer::Link;
    } else if (tc || (type.kind == ProgKind::SocketFilter && framing == Framing::Attach)) {
        shape.layer = Layer::Link;
        shape.untag = framing == Framing::Attach;
    } else if (type.kind == ProgKind::SkMsg || type.kind == ProgKind::SkReuseport ||
               type.kind == ProgKind::SkSkb) {
        shape.layer = Layer::Payload;
    } else {
        shape.untag = framing == Framing::Attach;
    }
    return shape;
}

PacketBuffer& bounds_of(const PacketShape& shape, Packet& packet) {
    if (shape.kind == ProgKind::Xdp) return packet.xdp.packet;
    if (shape.kind == ProgKind::SkMsg) return packet.message.packet;
    if (shape.kind == ProgKind::SkReuseport) return packet.reuseport.packet;
    return packet.skb.packet;
}

void* context_of(const PacketShape& shape, Packet& packet) {
    if (shape.kind == ProgKind::Xdp) return &packet.xdp;
    if (shape.kind == ProgKind::SkMsg) return &packet.message;
    if (shape.kind == ProgKind::SkReuseport) return &packet.reuseport;
    return &packet.skb;
}

void make_packet(const PacketShape& shape, std::span<const std::byte> frame, const Frame& meta,
                 std::span<std::byte> buffer, Packet& packet) {
    // What adjust_head may uncover must not be a former packet.
    std::memset(buffer.data(), 0, kHeadroom);
    if (!frame.empty()) std::memcpy(buffer.data() + kHeadroom, frame.data(), frame.size());
    packet.frame = buffer.data() + kHeadroom;
    packet.cut = meta.wire_length > meta.length ? meta.wire_length - meta.length : 0;
    packet.skipped = 0;
    auto length = static_cast<uint32_t>(frame.size());

    PacketBuffer bounds;
    bounds.head = buffer.data();
    bounds.hard_end = buffer.data() + buffer.size();
    if (shape.kind == ProgKind::Xdp) {
        bounds.data_meta = bounds.data = packet.frame;
        bounds.data_end = packet.frame + length;
        packet.xdp = {bounds, kLoopback, 0, 0};
        return;
    }
    packet.skb = {};
    uint16_t ether_type = length >= kEthernetHeader ? be16(packet.frame + 12) : 0;
    if (shape.untag) ether_type = take_tag(packet, length, ether_type);
    const uint32_t link = std::min(length, kEthernetHeader);
    ether_type = protocol_of({packet.frame + link, length - link}, ether_type);
    const Headers headers = read_headers({packet.frame + link, length - link}, ether_type);
    if (shape.layer == PacketShape::Layer::Network) packet.skipped = link;
    if (shape.layer == PacketShape::Layer::Payload) packet.skipped = link + headers.payload;
    bounds.data_meta = bounds.data = packet.frame + packet.skipped;
    bounds.data_end = packet.frame + length;
    packet.skb.packet = bounds;
    fill_skb(shape, frame, meta, headers, ether_type, packet);
    if (shape.kind == ProgKind::SkMsg) {
        packet.message = {};
        packet.message.packet = bounds;
        packet.message.size = packet.skb.len;
        set_addresses(packet.message, headers, true);
        packet.message.sk = &packet.socket;
    } else if (shape.kind == ProgKind::SkReuseport) {
        packet.reuseport = {};
        packet.reuseport.packet = bounds;
        packet.reuseport.len = packet.skb.len;
        packet.reuseport.eth_protocol = packet.skb.protocol;
        packet.reuseport.ip_protocol = headers.protocol;
        packet.reuseport.sk = &packet.socket;
    }
}

void rebuild_frame(const PacketShape& shape, Packet& packet, std::vector<std::byte>& out) {
    const PacketBuffer& bounds = bounds_of(shape, packet);
    out.assign(packet.frame, packet.frame + packet.skipped);
    out.insert(out.end(), bounds.data, bounds.data_end);
    const SkbContext& skb = packet.skb;
    if (shape.kind != ProgKind::Xdp && skb.vlan_present != 0 && out.size() >= kEthernetHeader) {
        std::byte tag[kVlanTag];
        const auto protocol = static_cast<uint16_t>(skb.vlan_proto);
        std::memcpy(tag, &protocol, 2);
        tag[2] = static_cast<std::byte>(skb.vlan_tci >> 8 & 0xff);
        tag[3] = static_cast<std::byte>(skb.vlan_tci & 0xff);
        out.insert(out.begin() + 12, tag, tag + kVlanTag);
    }
}

bool goes_on(const ProgType& type, uint64_t r0, uint32_t& keep) {
    static constexpr std::string_view kOn[] = {"pass",       "pass_cn", "tx",     "redirect",
                                               "ok",         "pipe",    "unspec", "allow",
                                               "reclassify", "accept",  "repeat"};
    keep = type.kind == ProgKind::SocketFilter ? static_cast<uint32_t>(r0) : ~uint32_t{0};
    const std::string_view name = type.verdict_of(r0);
    return std::find(std::begin(kOn), std::end(kOn), name) != std::end(kOn);
}

}  // namespace skep::tool
