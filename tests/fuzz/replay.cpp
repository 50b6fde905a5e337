// A fuzz target without libFuzzer: its seeds and simple mutations of them.
//
//   fuzz_X_replay               seeds, then mutations for about two seconds (at most 20,000)
//   fuzz_X_replay --write DIR   writes the seeds as a corpus for libFuzzer
//   fuzz_X_replay FILE...       these inputs, to reproduce a finding
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.hpp"
#include "tests/support/random.hpp"

namespace {

using Input = std::vector<uint8_t>;

void mutate(Input& input, skep::test::Random& random) {
    const uint32_t rounds = 1 + random.below(4);
    for (uint32_t i = 0; i < rounds && !input.empty(); ++i) {
        const uint32_t at = random.below(static_cast<uint32_t>(input.size()));
        switch (random.below(5)) {
            case 0: input[at] = static_cast<uint8_t>(random.next()); break;
            case 1: input[at] ^= static_cast<uint8_t>(1u << random.below(8)); break;
            case 2: input[at] = random.chance(50) ? 0xff : 0; break;
            case 3: input.resize(at); break;
            default: {
                const uint32_t from = random.below(static_cast<uint32_t>(input.size()));
                const size_t length = std::min<size_t>(8, input.size() - std::max(at, from));
                std::memmove(input.data() + at, input.data() + from, length);
            }
        }
    }
}

void run_mutations(const std::vector<Input>& seeds) {
    const uint64_t seed = skep::test::seed_or(1);
    std::printf("%zu seeds; mutations with SKEP_SEED=%llu\n", seeds.size(),
                static_cast<unsigned long long>(seed));
    skep::test::Random random(seed);
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    size_t count = 0;
    for (; count < 20'000 && std::chrono::steady_clock::now() < end; ++count) {
        Input input = seeds[random.below(static_cast<uint32_t>(seeds.size()))];
        mutate(input, random);
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    std::printf("%zu mutations passed\n", count);
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<Input> seeds;
    skep::test::fuzz_seeds(
        [&](std::span<const uint8_t> s) { seeds.emplace_back(s.begin(), s.end()); });
    if (argc == 3 && std::string(argv[1]) == "--write") {
        std::filesystem::create_directories(argv[2]);
        for (size_t i = 0; i < seeds.size(); ++i) {
            std::ofstream file(std::filesystem::path(argv[2]) / std::to_string(i),
                               std::ios::binary);
            file.write(reinterpret_cast<const char*>(seeds[i].data()),
                       static_cast<std::streamsize>(seeds[i].size()));
        }
        return 0;
    }
    for (int i = 1; i < argc; ++i) {
        std::ifstream file(argv[i], std::ios::binary);
        const Input input{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        LLVMFuzzerTestOneInput(input.data(), input.size());
    }
    if (argc > 1) return 0;
    for (const Input& seed : seeds) LLVMFuzzerTestOneInput(seed.data(), seed.size());
    if (!seeds.empty()) run_mutations(seeds);
    return 0;
}
