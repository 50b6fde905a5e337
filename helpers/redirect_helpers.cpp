// Redirects: the verdict that a program returns, and the target that the host acts on.
#include <skep/map.hpp>
#include <skep/services.hpp>

#include "helpers/impl.hpp"
#include "helpers/packet.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::helper {

namespace {

constexpr int64_t kXdpAborted = 0, kXdpRedirect = 4;
constexpr int64_t kTcShot = 2, kTcRedirect = 7;
constexpr uint64_t kIngress = 1;
constexpr int64_t kEnodev = -19;
constexpr uint32_t kDefaultMtu = 1500;

uint32_t mtu_of(const HelperEnv& env, uint32_t ifindex) {
    return env.services != nullptr && env.services->mtu ? env.services->mtu(ifindex) : kDefaultMtu;
}

}  // namespace

int64_t redirect(HelperEnv& env, uint32_t ifindex, uint64_t flags) noexcept {
    const bool xdp = env.layout == &kXdpCtx;
    if (xdp && flags != 0) return kXdpAborted;
    if (!xdp && (flags & ~kIngress) != 0) return kTcShot;
    env.redirect = {nullptr, ifindex, flags};
    return xdp ? kXdpRedirect : kTcRedirect;
}

int64_t redirect_peer(HelperEnv& env, uint32_t ifindex, uint64_t flags) noexcept {
    if (flags != 0) return kTcShot;
    env.redirect = {nullptr, ifindex, flags};
    return kTcRedirect;
}

int64_t redirect_neigh(HelperEnv& env, uint32_t ifindex, ReadMemOrNull next_hop,
                       uint64_t flags) noexcept {
    constexpr uint64_t kNextHopBytes = 20;  // struct bpf_redir_neigh
    if (flags != 0 || (next_hop.size != 0 && next_hop.size < kNextHopBytes)) return kTcShot;
    env.redirect = {nullptr, ifindex, flags};
    return kTcRedirect;
}

// The low bits of `flags` are the verdict when the map has no target for the key.
int64_t redirect_map(HelperEnv& env, MapArg map, uint64_t key, uint64_t flags) noexcept {
    constexpr uint64_t kActionMask = 3, kBroadcast = 8, kExcludeIngress = 16;
    uint64_t known = kActionMask;
    switch (map->def().type) {
        case MapType::Devmap:
        case MapType::DevmapHash: known |= kBroadcast | kExcludeIngress; break;
        case MapType::Cpumap:
        case MapType::Xskmap: break;
        default: env.fail(TrapCode::BadArgument); return kXdpAborted;
    }
    if ((flags & ~known) != 0) return kXdpAborted;
    const auto index = static_cast<uint32_t>(key);
    uint64_t number = 0;
    const bool found = map->target(reinterpret_cast<const std::byte*>(&index), number) == 0;
    if (!found && (flags & kBroadcast) == 0) {
        env.redirect = {};
        return static_cast<int64_t>(flags & kActionMask);
    }
    env.redirect = {map.map, index, flags};
    return kXdpRedirect;
}

int64_t clone_redirect(HelperEnv& env, CtxArg ctx, uint32_t ifindex, uint64_t flags) noexcept {
    if ((flags & ~kIngress) != 0) return kEinval;
    const Skb skb(env, ctx.host);
    if (!skb.valid() || mtu_of(env, ifindex) == 0) return kEinval;
    if (!env.charge(1 + skb.size() / 4096)) return 0;
    env.packet_changed();
    if (env.services == nullptr || !env.services->clone_redirect) return 0;
    return env.services->clone_redirect({skb.bytes(0, skb.size()), skb.size()}, ifindex, flags);
}

// 0: fits; 1: too long. `mtu` holds a length to test instead of the packet's, and gets the MTU.
int64_t check_mtu(HelperEnv& env, CtxArg ctx, uint32_t ifindex, InOut<uint32_t> mtu, int32_t delta,
                  uint64_t flags) noexcept {
    constexpr uint64_t kSegments = 1;
    constexpr int64_t kFragmentationNeeded = 1;
    const bool xdp = env.layout == &kXdpCtx;
    if ((flags & ~(xdp ? 0 : kSegments)) != 0) return kEinval;
    if (!xdp && (flags & kSegments) != 0 && (delta != 0 || *mtu.value != 0)) return kEinval;
    const uint32_t limit = mtu_of(env, ifindex);
    if (limit == 0) return kEnodev;
    int64_t length = 0;
    if (*mtu.value != 0) {
        length = int64_t{*mtu.value} + kEthernetHeader;
    } else if (xdp) {
        const PacketBuffer& packet = ctx.as<XdpContext>().packet;
        length = packet.data_end - packet.data;
    } else {
        length = ctx.as<SkbContext>().len;
    }
    *mtu.value = limit;
    return length + delta > int64_t{limit} + kEthernetHeader ? kFragmentationNeeded : 0;
}

// The host's routing table, if it gives one.
int64_t fib_lookup(HelperEnv& env, CtxArg, ReadWriteMem params, uint32_t flags) noexcept {
    constexpr uint64_t kParamsBytes = 64;  // struct bpf_fib_lookup
    constexpr int64_t kNotForwarded = 4;
    if (params.size < kParamsBytes) return kEinval;
    if (env.services == nullptr || !env.services->fib_lookup) return kNotForwarded;
    return env.services->fib_lookup({params.data, kParamsBytes}, flags);
}

}  // namespace skep::helper
