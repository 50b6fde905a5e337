// Maps whose entries are objects of the host: program arrays, arrays and hashes of maps.
//
// Programs use an entry as a handle and never see bytes, so these maps have no values in reach of a
// program. An entry is an atomic pointer that runs read without a lock; the owning reference lies
// beside it, and goes to a graveyard when it is replaced, until the runs that may use it have
// ended.
#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <string>

#include "maps/create.hpp"
#include "maps/map_types.hpp"
#include "maps/table.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/sync/graveyard.hpp"

namespace skep {
namespace {

// Indexed entries, sparse: the pointers lie in reserved pages.
template <class T>
class HandleArray {
public:
    Result<void> init(uint32_t entries) {
        SKEP_TRY(pages_, os::Pages::allocate(uint64_t{entries} * sizeof(std::atomic<T*>)));
        return {};
    }
    T* get(uint32_t index) const noexcept { return entry(index).load(std::memory_order_acquire); }

    // Null removes. What was there before.
    bool set(uint32_t index, std::shared_ptr<T> object) {
        std::shared_ptr<T> old;
        {
            const std::scoped_lock lock(lock_);
            T* raw = object.get();
            if (object != nullptr) {
                old = std::exchange(owners_[index], std::move(object));
            } else if (const auto owner = owners_.find(index); owner != owners_.end()) {
                old = std::move(owner->second);
                owners_.erase(owner);
            }
            entry(index).store(raw, std::memory_order_release);
        }
        const bool had = old != nullptr;
        graveyard_.bury(std::move(old));
        return had;
    }
    uint64_t bytes() const noexcept { return pages_.size(); }

private:
    std::atomic<T*>& entry(uint32_t index) const noexcept {
        return reinterpret_cast<std::atomic<T*>*>(pages_.data())[index];
    }

    os::Pages pages_;
    std::mutex lock_;
    std::map<uint32_t, std::shared_ptr<T>> owners_;
    sync::Graveyard graveyard_;
};

uint32_t id_of(const Map& map) noexcept { return map.id(); }
uint32_t id_of(const Executable& program) noexcept { return program.id(); }

// Numbers from 0 on, as in arrays.
template <class T>
class HandleArrayMap : public TableMap {
public:
    explicit HandleArrayMap(MapDef definition) : TableMap(std::move(definition), false) {}

    Result<void> init() { return handles_.init(def().max_entries); }

    MapMemory memory() const noexcept override { return {0, handles_.bytes() + sizeof(*this), 0}; }

    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        if (const long error = host_read_error(flags)) return error;
        if (out.size() < sizeof(uint32_t)) return -EINVAL;
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (index >= def().max_entries) return -ENOENT;
        const sync::HostSection section;
        const T* object = handles_.get(index);
        if (object == nullptr) return -ENOENT;
        const uint32_t id = id_of(*object);
        std::memcpy(out.data(), &id, sizeof(id));
        return 0;
    }

    // A number is no object: set_map() and set_executable() are the way in.
    long host_update(const std::byte*, std::span<const std::byte>, uint64_t) noexcept override {
        const long error = host_write_error();
        return error != 0 ? error : -EBADF;
    }

    long host_erase(const std::byte* key) noexcept override {
        if (const long error = host_write_error()) return error;
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (index >= def().max_entries) return -E2BIG;
        return handles_.set(index, nullptr) ? 0 : -ENOENT;
    }

    long next_key(const std::byte* key, std::byte* next) noexcept override {
        return next_index(def().max_entries, key, next);
    }

protected:
    long set(const std::byte* key, std::shared_ptr<T> object, uint64_t flags) noexcept {
        if (const long error = host_write_error()) return error;
        const uint32_t index = relaxed_load<uint32_t>(key);
        if (flags != map_flags::kAny) return -EINVAL;
        if (index >= def().max_entries) return -E2BIG;
        try {
            handles_.set(index, std::move(object));
        } catch (const std::bad_alloc&) {
            return -ENOMEM;
        }
        return 0;
    }
    T* get(uint32_t index) const noexcept {
        return index < def().max_entries ? handles_.get(index) : nullptr;
    }

private:
    HandleArray<T> handles_;
};

class ProgArray final : public HandleArrayMap<const Executable> {
public:
    using HandleArrayMap::HandleArrayMap;

    const Executable* executable(uint32_t index) noexcept override { return get(index); }
    long set_executable(const std::byte* key, std::shared_ptr<const Executable> program,
                        uint64_t flags) noexcept override {
        return program != nullptr ? set(key, std::move(program), flags) : -EBADF;
    }
};

// Whether `map` is what the programs that use the outer map were made for.
bool fits(const MapDef& wanted, const MapDef& map) noexcept {
    if (wanted.type != map.type || wanted.key_size != map.key_size ||
        wanted.value_size != map.value_size || wanted.flags != map.flags ||
        wanted.fields != map.fields) {
        return false;
    }
    // The length of an array is a constant for programs, unless its flags say otherwise.
    return map.type != MapType::Array || (wanted.flags & map_flags::kInnerMap) != 0 ||
           wanted.max_entries == map.max_entries;
}

// What a program gets where other maps give a value.
std::byte* find_map(Map* outer, const std::byte* key, unsigned cpu) noexcept {
    return reinterpret_cast<std::byte*>(outer->lookup_map(key, {cpu}));
}

class ArrayOfMaps final : public HandleArrayMap<Map> {
public:
    explicit ArrayOfMaps(MapDef definition) : HandleArrayMap(std::move(definition)) {
        set_find(&find_map);
    }

    Map* lookup_map(const std::byte* key, MapCaller) noexcept override {
        return get(relaxed_load<uint32_t>(key));
    }
    long set_map(const std::byte* key, std::shared_ptr<Map> inner,
                 uint64_t flags) noexcept override {
        if (inner == nullptr) return -EBADF;
        return fits(*def().inner, inner->def()) ? set(key, std::move(inner), flags) : -EINVAL;
    }
};

// A hash from keys to pointers, and the owners by key.
class HashOfMaps final : public TableMap {
public:
    explicit HashOfMaps(MapDef definition) : TableMap(std::move(definition), false) {
        set_find(&find_map);
    }

    Result<void> init() {
        MapDef pointers;
        pointers.name = def().name;
        pointers.type = MapType::Hash;
        pointers.key_size = def().key_size;
        pointers.value_size = sizeof(Map*);
        pointers.max_entries = def().max_entries;
        pointers.flags = def().flags & (map_flags::kNoPrealloc | map_flags::kZeroSeed);
        SKEP_TRY(pointers_, make_hash(std::move(pointers)));
        return {};
    }

    MapMemory memory() const noexcept override {
        const MapMemory inner = pointers_->memory();
        return {0, inner.values + inner.metadata + sizeof(*this), inner.deferred};
    }

    Map* lookup_map(const std::byte* key, MapCaller caller) noexcept override {
        return pointer(pointers_->lookup(key, caller));
    }

    long set_map(const std::byte* key, std::shared_ptr<Map> inner,
                 uint64_t flags) noexcept override {
        if (const long error = host_write_error()) return error;
        if (inner == nullptr) return -EBADF;
        if (!fits(*def().inner, inner->def())) return -EINVAL;
        const Map* raw = inner.get();
        std::shared_ptr<Map> old;
        try {
            const std::scoped_lock lock(lock_);
            std::shared_ptr<Map>& owner = owners_[copy_of(key)];
            const long result = pointers_->host_update(
                key, {reinterpret_cast<const std::byte*>(&raw), sizeof(raw)}, flags);
            if (result != 0) {
                if (owner == nullptr) owners_.erase(copy_of(key));
                return result;
            }
            old = std::exchange(owner, std::move(inner));
        } catch (const std::bad_alloc&) {
            return -ENOMEM;
        }
        return bury(std::move(old));
    }

    long host_lookup(const std::byte* key, std::span<std::byte> out,
                     uint64_t flags) noexcept override {
        if (const long error = host_read_error(flags)) return error;
        if (out.size() < sizeof(uint32_t)) return -EINVAL;
        const sync::HostSection section;
        const Map* inner = pointer(pointers_->lookup(key, {0}));
        if (inner == nullptr) return -ENOENT;
        const uint32_t id = inner->id();
        std::memcpy(out.data(), &id, sizeof(id));
        return 0;
    }
    long host_update(const std::byte*, std::span<const std::byte>, uint64_t) noexcept override {
        const long error = host_write_error();
        return error != 0 ? error : -EBADF;
    }
    long host_erase(const std::byte* key) noexcept override {
        if (const long error = host_write_error()) return error;
        std::shared_ptr<Map> old;
        try {
            const std::scoped_lock lock(lock_);
            if (const long result = pointers_->host_erase(key)) return result;
            const auto owner = owners_.find(copy_of(key));
            old = std::move(owner->second);
            owners_.erase(owner);
        } catch (const std::bad_alloc&) {
            return -ENOMEM;
        }
        return bury(std::move(old));
    }
    long next_key(const std::byte* key, std::byte* next) noexcept override {
        return pointers_->next_key(key, next);
    }

private:
    using Bytes = std::string;

    Bytes copy_of(const std::byte* key) const {
        return {reinterpret_cast<const char*>(key), def().key_size};
    }
    static Map* pointer(const std::byte* value) noexcept {
        if (value == nullptr) return nullptr;
        return reinterpret_cast<Map*>(static_cast<uintptr_t>(relaxed_load<uint64_t>(value)));
    }
    long bury(std::shared_ptr<Map> old) noexcept {
        try {
            graveyard_.bury(std::move(old));
        } catch (const std::bad_alloc&) {
            return -ENOMEM;
        }
        return 0;
    }

    std::shared_ptr<Map> pointers_;
    std::mutex lock_;
    std::map<Bytes, std::shared_ptr<Map>> owners_;
    sync::Graveyard graveyard_;
};

Result<void> check_inner(const MapDef& def) {
    if (def.inner == nullptr) {
        return fail(ErrorCode::BadMapDef, "map \"" + def.name +
                                              "\": a map of maps needs the "
                                              "definition of its inner maps");
    }
    if (def.inner->type == MapType::ArrayOfMaps || def.inner->type == MapType::HashOfMaps ||
        def.inner->type == MapType::ProgArray) {
        return fail(ErrorCode::BadMapDef, "map \"" + def.name + "\": inner maps of type " +
                                              std::string(map_type_info(def.inner->type)->name) +
                                              " are not allowed");
    }
    return check_map_def(*def.inner);
}

}  // namespace

Result<std::shared_ptr<Map>> make_handles(MapDef def) {
    if (def.type == MapType::ProgArray) return made<ProgArray>(std::move(def));
    SKEP_CHECK(check_inner(def));
    if (def.type == MapType::ArrayOfMaps) return made<ArrayOfMaps>(std::move(def));
    return made<HashOfMaps>(std::move(def));
}

}  // namespace skep
