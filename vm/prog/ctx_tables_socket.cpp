// Context tables of socket, cgroup and netfilter programs.
//
// Offsets and sizes are those of linux/bpf.h; who may read and store what was asked of Linux 6.18,
// access by access (tests/prog/layout_kernel_test.cpp repeats the question).
#include <skep/context.hpp>

#include "vm/prog/ctx_fields.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep {

namespace {

using enum CtxFieldKind;
using namespace ctx;  // NOLINT: the vocabulary of the tables

#define SOCK(name, off) scalar(#name, off, 4, offsetof(SockContext, name))
// A u16 that old programs load as the u32 that it once was, with its zero upper half.
constexpr CtxField dst_port_field() {
    CtxField field = scalar("dst_port", 48, 4, offsetof(SockContext, dst_port));
    field.narrow_below = 2;
    return field;
}
constexpr std::array kSockFields = {
    only_for(read_write(whole(SOCK(bound_dev_if, 0))),
             {AttachType::CgroupInetSockCreate, AttachType::CgroupInetSockRelease}),
    narrow_at_start(SOCK(family, 4)),
    narrow_at_start(SOCK(type, 8)),
    narrow_at_start(SOCK(protocol, 12)),
    only_for(read_write(whole(SOCK(mark, 16))),
             {AttachType::CgroupInetSockCreate, AttachType::CgroupInetSockRelease}),
    only_for(read_write(whole(SOCK(priority, 20))),
             {AttachType::CgroupInetSockCreate, AttachType::CgroupInetSockRelease}),
    only_for(SOCK(src_ip4, 24), {AttachType::CgroupInet4PostBind}),
    only_for(words("src_ip6", 28, 4, offsetof(SockContext, src_ip6)),
             {AttachType::CgroupInet6PostBind}),
    only_for(narrow_at_start(SOCK(src_port, 44)),
             {AttachType::CgroupInet4PostBind, AttachType::CgroupInet6PostBind}),
    dst_port_field(),
    SOCK(dst_ip4, 52),
    words("dst_ip6", 56, 4, offsetof(SockContext, dst_ip6)),
    narrow_at_start(SOCK(state, 72)),
    narrow_at_start(SOCK(rx_queue_mapping, 76)),
};
#undef SOCK

#define ADDR(name, off) scalar(#name, off, 4, offsetof(SockAddrContext, name))
constexpr std::initializer_list<AttachType> kInet4 = {
    AttachType::CgroupInet4Bind,        AttachType::CgroupInet4Connect,
    AttachType::CgroupUdp4Sendmsg,      AttachType::CgroupUdp4Recvmsg,
    AttachType::CgroupInet4Getpeername, AttachType::CgroupInet4Getsockname};
constexpr std::initializer_list<AttachType> kInet6 = {
    AttachType::CgroupInet6Bind,        AttachType::CgroupInet6Connect,
    AttachType::CgroupUdp6Sendmsg,      AttachType::CgroupUdp6Recvmsg,
    AttachType::CgroupInet6Getpeername, AttachType::CgroupInet6Getsockname};
constexpr std::array kSockAddrFields = {
    whole(ADDR(user_family, 0)),
    only_for(read_write(ADDR(user_ip4, 4)), kInet4),
    only_for(wide(read_write(words("user_ip6", 8, 4, offsetof(SockAddrContext, user_ip6)))),
             kInet6),
    read_write(ADDR(user_port, 24)),
    whole(ADDR(family, 28)),
    whole(ADDR(type, 32)),
    whole(ADDR(protocol, 36)),
    only_for(read_write(ADDR(msg_src_ip4, 40)), {AttachType::CgroupUdp4Sendmsg}),
    only_for(wide(read_write(words("msg_src_ip6", 44, 4, offsetof(SockAddrContext, msg_src_ip6)))),
             {AttachType::CgroupUdp6Sendmsg}),
    pointer("sk", SocketPtr, 64, 8, offsetof(SockAddrContext, sk)),
};
#undef ADDR

#define OPS(name, off) whole(scalar(#name, off, 4, offsetof(SockOpsContext, name)))
constexpr std::array kSockOpsFields = {
    OPS(op, 0),
    // The union of args[4], reply and replylong[4]: only `reply` may be stored to.
    read_write(whole(scalar("reply", 4, 4, offsetof(SockOpsContext, args)))),
    whole(words("args", 8, 3, offsetof(SockOpsContext, args) + 4)),
    OPS(family, 20),
    OPS(remote_ip4, 24),
    OPS(local_ip4, 28),
    whole(words("remote_ip6", 32, 4, offsetof(SockOpsContext, remote_ip6))),
    whole(words("local_ip6", 48, 4, offsetof(SockOpsContext, local_ip6))),
    OPS(remote_port, 64),
    OPS(local_port, 68),
    OPS(is_fullsock, 72),
    OPS(snd_cwnd, 76),
    OPS(srtt_us, 80),
    whole(scalar("bpf_sock_ops_cb_flags", 84, 4, offsetof(SockOpsContext, cb_flags))),
    OPS(state, 88),
    OPS(rtt_min, 92),
    OPS(snd_ssthresh, 96),
    OPS(rcv_nxt, 100),
    OPS(snd_nxt, 104),
    OPS(snd_una, 108),
    OPS(mss_cache, 112),
    OPS(ecn_flags, 116),
    OPS(rate_delivered, 120),
    OPS(rate_interval_us, 124),
    OPS(packets_out, 128),
    OPS(retrans_out, 132),
    OPS(total_retrans, 136),
    OPS(segs_in, 140),
    OPS(data_segs_in, 144),
    OPS(segs_out, 148),
    OPS(data_segs_out, 152),
    OPS(lost_out, 156),
    OPS(sacked_out, 160),
    read_write(OPS(sk_txhash, 164)),
    whole(scalar("bytes_received", 168, 8, offsetof(SockOpsContext, bytes_received))),
    whole(scalar("bytes_acked", 176, 8, offsetof(SockOpsContext, bytes_acked))),
    pointer("sk", SocketPtr, 184, 8, offsetof(SockOpsContext, sk)),
    pointer("skb_data", PacketStart, 192, 8, offsetof(SockOpsContext, packet.data)),
    pointer("skb_data_end", PacketEnd, 200, 8, offsetof(SockOpsContext, packet.data_end)),
    OPS(skb_len, 208),
    narrow_at_start(scalar("skb_tcp_flags", 212, 4, offsetof(SockOpsContext, skb_tcp_flags))),
    whole(scalar("skb_hwtstamp", 216, 8, offsetof(SockOpsContext, skb_hwtstamp))),
};
#undef OPS

#define MSG(name, off) whole(scalar(#name, off, 4, offsetof(SkMsgContext, name)))
constexpr std::array kSkMsgFields = {
    pointer("data", PacketStart, 0, 8, offsetof(SkMsgContext, packet.data)),
    pointer("data_end", PacketEnd, 8, 8, offsetof(SkMsgContext, packet.data_end)),
    MSG(family, 16),
    MSG(remote_ip4, 20),
    MSG(local_ip4, 24),
    whole(words("remote_ip6", 28, 4, offsetof(SkMsgContext, remote_ip6))),
    whole(words("local_ip6", 44, 4, offsetof(SkMsgContext, local_ip6))),
    MSG(remote_port, 60),
    MSG(local_port, 64),
    MSG(size, 68),
    pointer("sk", SocketPtr, 72, 8, offsetof(SkMsgContext, sk)),
};
#undef MSG

#define REUSE(name, off) scalar(#name, off, 4, offsetof(SkReuseportContext, name))
constexpr CtxField eth_protocol_field() {
    CtxField field = REUSE(eth_protocol, 20);
    field.narrow_from = 2;
    return field;
}
constexpr std::array kSkReuseportFields = {
    pointer("data", PacketStart, 0, 8, offsetof(SkReuseportContext, packet.data)),
    pointer("data_end", PacketEnd, 8, 8, offsetof(SkReuseportContext, packet.data_end)),
    REUSE(len, 16),
    eth_protocol_field(),
    REUSE(ip_protocol, 24),
    REUSE(bind_inany, 28),
    whole(REUSE(hash, 32)),
    pointer("sk", SocketPtr, 40, 8, offsetof(SkReuseportContext, sk)),
    pointer("migrating_sk", SockCommonPtr, 48, 8, offsetof(SkReuseportContext, migrating_sk)),
};
#undef REUSE

#define LOOKUP(name, off) scalar(#name, off, 4, offsetof(SkLookupContext, name))
constexpr std::array kSkLookupFields = {
    pointer("sk", SocketPtr, 0, 8, offsetof(SkLookupContext, sk)),
    LOOKUP(family, 8),
    LOOKUP(protocol, 12),
    LOOKUP(remote_ip4, 16),
    words("remote_ip6", 20, 4, offsetof(SkLookupContext, remote_ip6)),
    scalar("remote_port", 36, 4, offsetof(SkLookupContext, remote_port)),
    LOOKUP(local_ip4, 40),
    words("local_ip6", 44, 4, offsetof(SkLookupContext, local_ip6)),
    LOOKUP(local_port, 60),
    LOOKUP(ingress_ifindex, 64),
};
#undef LOOKUP

#define OPT(name, off) whole(scalar(#name, off, 4, offsetof(SockoptContext, name)))
constexpr std::array kSockoptFields = {
    pointer("sk", SocketPtr, 0, 8, offsetof(SockoptContext, sk)),
    pointer("optval", BufferPtr, 8, 8, offsetof(SockoptContext, optval)),
    pointer("optval_end", BufferEndPtr, 16, 8, offsetof(SockoptContext, optval_end)),
    stored_by(OPT(level, 24), {AttachType::CgroupSetsockopt}),
    stored_by(OPT(optname, 28), {AttachType::CgroupSetsockopt}),
    read_write(OPT(optlen, 32)),
    only_for(read_write(OPT(retval, 36)), {AttachType::CgroupGetsockopt}),
};
#undef OPT

constexpr std::array kSysctlFields = {
    scalar("write", 0, 4, offsetof(SysctlContext, write)),
    read_write(scalar("file_pos", 4, 4, offsetof(SysctlContext, file_pos))),
};

constexpr std::array kCgroupDeviceFields = {
    scalar("access_type", 0, 4, offsetof(CgroupDeviceContext, access_type)),
    whole(scalar("major", 4, 4, offsetof(CgroupDeviceContext, major))),
    whole(scalar("minor", 8, 4, offsetof(CgroupDeviceContext, minor))),
};

constexpr std::array kNetfilterFields = {
    pointer("state", BtfPtr, 0, 8, offsetof(NetfilterContext, state)),
    pointer("skb", BtfPtr, 8, 8, offsetof(NetfilterContext, skb)),
};

}  // namespace

constexpr CtxLayout kSockCtx = layout("bpf_sock", 80, kSockFields, sizeof(SockContext));
constexpr CtxLayout kSockAddrCtx =
    layout("bpf_sock_addr", 72, kSockAddrFields, sizeof(SockAddrContext));
constexpr CtxLayout kSockOpsCtx =
    layout("bpf_sock_ops", 224, kSockOpsFields, sizeof(SockOpsContext));
constexpr CtxLayout kSkMsgCtx = layout("sk_msg_md", 80, kSkMsgFields, sizeof(SkMsgContext));
constexpr CtxLayout kSkReuseportCtx =
    layout("sk_reuseport_md", 56, kSkReuseportFields, sizeof(SkReuseportContext));
constexpr CtxLayout kSkLookupCtx =
    layout("bpf_sk_lookup", 72, kSkLookupFields, sizeof(SkLookupContext));
constexpr CtxLayout kSockoptCtx = layout("bpf_sockopt", 40, kSockoptFields, sizeof(SockoptContext));
constexpr CtxLayout kSysctlCtx = layout("bpf_sysctl", 8, kSysctlFields, sizeof(SysctlContext));
constexpr CtxLayout kCgroupDeviceCtx =
    layout("bpf_cgroup_dev_ctx", 12, kCgroupDeviceFields, sizeof(CgroupDeviceContext));
constexpr CtxLayout kNetfilterCtx =
    layout("bpf_nf_ctx", 16, kNetfilterFields, sizeof(NetfilterContext));

}  // namespace skep
