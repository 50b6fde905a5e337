// Kernel functions on objects that programs allocate, on lists and trees of them, and on arenas.
//
// Objects, heads and nodes come as the program names them: host addresses from verified programs,
// guest addresses from sandboxed ones, which may name anything. Whatever is named must be a live
// object, and what is given away a reference that this run holds (its ledger says so): then the
// host's tables stay whole (maps/object_heap.hpp).
#include <algorithm>

#include "helpers/guest.hpp"
#include "helpers/kfunc_impl.hpp"
#include "helpers/objects.hpp"
#include "maps/arena.hpp"
#include "vm/sync/slots.hpp"

namespace skep {

static_assert(ObjectHeap::kGuestRegion == region::kHeap);

namespace objects {
namespace {

void drop(void* object, uint32_t, HelperEnv& env) noexcept {
    if (env.heap != nullptr) env.heap->release(static_cast<std::byte*>(object));
}

}  // namespace

bool hold(HelperEnv& env, std::byte* object) noexcept {
    const LedgerEntry entry{
        .what = LedgerEntry::What::Reference, .object = object, .release = &drop};
    if (env.hold(entry)) return true;
    drop(object, 0, env);
    return false;
}

bool give_up(HelperEnv& env, const std::byte* object) noexcept {
    for (uint32_t i = env.ledger_count; i-- > 0;) {
        const LedgerEntry& entry = env.ledger[i];
        if (entry.what != LedgerEntry::What::Reference || entry.object != object ||
            entry.release != &drop)
            continue;
        std::copy(env.ledger + i + 1, env.ledger + env.ledger_count, env.ledger + i);
        --env.ledger_count;
        return true;
    }
    return false;
}

// The heap, or null and a trap: a run without one has no objects.
ObjectHeap* heap_of(HelperEnv& env) noexcept {
    if (env.heap == nullptr || env.object_types == nullptr) env.fail(TrapCode::Unsupported);
    return env.trap == TrapCode::None ? env.heap : nullptr;
}

// A byte of an object. Null: of none.
std::byte* in_object(HelperEnv& env, uint64_t value) noexcept {
    ObjectHeap& heap = *env.heap;
    if (!env.sandbox) {
        auto* at = reinterpret_cast<std::byte*>(static_cast<uintptr_t>(value));
        return heap.contains(at) ? at : nullptr;
    }
    if (value >> 32 != region::kHeap || static_cast<uint32_t>(value) >= heap.bytes())
        return nullptr;
    return heap.base() + static_cast<uint32_t>(value);
}

uint64_t shown(const HelperEnv& env, const std::byte* at) noexcept {
    if (at == nullptr || env.trap != TrapCode::None) return 0;
    if (!env.sandbox) return reinterpret_cast<uintptr_t>(at);
    return guest_address(region::kHeap, static_cast<uint32_t>(at - env.heap->base()));
}

uint64_t refused(HelperEnv& env) noexcept {
    env.fail(TrapCode::BadArgument);
    return 0;
}

void release(HelperEnv& env, uint64_t value) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return;
    std::byte* object = in_object(env, value);
    if (object == nullptr || !objects::give_up(env, object)) {
        refused(env);
        return;
    }
    heap->release(object);
}

// At least two, so that one of them can be told from a plain object.
unsigned copies() noexcept { return std::max(2u, sync::slot_count()); }

}  // namespace objects

namespace kfunc {
namespace {

using objects::heap_of;
using objects::in_object;
using objects::refused;
using objects::shown;

constexpr uint64_t kHeadBytes = 16;

// A list head or tree root: in a value of a map or in an object.
std::byte* head_at(HelperEnv& env, uint64_t value) noexcept {
    if (!env.sandbox) return reinterpret_cast<std::byte*>(static_cast<uintptr_t>(value));
    const uint64_t place = value >> 32;
    if (place != region::kHeap && place < region::kFirstDynamic) return nullptr;
    return guest::memory(env, value, kHeadBytes, true);
}

uint64_t allocate(HelperEnv& env, uint64_t type_id, unsigned copies) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return 0;
    std::byte* object = heap->allocate(env.object_types->layout(type_id), copies);
    return object != nullptr && objects::hold(env, object) ? shown(env, object) : 0;
}

// The node's object, whose reference the run no longer has; null and a trap: it never had one.
std::byte* given(HelperEnv& env, std::byte* node) noexcept {
    std::byte* object = node != nullptr ? env.heap->object_of(node) : nullptr;
    if (object != nullptr && objects::give_up(env, object)) return object;
    refused(env);
    return nullptr;
}

int32_t push(HelperEnv& env, uint64_t head_value, uint64_t node_value, bool front) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return 0;
    const std::byte* head = head_at(env, head_value);
    std::byte* node = in_object(env, node_value);
    if (head == nullptr || node == nullptr) return static_cast<int32_t>(refused(env));
    std::byte* object = given(env, node);
    if (object == nullptr) return 0;
    if (heap->list_push(head, env.sandbox, node, front)) return 0;
    heap->release(object);
    return helper::kEinval;
}

// A node that left its list or tree: the run holds its object now.
uint64_t taken(HelperEnv& env, std::byte* node) noexcept {
    if (node == nullptr) return 0;
    std::byte* object = env.heap->object_of(node);
    return object != nullptr && objects::hold(env, object) ? shown(env, node) : 0;
}

uint64_t pop(HelperEnv& env, uint64_t head_value, bool front) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return 0;
    const std::byte* head = head_at(env, head_value);
    if (head == nullptr) return refused(env);
    return taken(env, heap->list_pop(head, env.sandbox, front));
}

uint64_t peek(HelperEnv& env, uint64_t head_value, bool front) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return 0;
    const std::byte* head = head_at(env, head_value);
    if (head == nullptr) return refused(env);
    return shown(env, heap->list_peek(head, env.sandbox, front));
}

uint64_t child(HelperEnv& env, uint64_t root_value, uint64_t node_value, bool left) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return 0;
    const std::byte* root = head_at(env, root_value);
    const std::byte* node = in_object(env, node_value);
    if (root == nullptr || node == nullptr) return refused(env);
    return shown(env, heap->tree_child(root, env.sandbox, node, left));
}

// Where a new node goes, by the program's comparison. Others may change the tree meanwhile (a
// sandboxed program need not hold a lock): then it is looked for again.
ObjectHeap::Linked insert(HelperEnv& env, const std::byte* root, std::byte* node,
                          const Callable& less) noexcept {
    ObjectHeap& heap = *env.heap;
    for (;;) {
        const std::byte* parent = nullptr;
        std::byte* at = heap.tree_top(root, env.sandbox);
        bool left = false;
        while (at != nullptr) {
            if (!env.charge(1)) return ObjectHeap::Linked::No;
            const uint64_t args[5] = {shown(env, node), shown(env, at)};
            const CallResult result = less.call(env, args);
            if (result.trapped) return ObjectHeap::Linked::No;
            parent = at;
            left = (result.r0 & 1) != 0;
            at = heap.tree_child(root, env.sandbox, at, left);
        }
        const auto linked = heap.tree_link(root, env.sandbox, node, parent, left);
        if (linked != ObjectHeap::Linked::Moved || !env.charge(1)) return linked;
    }
}

}  // namespace

uint64_t bpf_obj_new_impl(HelperEnv& env, uint64_t type_id, uint64_t) noexcept {
    return allocate(env, type_id, 1);
}
uint64_t bpf_percpu_obj_new_impl(HelperEnv& env, uint64_t type_id, uint64_t) noexcept {
    return allocate(env, type_id, objects::copies());
}
void bpf_obj_drop_impl(HelperEnv& env, uint64_t object, uint64_t) noexcept {
    objects::release(env, object);
}
void bpf_percpu_obj_drop_impl(HelperEnv& env, uint64_t object, uint64_t) noexcept {
    objects::release(env, object);
}

uint64_t bpf_refcount_acquire_impl(HelperEnv& env, uint64_t value, uint64_t) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return 0;
    std::byte* at = in_object(env, value);
    std::byte* object = at != nullptr ? heap->object_of(at) : nullptr;
    if (object == nullptr || object != at) return env.sandbox ? refused(env) : 0;
    return heap->retain(object) && objects::hold(env, object) ? shown(env, object) : 0;
}

int32_t bpf_list_push_front_impl(HelperEnv& env, uint64_t head, uint64_t node, uint64_t,
                                 uint64_t) noexcept {
    return push(env, head, node, true);
}
int32_t bpf_list_push_back_impl(HelperEnv& env, uint64_t head, uint64_t node, uint64_t,
                                uint64_t) noexcept {
    return push(env, head, node, false);
}
uint64_t bpf_list_pop_front(HelperEnv& env, uint64_t head) noexcept { return pop(env, head, true); }
uint64_t bpf_list_pop_back(HelperEnv& env, uint64_t head) noexcept { return pop(env, head, false); }
uint64_t bpf_list_front(HelperEnv& env, uint64_t head) noexcept { return peek(env, head, true); }
uint64_t bpf_list_back(HelperEnv& env, uint64_t head) noexcept { return peek(env, head, false); }

int32_t bpf_rbtree_add_impl(HelperEnv& env, uint64_t root_value, uint64_t node_value,
                            Callback<CallbackKind::Less> less, uint64_t, uint64_t) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return 0;
    const std::byte* root = head_at(env, root_value);
    std::byte* node = in_object(env, node_value);
    if (root == nullptr || node == nullptr || less.target == nullptr)
        return static_cast<int32_t>(refused(env));
    std::byte* object = given(env, node);
    if (object == nullptr) return 0;
    if (insert(env, root, node, *less.target) == ObjectHeap::Linked::Yes) return 0;
    heap->release(object);
    return helper::kEinval;
}

uint64_t bpf_rbtree_remove(HelperEnv& env, uint64_t root_value, uint64_t node_value) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return 0;
    const std::byte* root = head_at(env, root_value);
    std::byte* node = in_object(env, node_value);
    if (root == nullptr || node == nullptr) return refused(env);
    return heap->tree_remove(root, env.sandbox, node) ? taken(env, node) : 0;
}

uint64_t bpf_rbtree_first(HelperEnv& env, uint64_t root_value) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return 0;
    const std::byte* root = head_at(env, root_value);
    return root == nullptr ? refused(env) : shown(env, heap->tree_first(root, env.sandbox));
}
uint64_t bpf_rbtree_root(HelperEnv& env, uint64_t root_value) noexcept {
    ObjectHeap* heap = heap_of(env);
    if (heap == nullptr) return 0;
    const std::byte* root = head_at(env, root_value);
    return root == nullptr ? refused(env) : shown(env, heap->tree_top(root, env.sandbox));
}
uint64_t bpf_rbtree_left(HelperEnv& env, uint64_t root, uint64_t node) noexcept {
    return child(env, root, node, true);
}
uint64_t bpf_rbtree_right(HelperEnv& env, uint64_t root, uint64_t node) noexcept {
    return child(env, root, node, false);
}

// --- arenas -------------------------------------------------------------------------------------

uint64_t bpf_arena_alloc_pages(HelperEnv& env, MapArg map, uint64_t address, uint32_t count,
                               int32_t, uint64_t flags) noexcept {
    constexpr uint32_t kPagesPerUnit = 64;
    ArenaMap* arena = arena_of(map.map);
    if (arena == nullptr || flags != 0 || !env.charge(1 + count / kPagesPerUnit)) return 0;
    return arena->allocate(address, count);
}
void bpf_arena_free_pages(HelperEnv& env, MapArg map, uint64_t address, uint32_t count) noexcept {
    ArenaMap* arena = arena_of(map.map);
    if (arena == nullptr || count == 0 || address == 0) return;
    count = std::min(count, arena->def().max_entries);
    if (env.charge(1 + count)) arena->free(address, count);
}
int32_t bpf_arena_reserve_pages(HelperEnv& env, MapArg map, uint64_t address,
                                uint32_t count) noexcept {
    ArenaMap* arena = arena_of(map.map);
    if (arena == nullptr) return helper::kEinval;
    return env.charge(1) ? static_cast<int32_t>(arena->reserve_pages(address, count)) : 0;
}

}  // namespace kfunc
}  // namespace skep
