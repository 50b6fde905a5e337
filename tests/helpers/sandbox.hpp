// A sandboxed run's environment for tests: a stack, a packet, maps, and nothing else.
#pragma once

#include <cstring>
#include <memory>
#include <vector>

#include <skep/context.hpp>
#include <skep/map.hpp>

#include "helpers/dispatch.hpp"
#include "helpers/env.hpp"
#include "helpers/table.hpp"

namespace skep::test {

struct Sandbox {
    static constexpr uint32_t kStackLow = 0x10000;

    explicit Sandbox(std::vector<MapDef> defs = {}) {
        for (MapDef& def : defs) {
            maps.push_back(create_map(std::move(def)).value());
            pointers.push_back(maps.back().get());
        }
        regions.resize(region::kFirstMap + maps.size());
        regions[region::kStack] = {stack, kStackLow, static_cast<uint32_t>(RegionKind::Memory),
                                   sizeof stack, sizeof stack};
        regions[region::kContext].kind = static_cast<uint32_t>(RegionKind::Context);
        for (size_t i = 0; i < maps.size(); ++i) {
            const ValueRange values = maps[i]->values();
            const bool constant = maps[i]->def().frozen;
            regions[region::kFirstMap + i] = {values.base, 0,
                                              static_cast<uint32_t>(RegionKind::Memory),
                                              values.size, constant ? 0 : values.size};
        }
        env.regions = regions.data();
        env.region_count = static_cast<uint32_t>(regions.size());
        env.maps = pointers;
        env.sandbox = true;
        env.fuel = 1 << 20;
        env.services = &services;
    }

    // A packet with room on both sides.
    void set_packet(PacketBuffer& packet) {
        env.packet = &packet;
        env.packet_writable = true;
        regions[region::kPacket].kind = static_cast<uint32_t>(RegionKind::Memory);
        env.packet_changed();
    }

    uint64_t stack_at(uint32_t offset) const {
        return guest_address(region::kStack, kStackLow + offset);
    }
    static uint64_t map_handle(uint32_t index) { return skep::map_handle(index); }
    static uint64_t context() { return guest_address(region::kContext, 0); }

    uint64_t call(std::string_view name, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0,
                  uint64_t d = 0, uint64_t e = 0) {
        const uint64_t registers[5] = {a, b, c, d, e};
        return dispatch_helper(*find_helper(name), registers, env);
    }

    template <class T>
    void put(uint32_t offset, const T& value) {
        std::memcpy(stack + offset, &value, sizeof value);
    }
    template <class T>
    T get(uint32_t offset) const {
        T value;
        std::memcpy(&value, stack + offset, sizeof value);
        return value;
    }

    alignas(16) std::byte stack[1024] = {};
    Services services;
    std::vector<std::shared_ptr<Map>> maps;
    std::vector<Map*> pointers;
    std::vector<Region> regions;
    HelperEnv env;
};

inline MapDef array_map(uint32_t value_size, uint32_t entries) {
    MapDef def;
    def.name = "array";
    def.type = MapType::Array;
    def.key_size = 4;
    def.value_size = value_size;
    def.max_entries = entries;
    return def;
}

inline MapDef hash_map(uint32_t key_size, uint32_t value_size, uint32_t entries) {
    MapDef def = array_map(value_size, entries);
    def.name = "hash";
    def.type = MapType::Hash;
    def.key_size = key_size;
    return def;
}

}  // namespace skep::test
