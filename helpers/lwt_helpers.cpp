// Light-weight tunnels: headers around a packet, and segment routing headers inside it.
#include <cstring>

#include "helpers/checksum.hpp"
#include "helpers/impl.hpp"
#include "helpers/packet.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::helper {

namespace {

constexpr uint32_t kSeg6 = 0, kSeg6Inline = 1, kIp = 2;  // enum bpf_lwt_encap_mode
constexpr uint64_t kMaxHeadroom = 256;
constexpr std::byte kRoutingHeader{43};
constexpr uint32_t kNextHeader = 6, kPayloadLength = 4, kHopLimit = 7, kSource = 8, kDest = 24;
constexpr uint32_t kSegmentBytes = 16, kSrhFixed = 8;

unsigned byte_at(const std::byte* at, uint64_t i) { return std::to_integer<unsigned>(at[i]); }

void store_be16(std::byte* at, uint32_t value) {
    const uint16_t swapped = big_endian(static_cast<uint16_t>(value));
    std::memcpy(at, &swapped, 2);
}

// Where a segment routing header and its parts are in the packet.
struct Srh {
    uint32_t at = 0, tlvs = 0, end = 0;  // offsets; 0 = there is none
};

// Type 4, as long as it says, and with all the segments that it counts.
bool is_srh(const std::byte* header, uint64_t size) {
    if (size < kSrhFixed) return false;
    const uint64_t length = (byte_at(header, 1) + 1u) * 8;
    const uint64_t segments = byte_at(header, 4) + 1u;
    return length == size && byte_at(header, 2) == 4 &&
           kSrhFixed + segments * kSegmentBytes <= length &&
           byte_at(header, 3) <= byte_at(header, 4);
}

Srh find_srh(const Skb& skb) {
    constexpr unsigned kHopByHop = 0, kDestOptions = 60;
    const std::byte* ip = skb.bytes(0, kIpv6Header);
    if (ip == nullptr || byte_at(ip, 0) >> 4 != 6) return {};
    unsigned kind = byte_at(ip, kNextHeader);
    uint32_t at = kIpv6Header;
    while (true) {
        const std::byte* header = skb.bytes(at, kSrhFixed);
        if (header == nullptr) return {};
        const uint32_t length = (byte_at(header, 1) + 1) * 8;
        if (kind == std::to_integer<unsigned>(kRoutingHeader)) {
            const std::byte* whole = skb.bytes(at, length);
            if (whole == nullptr || !is_srh(whole, length)) return {};
            const uint32_t segments = byte_at(header, 4) + 1;
            return {at, at + kSrhFixed + segments * kSegmentBytes, at + length};
        }
        if (kind != kHopByHop && kind != kDestOptions) return {};
        kind = byte_at(header, 0);
        at += length;
    }
}

// A whole IP header, and what belongs to it, in front of the packet.
int64_t push_ip(Skb& skb, const std::byte* header, uint64_t length) {
    if (length < kIpv4Header || length > kMaxHeadroom) return kEinval;
    const unsigned version = byte_at(header, 0) >> 4;
    if (version == 4) {
        const uint64_t own = (byte_at(header, 0) & 15) * 4;
        if (own < kIpv4Header || own > length) return kEinval;
    } else if (version != 6 || length < kIpv6Header) {
        return kEinval;
    }
    if (!skb.insert(0, static_cast<uint32_t>(length), Skb::Side::Network)) return kEnomem;
    std::byte* pushed = skb.bytes(0, length);
    std::memcpy(pushed, header, length);
    constexpr uint32_t kCheck = 10;
    const size_t own = (byte_at(header, 0) & 15) * 4;
    uint16_t check = 0;
    std::memcpy(&check, pushed + kCheck, 2);
    if (version == 4 && check == 0) {
        // The checksum that the program left out.
        check = static_cast<uint16_t>(~checksum::fold(checksum::partial({pushed, own}, 0)));
        std::memcpy(pushed + kCheck, &check, 2);
    }
    skb.context().protocol = version == 4 ? kProtoIpv4 : kProtoIpv6;
    skb.context().hash = 0;
    return 0;
}

// A segment routing header: behind the packet's own IPv6 header, or behind a new one around it.
int64_t push_seg6(Skb& skb, const std::byte* srh, uint64_t length, bool inside) {
    const std::byte* first = skb.bytes(0, kIpv6Header);
    if (!is_srh(srh, length) || first == nullptr || skb.protocol() != kProtoIpv6) return kEinval;
    std::byte ip[kIpv6Header];
    std::memcpy(ip, first, sizeof ip);
    const auto added = static_cast<uint32_t>(length) + (inside ? 0 : kIpv6Header);
    if (!skb.insert(inside ? kIpv6Header : 0, added, Skb::Side::Network)) return kEnomem;
    std::byte* outer = skb.bytes(0, kIpv6Header);
    std::byte* header = skb.bytes(kIpv6Header, length);
    std::memcpy(header, srh, length);
    header[0] = inside ? ip[kNextHeader] : std::byte{41};  // IPv6 in IPv6
    if (inside) {
        // The old destination is the last segment.
        std::memcpy(header + kSrhFixed, ip + kDest, kSegmentBytes);
    } else {
        std::memset(outer, 0, kIpv6Header);
        outer[0] = std::byte{0x60};
        outer[kHopLimit] = ip[kHopLimit];
        std::memcpy(outer + kSource, ip + kSource, kSegmentBytes);
    }
    outer[kNextHeader] = kRoutingHeader;
    std::memcpy(outer + kDest, header + kSrhFixed + byte_at(header, 4) * kSegmentBytes,
                kSegmentBytes);
    store_be16(outer + kPayloadLength, skb.size() - kIpv6Header);
    return 0;
}

}  // namespace

int64_t lwt_push_encap(HelperEnv& env, CtxArg ctx, uint32_t type, ReadMem header) noexcept {
    Skb skb(env, ctx.host);
    std::byte copy[kMaxHeadroom];
    if (!skb.valid() || header.size > sizeof copy) return kEinval;
    std::memcpy(copy, header.data, header.size);
    // The header may be longer than what its length field names: what counts is what was given.
    switch (type) {
        case kIp: return push_ip(skb, copy, header.size);
        case kSeg6:
        case kSeg6Inline: return push_seg6(skb, copy, header.size, type == kSeg6Inline);
        default: return kEinval;
    }
}

// Flags, tag and TLVs may be written; the segments may not.
int64_t lwt_seg6_store_bytes(HelperEnv& env, CtxArg ctx, uint32_t offset, ReadMem from) noexcept {
    constexpr uint32_t kFlags = 5;
    const Skb skb(env, ctx.host);
    const Srh srh = find_srh(skb);
    if (srh.at == 0) return kEinval;
    const uint64_t end = uint64_t{offset} + from.size;
    const bool in_tlvs = offset >= srh.tlvs && end <= srh.end;
    const bool in_fixed = offset >= srh.at + kFlags && end <= srh.at + kSrhFixed;
    if (!in_tlvs && !in_fixed) return kEfault;
    std::byte* to = skb.bytes(offset, from.size);
    if (to == nullptr) return kEfault;
    std::memcpy(to, from.data, from.size);
    return 0;
}

// Makes or takes room among the TLVs.
int64_t lwt_seg6_adjust_srh(HelperEnv& env, CtxArg ctx, uint32_t offset, int32_t delta) noexcept {
    Skb skb(env, ctx.host);
    const Srh srh = find_srh(skb);
    if (srh.at == 0 || delta % 8 != 0) return kEinval;
    if (offset < srh.tlvs || offset > srh.end) return kEfault;
    if (delta == 0) return 0;
    const int64_t blocks = int64_t{byte_at(skb.bytes(srh.at, 2), 1)} + delta / 8;
    if (blocks < 0 || blocks > 255) return kEinval;
    if (delta > 0) {
        if (!skb.insert(offset, static_cast<uint32_t>(delta), Skb::Side::Network)) return kEnomem;
    } else {
        const uint32_t taken = 0u - static_cast<uint32_t>(delta);
        if (taken > srh.end - offset) return kEfault;
        if (!skb.remove(offset, taken, Skb::Side::Network)) return kEnomem;
    }
    std::byte* ip = skb.bytes(0, kIpv6Header);
    std::byte* header = skb.bytes(srh.at, kSrhFixed);
    if (ip == nullptr || header == nullptr) return kEfault;
    header[1] = static_cast<std::byte>(blocks);
    store_be16(ip + kPayloadLength, skb.size() - kIpv6Header);
    return 0;
}

}  // namespace skep::helper
