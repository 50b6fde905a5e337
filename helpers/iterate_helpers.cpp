// Helpers that call back: map elements and user ring buffer records.
#include <algorithm>
#include <cstring>

#include <skep/map.hpp>

#include "helpers/dynptr.hpp"
#include "helpers/guest.hpp"
#include "helpers/impl.hpp"
#include "helpers/iterate.hpp"

namespace skep::helper {

namespace {

constexpr uint32_t kScratchLow = 0x1000;  // guest offset of the scratch memory

// Memory of the environment that a callback may read: at the same time host and guest memory.
class Scratch {
public:
    Scratch(HelperEnv& env, uint64_t size) noexcept : env_(env), before_(env.scratch_used) {
        const uint64_t rounded = (size + 7) / 8 * 8;
        if (rounded > sizeof env.scratch - before_) {
            env.fail(TrapCode::OutOfMemory);
            return;
        }
        data = env.scratch + before_;
        env.scratch_used += static_cast<uint32_t>(rounded);
        if (!env.sandbox) return;
        env.regions[region::kScratch] = {.base = env.scratch,
                                         .lo = kScratchLow,
                                         .kind = static_cast<uint32_t>(RegionKind::Memory),
                                         .readable = env.scratch_used,
                                         .writable = 0};
    }
    ~Scratch() {
        env_.scratch_used = before_;
        if (env_.sandbox) env_.regions[region::kScratch].readable = before_;
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    // What the program calls it.
    uint64_t address() const noexcept {
        if (!env_.sandbox) return reinterpret_cast<uintptr_t>(data);
        return guest_address(region::kScratch, kScratchLow + before_);
    }

    std::byte* data = nullptr;  // null: none left (trap is set)

private:
    HelperEnv& env_;
    uint32_t before_;
};

// How the program names a map.
uint64_t handle_of(HelperEnv& env, Map& map) noexcept {
    return env.sandbox ? guest::handle_of_map(env, &map) : reinterpret_cast<uintptr_t>(&map);
}

// callback(map, key, value, ctx), the key being in `key`.
CallResult call_on(HelperEnv& env, Map& map, const Callable& callback, uint64_t handle,
                   const Scratch& key, std::byte* value, uint64_t ctx) noexcept {
    uint64_t value_address = reinterpret_cast<uintptr_t>(value);
    if (env.sandbox) value_address = guest::address_of_value(env, &map, value);
    if (env.trap != TrapCode::None) return {0, true};
    return callback.call(env, {handle, key.address(), value_address, ctx, 0});
}

struct Walk {
    HelperEnv& env;
    Map& map;
    const Callable& callback;
    uint64_t ctx;
    uint64_t handle;
    Scratch& key;
    int64_t calls = 0;
};

bool visit(void* context, const std::byte* key, std::byte* value) {
    Walk& walk = *static_cast<Walk*>(context);
    if (!walk.env.charge(1)) return false;
    std::memcpy(walk.key.data, key, walk.map.def().key_size);
    ++walk.calls;
    const CallResult result =
        call_on(walk.env, walk.map, walk.callback, walk.handle, walk.key, value, walk.ctx);
    return !result.trapped && walk.env.trap == TrapCode::None && result.r0 == 0;
}

struct Drain {
    HelperEnv& env;
    const Callable& callback;
    uint64_t ctx;
};

// One record, as a read-only dynptr over a private copy: the host may change the original.
long take(void* context, const std::byte* data, uint64_t size) {
    constexpr long kStop = 1;
    Drain& drain = *static_cast<Drain*>(context);
    if (!drain.env.charge(1 + size / 4096)) return kStop;
    Scratch memory(drain.env, sizeof(Dynptr) + size);
    if (memory.data == nullptr) return kStop;
    std::memcpy(memory.data + sizeof(Dynptr), data, size);
    store_dynptr(memory.data, {memory.address() + sizeof(Dynptr), static_cast<uint32_t>(size),
                               Dynptr::kReadOnly});
    const CallResult result =
        drain.callback.call(drain.env, {memory.address(), drain.ctx, 0, 0, 0});
    return result.trapped || drain.env.trap != TrapCode::None || result.r0 != 0 ? kStop : 0;
}

}  // namespace

CallResult call_with_entry(HelperEnv& env, Map& map, const Callable& callback,
                           std::byte* value) noexcept {
    const Scratch key(env, map.def().key_size);
    if (key.data == nullptr || !map.key_of(value, key.data)) return {0, true};
    return call_on(env, map, callback, handle_of(env, map), key, value, 0);
}

int64_t for_each_map_elem(HelperEnv& env, MapArg map, Callback<CallbackKind::ForEach> callback,
                          CallbackCtx ctx, uint64_t flags) noexcept {
    if (flags != 0) return kEinval;
    Scratch key(env, map->def().key_size);
    if (key.data == nullptr) return 0;
    Walk walk{env, *map.map, *callback.target, ctx.value, handle_of(env, *map.map), key};
    const int64_t result = map->for_each(&visit, &walk, env.caller());
    return result < 0 ? result : walk.calls;
}

int64_t user_ringbuf_drain(HelperEnv& env, MapArg ring,
                           Callback<CallbackKind::UserRingbuf> callback, CallbackCtx ctx,
                           uint64_t flags) noexcept {
    if (ring->def().type != MapType::UserRingbuf) {
        env.fail(TrapCode::BadArgument);
        return 0;
    }
    Drain drain{env, *callback.target, ctx.value};
    return ring->drain(&take, &drain, flags);
}

}  // namespace skep::helper
