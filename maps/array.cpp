// Arrays and per-CPU arrays, the data sections of an object among them: values of one size, side by
// side, that exist from the beginning and cannot be deleted.
//
// A value lies at base + cpu * cpu_stride + index * stride, so that a lookup is a comparison and a
// multiplication; native code inlines it (MapFastPath).
#include <algorithm>
#include <bit>
#include <cstring>

#include "maps/create.hpp"
#include "maps/table.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"

namespace skep {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 44;
constexpr uint64_t kApart = 128;  // per-CPU copies share no line, nor a prefetched pair

class ArrayMap final : public TableMap {
public:
    ArrayMap(MapDef definition, bool percpu) : TableMap(std::move(definition), percpu) {}

    Result<void> init() {
        stride_ = round_up(def().value_size, 8);
        const uint64_t one_cpu = stride_ * def().max_entries;
        cpu_stride_ = percpu_ ? round_up(one_cpu, kApart) : 0;
        const uint64_t bytes = percpu_ ? cpu_stride_ * cpus_ : one_cpu;
        if (one_cpu > kMaxBytes || bytes > kMaxBytes) {
            return fail(ErrorCode::BadMapDef, "map \"" + def().name +
                                                  "\": " + std::to_string(def().max_entries) +
                                                  " entries are too many for its value size");
        }
        SKEP_TRY(pages_, os::Pages::allocate(bytes));
        base_ = pages_.data();
        set_values({base_, bytes, stride_});
        std::ranges::copy(def().contents, base_);
        if (program_reads()) set_find(percpu_ ? &find_value<true> : &find_value<false>);
        if (!def().frozen) return {};
        freeze();
        // Neither side writes any more. Only here, where no writer can be under way.
        if ((def().flags & map_flags::kRdonlyProg) != 0) return pages_.make_read_only();
        return {};
    }

    MapMemory memory() const noexcept override { return {values().size, sizeof(*this), 0}; }
    MapFastPath fast_path() const noexcept override {
        if (!program_reads()) return {};
        return {percpu_ ? MapFastPath::Kind::PercpuArray : MapFastPath::Kind::Array,
                base_,
                stride_,
                cpu_stride_,
                def().max_entries,
                nullptr,
                program_write_error() == 0 ? &update_entry : nullptr};
    }

    std::byte* lookup(const std::byte* key, MapCaller caller) noexcept override {
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (index >= def().max_entries || !program_reads() || caller.cpu >= cpu_limit()) {
            return nullptr;
        }
        return value(index, caller.cpu);
    }

    std::byte* lookup_percpu(const std::byte* key, unsigned cpu) noexcept override {
        return percpu_ && cpu < cpus_ ? lookup(key, {cpu}) : nullptr;
    }

    long update(const std::byte* key, const std::byte* value, uint64_t flags,
                MapCaller caller) noexcept override {
        if (const long error = program_write_error()) return error;
        uint32_t index = 0;
        if (const long error = check_update(key, flags, index)) return error;
        if (caller.cpu >= cpu_limit()) return -EINVAL;
        std::byte* to = this->value(index, caller.cpu);
        drop_objects(to, stride_);
        return write(flags, to, caller.cpu, [&] { copy_.overwrite(to, value); });
    }

    long erase(const std::byte*, MapCaller) noexcept override {
        const long error = program_write_error();
        return error != 0 ? error : -EINVAL;
    }

    long for_each(Visit visit, void* context, MapCaller caller) noexcept override {
        if (caller.cpu >= cpu_limit()) return -EINVAL;
        uint32_t index = 0;
        while (index < def().max_entries) {
            const uint32_t key = index++;
            if (!visit(context, reinterpret_cast<const std::byte*>(&key), value(key, caller.cpu))) {
                break;
            }
        }
        return index;
    }

    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        if (const long error = host_lookup_error(out, flags)) return error;
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (index >= def().max_entries) return -ENOENT;
        if ((flags & map_flags::kLock) != 0) {
            const sync::HostSection section;
            return locked_copy(flags, value(index, 0), section.cpu(),
                               [&] { copy_.read(out.data(), value(index, 0)); });
        }
        for (unsigned cpu = 0; cpu < cpus_; ++cpu) {
            host_copy_.read(out.data() + cpu * stride_, value(index, cpu));
        }
        return 0;
    }

    long host_update(const std::byte* key, std::span<const std::byte> in,
                     uint64_t flags) noexcept override {
        if (const long error = host_update_error(in, flags)) return error;
        uint32_t index = 0;
        if (const long error = check_update(key, flags, index)) return error;
        for (unsigned cpu = 0; cpu < cpus_; ++cpu) drop_objects(value(index, cpu), stride_);
        if ((flags & map_flags::kLock) != 0) {
            const sync::HostSection section;
            return write(flags, value(index, 0), section.cpu(),
                         [&] { copy_.overwrite(value(index, 0), in.data()); });
        }
        for (unsigned cpu = 0; cpu < cpus_; ++cpu) {
            host_copy_.overwrite(value(index, cpu), in.data() + cpu * stride_);
            drop_objects(value(index, cpu));
        }
        return 0;
    }

    long host_erase(const std::byte*) noexcept override {
        const long error = host_write_error();
        return error != 0 ? error : -EINVAL;
    }

    long next_key(const std::byte* key, std::byte* next) noexcept override {
        if (const long error = host_read_error()) return error;
        return next_index(def().max_entries, key, next);
    }

    bool key_of(const std::byte* value, std::byte* key) noexcept override {
        const ValueRange range = values();
        if (percpu_ || value < range.base || value >= range.base + range.size) return false;
        const auto index = static_cast<uint32_t>(static_cast<uint64_t>(value - base_) / stride_);
        std::memcpy(key, &index, sizeof(index));
        return true;
    }

    std::optional<std::byte*> direct_value(uint32_t offset) noexcept override {
        if (percpu_ || def().max_entries != 1 || offset >= def().value_size) return std::nullopt;
        return base_ + offset;
    }

private:
    template <bool kPercpu>
    static std::byte* find_value(Map* map, const std::byte* key, unsigned cpu) noexcept {
        const auto& self = *static_cast<const ArrayMap*>(map);
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (index >= self.def().max_entries) return nullptr;
        if constexpr (!kPercpu) return self.base_ + index * self.stride_;
        return cpu < self.cpus_ ? self.value(index, cpu) : nullptr;
    }

    static long update_entry(Map* map, const std::byte* key, const std::byte* value, uint64_t flags,
                             unsigned cpu) noexcept {
        return static_cast<ArrayMap*>(map)->ArrayMap::update(key, value, flags, {cpu});
    }

    // An update leaves no objects of what was there before, as in Linux.
    template <class Copy>
    long write(uint64_t flags, const std::byte* to, unsigned cpu, Copy copy) noexcept {
        const long error = locked_copy(flags, to, cpu, copy);
        if (error == 0) drop_objects(to);
        return error;
    }

    unsigned cpu_limit() const noexcept { return percpu_ ? cpus_ : UINT32_MAX; }
    std::byte* value(uint32_t index, unsigned cpu) const noexcept {
        return base_ + cpu * cpu_stride_ + index * stride_;
    }
    // Linux's order of checks.
    long check_update(const std::byte* key, uint64_t flags, uint32_t& index) const noexcept {
        index = relaxed_load<uint32_t>(key);
        if ((flags & ~map_flags::kLock) > map_flags::kExist) return -EINVAL;
        if (percpu_ && flags > map_flags::kExist) return -EINVAL;
        if (index >= def().max_entries) return -E2BIG;
        if ((flags & map_flags::kNoExist) != 0) return -EEXIST;
        return update_flags_error(flags);
    }

    os::Pages pages_;
    std::byte* base_ = nullptr;
    uint64_t stride_ = 0;
    uint64_t cpu_stride_ = 0;
};

}  // namespace

Result<std::shared_ptr<Map>> make_array(MapDef def) {
    const bool percpu = def.type == MapType::PercpuArray;
    auto map = std::make_shared<ArrayMap>(std::move(def), percpu);
    SKEP_CHECK(map->init());
    return map;
}

}  // namespace skep
