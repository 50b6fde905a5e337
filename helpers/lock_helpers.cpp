// bpf_spin_lock and bpf_res_spin_lock in map values and objects.
//
// The word in the value is not the lock, since a sandboxed program can write it: the lock is the
// map's own (maps/value_lock.hpp), the same that BPF_F_LOCK takes, or one of the table below.
// Waiting costs fuel, so that no lock can hold a run up for ever; the ledger frees it however the
// run ends.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "helpers/impl.hpp"
#include "helpers/kfunc_impl.hpp"
#include "maps/object_heap.hpp"
#include "maps/table.hpp"
#include "maps/value_lock.hpp"
#include "maps/value_objects.hpp"

namespace skep {

namespace {

constexpr uint32_t kRoundsPerUnit = 64;

// The locks of objects that lie in no map's value, and all resilient locks.
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
// an address in no map is an object's; elsewhere it must lie among allocated objects.
Place place_of(HelperEnv& env, std::byte* field) noexcept {
    if (const auto object = find_value_object(env.maps, field, FieldKind::SpinLock)) {
        return {object->map->locks(), object->value};
    }
    const bool in_heap = env.heap != nullptr && env.heap->contains(field);
    if (!env.sandbox || in_heap) return {&locks_of_objects(), field};
    env.fail(TrapCode::BadArgument);
    return {};
}

void unlock(void* locks, uint32_t stripe, HelperEnv& env) noexcept {
    static_cast<ValueLocks*>(locks)->unlock_stripe(stripe, env.cpu);
}

// Takes the lock and writes it into the ledger. 0; -EDEADLK: this CPU has it already; -ETIMEDOUT:
// not to be had in `rounds`, or the run was stopped (env.trap).
int32_t take(HelperEnv& env, const Place& place, uint64_t rounds) noexcept {
    sync::Backoff backoff;
    for (uint64_t round = 1;; ++round) {
        const long result = place.locks->try_lock(place.value, env.cpu);
        if (result == 0) break;
        if (result == -EDEADLK) return -EDEADLK;
        if (round == rounds) return -ETIMEDOUT;
        if (round % kRoundsPerUnit == 0 && !env.charge(1)) return -ETIMEDOUT;
        backoff.wait();
    }
    const LedgerEntry entry{.what = LedgerEntry::What::SpinLock,
                            .id = ValueLocks::stripe_of(place.value),
                            .object = place.locks,
                            .release = &unlock,
                            .data = place.value};
    if (env.hold(entry)) return 0;
    entry.release(entry.object, entry.id, env);
    return -ETIMEDOUT;
}

// Frees a lock that the run holds; one that it does not hold ends the run.
void give_back(HelperEnv& env, const Place& place) noexcept {
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

}  // namespace

namespace helper {

// Linux lets a program hold one lock at a time.
void spin_lock(HelperEnv& env, SpinLockArg lock) noexcept {
    const bool holds_one = std::any_of(
        env.ledger, env.ledger + env.ledger_count,
        [](const LedgerEntry& entry) { return entry.what == LedgerEntry::What::SpinLock; });
    if (holds_one) return env.fail(TrapCode::Protocol);
    const Place place = place_of(env, lock.field);
    if (place.locks == nullptr) return env.fail(TrapCode::BadArgument);
    // -EDEADLK: a run of this CPU that this one interrupted holds it.
    if (take(env, place, UINT64_MAX) == -EDEADLK) env.fail(TrapCode::Protocol);
}

void spin_unlock(HelperEnv& env, SpinLockArg lock) noexcept {
    give_back(env, place_of(env, lock.field));
}

}  // namespace helper

// Resilient spin locks: taking one may be refused. Several may be held; one that the run holds
// itself is a deadlock, one that is not to be had in time is taken for one. Two that share a lock
// of the table look like one to who wants both.
namespace kfunc {

namespace {

constexpr uint64_t kMaxRounds = 1u << 16;

Place resilient(SpinLockArg lock) noexcept { return {&locks_of_objects(), lock.field}; }

}  // namespace

int32_t bpf_res_spin_lock(HelperEnv& env, SpinLockArg lock) noexcept {
    return take(env, resilient(lock), kMaxRounds);
}

void bpf_res_spin_unlock(HelperEnv& env, SpinLockArg lock) noexcept {
    give_back(env, resilient(lock));
}

int32_t bpf_res_spin_lock_irqsave(HelperEnv& env, SpinLockArg lock, StackObject<8> flags) noexcept {
    std::memset(flags.data, 0, 8);
    return bpf_res_spin_lock(env, lock);
}

void bpf_res_spin_unlock_irqrestore(HelperEnv& env, SpinLockArg lock, StackObject<8>) noexcept {
    give_back(env, resilient(lock));
}

}  // namespace kfunc

}  // namespace skep
