// Records for the host: perf event arrays and ring buffers.
//
// A reserved record is held in the run's ledger until it is submitted or discarded, so a run that
// ends early leaves none behind. Which record an address belongs to is looked up there; nothing is
// read from the record's own memory.
#include <algorithm>
#include <cstring>

#include <skep/context.hpp>
#include <skep/map.hpp>

#include "helpers/dynptr.hpp"
#include "helpers/guest.hpp"
#include "helpers/guest_objects.hpp"
#include "helpers/impl.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::helper {

namespace {

constexpr uint64_t kNoWakeup = 1, kForceWakeup = 2;

bool is_ring(HelperEnv& env, const Map& map) {
    if (map.def().type == MapType::Ringbuf) return true;
    env.fail(TrapCode::BadArgument);
    return false;
}

void drop_record(void* map, uint32_t id, HelperEnv&) noexcept {
    static_cast<Map*>(map)->discard(id, kNoWakeup);
}

std::byte* reserve(HelperEnv& env, Map& ring, uint64_t size, uint64_t flags) {
    if (flags != 0) return nullptr;
    if (env.ledger_count == kLedgerSize) return nullptr;
    const MapReservation record = ring.reserve(size, flags);
    if (record.data == nullptr) return nullptr;
    env.hold({.what = LedgerEntry::What::Reservation,
              .id = record.id,
              .object = &ring,
              .release = &drop_record,
              .data = record.data});
    return record.data;
}

// Takes the record that starts at `data` out of the ledger and ends it.
void finish(HelperEnv& env, const std::byte* data, uint64_t flags, bool commit) {
    for (uint32_t i = env.ledger_count; i-- > 0;) {
        const LedgerEntry entry = env.ledger[i];
        if (entry.what != LedgerEntry::What::Reservation || entry.data != data) continue;
        std::copy(env.ledger + i + 1, env.ledger + env.ledger_count, env.ledger + i);
        --env.ledger_count;
        auto& ring = *static_cast<Map*>(entry.object);
        const uint64_t wakeup = flags & (kNoWakeup | kForceWakeup);
        commit ? ring.commit(entry.id, wakeup) : ring.discard(entry.id, wakeup);
        return;
    }
    env.fail(TrapCode::Protocol);
}

// Bytes of the packet that the flags ask for, behind the record.
bool packet_part(const HelperEnv& env, uint64_t flags, std::span<const std::byte>& out) {
    const uint64_t length = flags >> 32 & 0xfffff;
    if (length == 0) return true;
    const PacketBuffer& packet = *env.packet;
    if (length > static_cast<uint64_t>(packet.data_end - packet.data)) return false;
    out = {packet.data, length};
    return true;
}

}  // namespace

int64_t perf_event_output(HelperEnv& env, CtxArg, MapArg map, uint64_t flags,
                          ReadMemOrEmpty data) noexcept {
    constexpr uint64_t kIndexMask = 0xffffffff, kPacketMask = uint64_t{0xfffff} << 32;
    if (map->def().type != MapType::PerfEventArray) {
        env.fail(TrapCode::BadArgument);
        return 0;
    }
    const uint64_t known = kIndexMask | (env.packet != nullptr ? kPacketMask : 0);
    if ((flags & ~known) != 0) return kEinval;
    std::span<const std::byte> packet;
    if (!packet_part(env, flags, packet)) return kEfault;
    if (!env.charge((data.size + packet.size()) / 4096)) return 0;
    return map->output({data.data, data.size}, packet, flags & kIndexMask, env.caller());
}

int64_t ringbuf_output(HelperEnv& env, MapArg ring, ReadMemOrEmpty data, uint64_t flags) noexcept {
    if (!is_ring(env, *ring.map)) return 0;
    if ((flags & ~(kNoWakeup | kForceWakeup)) != 0) return kEinval;
    if (!env.charge(data.size / 4096)) return 0;
    return ring->output({data.data, data.size}, {}, flags, env.caller());
}

AllocMemResult ringbuf_reserve(HelperEnv& env, MapArg ring, AllocSize size,
                               uint64_t flags) noexcept {
    if (!is_ring(env, *ring.map)) return {};
    return {reserve(env, *ring.map, size.value, flags)};
}

void ringbuf_submit(HelperEnv& env, ReleasedRecord record, uint64_t flags) noexcept {
    finish(env, record.data, flags, true);
}

void ringbuf_discard(HelperEnv& env, ReleasedRecord record, uint64_t flags) noexcept {
    finish(env, record.data, flags, false);
}

uint64_t ringbuf_query(HelperEnv& env, MapArg ring, uint64_t what) noexcept {
    return is_ring(env, *ring.map) ? ring->query(what) : 0;
}

int64_t ringbuf_reserve_dynptr(HelperEnv& env, MapArg ring, uint32_t size, uint64_t flags,
                               NewRingbufDynptr out) noexcept {
    store_dynptr(out.dynptr, {});
    if (!is_ring(env, *ring.map)) return 0;
    if (flags != 0) return kEinval;
    if (size > kMaxDynptr) return kE2big;
    std::byte* data = reserve(env, *ring.map, size, flags);
    if (data == nullptr) return kEinval;
    store_dynptr(out.dynptr, make_dynptr(env, data, size));
    return 0;
}

// A dynptr whose reservation failed is null: to submit it does nothing.
void ringbuf_submit_dynptr(HelperEnv& env, ReleasedRingbufDynptr dynptr, uint64_t flags) noexcept {
    const std::span<std::byte> bytes = dynptr_bytes(env, dynptr.dynptr);
    store_dynptr(dynptr.dynptr, {});
    if (bytes.data() != nullptr) finish(env, bytes.data(), flags, true);
}

void ringbuf_discard_dynptr(HelperEnv& env, ReleasedRingbufDynptr dynptr, uint64_t flags) noexcept {
    const std::span<std::byte> bytes = dynptr_bytes(env, dynptr.dynptr);
    store_dynptr(dynptr.dynptr, {});
    if (bytes.data() != nullptr) finish(env, bytes.data(), flags, false);
}

}  // namespace skep::helper
