// Sockets of a run: look-ups that the host answers, references, what programs see, options.
#include <gtest/gtest.h>

#include "tests/helpers/sandbox.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep {
namespace {

using test::Sandbox;

MapDef socket_map(MapType type, uint32_t value_size = 8) {
    MapDef def = test::array_map(value_size, 4);
    def.type = type;
    return def;
}

struct Sockets : testing::Test {
    Sockets() : box({socket_map(MapType::Sockmap), storage()}) {
        box.env.layout = &kTcCtx;
        box.env.ctx = &skb;
        tcp.snd_cwnd = 10;
        socket.protocol = 6;
        socket.family = 2;
        socket.state = 1;
        socket.cookie = 77;
        socket.tcp = &tcp;
        socket.listener = &listener;
        listener.protocol = 6;
        listener.state = 10;
        box.services.find_socket = [this](const SocketQuery& query) {
            asked = query;
            return answer;
        };
        box.services.release_socket = [this](SocketContext&) { ++released; };
    }
    using SocketContext = SockContext;
    static MapDef storage() {
        MapDef def = test::array_map(8, 0);
        def.type = MapType::SkStorage;
        def.flags = map_flags::kNoPrealloc;
        return def;
    }
    uint64_t look_up(const char* name = "sk_lookup_tcp", uint64_t size = 12, uint64_t netns = ~0ull,
                     uint64_t flags = 0) {
        return box.call(name, box.context(), box.stack_at(0), size, netns, flags);
    }
    uint32_t seen(uint64_t address, uint32_t offset) const {
        const Region& region = box.regions[address >> 32];
        uint32_t value = 0;
        std::memcpy(&value, region.base + (static_cast<uint32_t>(address) - region.lo) + offset, 4);
        return value;
    }

    TcpSockFields tcp;
    SockContext socket, listener;
    SockContext* answer = &socket;
    SocketQuery asked;
    int released = 0;
    SkbContext skb;
    Sandbox box;
};

TEST_F(Sockets, LookUpAsksTheHostAndHoldsAReference) {
    box.put(0, std::array<uint8_t, 12>{10, 0, 0, 1, 10, 0, 0, 2, 0, 80, 1, 187});
    const uint64_t sk = look_up();
    ASSERT_NE(sk, 0u);
    EXPECT_EQ(asked.family, 2u);
    EXPECT_EQ(asked.protocol, 6u);
    EXPECT_EQ(asked.source[3], std::byte{1});
    EXPECT_EQ(asked.dest_port, 0xbb01);
    EXPECT_EQ(asked.netns, -1);
    EXPECT_EQ(seen(sk, 4), 2u);
    EXPECT_EQ(seen(sk, 12), 6u);
    EXPECT_EQ(box.env.ledger_count, 1u);
    EXPECT_EQ(box.call("sk_release", sk), 0u);
    EXPECT_EQ(released, 1);
    EXPECT_EQ(box.env.trap, TrapCode::None);
    box.call("sk_release", sk);
    EXPECT_EQ(box.env.trap, TrapCode::BadArgument) << "it is no longer one of the run's";
    EXPECT_EQ(released, 1);
}

TEST_F(Sockets, WhatIsHeldAtTheEndIsReleased) {
    look_up();
    look_up("sk_lookup_udp", 36);
    EXPECT_EQ(asked.family, 10u);
    EXPECT_EQ(asked.protocol, 17u);
    box.env.release_all();
    EXPECT_EQ(released, 2);
}

TEST_F(Sockets, BadLookUpsFindNothing) {
    EXPECT_EQ(look_up("sk_lookup_tcp", 13), 0u);
    EXPECT_EQ(look_up("sk_lookup_tcp", 12, 0, 1), 0u);
    EXPECT_EQ(look_up("sk_lookup_tcp", 12, uint64_t{1} << 32), 0u);
    answer = nullptr;
    EXPECT_EQ(look_up(), 0u);
    EXPECT_EQ(box.env.ledger_count, 0u);
    // Request and timewait sockets only for bpf_skc_lookup_tcp.
    answer = &socket;
    socket.full = false;
    EXPECT_EQ(look_up(), 0u);
    EXPECT_EQ(released, 1);
    EXPECT_NE(look_up("skc_lookup_tcp"), 0u);
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

TEST_F(Sockets, ViewsOfASocket) {
    const uint64_t sk = look_up();
    const uint64_t part = box.call("tcp_sock", sk);
    ASSERT_NE(part, 0u);
    EXPECT_NE(part, sk);
    EXPECT_EQ(seen(part, 0), 10u);
    EXPECT_EQ(box.call("sk_fullsock", sk), sk);
    const uint64_t listening = box.call("get_listener_sock", sk);
    ASSERT_NE(listening, 0u);
    EXPECT_EQ(seen(listening, 72), 10u);
    // The TCP part stands for its socket.
    EXPECT_EQ(box.call("get_listener_sock", part), listening);
    EXPECT_EQ(box.env.trap, TrapCode::None);
    box.call("sk_fullsock", part + 4);
    EXPECT_EQ(box.env.trap, TrapCode::BadArgument);
}

TEST_F(Sockets, ForgedPointersAreRefused) {
    for (const uint64_t forged : {box.stack_at(0), guest_address(region::kObject, kRunObjectLow),
                                  reinterpret_cast<uint64_t>(&socket), uint64_t{0}}) {
        box.env.trap = TrapCode::None;
        box.call("sk_fullsock", forged);
        EXPECT_EQ(box.env.trap, TrapCode::BadArgument) << std::hex << forged;
    }
}

TEST_F(Sockets, MoreSocketsThanARunCanHoldEndIt) {
    std::vector<SockContext> many(kMaxRunObjects + 1);
    size_t next = 0;
    box.services.find_socket = [&](const SocketQuery&) { return &many[next++]; };
    for (uint32_t i = 0; i < kMaxRunObjects; ++i) EXPECT_NE(look_up(), 0u);
    EXPECT_EQ(look_up(), 0u);
    EXPECT_NE(box.env.trap, TrapCode::None);
    box.env.release_all();
    EXPECT_EQ(released, static_cast<int>(kMaxRunObjects));
}

TEST_F(Sockets, LookUpAndReleaseGoOnForEver) {
    std::vector<SockContext> many(100);
    size_t next = 0;
    box.services.find_socket = [&](const SocketQuery&) { return &many[next++]; };
    for (size_t i = 0; i < many.size(); ++i) box.call("sk_release", look_up());
    EXPECT_EQ(box.env.trap, TrapCode::None);
    EXPECT_EQ(released, 100);
}

TEST_F(Sockets, MapsOfSockets) {
    box.env.layout = &kSockOpsCtx;
    SockOpsContext ops;
    ops.sk = &socket;
    box.env.ctx = &ops;
    box.put<uint32_t>(0, 2);
    const uint64_t map = box.map_handle(0);
    EXPECT_EQ(
        static_cast<int64_t>(box.call("sock_map_update", box.context(), map, box.stack_at(0), 0)),
        -95)
        << "only when a connection was made";
    ops.op = 4;
    EXPECT_EQ(box.call("sock_map_update", box.context(), map, box.stack_at(0), 0), 0u);
    uint64_t number = 0;
    EXPECT_EQ(box.maps[0]->target(box.stack, number), 0);
    EXPECT_EQ(number, 77u);
    box.services.map_socket = [&](const Map&, uint64_t which) {
        return which == 77 ? &socket : nullptr;
    };
    const uint64_t sk = box.call("map_lookup_elem", map, box.stack_at(0));
    ASSERT_NE(sk, 0u);
    EXPECT_EQ(seen(sk, 12), 6u);
    box.put<uint32_t>(0, 3);
    EXPECT_EQ(box.call("map_lookup_elem", map, box.stack_at(0)), 0u);
    EXPECT_EQ(box.call("map_update_elem", map, box.stack_at(0), sk, 0), 0u);
    EXPECT_EQ(box.maps[0]->target(box.stack, number), 0);
    EXPECT_EQ(box.call("sk_release", sk), 0u);
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

TEST_F(Sockets, StorageIsFoundByTheCookie) {
    const uint64_t sk = look_up();
    box.put<uint64_t>(64, 5);
    EXPECT_NE(box.call("sk_storage_get", box.map_handle(1), sk, box.stack_at(64), 1), 0u);
    const uint32_t cookie = 77;
    uint64_t stored = 0;
    EXPECT_EQ(box.maps[1]->host_lookup(reinterpret_cast<const std::byte*>(&cookie),
                                       std::as_writable_bytes(std::span(&stored, 1)), 0),
              0);
    EXPECT_EQ(stored, 5u);
    EXPECT_EQ(box.call("sk_storage_delete", box.map_handle(1), sk), 0u);
}

TEST_F(Sockets, ChoosingTheSocketOfALookUp) {
    SkLookupContext lookup;
    lookup.family = 2;
    lookup.protocol = 6;
    box.env.layout = &kSkLookupCtx;
    box.env.ctx = &lookup;
    const Helper& assign = *find_helper(124, *find_prog_type(ProgKind::SkLookup));
    const auto choose = [&](uint64_t sk, uint64_t flags) {
        const uint64_t registers[5] = {box.context(), sk, flags, 0, 0};
        return static_cast<int64_t>(dispatch_helper(assign, registers, box.env));
    };
    const uint64_t sk = look_up();
    EXPECT_EQ(choose(sk, 0), -94) << "connected, not listening";
    socket.state = 10;
    EXPECT_EQ(choose(sk, 4), -22);
    lookup.protocol = 17;
    EXPECT_EQ(choose(sk, 0), -91);
    lookup.protocol = 6;
    lookup.family = 10;
    EXPECT_EQ(choose(sk, 0), -97);
    lookup.family = 2;
    EXPECT_EQ(choose(sk, 0), 0);
    EXPECT_EQ(lookup.sk, &socket);
    EXPECT_EQ(choose(sk, 0), -17);
    EXPECT_EQ(choose(sk, 1), 0);
    EXPECT_EQ(choose(0, 1), 0);
    EXPECT_EQ(lookup.sk, nullptr);
}

TEST_F(Sockets, OptionsGoToTheHostOrToTheSocket) {
    skb.sk = &socket;
    SockAddrContext address;
    address.sk = &socket;
    box.env.layout = &kSockAddrCtx;
    box.env.ctx = &address;
    box.put<uint32_t>(0, 9);
    const Helper& set = *find_helper(49, *find_prog_type(ProgKind::CgroupSockAddr));
    const Helper& get = *find_helper(57, *find_prog_type(ProgKind::CgroupSockAddr));
    const auto call = [&](const Helper& helper, uint64_t name, uint64_t size) {
        const uint64_t registers[5] = {box.context(), 1, name, box.stack_at(0), size};
        return static_cast<int64_t>(dispatch_helper(helper, registers, box.env));
    };
    EXPECT_EQ(call(set, 36, 4), 0);
    EXPECT_EQ(socket.mark, 9u);
    EXPECT_EQ(call(set, 36, 8), -22);
    EXPECT_EQ(call(set, 7, 4), -92);
    box.put<uint32_t>(0, 0);
    EXPECT_EQ(call(get, 36, 4), 0);
    EXPECT_EQ(box.get<uint32_t>(0), 9u);
    box.services.sockopt = [](const SocketOption& option) -> int64_t {
        if (!option.set) option.value[0] = std::byte{0x42};
        return option.name == 7 ? 0 : -5;
    };
    EXPECT_EQ(call(get, 7, 4), 0);
    EXPECT_EQ(box.get<uint32_t>(0), 0x42u);
    EXPECT_EQ(call(get, 8, 4), -5);
    EXPECT_EQ(box.get<uint32_t>(0), 0u) << "nothing is left of a failed read";
}

TEST_F(Sockets, CookiesProveThatAnAnswerCameBack) {
    box.services.syncookie_secret[0] = 1;
    uint64_t now = 0;
    box.services.ktime_ns = [&] { return now; };
    std::array<uint8_t, 20> ip = {0x45, 0, 0,  44, 0, 0, 0,  0, 64, 6,
                                  0,    0, 10, 0,  0, 1, 10, 0, 0,  2};
    // SYN with an MSS of 1400.
    std::array<uint8_t, 24> segment = {0,    80, 1,    187,  0, 0, 0, 100, 0, 0, 0,    0,
                                       0x60, 2,  0xff, 0xff, 0, 0, 0, 0,   2, 4, 0x05, 0x78};
    box.put(0, ip);
    box.put(64, segment);
    const uint64_t both =
        box.call("tcp_raw_gen_syncookie_ipv4", box.stack_at(0), box.stack_at(64), 24);
    EXPECT_EQ(both >> 32, 1300u);
    EXPECT_EQ(static_cast<int64_t>(
                  box.call("tcp_raw_gen_syncookie_ipv4", box.stack_at(0), box.stack_at(64), 20)),
              -22);
    const auto answer_with = [&](uint32_t cookie) {
        segment[7] = 101;
        const uint32_t acknowledged = __builtin_bswap32(cookie + 1);
        std::memcpy(&segment[8], &acknowledged, 4);
        segment[12] = 0x50;
        segment[13] = 16;
        box.put(64, segment);
        return static_cast<int64_t>(
            box.call("tcp_raw_check_syncookie_ipv4", box.stack_at(0), box.stack_at(64)));
    };
    EXPECT_EQ(answer_with(static_cast<uint32_t>(both)), 0);
    EXPECT_EQ(answer_with(static_cast<uint32_t>(both) + 1000), -13);
    now = 60'000'000'000;
    EXPECT_EQ(answer_with(static_cast<uint32_t>(both)), 0);
    now = 120'000'000'000;
    EXPECT_EQ(answer_with(static_cast<uint32_t>(both)), -13) << "too old";
}

TEST(Messages, BytesAreInsertedAndRemoved) {
    Sandbox box;
    std::array<std::byte, 64> buffer{};
    for (unsigned i = 0; i < 8; ++i) buffer[i] = std::byte(i + 1);
    SkMsgContext message;
    message.packet = {buffer.data(), buffer.data(), buffer.data(), buffer.data() + 8,
                      buffer.data() + buffer.size()};
    message.size = 8;
    box.env.layout = &kSkMsgCtx;
    box.env.ctx = &message;
    box.set_packet(message.packet);
    EXPECT_EQ(box.call("msg_push_data", box.context(), 2, 3, 0), 0u);
    EXPECT_EQ(message.size, 11u);
    EXPECT_EQ(buffer[1], std::byte{2});
    EXPECT_EQ(buffer[2], std::byte{0});
    EXPECT_EQ(buffer[5], std::byte{3});
    EXPECT_EQ(box.call("msg_pop_data", box.context(), 1, 4, 0), 0u);
    EXPECT_EQ(message.size, 7u);
    EXPECT_EQ(buffer[1], std::byte{3});
    EXPECT_EQ(static_cast<int64_t>(box.call("msg_pop_data", box.context(), 1, 7, 0)), -22);
    EXPECT_EQ(static_cast<int64_t>(box.call("msg_push_data", box.context(), 8, 1, 0)), -22);
    EXPECT_EQ(static_cast<int64_t>(box.call("msg_push_data", box.context(), 0, 100, 0)), -12);
    EXPECT_EQ(box.regions[region::kPacket].readable, 7u);
}

TEST(HeaderOptions, AreFoundWrittenAndReserved) {
    Sandbox box;
    std::array<std::byte, 80> buffer{};
    SockOpsContext ops;
    constexpr unsigned kHeader = 24;
    buffer[20] = std::byte{2};  // MSS
    buffer[21] = std::byte{4};
    buffer[22] = std::byte{5};
    ops.packet = {buffer.data(), buffer.data(), buffer.data(), buffer.data() + kHeader,
                  buffer.data() + buffer.size()};
    box.env.layout = &kSockOpsCtx;
    box.env.ctx = &ops;
    box.set_packet(ops.packet);
    ops.op = 13;
    box.put(0, std::array<uint8_t, 4>{2, 0, 0, 0});
    EXPECT_EQ(box.call("load_hdr_opt", box.context(), box.stack_at(0), 4, 0), 4u);
    EXPECT_EQ(box.get<uint8_t>(2), 5);
    box.put(0, std::array<uint8_t, 4>{3, 0, 0, 0});
    EXPECT_EQ(static_cast<int64_t>(box.call("load_hdr_opt", box.context(), box.stack_at(0), 4, 0)),
              -42);
    EXPECT_EQ(static_cast<int64_t>(box.call("reserve_hdr_opt", box.context(), 4, 0)), -1);
    ops.op = 14;
    ops.remaining_opt_len = 6;
    EXPECT_EQ(box.call("reserve_hdr_opt", box.context(), 4, 0), 0u);
    EXPECT_EQ(static_cast<int64_t>(box.call("reserve_hdr_opt", box.context(), 4, 0)), -28);
    ops.op = 15;
    ops.remaining_opt_len = 4;
    box.put(0, std::array<uint8_t, 4>{254, 4, 0xeb, 0x9f});
    EXPECT_EQ(box.call("store_hdr_opt", box.context(), box.stack_at(0), 4, 0), 0u);
    EXPECT_EQ(buffer[kHeader], std::byte{254});
    EXPECT_EQ(ops.packet.data_end, buffer.data() + kHeader + 4);
    EXPECT_EQ(static_cast<int64_t>(box.call("store_hdr_opt", box.context(), box.stack_at(0), 4, 0)),
              -28);
    ops.remaining_opt_len = 8;
    EXPECT_EQ(static_cast<int64_t>(box.call("store_hdr_opt", box.context(), box.stack_at(0), 4, 0)),
              -17);
}

}  // namespace
}  // namespace skep
