// The arena: memory that programs address by 32-bit offsets, page by page allocated.
//
// The whole span of 4 GiB, and a guard on both sides for the displacements of instructions, is
// reserved and readable; what no page backs reads as zero. So every load at base() + any 32-bit
// offset + displacement is safe without a check. Stores ask pages() first, and are ignored where no
// page is allocated, as Linux ignores them: memory is bounded by the arena's size.
//
// Thread-safe. Pages that are freed read as zero; who still uses them sees zeros, or the bytes of
// whoever got them next.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include <skep/map.hpp>

#include "vm/base/os.hpp"
#include "vm/sync/spin_lock.hpp"

namespace skep {

class ArenaMap final : public Map {
public:
    static constexpr uint32_t kPageShift = 12;
    static constexpr uint64_t kPage = uint64_t{1} << kPageShift;
    static constexpr uint64_t kSpan = uint64_t{1} << 32;
    static constexpr uint64_t kGuard = 64 * 1024;

    explicit ArenaMap(MapDef def) : Map(std::move(def)) {}
    Result<void> init();

    // The host address of offset 0, whatever the arena's own range of offsets is.
    std::byte* base() const noexcept { return memory_.data() + kGuard; }
    // Address of the arena's first byte for user space; its low half is the first offset.
    uint64_t user_start() const noexcept { return def().map_extra; }
    uint64_t bytes() const noexcept { return uint64_t{def().max_entries} * kPage; }
    // What a non-null offset becomes when it is cast to a user-space address.
    uint64_t user_half() const noexcept {
        const bool converts = (def().flags & map_flags::kNoUserConv) == 0;
        return converts ? user_start() & ~(kSpan - 1) : 0;
    }

    // One byte for each page of base() - kGuard up to base() + kSpan + kGuard; not 0: backed.
    const uint8_t* pages() const noexcept {
        return reinterpret_cast<const uint8_t*>(pages_.data()) + (kGuard >> kPageShift);
    }
    // Whether a store at `offset`, a 32-bit offset plus a 16-bit displacement, reaches a page.
    bool backed(int64_t offset) const noexcept {
        return __atomic_load_n(pages() + (offset >> kPageShift), __ATOMIC_RELAXED) != 0;
    }

    // bpf_arena_alloc_pages: zeroed pages, at `address` (of user space) unless it is 0; their
    // user-space address, or 0.
    uint64_t allocate(uint64_t address, uint32_t count) noexcept;
    // bpf_arena_free_pages: what is not allocated is passed over.
    void free(uint64_t address, uint32_t count) noexcept;
    // bpf_arena_reserve_pages: keeps allocate() away from them. 0, -EINVAL or -EBUSY.
    long reserve_pages(uint64_t address, uint32_t count) noexcept;

    MapMemory memory() const noexcept override { return {bytes(), sizeof(*this), 0}; }

private:
    using Ranges = std::map<uint32_t, uint32_t>;  // first page -> pages

    bool first_page(uint64_t address, uint64_t count, uint32_t& page) const noexcept;
    Ranges::iterator range_with(uint32_t page, uint32_t count) noexcept;
    void take(Ranges::iterator range, uint32_t page, uint32_t count);
    void give(uint32_t page, uint32_t count);
    void back(uint32_t page, uint32_t count, bool backed) noexcept;

    os::Pages memory_, pages_;
    sync::SpinLock lock_;
    Ranges free_;
    std::set<std::pair<uint32_t, uint32_t>> by_size_;  // (pages, first) of the free ranges
};

// The map's arena, or null.
ArenaMap* arena_of(Map* map) noexcept;

}  // namespace skep
