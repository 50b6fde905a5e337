// Sockets: look-ups that the host answers, what programs read and set of them, where they go.
#include <algorithm>
#include <cstring>

#include <skep/context.hpp>
#include <skep/map.hpp>
#include <skep/services.hpp>

#include "helpers/impl.hpp"
#include "helpers/sockets.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::helper {

namespace {

constexpr uint32_t kNobody = 65534;
constexpr uint32_t kInet = 2, kInet6 = 10;     // address families
constexpr uint32_t kTcp = 6, kUdp = 17;        // protocols
constexpr uint32_t kClosed = 7, kListen = 10;  // states: TCP_CLOSE, TCP_LISTEN

// A number for objects of the kernel's that are no socket of the run.
uint64_t number_of(const HelperEnv& env, const void* object) {
    if (const SockContext* socket = socket_at(env, object)) return socket_number(*socket);
    return reinterpret_cast<uintptr_t>(object);
}

uint32_t ingress_interface(const HelperEnv& env) {
    if (env.ctx == nullptr) return 0;
    if (env.layout == &kXdpCtx) return static_cast<const XdpContext*>(env.ctx)->ingress_ifindex;
    const bool skb =
        env.layout == &kTcCtx || env.layout == &kCgroupSkbCtx || env.layout == &kSkSkbCtx;
    return skb ? static_cast<const SkbContext*>(env.ctx)->ifindex : 0;
}

// struct bpf_sock_tuple: IPv4 addresses and ports in 12 bytes, or IPv6 ones in 36.
bool read_tuple(ReadMemOrEmpty tuple, SocketQuery& query) {
    const uint64_t address = tuple.size == 12 ? 4 : 16;
    if (tuple.size != 12 && tuple.size != 36) return false;
    query.family = tuple.size == 12 ? kInet : kInet6;
    std::memcpy(query.source, tuple.data, address);
    std::memcpy(query.dest, tuple.data + address, address);
    std::memcpy(&query.source_port, tuple.data + 2 * address, 2);
    std::memcpy(&query.dest_port, tuple.data + 2 * address + 2, 2);
    return true;
}

SockContext* find(HelperEnv& env, ReadMemOrEmpty tuple, uint32_t protocol, uint64_t netns,
                  uint64_t flags, bool any_state) {
    const auto number = static_cast<int32_t>(netns);
    if (flags != 0 || (number >= 0 && netns > INT32_MAX)) return nullptr;
    SocketQuery query;
    query.protocol = protocol;
    query.netns = number < 0 ? -1 : number;
    query.ifindex = ingress_interface(env);
    query.any_state = any_state;
    const Services* services = env.services;
    if (!read_tuple(tuple, query) || services == nullptr || !services->find_socket) return nullptr;
    SockContext* socket = services->find_socket(query);
    if (socket != nullptr && !socket->full && !any_state) {
        if (services->release_socket) services->release_socket(*socket);
        return nullptr;
    }
    return hold_socket(env, socket);
}

// SOL_SOCKET options that SockContext itself has.
uint32_t* plain_option(SockContext& socket, int32_t level, int32_t name) {
    constexpr int32_t kSolSocket = 1, kPriority = 12, kMark = 36, kBindToIfindex = 62;
    if (level != kSolSocket) return nullptr;
    switch (name) {
        case kPriority: return &socket.priority;
        case kMark: return &socket.mark;
        case kBindToIfindex: return &socket.bound_dev_if;
        default: return nullptr;
    }
}

int64_t option(HelperEnv& env, SockContext* socket, int32_t level, int32_t name, bool set,
               std::span<std::byte> value) {
    constexpr int64_t kEnoprotoopt = -92;
    if (socket == nullptr) return kEinval;
    const Services* services = env.services;
    if (services != nullptr && services->sockopt)
        return services->sockopt({socket, level, name, set, value});
    uint32_t* plain = plain_option(*socket, level, name);
    if (plain == nullptr) return kEnoprotoopt;
    if (value.size() != sizeof *plain) return kEinval;
    set ? std::memcpy(plain, value.data(), sizeof *plain)
        : std::memcpy(value.data(), plain, sizeof *plain);
    return 0;
}

int64_t set_option(HelperEnv& env, SockContext* socket, int32_t level, int32_t name,
                   ReadMem value) {
    // The host gets a copy: it cannot change the program's constant memory.
    constexpr uint64_t kLongest = 256;
    std::byte copy[kLongest];
    if (value.size > kLongest) return kEinval;
    std::memcpy(copy, value.data, value.size);
    return option(env, socket, level, name, true, {copy, value.size});
}

int64_t get_option(HelperEnv& env, SockContext* socket, int32_t level, int32_t name,
                   WriteMem value) {
    std::memset(value.data, 0, value.size);
    const int64_t error = option(env, socket, level, name, false, {value.data, value.size});
    if (error != 0) std::memset(value.data, 0, value.size);
    return error;
}

// Adds the context's socket to a map.
int64_t update(CtxArg ctx, Map& map, const std::byte* key, uint64_t flags) {
    constexpr uint32_t kActive = 4, kPassive = 5, kListening = 11;
    const auto& ops = ctx.as<SockOpsContext>();
    if (ops.op != kActive && ops.op != kPassive && ops.op != kListening) return kEopnotsupp;
    return store_socket(map, key, ops.sk, flags);
}

bool is_socket_map(HelperEnv& env, const Map& map, MapType type) {
    if (map.def().type == type) return true;
    env.fail(TrapCode::BadArgument);
    return false;
}

}  // namespace

// --- identity
// -------------------------------------------------------------------------------------

uint64_t get_socket_cookie(HelperEnv& env, CtxArg) noexcept {
    const SockContext* socket = context_socket(env);
    return socket != nullptr ? socket->cookie : 0;
}
uint64_t get_socket_cookie(HelperEnv& env, BtfSockCommonOrNull sk) noexcept {
    return sk.object == nullptr ? 0 : number_of(env, sk.object);
}

uint32_t get_socket_uid(HelperEnv& env, CtxArg) noexcept {
    const SockContext* socket = context_socket(env);
    return socket != nullptr && socket->full ? socket->uid : kNobody;
}

uint64_t get_netns_cookie(HelperEnv& env, CtxOrNull ctx) noexcept {
    const SockContext* socket = ctx.host != nullptr ? context_socket(env) : nullptr;
    if (socket != nullptr && socket->netns_cookie != 0) return socket->netns_cookie;
    return env.services != nullptr ? env.services->netns_cookie : 1;
}

uint32_t get_route_realm(HelperEnv&, CtxArg) noexcept { return 0; }
uint64_t skb_cgroup_classid(HelperEnv&, CtxArg) noexcept { return 0; }

namespace {

uint64_t cgroup_of(const SockContext* socket) {
    return socket != nullptr && socket->full ? socket->cgroup_id : 0;
}
// There is the root, and the cgroup below it.
uint64_t ancestor_of(const SockContext* socket, int32_t level) {
    constexpr uint64_t kRoot = 1;
    const uint64_t own = cgroup_of(socket);
    if (own == 0) return 0;
    if (level == 0) return kRoot;
    return level == 1 && own != kRoot ? own : 0;
}

}  // namespace

uint64_t skb_cgroup_id(HelperEnv& env, CtxArg) noexcept { return cgroup_of(context_socket(env)); }
uint64_t skb_ancestor_cgroup_id(HelperEnv& env, CtxArg, int32_t level) noexcept {
    return ancestor_of(context_socket(env), level);
}
uint64_t sk_cgroup_id(HelperEnv& env, BtfSockCommon sk) noexcept {
    return cgroup_of(socket_at(env, sk.object));
}
uint64_t sk_ancestor_cgroup_id(HelperEnv& env, BtfSockCommon sk, int32_t level) noexcept {
    return ancestor_of(socket_at(env, sk.object), level);
}

// --- look-up
// --------------------------------------------------------------------------------------

SocketResult sk_lookup_tcp(HelperEnv& env, CtxArg, ReadMemOrEmpty tuple, uint64_t netns,
                           uint64_t flags) noexcept {
    return {find(env, tuple, kTcp, netns, flags, false)};
}
SocketResult sk_lookup_udp(HelperEnv& env, CtxArg, ReadMemOrEmpty tuple, uint64_t netns,
                           uint64_t flags) noexcept {
    return {find(env, tuple, kUdp, netns, flags, false)};
}
SockCommonResult skc_lookup_tcp(HelperEnv& env, CtxArg, ReadMemOrEmpty tuple, uint64_t netns,
                                uint64_t flags) noexcept {
    return {find(env, tuple, kTcp, netns, flags, true)};
}

int64_t sk_release(HelperEnv& env, ReleasedSock sk) noexcept {
    SockContext* socket = socket_at(env, sk.object);
    if (socket == nullptr || !drop_socket(env, socket)) env.fail(TrapCode::Protocol);
    return 0;
}

SocketResult sk_fullsock(HelperEnv& env, SockCommonArg sk) noexcept {
    SockContext* socket = socket_at(env, sk.object);
    return {socket != nullptr && socket->full ? socket : nullptr};
}
TcpSockResult tcp_sock(HelperEnv& env, SockCommonArg sk) noexcept {
    SockContext* socket = socket_at(env, sk.object);
    const bool tcp = socket != nullptr && socket->full && socket->protocol == kTcp;
    return {tcp && add_tcp_part(env, socket) ? socket->tcp : nullptr};
}
SocketResult get_listener_sock(HelperEnv& env, SockCommonArg sk) noexcept {
    SockContext* socket = socket_at(env, sk.object);
    if (socket == nullptr) return {};
    if (socket->state == kListen) return {socket};
    return {add_socket(env, socket->listener) ? socket->listener : nullptr};
}

// --- choosing a socket
// ------------------------------------------------------------------------------

// TC: the socket that the packet goes to.
int64_t sk_assign(HelperEnv& env, CtxArg, BtfSockCommon sk, uint64_t flags) noexcept {
    SockContext* socket = socket_at(env, sk.object);
    if (socket == nullptr || flags != 0) return kEinval;
    env.redirect.socket = socket;
    return 0;
}

// Socket look-up: the socket that the connection goes to; null forgets an earlier choice.
int64_t sk_assign(HelperEnv& env, CtxArg ctx, SocketOrNull sk, uint64_t flags) noexcept {
    constexpr uint64_t kReplace = 1, kNoReuseport = 2;
    constexpr int64_t kEprototype = -91, kEsocktnosupport = -94, kEafnosupport = -97;
    auto& lookup = ctx.as<SkLookupContext>();
    SockContext* socket = socket_at(env, sk.object);
    if (sk.object != nullptr && socket == nullptr) return kEinval;
    if ((flags & ~(kReplace | kNoReuseport)) != 0) return kEinval;
    if (socket != nullptr) {
        const uint32_t wanted = socket->protocol == kTcp ? kListen : kClosed;
        if ((socket->protocol == kTcp || socket->protocol == kUdp) && socket->state != wanted)
            return kEsocktnosupport;
        if (socket->protocol != lookup.protocol) return kEprototype;
        if (socket->family != lookup.family && (socket->family == kInet || socket->ipv6_only))
            return kEafnosupport;
    }
    if (lookup.sk != nullptr && (flags & kReplace) == 0) return kEexist;
    lookup.sk = socket;
    env.redirect.socket = socket;
    return 0;
}

int64_t sk_select_reuseport(HelperEnv& env, CtxArg, MapArg map, MapKey key,
                            uint64_t flags) noexcept {
    if (flags != 0) return kEinval;
    uint64_t number = 0;
    if (map->target(key.data, number) != 0) return kEnoent;
    env.redirect.map = map.map;
    env.redirect.key = number;
    env.redirect.flags = flags;
    return 0;
}

int64_t sock_map_update(HelperEnv& env, CtxArg ctx, MapArg map, MapKey key,
                        uint64_t flags) noexcept {
    if (!is_socket_map(env, *map.map, MapType::Sockmap)) return 0;
    return update(ctx, *map.map, key.data, flags);
}
int64_t sock_hash_update(HelperEnv& env, CtxArg ctx, MapArg map, MapKey key,
                         uint64_t flags) noexcept {
    if (!is_socket_map(env, *map.map, MapType::Sockhash)) return 0;
    return update(ctx, *map.map, key.data, flags);
}

// --- options
// ----------------------------------------------------------------------------------------

int64_t setsockopt(HelperEnv& env, CtxArg, int32_t level, int32_t name, ReadMem value) noexcept {
    return set_option(env, context_socket(env), level, name, value);
}
int64_t setsockopt(HelperEnv& env, BtfSockCommon sk, int32_t level, int32_t name,
                   ReadMem value) noexcept {
    return set_option(env, socket_at(env, sk.object), level, name, value);
}
int64_t getsockopt(HelperEnv& env, CtxArg, int32_t level, int32_t name, WriteMem value) noexcept {
    return get_option(env, context_socket(env), level, name, value);
}
int64_t getsockopt(HelperEnv& env, BtfSockCommon sk, int32_t level, int32_t name,
                   WriteMem value) noexcept {
    return get_option(env, socket_at(env, sk.object), level, name, value);
}

int64_t bind(HelperEnv& env, CtxArg ctx, ReadMem address) noexcept {
    constexpr uint64_t kShortest = 16;  // struct sockaddr_in
    if (address.size < kShortest) return kEinval;
    if (env.services == nullptr || !env.services->bind) return kEopnotsupp;
    return env.services->bind(ctx.as<SockAddrContext>(), {address.data, address.size});
}

}  // namespace skep::helper
