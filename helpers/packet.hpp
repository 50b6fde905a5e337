// Editing a packet in its buffer: the moves that packet helpers are made of. Bounds stay inside
// [head, hard_end); the environment's packet region follows every move.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <skep/context.hpp>

#include "helpers/env.hpp"

namespace skep {

// Packet types whose longest packet is bounded as Linux bounds an sk_buff.
inline constexpr uint32_t kMaxSkbLength = 0xffff;
inline constexpr uint32_t kEthernetHeader = 14, kMacAddresses = 12, kVlanTag = 4;
inline constexpr uint32_t kIpv4Header = 20, kIpv6Header = 40;

constexpr uint16_t big_endian(uint16_t value) {
    return static_cast<uint16_t>(value << 8 | value >> 8);
}
inline constexpr uint16_t kProtoIpv4 = big_endian(0x0800), kProtoIpv6 = big_endian(0x86dd),
                          kProtoVlan = big_endian(0x8100), kProtoQinQ = big_endian(0x88a8);

constexpr bool is_vlan(uint16_t protocol) {
    return protocol == kProtoVlan || protocol == kProtoQinQ;
}

// The packet of a program with an sk_buff, together with its context.
class Skb {
public:
    Skb(HelperEnv& env, void* context) noexcept;

    // False: the program was run without a packet.
    bool valid() const noexcept { return packet_.data != nullptr; }
    SkbContext& context() const noexcept { return context_; }
    uint32_t size() const noexcept {
        return static_cast<uint32_t>(packet_.data_end - packet_.data);
    }
    // `length` bytes at `offset`, or null.
    std::byte* bytes(uint64_t offset, uint64_t length) const noexcept;
    uint32_t network_offset() const noexcept;
    bool has_link_header() const noexcept { return network_offset() != 0; }
    uint16_t protocol() const noexcept { return static_cast<uint16_t>(context_.protocol); }
    // The protocol behind VLAN tags in the packet.
    uint16_t inner_protocol() const noexcept;

    // Whether a change of room lies in front of the network header, or behind its start.
    enum class Side : uint8_t { BeforeNetwork, Network };
    // Inserts zeroed room of `length` bytes at `offset`, moving what is in front of it towards the
    // head. False: no headroom.
    bool insert(uint32_t offset, uint32_t length, Side side) noexcept;
    // Removes `length` bytes at `offset`, moving what is in front of them back.
    bool remove(uint32_t offset, uint32_t length, Side side) noexcept;
    // Grows (zeroed) or trims at the end. False: no tailroom.
    bool resize(uint32_t length) noexcept;

private:
    void moved() noexcept;

    HelperEnv& env_;
    SkbContext& context_;
    PacketBuffer& packet_;
};

}  // namespace skep
