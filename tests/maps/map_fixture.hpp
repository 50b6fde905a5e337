// Typed access to maps for tests.
#pragma once

#include <cstring>
#include <gtest/gtest.h>
#include <memory>
#include <vector>

#include <skep/map.hpp>

#include "vm/sync/slots.hpp"

namespace skep::test {

inline MapDef def_of(MapType type, uint32_t key, uint32_t value, uint32_t entries,
                     uint32_t flags = 0) {
    MapDef def;
    def.name = "m";
    def.type = type;
    def.key_size = key;
    def.value_size = value;
    def.max_entries = entries;
    def.flags = flags;
    return def;
}

inline std::shared_ptr<Map> make(const MapDef& def) {
    auto map = create_map(def);
    EXPECT_TRUE(map.has_value()) << (map ? "" : map.error().to_string());
    return map ? *map : nullptr;
}

// A run: what programs do happens between its construction and its end.
class RunScope {
public:
    RunScope() { EXPECT_TRUE(sync::enter()); }
    ~RunScope() { sync::leave(); }
    MapCaller caller() const { return {sync::current_slot()}; }
};

template <class T>
const std::byte* bytes(const T& value) {
    return reinterpret_cast<const std::byte*>(&value);
}

template <class K, class V>
struct View {
    Map& map;
    MapCaller caller;

    V* lookup(K key) const { return reinterpret_cast<V*>(map.lookup(bytes(key), caller)); }
    long update(K key, V value, uint64_t flags = 0) const {
        return map.update(bytes(key), bytes(value), flags, caller);
    }
    long erase(K key) const { return map.erase(bytes(key), caller); }
    long host_update(K key, V value, uint64_t flags = 0) const {
        return map.host_update(bytes(key), {bytes(value), sizeof(V)}, flags);
    }
    long host_lookup(K key, V& value, uint64_t flags = 0) const {
        return map.host_lookup(bytes(key), std::as_writable_bytes(std::span(&value, 1)), flags);
    }
};

}  // namespace skep::test
