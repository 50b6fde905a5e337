// Arrays and hashes in a segment, and their per-CPU forms (maps/shared_segment.hpp).
//
// A hash is buckets of lists through the elements. Writers hold the segment's lock; they link and
// unlink with one store, so that a process which dies at any point leaves whole lists, and at worst
// elements that are in none: the next writer sweeps those up. There is no free list: an element
// says itself whether it is free, in use, or since when it waits for the runs that may see it.
// Readers take no lock and believe no link: an index out of range ends a list, and so does length.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <new>
#include <vector>

#include "maps/create.hpp"
#include "maps/shared_segment.hpp"
#include "maps/table.hpp"
#include "vm/base/try.hpp"

namespace skep {
namespace {

constexpr uint64_t kApart = 128;
constexpr uint64_t kMaxTableBytes = uint64_t{1} << 39;

bool is_percpu(const MapDef& def) noexcept {
    return def.type == MapType::PercpuArray || def.type == MapType::PercpuHash;
}
bool is_hash(const MapDef& def) noexcept {
    return def.type == MapType::Hash || def.type == MapType::PercpuHash;
}

// Where everything lies, in bytes from the map's memory on. Follows from the definition alone.
struct Layout {
    uint64_t elements = 0, stride = 0, cpu_stride = 0, copies = 1;
    uint64_t buckets = 0, key_stride = 0;
    uint64_t count_at = 0, heads_at = 0, next_at = 0, states_at = 0, keys_at = 0, values_at = 0;
    uint64_t bytes = 0;
};

Result<Layout> layout_of(const MapDef& def, unsigned cpus) {
    Layout l;
    l.copies = is_percpu(def) ? cpus : 1;
    l.stride = round_up(def.value_size, 8);
    l.elements = def.max_entries;
    const auto place = [&](uint64_t bytes) {
        const uint64_t at = l.bytes;
        l.bytes = round_up(l.bytes + bytes, kApart);
        return at;
    };
    if (is_hash(def)) {
        // Some wait for runs: as many again, but not thousands of large ones.
        l.elements += std::clamp<uint64_t>(def.max_entries, 64, 4096);
        l.buckets = std::bit_ceil(uint64_t{def.max_entries});
        l.key_stride = round_up(def.key_size, 8);
        l.count_at = place(sizeof(uint32_t));
        l.heads_at = place(l.buckets * sizeof(uint32_t));
        l.next_at = place(l.elements * sizeof(uint32_t));
        l.states_at = place(l.elements * sizeof(uint64_t));
        l.keys_at = place(l.elements * l.key_stride);
    }
    l.bytes = round_up(l.bytes, 4096);
    l.cpu_stride = l.copies > 1 ? round_up(l.elements * l.stride, kApart) : 0;
    const bool too_large = l.elements >= UINT32_MAX ||
                           l.stride * l.elements > kMaxTableBytes / std::max<uint64_t>(1, l.copies);
    if (too_large) return fail(ErrorCode::BadMapDef, "the entries are too many for a shared map");
    l.values_at = place(l.copies > 1 ? l.copies * l.cpu_stride : l.elements * l.stride);
    l.bytes = round_up(l.bytes, 4096);
    return l;
}

// What both kinds have in common: values of one size by number, a copy for each slot or one.
class SharedTable : public TableMap {
public:
    SharedTable(std::unique_ptr<SharedSegment> segment, const Layout& layout)
        : TableMap(segment->def(), is_percpu(segment->def())),
          segment_(std::move(segment)),
          layout_(layout),
          values_(segment_->map_memory() + layout_.values_at),
          host_size_(round_up(def().value_size, 8)) {
        const uint64_t bytes =
            percpu_ ? layout_.copies * layout_.cpu_stride : layout_.elements * layout_.stride;
        set_values({values_, bytes, layout_.stride});
    }

    MapMemory memory() const noexcept override {
        return {values().size, segment_->bytes() - values().size, 0};
    }
    uint64_t host_value_size() const noexcept override {
        return percpu_ ? host_size_ * layout_.copies : def().value_size;
    }

protected:
    // Of this process's slot; null for a slot that the segment does not know.
    std::byte* value(uint64_t element, unsigned own_cpu) const noexcept {
        if (!percpu_) return values_ + element * layout_.stride;
        const unsigned cpu = segment_->cpu(own_cpu);
        return cpu < layout_.copies ? copy(element, cpu) : nullptr;
    }
    std::byte* copy(uint64_t element, uint64_t cpu) const noexcept {
        return values_ + cpu * layout_.cpu_stride + element * layout_.stride;
    }
    void read_all(uint64_t element, std::byte* out) const noexcept {
        for (uint64_t cpu = 0; cpu < layout_.copies; ++cpu) {
            host_copy_.read(out + cpu * host_size_, copy(element, cpu));
        }
    }
    void write_all(uint64_t element, const std::byte* in) const noexcept {
        for (uint64_t cpu = 0; cpu < layout_.copies; ++cpu) {
            host_copy_.overwrite(copy(element, cpu), in + cpu * host_size_);
        }
    }

    const std::unique_ptr<SharedSegment> segment_;
    const Layout layout_;
    std::byte* const values_;
    const uint64_t host_size_;  // of one copy, as hosts exchange it
};

class SharedArray final : public SharedTable {
public:
    using SharedTable::SharedTable;

    MapFastPath fast_path() const noexcept override {
        if (!program_reads()) return {};
        const unsigned first = percpu_ ? segment_->cpu(0) : 0;
        return {percpu_ ? MapFastPath::Kind::PercpuArray : MapFastPath::Kind::Array,
                copy(0, first),
                layout_.stride,
                layout_.cpu_stride,
                def().max_entries,
                nullptr};
    }
    std::byte* lookup(const std::byte* key, MapCaller caller) noexcept override {
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (index >= def().max_entries || !program_reads()) return nullptr;
        return value(index, caller.cpu);
    }
    std::byte* lookup_percpu(const std::byte* key, unsigned cpu) noexcept override {
        return percpu_ ? lookup(key, {cpu}) : nullptr;
    }
    long update(const std::byte* key, const std::byte* from, uint64_t flags,
                MapCaller caller) noexcept override {
        if (const long error = program_write_error()) return error;
        if (const long error = update_error(key, flags)) return error;
        std::byte* to = value(relaxed_load<uint32_t>(key), caller.cpu);
        if (to == nullptr) return -EINVAL;
        copy_.overwrite(to, from);
        return 0;
    }
    long erase(const std::byte*, MapCaller) noexcept override {
        const long error = program_write_error();
        return error != 0 ? error : -EINVAL;
    }
    long for_each(Visit visit, void* context, MapCaller caller) noexcept override {
        uint32_t index = 0;
        while (index < def().max_entries) {
            const uint32_t key = index;
            std::byte* at = value(index++, caller.cpu);
            if (at == nullptr) return -EINVAL;
            if (!visit(context, reinterpret_cast<const std::byte*>(&key), at)) break;
        }
        return index;
    }
    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        if (const long error = host_lookup_error(out, flags)) return error;
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (index >= def().max_entries) return -ENOENT;
        read_all(index, out.data());
        return 0;
    }
    long host_update(const std::byte* key, std::span<const std::byte> in,
                     uint64_t flags) noexcept override {
        if (const long error = host_update_error(in, flags)) return error;
        if (const long error = update_error(key, flags)) return error;
        write_all(relaxed_load<uint32_t>(key), in.data());
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

private:
    long update_error(const std::byte* key, uint64_t flags) const noexcept {
        if (flags > map_flags::kExist) return -EINVAL;
        if (relaxed_load<uint32_t>(key) >= def().max_entries) return -E2BIG;
        return flags == map_flags::kNoExist ? -EEXIST : 0;
    }
};

class SharedHash final : public SharedTable {
public:
    SharedHash(std::unique_ptr<SharedSegment> segment, const Layout& layout)
        : SharedTable(std::move(segment), layout) {}

    std::byte* lookup(const std::byte* key, MapCaller caller) noexcept override {
        if (!program_reads() || !segment_->pin(caller.cpu)) return nullptr;
        const uint64_t element = find(key, hash(key));
        return element < layout_.elements ? value(element, caller.cpu) : nullptr;
    }
    std::byte* lookup_percpu(const std::byte* key, unsigned cpu) noexcept override {
        return percpu_ ? lookup(key, {cpu}) : nullptr;
    }
    long update(const std::byte* key, const std::byte* from, uint64_t flags,
                MapCaller caller) noexcept override {
        if (const long error = program_write_error()) return error;
        const unsigned cpu = segment_->cpu(caller.cpu);
        if (percpu_ && cpu >= layout_.copies) return -EINVAL;
        return put(key, {from, cpu, false}, flags, caller.cpu);
    }
    long erase(const std::byte* key, MapCaller) noexcept override {
        if (const long error = program_write_error()) return error;
        return remove(key);
    }
    long for_each(Visit visit, void* context, MapCaller caller) noexcept override {
        if (!segment_->pin(caller.cpu)) return -EINVAL;
        long visited = 0;
        for (uint64_t bucket = 0; bucket < layout_.buckets; ++bucket) {
            uint64_t element = first(bucket);
            for (unsigned n = 0; element < layout_.elements && n < kLongest; ++n) {
                const uint64_t following = next(element);
                std::byte* at = value(element, caller.cpu);
                if (at == nullptr) return -EINVAL;
                ++visited;
                if (!visit(context, key_at(element), at)) return visited;
                element = following;
            }
        }
        return visited;
    }

    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        if (const long error = host_lookup_error(out, flags)) return error;
        const Writing writing(*this);
        if (!writing) return -EBUSY;
        const uint64_t element = find(key, hash(key));
        if (element >= layout_.elements) return -ENOENT;
        read_all(element, out.data());
        return 0;
    }
    long host_update(const std::byte* key, std::span<const std::byte> in,
                     uint64_t flags) noexcept override {
        if (const long error = host_update_error(in, flags)) return error;
        return put(key, {in.data(), 0, percpu_}, flags, sync::slot_count());
    }
    long host_erase(const std::byte* key) noexcept override {
        if (const long error = host_write_error()) return error;
        return remove(key);
    }
    long next_key(const std::byte* key, std::byte* following) noexcept override {
        if (const long error = host_read_error()) return error;
        const Writing writing(*this);
        if (!writing) return -EBUSY;
        uint64_t bucket = 0;
        if (key != nullptr) {
            const uint64_t h = hash(key);
            const uint64_t element = find(key, h);
            if (element < layout_.elements) {
                const uint64_t after = next(element);
                if (after < layout_.elements) return give_key(after, following);
                bucket = (h & (layout_.buckets - 1)) + 1;
            }
        }
        for (; bucket < layout_.buckets; ++bucket) {
            const uint64_t element = first(bucket);
            if (element < layout_.elements) return give_key(element, following);
        }
        return -ENOENT;
    }

private:
    static constexpr unsigned kLongest = 1024;  // of a list
    static constexpr uint64_t kFree = 0, kUsed = 1, kFirstStamp = 2;
    using Key = std::array<std::byte, 512>;

    struct Source {
        const std::byte* value = nullptr;
        uint64_t cpu = 0;       // whose copy it is for
        bool all_cpus = false;  // `value` holds all copies
    };

    // Holds the segment's lock; what a dead process left half done is put right first.
    class Writing : public SharedLock {
    public:
        explicit Writing(SharedHash& map) noexcept
            : SharedLock(*map.segment_, SharedSegment::Lock::Producer) {
            if (*this && after_death()) map.repair();
        }
    };

    template <class T>
    std::atomic<T>& word(uint64_t at, uint64_t index) const noexcept {
        return reinterpret_cast<std::atomic<T>*>(segment_->map_memory() + at)[index];
    }
    std::atomic<uint32_t>& head(uint64_t bucket) const noexcept {
        return word<uint32_t>(layout_.heads_at, bucket);
    }
    std::atomic<uint32_t>& link(uint64_t element) const noexcept {
        return word<uint32_t>(layout_.next_at, element);
    }
    std::atomic<uint64_t>& state(uint64_t element) const noexcept {
        return word<uint64_t>(layout_.states_at, element);
    }
    std::atomic<uint32_t>& count() const noexcept { return word<uint32_t>(layout_.count_at, 0); }
    std::byte* key_at(uint64_t element) const noexcept {
        return segment_->map_memory() + layout_.keys_at + element * layout_.key_stride;
    }
    // Elements by number; anything that is none ends a list.
    uint64_t first(uint64_t bucket) const noexcept {
        return uint64_t{head(bucket).load(std::memory_order_acquire)} - 1;
    }
    uint64_t next(uint64_t element) const noexcept {
        return uint64_t{link(element).load(std::memory_order_acquire)} - 1;
    }
    uint64_t hash(const std::byte* key) const noexcept {
        return BytesKey::hash(key, def().key_size, segment_->secret());
    }
    bool has_key(uint64_t element, const std::byte* key) const noexcept {
        for (uint32_t i = 0; i < def().key_size; ++i) {
            if (relaxed_load<uint8_t>(key_at(element) + i) != relaxed_load<uint8_t>(key + i)) {
                return false;
            }
        }
        return true;
    }
    uint64_t find(const std::byte* key, uint64_t h) const noexcept {
        uint64_t element = first(h & (layout_.buckets - 1));
        for (unsigned n = 0; element < layout_.elements && n < kLongest; ++n) {
            if (has_key(element, key)) return element;
            element = next(element);
        }
        return UINT64_MAX;
    }
    long give_key(uint64_t element, std::byte* to) const noexcept {
        relaxed_copy(to, key_at(element), def().key_size);
        return 0;
    }

    // The rest needs the lock.

    // The link that leads to the key's element, or null. `length` of the list up to there.
    std::atomic<uint32_t>* find_link(const std::byte* key, uint64_t h, unsigned& length) {
        std::atomic<uint32_t>* at = &head(h & (layout_.buckets - 1));
        for (length = 0; length < kLongest; ++length) {
            const uint64_t element = uint64_t{at->load(std::memory_order_relaxed)} - 1;
            if (element >= layout_.elements) return nullptr;
            if (has_key(element, key)) return at;
            at = &link(element);
        }
        return nullptr;
    }

    uint64_t take(unsigned own_cpu) noexcept {
        uint64_t below = 0;
        for (uint64_t n = 0; n < layout_.elements; ++n) {
            hand_ = hand_ + 1 < layout_.elements ? hand_ + 1 : 0;
            const uint64_t is = state(hand_).load(std::memory_order_relaxed);
            if (is == kFree) return hand_;
            if (is == kUsed) continue;
            if (below == 0) below = segment_->reusable_below(own_cpu);
            if (is - kFirstStamp < below) return hand_;
        }
        return UINT64_MAX;
    }
    void retire(uint64_t element) noexcept {
        state(element).store(kFirstStamp + segment_->stamp(), std::memory_order_relaxed);
    }

    void write(uint64_t element, const Source& source, bool fresh) noexcept {
        if (source.all_cpus) return write_all(element, source.value);
        for (uint64_t cpu = 0; fresh && cpu < layout_.copies; ++cpu) {
            if (cpu != source.cpu) relaxed_zero(copy(element, cpu), layout_.stride);
        }
        copy_.overwrite(copy(element, percpu_ ? source.cpu : 0), source.value);
    }

    long put(const std::byte* from, const Source& source, uint64_t flags,
             unsigned own_cpu) noexcept {
        if (flags > map_flags::kExist) return -EINVAL;
        Key key;  // the caller's memory is read once
        relaxed_copy(key.data(), from, def().key_size);
        const uint64_t h = hash(key.data());
        const Writing writing(*this);
        if (!writing) return -EBUSY;
        unsigned length = 0;
        std::atomic<uint32_t>* at = find_link(key.data(), h, length);
        if (at != nullptr && flags == map_flags::kNoExist) return -EEXIST;
        if (at == nullptr && flags == map_flags::kExist) return -ENOENT;
        const uint64_t old =
            at != nullptr ? uint64_t{at->load(std::memory_order_relaxed)} - 1 : UINT64_MAX;
        if (at != nullptr && old >= layout_.elements) return -EBUSY;  // somebody scribbles
        if (percpu_ && at != nullptr) {
            write(old, source, false);
            return 0;
        }
        const uint32_t entries = count().load(std::memory_order_relaxed);
        if (at == nullptr && entries >= def().max_entries) return -E2BIG;
        const uint64_t element = length < kLongest ? take(own_cpu) : UINT64_MAX;
        if (element >= layout_.elements) {
            if (at == nullptr) return -ENOMEM;
            write(old, source, false);
            return 0;
        }
        // Used before it is linked: dying in between leaves an element that a repair frees.
        state(element).store(kUsed, std::memory_order_relaxed);
        relaxed_copy(key_at(element), key.data(), def().key_size);
        write(element, source, true);
        if (at != nullptr) {
            link(element).store(link(old).load(std::memory_order_relaxed),
                                std::memory_order_relaxed);
            at->store(static_cast<uint32_t>(element + 1), std::memory_order_release);
            retire(old);
            return 0;
        }
        std::atomic<uint32_t>& bucket = head(h & (layout_.buckets - 1));
        link(element).store(bucket.load(std::memory_order_relaxed), std::memory_order_relaxed);
        count().store(entries + 1, std::memory_order_relaxed);
        bucket.store(static_cast<uint32_t>(element + 1), std::memory_order_release);
        return 0;
    }

    long remove(const std::byte* from) noexcept {
        Key key;
        relaxed_copy(key.data(), from, def().key_size);
        const uint64_t h = hash(key.data());
        const Writing writing(*this);
        if (!writing) return -EBUSY;
        unsigned length = 0;
        std::atomic<uint32_t>* at = find_link(key.data(), h, length);
        if (at == nullptr) return -ENOENT;
        const uint64_t element = uint64_t{at->load(std::memory_order_relaxed)} - 1;
        if (element >= layout_.elements) return -EBUSY;
        at->store(link(element).load(std::memory_order_relaxed), std::memory_order_release);
        retire(element);
        const uint32_t entries = count().load(std::memory_order_relaxed);
        count().store(entries != 0 ? entries - 1 : 0, std::memory_order_relaxed);
        return 0;
    }

    // After a writer's death: what no list has is free or waits; what a list has twice is cut off.
    void repair() noexcept {
        std::vector<bool> linked;
        try {
            linked.resize(layout_.elements);
        } catch (const std::bad_alloc&) {
            return;  // elements stay lost; everything else is whole
        }
        uint32_t entries = 0;
        for (uint64_t bucket = 0; bucket < layout_.buckets; ++bucket) {
            std::atomic<uint32_t>* at = &head(bucket);
            for (;;) {
                const uint64_t element = uint64_t{at->load(std::memory_order_relaxed)} - 1;
                if (element >= layout_.elements || linked[element]) break;
                linked[element] = true;
                state(element).store(kUsed, std::memory_order_relaxed);
                ++entries;
                at = &link(element);
            }
            at->store(0, std::memory_order_release);
        }
        for (uint64_t element = 0; element < layout_.elements; ++element) {
            if (!linked[element] && state(element).load(std::memory_order_relaxed) == kUsed) {
                retire(element);
            }
        }
        count().store(entries, std::memory_order_relaxed);
    }

    uint64_t hand_ = 0;  // guarded by the lock, of this process
};

}  // namespace

Result<uint64_t> shared_table_bytes(const MapDef& def, unsigned cpus) {
    SKEP_TRY(const Layout layout, layout_of(def, cpus));
    return layout.bytes;
}

Result<std::shared_ptr<Map>> make_shared_table(std::unique_ptr<SharedSegment> segment) {
    SKEP_TRY(const Layout layout, layout_of(segment->def(), segment->all_cpus()));
    if (is_hash(segment->def())) return std::make_shared<SharedHash>(std::move(segment), layout);
    return std::make_shared<SharedArray>(std::move(segment), layout);
}

}  // namespace skep
