// The parts of a run's environment that are not inlined: fuel beyond the quantum, the packet's
// region, and the ledger.
#include "helpers/env.hpp"

#include <algorithm>
#include <new>

#include <skep/context.hpp>

#include "helpers/kernel_world.hpp"

namespace skep {

bool HelperEnv::charge_slowly(uint64_t units) noexcept {
    // A reserve below the quantum's remainder plus `units` cannot overflow: both are bounded by the
    // fuel that the run was given.
    const uint64_t left = static_cast<uint64_t>(std::max<int64_t>(fuel, 0));
    if (interrupt != nullptr && interrupt->load(std::memory_order_relaxed) != 0) {
        fail(TrapCode::Interrupted);
        return false;
    }
    if (units > left && units - left > fuel_reserve) {
        fuel = 0;
        fuel_reserve = 0;
        fail(TrapCode::Fuel);
        return false;
    }
    const uint64_t rest = left + fuel_reserve - units;
    fuel = static_cast<int64_t>(std::min(rest, kFuelQuantum));
    fuel_reserve = rest - static_cast<uint64_t>(fuel);
    return true;
}

bool HelperEnv::enter_world() noexcept {
    if (world == nullptr || world->task() == 0) return false;
    if (world_filled) return true;
    if (block_world != world) {
        delete[] world_block;
        block_world = nullptr;
        world_block = new (std::nothrow) std::byte[world->size()];
        if (world_block == nullptr) return false;
        block_world = world;
        world_written = true;
    }
    if (world_written) world->copy({world_block, world->size()});
    world_written = false;
    Services::Task task;
    if (services != nullptr && services->task) task = services->task();
    const uint64_t cgroup = services != nullptr ? services->cgroup_id : 1;
    const uint32_t number =
        services != nullptr && services->cpu >= 0 ? static_cast<uint32_t>(services->cpu) : cpu;
    world->fill({world_block, world->size()}, task, cgroup, number);
    world_filled = true;
    return true;
}

void HelperEnv::packet_changed() noexcept {
    if (regions == nullptr || packet == nullptr) return;
    Region& region = regions[region::kPacket];
    const PacketBuffer& p = *packet;
    region.base = p.data_meta;
    region.lo = region::kPacketBase + static_cast<uint32_t>(p.data_meta - p.head);
    region.readable = static_cast<uint64_t>(p.data_end - p.data_meta);
    region.writable = packet_writable ? region.readable : 0;
    update_row(region::kPacket);
}

bool HelperEnv::hold(const LedgerEntry& entry) noexcept {
    if (ledger_count == kLedgerSize) {
        fail(TrapCode::Protocol);
        return false;
    }
    ledger[ledger_count++] = entry;
    return true;
}

void HelperEnv::release_all() noexcept {
    while (ledger_count != 0) {
        const LedgerEntry entry = ledger[--ledger_count];
        if (entry.release != nullptr) entry.release(entry.object, entry.id, *this);
    }
}

}  // namespace skep
