#include "bench/map_shapes.hpp"

#include <array>

namespace skep::bench {
namespace {

constexpr uint32_t kNone = 0, kLazy = map_flags::kNoPrealloc;
constexpr double kQuarter = 0.25, kThird = 1.0 / 3;
constexpr double kTwentyMillion = 50;  // ns: so many records a second

constexpr auto kShapes = std::to_array<MapShape>({
    {"loop", MapType::Unspec, MapOp::None},
    {"array_lookup", MapType::Array, MapOp::Lookup, 4, kNone, 1, 0.5},
    {"percpu_array_lookup", MapType::PercpuArray, MapOp::Lookup, 4, kNone, 1, 0.5},
    {"array_update", MapType::Array, MapOp::Update, 4, kNone, 1, 0.5},
    {"hash_lookup", MapType::Hash, MapOp::Lookup, 4, kNone, kQuarter},
    {"hash_lookup_8", MapType::Hash, MapOp::Lookup, 8, kNone, kQuarter},
    {"hash_lookup_16", MapType::Hash, MapOp::Lookup, 16, kNone, kQuarter},
    {"hash_lookup_40", MapType::Hash, MapOp::Lookup, 40, kNone, kQuarter},
    {"lru_lookup", MapType::LruHash, MapOp::Lookup, 4, kNone, kQuarter},
    {"percpu_hash_lookup", MapType::PercpuHash, MapOp::Lookup, 4, kNone, kQuarter},
    {"hash_update", MapType::Hash, MapOp::Update, 4, kNone, kThird},
    {"hash_update_lazy", MapType::Hash, MapOp::Update, 4, kLazy, kThird},
    {"lru_update", MapType::LruHash, MapOp::Update, 4, kNone, kThird},
    {"percpu_hash_update", MapType::PercpuHash, MapOp::Update, 4, kNone, kThird},
    {"hash_updel", MapType::Hash, MapOp::UpdateErase, 4, kNone, kThird},
    {"hash_updel_lazy", MapType::Hash, MapOp::UpdateErase, 4, kLazy, kThird},
    {"lru_updel", MapType::LruHash, MapOp::UpdateErase, 4, kNone, kThird},
    {"ring_output", MapType::Ringbuf, MapOp::RingOutput, 0, kNone, 0, kTwentyMillion},
    {"ring_reserve", MapType::Ringbuf, MapOp::RingReserve, 0, kNone, 0, kTwentyMillion},
});

// r6 = generator, r7 = countdown, r8 = packet, r9 = sum; the key is at r10 - 64, the value at
// r10 - 80.
constexpr std::string_view kPrologue = R"(
    r2 = *(u32 *)(r1 + 0)
    r3 = *(u32 *)(r1 + 4)
    r4 = r2
    r4 += 8
    if r4 > r3 goto out
    r8 = r2
    r6 = *(u32 *)(r8 + 0)
    r9 = 0
    r7 = 0
    *(u64 *)(r10 - 64) = r7
    *(u64 *)(r10 - 56) = r7
    *(u64 *)(r10 - 48) = r7
    *(u64 *)(r10 - 40) = r7
    *(u64 *)(r10 - 32) = r7
    *(u64 *)(r10 - 80) = r7
    *(u64 *)(r10 - 72) = r7
    r7 = 64
loop:
    w6 *= 1664525
    w6 += 1013904223
    w1 = w6
    w1 >>= 16
    w1 &= 1023
    *(u32 *)(r10 - 64) = r1
)";

constexpr std::string_view kEpilogue = R"(
next:
    r7 += -1
    if r7 != 0 goto loop
    *(u32 *)(r8 + 0) = r6
out:
    r0 = 2
    exit
)";

constexpr std::string_view kLookup = R"(
    r1 = map[0] ll
    r2 = r10
    r2 += -64
    call 1
    if r0 == 0 goto next
    r1 = *(u64 *)(r0 + 0)
    r9 += r1
)";

constexpr std::string_view kUpdate = R"(
    *(u64 *)(r10 - 80) = r6
    r1 = map[0] ll
    r2 = r10
    r2 += -64
    r3 = r10
    r3 += -80
    r4 = 0
    call 2
)";

constexpr std::string_view kErase = R"(
    r1 = map[0] ll
    r2 = r10
    r2 += -64
    call 3
)";

constexpr std::string_view kRingOutput = R"(
    *(u64 *)(r10 - 80) = r6
    r1 = map[0] ll
    r2 = r10
    r2 += -80
    r3 = 16
    r4 = 1
    call 130
)";

constexpr std::string_view kRingReserve = R"(
    r1 = map[0] ll
    r2 = 16
    r3 = 0
    call 131
    if r0 == 0 goto next
    *(u64 *)(r0 + 0) = r6
    r1 = r0
    r2 = 1
    call 132
)";

}  // namespace

std::span<const MapShape> map_shapes() { return kShapes; }

MapDef map_def(const MapShape& shape) {
    MapDef def;
    def.name = shape.name;
    def.type = shape.type;
    def.flags = shape.flags;
    def.key_size = shape.is_ring() ? 0 : shape.key_size;
    def.value_size = shape.is_ring() ? 0 : 8;
    def.max_entries = shape.is_ring() ? 1u << 24 : kMapEntries;
    return def;
}

bool is_filled(const MapShape& shape) {
    return shape.has_map() && !shape.is_ring() && shape.op != MapOp::UpdateErase;
}

std::string program_text(const MapShape& shape) {
    std::string text(kPrologue);
    switch (shape.op) {
        case MapOp::None: break;
        case MapOp::Lookup: text += kLookup; break;
        case MapOp::Update: text += kUpdate; break;
        case MapOp::UpdateErase: text.append(kUpdate).append(kErase); break;
        case MapOp::RingOutput: text += kRingOutput; break;
        case MapOp::RingReserve: text += kRingReserve; break;
    }
    return text.append(kEpilogue);
}

}  // namespace skep::bench
