// What every map does by default: refuse, with the errno that Linux gives for an operation that a
// type does not have (EOPNOTSUPP).
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include <skep/map.hpp>

#include "maps/create.hpp"
#include "maps/map_types.hpp"
#include "maps/object_heap.hpp"
#include "maps/table.hpp"
#include "maps/value_objects.hpp"
#include "vm/base/try.hpp"
#include "vm/btf/special_fields.hpp"

namespace skep {
namespace {

uint32_t next_map_id() noexcept {
    static constinit std::atomic<uint32_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

Map::Map(MapDef def)
    : find_([](Map* map, const std::byte* key, unsigned cpu) noexcept {
          return map->lookup(key, {cpu});
      }),
      def_(std::move(def)),
      id_(next_map_id()) {}

std::byte* Map::lookup(const std::byte*, MapCaller) noexcept { return nullptr; }
std::byte* Map::lookup_percpu(const std::byte*, unsigned) noexcept { return nullptr; }
long Map::update(const std::byte*, const std::byte*, uint64_t, MapCaller) noexcept {
    return -EOPNOTSUPP;
}
long Map::erase(const std::byte*, MapCaller) noexcept { return -EOPNOTSUPP; }
long Map::push(const std::byte*, uint64_t, MapCaller) noexcept { return -EOPNOTSUPP; }
long Map::pop(std::byte* value, MapCaller) noexcept {
    std::fill_n(value, def_.value_size, std::byte{0});
    return -EOPNOTSUPP;
}
long Map::peek(std::byte* value, MapCaller) noexcept {
    std::fill_n(value, def_.value_size, std::byte{0});
    return -EOPNOTSUPP;
}
Map* Map::lookup_map(const std::byte*, MapCaller) noexcept { return nullptr; }
const Executable* Map::executable(uint32_t) noexcept { return nullptr; }
long Map::for_each(Visit, void*, MapCaller) noexcept { return -EOPNOTSUPP; }

uint64_t Map::host_value_size() const noexcept { return def_.value_size; }
long Map::host_lookup(const std::byte*, std::span<std::byte>, uint64_t) noexcept {
    return -EOPNOTSUPP;
}
long Map::host_update(const std::byte*, std::span<const std::byte>, uint64_t) noexcept {
    return -EOPNOTSUPP;
}
long Map::host_erase(const std::byte*) noexcept { return -EOPNOTSUPP; }
long Map::next_key(const std::byte*, std::byte*) noexcept { return -EOPNOTSUPP; }
long Map::set_map(const std::byte*, std::shared_ptr<Map>, uint64_t) noexcept { return -EOPNOTSUPP; }
long Map::set_executable(const std::byte*, std::shared_ptr<const Executable>, uint64_t) noexcept {
    return -EOPNOTSUPP;
}

long Map::target(const std::byte*, uint64_t&) noexcept { return -EOPNOTSUPP; }
std::byte* Map::storage(uint64_t, const std::byte*, uint64_t, MapCaller) noexcept {
    return nullptr;
}
long Map::storage_erase(uint64_t, MapCaller) noexcept { return -EOPNOTSUPP; }
long Map::store_stack(std::span<const uint64_t>, uint64_t) noexcept { return -EOPNOTSUPP; }
MapReservation Map::reserve(uint64_t, uint64_t) noexcept { return {}; }
long Map::commit(uint32_t, uint64_t) noexcept { return -EOPNOTSUPP; }
long Map::discard(uint32_t, uint64_t) noexcept { return -EOPNOTSUPP; }
uint64_t Map::query(uint64_t) noexcept { return 0; }
long Map::output(std::span<const std::byte>, std::span<const std::byte>, uint64_t,
                 MapCaller) noexcept {
    return -EOPNOTSUPP;
}
long Map::drain(Take, void*, uint64_t) noexcept { return -EOPNOTSUPP; }
long Map::host_pop(std::span<std::byte>) noexcept { return -EOPNOTSUPP; }
long Map::open_events(uint64_t) noexcept { return -EOPNOTSUPP; }
long Map::consume(Consume, void*, uint64_t) noexcept { return -EOPNOTSUPP; }
int Map::event_fd() noexcept { return -EOPNOTSUPP; }
bool Map::key_of(const std::byte*, std::byte*) noexcept { return false; }
long Map::submit(std::span<const std::byte>) noexcept { return -EOPNOTSUPP; }

long Map::freeze() noexcept {
    // Linux refuses where programs change objects inside values, and who may not write.
    if (!def_.fields.empty()) return -EOPNOTSUPP;
    if ((def_.flags & map_flags::kRdonly) != 0) return -EPERM;
    return frozen_.exchange(true, std::memory_order_relaxed) ? -EPERM : 0;
}

std::optional<std::byte*> Map::direct_value(uint32_t) noexcept { return std::nullopt; }

ValueCopy::ValueCopy(const MapDef& def, uint32_t size) : size_(size) {
    constexpr uint32_t kFew = 64;  // bytes, copied without a look at how the addresses lie
    if (def.fields.empty()) {
        if (size_ % 8 == 0 && size_ <= kFew) words_ = size_ / 8;
        return;
    }
    uint32_t at = 0;
    for (const SpecialField& field : def.fields) {
        const uint32_t begin = std::clamp(field.offset, at, size_);
        if (begin > at) plain_.push_back({at, begin - at});
        at = std::max(at, begin + std::min(field.size, size_ - begin));
    }
    if (at < size_) plain_.push_back({at, size_ - at});
    if (plain_.empty()) plain_.push_back({0, 0});
}

void ValueCopy::overwrite_parts(std::byte* to, const std::byte* from) const noexcept {
    for (const Segment& s : plain_) relaxed_copy(to + s.offset, from + s.offset, s.size);
}

void ValueCopy::read(std::byte* to, const std::byte* from) const noexcept {
    if (plain_.empty()) return relaxed_copy(to, from, size_);
    std::fill_n(to, size_, std::byte{0});
    overwrite_parts(to, from);
}

long next_index(uint32_t entries, const std::byte* key, std::byte* next) noexcept {
    const uint32_t index = key != nullptr ? relaxed_load<uint32_t>(key) : UINT32_MAX;
    uint32_t following = 0;
    if (index < entries) {
        if (index == entries - 1) return -ENOENT;
        following = index + 1;
    }
    std::memcpy(next, &following, sizeof(following));
    return 0;
}

ValueLocks* value_locks(Map& map) noexcept {
    auto* table = dynamic_cast<TableMap*>(&map);
    return table != nullptr ? table->locks() : nullptr;
}

namespace {

bool has_field(const MapDef& def, FieldKind kind) noexcept {
    return std::ranges::any_of(def.fields, [&](const SpecialField& f) { return f.kind == kind; });
}

}  // namespace

TableMap::TableMap(MapDef definition, bool percpu)
    : Map(std::move(definition)),
      percpu_(percpu),
      cpus_(percpu ? cpu_slots() : 1),
      has_lock_(has_field(def(), FieldKind::SpinLock)),
      copy_(def(), def().value_size),
      host_copy_(def(),
                 percpu ? static_cast<uint32_t>(round_up(def().value_size, 8)) : def().value_size),
      locks_(has_lock_ ? std::make_unique<ValueLocks>() : nullptr),
      timers_(
          std::ranges::any_of(def().fields, [](const SpecialField& f) { return is_timer(f.kind); })
              ? std::make_unique<MapTimers>(def())
              : nullptr) {}

TableMap::~TableMap() {
    if (!def().fields.empty()) unlist_value_objects(*this);
    if (objects_owner_ != nullptr) objects_owner_->clear(values().base, values().size, true);
}

void TableMap::set_values(ValueRange range) {
    Map::set_values(range);
    if (!def().fields.empty()) list_value_objects(*this);
}

namespace {

Result<std::shared_ptr<Map>> make(MapDef def) {
    switch (def.type) {
        case MapType::Array:
        case MapType::PercpuArray: return make_array(std::move(def));
        case MapType::Hash:
        case MapType::PercpuHash:
        case MapType::LruHash:
        case MapType::LruPercpuHash: return make_hash(std::move(def));
        case MapType::ProgArray:
        case MapType::ArrayOfMaps:
        case MapType::HashOfMaps: return make_handles(std::move(def));
        case MapType::LpmTrie: return make_lpm_trie(std::move(def));
        case MapType::Queue:
        case MapType::Stack: return make_queue(std::move(def));
        case MapType::BloomFilter: return make_bloom_filter(std::move(def));
        case MapType::Ringbuf: return make_ring_buffer(std::move(def));
        case MapType::UserRingbuf: return make_user_ring_buffer(std::move(def));
        case MapType::PerfEventArray: return make_perf_event_array(std::move(def));
        case MapType::StackTrace: return make_stack_trace(std::move(def));
        case MapType::Devmap:
        case MapType::DevmapHash:
        case MapType::Cpumap:
        case MapType::Xskmap:
        case MapType::Sockmap:
        case MapType::Sockhash:
        case MapType::ReuseportSockarray:
        case MapType::CgroupArray: return make_targets(std::move(def));
        case MapType::SkStorage:
        case MapType::InodeStorage:
        case MapType::TaskStorage:
        case MapType::CgrpStorage:
        case MapType::CgroupStorage:
        case MapType::PercpuCgroupStorage: return make_storage(std::move(def));
        case MapType::Arena: return make_arena(std::move(def));
        case MapType::Unspec:
        case MapType::StructOps: break;
    }
    return fail(ErrorCode::UnsupportedMapType, "map \"" + def.name + "\": maps of type " +
                                                   std::string(map_type_info(def.type)->name) +
                                                   " cannot be made");
}

}  // namespace

Result<std::shared_ptr<Map>> create_map(MapDef def) {
    SKEP_CHECK(check_map_def(def));
    const bool is_arena = def.type == MapType::Arena;  // it checks them itself
    if (def.contents.size() > def.value_size && !is_arena) {
        return fail(ErrorCode::BadMapContents,
                    "map \"" + def.name + "\": " + std::to_string(def.contents.size()) +
                        " bytes of contents for a value of " + std::to_string(def.value_size));
    }
    if (!def.contents.empty() && def.type != MapType::Array && !is_arena) {
        return fail(ErrorCode::BadMapContents,
                    "map \"" + def.name + "\": only arrays take initial contents");
    }
    try {
        return make(std::move(def));
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::OutOfMemory, "no memory for a map");
    }
}

}  // namespace skep
