// bpf_spin_lock and bpf_res_spin_lock in map values.
//
// The word is 0 when free and 1 when taken. It lies in memory that a sandboxed program can write:
// one that does breaks its own exclusion and nothing else. Waiting costs fuel, so that no lock can
// hold a run up for ever; the ledger frees it however the run ends.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <sched.h>

#include "helpers/impl.hpp"
#include "helpers/kfunc_impl.hpp"

namespace skep::helper {

namespace {

constexpr uint32_t kSpinsPerUnit = 1024;

std::atomic_ref<uint32_t> word_of(void* field) {
    return std::atomic_ref<uint32_t>(*static_cast<uint32_t*>(field));
}

void unlock(void* field, uint32_t, HelperEnv&) noexcept {
    word_of(field).store(0, std::memory_order_release);
}

// Frees a lock that the run holds.
void give_back(HelperEnv& env, void* field) noexcept {
    for (uint32_t i = env.ledger_count; i-- > 0;) {
        const LedgerEntry& entry = env.ledger[i];
        if (entry.what != LedgerEntry::What::SpinLock || entry.object != field) continue;
        unlock(field, 0, env);
        std::copy(env.ledger + i + 1, env.ledger + env.ledger_count, env.ledger + i);
        --env.ledger_count;
        return;
    }
    env.fail(TrapCode::Protocol);
}

}  // namespace

// Linux lets a program hold one lock at a time.
void spin_lock(HelperEnv& env, SpinLockArg lock) noexcept {
    const bool aligned = reinterpret_cast<uintptr_t>(lock.field) % alignof(uint32_t) == 0;
    const bool holds_one = std::any_of(
        env.ledger, env.ledger + env.ledger_count,
        [](const LedgerEntry& entry) { return entry.what == LedgerEntry::What::SpinLock; });
    if (!aligned || holds_one) {
        env.fail(TrapCode::Protocol);
        return;
    }
    for (uint32_t spins = 1; word_of(lock.field).exchange(1, std::memory_order_acquire) != 0;
         ++spins) {
        if (spins % kSpinsPerUnit != 0) continue;
        if (!env.charge(1)) return;
        sched_yield();
    }
    if (!env.hold(
            {.what = LedgerEntry::What::SpinLock, .object = lock.field, .release = &unlock})) {
        unlock(lock.field, 0, env);
    }
}

void spin_unlock(HelperEnv& env, SpinLockArg lock) noexcept { give_back(env, lock.field); }

}  // namespace skep::helper

// Resilient spin locks: taking one may be refused. Several may be held; one that the run holds
// itself is a deadlock, one that is not to be had in time is taken for one.
namespace skep::kfunc {

namespace {

constexpr int32_t kEdeadlk = -35, kEtimedout = -110;
constexpr uint32_t kMaxSpins = 1u << 16;

}  // namespace

int32_t bpf_res_spin_lock(HelperEnv& env, SpinLockArg lock) noexcept {
    using helper::word_of;
    if (reinterpret_cast<uintptr_t>(lock.field) % alignof(uint32_t) != 0) {
        env.fail(TrapCode::Protocol);
        return 0;
    }
    const bool held =
        std::any_of(env.ledger, env.ledger + env.ledger_count, [&](const LedgerEntry& entry) {
            return entry.what == LedgerEntry::What::SpinLock && entry.object == lock.field;
        });
    if (held) return kEdeadlk;
    for (uint32_t spins = 1; word_of(lock.field).exchange(1, std::memory_order_acquire) != 0;
         ++spins) {
        if (spins == kMaxSpins) return kEtimedout;
        if (spins % helper::kSpinsPerUnit != 0) continue;
        if (!env.charge(1)) return kEtimedout;
        sched_yield();
    }
    if (env.hold({.what = LedgerEntry::What::SpinLock,
                  .object = lock.field,
                  .release = &helper::unlock}))
        return 0;
    helper::unlock(lock.field, 0, env);
    return kEtimedout;
}

void bpf_res_spin_unlock(HelperEnv& env, SpinLockArg lock) noexcept {
    helper::give_back(env, lock.field);
}

int32_t bpf_res_spin_lock_irqsave(HelperEnv& env, SpinLockArg lock, StackObject<8> flags) noexcept {
    std::memset(flags.data, 0, 8);
    return bpf_res_spin_lock(env, lock);
}

void bpf_res_spin_unlock_irqrestore(HelperEnv& env, SpinLockArg lock, StackObject<8>) noexcept {
    helper::give_back(env, lock.field);
}

}  // namespace skep::kfunc
