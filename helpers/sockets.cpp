// Sockets of a run: see the header.
#include "helpers/sockets.hpp"

#include <algorithm>
#include <cstring>

#include <skep/map.hpp>
#include <skep/services.hpp>

#include "vm/prog/ctx_layouts.hpp"

namespace skep {

namespace {

// Programs read sockets at the offsets of struct bpf_sock and struct bpf_tcp_sock.
static_assert(offsetof(SockContext, bound_dev_if) == 0 && offsetof(SockContext, src_ip4) == 24 &&
              offsetof(SockContext, src_port) == 44 && offsetof(SockContext, dst_port) == 48 &&
              offsetof(SockContext, dst_ip6) == 56 && offsetof(SockContext, state) == 72 &&
              offsetof(SockContext, rx_queue_mapping) == 76);
static_assert(offsetof(TcpSockFields, bytes_received) == 80 &&
              offsetof(TcpSockFields, dsack_dups) == 96);
constexpr size_t kSockBytes = 80;

size_t visible_bytes(RunObjectKind kind) {
    return kind == RunObjectKind::TcpSock ? sizeof(TcpSockFields) : kSockBytes;
}

bool is_skb(const CtxLayout* layout) {
    return layout == &kTcCtx || layout == &kSocketFilterCtx || layout == &kCgroupSkbCtx ||
           layout == &kSkSkbCtx || layout == &kLwtCtx;
}

void release(void* socket, uint32_t, HelperEnv& env) noexcept {
    if (env.services != nullptr && env.services->release_socket)
        env.services->release_socket(*static_cast<SockContext*>(socket));
}

}  // namespace

SockContext* context_socket(const HelperEnv& env) noexcept {
    const CtxLayout* layout = env.layout;
    if (env.ctx == nullptr) return nullptr;
    if (layout == &kSockCtx) return static_cast<SockContext*>(env.ctx);
    if (layout == &kSockAddrCtx) return static_cast<SockAddrContext*>(env.ctx)->sk;
    if (layout == &kSockOpsCtx) return static_cast<SockOpsContext*>(env.ctx)->sk;
    if (layout == &kSkMsgCtx) return static_cast<SkMsgContext*>(env.ctx)->sk;
    if (layout == &kSkReuseportCtx) return static_cast<SkReuseportContext*>(env.ctx)->sk;
    if (layout == &kSkLookupCtx) return static_cast<SkLookupContext*>(env.ctx)->sk;
    if (layout == &kSockoptCtx) return static_cast<SockoptContext*>(env.ctx)->sk;
    return is_skb(layout) ? static_cast<SkbContext*>(env.ctx)->sk : nullptr;
}

SockContext* socket_at(const HelperEnv& env, const void* object) noexcept {
    if (object == nullptr) return nullptr;
    if (SockContext* own = context_socket(env); own == object) return own;
    if (env.layout == &kSkReuseportCtx && env.ctx != nullptr) {
        SockContext* moved = static_cast<SkReuseportContext*>(env.ctx)->migrating_sk;
        if (moved == object) return moved;
    }
    for (uint32_t i = 0; i < env.object_count; ++i) {
        const RunObject& known = env.objects[i];
        if (known.host != object) continue;
        return known.socket;
    }
    return nullptr;
}

namespace {

bool add_object(HelperEnv& env, RunObjectKind kind, void* host, SockContext* socket) noexcept {
    uint32_t index = 0, free = env.object_count;
    for (; index < env.object_count; ++index) {
        const RunObject& known = env.objects[index];
        if (known.host == host && known.kind == kind) break;
        if (known.host == nullptr) free = index;
    }
    if (index == env.object_count) index = free;
    if (index == kMaxRunObjects) {
        env.fail(TrapCode::OutOfMemory);
        return false;
    }
    env.object_count = std::max(env.object_count, index + 1);
    env.objects[index] = {kind, host, socket};
    if (!env.sandbox) return true;
    std::byte* copy = env.object_bytes + size_t{index} * kRunObjectBytes;
    std::memset(copy, 0, kRunObjectBytes);
    std::memcpy(copy, host, visible_bytes(kind));
    env.regions[region::kObject] = {.base = env.object_bytes,
                                    .lo = kRunObjectLow,
                                    .kind = static_cast<uint32_t>(RegionKind::Memory),
                                    .readable = uint64_t{env.object_count} * kRunObjectBytes,
                                    .writable = 0};
    return true;
}

}  // namespace

bool add_socket(HelperEnv& env, SockContext* socket) noexcept {
    return socket != nullptr && add_object(env, RunObjectKind::Socket, socket, socket);
}

bool add_tcp_part(HelperEnv& env, SockContext* socket) noexcept {
    return socket != nullptr && socket->tcp != nullptr &&
           add_object(env, RunObjectKind::TcpSock, socket->tcp, socket);
}

uint64_t object_address(const HelperEnv& env, const void* host) noexcept {
    if (host == nullptr) return 0;
    for (uint32_t i = 0; i < env.object_count; ++i) {
        if (env.objects[i].host == host)
            return guest_address(region::kObject, kRunObjectLow + i * kRunObjectBytes);
    }
    return 0;
}

const RunObject* object_at(const HelperEnv& env, uint64_t address) noexcept {
    const uint32_t offset = static_cast<uint32_t>(address) - kRunObjectLow;
    const uint32_t index = offset / kRunObjectBytes;
    if (address >> 32 != region::kObject || offset % kRunObjectBytes != 0 ||
        index >= env.object_count || env.objects[index].host == nullptr)
        return nullptr;
    return &env.objects[index];
}

SockContext* hold_socket(HelperEnv& env, SockContext* socket) noexcept {
    if (!add_socket(env, socket)) return nullptr;
    const bool held = env.hold(
        {.what = LedgerEntry::What::Reference, .id = 0, .object = socket, .release = &release});
    if (!held) release(socket, 0, env);
    return held ? socket : nullptr;
}

bool drop_socket(HelperEnv& env, SockContext* socket) noexcept {
    const auto refers = [&](const LedgerEntry& entry) {
        return entry.release == &release && entry.object == socket;
    };
    LedgerEntry* const end = env.ledger + env.ledger_count;
    LedgerEntry* const found = std::find_if(env.ledger, end, refers);
    if (found == end) return false;
    std::copy(found + 1, end, found);
    --env.ledger_count;
    // With its last reference it stops being one of the run's.
    if (std::none_of(env.ledger, env.ledger + env.ledger_count, refers)) {
        for (uint32_t i = 0; i < env.object_count; ++i) {
            if (env.objects[i].socket == socket) env.objects[i] = {};
        }
    }
    release(socket, 0, env);
    return true;
}

bool holds_sockets(const Map& map) noexcept {
    return map.def().type == MapType::Sockmap || map.def().type == MapType::Sockhash;
}

int64_t store_socket(Map& map, const std::byte* key, const SockContext* socket,
                     uint64_t flags) noexcept {
    constexpr int64_t kInvalid = -22;
    if (socket == nullptr) return kInvalid;
    std::byte value[8] = {};
    const uint64_t number = socket_number(*socket);
    std::memcpy(value, &number, sizeof number);
    return map.host_update(key, {value, map.def().value_size}, flags);
}

SockContext* load_socket(HelperEnv& env, Map& map, const std::byte* key) noexcept {
    uint64_t number = 0;
    if (env.services == nullptr || !env.services->map_socket || map.target(key, number) != 0)
        return nullptr;
    return hold_socket(env, env.services->map_socket(map, number));
}

uint64_t socket_number(const SockContext& socket) noexcept {
    return socket.cookie != 0 ? socket.cookie : reinterpret_cast<uintptr_t>(&socket);
}

}  // namespace skep
