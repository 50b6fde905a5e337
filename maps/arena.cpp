// See the header. Source of the rules: Linux 6.18's bpf_arena_* kernel functions, asked.
#include "maps/arena.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <new>

#include "maps/create.hpp"
#include "maps/map_types.hpp"
#include "vm/base/try.hpp"

namespace skep {

Result<void> ArenaMap::init() {
    SKEP_TRY(memory_, os::Pages::allocate(kGuard + kSpan + kGuard));
    SKEP_TRY(pages_, os::Pages::allocate((kGuard + kSpan + kGuard) >> kPageShift));
    const uint64_t first = user_start() & (kSpan - 1);
    set_values({base() + first, bytes(), kPage});
    const MapDef& d = def();
    if (d.contents.size() > bytes())
        return fail(ErrorCode::BadMapContents,
                    "map \"" + d.name + "\": " + std::to_string(d.contents.size()) +
                        " bytes of globals for an arena of " + std::to_string(bytes()));
    // Globals come first, as libbpf places them.
    const auto used = static_cast<uint32_t>((d.contents.size() + kPage - 1) >> kPageShift);
    std::ranges::copy(d.contents, values().base);
    back(0, used, true);
    if (used < d.max_entries) give(used, d.max_entries - used);
    return {};
}

// Pages are counted from the arena's first one.
bool ArenaMap::first_page(uint64_t address, uint64_t count, uint32_t& page) const noexcept {
    // As in Linux, only the low half of an address counts.
    const uint64_t offset = static_cast<uint32_t>(address - user_start());
    if ((offset & (kPage - 1)) != 0) return false;
    page = static_cast<uint32_t>(offset >> kPageShift);
    return count <= def().max_entries && page <= def().max_entries - count;
}

void ArenaMap::back(uint32_t page, uint32_t count, bool backed) noexcept {
    const uint64_t first = (user_start() & (kSpan - 1)) >> kPageShift;
    auto* marks = reinterpret_cast<uint8_t*>(pages_.data()) + (kGuard >> kPageShift) + first;
    for (uint64_t i = page; i < uint64_t{page} + count; ++i)
        __atomic_store_n(marks + i, static_cast<uint8_t>(backed ? 1 : 0), __ATOMIC_RELAXED);
}

ArenaMap::Ranges::iterator ArenaMap::range_with(uint32_t page, uint32_t count) noexcept {
    auto it = free_.upper_bound(page);
    if (it == free_.begin()) return free_.end();
    --it;
    const bool inside = uint64_t{page} + count <= uint64_t{it->first} + it->second;
    return inside ? it : free_.end();
}

void ArenaMap::take(Ranges::iterator range, uint32_t page, uint32_t count) {
    const auto [first, pages] = *range;
    by_size_.erase({pages, first});
    free_.erase(range);
    if (page > first) give(first, page - first);
    if (first + pages > page + count) give(page + count, first + pages - page - count);
}

// Joins the neighbours.
void ArenaMap::give(uint32_t page, uint32_t count) {
    auto next = free_.lower_bound(page);
    if (next != free_.end() && next->first == page + count) {
        count += next->second;
        by_size_.erase({next->second, next->first});
        next = free_.erase(next);
    }
    if (next != free_.begin()) {
        auto before = std::prev(next);
        if (before->first + before->second == page) {
            page = before->first;
            count += before->second;
            by_size_.erase({before->second, before->first});
            free_.erase(before);
        }
    }
    free_.emplace(page, count);
    by_size_.emplace(count, page);
}

uint64_t ArenaMap::allocate(uint64_t address, uint32_t count) noexcept {
    if (count == 0 || count > def().max_entries) return 0;
    uint32_t page = 0;
    if (address != 0 && !first_page(address, count, page)) return 0;
    const std::scoped_lock locked(lock_);
    try {
        auto range = free_.end();
        if (address != 0) {
            range = range_with(page, count);
        } else if (const auto fit = by_size_.lower_bound({count, 0}); fit != by_size_.end()) {
            page = fit->second;
            range = free_.find(page);
        }
        if (range == free_.end()) return 0;
        take(range, page, count);
    } catch (const std::bad_alloc&) {
        return 0;
    }
    const uint64_t offset = (user_start() & (kSpan - 1)) + uint64_t{page} * kPage;
    back(page, count, true);
    return (user_start() & ~(kSpan - 1)) + offset;
}

void ArenaMap::free(uint64_t address, uint32_t count) noexcept {
    if ((address & (kPage - 1)) != 0) return;
    const uint64_t offset = static_cast<uint32_t>(address - user_start());
    if (offset >= bytes()) return;
    const auto page = static_cast<uint32_t>(offset >> kPageShift);
    count = std::min(count, def().max_entries - page);
    const uint64_t first = (user_start() & (kSpan - 1)) >> kPageShift;
    const std::scoped_lock locked(lock_);
    for (uint32_t i = page; i < page + count; ++i) {
        if (!backed(static_cast<int64_t>((first + i) << kPageShift))) continue;
        back(i, 1, false);
        if (os::page_size() == kPage)
            memory_.discard(kGuard + ((first + i) << kPageShift), kPage);
        else
            std::memset(base() + ((first + i) << kPageShift), 0, kPage);
        try {
            give(i, 1);
        } catch (const std::bad_alloc&) {
            // The page stays unused.
        }
    }
}

long ArenaMap::reserve_pages(uint64_t address, uint32_t count) noexcept {
    if (count == 0) return 0;
    uint32_t page = 0;
    if (!first_page(address, count, page)) return -EINVAL;
    const std::scoped_lock locked(lock_);
    try {
        const auto range = range_with(page, count);
        if (range == free_.end()) return -EBUSY;
        take(range, page, count);
    } catch (const std::bad_alloc&) {
        return -ENOMEM;
    }
    return 0;
}

ArenaMap* arena_of(Map* map) noexcept {
    return map != nullptr && map->def().type == MapType::Arena ? static_cast<ArenaMap*>(map)
                                                               : nullptr;
}

Result<std::shared_ptr<Map>> make_arena(MapDef def) {
    if (def.map_extra == 0) def.map_extra = kArenaStart;
    return made<ArenaMap>(std::move(def));
}

}  // namespace skep
