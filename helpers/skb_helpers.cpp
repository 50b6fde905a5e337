// Helpers on the bytes, checksums and fields of an sk_buff.
//
// Results are those of Linux for an sk_buff in one piece whose checksum the device did not verify
// (CHECKSUM_NONE), which is what BPF_PROG_TEST_RUN gives.
#include <algorithm>
#include <climits>
#include <cstring>

#include <skep/services.hpp>

#include "helpers/checksum.hpp"
#include "helpers/impl.hpp"
#include "helpers/packet.hpp"

namespace skep::helper {

namespace {

constexpr uint64_t kRecomputeChecksum = 1, kInvalidateHash = 2;  // skb_store_bytes
constexpr uint64_t kFieldSizeMask = 0xf;                         // *_csum_replace
constexpr uint64_t kPseudoHeader = 0x10, kMangledZero = 0x20, kMangledForce = 0x40,
                   kIpv6Pseudo = 0x80;
constexpr uint16_t kZeroChecksum = 0xffff;  // how UDP writes a checksum of zero
constexpr int64_t kEacces = -13;

uint16_t load16(const std::byte* at) {
    uint16_t value = 0;
    std::memcpy(&value, at, 2);
    return value;
}
void store16(std::byte* at, uint16_t value) { std::memcpy(at, &value, 2); }

// The new value of a checksum field, by the size that `flags` names. False: no such size.
bool replaced(uint16_t& check, uint64_t from, uint64_t to, uint64_t size) {
    switch (size) {
        case 0:
            if (from != 0) return false;
            check = checksum::apply(check, static_cast<uint32_t>(to));
            return true;
        case 2:
            check =
                checksum::replace(check, static_cast<uint16_t>(from), static_cast<uint16_t>(to));
            return true;
        case 4:
            check =
                checksum::replace(check, static_cast<uint32_t>(from), static_cast<uint32_t>(to));
            return true;
        default: return false;
    }
}

int64_t copy_out(const Skb& skb, uint64_t offset, WriteMem to) {
    const std::byte* from = skb.valid() ? skb.bytes(offset, to.size) : nullptr;
    if (from == nullptr) {
        std::memset(to.data, 0, to.size);
        return kEfault;
    }
    std::memmove(to.data, from, to.size);
    return 0;
}

}  // namespace

int64_t skb_load_bytes(HelperEnv& env, CtxArg ctx, uint32_t offset, WriteMem to) noexcept {
    return copy_out(Skb(env, ctx.host), offset, to);
}

int64_t skb_load_bytes_relative(HelperEnv& env, CtxArg ctx, uint32_t offset, WriteMem to,
                                uint32_t start) noexcept {
    constexpr uint32_t kMac = 0, kNetwork = 1;
    const Skb skb(env, ctx.host);
    const bool known = start == kNetwork || (start == kMac && skb.has_link_header());
    if (offset > 0xffff || !known) {
        std::memset(to.data, 0, to.size);
        return kEfault;
    }
    return copy_out(skb, uint64_t{offset} + (start == kNetwork ? skb.network_offset() : 0), to);
}

int64_t skb_store_bytes(HelperEnv& env, CtxArg ctx, uint32_t offset, ReadMem from,
                        uint64_t flags) noexcept {
    if ((flags & ~(kRecomputeChecksum | kInvalidateHash)) != 0) return kEinval;
    const Skb skb(env, ctx.host);
    std::byte* to = offset > INT_MAX || !skb.valid() ? nullptr : skb.bytes(offset, from.size);
    if (to == nullptr) return kEfault;
    std::memmove(to, from.data, from.size);
    if ((flags & kInvalidateHash) != 0) skb.context().hash = 0;
    return 0;
}

int64_t l3_csum_replace(HelperEnv& env, CtxArg ctx, uint32_t offset, uint64_t from, uint64_t to,
                        uint64_t flags) noexcept {
    if ((flags & ~kFieldSizeMask) != 0) return kEinval;
    const Skb skb(env, ctx.host);
    if (offset > 0xffff || offset % 2 != 0 || !skb.valid()) return kEfault;
    std::byte* field = skb.bytes(offset, 2);
    if (field == nullptr) return kEfault;
    uint16_t check = load16(field);
    if (!replaced(check, from, to, flags)) return kEinval;
    store16(field, check);
    return 0;
}

int64_t l4_csum_replace(HelperEnv& env, CtxArg ctx, uint32_t offset, uint64_t from, uint64_t to,
                        uint64_t flags) noexcept {
    constexpr uint64_t kKnown =
        kFieldSizeMask | kPseudoHeader | kMangledZero | kMangledForce | kIpv6Pseudo;
    if ((flags & ~kKnown) != 0) return kEinval;
    const Skb skb(env, ctx.host);
    if (offset > 0xffff || offset % 2 != 0 || !skb.valid()) return kEfault;
    std::byte* field = skb.bytes(offset, 2);
    if (field == nullptr) return kEfault;
    uint16_t check = load16(field);
    // A UDP checksum of zero means that there is none: it stays so unless forced.
    if ((flags & kMangledZero) != 0 && (flags & kMangledForce) == 0 && check == 0) return 0;
    if (!replaced(check, from, to, flags & kFieldSizeMask)) return kEinval;
    if ((flags & kMangledZero) != 0 && check == 0) check = kZeroChecksum;
    store16(field, check);
    return 0;
}

// Linux folds the difference to 16 bits since 6.13.
int64_t csum_diff(HelperEnv& env, ReadMemOrNull from, ReadMemOrNull to, uint32_t seed) noexcept {
    if (from.size % 4 != 0 || to.size % 4 != 0) return kEinval;
    if (!env.charge((from.size + to.size) / 4096)) return 0;
    uint32_t sum = seed;
    if (to.size != 0 && to.data != nullptr) sum = checksum::partial({to.data, to.size}, sum);
    if (from.size != 0 && from.data != nullptr) {
        sum = checksum::sub(sum, checksum::partial({from.data, from.size}, 0));
    }
    return checksum::fold(sum);
}

int64_t csum_update(HelperEnv&, CtxArg, uint32_t) noexcept { return kEnotsupp; }

int64_t csum_level(HelperEnv& env, CtxArg ctx, uint64_t level) noexcept {
    constexpr uint64_t kQuery = 0, kIncrement = 1, kDecrement = 2, kReset = 3;
    constexpr int8_t kMaxLevel = 3;
    int8_t& known = Skb(env, ctx.host).context().csum_level;
    switch (level) {
        case kQuery: return known >= 0 ? known : kEacces;
        case kIncrement:
            known = std::min<int8_t>(static_cast<int8_t>(known + 1), kMaxLevel);
            return 0;
        case kDecrement: known = std::max<int8_t>(static_cast<int8_t>(known - 1), -1); return 0;
        case kReset: known = -1; return 0;
        default: return kEinval;
    }
}

void set_hash_invalid(HelperEnv& env, CtxArg ctx) noexcept {
    Skb(env, ctx.host).context().hash = 0;
}

int64_t set_hash(HelperEnv& env, CtxArg ctx, uint32_t hash) noexcept {
    Skb(env, ctx.host).context().hash = hash;
    return 0;
}

// Linux hashes addresses and ports with a secret key; here with a fixed one, so that replays agree.
uint32_t get_hash_recalc(HelperEnv& env, CtxArg ctx) noexcept {
    const Skb skb(env, ctx.host);
    uint32_t& hash = skb.context().hash;
    if (hash != 0 || !skb.valid()) return hash;
    const uint32_t network = skb.network_offset();
    const bool v6 = skb.protocol() == kProtoIpv6;
    const uint32_t addresses = network + (v6 ? 8 : 12), length = v6 ? 32 : 8;
    const std::byte* flow = skb.bytes(addresses, length + 4);
    if (flow == nullptr || (!v6 && skb.protocol() != kProtoIpv4)) return 0;
    uint64_t mixed = 0x9e3779b97f4a7c15;
    for (uint32_t i = 0; i < length + 4; ++i) {
        mixed = (mixed ^ static_cast<uint64_t>(flow[i])) * 0xff51afd7ed558ccd;
        mixed ^= mixed >> 29;
    }
    hash = static_cast<uint32_t>(mixed >> 32);
    if (hash == 0) hash = 1;
    return hash;
}

int64_t skb_change_type(HelperEnv& env, CtxArg ctx, uint32_t type) noexcept {
    constexpr uint32_t kOtherHost = 3;
    SkbContext& context = Skb(env, ctx.host).context();
    if (context.pkt_type > kOtherHost || type > kOtherHost) return kEinval;
    context.pkt_type = type;
    return 0;
}

int64_t skb_pull_data(HelperEnv& env, CtxArg ctx, uint32_t length) noexcept {
    const Skb skb(env, ctx.host);
    if (!skb.valid() || length > skb.size()) return kEnomem;
    env.packet_changed();
    return 0;
}

// 1 if the packet is marked now, 0 if its endpoints do not know ECN.
int64_t skb_ecn_set_ce(HelperEnv& env, CtxArg ctx) noexcept {
    constexpr uint8_t kEcnMask = 3;
    const Skb skb(env, ctx.host);
    if (!skb.valid()) return 0;
    const bool v4 = skb.inner_protocol() == kProtoIpv4, v6 = skb.inner_protocol() == kProtoIpv6;
    if (!v4 && !v6) return 0;
    std::byte* header = skb.bytes(skb.network_offset(), v4 ? kIpv4Header : kIpv6Header);
    if (header == nullptr) return 0;
    const uint16_t first = load16(header);
    // The two bits are the low ones of the second byte, or, in IPv6, bits 4 and 5 of it.
    const unsigned shift = 8 + (v4 ? 0 : 4);
    const unsigned ecn = first >> shift & kEcnMask;
    if (ecn == 0) return 0;
    store16(header, static_cast<uint16_t>(first | kEcnMask << shift));
    if (v4 && ecn != kEcnMask) {
        // Linux's own sum, which differs from RFC 1624's in how it writes zero.
        const uint32_t sum = uint32_t{load16(header + 10)} + big_endian(0xfffb) +
                             big_endian(static_cast<uint16_t>(ecn + 1));
        store16(header + 10, static_cast<uint16_t>(sum + (sum >= 0xffff ? 1 : 0)));
    }
    return 1;
}

int64_t skb_set_tstamp(HelperEnv& env, CtxArg ctx, uint64_t tstamp, uint32_t type) noexcept {
    constexpr uint32_t kRealtime = 0, kTai = 2;
    const Skb skb(env, ctx.host);
    if (skb.protocol() != kProtoIpv4 && skb.protocol() != kProtoIpv6) return kEopnotsupp;
    // Realtime is what a stamp of zero means.
    if (type > kTai || (type == kRealtime) != (tstamp == 0)) return kEinval;
    skb.context().tstamp = tstamp;
    skb.context().tstamp_type = type;
    return 0;
}

}  // namespace skep::helper
