#include "maps/shared_segment.hpp"

#include <algorithm>
#include <cctype>
#include <string>

#include "maps/map_types.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/slots.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {
namespace {

constexpr uint64_t kMagic = 0x31304d4853504b53;  // "SKPSHM01"
constexpr uint64_t kMaxBytes = uint64_t{1} << 40;
constexpr uint32_t kMaxKey = 512;
constexpr uint64_t kPatienceNs = 1'000'000'000;

Result<std::string> object_name(std::string_view name) {
    const auto good = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
    };
    if (name.empty() || name.size() > 200 || !std::ranges::all_of(name, good)) {
        return fail(ErrorCode::InvalidArgument,
                    "the name of a shared map has 1 to 200 letters, digits, '.', '_' and '-'");
    }
    return "/skep." + std::string(name);
}

Result<void> check(const MapDef& def) {
    SKEP_CHECK(check_map_def(def));
    switch (def.type) {
        case MapType::Array:
        case MapType::PercpuArray:
        case MapType::Hash:
        case MapType::PercpuHash:
        case MapType::Ringbuf: break;
        default:
            return fail(ErrorCode::UnsupportedMapType,
                        "maps of type " + std::string(map_type_info(def.type)->name) +
                            " cannot be shared between processes");
    }
    if (!def.fields.empty() || !def.contents.empty() || def.frozen || def.key_size > kMaxKey) {
        return fail(ErrorCode::BadMapDef,
                    "shared maps have no special fields, no initial contents, and keys of at most "
                    "512 bytes");
    }
    return {};
}

bool is_ring(MapType type) noexcept { return type == MapType::Ringbuf; }

}  // namespace

// What another process reads of the map's shape when it attaches, and the words that all share.
struct SharedSegment::Header {
    uint64_t magic;
    uint32_t type, key_size, value_size, max_entries, flags, processes, slots;
    std::atomic<uint32_t> ready;
    uint64_t secret[3];
    alignas(64) std::atomic<uint64_t> epoch;
    struct alignas(64) {
        std::atomic<uint32_t> owner;  // process plus 1
    } locks[kLocks];
};

uint64_t SharedSegment::own_bytes(unsigned cpus) noexcept {
    return (sizeof(Header) + cpus * sizeof(Pin) + 4095) / 4096 * 4096;
}

SharedSegment::Header& SharedSegment::header() const noexcept {
    return *reinterpret_cast<Header*>(memory_.data());
}
SharedSegment::Pin& SharedSegment::pin_of(unsigned cpu) const noexcept {
    return reinterpret_cast<Pin*>(memory_.data() + sizeof(Header))[cpu];
}
std::atomic<uint32_t>& SharedSegment::word(Lock which) const noexcept {
    return header().locks[static_cast<unsigned>(which)].owner;
}

Result<std::unique_ptr<SharedSegment>> SharedSegment::create(std::string_view name,
                                                             const MapDef& def, unsigned processes,
                                                             SizeOf size_of) {
    SKEP_TRY(const std::string object, object_name(name));
    SKEP_CHECK(check(def));
    if (processes == 0 || processes > kMaxSharingProcesses) {
        return fail(
            ErrorCode::InvalidArgument,
            "a shared map is for 1 to " + std::to_string(kMaxSharingProcesses) + " processes");
    }
    auto segment = std::make_unique<SharedSegment>();
    segment->def_ = def;
    segment->processes_ = processes;
    segment->slots_ = sync::slot_count();
    SKEP_TRY(const uint64_t bytes, size_of(def, segment->all_cpus()));
    if (bytes > kMaxBytes) return fail(ErrorCode::BadMapDef, "the map is too large");
    SKEP_TRY(segment->memory_,
             os::SharedMemory::create(object, own_bytes(segment->all_cpus()) + bytes));
    Header& header = segment->header();
    header.magic = kMagic;
    header.type = static_cast<uint32_t>(def.type);
    header.key_size = def.key_size;
    header.value_size = def.value_size;
    header.max_entries = def.max_entries;
    header.flags = def.flags;
    header.processes = processes;
    header.slots = segment->slots_;
    if ((def.flags & map_flags::kZeroSeed) == 0) {
        os::random_bytes(std::as_writable_bytes(std::span(&segment->secret_, 1)));
        segment->secret_.b |= 1;
    }
    header.secret[0] = segment->secret_.a;
    header.secret[1] = segment->secret_.b;
    header.secret[2] = segment->secret_.c;
    header.epoch.store(1, std::memory_order_relaxed);
    header.ready.store(1, std::memory_order_release);
    SKEP_CHECK(segment->attach());
    return segment;
}

Result<std::unique_ptr<SharedSegment>> SharedSegment::open(std::string_view name, SizeOf size_of) {
    SKEP_TRY(const std::string object, object_name(name));
    auto segment = std::make_unique<SharedSegment>();
    SKEP_TRY(segment->memory_, os::SharedMemory::open(object));
    const auto damaged = [&](const char* what) {
        return fail(ErrorCode::BadMapDef, "segment " + object + ": " + what);
    };
    if (segment->memory_.size() < sizeof(Header)) return damaged("too small");
    const Header& header = segment->header();
    if (header.ready.load(std::memory_order_acquire) != 1 || header.magic != kMagic)
        return damaged("no map of this version is in it, or not yet");
    // Copied first: another process may change it between check and use.
    MapDef& def = segment->def_;
    def.name = name;
    def.type = static_cast<MapType>(__atomic_load_n(&header.type, __ATOMIC_RELAXED));
    def.key_size = __atomic_load_n(&header.key_size, __ATOMIC_RELAXED);
    def.value_size = __atomic_load_n(&header.value_size, __ATOMIC_RELAXED);
    def.max_entries = __atomic_load_n(&header.max_entries, __ATOMIC_RELAXED);
    def.flags = __atomic_load_n(&header.flags, __ATOMIC_RELAXED);
    segment->processes_ = __atomic_load_n(&header.processes, __ATOMIC_RELAXED);
    segment->slots_ = __atomic_load_n(&header.slots, __ATOMIC_RELAXED);
    segment->secret_ = {__atomic_load_n(&header.secret[0], __ATOMIC_RELAXED),
                        __atomic_load_n(&header.secret[1], __ATOMIC_RELAXED),
                        __atomic_load_n(&header.secret[2], __ATOMIC_RELAXED)};
    SKEP_CHECK(check(def));
    if (segment->processes_ == 0 || segment->processes_ > kMaxSharingProcesses ||
        segment->slots_ == 0 || segment->slots_ > 4096)
        return damaged("its numbers of processes or CPU slots are none");
    if (segment->slots_ < sync::slot_count())
        return damaged("it was made for processes with fewer CPU slots");
    SKEP_TRY(const uint64_t bytes, size_of(def, segment->all_cpus()));
    if (bytes > kMaxBytes || own_bytes(segment->all_cpus()) + bytes != segment->memory_.size())
        return damaged("its size is not its map's");
    SKEP_CHECK(segment->attach());
    return segment;
}

// The first number that no living process has.
Result<void> SharedSegment::attach() {
    for (index_ = 0; index_ < processes_; ++index_) {
        if (!memory_.take_mark(index_)) continue;
        for (unsigned own = 0; own < slots_; ++own) {
            pin_of(cpu(own)).epoch.store(0, std::memory_order_release);
        }
        return {};
    }
    return fail(ErrorCode::LimitExceeded,
                std::to_string(processes_) + " processes use the shared map already");
}

SharedSegment::Taken SharedSegment::lock(Lock which) noexcept {
    std::mutex& local = local_[static_cast<unsigned>(which)];
    local.lock();
    std::atomic<uint32_t>& owner = word(which);
    const uint32_t self = index_ + 1;
    sync::Backoff backoff;
    uint64_t begun = 0;
    for (unsigned round = 0;; ++round) {
        uint32_t seen = 0;
        if (owner.compare_exchange_strong(seen, self, std::memory_order_acq_rel)) return Taken::Yes;
        if (round % 128 == 127) {
            // No thread of this process has it; a process that ended will not give it back.
            if ((seen == self || !is_alive(uint64_t{seen} - 1)) &&
                owner.compare_exchange_strong(seen, self, std::memory_order_acq_rel))
                return Taken::AfterDeath;
            const uint64_t now = os::monotonic_ns();
            if (begun == 0) begun = now;
            if (now - begun > kPatienceNs) break;
        }
        if (round < 4096) {
            sync::pause();
        } else {
            backoff.wait();
        }
    }
    local.unlock();
    return Taken::No;
}

void SharedSegment::unlock(Lock which) noexcept {
    uint32_t self = index_ + 1;
    word(which).compare_exchange_strong(self, 0, std::memory_order_release);
    local_[static_cast<unsigned>(which)].unlock();
}

bool SharedSegment::pin(unsigned own_cpu) noexcept {
    return sync::pin(pin_of(cpu(own_cpu)).epoch, header().epoch);
}

uint64_t SharedSegment::stamp() noexcept {
    return header().epoch.fetch_add(1, std::memory_order_seq_cst);
}

uint64_t SharedSegment::reusable_below(unsigned own_cpu) noexcept {
    sync::full_fence();
    const unsigned self = cpu(own_cpu);
    uint64_t oldest = UINT64_MAX;
    for (unsigned other = 0; other < all_cpus(); ++other) {
        if (other == self) continue;
        std::atomic<uint64_t>& word = pin_of(other).epoch;
        const uint64_t epoch = word.load(std::memory_order_acquire);
        if (epoch == 0 || epoch >= oldest) continue;
        if (!is_alive(other / slots_)) {
            word.store(0, std::memory_order_relaxed);
            continue;
        }
        oldest = epoch;
    }
    return oldest;
}

namespace {

SharedSegment::SizeOf size_for(MapType type) noexcept {
    return is_ring(type) ? &shared_ring_bytes : &shared_table_bytes;
}

Result<uint64_t> any_size(const MapDef& def, unsigned cpus) {
    return size_for(def.type)(def, cpus);
}

Result<std::shared_ptr<Map>> make(std::unique_ptr<SharedSegment> segment) {
    if (is_ring(segment->def().type)) return make_shared_ring(std::move(segment));
    return make_shared_table(std::move(segment));
}

// Exceptions end here: these are public.
template <class F>
auto guarded(F f) -> decltype(f()) {
    try {
        return f();
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::OutOfMemory, "no memory for a map");
    }
}

}  // namespace

Result<std::shared_ptr<Map>> create_shared_map(std::string_view name, MapDef def,
                                               unsigned processes) {
    return guarded([&]() -> Result<std::shared_ptr<Map>> {
        SKEP_TRY(auto segment, SharedSegment::create(name, def, processes, &any_size));
        return make(std::move(segment));
    });
}

Result<std::shared_ptr<Map>> open_shared_map(std::string_view name) {
    return guarded([&]() -> Result<std::shared_ptr<Map>> {
        SKEP_TRY(auto segment, SharedSegment::open(name, &any_size));
        return make(std::move(segment));
    });
}

Result<void> remove_shared_map(std::string_view name) {
    return guarded([&]() -> Result<void> {
        SKEP_TRY(const std::string object, object_name(name));
        return os::SharedMemory::remove(object);
    });
}

}  // namespace skep
