// Random operations against std::map. The seed is printed; SKEP_SEED repeats a run.
#include <cerrno>
#include <cstdlib>
#include <map>
#include <random>

#include "map_fixture.hpp"

namespace skep {
namespace {

using test::bytes;
using test::def_of;
using test::make;
using test::RunScope;

uint64_t seed() {
    if (const char* text = std::getenv("SKEP_SEED")) return std::strtoull(text, nullptr, 0);
    return std::random_device{}();
}

class Model : public testing::TestWithParam<std::tuple<MapType, uint32_t, uint32_t>> {};

TEST_P(Model, AgreesOnEveryOperation) {
    const auto [type, key_size, capacity] = GetParam();
    const uint64_t start = seed();
    SCOPED_TRACE("SKEP_SEED=" + std::to_string(start));
    std::mt19937_64 random(start);
    const auto map = make(def_of(type, key_size, 8, capacity));
    std::map<std::vector<std::byte>, uint64_t> model;
    const RunScope run;
    const bool lru = type == MapType::LruHash || type == MapType::LruPercpuHash;
    for (int step = 0; step < 20000; ++step) {
        std::vector<std::byte> key(key_size);
        const uint64_t n = random() % (2 * capacity);
        std::memcpy(key.data(), &n, std::min<size_t>(8, key_size));
        const auto found = model.find(key);
        const uint64_t value = random();
        switch (random() % 4) {
            case 0: {
                const uint64_t flags = random() % 3;
                const long result = map->update(key.data(), bytes(value), flags, run.caller());
                long expected = 0;
                if (found != model.end()) {
                    expected = flags == map_flags::kNoExist ? -EEXIST : 0;
                } else if (flags == map_flags::kExist) {
                    expected = -ENOENT;
                } else if (model.size() == capacity && !lru) {
                    expected = -E2BIG;
                }
                ASSERT_EQ(result, expected) << "step " << step;
                if (result == 0) model[key] = value;
                break;
            }
            case 1: {
                ASSERT_EQ(map->erase(key.data(), run.caller()), found == model.end() ? -ENOENT : 0);
                model.erase(key);
                break;
            }
            default: {
                const std::byte* got = map->lookup(key.data(), run.caller());
                ASSERT_EQ(got != nullptr, found != model.end()) << "step " << step;
                if (got != nullptr) {
                    ASSERT_EQ(std::memcmp(got, &found->second, 8), 0);
                }
            }
        }
        // An LRU map chooses its victim itself: find out which.
        if (lru && model.size() > capacity) {
            std::erase_if(model, [&](const auto& entry) {
                return map->lookup(entry.first.data(), run.caller()) == nullptr;
            });
            ASSERT_EQ(model.size(), capacity);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Hash, Model,
                         testing::Combine(testing::Values(MapType::Hash, MapType::PercpuHash,
                                                          MapType::LruHash, MapType::LruPercpuHash),
                                          testing::Values(4u, 8u, 13u, 16u, 40u),
                                          testing::Values(1u, 7u, 60u)));
INSTANTIATE_TEST_SUITE_P(Large, Model,
                         testing::Combine(testing::Values(MapType::Hash),
                                          testing::Values(4u, 8u, 13u, 16u, 40u),
                                          testing::Values(3000u)));

}  // namespace
}  // namespace skep
