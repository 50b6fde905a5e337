// See the header.
#include "maps/connections.hpp"

#include <mutex>
#include <new>

#include "maps/object_heap.hpp"

namespace skep {

Connections::Found Connections::find(const ConnectionKey& key) noexcept {
    const std::scoped_lock locked(lock_);
    const auto found = known_.find(key);
    if (found == known_.end() || !heap_.retain(found->second.object)) return {};
    return found->second;
}

bool Connections::insert(const ConnectionKey& original, const ConnectionKey& reply,
                         std::byte* object) noexcept {
    const std::scoped_lock locked(lock_);
    if (known_.size() + 2 > kMost || original == reply || known_.contains(original) ||
        known_.contains(reply))
        return false;
    try {
        const auto first = known_.emplace(original, Found{object, false}).first;
        try {
            known_.emplace(reply, Found{object, true});
        } catch (const std::bad_alloc&) {
            known_.erase(first);
            return false;
        }
    } catch (const std::bad_alloc&) {
        return false;
    }
    return true;
}

void Connections::erase(const std::byte* object) noexcept {
    std::byte* held = nullptr;
    {
        const std::scoped_lock locked(lock_);
        for (auto it = known_.begin(); it != known_.end();) {
            if (it->second.object != object) {
                ++it;
                continue;
            }
            held = it->second.object;
            it = known_.erase(it);
        }
    }
    if (held != nullptr) heap_.release(held);
}

}  // namespace skep
