// Sockets, as far as they exist without a network stack: fields of the socket that the host's
// context names; look-ups find nothing.
#include <algorithm>
#include <cstring>

#include <skep/context.hpp>
#include <skep/map.hpp>
#include <skep/services.hpp>

#include "helpers/impl.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::helper {

namespace {

// Programs read a socket at the offsets of struct bpf_sock.
static_assert(offsetof(SockContext, bound_dev_if) == 0 && offsetof(SockContext, src_ip4) == 24 &&
              offsetof(SockContext, src_port) == 44 && offsetof(SockContext, dst_port) == 48 &&
              offsetof(SockContext, dst_ip6) == 56 && offsetof(SockContext, state) == 72 &&
              offsetof(SockContext, rx_queue_mapping) == 76);

constexpr uint32_t kNobody = 65534;
constexpr int64_t kSkDrop = 0, kSkPass = 1;
constexpr uint64_t kIngress = 1;

// The socket of a context, or null.
const SockContext* socket_of(const HelperEnv& env, void* host) {
    const CtxLayout* layout = env.layout;
    if (layout == &kSockCtx) return static_cast<const SockContext*>(host);
    if (layout == &kSockAddrCtx) return static_cast<const SockAddrContext*>(host)->sk;
    if (layout == &kSockOpsCtx) return static_cast<const SockOpsContext*>(host)->sk;
    if (layout == &kSkMsgCtx) return static_cast<const SkMsgContext*>(host)->sk;
    if (layout == &kSkReuseportCtx) return static_cast<const SkReuseportContext*>(host)->sk;
    if (layout == &kSockoptCtx) return static_cast<const SockoptContext*>(host)->sk;
    const bool skb = layout == &kTcCtx || layout == &kSocketFilterCtx || layout == &kCgroupSkbCtx ||
                     layout == &kSkSkbCtx;
    return skb ? static_cast<const SkbContext*>(host)->sk : nullptr;
}

// Sends to the socket that a map holds under `key`.
int64_t redirect_to(HelperEnv& env, Map& map, const std::byte* key, uint64_t flags) {
    if ((flags & ~kIngress) != 0) return kSkDrop;
    uint64_t number = 0;
    if (map.target(key, number) != 0) return kSkDrop;
    env.redirect = {&map, number, flags};
    return kSkPass;
}

int64_t redirect_to_index(HelperEnv& env, Map& map, uint32_t index, uint64_t flags) {
    return redirect_to(env, map, reinterpret_cast<const std::byte*>(&index), flags);
}

// A NUL-terminated copy; -E2BIG when it had to be cut. The rest of `out` is zeroed.
int64_t copy_text(WriteMem out, const char* text) {
    std::memset(out.data, 0, out.size);
    if (text == nullptr) return kEinval;
    const size_t length = std::strlen(text);
    const size_t kept = std::min<uint64_t>(length, out.size - 1);
    std::memcpy(out.data, text, kept);
    return kept < length ? kE2big : static_cast<int64_t>(length);
}

}  // namespace

uint64_t get_socket_cookie(HelperEnv& env, CtxArg ctx) noexcept {
    const SockContext* socket = socket_of(env, ctx.host);
    return socket != nullptr ? socket->cookie : 0;
}

uint32_t get_socket_uid(HelperEnv& env, CtxArg ctx) noexcept {
    const SockContext* socket = socket_of(env, ctx.host);
    return socket != nullptr ? socket->uid : kNobody;
}

uint64_t get_netns_cookie(HelperEnv& env, CtxOrNull) noexcept {
    return env.services != nullptr ? env.services->netns_cookie : 1;
}

uint32_t get_route_realm(HelperEnv&, CtxArg) noexcept { return 0; }
uint64_t skb_cgroup_id(HelperEnv&, CtxArg) noexcept { return 0; }
uint64_t skb_ancestor_cgroup_id(HelperEnv&, CtxArg, int32_t) noexcept { return 0; }
uint64_t skb_cgroup_classid(HelperEnv&, CtxArg) noexcept { return 0; }
uint64_t sk_cgroup_id(HelperEnv&, BtfSockCommon) noexcept { return 0; }
uint64_t sk_ancestor_cgroup_id(HelperEnv&, BtfSockCommon, int32_t) noexcept { return 0; }

SocketResult sk_lookup_tcp(HelperEnv&, CtxArg, ReadMemOrEmpty, uint64_t, uint64_t) noexcept { return {}; }
SocketResult sk_lookup_udp(HelperEnv&, CtxArg, ReadMemOrEmpty, uint64_t, uint64_t) noexcept { return {}; }
SockCommonResult skc_lookup_tcp(HelperEnv&, CtxArg, ReadMemOrEmpty, uint64_t, uint64_t) noexcept {
    return {};
}
int64_t sk_release(HelperEnv&, ReleasedSock) noexcept { return 0; }

SocketResult sk_fullsock(HelperEnv&, SockCommonArg sk) noexcept { return {sk.object}; }
TcpSockResult tcp_sock(HelperEnv&, SockCommonArg) noexcept { return {}; }
SocketResult get_listener_sock(HelperEnv&, SockCommonArg) noexcept { return {}; }

// No socket is the kernel's own object.
BtfResultOrNull<ObjectKind::Tcp6Sock> skc_to_tcp6_sock(HelperEnv&, BtfSockCommon) noexcept {
    return {};
}
BtfResultOrNull<ObjectKind::TcpSock> skc_to_tcp_sock(HelperEnv&, BtfSockCommon) noexcept {
    return {};
}
BtfResultOrNull<ObjectKind::TcpTimewaitSock> skc_to_tcp_timewait_sock(HelperEnv&,
                                                                      BtfSockCommon) noexcept {
    return {};
}
BtfResultOrNull<ObjectKind::TcpRequestSock> skc_to_tcp_request_sock(HelperEnv&,
                                                                    BtfSockCommon) noexcept {
    return {};
}
BtfResultOrNull<ObjectKind::Udp6Sock> skc_to_udp6_sock(HelperEnv&, BtfSockCommon) noexcept {
    return {};
}
BtfResultOrNull<ObjectKind::UnixSock> skc_to_unix_sock(HelperEnv&, BtfSockCommon) noexcept {
    return {};
}
BtfResultOrNull<ObjectKind::MptcpSock> skc_to_mptcp_sock(HelperEnv&, SockCommonArg) noexcept {
    return {};
}

int64_t sk_redirect_map(HelperEnv& env, CtxArg, MapArg map, uint32_t key, uint64_t flags) noexcept {
    return redirect_to_index(env, *map.map, key, flags);
}
int64_t msg_redirect_map(HelperEnv& env, CtxArg, MapArg map, uint32_t key,
                         uint64_t flags) noexcept {
    return redirect_to_index(env, *map.map, key, flags);
}
int64_t sk_redirect_hash(HelperEnv& env, CtxArg, MapArg map, MapKey key, uint64_t flags) noexcept {
    return redirect_to(env, *map.map, key.data, flags);
}
int64_t msg_redirect_hash(HelperEnv& env, CtxArg, MapArg map, MapKey key, uint64_t flags) noexcept {
    return redirect_to(env, *map.map, key.data, flags);
}

int64_t sk_select_reuseport(HelperEnv& env, CtxArg, MapArg map, MapKey key,
                            uint64_t flags) noexcept {
    if (flags != 0) return kEinval;
    uint64_t number = 0;
    if (map->target(key.data, number) != 0) return kEnoent;
    env.redirect = {map.map, number, flags};
    return 0;
}

// What Linux does not know among the flags is what it returns.
int64_t sock_ops_cb_flags_set(HelperEnv&, CtxArg ctx, uint32_t flags) noexcept {
    constexpr uint32_t kAllFlags = 0x7f;
    auto& ops = ctx.as<SockOpsContext>();
    if (ops.is_fullsock == 0) return kEinval;
    ops.cb_flags = flags & kAllFlags;
    return flags & ~kAllFlags;
}

int64_t msg_apply_bytes(HelperEnv&, CtxArg ctx, uint32_t bytes) noexcept {
    ctx.as<SkMsgContext>().apply_bytes = bytes;
    return 0;
}
int64_t msg_cork_bytes(HelperEnv&, CtxArg ctx, uint32_t bytes) noexcept {
    ctx.as<SkMsgContext>().cork_bytes = bytes;
    return 0;
}
// The message is in one piece: its bytes are accessible already.
int64_t msg_pull_data(HelperEnv& env, CtxArg ctx, uint32_t start, uint32_t end,
                      uint64_t flags) noexcept {
    const PacketBuffer& packet = ctx.as<SkMsgContext>().packet;
    const auto size = static_cast<uint64_t>(packet.data_end - packet.data);
    if (flags != 0 || end <= start || end > size) return kEinval;
    env.packet_changed();
    return 0;
}

// Options of sockets that there are not.
int64_t setsockopt(HelperEnv&, CtxArg, int32_t, int32_t, ReadMem) noexcept { return kEinval; }
int64_t getsockopt(HelperEnv&, CtxArg, int32_t, int32_t, WriteMem value) noexcept {
    std::memset(value.data, 0, value.size);
    return kEinval;
}
int64_t bind(HelperEnv&, CtxArg, ReadMem) noexcept { return kEopnotsupp; }

int64_t skb_get_xfrm_state(HelperEnv&, CtxArg, uint32_t, WriteMem out, uint64_t) noexcept {
    std::memset(out.data, 0, out.size);
    return kEinval;
}

// --- tunnels: the key travels with the context ---------------------------------------------------

namespace {

// Linux takes the sizes that struct bpf_tunnel_key had over time.
bool is_tunnel_key_size(uint64_t size) {
    return size == 44 || size == 28 || size == 24 || size == 22 || size == 8;
}

}  // namespace

int64_t skb_get_tunnel_key(HelperEnv&, CtxArg ctx, WriteMem key, uint64_t flags) noexcept {
    constexpr uint64_t kKnown = 1 | 16;
    const auto& skb = ctx.as<SkbContext>();
    std::memset(key.data, 0, key.size);
    if ((flags & ~kKnown) != 0 || skb.tunnel_key_size == 0) return kEinval;
    if (!is_tunnel_key_size(key.size)) return kEinval;
    std::memcpy(key.data, skb.tunnel_key, key.size);
    return 0;
}

int64_t skb_set_tunnel_key(HelperEnv&, CtxArg ctx, ReadMem key, uint64_t flags) noexcept {
    constexpr uint64_t kKnown = 31;
    auto& skb = ctx.as<SkbContext>();
    if ((flags & ~kKnown) != 0 || !is_tunnel_key_size(key.size)) return kEinval;
    std::memset(skb.tunnel_key, 0, sizeof skb.tunnel_key);
    std::memcpy(skb.tunnel_key, key.data, key.size);
    skb.tunnel_key_size = sizeof skb.tunnel_key;
    return 0;
}

int64_t skb_get_tunnel_opt(HelperEnv&, CtxArg, WriteMem opt) noexcept {
    std::memset(opt.data, 0, opt.size);
    return kEnoent;
}
int64_t skb_set_tunnel_opt(HelperEnv&, CtxArg, ReadMem) noexcept { return kEinval; }

// --- sysctl --------------------------------------------------------------------------------------

int64_t sysctl_get_name(HelperEnv&, CtxArg ctx, WriteMem out, uint64_t flags) noexcept {
    constexpr uint64_t kBaseName = 1;
    const char* name = ctx.as<SysctlContext>().name;
    if ((flags & ~kBaseName) != 0) name = nullptr;
    if (name != nullptr && (flags & kBaseName) != 0) {
        if (const char* slash = std::strrchr(name, '/'); slash != nullptr) name = slash + 1;
    }
    return copy_text(out, name);
}
int64_t sysctl_get_current_value(HelperEnv&, CtxArg ctx, WriteMem out) noexcept {
    return copy_text(out, ctx.as<SysctlContext>().current_value);
}
int64_t sysctl_get_new_value(HelperEnv&, CtxArg ctx, WriteMem out) noexcept {
    const auto& sysctl = ctx.as<SysctlContext>();
    return copy_text(out, sysctl.write != 0 ? sysctl.new_value : nullptr);
}
int64_t sysctl_set_new_value(HelperEnv&, CtxArg ctx, ReadMem value) noexcept {
    auto& sysctl = ctx.as<SysctlContext>();
    if (sysctl.write == 0 || sysctl.written == nullptr) return kEinval;
    if (value.size > sysctl.written_capacity) return kE2big;
    std::memcpy(sysctl.written, value.data, value.size);
    sysctl.written_size = static_cast<uint32_t>(value.size);
    return 0;
}

}  // namespace skep::helper
