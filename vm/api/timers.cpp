// Timers fire when the host says what time it is.
#include "maps/timers.hpp"

#include "helpers/iterate.hpp"
#include "vm/api/vm_state.hpp"
#include "vm/sync/slots.hpp"

namespace skep {

namespace {

// Stands for the program's code in the run of a callback: calls the function with its entry.
class TimerCode final : public Code {
public:
    TimerCode(const Timer& timer, const Timer::Firing& firing, const Callable& function)
        : timer_(timer), firing_(firing), function_(function) {}

    CallResult enter(HelperEnv& env, uint32_t, const uint64_t (&)[5]) const noexcept override {
        env.firing = &timer_;
        const CallResult result =
            helper::call_with_entry(env, *firing_.map, function_, firing_.value);
        env.firing = nullptr;
        return result;
    }

private:
    const Timer& timer_;
    const Timer::Firing& firing_;
    const Callable& function_;
};

const FunctionEntry* function_at(const ProgramBody& body, uint32_t slot) noexcept {
    for (const FunctionEntry& entry : body.image->functions) {
        if (entry.slot == slot) return &entry;
    }
    return nullptr;
}

}  // namespace

std::shared_ptr<const ProgramBody> VmState::program(uint32_t number) const {
    const std::lock_guard lock(mutex);
    const auto found = programs.find(number);
    return found == programs.end() ? nullptr : found->second.lock();
}

TimerRuns VmState::run_timers(uint64_t now) {
    TimerRuns runs;
    // What callbacks start now is for the next time.
    const uint64_t order = timers->next_order();
    for (;;) {
        const TimerWheel::Due due = timers->take(now, order);
        if (due.timer == nullptr) return runs;
        const auto firing = due.timer->fire(due.place);
        if (!firing) continue;
        // Timers of a program that was unloaded end with it.
        const auto body = program(firing->callback.program);
        const FunctionEntry* function =
            body != nullptr ? function_at(*body, firing->callback.slot) : nullptr;
        if (function == nullptr) continue;
        // Keeps the value, if it was still there when the section began.
        const sync::HostSection section;
        if (due.timer->retired()) continue;
        const TimerCode code(*due.timer, *firing, *function);
        const RunResult result = run_body(*this, *body, nullptr, nullptr, nullptr, &code);
        ++runs.fired;
        if (result.ok() || runs.trapped++ != 0) continue;
        runs.first_trap = result;
    }
}

}  // namespace skep
