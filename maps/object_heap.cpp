// See the header.
#include "maps/object_heap.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include "maps/connections.hpp"
#include "maps/relaxed_copy.hpp"
#include "maps/table.hpp"
#include "vm/base/try.hpp"
#include "vm/btf/special_fields.hpp"

namespace skep {

std::shared_ptr<const ObjectLayout> ObjectTypes::layout(uint64_t type_id) noexcept {
    if (btf_ == nullptr || type_id > UINT32_MAX || !btf_->has(static_cast<uint32_t>(type_id)))
        return nullptr;
    try {
        const std::scoped_lock locked(mutex_);
        auto& known = known_[type_id];
        if (known != nullptr) return known;
        const BtfType type = btf_->type(static_cast<uint32_t>(type_id));
        if (!type.is(BtfKind::Struct) || type.size() == 0) return nullptr;
        auto made = std::make_shared<ObjectLayout>();
        made->size = type.size();
        auto fields = special_fields(*btf_, type.id(), FieldScope::Object);
        if (!fields) return nullptr;
        made->fields = *std::move(fields);
        made->refcounted = std::ranges::any_of(
            made->fields, [](const SpecialField& f) { return f.kind == FieldKind::Refcount; });
        known = std::move(made);
        return known;
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

ObjectHeap::ObjectHeap() : connections_(std::make_unique<Connections>(*this)) {}
ObjectHeap::~ObjectHeap() = default;

Result<std::shared_ptr<ObjectHeap>> ObjectHeap::create(uint64_t bytes) {
    std::shared_ptr<ObjectHeap> heap(new (std::nothrow) ObjectHeap);
    if (heap == nullptr) return fail(ErrorCode::OutOfMemory, "no memory for objects");
    heap->bytes_ = (bytes + kChunk - 1) / kChunk * kChunk;
    SKEP_TRY(heap->memory_, os::Pages::allocate(kSlack + heap->bytes_ + kSlack));
    for (uint32_t each = 64; each <= kLargestPercpu; each *= 2) {
        heap->classes_.push_back({each, {}});
        if (each < kLargest) heap->classes_.push_back({each + each / 2, {}});
    }
    return heap;
}

ObjectHeap::Object* ObjectHeap::find(const std::byte* inside, std::byte** start) noexcept {
    if (!contains(inside)) return nullptr;
    const auto offset = static_cast<uint64_t>(inside - base());
    const uint64_t chunk = offset / kChunk;
    if (chunk >= chunks_.size()) return nullptr;
    Chunk& home = chunks_[chunk];
    const uint64_t index = offset % kChunk / home.each;
    if (index >= home.objects.size() || home.objects[index].layout == nullptr) return nullptr;
    if (start != nullptr) *start = base() + chunk * kChunk + index * home.each;
    return &home.objects[index];
}

std::byte* ObjectHeap::allocate(std::shared_ptr<const ObjectLayout> layout,
                                unsigned copies) noexcept {
    if (layout == nullptr || copies == 0 || layout->size > kLargest) return nullptr;
    const uint32_t stride = (layout->size + 7) / 8 * 8;
    if (uint64_t{stride} * copies > kLargestPercpu) return nullptr;
    const uint32_t wanted = stride * copies;
    const auto fits =
        std::ranges::find_if(classes_, [&](const Class& c) { return c.each >= wanted; });
    if (fits == classes_.end()) return nullptr;
    try {
        const std::scoped_lock locked(lock_);
        if (fits->free.empty()) {
            if ((chunks_.size() + 1) * kChunk > bytes_) return nullptr;
            const uint64_t count = kChunk / fits->each;
            std::vector<std::byte*> places;
            places.reserve(count);
            fits->free.reserve(fits->free.capacity() + count);
            std::byte* first = base() + chunks_.size() * kChunk;
            for (uint64_t i = count; i-- > 0;) places.push_back(first + i * fits->each);
            chunks_.push_back({fits->each, std::vector<Object>(count)});
            fits->free.swap(places);
            fits->free.reserve(places.capacity());
        }
        std::byte* object = fits->free.back();
        fits->free.pop_back();
        std::memset(object, 0, wanted);
        const auto offset = static_cast<uint64_t>(object - base());
        Object& meta = chunks_[offset / kChunk].objects[offset % kChunk / fits->each];
        meta = {std::move(layout), 1, copies > 1 ? stride : 0};
        ++live_;
        return object;
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

std::byte* ObjectHeap::object_of(const std::byte* inside) noexcept {
    const std::scoped_lock locked(lock_);
    std::byte* start = nullptr;
    return find(inside, &start) != nullptr ? start : nullptr;
}

uint32_t ObjectHeap::object_bytes(const std::byte* inside) noexcept {
    const std::scoped_lock locked(lock_);
    const Object* meta = find(inside);
    return meta != nullptr ? meta->layout->size : 0;
}

uint32_t ObjectHeap::copy_stride(const std::byte* object) noexcept {
    const std::scoped_lock locked(lock_);
    const Object* meta = find(object);
    return meta != nullptr ? meta->stride : 0;
}

bool ObjectHeap::retain(const std::byte* object) noexcept {
    const std::scoped_lock locked(lock_);
    Object* meta = find(object);
    if (meta == nullptr || !meta->layout->refcounted || meta->references == UINT32_MAX)
        return false;
    ++meta->references;
    return true;
}

void ObjectHeap::release(std::byte* object) noexcept {
    try {
        std::vector<std::byte*> work{object};
        const std::scoped_lock locked(lock_);
        release_all(work);
    } catch (const std::bad_alloc&) {
        // It stays until the heap goes.
    }
}

// One reference less of each; what the last one of an object owned follows. No recursion: what
// objects own can be long chains.
void ObjectHeap::release_all(std::vector<std::byte*>& work) noexcept {
    while (!work.empty()) {
        std::byte* start = nullptr;
        Object* meta = find(work.back(), &start);
        work.pop_back();
        if (meta == nullptr || --meta->references != 0) continue;
        const uint32_t size = meta->layout->size;
        const bool owns = !meta->layout->fields.empty();
        meta->layout = nullptr;
        --live_;
        try {
            if (owns) take_contents(start, size, work);
            const auto offset = static_cast<uint64_t>(start - base());
            const uint32_t each = chunks_[offset / kChunk].each;
            std::ranges::find(classes_, each, &Class::each)->free.push_back(start);
        } catch (const std::bad_alloc&) {
            // What could not be listed stays until the heap goes.
        }
    }
}

// Moves what the fields of a range own to `work`.
void ObjectHeap::take_contents(const std::byte* begin, uint64_t size,
                               std::vector<std::byte*>& work) {
    const std::byte* end = begin + size;
    for (auto it = slots_.lower_bound(begin); it != slots_.end() && it->first < end;) {
        work.push_back(it->second.object);
        it = slots_.erase(it);
    }
    for (auto it = roots_.lower_bound(begin); it != roots_.end() && it->first < end;) {
        std::vector<Node*> open;
        if (it->second.top != nullptr) open.push_back(it->second.top);
        while (!open.empty()) {
            Node* node = open.back();
            open.pop_back();
            if (node->right != nullptr) open.push_back(node->right);
            if (it->second.tree && node->left != nullptr) open.push_back(node->left);
            work.push_back(node->address);
            nodes_.erase(node->address);
        }
        it = roots_.erase(it);
    }
}

void ObjectHeap::clear(std::byte* begin, uint64_t size, bool gone) noexcept {
    const std::byte* end = begin + size;
    const std::scoped_lock locked(lock_);
    try {
        std::vector<std::byte*> work;
        auto it = gone ? slots_.end() : slots_.lower_bound(begin);
        for (; it != slots_.end() && it->first < end; ++it)
            show(const_cast<std::byte*>(it->first), 0);
        take_contents(begin, size, work);
        release_all(work);
    } catch (const std::bad_alloc&) {
        // What could not be listed stays until the heap goes.
    }
}

uint64_t ObjectHeap::live() noexcept {
    const std::scoped_lock locked(lock_);
    return live_;
}

bool keep_objects(Map& map, const std::shared_ptr<ObjectHeap>& heap) noexcept {
    auto* table = dynamic_cast<TableMap*>(&map);
    return table != nullptr && table->keep_objects(heap);
}

bool TableMap::keep_objects(const std::shared_ptr<ObjectHeap>& heap) noexcept {
    const std::scoped_lock locked(objects_lock_);
    if (objects_owner_ == nullptr) {
        objects_owner_ = heap;
        objects_.store(heap.get(), std::memory_order_release);
    }
    return objects_owner_ == heap;
}

void TableMap::drop_owned(std::byte* value, uint64_t bytes) const noexcept {
    objects_.load(std::memory_order_acquire)->clear(value, bytes);
}

// --- kptrs --------------------------------------------------------------------------------------

void ObjectHeap::show(std::byte* slot, uint64_t value) noexcept {
    relaxed_store<uint64_t>(slot, value);
}

uint64_t ObjectHeap::shown(const std::byte* object) const noexcept {
    if (!contains(object)) return reinterpret_cast<uintptr_t>(object);
    return uint64_t{kGuestRegion} << 32 | static_cast<uint32_t>(object - base());
}

bool ObjectHeap::exchange(std::byte* slot, bool sandbox, std::byte* in, std::byte*& out) noexcept {
    out = nullptr;
    std::vector<std::byte*> dropped;
    const std::scoped_lock locked(lock_);
    try {
        dropped.reserve(1);
        auto place = slots_.find(slot);
        if (place == slots_.end() && in == nullptr) {
            show(slot, 0);
            return true;
        }
        if (place == slots_.end()) place = slots_.emplace(slot, Slot{}).first;
        const Slot before = place->second;
        if (in != nullptr)
            place->second = {in, sandbox};
        else
            slots_.erase(place);
        show(slot, shown(in));
        if (before.object == nullptr) return true;
        if (before.sandbox == sandbox)
            out = before.object;
        else
            dropped.push_back(before.object);
    } catch (const std::bad_alloc&) {
        return false;
    }
    release_all(dropped);
    return true;
}

std::byte* ObjectHeap::held(const std::byte* slot, bool sandbox) noexcept {
    const std::scoped_lock locked(lock_);
    const auto place = slots_.find(slot);
    return place != slots_.end() && place->second.sandbox == sandbox ? place->second.object
                                                                     : nullptr;
}

}  // namespace skep
