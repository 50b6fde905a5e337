// The kernel's own struct behind a context (bpf_cast_to_kern_ctx) or a socket (bpf_skc_to_*).
//
// Programs read it by the kernel's BTF, as any object of the kernel's: it is made in the run's copy
// of the synthetic objects when it is asked for. Numbers that the context's UAPI struct has under
// the same name are copied; pointers lead to a device, a receive queue and a socket. Tracing
// contexts that are structs already (registers) are what they are.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>

#include <skep/context.hpp>

#include "helpers/impl.hpp"
#include "helpers/kernel_world.hpp"
#include "helpers/kfunc_impl.hpp"
#include "helpers/readable.hpp"
#include "helpers/sockets.hpp"
#include "vm/btf/btf.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::kfunc {

namespace {

struct KernelStruct {
    const CtxLayout* layout;
    std::string_view name;
};
constexpr KernelStruct kStructs[] = {
    {&kXdpCtx, "xdp_buff"},
    {&kTcCtx, "sk_buff"},
    {&kSocketFilterCtx, "sk_buff"},
    {&kCgroupSkbCtx, "sk_buff"},
    {&kLwtCtx, "sk_buff"},
    {&kSkSkbCtx, "sk_buff"},
    {&kSockCtx, "sock"},
    {&kSockAddrCtx, "bpf_sock_addr_kern"},
    {&kSockOpsCtx, "bpf_sock_ops_kern"},
    {&kSkMsgCtx, "sk_msg"},
    {&kFlowDissectorCtx, "bpf_flow_dissector"},
    {&kSkReuseportCtx, "sk_reuseport_kern"},
    {&kSkLookupCtx, "bpf_sk_lookup_kern"},
    {&kSockoptCtx, "bpf_sockopt_kern"},
    {&kSysctlCtx, "bpf_sysctl_kern"},
    {&kCgroupDeviceCtx, "bpf_cgroup_dev_ctx"},
};

// An object that is being made at an address of the world.
class Maker {
public:
    // `fresh`: the object begins as zeroes; else it is seen as a struct that it starts with.
    Maker(HelperEnv& env, std::string_view type, uint64_t address, uint32_t room, bool fresh = true)
        : env_(env), btf_(env.world->btf()), address_(address) {
        type_ = btf_.find(type, BtfKind::Struct);
        if (type_ == 0 || btf_.type(type_).size() > room) type_ = 0;
        if (type_ == 0 || !fresh) return;
        std::memset(env.world_block + (address - KernelWorld::kBase), 0, btf_.type(type_).size());
        env.world_written = true;
    }
    explicit operator bool() const { return type_ != 0; }
    uint64_t address() const { return address_; }
    uint32_t size() const { return type_ == 0 ? 0 : btf_.type(type_).size(); }
    // Little-endian, as wide as the member, at most 8 bytes; a member of that name may be missing.
    void set(std::string_view name, uint64_t value) {
        const auto found = type_ == 0 ? std::nullopt : btf_.find_member(type_, name);
        if (!found || found->bit_size != 0) return;
        const uint32_t size = std::min(btf_.size_of(found->type).value_or(0), 8u);
        if (size != 0) store_kernel_object(env_, address_ + found->offset(), value, size);
    }

private:
    HelperEnv& env_;
    const Btf& btf_;
    uint64_t address_;
    uint32_t type_ = 0;
};

// A place in the packet as the program names it.
uint64_t packet_address(const HelperEnv& env, const std::byte* at) {
    if (!env.sandbox) return reinterpret_cast<uintptr_t>(at);
    return guest_address(region::kPacket,
                         region::kPacketBase + static_cast<uint32_t>(at - env.packet->head));
}

// The device that the packet came in on; its queue follows it.
uint64_t make_device(HelperEnv& env, uint32_t interface) {
    Maker device(env, "net_device", env.world->device_area(), KernelWorld::kDeviceBytes / 2);
    device.set("ifindex", interface);
    device.set("mtu", 1500);
    return device ? device.address() : 0;
}

void make_xdp(HelperEnv& env, const XdpContext& xdp, Maker& buffer) {
    Maker queue(env, "xdp_rxq_info", env.world->device_area() + KernelWorld::kDeviceBytes / 2,
                KernelWorld::kDeviceBytes / 2);
    queue.set("dev", make_device(env, xdp.ingress_ifindex));
    queue.set("queue_index", xdp.rx_queue_index);
    buffer.set("rxq", queue ? queue.address() : 0);
    buffer.set("data", packet_address(env, xdp.packet.data));
    buffer.set("data_end", packet_address(env, xdp.packet.data_end));
    buffer.set("data_meta", packet_address(env, xdp.packet.data_meta));
    buffer.set("data_hard_start", packet_address(env, xdp.packet.head));
    buffer.set("frame_sz", static_cast<uint64_t>(xdp.packet.hard_end - xdp.packet.head));
}

void make_skb(HelperEnv& env, const SkbContext& skb, Maker& buffer) {
    constexpr uint32_t kUnset = 0xffff, kLinkHeader = 14;
    const PacketBuffer& packet = skb.packet;
    const auto start = static_cast<uint32_t>(packet.data - packet.head);
    const bool link = env.layout == &kTcCtx || env.layout == &kSocketFilterCtx;
    const uint32_t mac = skb.mac_len != SkbContext::kAutoMac ? skb.mac_len : link ? kLinkHeader : 0;
    const uint32_t linear = static_cast<uint32_t>(packet.data_end - packet.data);
    buffer.set("head", packet_address(env, packet.head));
    buffer.set("data", packet_address(env, packet.data));
    buffer.set("tail", start + linear);
    buffer.set("end", static_cast<uint64_t>(packet.hard_end - packet.head));
    buffer.set("len", std::max(skb.len, linear));
    buffer.set("data_len", std::max(skb.len, linear) - linear);
    buffer.set("mac_header", start);
    buffer.set("mac_len", mac);
    buffer.set("network_header", start + mac);
    buffer.set("transport_header",
               skb.transport_offset != 0 ? start + skb.transport_offset : kUnset);
    buffer.set("skb_iif", skb.ingress_ifindex);
    buffer.set("vlan_all", 0);
    buffer.set("vlan_tci", skb.vlan_tci);
    buffer.set("vlan_proto", skb.vlan_proto);
    buffer.set("dev", make_device(env, skb.ifindex));
    if (skb.sk != nullptr) buffer.set("sk", env.world->object("sock"));
    buffer.set("users", 1);
    buffer.set("truesize", static_cast<uint64_t>(packet.hard_end - packet.head));
    // What programs know as cb lies behind the queueing discipline's length.
    constexpr uint32_t kOfProgram = 8;
    const Btf& btf = env.world->btf();
    const auto cb = btf.find_member(btf.find("sk_buff", BtfKind::Struct), "cb");
    for (uint32_t i = 0; cb && i < std::size(skb.cb); ++i)
        store_kernel_object(env, buffer.address() + cb->offset() + kOfProgram + i * 4, skb.cb[i],
                            4);
}

// Numbers of the context's own table, under the names that both structs have.
void copy_fields(const HelperEnv& env, Maker& object) {
    for (const CtxField& field : env.layout->fields) {
        if (field.kind != CtxFieldKind::Scalar || field.name.empty() || field.host_size == 0 ||
            field.host_size > 8 || field.element != 0)
            continue;
        uint64_t value = 0;
        std::memcpy(&value, static_cast<const std::byte*>(env.ctx) + field.host_off,
                    field.host_size);
        object.set(field.name, value);
    }
}

}  // namespace

uint64_t bpf_cast_to_kern_ctx(HelperEnv& env, uint64_t context) noexcept {
    if (env.layout == nullptr || env.layout->is_bytes) return context;
    const auto* row = std::ranges::find(kStructs, env.layout, &KernelStruct::layout);
    if (row == std::end(kStructs) || env.ctx == nullptr || env.world == nullptr ||
        env.world->context_area() == 0 || !env.enter_world()) {
        env.fail(TrapCode::Unsupported);
        return 0;
    }
    if (env.layout == &kSockCtx) return env.world->object("sock");
    Maker object(env, row->name, env.world->context_area(), KernelWorld::kContextBytes);
    if (!object) {
        env.fail(TrapCode::Unsupported);
        return 0;
    }
    copy_fields(env, object);
    if (env.layout == &kXdpCtx) {
        make_xdp(env, *static_cast<const XdpContext*>(env.ctx), object);
    } else if (row->name == "sk_buff") {
        make_skb(env, *static_cast<const SkbContext*>(env.ctx), object);
    } else if (context_socket(env) != nullptr) {
        object.set("sk", env.world->object("sock"));
    }
    return object.address();
}

}  // namespace skep::kfunc

namespace skep::helper {

namespace {

using kfunc::Maker;
constexpr uint32_t kInet6 = 10, kUnix = 1, kStream = 1, kDatagram = 2, kTcp = 6, kUdp = 17,
                   kTimeWait = 6, kNewRequest = 12;

struct TcpField {
    std::string_view name;
    size_t offset, size;
};
#define SKEP_TCP_FIELD(name) {#name, offsetof(TcpSockFields, name), sizeof(TcpSockFields::name)}
constexpr TcpField kTcpFields[] = {
    SKEP_TCP_FIELD(snd_cwnd),      SKEP_TCP_FIELD(srtt_us),     SKEP_TCP_FIELD(snd_ssthresh),
    SKEP_TCP_FIELD(rcv_nxt),       SKEP_TCP_FIELD(snd_nxt),     SKEP_TCP_FIELD(snd_una),
    SKEP_TCP_FIELD(mss_cache),     SKEP_TCP_FIELD(packets_out), SKEP_TCP_FIELD(retrans_out),
    SKEP_TCP_FIELD(total_retrans), SKEP_TCP_FIELD(segs_in),     SKEP_TCP_FIELD(data_segs_in),
    SKEP_TCP_FIELD(segs_out),      SKEP_TCP_FIELD(lost_out),    SKEP_TCP_FIELD(data_segs_out),
    SKEP_TCP_FIELD(sacked_out),    SKEP_TCP_FIELD(bytes_acked), SKEP_TCP_FIELD(bytes_received),
    SKEP_TCP_FIELD(delivered),     SKEP_TCP_FIELD(dsack_dups),  SKEP_TCP_FIELD(delivered_ce),
};
#undef SKEP_TCP_FIELD

void fill_socket(HelperEnv& env, uint64_t address, const SockContext& socket) {
    constexpr uint32_t kRoom = KernelWorld::kSocketBytes;
    Maker common(env, "sock_common", address, kRoom, false);
    common.set("skc_family", socket.family);
    common.set("skc_state", socket.state);
    common.set("skc_num", socket.src_port);
    common.set("skc_dport", socket.dst_port);
    common.set("skc_daddr", socket.dst_ip4);
    common.set("skc_rcv_saddr", socket.src_ip4);
    common.set("skc_bound_dev_if", socket.bound_dev_if);
    common.set("skc_cookie", socket.cookie);
    if (!socket.full) return;
    Maker sock(env, "sock", address, kRoom, false);
    sock.set("sk_type", socket.type);
    sock.set("sk_protocol", socket.protocol);
    sock.set("sk_mark", socket.mark);
    sock.set("sk_priority", socket.priority);
    if (socket.tcp == nullptr) return;
    Maker tcp(env, "tcp_sock", address, kRoom, false);
    for (const TcpField& field : kTcpFields) {
        uint64_t value = 0;
        std::memcpy(&value, reinterpret_cast<const std::byte*>(socket.tcp) + field.offset,
                    field.size);
        tcp.set(field.name, value);
    }
}

// The kernel's struct of that name for a socket of the run that `fits` it; null for all others.
template <class Fits>
void* kernel_socket(HelperEnv& env, const void* object, std::string_view type, Fits fits) noexcept {
    const SockContext* socket = socket_at(env, object);
    if (env.world == nullptr || socket == nullptr || !fits(*socket) || !env.enter_world())
        return nullptr;
    const std::span objects(env.objects, env.object_count);
    const auto known = std::ranges::find(objects, socket, &RunObject::socket);
    const uint64_t address = env.world->socket_area(static_cast<uint32_t>(known - objects.begin()));
    if (address == 0 || !Maker(env, type, address, KernelWorld::kSocketBytes)) return nullptr;
    fill_socket(env, address, *socket);
    return reinterpret_cast<void*>(static_cast<uintptr_t>(address));
}

bool is_tcp(const SockContext& s) { return s.type == kStream && s.protocol == kTcp; }

}  // namespace

BtfResultOrNull<ObjectKind::Tcp6Sock> skc_to_tcp6_sock(HelperEnv& env, BtfSockCommon sk) noexcept {
    const auto fits = [](const SockContext& s) {
        return s.full && s.family == kInet6 && is_tcp(s);
    };
    return {kernel_socket(env, sk.object, "tcp6_sock", fits)};
}
BtfResultOrNull<ObjectKind::TcpSock> skc_to_tcp_sock(HelperEnv& env, BtfSockCommon sk) noexcept {
    if (env.world != nullptr && sk.object != nullptr &&
        reinterpret_cast<uintptr_t>(sk.object) == env.world->object("tcp_sock"))
        return {sk.object};
    const auto fits = [](const SockContext& s) { return s.full && is_tcp(s); };
    return {kernel_socket(env, sk.object, "tcp_sock", fits)};
}
BtfResultOrNull<ObjectKind::TcpTimewaitSock> skc_to_tcp_timewait_sock(HelperEnv& env,
                                                                      BtfSockCommon sk) noexcept {
    const auto fits = [](const SockContext& s) { return s.state == kTimeWait; };
    return {kernel_socket(env, sk.object, "tcp_timewait_sock", fits)};
}
BtfResultOrNull<ObjectKind::TcpRequestSock> skc_to_tcp_request_sock(HelperEnv& env,
                                                                    BtfSockCommon sk) noexcept {
    const auto fits = [](const SockContext& s) { return s.state == kNewRequest; };
    return {kernel_socket(env, sk.object, "tcp_request_sock", fits)};
}
BtfResultOrNull<ObjectKind::Udp6Sock> skc_to_udp6_sock(HelperEnv& env, BtfSockCommon sk) noexcept {
    const auto fits = [](const SockContext& s) {
        return s.full && s.family == kInet6 && s.type == kDatagram && s.protocol == kUdp;
    };
    return {kernel_socket(env, sk.object, "udp6_sock", fits)};
}
BtfResultOrNull<ObjectKind::UnixSock> skc_to_unix_sock(HelperEnv& env, BtfSockCommon sk) noexcept {
    const auto fits = [](const SockContext& s) { return s.full && s.family == kUnix; };
    return {kernel_socket(env, sk.object, "unix_sock", fits)};
}
// None of the sockets here is a part of a multipath connection.
BtfResultOrNull<ObjectKind::MptcpSock> skc_to_mptcp_sock(HelperEnv&, SockCommonArg) noexcept {
    return {nullptr};
}

}  // namespace skep::helper
