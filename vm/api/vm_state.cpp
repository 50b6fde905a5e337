// The shared state of a Vm: run areas by CPU slot and depth, and the tables of maps and helpers.
#include "vm/api/vm_state.hpp"

#include <utility>

#include "helpers/kernel_world.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/slots.hpp"

#ifdef SKEP_HAS_JIT
#include "jit/jit.hpp"
#endif

namespace skep {

VmState::VmState(VmOptions given)
    : options(std::move(given)),
      timers(std::make_shared<TimerWheel>()),
      slots_(sync::slot_count()),
      areas_(std::make_unique<std::atomic<RunArea*>[]>(size_t{slots_} * kMaxRunDepth)) {}

VmState::~VmState() {
    for (const auto& map : maps) {
        if (map->def().type != MapType::ProgArray) continue;
        for (uint32_t index = 0; index < map->def().max_entries; ++index) {
            map->host_erase(reinterpret_cast<const std::byte*>(&index));
        }
    }
    for (size_t i = 0; i < size_t{slots_} * kMaxRunDepth; ++i) delete areas_[i].load();
}

RunArea* VmState::make_area(unsigned slot, unsigned depth) noexcept {
    std::atomic<RunArea*>& entry = areas_[size_t{slot} * kMaxRunDepth + depth];
    auto made = RunArea::create();
    if (!made) return nullptr;
    RunArea* area = made->release();
    area->services = &options.services;
    area->user = options.user;
    area->cpu = slot;
    area->timers = timers.get();
    entry.store(area, std::memory_order_release);
    return area;
}

std::shared_ptr<Map> VmState::map_handle(const Map* map) const {
    const std::lock_guard lock(mutex);
    for (const auto& held : maps) {
        if (held.get() == map) return held;
    }
    return nullptr;
}

const std::shared_ptr<const Btf>& VmState::system_types() {
    if (!types_asked_ && options.kernel_btf) system_types_ = options.kernel_btf();
    types_asked_ = true;
    return system_types_;
}

std::shared_ptr<const KernelWorld> VmState::world_of(const std::shared_ptr<const Btf>& types) {
    for (const auto& world : worlds_) {
        if (&world->btf() == types.get()) return world;
    }
    worlds_.push_back(KernelWorld::create(types));
    return worlds_.back();
}

#ifdef SKEP_HAS_JIT
Result<std::shared_ptr<const Code>> VmState::native_code(const Image& image) {
    if (!jit::available())
        return fail(ErrorCode::NoJit, "native code cannot be made on this machine");
    if (arena_ == nullptr) {
        SKEP_TRY(arena_, jit::CodeArena::create());
    }
    return jit::compile(image, arena_, {.perf_map = options.perf_map, .gdb_jit = options.gdb_jit});
}
#endif

const Helper* VmState::host_helper(uint32_t id) const {
    for (const auto& held : helpers) {
        if (held->helper.id == id) return &held->helper;
    }
    return nullptr;
}

const Helper* VmState::host_kfunc(std::string_view name) const {
    for (const auto& held : kfuncs) {
        if (held->helper.name == name) return &held->helper;
    }
    return nullptr;
}

}  // namespace skep
