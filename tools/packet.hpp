// From a captured frame to what a program type is handed, and back.
//
// Every type sees the part of the packet that it sees in a kernel: XDP the frame as it is, TC and
// packet sockets the frame without its VLAN tag (which moves to the context), cgroup and LWT
// programs the IP packet, socket-level programs what follows the transport header. `test_run` gives
// what BPF_PROG_TEST_RUN gives instead. Linux's net/core/dev.c, net/packet/af_packet.c and
// net/bpf/test_run.c were read for behaviour.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <skep/context.hpp>

#include "tools/capture.hpp"
#include "vm/prog/prog_type.hpp"

namespace skep::tool {

enum class Framing : uint8_t { Attach, TestRun };

inline constexpr uint32_t kHeadroom = 256;      // XDP_PACKET_HEADROOM
inline constexpr uint32_t kBufferBytes = 3776;  // a page less Linux's bookkeeping at its end

// The bytes of the buffer that a frame needs, headroom and tailroom included.
uint32_t buffer_bytes(uint32_t frame_length);

// How packets of one program type are made. Fixed for a run.
struct PacketShape {
    enum class Layer : uint8_t { Link, Network, Payload };
    ProgKind kind{};
    uint32_t attach_type = 0;
    Framing framing{};
    Layer layer{};
    bool untag = false;  // the VLAN tag goes to the context
};
PacketShape packet_shape(const ProgType& type, uint32_t attach_type, Framing framing);

// One packet as one run gets it. `context` points to whichever of the contexts the type has.
struct Packet {
    XdpContext xdp;
    SkbContext skb;
    SkMsgContext message;
    SkReuseportContext reuseport;
    SockContext socket;
    FlowKeys flow;
    std::byte* frame =
        nullptr;           // where the frame begins in its buffer; the link header stays there
    uint32_t skipped = 0;  // bytes between `frame` and what the program got
    uint32_t cut = 0;      // bytes that the capture lacks
};

// Lays `frame` out in `buffer` (buffer_bytes() of them) and fills the context that the type has.
void make_packet(const PacketShape& shape, std::span<const std::byte> frame, const Frame& meta,
                 std::span<std::byte> buffer, Packet& packet);
// The context of the type, and the packet bounds in it.
void* context_of(const PacketShape& shape, Packet& packet);
PacketBuffer& bounds_of(const PacketShape& shape, Packet& packet);

// The whole frame as the program left it: link header and VLAN tag are back in place.
void rebuild_frame(const PacketShape& shape, Packet& packet, std::vector<std::byte>& out);

// True if a packet with this verdict goes on. `keep`: how many bytes of it do (packet filters).
bool goes_on(const ProgType& type, uint64_t r0, uint32_t& keep);

}  // namespace skep::tool
