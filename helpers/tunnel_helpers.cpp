// Tunnels: key and options travel with the packet's context.
#include <algorithm>
#include <cstring>

#include <skep/context.hpp>

#include "helpers/impl.hpp"

namespace skep::helper {

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

int64_t skb_get_xfrm_state(HelperEnv&, CtxArg, uint32_t, WriteMem out, uint64_t) noexcept {
    std::memset(out.data, 0, out.size);
    return kEinval;
}

}  // namespace skep::helper
