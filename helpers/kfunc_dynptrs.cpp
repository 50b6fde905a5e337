// Kernel functions on dynptrs: over packets, slices, and the arithmetic of ranges.
#include <algorithm>
#include <cstring>

#include <skep/context.hpp>

#include "helpers/dynptr.hpp"
#include "helpers/kfunc_impl.hpp"
#include "helpers/packet.hpp"
#include "helpers/readable.hpp"

namespace skep::kfunc {

namespace {

using helper::kE2big;
using helper::kEfault;
using helper::kEinval;
constexpr int32_t kErangeError = -34;

// A dynptr over the run's packet, from `flags` on.
int32_t over_packet(HelperEnv& env, std::byte* slot, uint64_t wanted, uint32_t kind,
                    bool readonly) noexcept {
    store_dynptr(slot, {});
    if (wanted != 0) return kEinval;
    if (env.packet == nullptr) return kEinval;
    const auto bytes = packet_bytes(env, kind);
    if (bytes.size() > kMaxDynptr) return kE2big;
    store_dynptr(
        slot, {0, static_cast<uint32_t>(bytes.size()), kind | (readonly ? Dynptr::kReadOnly : 0)});
    return 0;
}

// Up to `limit` bytes of the string at `from`, its NUL included, into `out`; how many, or -EFAULT.
int64_t copy_string(const HelperEnv& env, uint64_t from, std::byte* out, uint64_t limit) noexcept {
    for (uint64_t done = 0; done < limit;) {
        const auto bytes = readable_bytes(env, from + done);
        if (bytes.empty()) return kEfault;
        const uint64_t n = std::min<uint64_t>(bytes.size(), limit - done);
        const void* end = std::memchr(bytes.data(), 0, n);
        const uint64_t take =
            end == nullptr
                ? n
                : static_cast<uint64_t>(static_cast<const std::byte*>(end) - bytes.data()) + 1;
        std::memmove(out + done, bytes.data(), take);
        done += take;
        if (end != nullptr) return static_cast<int64_t>(done);
        if (done == limit) break;
    }
    if (limit != 0) out[limit - 1] = std::byte{0};
    return static_cast<int64_t>(limit);
}

// `size` bytes at `offset` of a dynptr that may be written; null (and an error) if there are none.
std::byte* target(HelperEnv& env, const std::byte* slot, uint32_t offset, uint32_t size,
                  int32_t& error) noexcept {
    const Dynptr dynptr = load_dynptr(slot);
    error = kEinval;
    const std::span<std::byte> bytes = dynptr_bytes(env, slot);
    if (bytes.data() == nullptr || dynptr.is_read_only()) return nullptr;
    error = kE2big;
    if (offset > bytes.size() || size > bytes.size() - offset) return nullptr;
    error = 0;
    return env.charge(size / 4096) ? bytes.data() + offset : nullptr;
}

}  // namespace

int32_t bpf_dynptr_from_skb(HelperEnv& env, CtxArg, uint64_t flags, NewDynptr out) noexcept {
    return over_packet(env, out.dynptr, flags, Dynptr::kPacket, !env.packet_writable);
}

int32_t bpf_dynptr_from_skb_meta(HelperEnv& env, CtxArg, uint64_t flags, NewDynptr out) noexcept {
    return over_packet(env, out.dynptr, flags, Dynptr::kMeta, false);
}

int32_t bpf_dynptr_from_xdp(HelperEnv& env, CtxArg, uint64_t flags, NewDynptr out) noexcept {
    return over_packet(env, out.dynptr, flags, Dynptr::kPacket, false);
}

int32_t bpf_dynptr_adjust(HelperEnv&, AnyDynptr dynptr, uint32_t start, uint32_t end) noexcept {
    Dynptr value = load_dynptr(dynptr.dynptr);
    if (value.is_null() || start > end) return kEinval;
    if (start > value.size || end > value.size) return kErangeError;
    value.address += start;
    value.size = end - start;
    store_dynptr(dynptr.dynptr, value);
    return 0;
}

bool bpf_dynptr_is_null(HelperEnv&, AnyDynptr dynptr) noexcept {
    return load_dynptr(dynptr.dynptr).is_null();
}

bool bpf_dynptr_is_rdonly(HelperEnv&, AnyDynptr dynptr) noexcept {
    const Dynptr value = load_dynptr(dynptr.dynptr);
    return !value.is_null() && value.is_read_only();
}

uint32_t bpf_dynptr_size(HelperEnv&, AnyDynptr dynptr) noexcept {
    const Dynptr value = load_dynptr(dynptr.dynptr);
    return value.is_null() ? static_cast<uint32_t>(kEinval) : value.size;
}

int32_t bpf_dynptr_clone(HelperEnv&, AnyDynptr dynptr, NewDynptr out) noexcept {
    const Dynptr value = load_dynptr(dynptr.dynptr);
    store_dynptr(out.dynptr, {});
    if (value.is_null()) return kEinval;
    store_dynptr(out.dynptr, value);
    return 0;
}

int32_t bpf_dynptr_copy(HelperEnv& env, AnyDynptr to, uint32_t to_offset, AnyDynptr from,
                        uint32_t from_offset, uint32_t size) noexcept {
    const std::span<const std::byte> source = dynptr_bytes(env, from.dynptr);
    int32_t error = 0;
    std::byte* out = target(env, to.dynptr, to_offset, size, error);
    if (out == nullptr) return error;
    if (source.data() == nullptr) return kEinval;
    if (from_offset > source.size() || size > source.size() - from_offset) return kE2big;
    std::memmove(out, source.data() + from_offset, size);
    return 0;
}

int32_t bpf_dynptr_memset(HelperEnv& env, AnyDynptr to, uint32_t offset, uint32_t size,
                          uint8_t value) noexcept {
    int32_t error = 0;
    std::byte* out = target(env, to.dynptr, offset, size, error);
    if (out == nullptr) return error;
    std::memset(out, value, size);
    return 0;
}

// The packet is one piece of memory here: a slice is always a view, the buffer is never needed.
DynptrMemResult bpf_dynptr_slice(HelperEnv& env, AnyDynptr dynptr, uint32_t offset,
                                 WriteMemOrNull buffer) noexcept {
    const std::span<std::byte> bytes = dynptr_bytes(env, dynptr.dynptr);
    if (bytes.data() == nullptr || offset > bytes.size() || buffer.size > bytes.size() - offset)
        return {nullptr};
    return {bytes.data() + offset};
}

DynptrMemResult bpf_dynptr_slice_rdwr(HelperEnv& env, AnyDynptr dynptr, uint32_t offset,
                                      WriteMemOrNull buffer) noexcept {
    if (load_dynptr(dynptr.dynptr).is_read_only()) return {nullptr};
    return bpf_dynptr_slice(env, dynptr, offset, buffer);
}

int32_t bpf_probe_read_kernel_dynptr(HelperEnv& env, AnyDynptr to, uint32_t offset, uint32_t size,
                                     uint64_t from) noexcept {
    int32_t error = 0;
    std::byte* out = target(env, to.dynptr, offset, size, error);
    if (out == nullptr) return error;
    return read_bytes(env, from, out, size) ? 0 : static_cast<int32_t>(kEfault);
}

int32_t bpf_probe_read_user_dynptr(HelperEnv& env, AnyDynptr to, uint32_t offset, uint32_t size,
                                   uint64_t from) noexcept {
    return bpf_probe_read_kernel_dynptr(env, to, offset, size, from);
}

int32_t bpf_probe_read_kernel_str_dynptr(HelperEnv& env, AnyDynptr to, uint32_t offset,
                                         uint32_t size, uint64_t from) noexcept {
    int32_t error = 0;
    std::byte* out = target(env, to.dynptr, offset, size, error);
    if (out == nullptr) return error;
    return static_cast<int32_t>(copy_string(env, from, out, size));
}

int32_t bpf_probe_read_user_str_dynptr(HelperEnv& env, AnyDynptr to, uint32_t offset, uint32_t size,
                                       uint64_t from) noexcept {
    return bpf_probe_read_kernel_str_dynptr(env, to, offset, size, from);
}

}  // namespace skep::kfunc
