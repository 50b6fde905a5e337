// Objects that hosts took out of a map, kept alive for the runs that may still use them.
//
// For the rare and large: programs, inner maps. Whoever buries sweeps too; what is left goes with
// the graveyard itself, whose owner outlives every run that uses it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "vm/sync/epoch.hpp"

namespace skep::sync {

class Graveyard {
public:
    // Call after the unlinking store. May destroy what was buried earlier, never under its lock.
    void bury(std::shared_ptr<const void> object) {
        if (object == nullptr) return;
        const unsigned nobody = slot_count();
        if (alone(nobody)) return;
        std::vector<std::shared_ptr<const void>> dead;  // outlives the lock
        const std::scoped_lock lock(lock_);
        buried_.push_back({stamp(), std::move(object)});
        const uint64_t below = reusable_below(nobody, buried_.front().stamp);
        while (!buried_.empty() && buried_.front().stamp < below) {
            dead.push_back(std::move(buried_.front().object));
            buried_.pop_front();
        }
    }

    size_t waiting() const {
        const std::scoped_lock lock(lock_);
        return buried_.size();
    }

private:
    struct Grave {
        uint64_t stamp = 0;
        std::shared_ptr<const void> object;
    };
    mutable std::mutex lock_;
    std::deque<Grave> buried_;
};

}  // namespace skep::sync
