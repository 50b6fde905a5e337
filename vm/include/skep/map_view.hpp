// Maps with C++ types, for hosts:
//
//   auto counts = map->view<uint32_t, Counters>();
//   if (!counts) ...                              // other sizes than the map's
//   counts.update(7, {.packets = 1});
//   for (const auto& [key, value] : counts.entries()) ...
//
// A view borrows its map. Operations are the map's own (skep/map.hpp): 0 or a negative errno value,
// from any number of threads. Types are copied byte by byte: integers, structs of them, arrays.
#pragma once

#include <cerrno>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <skep/map.hpp>
#include <skep/map_batch.hpp>

namespace skep {

template <class Key, class Value>
class MapView {
    static_assert(std::is_trivially_copyable_v<Key> && std::is_trivially_copyable_v<Value>);
    static_assert(std::is_default_constructible_v<Key> && std::is_default_constructible_v<Value>);

public:
    explicit MapView(Map& map) noexcept
        : map_(&map),
          // Per-CPU maps exchange a copy for each slot, padded to 8 bytes.
          copies_(is_percpu(map.def().type) ? map.host_value_size() / kStride : 1),
          fits_(sizeof(Key) == map.def().key_size && sizeof(Value) == map.def().value_size) {}

    // Whether the types have the sizes of the map's keys and values. Otherwise every operation
    // gives -EINVAL or nothing.
    explicit operator bool() const noexcept { return fits_; }
    Map& map() const noexcept { return *map_; }
    // Values per entry: more than one in per-CPU maps.
    size_t copies() const noexcept { return copies_; }

    // Of maps with one value per entry. For per-CPU maps: the first slot's, see lookup_all().
    std::optional<Value> lookup(const Key& key, uint64_t flags = 0) const {
        auto all = lookup_all(key, flags);
        if (!all) return std::nullopt;
        return all->front();
    }
    // One value per CPU slot, in the slots' order.
    std::optional<std::vector<Value>> lookup_all(const Key& key, uint64_t flags = 0) const {
        if (!fits_) return std::nullopt;
        std::vector<std::byte> raw(map_->host_value_size());
        if (map_->host_lookup(bytes(key), raw, flags) != 0) return std::nullopt;
        return unpack(raw);
    }

    // In per-CPU maps every slot gets the value.
    long update(const Key& key, const Value& value, uint64_t flags = map_flags::kAny) const {
        if (!fits_) return -EINVAL;
        std::vector<std::byte> raw(map_->host_value_size());
        for (size_t i = 0; i < copies_; ++i) pack(raw, i, value);
        return map_->host_update(bytes(key), raw, flags);
    }
    // One value per slot: copies() of them.
    long update_all(const Key& key, std::span<const Value> values,
                    uint64_t flags = map_flags::kAny) const {
        if (!fits_ || values.size() != copies_) return -EINVAL;
        std::vector<std::byte> raw(map_->host_value_size());
        for (size_t i = 0; i < copies_; ++i) pack(raw, i, values[i]);
        return map_->host_update(bytes(key), raw, flags);
    }
    long erase(const Key& key) const { return fits_ ? map_->host_erase(bytes(key)) : -EINVAL; }

    // All entries: each key once, and all that were there all along, whatever changes meanwhile.
    // Empty for maps that cannot be read. Per-CPU maps: entries_all().
    std::vector<std::pair<Key, Value>> entries(uint64_t limit = UINT64_MAX) const {
        std::vector<std::pair<Key, Value>> out;
        each(limit, [&](const Key& key, std::vector<Value>&& values) {
            out.emplace_back(key, values.front());
        });
        return out;
    }
    std::vector<std::pair<Key, std::vector<Value>>> entries_all(uint64_t limit = UINT64_MAX) const {
        std::vector<std::pair<Key, std::vector<Value>>> out;
        each(limit, [&](const Key& key, std::vector<Value>&& values) {
            out.emplace_back(key, std::move(values));
        });
        return out;
    }

    // Arrays whose values need no padding: the values themselves, which programs go on changing.
    // Valid as long as the map; read and write through std::atomic_ref. Empty for other maps.
    std::span<Value> live() const noexcept {
        const ValueRange range = map_->values();
        if (!fits_ || map_->def().type != MapType::Array || range.stride != sizeof(Value) ||
            (map_->def().flags & map_flags::kRdonly) != 0 || map_->frozen()) {
            return {};
        }
        return {reinterpret_cast<Value*>(range.base), map_->def().max_entries};
    }

private:
    static constexpr size_t kStride = (sizeof(Value) + 7) / 8 * 8;

    static bool is_percpu(MapType type) noexcept {
        return type == MapType::PercpuArray || type == MapType::PercpuHash ||
               type == MapType::LruPercpuHash || type == MapType::PercpuCgroupStorage;
    }
    static const std::byte* bytes(const Key& key) noexcept {
        return reinterpret_cast<const std::byte*>(&key);
    }
    static void pack(std::span<std::byte> raw, size_t i, const Value& value) noexcept {
        std::memcpy(raw.data() + i * kStride, &value, sizeof(value));
    }
    std::vector<Value> unpack(std::span<const std::byte> raw) const {
        std::vector<Value> values(copies_);
        for (size_t i = 0; i < copies_; ++i) {
            std::memcpy(&values[i], raw.data() + i * kStride, sizeof(Value));
        }
        return values;
    }
    template <class Each>
    void each(uint64_t limit, Each use) const {
        if (!fits_) return;
        const auto all = read_entries(*map_, limit);
        if (!all) return;
        for (uint64_t i = 0; i < all->count(); ++i) {
            Key key{};
            std::memcpy(&key, all->key(i).data(), sizeof(key));
            use(key, unpack(all->value(i)));
        }
    }

    Map* map_;
    size_t copies_;
    bool fits_;
};

template <class Key, class Value>
MapView<Key, Value> Map::view() {
    return MapView<Key, Value>(*this);
}

}  // namespace skep
