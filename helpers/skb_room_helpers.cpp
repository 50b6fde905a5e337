// Helpers that make or take room in an sk_buff: VLAN tags, headers, length.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "helpers/impl.hpp"
#include "helpers/packet.hpp"

namespace skep::helper {

namespace {

constexpr uint16_t kProto8023 = big_endian(0x0001), kProto8022 = big_endian(0x0004);

// Novell's raw 802.3 frames start with two bytes of ones.
bool has_payload_of_ones(const Skb& skb) {
    const std::byte* payload = skb.bytes(kEthernetHeader, 2);
    return payload != nullptr && payload[0] == std::byte{0xff} && payload[1] == std::byte{0xff};
}

// Moves the tag that the context carries into the packet. As in Linux, the network header is then
// where the tag is.
bool push_tag_into_packet(Skb& skb) {
    SkbContext& context = skb.context();
    if (skb.size() < kEthernetHeader || !skb.insert(kMacAddresses, kVlanTag, Skb::Side::Network))
        return false;
    std::byte* tag = skb.bytes(kMacAddresses, kVlanTag);
    const auto protocol = static_cast<uint16_t>(context.vlan_proto);
    const uint16_t tci = big_endian(static_cast<uint16_t>(context.vlan_tci));
    std::memcpy(tag, &protocol, 2);
    std::memcpy(tag + 2, &tci, 2);
    context.protocol = protocol;
    return true;
}

// Takes a tag out of the packet. The protocol becomes that of what follows.
bool pop_tag_of_packet(Skb& skb, uint16_t& tci) {
    const std::byte* tag = skb.bytes(kMacAddresses, kVlanTag + 2);
    if (tag == nullptr) return false;
    uint16_t value = 0, inner = 0;
    std::memcpy(&value, tag + 2, 2);
    std::memcpy(&inner, tag + 4, 2);
    tci = big_endian(value);
    if (!skb.remove(kMacAddresses, kVlanTag, Skb::Side::BeforeNetwork)) return false;
    // A length instead of a protocol: IEEE 802.3 frames, with or without an 802.2 header.
    constexpr uint16_t kFirstProtocol = 0x600;
    if (big_endian(inner) < kFirstProtocol)
        inner = has_payload_of_ones(skb) ? kProto8023 : kProto8022;
    skb.context().protocol = inner;
    return true;
}

void set_tag(SkbContext& context, uint16_t protocol, uint16_t tci) {
    context.vlan_present = 1;
    context.vlan_proto = protocol;
    context.vlan_tci = tci;
}

uint32_t network_header_size(const Skb& skb) {
    switch (skb.protocol()) {
        case kProtoIpv4: return kIpv4Header;
        case kProtoIpv6: return kIpv6Header;
        default: return ~uint32_t{0};
    }
}

namespace room {
constexpr uint32_t kModeNet = 0, kModeMac = 1;
constexpr uint64_t kFixedGso = 1, kEncapIpv4 = 2, kEncapIpv6 = 4, kEncapGre = 8, kEncapUdp = 16,
                   kNoChecksumReset = 32, kEncapEth = 64, kDecapIpv4 = 128, kDecapIpv6 = 256;
constexpr uint64_t kEncapL3 = kEncapIpv4 | kEncapIpv6, kEncapL4 = kEncapGre | kEncapUdp;
constexpr uint64_t kDecap = kDecapIpv4 | kDecapIpv6;
constexpr uint64_t kL2LengthMask = uint64_t{0xff} << 56;
constexpr uint64_t kGrowFlags =
    kFixedGso | kEncapL3 | kEncapL4 | kNoChecksumReset | kEncapEth | kL2LengthMask;
constexpr uint64_t kShrinkFlags = kFixedGso | kDecap | kNoChecksumReset;
constexpr uint64_t kKnown = kGrowFlags | kDecap;
}  // namespace room

constexpr int64_t kEalready = -114;

int64_t grow(Skb& skb, uint32_t offset, uint32_t length, uint64_t flags) {
    using namespace room;  // NOLINT
    if ((flags & ~kGrowFlags) != 0) return kEinval;
    const uint64_t l3 = flags & kEncapL3;
    if (l3 != 0) {
        const uint64_t l2_length = flags >> 56;
        if (l3 == kEncapL3 || (flags & kEncapL4) == kEncapL4) return kEinval;
        if ((flags & kEncapEth) != 0 && l2_length < kEthernetHeader) return kEinval;
        if (skb.context().encapsulated) return kEalready;
        if (l2_length > length) return kEinval;
    }
    if (!skb.insert(offset, length, Skb::Side::Network)) return kEnomem;
    if (l3 != 0) {
        SkbContext& context = skb.context();
        const bool v6 = l3 == kEncapIpv6;
        context.encapsulated = true;
        context.protocol = v6 ? kProtoIpv6 : kProtoIpv4;
        if ((flags & kEncapL4) != 0) {
            context.transport_offset = skb.network_offset() + (v6 ? kIpv6Header : kIpv4Header);
        }
    }
    return 0;
}

int64_t shrink(Skb& skb, uint32_t offset, uint32_t length, uint64_t flags) {
    using namespace room;  // NOLINT
    if ((flags & ~kShrinkFlags) != 0) return kEinval;
    if (!skb.remove(offset, length, Skb::Side::Network)) return kEnomem;
    if ((flags & kDecapIpv4) != 0) skb.context().protocol = kProtoIpv4;
    if ((flags & kDecapIpv6) != 0) skb.context().protocol = kProtoIpv6;
    return 0;
}

}  // namespace

int64_t skb_vlan_push(HelperEnv& env, CtxArg ctx, uint32_t protocol, uint32_t tci) noexcept {
    Skb skb(env, ctx.host);
    if (!skb.valid()) return kEfault;
    auto tag_protocol = static_cast<uint16_t>(protocol);
    if (!is_vlan(tag_protocol)) tag_protocol = kProtoVlan;
    if (skb.context().vlan_present != 0 && !push_tag_into_packet(skb)) return kEnomem;
    set_tag(skb.context(), tag_protocol, static_cast<uint16_t>(tci));
    env.packet_changed();
    return 0;
}

int64_t skb_vlan_pop(HelperEnv& env, CtxArg ctx) noexcept {
    Skb skb(env, ctx.host);
    if (!skb.valid()) return kEfault;
    SkbContext& context = skb.context();
    uint16_t tci = 0;
    if (context.vlan_present != 0) {
        context.vlan_present = 0;
        context.vlan_tci = 0;
        context.vlan_proto = 0;
    } else {
        if (!is_vlan(skb.protocol())) return 0;
        if (!pop_tag_of_packet(skb, tci)) return kEnomem;
    }
    // A further tag moves from the packet to the context.
    const uint16_t next = skb.protocol();
    if (is_vlan(next)) {
        if (!pop_tag_of_packet(skb, tci)) return kEnomem;
        set_tag(context, next, tci);
    }
    env.packet_changed();
    return 0;
}

int64_t skb_change_tail(HelperEnv& env, CtxArg ctx, uint32_t length, uint64_t flags) noexcept {
    Skb skb(env, ctx.host);
    if (!skb.valid() || flags != 0) return kEinval;
    if (length > kMaxSkbLength ||
        length < std::max(skb.network_offset(), skb.context().transport_offset))
        return kEinval;
    if (skb.context().encapsulated) return kEnotsupp;
    return skb.resize(length) ? 0 : kEnomem;
}

int64_t skb_change_head(HelperEnv& env, CtxArg ctx, uint32_t length, uint64_t flags) noexcept {
    Skb skb(env, ctx.host);
    if (!skb.valid() || flags != 0) return kEinval;
    const uint64_t total = uint64_t{skb.size()} + length;
    if (total > kMaxSkbLength) return kEinval;
    return skb.insert(0, length, Skb::Side::BeforeNetwork) ? 0 : kEnomem;
}

// IPv4 to IPv6 and back: the difference of the header lengths, right behind the link header. The
// program fills the new header in.
int64_t skb_change_proto(HelperEnv& env, CtxArg ctx, uint32_t protocol, uint64_t flags) noexcept {
    constexpr uint32_t kDifference = kIpv6Header - kIpv4Header;
    Skb skb(env, ctx.host);
    if (!skb.valid() || flags != 0) return kEinval;
    const auto to = static_cast<uint16_t>(protocol);
    bool done = false;
    if (skb.protocol() == kProtoIpv4 && to == kProtoIpv6) {
        done = skb.insert(skb.network_offset(), kDifference, Skb::Side::Network);
    } else if (skb.protocol() == kProtoIpv6 && to == kProtoIpv4) {
        done = skb.remove(skb.network_offset(), kDifference, Skb::Side::Network);
    } else {
        return kEnotsupp;
    }
    if (!done) return kEnomem;
    skb.context().protocol = to;
    skb.context().hash = 0;
    return 0;
}

int64_t skb_adjust_room(HelperEnv& env, CtxArg ctx, int32_t delta, uint32_t mode,
                        uint64_t flags) noexcept {
    Skb skb(env, ctx.host);
    if (!skb.valid() || (flags & ~room::kKnown) != 0) return kEinval;
    const bool shrinks = delta < 0;
    const auto length = static_cast<uint32_t>(std::abs(int64_t{delta}));
    if (length > 0xfff) return kEfault;
    uint32_t shortest = network_header_size(skb);
    if (shortest == ~uint32_t{0}) return kEnotsupp;
    const uint32_t network = skb.network_offset();
    if (mode != room::kModeNet && mode != room::kModeMac) return kEnotsupp;
    const uint32_t offset = network + (mode == room::kModeNet ? shortest : 0);
    if (const uint64_t decap = flags & room::kDecap; decap != 0) {
        if (!shrinks || decap == room::kDecap) return kEinval;
        shortest = decap == room::kDecapIpv4 ? kIpv4Header : kIpv6Header;
    }
    const uint32_t payload = skb.size() > network ? skb.size() - network : 0;
    if (shrinks && (length >= payload || payload - length < shortest)) return kEnotsupp;
    if (!shrinks && skb.size() + length > kMaxSkbLength) return kEnotsupp;
    const int64_t result =
        shrinks ? shrink(skb, offset, length, flags) : grow(skb, offset, length, flags);
    if (result == 0 && (flags & room::kNoChecksumReset) == 0) skb.context().csum_level = -1;
    return result;
}

}  // namespace skep::helper
