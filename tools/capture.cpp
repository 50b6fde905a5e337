// Reading through libpcap; writing pcapng by hand, because libpcap writes neither pcapng nor
// comments. Sources: the pcap and pcapng drafts (draft-ietf-opsawg-pcap, -pcapng), and
// https://www.tcpdump.org/linktypes.html for the link headers.
#include "tools/capture.hpp"

#include <cerrno>
#include <cstring>
#include <pcap/pcap.h>

#include "tools/text.hpp"

namespace skep::tool {
namespace {

constexpr uint64_t kMaxCaptureBytes = uint64_t{16} << 30;

struct PcapCloser {
    void operator()(pcap_t* pcap) const { pcap_close(pcap); }
};

// What a link header says about a frame, and how many bytes it takes.
struct Link {
    uint32_t header = 0;
    uint16_t ether_type = 0;  // 0: not to be had
    uint8_t packet_type = 0;
    uint8_t source[6] = {};
};

uint16_t read_be16(const u_char* p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }

uint16_t ip_ether_type(const u_char* data, uint32_t length) {
    if (length == 0) return 0;
    return data[0] >> 4 == 4 ? kEtherIpv4 : data[0] >> 4 == 6 ? kEtherIpv6 : 0;
}

// BSD's address families; AF_INET6 differs between the systems.
uint16_t family_ether_type(uint32_t family) {
    if (family > 0xffff) family = __builtin_bswap32(family);  // the other byte order's file
    if (family == 2) return kEtherIpv4;
    if (family == 10 || family == 24 || family == 28 || family == 30) return kEtherIpv6;
    return 0;
}

Link link_of(int type, const u_char* data, uint32_t length) {
    Link link;
    switch (type) {
        case DLT_NULL:
        case DLT_LOOP: {
            if (length < 4) return link;
            uint32_t family;
            std::memcpy(&family, data, 4);
            link.header = 4;
            link.ether_type = family_ether_type(family);
            return link;
        }
        case DLT_LINUX_SLL:
            if (length < 16) return link;
            link.header = 16;
            link.packet_type = static_cast<uint8_t>(read_be16(data));
            std::memcpy(link.source, data + 6, 6);
            link.ether_type = read_be16(data + 14);
            return link;
        case DLT_LINUX_SLL2:
            if (length < 20) return link;
            link.header = 20;
            link.ether_type = read_be16(data);
            link.packet_type = data[10];
            std::memcpy(link.source, data + 12, 6);
            return link;
        default: link.ether_type = ip_ether_type(data, length); return link;
    }
}

bool known_link(int type) {
    return type == DLT_EN10MB || type == DLT_RAW || type == DLT_IPV4 || type == DLT_IPV6 ||
           type == DLT_NULL || type == DLT_LOOP || type == DLT_LINUX_SLL || type == DLT_LINUX_SLL2;
}

std::string link_name(int type) {
    const char* name = pcap_datalink_val_to_name(type);
    return name != nullptr ? name : "DLT " + std::to_string(type);
}

void append(Capture& capture, int type, const pcap_pkthdr& header, const u_char* data) {
    Frame frame;
    frame.offset = capture.bytes.size();
    frame.time_ns = static_cast<uint64_t>(header.ts.tv_sec) * 1'000'000'000 +
                    static_cast<uint64_t>(header.ts.tv_usec);
    const auto* begin = reinterpret_cast<const std::byte*>(data);
    uint32_t skip = 0;
    if (type != DLT_EN10MB) {
        const Link link = link_of(type, data, header.caplen);
        std::byte ethernet[kEthernetHeader] = {};
        std::memcpy(ethernet + 6, link.source, 6);
        ethernet[12] = static_cast<std::byte>(link.ether_type >> 8);
        ethernet[13] = static_cast<std::byte>(link.ether_type & 0xff);
        capture.bytes.insert(capture.bytes.end(), ethernet, ethernet + kEthernetHeader);
        skip = link.header;
        frame.packet_type = link.packet_type;
    }
    capture.bytes.insert(capture.bytes.end(), begin + skip, begin + header.caplen);
    frame.length = static_cast<uint32_t>(capture.bytes.size() - frame.offset);
    const uint32_t cut = header.len > header.caplen ? header.len - header.caplen : 0;
    frame.wire_length = frame.length + cut;
    capture.truncated += frame.truncated();
    capture.frames.push_back(frame);
}

// --- pcapng -------------------------------------------------------------------------------------

constexpr uint32_t kSectionHeader = 0x0a0d0d0a, kInterface = 1, kEnhancedPacket = 6;
constexpr uint16_t kEndOfOptions = 0, kComment = 1, kUserApplication = 4, kTimeResolution = 9;

class Block {
public:
    Block(std::string& out, uint32_t type) : out_(out), start_(out.size()) {
        u32(type);
        u32(0);  // the length, known at the end
    }
    ~Block() {
        const auto length = static_cast<uint32_t>(out_.size() - start_ + 4);
        std::memcpy(out_.data() + start_ + 4, &length, 4);
        u32(length);
    }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    void u16(uint16_t value) { out_.append(reinterpret_cast<const char*>(&value), 2); }
    void u32(uint32_t value) { out_.append(reinterpret_cast<const char*>(&value), 4); }
    void bytes(const void* data, size_t size) {
        out_.append(static_cast<const char*>(data), size);
        out_.append((4 - size % 4) % 4, '\0');
    }
    void option(uint16_t code, std::string_view value) {
        u16(code);
        u16(static_cast<uint16_t>(value.size()));
        bytes(value.data(), value.size());
    }
    void end_of_options() { u32(kEndOfOptions); }

private:
    std::string& out_;
    size_t start_;
};

}  // namespace

Result<Capture> read_capture(const std::string& path) {
    char message[PCAP_ERRBUF_SIZE] = "";
    const std::unique_ptr<pcap_t, PcapCloser> pcap(
        pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, message));
    if (pcap == nullptr) {
        return fail(ErrorCode::Unreadable,
                    "--pcap: " + escaped(message) + "; it must be a pcap or pcapng file",
                    {.object = path});
    }
    const int type = pcap_datalink(pcap.get());
    if (!known_link(type)) {
        return fail(ErrorCode::InvalidArgument,
                    "--pcap: link type " + link_name(type) +
                        " has no mapping to a program's packet; EN10MB, RAW, NULL, SLL and SLL2 "
                        "have. Convert it (for instance with `editcap -T ether` and its option -C "
                        "to cut the link headers), or capture on an Ethernet or `any` device",
                    {.object = path});
    }
    Capture capture;
    capture.link_type = link_name(type);
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    int status = 0;
    while ((status = pcap_next_ex(pcap.get(), &header, &data)) == 1) {
        append(capture, type, *header, data);
        if (capture.bytes.size() > kMaxCaptureBytes) {
            return fail(ErrorCode::LimitExceeded,
                        "--pcap: more than 16 GiB of packets; split the capture", {.object = path});
        }
    }
    if (status == PCAP_ERROR) {
        if (capture.frames.empty()) {
            return fail(ErrorCode::Unreadable, "--pcap: " + escaped(pcap_geterr(pcap.get())),
                        {.object = path});
        }
        capture.note = pcap_geterr(pcap.get());
    }
    return capture;
}

Result<CaptureWriter> CaptureWriter::create(const std::string& path) {
    CaptureWriter writer;
    writer.path_ = path;
    writer.file_.reset(std::fopen(path.c_str(), "wb"));
    if (writer.file_ == nullptr) {
        return fail(ErrorCode::Os, std::string("--out: cannot write: ") + std::strerror(errno),
                    {.object = path});
    }
    {
        Block block(writer.buffer_, kSectionHeader);
        block.u32(0x1a2b3c4d);
        block.u16(1);
        block.u16(0);
        block.u32(~0u);  // section length: not given
        block.u32(~0u);
        block.option(kUserApplication, "skep");
        block.end_of_options();
    }
    {
        Block block(writer.buffer_, kInterface);
        block.u16(DLT_EN10MB);
        block.u16(0);
        block.u32(0);  // no snapshot length
        block.option(kTimeResolution, std::string_view("\x09", 1));
        block.end_of_options();
    }
    return writer;
}

void CaptureWriter::add(std::span<const std::byte> data, uint32_t wire_length, uint64_t time_ns,
                        std::string_view comment) {
    {
        Block block(buffer_, kEnhancedPacket);
        block.u32(0);
        block.u32(static_cast<uint32_t>(time_ns >> 32));
        block.u32(static_cast<uint32_t>(time_ns));
        block.u32(static_cast<uint32_t>(data.size()));
        block.u32(wire_length);
        block.bytes(data.data(), data.size());
        block.option(kComment, comment);
        block.end_of_options();
    }
    if (buffer_.size() > (size_t{1} << 20)) flush();
}

void CaptureWriter::flush() {
    if (std::fwrite(buffer_.data(), 1, buffer_.size(), file_.get()) != buffer_.size()) {
        failed_ = true;
    }
    buffer_.clear();
}

Result<void> CaptureWriter::close() {
    flush();
    if (std::fclose(file_.release()) != 0) failed_ = true;
    if (failed_) {
        return fail(ErrorCode::Os, std::string("--out: cannot write: ") + std::strerror(errno),
                    {.object = path_});
    }
    return {};
}

}  // namespace skep::tool
