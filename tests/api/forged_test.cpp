// Forged objects: sandboxed programs that scribble over everything that they can reach - values
// with locks, timers and kptrs in them, their stack with dynptrs on it, records that they reserved
// - and hand the results to helpers. Whatever they do ends in a result or a trap; afterwards
// nothing is held, the maps work, and no memory that a program can read has an address of the
// host's in it.
//
// SKEP_LONG=1 makes a million runs.
#include <array>
#include <cstdlib>
#include <random>

#include "tests/api/vm_fixture.hpp"
#include "tests/support/random.hpp"
#include "vm/isa/insn.hpp"

namespace skep::test {
namespace {

constexpr uint32_t kValueSize = 64;
constexpr unsigned kRunsPerProgram = 20;

// Locks, timers and kptrs where programs may also write plain bytes.
MapDef object_map(MapType type) {
    MapDef def = map_def(type == MapType::Hash ? "hash" : "array", type, 4, kValueSize, 4);
    def.fields = {{FieldKind::SpinLock, 0, 4, 0},
                  {FieldKind::Timer, 8, 16, 0},
                  {FieldKind::KptrRef, 24, 8, 0}};
    return def;
}

// Registers of the program: r6 = a value, r7 = what the last helper returned, r8 = random number,
// r9 = context.
class ForgedProgram {
public:
    explicit ForgedProgram(Random& random) : random_(random) {
        put(0xbf, 9, 1, 0, 0);  // r9 = r1
        for (int at = -512; at < 0; at += 64) put(0x7a, 10, 0, at, 0);
        put(0x62, 10, 0, -4, static_cast<int32_t>(random.below(4)));
        map_handle(1, random.below(2));  // hash or array
        put(0xbf, 2, 10, 0, 0);
        put(0x07, 2, 0, 0, -4);
        put(0x85, 0, 0, 0, 1);  // bpf_map_lookup_elem
        put(0x55, 0, 0, 2, 0);
        put(0xb7, 0, 0, 0, 0);
        put(0x95, 0, 0, 0, 0);
        put(0xbf, 6, 0, 0, 0);
        put(0xb7, 7, 0, 0, 0);
        put(0x85, 0, 0, 0, 7);  // bpf_get_prandom_u32
        put(0xbf, 8, 0, 0, 0);
        const unsigned steps = 2 + random.below(12);
        for (unsigned i = 0; i < steps; ++i) step();
        put(0xb7, 0, 0, 0, 0);
        put(0x95, 0, 0, 0, 0);
    }
    const std::vector<uint64_t>& slots() const { return slots_; }

private:
    void put(uint8_t code, unsigned dst, unsigned src, int off, int32_t imm) {
        slots_.push_back(code | uint64_t{dst | src << 4} << 8 |
                         uint64_t{static_cast<uint16_t>(off)} << 16 |
                         uint64_t{static_cast<uint32_t>(imm)} << 32);
    }
    void map_handle(unsigned reg, uint32_t index) {
        put(0x18, reg, 1, 0, static_cast<int32_t>(index));
        put(0, 0, 0, 0, 0);
    }
    void step() {
        if (random_.chance(40)) return scribble();
        call();
    }
    // Stores a number, known or not, somewhere.
    void scribble() {
        constexpr unsigned kBases[] = {10, 6, 7};
        const unsigned base = random_.pick(kBases);
        const int off = base == 10 ? static_cast<int>(random_.between(-512, -1))
                                   : static_cast<int>(random_.between(0, kValueSize - 1));
        constexpr uint8_t kStores[] = {0x73, 0x6b, 0x63, 0x7b};
        constexpr unsigned kValues[] = {8, 8, 7, 6, 10};
        // A record may not be there.
        if (base == 7) put(0x15, 7, 0, 1, 0);
        put(random_.pick(kStores), base, random_.pick(kValues), off, 0);
    }
    void argument(unsigned reg) {
        switch (random_.below(9)) {
            case 0:
            case 1: map_handle(reg, random_.below(3)); break;
            case 2:
            case 3:
                put(0xbf, reg, 10, 0, 0);
                put(0x07, reg, 0, 0, static_cast<int32_t>(random_.between(-64, 0)) * 8);
                break;
            case 4:
                put(0xbf, reg, 6, 0, 0);
                put(0x07, reg, 0, 0, static_cast<int32_t>(random_.below(8)) * 8);
                break;
            case 5: put(0xbf, reg, 7, 0, 0); break;
            case 6: put(0xbf, reg, 8, 0, 0); break;
            case 7: put(0xbf, reg, 9, 0, 0); break;
            default: put(0xb7, reg, 0, 0, static_cast<int32_t>(random_.below(33))); break;
        }
    }
    // What each argument would be if the program were honest; some are as they should be.
    void call() {
        struct Form {
            int32_t helper;
            const char*
                args;  // m map, r ring, s stack, v value, k kept result, n number, c context
        };
        static constexpr Form kForms[] = {
            {1, "ms"},      {2, "msvn"},    {3, "ms"},     {93, "v"},      {94, "v"},
            {130, "rsnn"},  {131, "rnn"},   {131, "rnn"},  {132, "kn"},    {133, "kn"},
            {134, "rn"},    {197, "vnns"},  {198, "rnns"}, {199, "sn"},    {200, "sn"},
            {201, "snsnn"}, {202, "snsnn"}, {203, "snn"},  {169, "vmn"},   {171, "vnn"},
            {172, "v"},     {194, "vk"},    {105, "snns"}, {113, "snv"},   {9, "cnsnn"},
            {26, "cnsn"},   {84, "csnnn"},  {86, "k"},     {95, "k"},      {107, "mkvn"},
            {158, ""},      {156, "mkvn"},  {147, "ksn"},  {126, "ksnsn"}, {35, ""},
            {204, "vsn"},   {28, "snsnn"},  {164, "mnnn"}, {181, "nnnn"},  {12, "cmn"}};
        const Form& form = random_.pick(kForms);
        unsigned reg = 1;
        for (const char* arg = form.args; *arg != 0; ++arg, ++reg) {
            if (random_.chance(15)) {
                argument(reg);
                continue;
            }
            switch (*arg) {
                case 'm': map_handle(reg, random_.below(2)); break;
                case 'r': map_handle(reg, 2); break;
                case 's':
                    put(0xbf, reg, 10, 0, 0);
                    put(0x07, reg, 0, 0, static_cast<int32_t>(random_.between(-64, -1)) * 8);
                    break;
                case 'v':
                    put(0xbf, reg, 6, 0, 0);
                    put(0x07, reg, 0, 0, random_.pick({0, 0, 8, 24, 32}));
                    break;
                case 'k': put(0xbf, reg, 7, 0, 0); break;
                case 'c': put(0xbf, reg, 9, 0, 0); break;
                default: put(0xb7, reg, 0, 0, random_.pick({0, 0, 1, 8, 16, 16, 64, 300})); break;
            }
        }
        put(0x85, 0, 0, 0, form.helper);
        if (random_.chance(70)) put(0xbf, 7, 0, 0, 0);
    }

    Random& random_;
    std::vector<uint64_t> slots_;
};

struct HostRange {
    uint64_t begin = 0, size = 0;
    bool has(uint64_t word) const { return word >= begin && word - begin < size; }
};

// No value has an address of the host's.
void expect_no_addresses(Map& map, std::span<const HostRange> host) {
    std::vector<std::byte> value(map.host_value_size());
    for (uint32_t key = 0; key < 4; ++key) {
        if (map.host_lookup(reinterpret_cast<const std::byte*>(&key), value, 0) != 0) continue;
        for (size_t at = 0; at + 8 <= value.size(); ++at) {
            uint64_t word = 0;
            std::memcpy(&word, value.data() + at, 8);
            for (const HostRange& range : host)
                ASSERT_FALSE(range.has(word)) << map.def().name << " byte " << at;
        }
    }
}

TEST(Forged, ObjectsHarmNothing) {
    const bool is_long = std::getenv("SKEP_LONG") != nullptr;
    const uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    VmOptions options;
    options.fuel = 5000;
    const MapDef defs[] = {object_map(MapType::Hash), object_map(MapType::Array),
                           map_def("ring", MapType::Ringbuf, 0, 0, 4096)};
    std::array<SockContext, 2> sockets;
    int references = 0;
    options.services.find_socket = [&](const SocketQuery&) {
        ++references;
        return &sockets[random.below(2)];
    };
    options.services.release_socket = [&](SockContext&) { --references; };
    unsigned runs = 0, ended = 0;
    const unsigned wanted = is_long ? 1'000'000 : 20'000;
    while (runs < wanted) {
        Vm vm = make_vm(options);
        const ForgedProgram program(random);
        const auto loaded = vm.load_raw(program.slots(), "sched_cls", defs);
        ASSERT_TRUE(loaded) << loaded.error().to_string();
        Map &hash = *vm.map("hash"), &array = *vm.map("array"), &ring = *vm.map("ring");
        const std::vector<std::byte> zero(kValueSize);
        for (uint32_t key = 0; key < 4; ++key)
            hash.host_update(reinterpret_cast<const std::byte*>(&key), zero, 0);
        const auto range = [](const void* begin, uint64_t size) {
            return HostRange{reinterpret_cast<uintptr_t>(begin), size};
        };
        SkbContext skb;
        TestPacket packet(64);
        skb.packet = packet.xdp.packet;
        skb.len = 64;
        const HostRange host[] = {
            range(hash.values().base, hash.values().size),
            range(array.values().base, array.values().size),
            range(ring.values().base, ring.values().size),
            range(&hash, sizeof(Map)),
            range(&array, sizeof(Map)),
            range(&ring, sizeof(Map)),
            range(skb.packet.head, static_cast<uint64_t>(skb.packet.hard_end - skb.packet.head)),
            range(&skb, sizeof skb),
            range(sockets.data(), sizeof sockets)};
        for (unsigned i = 0; i < kRunsPerProgram; ++i, ++runs) {
            SkbContext fresh = skb;
            ended += loaded->run(fresh).ok() ? 1 : 0;
            ASSERT_EQ(references, 0);
            // No record is held back, no lock is taken.
            ring.consume([](void*, const MapEvent&) { return true; }, nullptr, UINT64_MAX);
            ASSERT_EQ(ring.query(0), 0u);
            const uint32_t key = 0;
            for (Map* map : {&hash, &array})
                map->host_update(reinterpret_cast<const std::byte*>(&key), zero, map_flags::kLock);
        }
        expect_no_addresses(hash, host);
        expect_no_addresses(array, host);
        if (HasFatalFailure()) return;
    }
    EXPECT_GT(ended, runs / 20);
}

}  // namespace
}  // namespace skep::test
