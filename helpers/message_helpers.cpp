// Messages of sockets (sk_msg), where they and packets of sockets go, and TCP header options of
// sock_ops programs.
#include <algorithm>
#include <cstring>

#include <skep/context.hpp>
#include <skep/map.hpp>

#include "helpers/impl.hpp"
#include "helpers/packet.hpp"

namespace skep::helper {

namespace {

constexpr int64_t kSkDrop = 0, kSkPass = 1;
constexpr uint64_t kIngress = 1;
constexpr int64_t kEnomsg = -42;

// Sends to the socket that a map holds under `key`.
int64_t redirect_to(HelperEnv& env, Map& map, const std::byte* key, uint64_t flags) {
    if ((flags & ~kIngress) != 0) return kSkDrop;
    uint64_t number = 0;
    if (map.target(key, number) != 0) return kSkDrop;
    env.redirect = {&map, number, flags};
    return kSkPass;
}

int64_t redirect_to_index(HelperEnv& env, Map& map, uint32_t index, uint64_t flags) {
    return redirect_to(env, map, reinterpret_cast<const std::byte*>(&index), flags);
}

uint64_t size_of(const PacketBuffer& packet) {
    return static_cast<uint64_t>(packet.data_end - packet.data);
}

}  // namespace

int64_t sk_redirect_map(HelperEnv& env, CtxArg, MapArg map, uint32_t key, uint64_t flags) noexcept {
    return redirect_to_index(env, *map.map, key, flags);
}
int64_t msg_redirect_map(HelperEnv& env, CtxArg, MapArg map, uint32_t key,
                         uint64_t flags) noexcept {
    return redirect_to_index(env, *map.map, key, flags);
}
int64_t sk_redirect_hash(HelperEnv& env, CtxArg, MapArg map, MapKey key, uint64_t flags) noexcept {
    return redirect_to(env, *map.map, key.data, flags);
}
int64_t msg_redirect_hash(HelperEnv& env, CtxArg, MapArg map, MapKey key, uint64_t flags) noexcept {
    return redirect_to(env, *map.map, key.data, flags);
}

// --- messages
// -------------------------------------------------------------------------------------

int64_t msg_apply_bytes(HelperEnv&, CtxArg ctx, uint32_t bytes) noexcept {
    ctx.as<SkMsgContext>().apply_bytes = bytes;
    return 0;
}
int64_t msg_cork_bytes(HelperEnv&, CtxArg ctx, uint32_t bytes) noexcept {
    ctx.as<SkMsgContext>().cork_bytes = bytes;
    return 0;
}
// The message is in one piece: its bytes are accessible already.
int64_t msg_pull_data(HelperEnv& env, CtxArg ctx, uint32_t start, uint32_t end,
                      uint64_t flags) noexcept {
    const PacketBuffer& packet = ctx.as<SkMsgContext>().packet;
    if (flags != 0 || end <= start || end > size_of(packet)) return kEinval;
    env.packet_changed();
    return 0;
}

// Zeroed room in front of byte `start`.
int64_t msg_push_data(HelperEnv& env, CtxArg ctx, uint32_t start, uint32_t length,
                      uint64_t flags) noexcept {
    auto& message = ctx.as<SkMsgContext>();
    PacketBuffer& packet = message.packet;
    if (flags != 0 || start > size_of(packet)) return kEinval;
    if (length == 0) return 0;
    if (length > static_cast<uint64_t>(packet.hard_end - packet.data_end)) return kEnomem;
    if (!env.charge(1 + size_of(packet) / 4096)) return 0;
    std::memmove(packet.data + start + length, packet.data + start, size_of(packet) - start);
    std::memset(packet.data + start, 0, length);
    packet.data_end += length;
    message.size += length;
    env.packet_changed();
    return 0;
}

int64_t msg_pop_data(HelperEnv& env, CtxArg ctx, uint32_t start, uint32_t length,
                     uint64_t flags) noexcept {
    auto& message = ctx.as<SkMsgContext>();
    PacketBuffer& packet = message.packet;
    const uint64_t size = size_of(packet);
    if (flags != 0) return kEinval;
    if (length == 0) return 0;
    if (start >= size || length > size - start) return kEinval;
    if (!env.charge(1 + size / 4096)) return 0;
    std::memmove(packet.data + start, packet.data + start + length, size - start - length);
    packet.data_end -= length;
    message.size -= std::min(length, message.size);
    env.packet_changed();
    return 0;
}

// --- connections
// ------------------------------------------------------------------------------------

// What Linux does not know among the flags is what it returns.
int64_t sock_ops_cb_flags_set(HelperEnv&, CtxArg ctx, uint32_t flags) noexcept {
    constexpr uint32_t kAllFlags = 0x7f;
    auto& ops = ctx.as<SockOpsContext>();
    if (ops.is_fullsock == 0) return kEinval;
    ops.cb_flags = flags & kAllFlags;
    return flags & ~kAllFlags;
}

namespace {

constexpr uint64_t kTcpHeader = 20;
constexpr uint32_t kOptionLength = 14,
                   kWriteOption = 15;  // BPF_SOCK_OPS_{HDR_OPT_LEN,WRITE_...}_CB
constexpr unsigned kEnd = 0, kNothing = 1, kExperiment1 = 253, kExperiment2 = 254;

unsigned byte_at(const std::byte* at, uint64_t i) { return std::to_integer<unsigned>(at[i]); }

bool is_experiment(unsigned kind) { return kind == kExperiment1 || kind == kExperiment2; }

// What an option is looked for by: its kind and, for the experimental kinds, the magic behind it.
struct Wanted {
    unsigned kind = 0;
    const std::byte* magic = nullptr;
    uint64_t magic_size = 0;
};

// Offset of the option in the header, or a negative errno; `ended`: an end-of-options was seen.
int64_t find_option(std::span<const std::byte> header, const Wanted& wanted, bool& ended) {
    uint64_t at = kTcpHeader;
    ended = false;
    while (at < header.size()) {
        const unsigned kind = byte_at(header.data(), at);
        if (kind == kEnd) {
            ended = true;
            return kEnomsg;
        }
        if (kind == kNothing) {
            ++at;
            continue;
        }
        if (header.size() - at < 2) return kEfault;
        const uint64_t length = byte_at(header.data(), at + 1);
        if (length < 2 || length > header.size() - at) return kEfault;
        if (kind == wanted.kind) {
            if (wanted.magic_size == 0) return static_cast<int64_t>(at);
            if (length < 2 + wanted.magic_size) return kEinval;
            if (std::memcmp(header.data() + at + 2, wanted.magic, wanted.magic_size) == 0)
                return static_cast<int64_t>(at);
        }
        at += length;
    }
    return kEnomsg;
}

std::span<const std::byte> header_of(const SockOpsContext& ops) {
    const PacketBuffer& packet = ops.packet;
    return {packet.data, packet.data == nullptr ? 0 : size_of(packet)};
}

}  // namespace

int64_t load_hdr_opt(HelperEnv&, CtxArg ctx, ReadWriteMem option, uint64_t flags) noexcept {
    constexpr uint64_t kSyn = 1;  // of the packet that opened the connection
    const auto& ops = ctx.as<SockOpsContext>();
    if (option.size < 2 || (flags & ~kSyn) != 0) return kEinval;
    // Kind and length are read once: the memory may be shared.
    const unsigned kind = byte_at(option.data, 0), length = byte_at(option.data, 1);
    if (length > option.size || kind == kEnd || kind == kNothing) return kEinval;
    std::byte magic[4];
    Wanted wanted{kind};
    if (is_experiment(kind)) {
        if (length != 4 && length != 6) return kEinval;
        std::memcpy(magic, option.data + 2, length - 2);
        wanted = {kind, magic, length - 2};
    } else if (length != 0) {
        return kEinval;
    }
    std::span<const std::byte> header = header_of(ops);
    if ((flags & kSyn) != 0) {
        if (ops.syn == nullptr) return kEnoent;
        header = {ops.syn, ops.syn_size};
    } else if (header.data() == nullptr || ops.op == kOptionLength) {
        return kEperm;
    }
    bool ended = false;
    const int64_t found = find_option(header, wanted, ended);
    if (found < 0) return found;
    const uint64_t size = byte_at(header.data(), static_cast<uint64_t>(found) + 1);
    std::memcpy(option.data, header.data() + found, std::min(size, option.size));
    return size > option.size ? kEnospc : static_cast<int64_t>(size);
}

// Appends an option behind the header that was written so far.
int64_t store_hdr_opt(HelperEnv& env, CtxArg ctx, ReadMem option, uint64_t flags) noexcept {
    auto& ops = ctx.as<SockOpsContext>();
    if (ops.op != kWriteOption) return kEperm;
    constexpr uint64_t kLongest = 40;
    if (option.size < 2 || flags != 0 || option.size > kLongest) return kEinval;
    std::byte copy[kLongest];
    std::memcpy(copy, option.data, option.size);
    const unsigned kind = byte_at(copy, 0);
    const uint64_t length = byte_at(copy, 1);
    if (kind == kEnd || kind == kNothing || length < 2 || length > option.size) return kEinval;
    Wanted wanted{kind};
    if (is_experiment(kind)) {
        if (length < 4) return kEinval;
        // A magic of 2 or 4 bytes; shorter options cannot have the long one.
        wanted = {kind, copy + 2, std::min<uint64_t>(length - 2, 4)};
        if (wanted.magic_size == 3) wanted.magic_size = 2;
    }
    const auto room = static_cast<uint64_t>(ops.packet.hard_end - ops.packet.data_end);
    if (length > ops.remaining_opt_len || length > room) return kEnospc;
    bool ended = false;
    const int64_t found = find_option(header_of(ops), wanted, ended);
    if (found >= 0) return kEexist;
    if (found != kEnomsg) return found;
    if (ended) return kEnospc;
    std::memcpy(ops.packet.data_end, copy, length);
    ops.packet.data_end += length;
    ops.remaining_opt_len -= static_cast<uint32_t>(length);
    env.packet_changed();
    return 0;
}

int64_t reserve_hdr_opt(HelperEnv&, CtxArg ctx, uint32_t length, uint64_t flags) noexcept {
    auto& ops = ctx.as<SockOpsContext>();
    if (ops.op != kOptionLength) return kEperm;
    if (flags != 0 || length < 2) return kEinval;
    if (length > ops.remaining_opt_len) return kEnospc;
    ops.remaining_opt_len -= length;
    return 0;
}

}  // namespace skep::helper
