// Helpers that move control: tail calls, loops and other callbacks.
#include <skep/map.hpp>

#include "helpers/impl.hpp"
#include "vm/isa/insn.hpp"

namespace skep::helper {

// Finds the target; the engine goes there when this returns with env.tail_target set. Linux's
// rules: an index out of range, an empty slot and the 34th tail call fall through.
void tail_call(HelperEnv& env, CtxArg, MapArg prog_array, uint32_t index) noexcept {
    if (prog_array->def().type != MapType::ProgArray) {
        env.fail(TrapCode::BadArgument);
        return;
    }
    if (index >= prog_array->def().max_entries || env.tail_calls >= kMaxTailCalls) return;
    if (env.find_program == nullptr) return;
    const TailTarget* target = env.find_program(env, *prog_array.map, index);
    if (target == nullptr) return;
    ++env.tail_calls;
    env.tail_target = target;
}

int64_t loop(HelperEnv& env, uint32_t count, Callback<CallbackKind::Loop> callback, CallbackCtx ctx,
             uint64_t flags) noexcept {
    constexpr uint32_t kMaxRounds = 1u << 23;
    if (flags != 0) return kEinval;
    if (count > kMaxRounds) return kE2big;
    for (uint32_t i = 0; i < count; ++i) {
        if (!env.charge(1)) return 0;
        const CallResult result = callback.target->call(env, {i, ctx.value, 0, 0, 0});
        if (result.trapped) return 0;
        if (result.r0 != 0) return int64_t{i} + 1;
    }
    return count;
}

}  // namespace skep::helper
