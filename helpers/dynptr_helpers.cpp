// Dynptrs over memory of the program, and their reads and writes.
#include <algorithm>
#include <cstring>

#include <skep/context.hpp>

#include "helpers/dynptr.hpp"
#include "helpers/guest.hpp"
#include "helpers/guest_objects.hpp"
#include "helpers/impl.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep {

void store_dynptr(std::byte* slot, const Dynptr& dynptr) noexcept {
    std::memcpy(slot, &dynptr, sizeof dynptr);
}

Dynptr load_dynptr(const std::byte* slot) noexcept {
    Dynptr dynptr;
    std::memcpy(&dynptr, slot, sizeof dynptr);
    return dynptr;
}

Dynptr make_dynptr(HelperEnv& env, std::byte* data, uint32_t size) noexcept {
    const uint64_t address =
        env.sandbox ? guest::address_of_object(env, data) : reinterpret_cast<uintptr_t>(data);
    return {address, size, 0};
}

std::span<std::byte> packet_bytes(const HelperEnv& env, uint32_t flags) noexcept {
    if (env.packet == nullptr) return {};
    const PacketBuffer& p = *env.packet;
    if ((flags & Dynptr::kMeta) != 0) return {p.data_meta, p.data};
    return {p.data, p.data_end};
}

std::span<std::byte> dynptr_bytes(HelperEnv& env, const std::byte* slot) noexcept {
    const Dynptr dynptr = load_dynptr(slot);
    if (dynptr.is_null()) return {};
    if (dynptr.is_packet()) {
        // The packet may have shrunk since, and a sandboxed program may have written the dynptr.
        const std::span<std::byte> bytes = packet_bytes(env, dynptr.flags);
        if (env.sandbox && !dynptr.is_read_only() && !env.packet_writable) return {};
        if (dynptr.address > bytes.size()) return {};
        const uint64_t left = bytes.size() - dynptr.address;
        return bytes.subspan(dynptr.address, std::min<uint64_t>(dynptr.size, left));
    }
    if (!env.sandbox) {
        return {reinterpret_cast<std::byte*>(static_cast<uintptr_t>(dynptr.address)), dynptr.size};
    }
    const bool write = (dynptr.flags & Dynptr::kReadOnly) == 0;
    std::byte* host = guest::memory(env, dynptr.address, dynptr.size, write);
    if (host == nullptr) return {};
    return {host, dynptr.size};
}

namespace helper {

namespace {

bool contains(std::span<const std::byte> bytes, uint64_t offset, uint64_t length) {
    return offset <= bytes.size() && length <= bytes.size() - offset;
}

bool is_read_only(const std::byte* slot) { return load_dynptr(slot).is_read_only(); }

}  // namespace

int64_t dynptr_from_mem(HelperEnv& env, WriteMemOrEmpty memory, uint64_t flags,
                        NewLocalDynptr dynptr) noexcept {
    store_dynptr(dynptr.dynptr, {});
    if (memory.size > kMaxDynptr) return kE2big;
    if (flags != 0) return kEinval;
    store_dynptr(dynptr.dynptr, make_dynptr(env, memory.data, static_cast<uint32_t>(memory.size)));
    return 0;
}

int64_t dynptr_read(HelperEnv& env, WriteMemOrEmpty out, AnyDynptr dynptr, uint64_t offset,
                    uint64_t flags) noexcept {
    const std::span<const std::byte> bytes = dynptr_bytes(env, dynptr.dynptr);
    const bool inside = contains(bytes, offset, out.size);
    if (bytes.data() == nullptr || flags != 0 || !inside) {
        std::memset(out.data, 0, out.size);
        return bytes.data() == nullptr || flags != 0 ? kEinval : kE2big;
    }
    if (!env.charge(out.size / 4096)) return 0;
    std::memmove(out.data, bytes.data() + offset, out.size);
    return 0;
}

int64_t dynptr_write(HelperEnv& env, AnyDynptr dynptr, uint64_t offset, ReadMemOrEmpty from,
                     uint64_t flags) noexcept {
    const std::span<std::byte> bytes = dynptr_bytes(env, dynptr.dynptr);
    // Of an sk_buff, checksum and hash may be asked to follow; there are none to follow here.
    constexpr uint64_t kSkbFlags = 3;
    const bool skb =
        (load_dynptr(dynptr.dynptr).flags & Dynptr::kPacket) != 0 && env.layout != &kXdpCtx;
    const uint64_t allowed = skb ? kSkbFlags : 0;
    if (bytes.data() == nullptr || (flags & ~allowed) != 0 || is_read_only(dynptr.dynptr))
        return kEinval;
    if (!contains(bytes, offset, from.size)) return kE2big;
    if (!env.charge(from.size / 4096)) return 0;
    std::memmove(bytes.data() + offset, from.data, from.size);
    return 0;
}

DynptrMemResult dynptr_data(HelperEnv& env, AnyDynptr dynptr, uint64_t offset,
                            AllocSize length) noexcept {
    const std::span<std::byte> bytes = dynptr_bytes(env, dynptr.dynptr);
    if (bytes.data() == nullptr || is_read_only(dynptr.dynptr)) return {};
    // Of packets only slices are to be had: they go when the packet moves.
    if (load_dynptr(dynptr.dynptr).is_packet()) return {};
    if (!contains(bytes, offset, length.value)) return {};
    return {bytes.data() + offset};
}

}  // namespace helper
}  // namespace skep
