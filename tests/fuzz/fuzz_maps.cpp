// Map operations: a definition and a sequence of operations of host and program, some with bytes
// scribbled over values in between. Whatever comes, results are success or errno values, and no map
// holds more than max_entries.
#include <cerrno>
#include <memory>
#include <vector>

#include <skep/map.hpp>

#include "maps/map_types.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "vm/sync/slots.hpp"

namespace skep::test {
namespace {

class Reader {
public:
    Reader(const uint8_t* data, size_t size) : data_(data), size_(size) {}
    bool done() const { return size_ == 0; }
    uint32_t byte() {
        if (size_ == 0) return 0;
        --size_;
        return *data_++;
    }
    uint32_t word() { return byte() | byte() << 8; }

private:
    const uint8_t* data_;
    size_t size_;
};

constexpr uint32_t kSizes[] = {0, 1, 3, 4, 8, 12, 16, 24, 40, 520};

// Makes the definition one that its type accepts, most of the time.
void fit(MapDef& def) {
    const MapTypeInfo* type = map_type_info(def.type);
    if (type == nullptr) return;
    if (type->key == MapKeyRule::None) def.key_size = 0;
    if (type->key == MapKeyRule::U32) def.key_size = 4;
    if (type->key == MapKeyRule::Any && def.key_size == 0) def.key_size = 4;
    if (type->key == MapKeyRule::Lpm) def.key_size = 5 + def.key_size % 12;
    if (type->key == MapKeyRule::Object || type->key == MapKeyRule::Storage) def.key_size = 8;
    if (type->value == MapValueRule::None) def.value_size = 0;
    if (type->value != MapValueRule::None && def.value_size % 8 != 0) def.value_size = 4;
    if (type->value == MapValueRule::Stack) def.value_size = 160;
    if (type->value != MapValueRule::None && def.value_size == 0) def.value_size = 4;
    if (type->entries == MapEntriesRule::Zero) def.max_entries = 0;
    if (type->entries == MapEntriesRule::Pages) def.max_entries = 4096;
    def.flags &= type->flags & ~(map_flags::kRdonlyProg | map_flags::kRdonly);
    if (type->key == MapKeyRule::Lpm || type->key == MapKeyRule::Object) {
        def.flags |= map_flags::kNoPrealloc;
    }
    MapDef inner;
    inner.type = MapType::Array;
    inner.key_size = inner.value_size = 4;
    inner.max_entries = 1;
    def.inner = std::make_shared<const MapDef>(inner);
    std::erase_if(def.fields,
                  [&](const SpecialField& field) { return field.offset + 4 > def.value_size; });
}

MapDef definition(Reader& in) {
    MapDef def;
    def.name = "fuzzed";
    def.type = static_cast<MapType>(in.byte() % 36);
    def.key_size = kSizes[in.byte() % std::size(kSizes)];
    def.value_size = kSizes[in.byte() % std::size(kSizes)];
    def.max_entries = in.byte() % 4 == 0 ? 4096 : in.byte();
    def.flags = in.byte() % 3 == 0 ? in.word() : in.byte() % 2;
    if (in.byte() % 8 == 0) def.fields = {{FieldKind::SpinLock, in.byte(), 4, 0}};
    if (in.byte() % 8 != 0) fit(def);
    return def;
}

struct Buffers {
    std::vector<std::byte> key, value, next;
};

long operate(Map& map, Reader& in, Buffers& b, MapCaller caller) {
    const uint64_t flags = in.byte() % 4 == 0 ? in.word() : in.byte() % 3;
    const auto visit = [](void*, const std::byte*, std::byte*) { return true; };
    const auto consume = [](void*, const MapEvent&) { return true; };
    const auto take = [](void*, const std::byte*, uint64_t) -> long { return 0; };
    uint64_t number = 0;
    switch (in.byte() % 22) {
        case 0: return map.update(b.key.data(), b.value.data(), flags, caller);
        case 1: return map.erase(b.key.data(), caller);
        case 2: return map.lookup(b.key.data(), caller) != nullptr ? 0 : -ENOENT;
        case 3: return map.push(b.value.data(), flags, caller);
        case 4: return map.pop(b.value.data(), caller);
        case 5: return map.peek(b.value.data(), caller);
        case 6: return map.host_lookup(b.key.data(), b.value, flags);
        case 7: return map.host_update(b.key.data(), b.value, flags);
        case 8: return map.host_erase(b.key.data());
        case 9: return map.next_key(in.byte() % 2 != 0 ? b.key.data() : nullptr, b.next.data());
        case 10: return map.for_each(visit, nullptr, caller) < 0 ? -EOPNOTSUPP : 0;
        case 11: return map.target(b.key.data(), number);
        case 12: return map.storage(in.byte(), nullptr, flags, caller) != nullptr ? 0 : -ENOENT;
        case 13: return map.storage_erase(in.byte(), caller);
        case 14: return map.commit(in.word(), flags);
        case 15: return map.discard(map.reserve(in.word(), 0).id, flags);
        case 16: return map.output({b.value.data(), in.byte() % 64}, {}, flags, caller);
        case 17: return map.consume(consume, nullptr, in.byte()) < 0 ? -EBUSY : 0;
        case 18: return map.submit({b.value.data(), in.byte() % 64});
        case 19: return map.drain(take, nullptr, flags) < 0 ? -EINVAL : 0;
        case 20: {
            const ValueRange range = map.values();
            const uint64_t at = range.size != 0 ? in.word() * uint64_t{64} % range.size : 0;
            std::fill_n(range.base + at, std::min<uint64_t>(range.size - at, 64),
                        std::byte(in.byte()));
            return 0;
        }
        default: return map.host_pop(b.value);
    }
}

}  // namespace

void fuzz_seeds(const SeedSink& sink) {
    for (uint32_t seed = 1; seed <= 33 * 4; ++seed) {
        uint32_t state = seed;
        std::vector<uint8_t> bytes(200);
        for (uint8_t& byte : bytes) {
            state = state * 1664525 + 1013904223;
            byte = static_cast<uint8_t>(state >> 24);
        }
        bytes[0] = static_cast<uint8_t>(1 + seed % 33);
        sink(bytes);
    }
}

}  // namespace skep::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skep;
    test::Reader in(data, size);
    const auto made = create_map(test::definition(in));
    if (!made) {
        test::require(!made.error().message.empty(), "an error has a message");
        return 0;
    }
    Map& map = **made;
    if (map.def().flags & map_flags::kRdonlyProg && map.def().frozen) return 0;
    test::Buffers b;
    b.key.resize(std::max<size_t>(16, map.def().key_size));
    b.next.resize(b.key.size());
    b.value.resize(std::max<uint64_t>(64, map.host_value_size()));
    sync::enter();
    const MapCaller caller{sync::current_slot()};
    while (!in.done()) {
        b.key[in.byte() % 4] = std::byte(in.byte() % 16);
        b.value[0] = std::byte(in.byte());
        const long result = test::operate(map, in, b, caller);
        test::require(result > -4096, "results are errno values");
    }
    sync::leave();
    if (map_type_info(map.def().type)->has(map_ops::kForEach)) {
        const sync::HostSection section;
        const auto visit = [](void*, const std::byte*, std::byte*) { return true; };
        const long count = map.for_each(visit, nullptr, {0});
        test::require(count >= 0 && static_cast<uint64_t>(count) <= map.def().max_entries,
                      "no more entries than max_entries");
    }
    return 0;
}
