// SYN cookies: a connection's acknowledgement number proves that its peer answered, so that nothing
// needs to be kept for it. The numbers are Skep's own: a keyed hash of the addresses and of the
// minute, and an index into the segment sizes that a cookie can remember.
#include <array>
#include <cstring>

#include <skep/context.hpp>
#include <skep/services.hpp>

#include "helpers/impl.hpp"
#include "helpers/packet.hpp"
#include "helpers/sockets.hpp"
#include "vm/base/os.hpp"

namespace skep::helper {

namespace {

constexpr uint64_t kTcpHeader = 20;
constexpr uint64_t kMinuteNs = 60'000'000'000;
constexpr uint32_t kMaxAge = 2;  // minutes that a cookie is good for
constexpr uint32_t kDataBits = 24;
constexpr uint32_t kDataMask = (1u << kDataBits) - 1;
constexpr uint16_t kDefaultMss = 536;
constexpr uint32_t kTcp = 6, kListen = 10, kInet6 = 10;
// The sizes that Linux's cookies remember, smallest first.
constexpr std::array<uint16_t, 4> kSizes4 = {536, 1300, 1440, 1460};
constexpr std::array<uint16_t, 4> kSizes6 = {1220, 1420, 1440, 8940};

struct Flags {
    bool syn, ack, fin, rst;
};
struct Segment {
    uint16_t source = 0, dest = 0;  // network byte order
    uint32_t sequence = 0, acknowledged = 0;
    uint32_t header_bytes = 0;
    Flags flags{};
    uint16_t mss = 0;  // 0: no such option
};
// What a cookie depends on besides the segment.
struct Peers {
    std::byte addresses[32] = {};
    uint64_t size = 0;
    const std::array<uint16_t, 4>* sizes = &kSizes4;
};

uint32_t load_be32(const std::byte* at) {
    uint32_t value = 0;
    std::memcpy(&value, at, 4);
    return __builtin_bswap32(value);
}

Segment read_segment(const std::byte* tcp, uint64_t size) {
    Segment segment;
    std::memcpy(&segment.source, tcp, 2);
    std::memcpy(&segment.dest, tcp + 2, 2);
    segment.sequence = load_be32(tcp + 4);
    segment.acknowledged = load_be32(tcp + 8);
    segment.header_bytes = (std::to_integer<uint32_t>(tcp[12]) >> 4) * 4;
    const auto bits = std::to_integer<unsigned>(tcp[13]);
    segment.flags = {(bits & 2) != 0, (bits & 16) != 0, (bits & 1) != 0, (bits & 4) != 0};
    constexpr unsigned kEnd = 0, kNothing = 1, kMss = 2;
    const uint64_t end = std::min<uint64_t>(size, segment.header_bytes);
    for (uint64_t at = kTcpHeader; at < end;) {
        const auto kind = std::to_integer<unsigned>(tcp[at]);
        if (kind == kEnd) break;
        if (kind == kNothing) {
            ++at;
            continue;
        }
        if (at + 1 >= end) break;
        const auto length = std::to_integer<uint64_t>(tcp[at + 1]);
        if (length < 2 || at + length > end) break;
        if (kind == kMss && length == 4) {
            std::memcpy(&segment.mss, tcp + at + 2, 2);
            segment.mss = big_endian(segment.mss);
        }
        at += length;
    }
    return segment;
}

Peers peers4(const std::byte* ip) {
    Peers peers;
    std::memcpy(peers.addresses, ip + 12, 8);
    peers.size = 8;
    return peers;
}
Peers peers6(const std::byte* ip) {
    Peers peers;
    std::memcpy(peers.addresses, ip + 8, 32);
    peers.size = 32;
    peers.sizes = &kSizes6;
    return peers;
}

// SipHash-2-4 (Aumasson, Bernstein) of a short message.
uint64_t siphash(const uint64_t (&key)[2], const std::byte* data, uint64_t size) {
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                     key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    const auto rotate = [](uint64_t x, unsigned by) { return x << by | x >> (64 - by); };
    const auto round = [&] {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    };
    const auto absorb = [&](uint64_t word) {
        v[3] ^= word;
        round();
        round();
        v[0] ^= word;
    };
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t word = 0;
        std::memcpy(&word, data, 8);
        absorb(word);
    }
    uint64_t last = size << 56;
    std::memcpy(&last, data, size);
    absorb(last);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; ++i) round();
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

struct Secret {
    uint64_t key[2] = {};
};

Secret secret_of(const HelperEnv& env) {
    // One per process where the host gives none.
    static const Secret random = [] {
        Secret drawn;
        os::random_bytes(std::as_writable_bytes(std::span(drawn.key)));
        return drawn;
    }();
    if (env.services == nullptr || env.services->syncookie_secret[0] == 0) return random;
    return {{env.services->syncookie_secret[0], env.services->syncookie_secret[1]}};
}

uint32_t minute(HelperEnv& env) { return static_cast<uint32_t>(ktime_get_ns(env) / kMinuteNs); }

uint32_t hash(const HelperEnv& env, const Peers& peers, const Segment& segment, uint32_t count,
              uint32_t which) {
    std::byte text[48] = {};
    std::memcpy(text, peers.addresses, peers.size);
    uint64_t at = peers.size;
    for (const uint32_t word :
         {uint32_t{segment.source} | uint32_t{segment.dest} << 16, count, which}) {
        std::memcpy(text + at, &word, 4);
        at += 4;
    }
    return static_cast<uint32_t>(siphash(secret_of(env).key, text, at));
}

// The cookie, and the segment size above it.
int64_t make_cookie(HelperEnv& env, const Peers& peers, const Segment& segment) {
    const uint16_t wanted = segment.mss != 0 ? segment.mss : kDefaultMss;
    uint32_t index = 3;
    while (index > 0 && (*peers.sizes)[index] > wanted) --index;
    const uint32_t count = minute(env);
    const uint32_t data = (hash(env, peers, segment, count, 1) + index) & kDataMask;
    const uint32_t cookie =
        hash(env, peers, segment, 0, 0) + segment.sequence + (count << kDataBits) + data;
    return static_cast<int64_t>(uint64_t{(*peers.sizes)[index]} << 32 | cookie);
}

// Whether an acknowledgement carries a cookie that make_cookie() gave not long ago.
bool check_cookie(HelperEnv& env, const Peers& peers, const Segment& segment) {
    // The acknowledged number is the cookie plus one, the sequence number that of the request plus
    // one.
    uint32_t cookie = segment.acknowledged - 1;
    cookie -= hash(env, peers, segment, 0, 0) + (segment.sequence - 1);
    const uint32_t now = minute(env);
    const uint32_t age = (now - (cookie >> kDataBits)) & 0xff;
    if (age >= kMaxAge) return false;
    const uint32_t index = (cookie - hash(env, peers, segment, now - age, 1)) & kDataMask;
    return index < peers.sizes->size();
}

bool whole_header(const std::byte* tcp, uint64_t size) {
    return size >= kTcpHeader && size == (std::to_integer<uint64_t>(tcp[12]) >> 4) * 4;
}

// What the two helpers with a socket check: a listening TCP socket.
bool listens(const SockContext* socket) {
    return socket != nullptr && socket->protocol == kTcp && socket->state == kListen;
}

// The addresses of an IP header of either version; false: too short, or not one for the socket.
bool read_peers(const SockContext& socket, const ReadMem& ip, Peers& peers) {
    if (ip.size < kIpv4Header) return false;
    const unsigned version = std::to_integer<unsigned>(ip.data[0]) >> 4;
    if (version == 4) {
        if (socket.family == kInet6 && socket.ipv6_only) return false;
        peers = peers4(ip.data);
        return true;
    }
    if (version != 6 || ip.size < kIpv6Header || socket.family != kInet6) return false;
    peers = peers6(ip.data);
    return true;
}

constexpr int64_t kEacces = -13;

}  // namespace

int64_t tcp_gen_syncookie(HelperEnv& env, BtfSockCommon sk, ReadMem ip, ReadMem tcp) noexcept {
    const SockContext* socket = socket_at(env, sk.object);
    if (!whole_header(tcp.data, tcp.size) || !listens(socket)) return kEinval;
    const Segment segment = read_segment(tcp.data, tcp.size);
    const Flags flags = segment.flags;
    Peers peers;
    if (!flags.syn || flags.ack || flags.fin || flags.rst) return kEinval;
    if (!read_peers(*socket, ip, peers)) return kEinval;
    return make_cookie(env, peers, segment);
}

int64_t tcp_check_syncookie(HelperEnv& env, BtfSockCommon sk, ReadMem ip, ReadMem tcp) noexcept {
    const SockContext* socket = socket_at(env, sk.object);
    if (tcp.size < kTcpHeader || !listens(socket)) return kEinval;
    const Segment segment = read_segment(tcp.data, tcp.size);
    if (!segment.flags.ack || segment.flags.rst || segment.flags.syn) return kEnoent;
    Peers peers;
    if (!read_peers(*socket, ip, peers)) return kEinval;
    return check_cookie(env, peers, segment) ? 0 : kEnoent;
}

int64_t tcp_raw_gen_syncookie_ipv4(HelperEnv& env, FixedIn<20> ip, ReadMemOrEmpty tcp) noexcept {
    if (!whole_header(tcp.data, tcp.size)) return kEinval;
    return make_cookie(env, peers4(ip.data), read_segment(tcp.data, tcp.size));
}
int64_t tcp_raw_gen_syncookie_ipv6(HelperEnv& env, FixedIn<40> ip, ReadMemOrEmpty tcp) noexcept {
    if (!whole_header(tcp.data, tcp.size)) return kEinval;
    return make_cookie(env, peers6(ip.data), read_segment(tcp.data, tcp.size));
}
int64_t tcp_raw_check_syncookie_ipv4(HelperEnv& env, FixedIn<20> ip, FixedIn<20> tcp) noexcept {
    return check_cookie(env, peers4(ip.data), read_segment(tcp.data, kTcpHeader)) ? 0 : kEacces;
}
int64_t tcp_raw_check_syncookie_ipv6(HelperEnv& env, FixedIn<40> ip, FixedIn<20> tcp) noexcept {
    return check_cookie(env, peers6(ip.data), read_segment(tcp.data, kTcpHeader)) ? 0 : kEacces;
}

}  // namespace skep::helper
