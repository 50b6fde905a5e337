// Editing a packet in its buffer: see the header.
#include "helpers/packet.hpp"

#include <algorithm>
#include <cstring>

#include "vm/prog/ctx_layouts.hpp"

namespace skep {

Skb::Skb(HelperEnv& env, void* context) noexcept
    : env_(env), context_(*static_cast<SkbContext*>(context)), packet_(context_.packet) {}

std::byte* Skb::bytes(uint64_t offset, uint64_t length) const noexcept {
    const uint64_t available = size();
    if (offset > available || length > available - offset) return nullptr;
    return packet_.data + offset;
}

uint32_t Skb::network_offset() const noexcept {
    if (context_.mac_len != SkbContext::kAutoMac) return context_.mac_len;
    const bool from_network =
        env_.layout == &kCgroupSkbCtx || env_.layout == &kLwtCtx || env_.layout == &kSkSkbCtx;
    return from_network ? 0 : kEthernetHeader;
}

uint16_t Skb::inner_protocol() const noexcept {
    uint16_t protocol = this->protocol();
    for (uint32_t offset = kEthernetHeader; is_vlan(protocol); offset += kVlanTag) {
        const std::byte* tag = bytes(offset, kVlanTag);
        if (tag == nullptr) return 0;
        std::memcpy(&protocol, tag + 2, 2);
    }
    return protocol;
}

bool Skb::insert(uint32_t offset, uint32_t length, Side side) noexcept {
    const auto headroom = static_cast<uint64_t>(packet_.data - packet_.head);
    if (length > headroom || offset > size()) return false;
    std::byte* data = packet_.data - length;
    std::memmove(data, packet_.data, offset);
    std::memset(data + offset, 0, length);
    packet_.data = data;
    // Metadata ends where data begins; Linux drops it when the header moves.
    packet_.data_meta = data;
    context_.len += length;
    if (side == Side::BeforeNetwork) context_.mac_len = network_offset() + length;
    if (context_.transport_offset != 0) context_.transport_offset += length;
    moved();
    return true;
}

bool Skb::remove(uint32_t offset, uint32_t length, Side side) noexcept {
    if (offset > size() || length > size() - offset) return false;
    std::memmove(packet_.data + length, packet_.data, offset);
    packet_.data += length;
    packet_.data_meta = packet_.data;
    context_.len -= std::min(length, context_.len);
    if (side == Side::BeforeNetwork) {
        const uint32_t network = network_offset();
        context_.mac_len = std::max(network - std::min(length, network), kEthernetHeader);
    }
    context_.transport_offset -= std::min(length, context_.transport_offset);
    moved();
    return true;
}

bool Skb::resize(uint32_t length) noexcept {
    const uint32_t before = size();
    if (length > static_cast<uint64_t>(packet_.hard_end - packet_.data)) return false;
    if (length > before) std::memset(packet_.data_end, 0, length - before);
    packet_.data_end = packet_.data + length;
    context_.len = length;
    moved();
    return true;
}

void Skb::moved() noexcept { env_.packet_changed(); }

}  // namespace skep
