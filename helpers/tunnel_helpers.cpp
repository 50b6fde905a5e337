// Tunnels: key and options travel with the packet's context.
#include <algorithm>
#include <cstring>

#include <skep/context.hpp>

#include "helpers/impl.hpp"

namespace skep::helper {

namespace {

constexpr uint64_t kIpv6 = 1, kZeroChecksum = 2, kDontFragment = 4, kSequence = 8;
constexpr uint64_t kNoKey = 16, kWantsFlags = 16;
// Bits of tunnel_flags, in network byte order there.
constexpr uint16_t kFlagChecksum = 0x0001, kFlagKey = 0x0004, kFlagSequence = 0x0008,
                   kFlagDontFragment = 0x0100, kFlagNoCache = 0x2000;

// struct bpf_tunnel_key.
struct TunnelKey {
    uint32_t id;
    uint32_t remote[4];  // IPv4: the first, in host byte order
    uint8_t tos, ttl;
    uint16_t flags;
    uint32_t label;
    uint32_t local[4];
};
static_assert(sizeof(TunnelKey) == 44 && sizeof(SkbContext::tunnel_key) == sizeof(TunnelKey));

// Linux takes the sizes that the struct had over time.
bool is_key_size(uint64_t size) {
    return size == 44 || size == 28 || size == 24 || size == 22 || size == 8;
}

// The key as a program reads it: what it set itself is seen from the other end.
TunnelKey key_of(const SkbContext& skb) {
    TunnelKey key;
    std::memcpy(&key, skb.tunnel_key, sizeof key);
    if (skb.tunnel_set) std::swap(key.remote, key.local);
    return key;
}

}  // namespace

int64_t skb_get_tunnel_key(HelperEnv&, CtxArg ctx, WriteMem out, uint64_t flags) noexcept {
    constexpr int64_t kEproto = -71;
    constexpr uint64_t kIpv4Size = 8;  // of the first form of the struct
    const auto& skb = ctx.as<SkbContext>();
    std::memset(out.data, 0, out.size);
    if ((flags & ~(kIpv6 | kWantsFlags)) != 0 || skb.tunnel_key_size == 0) return kEinval;
    if (skb.tunnel_ipv6 != ((flags & kIpv6) != 0)) return kEproto;
    if (!is_key_size(out.size) || (out.size == kIpv4Size && skb.tunnel_ipv6)) return kEinval;
    TunnelKey key = key_of(skb);
    key.flags = (flags & kWantsFlags) != 0 ? skb.tunnel_flags : 0;
    if (!skb.tunnel_ipv6) {
        std::memset(key.remote + 1, 0, 12);
        std::memset(key.local + 1, 0, 12);
        key.label = 0;
    }
    std::memcpy(out.data, &key, out.size);
    return 0;
}

int64_t skb_set_tunnel_key(HelperEnv&, CtxArg ctx, ReadMem from, uint64_t flags) noexcept {
    constexpr uint64_t kKnown = kIpv6 | kZeroChecksum | kDontFragment | kSequence | kNoKey;
    constexpr uint32_t kLabelMask = 0xfffff;
    auto& skb = ctx.as<SkbContext>();
    if ((flags & ~kKnown) != 0 || !is_key_size(from.size)) return kEinval;
    TunnelKey key{};
    std::memcpy(&key, from.data, from.size);
    const bool ipv6 = (flags & kIpv6) != 0;
    if ((!ipv6 && key.label != 0) || key.flags != 0) return kEinval;
    key.label &= kLabelMask;
    std::memcpy(skb.tunnel_key, &key, sizeof key);
    skb.tunnel_key_size = sizeof key;
    skb.tunnel_ipv6 = ipv6;
    skb.tunnel_set = true;
    skb.tunnel_opt_size = 0;
    unsigned bits = kFlagNoCache;
    if ((flags & kNoKey) == 0) bits |= kFlagKey;
    if ((flags & kZeroChecksum) == 0) bits |= kFlagChecksum;
    if ((flags & kSequence) != 0) bits |= kFlagSequence;
    if ((flags & kDontFragment) != 0) bits |= kFlagDontFragment;
    skb.tunnel_flags = static_cast<uint16_t>(bits << 8 | bits >> 8);
    return 0;
}

// The result is the length of the options.
int64_t skb_get_tunnel_opt(HelperEnv&, CtxArg ctx, WriteMem opt) noexcept {
    const auto& skb = ctx.as<SkbContext>();
    std::memset(opt.data, 0, opt.size);
    const uint32_t size = std::min<uint32_t>(skb.tunnel_opt_size, sizeof skb.tunnel_opt);
    if (skb.tunnel_key_size == 0 || size == 0) return kEnoent;
    if (opt.size < size) return kEnomem;
    std::memcpy(opt.data, skb.tunnel_opt, size);
    return size;
}

// Only behind a key that the program set.
int64_t skb_set_tunnel_opt(HelperEnv&, CtxArg ctx, ReadMem opt) noexcept {
    auto& skb = ctx.as<SkbContext>();
    if (!skb.tunnel_set || opt.size % 4 != 0) return kEinval;
    if (opt.size > sizeof skb.tunnel_opt) return kEnomem;
    std::memcpy(skb.tunnel_opt, opt.data, opt.size);
    skb.tunnel_opt_size = static_cast<uint32_t>(opt.size);
    return 0;
}

int64_t skb_get_xfrm_state(HelperEnv&, CtxArg, uint32_t, WriteMem out, uint64_t) noexcept {
    std::memset(out.data, 0, out.size);
    return kEinval;
}

}  // namespace skep::helper
