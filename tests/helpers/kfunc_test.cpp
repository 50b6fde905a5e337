// Kernel functions as a hostile sandboxed program calls them: states that it wrote itself,
// addresses that are not its own.
#include "helpers/kfunc.hpp"

#include <gtest/gtest.h>
#include <random>

#include <skep/object.hpp>

#include "helpers/dynptr.hpp"
#include "helpers/kernel_world.hpp"
#include "maps/object_heap.hpp"
#include "tests/helpers/sandbox.hpp"

namespace skep::test {
namespace {

struct Box : Sandbox {
    using Sandbox::Sandbox;
    uint64_t kfunc(std::string_view name, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0,
                   uint64_t d = 0, uint64_t e = 0) {
        const uint64_t registers[5] = {a, b, c, d, e};
        return dispatch_helper(*find_kfunc(name)->run, registers, env);
    }
    int32_t error(std::string_view name, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0,
                  uint64_t d = 0, uint64_t e = 0) {
        return static_cast<int32_t>(kfunc(name, a, b, c, d, e));
    }
};

struct Packet {
    Packet() {
        for (unsigned i = 0; i < sizeof bytes; ++i) bytes[i] = static_cast<std::byte>(i);
        buffer = {};
        buffer.head = buffer.data_meta = bytes;
        buffer.data = bytes + 32;
        buffer.data_end = bytes + 96;
        buffer.hard_end = bytes + sizeof bytes;
    }
    std::byte bytes[128];
    PacketBuffer buffer;
};

TEST(KfuncIterators, NumbersStopWhateverTheirStateIs) {
    std::mt19937_64 random(7);
    Box box;
    for (unsigned i = 0; i < 1000; ++i) {
        box.put<uint64_t>(0, random());
        const auto before = box.get<std::array<int32_t, 2>>(0);
        const uint64_t at = box.kfunc("bpf_iter_num_next", box.stack_at(0));
        ASSERT_TRUE(at == 0 || at == box.stack_at(0));
        if (at != 0) {
            EXPECT_LT(box.get<int32_t>(0), before[1]);
        }
    }
    EXPECT_EQ(box.env.trap, TrapCode::None);
    EXPECT_EQ(box.error("bpf_iter_num_new", box.stack_at(0), 0, (1u << 23) + 1), -7);
    EXPECT_EQ(box.error("bpf_iter_num_new", box.stack_at(0), 1, 0), -22);
    // From the smallest number on, one element, then none.
    EXPECT_EQ(box.error("bpf_iter_num_new", box.stack_at(0), 0x80000000u, 0x80000001u), 0);
    EXPECT_EQ(box.kfunc("bpf_iter_num_next", box.stack_at(0)), box.stack_at(0));
    EXPECT_EQ(box.get<int32_t>(0), INT32_MIN);
    EXPECT_EQ(box.kfunc("bpf_iter_num_next", box.stack_at(0)), 0u);
}

TEST(KfuncIterators, OnlyOnTheStack) {
    for (const bool aligned : {true, false}) {
        Box box;
        box.kfunc("bpf_iter_num_next",
                  aligned ? guest_address(region::kFirstMap, 0) : box.stack_at(4));
        EXPECT_EQ(box.env.trap, TrapCode::BadArgument);
    }
}

TEST(KfuncIterators, BitsOfForgedStatesReachNothing) {
    std::mt19937_64 random(8);
    Box box;
    for (unsigned i = 0; i < 1000; ++i) {
        box.put<uint64_t>(0, random());
        box.put<uint64_t>(8, random());
        const uint64_t at = box.kfunc("bpf_iter_bits_next", box.stack_at(0));
        ASSERT_TRUE(at == 0 || at == box.stack_at(12));
    }
    EXPECT_EQ(box.error("bpf_iter_bits_new", box.stack_at(0), 0, 1), -22);
    EXPECT_EQ(box.error("bpf_iter_bits_new", box.stack_at(0), box.stack_at(64), 512), -7);
    EXPECT_EQ(box.error("bpf_iter_bits_new", box.stack_at(0), 0x1234, 1), -14);
}

TEST(KfuncDynptrs, ForgedOnesStayInThePacket) {
    std::mt19937_64 random(9);
    Packet packet;
    Box box;
    box.set_packet(packet.buffer);
    for (unsigned i = 0; i < 2000; ++i) {
        box.put(0, Dynptr{random() >> random() % 64, static_cast<uint32_t>(random()),
                          static_cast<uint32_t>(random() % 8)});
        const auto bytes = dynptr_bytes(box.env, box.stack);
        if (bytes.empty()) continue;
        const bool in_packet =
            bytes.data() >= packet.bytes && bytes.data() + bytes.size() <= packet.bytes + 96;
        const bool on_stack = bytes.data() >= box.stack &&
                              bytes.data() + bytes.size() <= box.stack + sizeof box.stack;
        ASSERT_TRUE(in_packet || on_stack);
    }
}

TEST(KfuncDynptrs, PacketsThatMayNotBeWrittenAreNot) {
    Packet packet;
    Box box;
    box.set_packet(packet.buffer);
    box.env.packet_writable = false;
    box.env.ctx = &packet;
    EXPECT_EQ(box.error("bpf_dynptr_from_skb", box.context(), 0, box.stack_at(0)), 0);
    EXPECT_EQ(box.kfunc("bpf_dynptr_is_rdonly", box.stack_at(0)), 1u);
    // A program that clears the flag itself gains nothing.
    auto dynptr = box.get<Dynptr>(0);
    dynptr.flags &= ~Dynptr::kReadOnly;
    box.put(0, dynptr);
    EXPECT_EQ(box.error("bpf_dynptr_memset", box.stack_at(0), 0, 4, 1), -22);
    EXPECT_EQ(box.kfunc("bpf_dynptr_slice_rdwr", box.stack_at(0), 0, 0, 4), 0u);
}

TEST(KfuncStrings, EndsAndLimits) {
    Box box;
    const char text[] = "abc";
    box.put(0, text);
    EXPECT_EQ(box.error("bpf_strlen", box.stack_at(0)), 3);
    EXPECT_EQ(box.error("bpf_strlen", 0x1234), -14);
    EXPECT_EQ(box.error("bpf_strcmp", box.stack_at(0), 0), -14);
    // Up to the end of what is readable, without a NUL.
    std::memset(box.stack, 'x', sizeof box.stack);
    EXPECT_EQ(box.error("bpf_strlen", box.stack_at(0)), -14);
    EXPECT_EQ(box.error("bpf_strnlen", box.stack_at(0), 10), 10);
    EXPECT_EQ(box.error("bpf_strchr", box.stack_at(0), 'x'), 0);
    EXPECT_EQ(box.env.trap, TrapCode::None);
    // Longer than Linux looks.
    std::vector<std::byte> longest(8192, std::byte{'y'});
    box.services.published.push_back({0x700000, longest.data(), longest.size()});
    EXPECT_EQ(box.error("bpf_strlen", 0x700000), -7);
    EXPECT_EQ(box.error("bpf_strcmp", 0x700000, 0x700000), -7);
    EXPECT_EQ(box.error("bpf_strchr", 0x700000, 'z'), -7);
    EXPECT_EQ(box.error("bpf_strstr", 0x700000, 0x700000), -7);
}

TEST(KfuncStrings, LongSearchesCostFuel) {
    Box box;
    std::vector<std::byte> text(4000, std::byte{'a'});
    std::vector<std::byte> word(2000, std::byte{'a'});
    text.back() = word.back() = std::byte{0};
    word[word.size() - 2] = std::byte{'b'};
    box.services.published.push_back({0x700000, text.data(), text.size()});
    box.services.published.push_back({0x800000, word.data(), word.size()});
    box.env.fuel = 100;
    box.kfunc("bpf_strstr", 0x700000, 0x800000);
    EXPECT_EQ(box.env.trap, TrapCode::Fuel);
}

TEST(KfuncLocks, OwnOnesAreDeadlocks) {
    Box box({array_map(8, 1)});
    const uint64_t lock = guest_address(region::kFirstMap, 0);
    EXPECT_EQ(box.error("bpf_res_spin_lock", lock), 0);
    EXPECT_EQ(box.error("bpf_res_spin_lock", lock), -35);
    box.kfunc("bpf_res_spin_unlock", lock);
    EXPECT_EQ(box.env.trap, TrapCode::None);
    box.kfunc("bpf_res_spin_unlock", lock);
    EXPECT_EQ(box.env.trap, TrapCode::Protocol);
}

// Every kernel function, called by a program that hands it whatever it likes: numbers, addresses of
// its own and of the kernel's, of objects that it holds, had or never had. What it may do is trap.
TEST(KfuncsAsTheyAre, RefuseWhatIsNotThePrograms) {
    const auto types = load_btf("/sys/kernel/btf/vmlinux");
    if (!types) GTEST_SKIP() << "this kernel gives no types";
    const auto world = KernelWorld::create(*types);
    const auto heap = ObjectHeap::create(1u << 20);
    ASSERT_TRUE(heap);
    ObjectTypes object_types(*types);
    const uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    Packet packet;
    Box box({array_map(64, 4)});
    box.set_packet(packet.buffer);
    box.env.ctx = &packet;
    box.env.heap = heap->get();
    box.env.object_types = &object_types;
    box.env.world = world.get();
    box.regions[region::kHeap] = {.base = (*heap)->base(),
                                  .lo = 0,
                                  .kind = static_cast<uint32_t>(RegionKind::Memory),
                                  .readable = (*heap)->bytes(),
                                  .writable = (*heap)->bytes()};
    std::vector<uint64_t> seen = {0, world->task(), world->root_cgroup(),
                                  world->object("tcp_sock")};
    const auto value = [&]() -> uint64_t {
        switch (random() % 9) {
            case 0: return seen[random() % seen.size()];
            case 1: return box.stack_at(static_cast<uint32_t>(random() % 120 * 8));
            case 2: return guest_address(region::kHeap, static_cast<uint32_t>(random() % 8192));
            case 3: return guest_address(region::kFirstMap, static_cast<uint32_t>(random() % 300));
            case 4: return KernelWorld::kBase + random() % world->size();
            case 5: return skep::map_handle(0);
            case 6: return Sandbox::context();
            case 7: return random() % 64;
            default: return random() >> random() % 64;
        }
    };
    for (unsigned round = 0; round < 20'000; ++round) {
        const auto all = kfuncs();
        const Kfunc& kfunc = all[random() % all.size()];
        if (kfunc.run == nullptr || kfunc.special == KfuncSpecial::RbtreeAdd) continue;
        const uint64_t registers[5] = {value(), value(), value(), value(), value()};
        box.env.trap = TrapCode::None;
        box.env.fuel = 1 << 20;
        const uint64_t result = dispatch_helper(*kfunc.run, registers, box.env);
        if (result != 0 && seen.size() < 1000) seen.push_back(result);
        if (random() % 64 == 0) box.env.release_all();
        for (unsigned i = 0; i < 4; ++i)
            box.stack[random() % sizeof box.stack] = std::byte(random());
    }
    box.env.release_all();
    delete[] box.env.world_block;
    box.env.world_block = nullptr;
}

}  // namespace
}  // namespace skep::test
