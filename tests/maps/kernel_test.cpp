// The same random operations on a Skep map and on one of the running kernel, through bpf(2): every
// result, errno and value must agree. Skips where the kernel refuses. The seed is printed.
#include <algorithm>
#include <cstdlib>
#include <errno.h>
#include <fstream>
#include <linux/bpf.h>
#include <random>
#include <set>
#include <string>
#include <sys/syscall.h>
#include <unistd.h>

#include "map_fixture.hpp"
#include "maps/map_types.hpp"

namespace skep {
namespace {

using test::def_of;
using test::make;

using Bytes = std::vector<std::byte>;

unsigned kernel_cpus() {
    std::ifstream file("/sys/devices/system/cpu/possible");
    unsigned first = 0, last = 0;
    char dash = 0;
    if (!(file >> first)) return 1;
    return file >> dash >> last ? last + 1 : first + 1;
}

class KernelMap {
public:
    explicit KernelMap(const MapDef& def) {
        bpf_attr attr{};
        attr.map_type = static_cast<uint32_t>(def.type);
        attr.key_size = def.key_size;
        attr.value_size = def.value_size;
        attr.max_entries = def.max_entries;
        attr.map_flags = def.flags;
        attr.map_extra = def.map_extra;
        fd_ = static_cast<int>(call(BPF_MAP_CREATE, attr));
    }
    ~KernelMap() {
        if (fd_ >= 0) ::close(fd_);
    }
    KernelMap(const KernelMap&) = delete;
    KernelMap& operator=(const KernelMap&) = delete;

    int fd() const { return fd_; }  // or a negative errno

    long update(const std::byte* key, const std::byte* value, uint64_t flags) const {
        return element(BPF_MAP_UPDATE_ELEM, key, const_cast<std::byte*>(value), flags);
    }
    long lookup(const std::byte* key, std::byte* value, uint64_t flags) const {
        return element(BPF_MAP_LOOKUP_ELEM, key, value, flags);
    }
    long erase(const std::byte* key) const { return element(BPF_MAP_DELETE_ELEM, key, nullptr, 0); }
    long next(const std::byte* key, std::byte* following) const {
        return element(BPF_MAP_GET_NEXT_KEY, key, following, 0);
    }
    long pop(std::byte* value) const {
        return element(BPF_MAP_LOOKUP_AND_DELETE_ELEM, nullptr, value, 0);
    }
    long freeze() const {
        bpf_attr attr{};
        attr.map_fd = static_cast<uint32_t>(fd_);
        return call(BPF_MAP_FREEZE, attr);
    }

private:
    static long call(int command, bpf_attr& attr) {
        const long result = ::syscall(SYS_bpf, command, &attr, sizeof(attr));
        return result < 0 ? -errno : result;
    }
    long element(int command, const std::byte* key, std::byte* value, uint64_t flags) const {
        bpf_attr attr{};
        attr.map_fd = static_cast<uint32_t>(fd_);
        attr.key = reinterpret_cast<uintptr_t>(key);
        attr.value = reinterpret_cast<uintptr_t>(value);
        attr.flags = flags;
        return call(command, attr);
    }

    int fd_ = -1;
};

uint64_t seed() {
    if (const char* text = std::getenv("SKEP_SEED")) return std::strtoull(text, nullptr, 0);
    return std::random_device{}();
}

// Keys from a small set, so that operations meet; for arrays some beyond the end.
Bytes random_key(const MapDef& def, std::mt19937_64& random) {
    Bytes key(def.key_size, std::byte{0x5a});
    if (def.type == MapType::LpmTrie) {
        // Few different bits, so that prefixes nest; some prefix lengths are too large.
        const auto bits = static_cast<uint32_t>(random() % (8 * (def.key_size - 4) + 2));
        std::memcpy(key.data(), &bits, 4);
        for (size_t i = 4; i < key.size(); ++i) key[i] = std::byte(random() % 4 * 0x41);
        return key;
    }
    // Linux's LRU maps evict long before they are full: those here never come near it.
    const bool lru = def.type == MapType::LruHash || def.type == MapType::LruPercpuHash;
    const uint64_t n = random() % (lru ? 40 : def.max_entries + def.max_entries / 2 + 2);
    std::memcpy(key.data(), &n, std::min<size_t>(key.size(), 4));
    return key;
}

uint64_t random_flags(std::mt19937_64& random) {
    constexpr uint64_t kFlags[] = {0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 8, uint64_t{1} << 40};
    return kFlags[random() % std::size(kFlags)];
}

// The kernel has other CPUs than we have slots: compare the first, require the rest to be alike.
struct Values {
    Bytes ours, kernels;
    bool agree(const MapDef& def, bool percpu, unsigned cpus) const {
        const size_t n = def.value_size;
        if (!percpu)
            return std::equal(ours.begin(), ours.begin() + static_cast<long>(n), kernels.begin());
        const size_t stride = (n + 7) / 8 * 8;
        const unsigned common = std::min(cpus, cpu_slots());
        return std::equal(ours.begin(), ours.begin() + static_cast<long>(common * stride),
                          kernels.begin());
    }
};

// With SKEP_LONG ten million in all.
int steps() { return std::getenv("SKEP_LONG") != nullptr ? 420'000 : 3000; }

class Differential : public testing::TestWithParam<MapDef> {};

TEST_P(Differential, AgreesWithTheKernel) {
    const MapDef& def = GetParam();
    const KernelMap kernel(def);
    if (kernel.fd() < 0) GTEST_SKIP() << "the kernel refuses: errno " << -kernel.fd();
    const auto map = make(def);
    ASSERT_NE(map, nullptr);
    const uint64_t start = seed();
    SCOPED_TRACE("SKEP_SEED=" + std::to_string(start));
    std::mt19937_64 random(start);
    const unsigned cpus = kernel_cpus();
    const bool percpu = map_type_info(def.type)->has(map_ops::kPercpu);
    const size_t size =
        std::max<size_t>(map->host_value_size(), 8ull * cpus * ((def.value_size + 7) / 8));
    for (int step = 0, end = steps(); step < end; ++step) {
        const Bytes key = random_key(def, random);
        Values values{Bytes(size), Bytes(size)};
        SCOPED_TRACE("step " + std::to_string(step));
        switch (random() % 8) {
            case 0:
            case 1:
            case 2: {
                std::ranges::generate(values.ours, [&] { return std::byte(random()); });
                const uint64_t flags = random_flags(random);
                ASSERT_EQ(map->host_update(key.data(), values.ours, flags),
                          kernel.update(key.data(), values.ours.data(), flags))
                    << "update, flags " << flags;
                break;
            }
            case 3:
                ASSERT_EQ(map->host_erase(key.data()), kernel.erase(key.data())) << "delete";
                break;
            case 4: {
                Bytes ours(def.key_size), kernels(def.key_size);
                const long result = map->next_key(key.data(), ours.data());
                // Hashes differ in order; arrays count, tries go from long to short.
                if (def.type == MapType::Array || def.type == MapType::PercpuArray ||
                    def.type == MapType::LpmTrie) {
                    ASSERT_EQ(result, kernel.next(key.data(), kernels.data())) << "next key";
                    if (result == 0) {
                        ASSERT_EQ(ours, kernels);
                    }
                } else if (result != 0) {
                    ASSERT_EQ(result == -EPERM, kernel.next(key.data(), kernels.data()) == -EPERM);
                } else {
                    ASSERT_EQ(kernel.lookup(ours.data(), values.kernels.data(), 0), 0);
                }
                break;
            }
            default: {
                const uint64_t flags = random() % 8 == 0 ? random_flags(random) : 0;
                const long result = map->host_lookup(key.data(), values.ours, flags);
                ASSERT_EQ(result, kernel.lookup(key.data(), values.kernels.data(), flags))
                    << "lookup, flags " << flags;
                if (result == 0) {
                    ASSERT_TRUE(values.agree(def, percpu, cpus)) << "value";
                }
            }
        }
    }
    const auto keys = [&](auto next) {
        std::set<Bytes> found;
        Bytes key(def.key_size), following(def.key_size);
        for (long r = next(nullptr, following.data()); r == 0;
             r = next(key.data(), following.data())) {
            key = following;
            EXPECT_TRUE(found.insert(key).second) << "a key came twice";
        }
        return found;
    };
    EXPECT_EQ(keys([&](const std::byte* k, std::byte* n) { return map->next_key(k, n); }),
              keys([&](const std::byte* k, std::byte* n) { return kernel.next(k, n); }));
    EXPECT_EQ(map->freeze(), kernel.freeze());
    EXPECT_EQ(map->freeze(), kernel.freeze());
    const Bytes key(def.key_size), value(size);
    EXPECT_EQ(map->host_update(key.data(), value, 0), kernel.update(key.data(), value.data(), 0));
    EXPECT_EQ(map->host_erase(key.data()), kernel.erase(key.data()));
}

std::string name_of_case(const testing::TestParamInfo<MapDef>& info) {
    return std::string(map_type_info(info.param.type)->name) + "_" +
           std::to_string(info.param.key_size) + "_" + std::to_string(info.param.value_size) + "_" +
           std::to_string(info.param.max_entries) + "_" + std::to_string(info.param.flags);
}

INSTANTIATE_TEST_SUITE_P(
    Tables, Differential,
    testing::Values(def_of(MapType::Array, 4, 8, 10), def_of(MapType::Array, 4, 3, 1),
                    def_of(MapType::Array, 4, 40, 100, map_flags::kMmapable),
                    def_of(MapType::PercpuArray, 4, 8, 10), def_of(MapType::PercpuArray, 4, 13, 3),
                    def_of(MapType::Hash, 4, 8, 10), def_of(MapType::Hash, 8, 100, 50),
                    def_of(MapType::Hash, 16, 4, 200), def_of(MapType::Hash, 7, 1, 5),
                    def_of(MapType::Hash, 40, 9, 30, map_flags::kNoPrealloc),
                    def_of(MapType::Hash, 4, 8, 1, map_flags::kZeroSeed),
                    def_of(MapType::Hash, 4, 8, 8, map_flags::kRdonly),
                    def_of(MapType::Hash, 4, 8, 8, map_flags::kWronly),
                    def_of(MapType::Hash, 4, 8, 8, map_flags::kRdonlyProg),
                    def_of(MapType::LruHash, 4, 8, 8192), def_of(MapType::LruHash, 24, 64, 8192),
                    def_of(MapType::LruPercpuHash, 8, 8, 8192),
                    def_of(MapType::PercpuHash, 4, 8, 10), def_of(MapType::PercpuHash, 12, 12, 40),
                    def_of(MapType::LpmTrie, 8, 8, 20, map_flags::kNoPrealloc),
                    def_of(MapType::LpmTrie, 6, 3, 200, map_flags::kNoPrealloc),
                    def_of(MapType::LpmTrie, 20, 4, 50, map_flags::kNoPrealloc)),
    name_of_case);

class DifferentialQueue : public testing::TestWithParam<MapDef> {};

TEST_P(DifferentialQueue, AgreesWithTheKernel) {
    const MapDef& def = GetParam();
    const KernelMap kernel(def);
    if (kernel.fd() < 0) GTEST_SKIP() << "the kernel refuses: errno " << -kernel.fd();
    const auto map = make(def);
    const uint64_t start = seed();
    SCOPED_TRACE("SKEP_SEED=" + std::to_string(start));
    std::mt19937_64 random(start);
    for (int step = 0, end = steps(); step < end; ++step) {
        SCOPED_TRACE("step " + std::to_string(step));
        Bytes ours(def.value_size), kernels(def.value_size);
        switch (random() % 5) {
            case 0:
            case 1: {
                std::ranges::generate(ours, [&] { return std::byte(random()); });
                const uint64_t flags = random_flags(random);
                ASSERT_EQ(map->host_update(nullptr, ours, flags),
                          kernel.update(nullptr, ours.data(), flags))
                    << "push, flags " << flags;
                break;
            }
            case 2:
                ASSERT_EQ(map->host_pop(ours), kernel.pop(kernels.data()));
                ASSERT_EQ(ours, kernels);
                break;
            default:
                ASSERT_EQ(map->host_lookup(nullptr, ours, 0),
                          kernel.lookup(nullptr, kernels.data(), 0));
                ASSERT_EQ(ours, kernels);
        }
    }
    EXPECT_EQ(map->host_erase(nullptr), kernel.erase(nullptr));
    Bytes key(8);
    EXPECT_EQ(map->next_key(nullptr, key.data()), kernel.next(nullptr, key.data()));
}

INSTANTIATE_TEST_SUITE_P(Queues, DifferentialQueue,
                         testing::Values(def_of(MapType::Queue, 0, 8, 5),
                                         def_of(MapType::Queue, 0, 3, 1),
                                         def_of(MapType::Stack, 0, 8, 5),
                                         def_of(MapType::Stack, 0, 13, 2)),
                         name_of_case);

// Which definitions can be created at all.
TEST(DifferentialCreate, AgreesOnWhatIsRefused) {
    if (KernelMap(def_of(MapType::Hash, 4, 4, 1)).fd() < 0) {
        GTEST_SKIP() << "bpf(2) is refused here";
    }
    const uint64_t start = seed();
    SCOPED_TRACE("SKEP_SEED=" + std::to_string(start));
    std::mt19937_64 random(start);
    constexpr MapType kTypes[] = {MapType::Hash,
                                  MapType::Array,
                                  MapType::PercpuHash,
                                  MapType::PercpuArray,
                                  MapType::LruHash,
                                  MapType::LruPercpuHash,
                                  MapType::LpmTrie,
                                  MapType::Queue,
                                  MapType::Stack,
                                  MapType::BloomFilter,
                                  MapType::StackTrace,
                                  MapType::ProgArray,
                                  MapType::PerfEventArray,
                                  MapType::CgroupArray,
                                  MapType::Ringbuf,
                                  MapType::UserRingbuf,
                                  MapType::Devmap,
                                  MapType::DevmapHash,
                                  MapType::Cpumap,
                                  MapType::Xskmap,
                                  MapType::Sockmap,
                                  MapType::Sockhash,
                                  MapType::ReuseportSockarray};
    constexpr uint32_t kSizes[] = {0, 1, 4, 4, 4, 8, 16, 32768, 32769};
    for (int step = 0; step < 800; ++step) {
        MapDef def =
            def_of(kTypes[random() % std::size(kTypes)], kSizes[random() % std::size(kSizes)],
                   kSizes[random() % std::size(kSizes)], random() % 8 == 0 ? 4096 : random() % 3);
        if (random() % 2 == 0) def.flags = 1u << random() % 14;
        // NUMA nodes are the kernel's own; BPF_F_CLONE etc. are compared as refused.
        def.flags &= ~map_flags::kNumaNode;
        // How many CPUs a kernel is built for differs.
        if (def.type == MapType::Cpumap) def.max_entries %= 4;
        const KernelMap kernel(def);
        const auto map = create_map(def);
        EXPECT_EQ(map.has_value(), kernel.fd() >= 0)
            << map_type_info(def.type)->name << " key " << def.key_size << " value "
            << def.value_size << " entries " << def.max_entries << " flags " << def.flags
            << ": kernel " << kernel.fd() << ", skep "
            << (map ? "accepts" : map.error().to_string());
    }
}

}  // namespace
}  // namespace skep
