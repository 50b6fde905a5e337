// bpf_spin_lock in map values.
//
// The word in the value is not the lock, since a sandboxed program can write it: the lock is the
// map's own (maps/value_lock.hpp), the same that BPF_F_LOCK takes. Waiting costs fuel, so that no
// lock can hold a run up for ever; the ledger frees it however the run ends.
#include <algorithm>
#include <cerrno>

#include "helpers/impl.hpp"
#include "maps/table.hpp"
#include "maps/value_lock.hpp"
#include "maps/value_objects.hpp"

namespace skep::helper {

namespace {

constexpr uint32_t kRoundsPerUnit = 64;

// The locks of objects that lie in no map's value: those that a program allocated.
ValueLocks& locks_of_objects() noexcept {
    static ValueLocks locks;
    return locks;
}

// A lock, and what it is called there.
struct Place {
    ValueLocks* locks = nullptr;
    std::byte* value = nullptr;
};

// Null (and a trap) for an address that is no lock's. Where the verifier has proven that it is one,
// an address in no map is an object's.
Place place_of(HelperEnv& env, std::byte* field) noexcept {
    if (const auto object = find_value_object(env.maps, field, FieldKind::SpinLock)) {
        return {object->map->locks(), object->value};
    }
    if (!env.sandbox) return {&locks_of_objects(), field};
    env.fail(TrapCode::BadArgument);
    return {};
}

void unlock(void* locks, uint32_t stripe, HelperEnv& env) noexcept {
    static_cast<ValueLocks*>(locks)->unlock_stripe(stripe, env.cpu);
}

}  // namespace

// Linux lets a program hold one lock at a time.
void spin_lock(HelperEnv& env, SpinLockArg lock) noexcept {
    const bool holds_one = std::any_of(
        env.ledger, env.ledger + env.ledger_count,
        [](const LedgerEntry& entry) { return entry.what == LedgerEntry::What::SpinLock; });
    if (holds_one) return env.fail(TrapCode::Protocol);
    const Place place = place_of(env, lock.field);
    if (place.locks == nullptr) return env.fail(TrapCode::BadArgument);
    sync::Backoff backoff;
    for (uint32_t round = 1;; ++round) {
        const long result = place.locks->try_lock(place.value, env.cpu);
        if (result == 0) break;
        // A run of this CPU that this one interrupted holds it.
        if (result == -EDEADLK) return env.fail(TrapCode::Protocol);
        if (round % kRoundsPerUnit == 0 && !env.charge(1)) return;
        backoff.wait();
    }
    const LedgerEntry entry{.what = LedgerEntry::What::SpinLock,
                            .id = ValueLocks::stripe_of(place.value),
                            .object = place.locks,
                            .release = &unlock,
                            .data = place.value};
    if (!env.hold(entry)) entry.release(entry.object, entry.id, env);
}

void spin_unlock(HelperEnv& env, SpinLockArg lock) noexcept {
    const Place place = place_of(env, lock.field);
    for (uint32_t i = env.ledger_count; i-- > 0;) {
        const LedgerEntry& entry = env.ledger[i];
        if (entry.what != LedgerEntry::What::SpinLock || entry.object != place.locks ||
            entry.data != place.value)
            continue;
        entry.release(entry.object, entry.id, env);
        std::copy(env.ledger + i + 1, env.ledger + env.ledger_count, env.ledger + i);
        --env.ledger_count;
        return;
    }
    env.fail(TrapCode::Protocol);
}

}  // namespace skep::helper
