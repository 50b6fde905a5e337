// Captures: pcap and pcapng files in, pcapng out.
//
// A capture is read whole, before anything runs. Every frame is brought to Ethernet on the way in:
// link types without a link header get one with the right EtherType, so the rest of the tool knows
// one form, and so does the output.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <skep/error.hpp>

namespace skep::tool {

inline constexpr uint32_t kEthernetHeader = 14;  // bytes
inline constexpr uint32_t kVlanTag = 4;          // bytes
inline constexpr uint16_t kEtherIpv4 = 0x0800, kEtherIpv6 = 0x86dd, kEtherVlan = 0x8100,
                          kEtherQinq = 0x88a8;

struct Frame {
    uint64_t offset = 0;       // into Capture::bytes
    uint32_t length = 0;       // captured bytes, the Ethernet header included
    uint32_t wire_length = 0;  // as sent; more than `length` when the capture cut the packet
    uint64_t time_ns = 0;      // since 1970
    uint8_t packet_type = 0;   // PACKET_HOST, PACKET_BROADCAST ... where the link type says it
    bool truncated() const { return wire_length > length; }
};

struct Capture {
    std::vector<std::byte> bytes;
    std::vector<Frame> frames;
    uint64_t truncated = 0;  // how many frames the capture cut
    std::string link_type;   // of the file
    std::string note;        // why reading ended early, empty if it did not

    std::span<const std::byte> data(const Frame& frame) const {
        return {bytes.data() + frame.offset, frame.length};
    }
};

// Reads pcap or pcapng, "-" is standard input. Link types: EN10MB, RAW, NULL, LOOP, SLL, SLL2.
Result<Capture> read_capture(const std::string& path);

// Writes a pcapng file of one Ethernet interface with nanosecond times.
class CaptureWriter {
public:
    static Result<CaptureWriter> create(const std::string& path);
    // `comment` is stored with the packet; viewers show it.
    void add(std::span<const std::byte> data, uint32_t wire_length, uint64_t time_ns,
             std::string_view comment);
    // Flushes; errors of any write show here.
    Result<void> close();

private:
    struct Closer {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    std::unique_ptr<std::FILE, Closer> file_;
    std::string path_;
    std::string buffer_;
    bool failed_ = false;
    void flush();
};

}  // namespace skep::tool
