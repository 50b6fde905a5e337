// What the comparison with the running kernel measures: one program per shape, the same
// instructions on both sides. A run does kOpsPerRun operations in a loop on keys that a linear
// congruential generator picks; its state lives in the packet, so that runs go on where the last
// one stopped.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <skep/map.hpp>

#include "vm/isa/insn.hpp"

namespace skep::bench {

inline constexpr uint32_t kOpsPerRun = 64;
inline constexpr uint32_t kMapEntries = 1024;
inline constexpr uint32_t kPacketBytes = 64;

enum class MapOp : uint8_t {
    None,         // the loop alone
    Lookup,       // and a load from the value
    Update,       // of a key that exists
    UpdateErase,  // insertion and deletion of the same key
    RingOutput,   // 16 bytes, no wake-up
    RingReserve,  // reserve 16 bytes, one store, submit
};

struct MapShape {
    std::string_view name;
    MapType type = MapType::Unspec;
    MapOp op{};
    uint32_t key_size = 4;
    uint32_t flags = 0;
    // The gate: Skep's time net of the loop is at most `part` of the kernel's, plus `slack_ns`.
    double part = 1;
    double slack_ns = 0;

    bool has_map() const { return type != MapType::Unspec; }
    bool is_ring() const { return type == MapType::Ringbuf; }
};

std::span<const MapShape> map_shapes();
MapDef map_def(const MapShape& shape);
// Whether every key exists before the program runs.
bool is_filled(const MapShape& shape);
// The XDP program; the map is map[0].
std::string program_text(const MapShape& shape);

}  // namespace skep::bench
