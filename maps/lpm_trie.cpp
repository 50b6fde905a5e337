// Longest prefix match: a binary trie without chains, whose inner nodes are entries or mere forks.
//
// A key is a 32-bit prefix length in host order and the bytes it counts bits of, most significant
// first. Readers walk without a lock: nodes never change but for their children, and are reused
// only after the runs that may see them (maps/node_pool.hpp). Writers take the map's lock. The
// depth is bounded by the number of bits, at most 2048. After the data structure of Linux's and
// FreeBSD's routing tables (path compression).
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstring>

#include "maps/create.hpp"
#include "maps/node_pool.hpp"
#include "maps/table.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{1} << 44;
constexpr uint32_t kMaxBits = 2048;

class LpmTrie final : public TableMap {
    static constexpr uint32_t kNone = NodePool::kNone;

    // Prefix length and bytes, copied so that the caller's memory is read once.
    struct Prefix {
        uint32_t bits = 0;
        std::array<uint8_t, kMaxBits / 8> data{};
    };
    struct Node {
        std::atomic<uint32_t> children[2];  // plus 1; 0: none
        uint32_t bits = 0;
        std::atomic<bool> fork{false};  // not an entry
    };

public:
    explicit LpmTrie(MapDef definition) : TableMap(std::move(definition), false) {}

    Result<void> init() {
        data_size_ = def().key_size - 4;
        stride_ = round_up(def().value_size, 8);
        // A fork joins two entries, so there are fewer forks than entries.
        const uint64_t nodes =
            2 * uint64_t{def().max_entries} +
            NodePool::slack(cpu_slots(), def().max_entries, stride_ + def().key_size);
        if (nodes >= kNone || nodes * stride_ > kMaxBytes) {
            return fail(ErrorCode::BadMapDef, "map \"" + def().name +
                                                  "\": " + std::to_string(def().max_entries) +
                                                  " entries are too many");
        }
        SKEP_TRY(value_pages_, os::Pages::allocate(nodes * stride_));
        SKEP_TRY(node_pages_, os::Pages::allocate(nodes * sizeof(Node)));
        SKEP_TRY(data_pages_, os::Pages::allocate(nodes * data_size_));
        SKEP_CHECK(pool_.init(static_cast<uint32_t>(nodes), 2 * def().max_entries));
        set_values({value_pages_.data(), nodes * stride_, stride_});
        return {};
    }

    MapMemory memory() const noexcept override {
        const uint64_t touched = pool_.touched();
        return {touched * stride_,
                touched * (sizeof(Node) + data_size_) + pool_.bytes() + sizeof(*this),
                pool_.waiting() * stride_};
    }

    std::byte* lookup(const std::byte* key, MapCaller) noexcept override {
        if (!program_reads()) return nullptr;
        const uint32_t node = longest(key);
        return node != kNone ? value(node) : nullptr;
    }
    long update(const std::byte* key, const std::byte* value, uint64_t flags,
                MapCaller caller) noexcept override {
        if (const long error = program_write_error()) return error;
        return put(key, value, flags, caller.cpu);
    }
    long erase(const std::byte* key, MapCaller caller) noexcept override {
        if (const long error = program_write_error()) return error;
        return remove(key, caller.cpu);
    }

    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        if (const long error = host_lookup_error(out, flags)) return error;
        const sync::HostSection section;
        const uint32_t node = longest(key);
        if (node == kNone) return -ENOENT;
        copy_.read(out.data(), value(node));
        return 0;
    }
    long host_update(const std::byte* key, std::span<const std::byte> in,
                     uint64_t flags) noexcept override {
        if (const long error = host_update_error(in, flags)) return error;
        const sync::HostSection section;
        return put(key, in.data(), flags, section.cpu());
    }
    long host_erase(const std::byte* key) noexcept override {
        if (const long error = host_write_error()) return error;
        const sync::HostSection section;
        return remove(key, section.cpu());
    }

    // Children before their parent, the side of 0 first, as Linux: longer prefixes come first.
    long next_key(const std::byte* key, std::byte* next) noexcept override {
        if (const long error = host_read_error()) return error;
        const sync::HostSection section;
        const Locked locked(lock_);
        uint32_t found = kNone;
        Path path;
        Prefix prefix;
        if (key != nullptr && load(key, prefix) && descend(prefix, path)) {
            found = after(path);
            if (found == kNone) return -ENOENT;
        } else {
            found = first_below(link_to(root_));
            if (found == kNone) return -ENOENT;
        }
        std::memcpy(next, &node(found).bits, 4);
        std::memcpy(next + 4, data(found), data_size_);
        return 0;
    }

private:
    class Locked {
    public:
        explicit Locked(sync::SpinLock& lock) noexcept : lock_(lock) { lock_.lock(); }
        ~Locked() { lock_.unlock(); }
        Locked(const Locked&) = delete;
        Locked& operator=(const Locked&) = delete;

    private:
        sync::SpinLock& lock_;
    };
    // The nodes from the root down.
    struct Path {
        std::array<uint32_t, kMaxBits + 1> nodes;
        uint32_t size = 0;
    };

    Node& node(uint32_t n) const noexcept { return reinterpret_cast<Node*>(node_pages_.data())[n]; }
    uint8_t* data(uint32_t n) const noexcept {
        return reinterpret_cast<uint8_t*>(data_pages_.data()) + uint64_t{n} * data_size_;
    }
    std::byte* value(uint32_t n) const noexcept { return value_pages_.data() + n * stride_; }
    static uint32_t link_to(const std::atomic<uint32_t>& link) noexcept {
        return link.load(std::memory_order_acquire) - 1;  // 0 - 1 == kNone
    }
    static unsigned bit(const uint8_t* bytes, uint32_t index) noexcept {
        return bytes[index / 8] >> (7 - index % 8) & 1;
    }

    bool load(const std::byte* key, Prefix& prefix) const noexcept {
        prefix.bits = relaxed_load<uint32_t>(key);
        relaxed_copy(reinterpret_cast<std::byte*>(prefix.data.data()), key + 4, data_size_);
        return prefix.bits <= 8 * data_size_;
    }

    // How many leading bits agree, at most the shorter prefix.
    uint32_t common_bits(uint32_t n, const Prefix& prefix) const noexcept {
        const uint32_t limit = std::min(node(n).bits, prefix.bits);
        const uint8_t* bytes = data(n);
        for (uint32_t i = 0; 8 * i < limit; ++i) {
            const auto differ = static_cast<uint8_t>(bytes[i] ^ prefix.data[i]);
            if (differ != 0) {
                return std::min(limit, 8 * i + static_cast<uint32_t>(std::countl_zero(differ)));
            }
        }
        return limit;
    }

    uint32_t longest(const std::byte* key) const noexcept {
        Prefix prefix;
        if (!load(key, prefix)) return kNone;
        uint32_t found = kNone;
        uint32_t n = link_to(root_);
        while (n != kNone) {
            const uint32_t bits = node(n).bits;
            if (common_bits(n, prefix) < bits) break;
            if (!node(n).fork.load(std::memory_order_acquire)) found = n;
            if (bits == 8 * data_size_) break;
            n = link_to(node(n).children[bit(prefix.data.data(), bits)]);
        }
        return found;
    }

    uint32_t make_node(NodePool::Hold& hold, const uint8_t* bytes, uint32_t bits,
                       bool fork) noexcept {
        const uint32_t n = hold.take(NodePool::Need::Must);
        if (n == kNone) return kNone;
        Node& fresh = node(n);
        fresh.bits = bits;
        fresh.fork.store(fork, std::memory_order_relaxed);
        fresh.children[0].store(0, std::memory_order_relaxed);
        fresh.children[1].store(0, std::memory_order_relaxed);
        std::memcpy(data(n), bytes, data_size_);
        return n;
    }

    long put(const std::byte* key, const std::byte* from, uint64_t flags, unsigned cpu) noexcept {
        if (flags > map_flags::kExist) return -EINVAL;
        Prefix prefix;
        if (!load(key, prefix)) return -EINVAL;
        const Locked locked(lock_);
        // Where the new node goes: into *link, which holds `there`.
        std::atomic<uint32_t>* link = &root_;
        uint32_t there = link_to(*link), common = 0;
        while (there != kNone) {
            common = common_bits(there, prefix);
            if (common != node(there).bits || common == prefix.bits) break;
            link = &node(there).children[bit(prefix.data.data(), common)];
            there = link_to(*link);
        }
        const bool same = there != kNone && common == node(there).bits && common == prefix.bits;
        const bool replaces = same && !node(there).fork.load(std::memory_order_relaxed);
        if (replaces && flags == map_flags::kNoExist) return -EEXIST;
        if (!replaces && flags == map_flags::kExist) return -ENOENT;
        if (!replaces && entries_ == def().max_entries) return -ENOSPC;

        NodePool::Hold hold(pool_, cpu);
        const uint32_t fresh = make_node(hold, prefix.data.data(), prefix.bits, false);
        if (fresh == kNone) return -ENOMEM;
        copy_.initialise(value(fresh), from);
        if (!link_in(hold, *link, there, common, prefix, fresh, same)) {
            hold.retire(fresh);
            return -ENOMEM;
        }
        if (!replaces) ++entries_;
        return 0;
    }

    bool link_in(NodePool::Hold& hold, std::atomic<uint32_t>& link, uint32_t there, uint32_t common,
                 const Prefix& prefix, uint32_t fresh, bool same) noexcept {
        if (there == kNone) {
            link.store(fresh + 1, std::memory_order_release);
        } else if (same) {
            for (unsigned side : {0u, 1u}) {
                node(fresh).children[side].store(
                    node(there).children[side].load(std::memory_order_relaxed),
                    std::memory_order_relaxed);
            }
            link.store(fresh + 1, std::memory_order_release);
            hold.retire(there);
        } else if (common == prefix.bits) {
            node(fresh).children[bit(data(there), common)].store(there + 1,
                                                                 std::memory_order_relaxed);
            link.store(fresh + 1, std::memory_order_release);
        } else {
            const uint32_t fork = make_node(hold, data(there), common, true);
            if (fork == kNone) return false;
            const unsigned side = bit(prefix.data.data(), common);
            node(fork).children[side].store(fresh + 1, std::memory_order_relaxed);
            node(fork).children[1 - side].store(there + 1, std::memory_order_relaxed);
            link.store(fork + 1, std::memory_order_release);
        }
        return true;
    }

    long remove(const std::byte* key, unsigned cpu) noexcept {
        Prefix prefix;
        if (!load(key, prefix)) return -EINVAL;
        const Locked locked(lock_);
        std::atomic<uint32_t>* link = &root_;
        std::atomic<uint32_t>* parent_link = nullptr;
        uint32_t parent = kNone, there = link_to(root_);
        while (there != kNone) {
            const uint32_t bits = node(there).bits;
            if (common_bits(there, prefix) != bits || bits == prefix.bits) break;
            parent = there;
            parent_link = link;
            link = &node(there).children[bit(prefix.data.data(), bits)];
            there = link_to(*link);
        }
        if (there == kNone || node(there).bits != prefix.bits ||
            common_bits(there, prefix) != prefix.bits ||
            node(there).fork.load(std::memory_order_relaxed)) {
            return -ENOENT;
        }
        --entries_;
        const uint32_t low = link_to(node(there).children[0]);
        const uint32_t high = link_to(node(there).children[1]);
        if (low != kNone && high != kNone) {
            node(there).fork.store(true, std::memory_order_release);
            return 0;
        }
        NodePool::Hold hold(pool_, cpu);
        if (low == kNone && high == kNone && parent != kNone &&
            node(parent).fork.load(std::memory_order_relaxed)) {
            // The fork is left with one side: that takes its place.
            const bool is_low = link == &node(parent).children[0];
            parent_link->store(
                node(parent).children[is_low ? 1 : 0].load(std::memory_order_relaxed),
                std::memory_order_release);
            hold.retire(parent);
        } else {
            link->store((low != kNone ? low : high) + 1, std::memory_order_release);
        }
        hold.retire(there);
        return 0;
    }

    // True if `prefix` is an entry; `path` leads to it.
    bool descend(const Prefix& prefix, Path& path) const noexcept {
        uint32_t n = link_to(root_);
        while (n != kNone && path.size < path.nodes.size()) {
            path.nodes[path.size++] = n;
            const uint32_t bits = node(n).bits;
            if (common_bits(n, prefix) != bits) return false;
            if (bits == prefix.bits) return !node(n).fork.load(std::memory_order_relaxed);
            n = link_to(node(n).children[bit(prefix.data.data(), bits)]);
        }
        return false;
    }

    // The entry that is visited first below and including `n`.
    uint32_t first_below(uint32_t n) const noexcept {
        uint32_t found = kNone;
        while (n != kNone) {
            const bool fork = node(n).fork.load(std::memory_order_relaxed);
            if (!fork) found = n;
            const uint32_t low = link_to(node(n).children[0]);
            n = low != kNone || fork ? low : link_to(node(n).children[1]);
        }
        return found;
    }

    uint32_t after(const Path& path) const noexcept {
        for (uint32_t i = path.size; i-- > 1;) {
            const uint32_t parent = path.nodes[i - 1];
            if (link_to(node(parent).children[0]) == path.nodes[i]) {
                const uint32_t found = first_below(link_to(node(parent).children[1]));
                if (found != kNone) return found;
            }
            if (!node(parent).fork.load(std::memory_order_relaxed)) return parent;
        }
        return kNone;
    }

    uint32_t data_size_ = 0;
    uint64_t stride_ = 0;
    sync::SpinLock lock_;
    std::atomic<uint32_t> root_{0};  // plus 1
    uint32_t entries_ = 0;
    NodePool pool_;
    os::Pages value_pages_;
    os::Pages node_pages_;
    os::Pages data_pages_;
};

}  // namespace

Result<std::shared_ptr<Map>> make_lpm_trie(MapDef def) { return made<LpmTrie>(std::move(def)); }

}  // namespace skep
