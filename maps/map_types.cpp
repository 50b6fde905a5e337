#include "maps/map_types.hpp"

#include <algorithm>
#include <initializer_list>
#include <string>

#include "vm/base/os.hpp"
#include "vm/base/try.hpp"

namespace skep {
namespace {

constexpr auto kTypes = [] {
    using namespace map_flags;
    using namespace map_ops;
    return std::to_array<MapTypeInfo>({
#define SKEP_MAP_TYPE(number, Name, name, key, value, entries, flags, ops, state) \
    {static_cast<MapType>(number),                                                \
     name,                                                                        \
     MapKeyRule::key,                                                             \
     MapValueRule::value,                                                         \
     MapEntriesRule::entries,                                                     \
     flags,                                                                       \
     ops,                                                                         \
     MapState::state},
#include "maps/map_types.def"
    });
}();

#define SKEP_MAP_TYPE(number, Name, ...) static_assert(MapType::Name == MapType{number});
#include "maps/map_types.def"

constexpr uint32_t kStackSize = 512;        // MAX_BPF_STACK
constexpr uint64_t kPercpuMax = 32768;      // PCPU_MIN_UNIT_SIZE
constexpr uint64_t kElementMax = 4u << 20;  // KMALLOC_MAX_SIZE
constexpr uint64_t kElementHeader = 48;     // what Linux keeps beside key and value
constexpr uint64_t kStackFrames = 127;      // sysctl kernel.perf_event_max_stack
constexpr uint64_t kBuildIdSize = 32;       // struct bpf_stack_build_id

bool one_of(MapType type, std::initializer_list<MapType> types) {
    return std::ranges::find(types, type) != types.end();
}

std::unexpected<Error> bad(const MapDef& def, const MapTypeInfo& type, const std::string& what) {
    return fail(ErrorCode::BadMapDef,
                "map \"" + def.name + "\" (" + std::string(type.name) + "): " + what);
}

std::string found(const char* field, uint64_t value, const char* allowed) {
    return std::string(field) + " is " + std::to_string(value) + "; it must be " + allowed;
}

Result<void> check_key(const MapDef& def, const MapTypeInfo& type) {
    const uint32_t size = def.key_size;
    const auto want = [&](bool good, const char* allowed) -> Result<void> {
        if (good) return {};
        return bad(def, type, found("key_size", size, allowed));
    };
    switch (type.key) {
        case MapKeyRule::None: return want(size == 0, "0");
        case MapKeyRule::U32: return want(size == 4, "4");
        case MapKeyRule::Any: return want(size > 0, "at least 1");
        case MapKeyRule::Lpm: return want(size >= 5 && size <= 4 + 256, "5 to 260");
        case MapKeyRule::Object: return want(size == 4 || size == 8, "4 (or 8: a host object)");
        case MapKeyRule::Storage: return want(size == 8 || size == 16, "8 or 16");
    }
    return {};
}

Result<void> check_value(const MapDef& def, const MapTypeInfo& type) {
    const uint32_t size = def.value_size;
    const auto want = [&](bool good, const char* allowed) -> Result<void> {
        if (good) return {};
        return bad(def, type, found("value_size", size, allowed));
    };
    switch (type.value) {
        case MapValueRule::None: return want(size == 0, "0");
        case MapValueRule::U32: return want(size == 4, "4");
        case MapValueRule::U32orU64: return want(size == 4 || size == 8, "4 or 8");
        case MapValueRule::Any: return want(size > 0 && size <= INT32_MAX, "1 to 2147483647");
        case MapValueRule::Percpu: return want(size > 0 && size <= kPercpuMax, "1 to 32768");
        case MapValueRule::Dev: return want(size == 4 || size == 8, "4 or 8");
        case MapValueRule::Stack: {
            const uint64_t frame = (def.flags & map_flags::kStackBuildId) != 0 ? kBuildIdSize : 8;
            return want(size >= frame && size % frame == 0 && size / frame <= kStackFrames,
                        "a multiple of the frame size, at most 127 frames");
        }
    }
    return {};
}

// The whole of it has one high half of addresses.
Result<void> check_arena(const MapDef& def, const MapTypeInfo& type) {
    constexpr uint64_t kPage = 4096, kSpan = uint64_t{1} << 32;
    const uint64_t bytes = def.max_entries * kPage;
    if ((def.flags & map_flags::kMmapable) == 0) return bad(def, type, "BPF_F_MMAPABLE is needed");
    if (def.map_extra % kPage != 0) return bad(def, type, "map_extra is not at a page");
    if (bytes > kSpan || def.map_extra % kSpan + bytes > kSpan)
        return bad(def, type, "it must lie within 4 GiB of addresses that differ in 32 bits");
    return {};
}

Result<void> check_entries(const MapDef& def, const MapTypeInfo& type) {
    const uint32_t entries = def.max_entries;
    switch (type.entries) {
        case MapEntriesRule::Positive:
            if (entries != 0) return {};
            return fail(ErrorCode::MapSizeNeeded, "map \"" + def.name + "\" (" +
                                                      std::string(type.name) +
                                                      ") has no max_entries: give it a size");
        case MapEntriesRule::Zero:
            if (entries == 0) return {};
            return bad(def, type, found("max_entries", entries, "0"));
        case MapEntriesRule::Pages:
            if (entries == 0) {
                return fail(ErrorCode::MapSizeNeeded,
                            "map \"" + def.name + "\" has no max_entries: give it a size in bytes");
            }
            if ((entries & (entries - 1)) == 0 && entries % os::page_size() == 0) return {};
            return bad(
                def, type,
                found("max_entries", entries, "a power of two and a multiple of the page size"));
    }
    return {};
}

Result<void> check_flags(const MapDef& def, const MapTypeInfo& type) {
    using namespace map_flags;
    if (const uint32_t unknown = def.flags & ~type.flags) {
        static constexpr char digits[] = "0123456789abcdef";
        std::string hex;
        for (uint32_t rest = unknown; rest != 0; rest >>= 4) hex.insert(0, 1, digits[rest & 15]);
        return bad(def, type, "map_flags 0x" + hex + " are not for this type");
    }
    if ((def.flags & kRdonlyProg) != 0 && (def.flags & kWronlyProg) != 0) {
        return bad(def, type, "BPF_F_RDONLY_PROG and BPF_F_WRONLY_PROG exclude each other");
    }
    if ((def.flags & kRdonly) != 0 && (def.flags & kWronly) != 0) {
        return bad(def, type, "BPF_F_RDONLY and BPF_F_WRONLY exclude each other");
    }
    const bool needs_no_prealloc = type.type == MapType::LpmTrie || type.key == MapKeyRule::Object;
    if (needs_no_prealloc && (def.flags & kNoPrealloc) == 0) {
        return bad(def, type, "BPF_F_NO_PREALLOC is needed");
    }
    return {};
}

}  // namespace

std::span<const MapTypeInfo> map_types() noexcept { return kTypes; }

const MapTypeInfo* map_type_info(MapType type) noexcept {
    const auto number = static_cast<uint32_t>(type);
    return number >= 1 && number <= kTypes.size() ? &kTypes[number - 1] : nullptr;
}

const MapTypeInfo* map_type_by_name(std::string_view name) noexcept {
    const auto row = std::ranges::find(kTypes, name, &MapTypeInfo::name);
    return row != kTypes.end() ? &*row : nullptr;
}

Result<void> check_map_fields(const MapDef& def) {
    using enum MapType;
    const MapTypeInfo* type = map_type_info(def.type);
    if (type == nullptr || def.fields.empty()) return {};
    const uint32_t prog_only = map_flags::kRdonlyProg | map_flags::kWronlyProg;
    if ((def.flags & prog_only) != 0)
        return bad(def, *type, "values with special fields must be open to programs");
    const bool plain = one_of(def.type, {Hash, Array}), lru = def.type == LruHash;
    const bool storage = one_of(def.type, {SkStorage, InodeStorage, TaskStorage, CgrpStorage});
    const bool percpu = one_of(def.type, {PercpuHash, LruPercpuHash, PercpuArray});
    for (const SpecialField& field : def.fields) {
        bool fits = false;
        switch (field.kind) {
            case FieldKind::SpinLock:
            case FieldKind::ResSpinLock:
                fits = plain || storage || def.type == CgroupStorage;
                break;
            case FieldKind::Timer:
            case FieldKind::Workqueue:
            case FieldKind::TaskWork:
            case FieldKind::ListHead:
            case FieldKind::RbRoot: fits = plain || lru; break;
            case FieldKind::KptrUntrusted:
            case FieldKind::KptrRef:
            case FieldKind::KptrPercpu:
            case FieldKind::Refcount: fits = plain || lru || storage || percpu; break;
            case FieldKind::Uptr: fits = def.type == TaskStorage; break;
            case FieldKind::ListNode:
            case FieldKind::RbNode: break;
        }
        if (!fits)
            return bad(def, *type,
                       "a value of this type of map cannot have a special field, as the one at "
                       "offset " +
                           std::to_string(field.offset));
        if (field.offset > def.value_size || field.size > def.value_size - field.offset)
            return bad(def, *type,
                       "a special field at offset " + std::to_string(field.offset) +
                           " leaves the value of " + std::to_string(def.value_size) + " bytes");
    }
    return {};
}

Result<void> check_map_def(const MapDef& def) {
    const MapTypeInfo* type = map_type_info(def.type);
    if (type == nullptr) {
        return fail(ErrorCode::UnknownMapType, "map \"" + def.name + "\" has type " +
                                                   std::to_string(static_cast<uint32_t>(def.type)) +
                                                   "; known are 1 to 33");
    }
    if (type->state == MapState::Kernel) {
        return fail(ErrorCode::UnsupportedMapType, "map \"" + def.name + "\": type " +
                                                       std::string(type->name) +
                                                       " exists only inside a kernel");
    }
    SKEP_CHECK(check_flags(def, *type));
    SKEP_CHECK(check_key(def, *type));
    SKEP_CHECK(check_value(def, *type));
    SKEP_CHECK(check_entries(def, *type));
    SKEP_CHECK(check_map_fields(def));
    if (def.type == MapType::Arena) SKEP_CHECK(check_arena(def, *type));
    if (def.type == MapType::Sockhash && def.key_size > kStackSize) {
        return bad(def, *type, found("key_size", def.key_size, "at most 512, a program's stack"));
    }
    if (type->key == MapKeyRule::Any &&
        uint64_t{def.key_size} + def.value_size >= kElementMax - kElementHeader) {
        return bad(def, *type,
                   "key and value together have " +
                       std::to_string(uint64_t{def.key_size} + def.value_size) +
                       " bytes; less than 4 MiB are allowed");
    }
    return {};
}

}  // namespace skep
