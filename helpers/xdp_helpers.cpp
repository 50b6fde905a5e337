// Helpers on XDP packets.
#include <cstring>

#include "helpers/impl.hpp"
#include "helpers/kfunc_impl.hpp"
#include "helpers/packet.hpp"

namespace skep::helper {

namespace {

// Linux keeps a struct xdp_frame at the start of the headroom.
constexpr int64_t kFrameBytes = 40;
constexpr int64_t kMaxMeta = 255;
constexpr int64_t kEacces = -13;

PacketBuffer& packet_of(CtxArg ctx) { return ctx.as<XdpContext>().packet; }

int64_t size_of(const PacketBuffer& packet) { return packet.data_end - packet.data; }

// The bytes [offset, offset + length) or an errno.
int64_t locate(const PacketBuffer& packet, uint32_t offset, uint64_t length) {
    if (packet.data == nullptr || offset > 0xffff || length > 0xffff) return kEfault;
    return static_cast<int64_t>(offset + length) > size_of(packet) ? kEinval : 0;
}

}  // namespace

int64_t xdp_adjust_head(HelperEnv& env, CtxArg ctx, int32_t delta) noexcept {
    PacketBuffer& packet = packet_of(ctx);
    if (packet.data == nullptr) return kEinval;
    const int64_t meta = packet.data - packet.data_meta;
    const int64_t data = packet.data - packet.head + delta;
    if (data < kFrameBytes + meta) return kEinval;
    if (data > packet.data_end - packet.head - int64_t{kEthernetHeader}) return kEinval;
    std::byte* moved = packet.head + data;
    if (meta != 0) std::memmove(moved - meta, packet.data_meta, static_cast<size_t>(meta));
    packet.data = moved;
    packet.data_meta = moved - meta;
    env.packet_changed();
    return 0;
}

int64_t xdp_adjust_meta(HelperEnv& env, CtxArg ctx, int32_t delta) noexcept {
    PacketBuffer& packet = packet_of(ctx);
    if (packet.data == nullptr) return kEinval;
    const int64_t meta = packet.data_meta - packet.head + delta;
    const int64_t length = packet.data - packet.head - meta;
    if (meta < kFrameBytes || length < 0) return kEinval;
    if (length % 4 != 0 || length > kMaxMeta) return kEacces;
    packet.data_meta = packet.head + meta;
    env.packet_changed();
    return 0;
}

int64_t xdp_adjust_tail(HelperEnv& env, CtxArg ctx, int32_t delta) noexcept {
    PacketBuffer& packet = packet_of(ctx);
    if (packet.data == nullptr) return kEinval;
    const int64_t size = size_of(packet) + delta;
    if (size > packet.hard_end - packet.data || size < int64_t{kEthernetHeader}) return kEinval;
    if (delta > 0) std::memset(packet.data_end, 0, static_cast<size_t>(delta));
    packet.data_end = packet.data + size;
    env.packet_changed();
    return 0;
}

uint64_t xdp_get_buff_len(HelperEnv&, CtxArg ctx) noexcept {
    return static_cast<uint64_t>(size_of(packet_of(ctx)));
}

int64_t xdp_load_bytes(HelperEnv&, CtxArg ctx, uint32_t offset, WriteMem to) noexcept {
    const PacketBuffer& packet = packet_of(ctx);
    if (const int64_t error = locate(packet, offset, to.size); error != 0) {
        std::memset(to.data, 0, to.size);
        return error;
    }
    std::memmove(to.data, packet.data + offset, to.size);
    return 0;
}

int64_t xdp_store_bytes(HelperEnv&, CtxArg ctx, uint32_t offset, ReadMem from) noexcept {
    PacketBuffer& packet = packet_of(ctx);
    if (const int64_t error = locate(packet, offset, from.size); error != 0) return error;
    std::memmove(packet.data + offset, from.data, from.size);
    return 0;
}

}  // namespace skep::helper

namespace skep::kfunc {

// The packet is one piece of memory: all of it is accessible already.
int32_t bpf_xdp_pull_data(HelperEnv&, CtxArg ctx, uint32_t length) noexcept {
    const PacketBuffer& packet = ctx.as<XdpContext>().packet;
    return length > packet.data_end - packet.data ? static_cast<int32_t>(helper::kEinval) : 0;
}

}  // namespace skep::kfunc
