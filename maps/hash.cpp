// Hash, per-CPU hash, LRU hash and per-CPU LRU hash.
//
// An update of an existing key puts a new element in the old one's place, as Linux does, so that
// readers see either value; values already looked up keep what they held. Where no element is to be
// had because runs hold on to all of the slack, and in per-CPU maps, the update writes in place.
//
// LRU maps evict by the clock algorithm: a lookup marks its element, and the hand that goes around
// the elements takes the first that is not marked since it last came by. The hand gives up sparing
// marked elements after kSpare of them, so that an insertion's time is bounded. With
// BPF_F_NO_COMMON_LRU every CPU slot has an equal share of the entries, and evicts of its own.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "maps/create.hpp"
#include "maps/hash_table.hpp"
#include "maps/table.hpp"
#include "vm/sync/epoch.hpp"

namespace skep {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 44;
constexpr uint64_t kApart = 128;

// A long key, copied so that the caller's memory is read once.
class KeyCopy {
public:
    explicit KeyCopy(const std::byte* key, uint32_t size) noexcept {
        std::byte* to = inline_;
        if (size > sizeof(inline_)) {
            heap_.reset(new (std::nothrow) std::byte[size]);
            to = heap_.get();
        }
        if (to != nullptr) relaxed_copy(to, key, size);
        key_ = to;
    }
    const std::byte* get() const noexcept { return key_; }

private:
    alignas(8) std::byte inline_[512];
    std::unique_ptr<std::byte[]> heap_;
    const std::byte* key_ = nullptr;
};

template <class Key>
class HashMap final : public TableMap {
    using Table = HashTable<Key>;
    using Bucket = typename Table::Bucket;
    using Place = typename Table::Place;
    using Held = typename Key::Held;
    static constexpr uint32_t kNone = NodePool::kNone;

public:
    HashMap(MapDef definition, bool percpu, bool lru)
        : TableMap(std::move(definition), percpu),
          lru_(lru),
          shares_(lru && (def().flags & map_flags::kNoCommonLru) != 0) {}

    Result<void> init() {
        stride_ = round_up(def().value_size, 8);
        const uint32_t entries = shares_ ? share() * cpu_slots() : def().max_entries;
        const uint64_t nodes =
            uint64_t{entries} +
            NodePool::slack(cpu_slots(), def().max_entries, stride_ * cpus_ + def().key_size);
        cpu_stride_ = percpu_ ? round_up(nodes * stride_, kApart) : 0;
        const uint64_t bytes = percpu_ ? cpu_stride_ * cpus_ : nodes * stride_;
        if (nodes >= kNone || bytes > kMaxBytes) {
            return fail(ErrorCode::BadMapDef, "map \"" + def().name +
                                                  "\": " + std::to_string(def().max_entries) +
                                                  " entries are too many");
        }
        const auto count = static_cast<uint32_t>(nodes);
        SKEP_TRY(value_pages_, os::Pages::allocate(bytes));
        if (lru_) {
            SKEP_TRY(mark_pages_, os::Pages::allocate(nodes));
        }
        if (shares_) {
            SKEP_TRY(owner_pages_, os::Pages::allocate(nodes * sizeof(uint16_t)));
            lists_ = std::make_unique<OwnList[]>(cpu_slots());
        }
        SKEP_CHECK(pool_.init(count, entries));
        SKEP_CHECK(table_.init(def().key_size, def().max_entries, count,
                               (def().flags & map_flags::kZeroSeed) != 0));
        base_ = value_pages_.data();
        set_values({base_, bytes, stride_});
        entries_ = choose_entries();
        if (!program_reads()) entries_.find = &denied;
        set_find(entries_.find);
        return {};
    }

    MapMemory memory() const noexcept override {
        const bool lazy = (def().flags & map_flags::kNoPrealloc) != 0;
        const uint64_t one = stride_ * cpus_;
        return {lazy ? pool_.touched() * one : values().size,
                table_.bytes() + pool_.bytes() + mark_pages_.size() + owner_pages_.size() +
                    sizeof(*this),
                pool_.waiting() * one};
    }
    MapFastPath fast_path() const noexcept override {
        const bool writes = program_write_error() == 0;
        return {MapFastPath::Kind::Function,
                base_,
                stride_,
                cpu_stride_,
                0,
                entries_.find,
                writes ? entries_.update : nullptr,
                writes ? &erase_entry : nullptr};
    }

    std::byte* lookup(const std::byte* key, MapCaller caller) noexcept override {
        return entries_.find(this, key, caller.cpu);
    }
    std::byte* lookup_percpu(const std::byte* key, unsigned cpu) noexcept override {
        return percpu_ ? entries_.find(this, key, cpu) : nullptr;
    }

    long update(const std::byte* key, const std::byte* value, uint64_t flags,
                MapCaller caller) noexcept override {
        if (const long error = program_write_error()) return error;
        if (percpu_ && caller.cpu >= cpus_) return -EINVAL;
        return with_key(key, [&](Held held) {
            return put(held, {value, caller.cpu, false}, flags, caller.cpu);
        });
    }
    long erase(const std::byte* key, MapCaller caller) noexcept override {
        if (const long error = program_write_error()) return error;
        return with_key(key, [&](Held held) { return remove(held, caller.cpu); });
    }

    long for_each(Visit visit, void* context, MapCaller caller) noexcept override {
        if (percpu_ && caller.cpu >= cpus_) return -EINVAL;
        long visited = 0;
        for (uint64_t i = 0; i < table_.bucket_count(); ++i) {
            const Bucket& bucket = table_.bucket(i);
            if (table_.empty(bucket)) continue;
            // The visitor may delete what it is shown and what comes next, so walk positions.
            for (unsigned position = 0; position < Table::kWidth; ++position) {
                const uint32_t node = table_.at(bucket, position);
                if (node == kNone) continue;
                ++visited;
                if (!visit(context, table_.key(node), value(node, caller.cpu))) return visited;
            }
            uint32_t node = table_.first_in_list(bucket);
            // A visitor that deletes and inserts may send the walk into another list, not around.
            for (long limit = visited + pool_.touched(); node != kNone && visited < limit;) {
                const uint32_t next = table_.next_in_list(node);
                ++visited;
                if (!visit(context, table_.key(node), value(node, caller.cpu))) return visited;
                node = next;
            }
        }
        return visited;
    }

    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        if (const long error = host_lookup_error(out, flags)) return error;
        const sync::HostSection section;
        const uint32_t node = table_.find(Key::load(key, table_.key_size()));
        if (node == kNone) return -ENOENT;
        if ((flags & map_flags::kLock) != 0) {
            return locked_copy(flags, value(node, 0), section.cpu(),
                               [&] { copy_.read(out.data(), value(node, 0)); });
        }
        for (unsigned cpu = 0; cpu < cpus_; ++cpu) {
            host_copy_.read(out.data() + cpu * stride_, value(node, cpu));
        }
        return 0;
    }
    long host_update(const std::byte* key, std::span<const std::byte> in,
                     uint64_t flags) noexcept override {
        if (const long error = host_update_error(in, flags)) return error;
        const sync::HostSection section;
        return with_key(key, [&](Held held) {
            return put(held, {in.data(), 0, percpu_}, flags, section.cpu());
        });
    }
    long host_erase(const std::byte* key) noexcept override {
        if (const long error = host_write_error()) return error;
        const sync::HostSection section;
        return with_key(key, [&](Held held) { return remove(held, section.cpu()); });
    }

    bool key_of(const std::byte* value, std::byte* key) noexcept override {
        const ValueRange range = values();
        if (percpu_ || value < range.base || value >= range.base + range.size) return false;
        const auto node = static_cast<uint32_t>(static_cast<uint64_t>(value - base_) / stride_);
        give_key(node, key);
        return true;
    }

    long next_key(const std::byte* key, std::byte* next) noexcept override {
        if (const long error = host_read_error()) return error;
        const sync::HostSection section;
        uint64_t index = 0;
        if (key != nullptr) {
            const Held held = Key::load(key, table_.key_size());
            const uint64_t hash = table_.hash(held);
            Bucket& bucket = table_.bucket(hash);
            bucket.lock.lock();
            const Place place = table_.find_locked(bucket, hash, held);
            const uint32_t node = place ? table_.after(bucket, place) : kNone;
            bucket.lock.unlock();
            if (node != kNone) return give_key(node, next);
            if (place) index = (hash & (table_.bucket_count() - 1)) + 1;
        }
        for (; index < table_.bucket_count(); ++index) {
            const uint32_t node = table_.after(table_.bucket(index), {});
            if (node != kNone) return give_key(node, next);
        }
        return -ENOENT;
    }

private:
    static constexpr unsigned kSpare = 128;
    static constexpr uint8_t kDead = 0, kLive = 1, kMarked = 2;

    // What one CPU slot has of an LRU map without a common list.
    struct alignas(64) OwnList {
        std::atomic<uint32_t> count{0};
        std::atomic<uint32_t> hand{0};
    };

    struct Source {
        const std::byte* value = nullptr;
        unsigned cpu = 0;       // whose copy it is for
        bool all_cpus = false;  // `value` holds all copies
    };

    std::byte* value(uint32_t node, unsigned cpu) const noexcept {
        return base_ + cpu * cpu_stride_ + node * stride_;
    }
    std::atomic<uint8_t>& mark(uint32_t node) const noexcept {
        return reinterpret_cast<std::atomic<uint8_t>*>(mark_pages_.data())[node];
    }

    static std::byte* denied(Map*, const std::byte*, unsigned) noexcept { return nullptr; }

    template <class As, bool kLru, bool kPercpu>
    static std::byte* find_value(Map* map, const std::byte* key, unsigned cpu) noexcept {
        auto& self = *static_cast<HashMap*>(map);
        if (!self.table_.used()) return nullptr;
        const uint32_t node = self.table_.template find<As>(As::load(key, self.table_.key_size()));
        if (node == kNone) return nullptr;
        if constexpr (kLru) self.touch(node);
        if constexpr (!kPercpu) return self.base_ + node * self.stride_;
        if (cpu >= self.cpus_) return nullptr;
        return self.value(node, cpu);
    }

    // What native code calls, made for the size of the keys.
    struct Entries {
        Find find = nullptr;
        decltype(MapFastPath::update) update = nullptr;
    };

    template <class As>
    static long update_entry(Map* map, const std::byte* key, const std::byte* value, uint64_t flags,
                             unsigned cpu) noexcept {
        auto& self = *static_cast<HashMap*>(map);
        if constexpr (Key::kCopied) {
            if (self.percpu_ && cpu >= self.cpus_) return -EINVAL;
            return self.put(As::load(key, self.table_.key_size()), {value, cpu, false}, flags, cpu);
        } else {
            return self.HashMap::update(key, value, flags, {cpu});
        }
    }
    static long erase_entry(Map* map, const std::byte* key, unsigned cpu) noexcept {
        return static_cast<HashMap*>(map)->HashMap::erase(key, {cpu});
    }

    template <class As>
    Entries entries_as() const noexcept {
        Entries entries{.update = &update_entry<As>};
        if (percpu_)
            entries.find = lru_ ? &find_value<As, true, true> : &find_value<As, false, true>;
        else
            entries.find = lru_ ? &find_value<As, true, false> : &find_value<As, false, false>;
        return entries;
    }
    // For one of the sizes kFirst + kOffsets, or any other.
    template <uint32_t kFirst, uint32_t... kOffsets>
    Entries entries_of_size(std::integer_sequence<uint32_t, kOffsets...>) const noexcept {
        Entries entries;
        const auto choose = [&]<uint32_t kSize>(std::integral_constant<uint32_t, kSize>) {
            if (def().key_size == kSize) entries = entries_as<FixedKey<kSize>>();
        };
        (choose(std::integral_constant<uint32_t, kFirst + kOffsets>{}), ...);
        return entries.find != nullptr ? entries : entries_as<Key>();
    }
    Entries choose_entries() const noexcept {
        using All = std::make_integer_sequence<uint32_t, 8>;
        if constexpr (std::is_same_v<Key, ShortKey<1>>) return entries_of_size<1>(All{});
        if constexpr (std::is_same_v<Key, ShortKey<2>>) return entries_of_size<9>(All{});
        if constexpr (std::is_same_v<Key, BytesKey>) {
            // Addresses, flows of IPv4 and IPv6, with their padding.
            return entries_of_size<0>(
                std::integer_sequence<uint32_t, 20, 24, 28, 32, 36, 38, 40, 44, 48>{});
        }
        return entries_as<Key>();
    }

    // A store only when it changes something keeps the line shared.
    void touch(uint32_t node) noexcept {
        if (mark(node).load(std::memory_order_relaxed) == kLive) {
            mark(node).store(kMarked, std::memory_order_relaxed);
        }
    }

    template <class Use>
    long with_key(const std::byte* key, Use use) noexcept {
        if constexpr (Key::kCopied) {
            return use(Key::load(key, table_.key_size()));
        } else {
            const KeyCopy copy(key, table_.key_size());
            return copy.get() != nullptr ? use(copy.get()) : -ENOMEM;
        }
    }

    long give_key(uint32_t node, std::byte* to) const noexcept {
        std::memcpy(to, table_.key(node), table_.key_size());
        return 0;
    }

    void drop_node_objects(uint32_t node) const noexcept {
        if (!owns_objects()) [[likely]]
            return;
        for (unsigned cpu = 0; cpu < cpus_; ++cpu) drop_objects(value(node, cpu), stride_);
    }

    void write_new(uint32_t node, const Source& source) noexcept {
        drop_node_objects(node);
        if (!percpu_) return copy_.initialise(value(node, 0), source.value);
        for (unsigned cpu = 0; cpu < cpus_; ++cpu) {
            if (source.all_cpus) {
                host_copy_.initialise(value(node, cpu), source.value + cpu * stride_);
            } else if (cpu == source.cpu) {
                relaxed_zero(value(node, cpu), stride_);
                copy_.initialise(value(node, cpu), source.value);
            } else {
                relaxed_zero(value(node, cpu), stride_);
            }
        }
    }
    void write_in_place(uint32_t node, const Source& source) noexcept {
        drop_node_objects(node);
        if (!source.all_cpus)
            return copy_.overwrite(value(node, percpu_ ? source.cpu : 0), source.value);
        for (unsigned cpu = 0; cpu < cpus_; ++cpu) {
            host_copy_.overwrite(value(node, cpu), source.value + cpu * stride_);
        }
    }

    long flags_error(uint64_t flags) const noexcept {
        if ((percpu_ || lru_) && flags > map_flags::kExist) return -EINVAL;
        return update_flags_error(flags);
    }

    long put(Held key, const Source& source, uint64_t flags, unsigned cpu) noexcept {
        if (const long error = flags_error(flags)) return error;
        // Copies are written in place, which needs no lock: the element is this section's to see
        // for as long as it lasts, and if it is deleted meanwhile, the update came before that.
        if (percpu_ && (flags & map_flags::kNoExist) == 0) {
            if (const uint32_t node = table_.find(key); node != kNone) {
                write_in_place(node, source);
                if (lru_) touch(node);
                return 0;
            }
        }
        const uint64_t hash = table_.hash(key);
        Bucket& bucket = table_.bucket(hash);
        if (!lru_) return try_put(bucket, hash, key, source, flags, cpu, true);
        // Each round evicts something, and others may take it; then Linux gives up too. An LRU map
        // looks at what room other slots keep only when there is nothing to evict.
        bool thorough = false;
        for (unsigned round = 0; round < 16; ++round) {
            const long result = try_put(bucket, hash, key, source, flags, cpu, thorough);
            if (result != -E2BIG) return result;
            if (evict(cpu)) continue;
            if (thorough) break;
            thorough = true;
        }
        return -ENOMEM;
    }

    long try_put(Bucket& bucket, uint64_t hash, Held key, const Source& source, uint64_t flags,
                 unsigned cpu, bool thorough) noexcept {
        const Locked locked(bucket.lock);
        if (const Place place = table_.find_locked(bucket, hash, key)) {
            if ((flags & map_flags::kNoExist) != 0) return -EEXIST;
            return overwrite(bucket, place, key, source, flags, cpu);
        }
        if ((flags & map_flags::kExist) != 0) return -ENOENT;
        if (shares_ && !claim_share(cpu)) return -E2BIG;
        uint32_t node = kNone;
        {
            NodePool::Hold hold(pool_, cpu);
            const bool room = hold.claim_entry(thorough || shares_);
            if (room) node = hold.take(NodePool::Need::Must);
            if (node == kNone) {
                if (room) hold.give_up_entry();
                if (shares_) list_of(cpu).count.fetch_sub(1, std::memory_order_relaxed);
                return room ? -ENOMEM : -E2BIG;
            }
        }
        if (shares_) owner(node).store(list_number(cpu), std::memory_order_relaxed);
        drop_objects(value(node, 0));  // that a run made in a value which was gone already
        table_.store_key(node, key);
        write_new(node, source);
        table_.link(bucket, hash, node);
        if (lru_) mark(node).store(kLive, std::memory_order_release);
        return 0;
    }

    long overwrite(Bucket& bucket, const Place& place, Held key, const Source& source,
                   uint64_t flags, unsigned cpu) noexcept {
        if (percpu_ || (flags & map_flags::kLock) != 0) {
            const long error = locked_copy(flags, value(place.node, 0), cpu,
                                           [&] { write_in_place(place.node, source); });
            if (error == 0) drop_objects(value(place.node, 0));
            return error;
        }
        NodePool::Hold hold(pool_, cpu);
        const uint32_t node = hold.take(NodePool::Need::Would);
        if (node == kNone) {
            write_in_place(place.node, source);
            drop_objects(value(place.node, 0));
            return 0;
        }
        drop_objects(value(node, 0));
        table_.store_key(node, key);
        write_new(node, source);
        table_.replace(bucket, place, node);
        if (lru_) {
            mark(place.node).store(kDead, std::memory_order_relaxed);
            mark(node).store(kMarked, std::memory_order_release);
        }
        drop_objects(value(place.node, 0));
        drop_node_objects(place.node);
        if (shares_) {
            owner(node).store(owner(place.node).load(std::memory_order_relaxed),
                              std::memory_order_relaxed);
        }
        hold.retire(place.node);
        return 0;
    }

    long remove(Held key, unsigned cpu) noexcept {
        const uint64_t hash = table_.hash(key);
        Bucket& bucket = table_.bucket(hash);
        uint32_t node = kNone;
        {
            const Locked locked(bucket.lock);
            const Place place = table_.find_locked(bucket, hash, key);
            if (!place) return -ENOENT;
            node = place.node;
            table_.unlink(bucket, place);
            if (lru_) mark(node).store(kDead, std::memory_order_relaxed);
        }
        give_back(node, cpu);
        return 0;
    }

    // What was unlinked, and the room that it took.
    void give_back(uint32_t node, unsigned cpu) noexcept {
        drop_objects(value(node, 0));
        drop_node_objects(node);
        if (shares_) {
            lists_[owner(node).load(std::memory_order_relaxed)].count.fetch_sub(
                1, std::memory_order_relaxed);
        }
        NodePool::Hold hold(pool_, cpu);
        hold.give_up_entry();
        hold.retire(node);
    }

    // Unlinks one element. The caller is in a read section, so that the key of an element that was
    // live is readable. False: nothing could be evicted.
    bool evict(unsigned cpu) noexcept {
        const uint32_t nodes = pool_.touched();
        std::atomic<uint32_t>& hand = shares_ ? list_of(cpu).hand : hand_;
        unsigned spared = 0;
        for (uint64_t step = 0; nodes != 0 && step < 2 * uint64_t{nodes} + kSpare; ++step) {
            const uint32_t node = hand.fetch_add(1, std::memory_order_relaxed) % nodes;
            uint8_t seen = mark(node).load(std::memory_order_acquire);
            if (seen == kDead) continue;
            if (shares_ && owner(node).load(std::memory_order_relaxed) != list_number(cpu))
                continue;
            if (seen == kMarked && spared++ < kSpare) {
                mark(node).compare_exchange_strong(seen, kLive, std::memory_order_relaxed);
                continue;
            }
            if (evict_node(node, cpu)) return true;
        }
        return false;
    }

    bool evict_node(uint32_t node, unsigned cpu) noexcept {
        Bucket& bucket = table_.bucket(table_.hash(Key::load(table_.key(node), table_.key_size())));
        {
            const Locked locked(bucket.lock);
            const Place place = table_.find_node(bucket, node);
            if (!place) return false;
            table_.unlink(bucket, place);
            mark(node).store(kDead, std::memory_order_relaxed);
        }
        give_back(node, cpu);
        return true;
    }

    // Entries that one slot may have. Linux rounds its share too.
    uint32_t share() const noexcept {
        return std::max<uint32_t>(1, def().max_entries / cpu_slots());
    }
    // Hosts without a slot are the first one's guests.
    uint16_t list_number(unsigned cpu) const noexcept {
        return static_cast<uint16_t>(cpu < cpu_slots() ? cpu : 0);
    }
    OwnList& list_of(unsigned cpu) const noexcept { return lists_[list_number(cpu)]; }
    std::atomic<uint16_t>& owner(uint32_t node) const noexcept {
        return reinterpret_cast<std::atomic<uint16_t>*>(owner_pages_.data())[node];
    }
    bool claim_share(unsigned cpu) noexcept {
        std::atomic<uint32_t>& count = list_of(cpu).count;
        uint32_t has = count.load(std::memory_order_relaxed);
        do {
            if (has >= share()) return false;
        } while (!count.compare_exchange_weak(has, has + 1, std::memory_order_relaxed));
        return true;
    }

    class Locked {
    public:
        explicit Locked(sync::SpinLock& lock) noexcept : lock_(lock) { lock_.lock(); }
        ~Locked() { lock_.unlock(); }
        Locked(const Locked&) = delete;
        Locked& operator=(const Locked&) = delete;

    private:
        sync::SpinLock& lock_;
    };

    const bool lru_;
    const bool shares_;  // BPF_F_NO_COMMON_LRU
    Entries entries_;
    std::byte* base_ = nullptr;
    uint64_t stride_ = 0;
    uint64_t cpu_stride_ = 0;
    Table table_;
    alignas(64) std::atomic<uint32_t> hand_{0};
    NodePool pool_;
    os::Pages value_pages_;
    os::Pages mark_pages_;
    os::Pages owner_pages_;
    std::unique_ptr<OwnList[]> lists_;
};

template <class Key>
Result<std::shared_ptr<Map>> make_with(MapDef def) {
    const bool percpu = def.type == MapType::PercpuHash || def.type == MapType::LruPercpuHash;
    const bool lru = def.type == MapType::LruHash || def.type == MapType::LruPercpuHash;
    auto map = std::make_shared<HashMap<Key>>(std::move(def), percpu, lru);
    SKEP_CHECK(map->init());
    return map;
}

}  // namespace

Result<std::shared_ptr<Map>> make_hash(MapDef def) {
    if (def.key_size == 4) return make_with<WordKey>(std::move(def));
    switch (key_words(def.key_size)) {
        case 1: return make_with<ShortKey<1>>(std::move(def));
        case 2: return make_with<ShortKey<2>>(std::move(def));
        default: return make_with<BytesKey>(std::move(def));
    }
}

}  // namespace skep
