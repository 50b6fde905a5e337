// The pool's hash table: open addressing over indices, at most half full.
#include "verifier/pool.hpp"

#include <bit>
#include <cstring>

namespace skep {

// Other components follow from these two so often that hashing them adds little.
uint64_t ScalarPool::hash(const Scalar& s) {
    uint64_t h = hash(s.bits.value ^ std::rotl(s.bits.mask, 21));
    h = hash(h ^ s.umin ^ std::rotl(s.umax, 32));
    h = hash(h ^ static_cast<uint64_t>(s.smin) ^ std::rotl(static_cast<uint64_t>(s.smax), 43));
    return hash(
        h ^ (uint64_t{s.u32_min} << 32 | s.u32_max) ^
        (uint64_t{static_cast<uint32_t>(s.s32_max)} << 32 | static_cast<uint32_t>(s.s32_min)) * 31);
}

void ScalarPool::clear() {
    chunks_.clear();
    size_ = 0;
    slots_.assign(1024, 0);
    constants_.assign(kConstants, 0);
    results_.assign(kMemos, {});
    refined_.assign(kRefineMemos, {});
    insert(Scalar::bottom());
    insert(Scalar::unknown());
}

uint32_t ScalarPool::insert(const Scalar& s) {
    const size_t mask = slots_.size() - 1;
    for (size_t i = hash(s) & mask;; i = (i + 1) & mask) {
        if (slots_[i] == 0) {
            if ((size_ & (kChunkSize - 1)) == 0)
                chunks_.push_back(std::make_unique<Scalar[]>(kChunkSize));
            const uint32_t index = size_++;
            chunks_.back()[index & (kChunkSize - 1)] = s;
            slots_[i] = index + 1;
            if (size_ * size_t{2} > slots_.size()) grow();
            return index;
        }
        if ((*this)[slots_[i] - 1] == s) return slots_[i] - 1;
    }
}

void ScalarPool::grow() {
    std::vector<uint32_t> wider(slots_.size() * 2, 0);
    const size_t mask = wider.size() - 1;
    for (uint32_t index = 0; index < size_; ++index) {
        size_t i = hash((*this)[index]) & mask;
        while (wider[i] != 0) i = (i + 1) & mask;
        wider[i] = index + 1;
    }
    slots_ = std::move(wider);
}

}  // namespace skep
