// What single helpers do in a sandboxed run: results, memory that they fill, what they hold.
#include <gtest/gtest.h>
#include <string>

#include "maps/value_lock.hpp"
#include "tests/helpers/sandbox.hpp"

namespace skep {
namespace {

using test::Sandbox;

MapDef map_of(MapType type, uint32_t key, uint32_t value, uint32_t entries) {
    MapDef def = test::array_map(value, entries);
    def.type = type;
    def.key_size = key;
    return def;
}

// A subprogram of the test's own.
class Function final : public Callable {
public:
    using Body = std::function<uint64_t(HelperEnv&, const uint64_t (&)[5])>;
    explicit Function(Body body) : body_(std::move(body)) {}
    CallResult call(HelperEnv& env, const uint64_t (&args)[5]) const noexcept override {
        return {body_(env, args), env.trap != TrapCode::None};
    }

private:
    Body body_;
};

// Function handles name slots: here, one function at slot 7.
thread_local const Function* current_function = nullptr;
const Callable* find_function(const HelperEnv&, uint32_t slot) noexcept {
    return slot == 7 ? current_function : nullptr;
}
constexpr uint64_t kFunction = guest_address(region::kFunction, 7);

struct WithFunction {
    WithFunction(Sandbox& box, Function::Body body) : function(std::move(body)) {
        current_function = &function;
        box.env.find_function = &find_function;
    }
    ~WithFunction() { current_function = nullptr; }
    Function function;
};

TEST(ProbeRead, ReachesPublishedRangesAndTheProgramsOwnMemory) {
    const char text[] = "published";
    Sandbox box({test::array_map(16, 1)});
    box.services.published.push_back(
        {0xffff'8880'0000'1000, reinterpret_cast<const std::byte*>(text), sizeof text});
    EXPECT_EQ(box.call("probe_read_kernel", box.stack_at(0), 4, 0xffff'8880'0000'1002), 0u);
    EXPECT_EQ(box.get<uint32_t>(0), 0x73696c62u);  // "blis"
    EXPECT_EQ(box.call("probe_read_kernel_str", box.stack_at(0), 16, 0xffff'8880'0000'1000),
              sizeof text);
    EXPECT_EQ(box.call("probe_read_kernel_str", box.stack_at(0), 4, 0xffff'8880'0000'1000), 4u);
    EXPECT_EQ(box.get<uint32_t>(0), 0x00627570u);  // "pub\0"
    box.put<uint32_t>(64, 0xabcd1234);
    EXPECT_EQ(box.call("probe_read", box.stack_at(0), 4, box.stack_at(64)), 0u);
    EXPECT_EQ(box.get<uint32_t>(0), 0xabcd1234u);
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

TEST(ProbeRead, ElsewhereFaultsAndZeroes) {
    const char text[] = "published";
    Sandbox box;
    box.services.published.push_back(
        {0x5000, reinterpret_cast<const std::byte*>(text), sizeof text});
    for (const uint64_t address :
         {uint64_t{0}, uint64_t{0x4fff}, uint64_t{0x5000 + 8}, uint64_t{0x6000}, ~uint64_t{0},
          reinterpret_cast<uint64_t>(text), box.context(), box.stack_at(1022)}) {
        box.put<uint32_t>(0, 0x55555555);
        EXPECT_EQ(static_cast<int64_t>(box.call("probe_read", box.stack_at(0), 4, address)), -14);
        EXPECT_EQ(box.get<uint32_t>(0), 0u);
    }
    // A string whose range ends before its NUL.
    box.services.published[0].size = 5;
    EXPECT_EQ(static_cast<int64_t>(box.call("probe_read_str", box.stack_at(0), 16, 0x5000)), -14);
}

TEST(Printing, LinesGoToTheHost) {
    Sandbox box;
    std::string line;
    box.services.trace = [&](std::string_view text) { line = text; };
    const char format[] = "pid %d says %s\n";
    box.put(0, format);
    const char name[] = "hello";
    box.put(64, name);
    EXPECT_EQ(box.call("trace_printk", box.stack_at(0), sizeof format, 42, box.stack_at(64), 0),
              18u);
    EXPECT_EQ(line, "pid 42 says hello");
    // Not terminated within its size.
    EXPECT_EQ(static_cast<int64_t>(box.call("trace_printk", box.stack_at(0), 5, 0, 0, 0)), -22);
    const char bad[] = "%q";
    box.put(0, bad);
    EXPECT_EQ(static_cast<int64_t>(box.call("trace_printk", box.stack_at(0), sizeof bad)), -22);
}

TEST(Printing, AddressesPrintAsInTheKernel) {
    Sandbox box;
    std::string line;
    box.services.trace = [&](std::string_view text) { line = text; };
    const char format[] = "%pI4 %pi4 %pI6 %pi6";
    box.put(0, format);
    box.put<uint32_t>(64, 0x0100007f);
    for (uint32_t i = 0; i < 16; ++i) box.put<uint8_t>(72 + i, static_cast<uint8_t>(i));
    const uint64_t values[4] = {box.stack_at(64), box.stack_at(64), box.stack_at(72),
                                box.stack_at(72)};
    box.put(128, values);
    box.call("trace_vprintk", box.stack_at(0), sizeof format, box.stack_at(128), sizeof values);
    EXPECT_EQ(line,
              "127.0.0.1 127.000.000.001 0001:0203:0405:0607:0809:0a0b:0c0d:0e0f "
              "000102030405060708090a0b0c0d0e0f");
}

TEST(Loop, CountsStopsAndCharges) {
    Sandbox box;
    std::vector<uint64_t> seen;
    WithFunction with(box, [&](HelperEnv&, const uint64_t(&args)[5]) -> uint64_t {
        seen.push_back(args[0]);
        EXPECT_EQ(args[1], 99u);
        return args[0] == 4;
    });
    EXPECT_EQ(box.call("loop", 3, kFunction, 99, 0), 3u);
    EXPECT_EQ(box.call("loop", 100, kFunction, 99, 0), 5u);
    EXPECT_EQ(seen.size(), 8u);
    EXPECT_EQ(static_cast<int64_t>(box.call("loop", 1, kFunction, 99, 1)), -22);
    EXPECT_EQ(static_cast<int64_t>(box.call("loop", (1u << 23) + 1, kFunction, 99, 0)), -7);
    box.env.fuel = 2;
    box.env.fuel_reserve = 0;
    box.call("loop", 4, kFunction, 99, 0);
    EXPECT_EQ(box.env.trap, TrapCode::Fuel);
}

TEST(ForEach, HandsOutGuestAddresses) {
    Sandbox box({test::array_map(8, 3)});
    uint64_t keys = 0;
    WithFunction with(box, [&](HelperEnv& env, const uint64_t(&args)[5]) -> uint64_t {
        EXPECT_EQ(args[0], Sandbox::map_handle(0));
        EXPECT_EQ(args[1] >> 32, region::kScratch);
        EXPECT_EQ(args[2] >> 32, region::kFirstMap);
        EXPECT_EQ(args[3], 5u);
        // The key is readable, and a helper may read it.
        const uint64_t registers[5] = {Sandbox::map_handle(0), args[1]};
        EXPECT_EQ(dispatch_helper(*find_helper("map_lookup_elem"), registers, env), args[2]);
        ++keys;
        return 0;
    });
    EXPECT_EQ(box.call("for_each_map_elem", box.map_handle(0), kFunction, 5, 0), 3u);
    EXPECT_EQ(keys, 3u);
    EXPECT_EQ(box.env.trap, TrapCode::None);
    EXPECT_EQ(box.regions[region::kScratch].readable, 0u);
}

TEST(TailCall, FollowsTheArrayUpTo33Times) {
    Sandbox box({map_of(MapType::ProgArray, 4, 4, 2)});
    static int target_storage = 0;
    box.env.find_program = [](const HelperEnv&, Map&, uint32_t index) noexcept {
        return index == 1 ? reinterpret_cast<const TailTarget*>(&target_storage) : nullptr;
    };
    box.env.ctx = &target_storage;
    box.call("tail_call", box.context(), box.map_handle(0), 0);
    EXPECT_EQ(box.env.tail_target, nullptr);
    box.call("tail_call", box.context(), box.map_handle(0), 2);
    EXPECT_EQ(box.env.tail_target, nullptr);
    for (int i = 0; i < 33; ++i) {
        box.env.tail_target = nullptr;
        box.call("tail_call", box.context(), box.map_handle(0), 1);
        EXPECT_NE(box.env.tail_target, nullptr);
    }
    box.env.tail_target = nullptr;
    box.call("tail_call", box.context(), box.map_handle(0), 1);
    EXPECT_EQ(box.env.tail_target, nullptr);
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

uint64_t consumed(Map& map, std::vector<std::string>* out = nullptr) {
    std::vector<std::string> records;
    map.consume(
        [](void* context, const MapEvent& event) {
            static_cast<std::vector<std::string>*>(context)->emplace_back(
                reinterpret_cast<const char*>(event.data.data()), event.data.size());
            return true;
        },
        &records, 100);
    const uint64_t count = records.size();
    if (out != nullptr) *out = std::move(records);
    return count;
}

TEST(RingBuffer, RecordsAreHeldUntilTheyAreEnded) {
    Sandbox box({map_of(MapType::Ringbuf, 0, 0, 4096)});
    const uint64_t record = box.call("ringbuf_reserve", box.map_handle(0), 8, 0);
    ASSERT_EQ(box.env.trap, TrapCode::None);
    EXPECT_EQ(record >> 32, region::kFirstMap);
    EXPECT_EQ(box.env.ledger_count, 1u);
    box.call("ringbuf_submit", record, 0);
    EXPECT_EQ(box.env.ledger_count, 0u);
    EXPECT_EQ(consumed(*box.maps[0]), 1u);
    // Twice, or another address: no reservation.
    box.call("ringbuf_submit", record, 0);
    EXPECT_EQ(box.env.trap, TrapCode::Protocol);
}

TEST(RingBuffer, AnEndedRunLeavesNoReservation) {
    Sandbox box({map_of(MapType::Ringbuf, 0, 0, 4096)});
    EXPECT_NE(box.call("ringbuf_reserve", box.map_handle(0), 8, 0), 0u);
    box.env.release_all();
    EXPECT_EQ(box.env.ledger_count, 0u);
    box.put<uint64_t>(0, 0x4142434445464748);
    EXPECT_EQ(box.call("ringbuf_output", box.map_handle(0), box.stack_at(0), 8, 0), 0u);
    std::vector<std::string> records;
    EXPECT_EQ(consumed(*box.maps[0], &records), 1u);
    EXPECT_EQ(records[0], "HGFEDCBA");
}

TEST(RingBuffer, DynptrRecordsAreWrittenAndSubmitted) {
    Sandbox box({map_of(MapType::Ringbuf, 0, 0, 4096)});
    EXPECT_EQ(box.call("ringbuf_reserve_dynptr", box.map_handle(0), 16, 0, box.stack_at(0)), 0u);
    box.put<uint64_t>(64, 0x1122334455667788);
    EXPECT_EQ(box.call("dynptr_write", box.stack_at(0), 8, box.stack_at(64), 8, 0), 0u);
    EXPECT_EQ(
        static_cast<int64_t>(box.call("dynptr_write", box.stack_at(0), 9, box.stack_at(64), 8, 0)),
        -7);
    EXPECT_EQ(box.call("dynptr_data", box.stack_at(0), 0, 16) >> 32, region::kFirstMap);
    box.call("ringbuf_submit_dynptr", box.stack_at(0), 0);
    std::vector<std::string> records;
    EXPECT_EQ(consumed(*box.maps[0], &records), 1u);
    EXPECT_EQ(records[0].size(), 16u);
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

TEST(Dynptr, ForgedOnesReachNothing) {
    Sandbox box({test::array_map(64, 1)});
    const uint64_t forged[][2] = {{reinterpret_cast<uintptr_t>(&box), 64},
                                  {box.stack_at(0), 100000},
                                  {box.map_handle(0), 8},
                                  {~uint64_t{0}, ~uint64_t{0}}};
    for (const auto& words : forged) {
        box.put(32, words);
        EXPECT_EQ(static_cast<int64_t>(
                      box.call("dynptr_read", box.stack_at(64), 8, box.stack_at(32), 0, 0)),
                  -22);
        EXPECT_EQ(box.call("dynptr_data", box.stack_at(32), 0, 8), 0u);
        box.env.trap = TrapCode::None;
    }
    const uint64_t value = guest_address(region::kFirstMap, 0);
    EXPECT_EQ(box.call("dynptr_from_mem", value, 64, 0, box.stack_at(32)), 0u);
    EXPECT_EQ(box.call("dynptr_read", box.stack_at(64), 8, box.stack_at(32), 56, 0), 0u);
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

MapDef lock_map() {
    MapDef def = test::array_map(16, 2);
    def.fields = {{FieldKind::SpinLock, 0, 4, 0}};
    return def;
}

TEST(SpinLock, OneAtATimeAndFreedAtTheEnd) {
    Sandbox box({lock_map()});
    const uint64_t first = guest_address(region::kFirstMap, 0);
    box.call("spin_lock", first);
    EXPECT_EQ(box.env.trap, TrapCode::None);
    box.call("spin_unlock", first);
    EXPECT_EQ(box.env.trap, TrapCode::None);
    box.call("spin_lock", first);
    box.call("spin_lock", first + 8);
    EXPECT_EQ(box.env.trap, TrapCode::Protocol);
    box.env.release_all();
    box.env.trap = TrapCode::None;
    box.call("spin_lock", first);
    EXPECT_EQ(box.env.trap, TrapCode::None);
    box.env.release_all();
    box.call("spin_unlock", first);
    EXPECT_EQ(box.env.trap, TrapCode::Protocol);
}

// BPF_F_LOCK and bpf_spin_lock are one lock, and what a program writes there is none.
TEST(SpinLock, ExcludesLockedUpdatesAndCannotBeForged) {
    Sandbox box({lock_map()});
    const uint64_t first = guest_address(region::kFirstMap, 0);
    std::memset(box.maps[0]->values().base, 0xff, 16);
    box.call("spin_lock", first);
    EXPECT_EQ(box.env.trap, TrapCode::None);
    EXPECT_EQ(value_locks(*box.maps[0])->try_lock(box.maps[0]->values().base, 7), -EBUSY);
    std::memset(box.maps[0]->values().base, 0, 16);
    EXPECT_EQ(value_locks(*box.maps[0])->try_lock(box.maps[0]->values().base, 7), -EBUSY);
    box.call("spin_unlock", first);
    EXPECT_EQ(value_locks(*box.maps[0])->try_lock(box.maps[0]->values().base, 7), 0);
    EXPECT_EQ(box.env.trap, TrapCode::None);
    box.call("spin_lock", first + 4);
    EXPECT_EQ(box.env.trap, TrapCode::BadArgument) << "no lock is there";
}

TEST(SpinLock, WaitingCostsFuel) {
    Sandbox box({lock_map()});
    ASSERT_EQ(value_locks(*box.maps[0])->lock(box.maps[0]->values().base, 7), 0);
    box.env.fuel = 10;
    box.env.fuel_reserve = 0;
    box.call("spin_lock", guest_address(region::kFirstMap, 0));
    EXPECT_EQ(box.env.trap, TrapCode::Fuel);
}

TEST(PerfEvents, NobodyListensOrTheRecordArrives) {
    Sandbox box({map_of(MapType::PerfEventArray, 4, 4, 64)});
    int context = 0;
    box.env.ctx = &context;
    constexpr uint64_t kCurrentCpu = 0xffffffff;
    box.put<uint64_t>(0, 7);
    EXPECT_EQ(static_cast<int64_t>(box.call("perf_event_output", box.context(), box.map_handle(0),
                                            kCurrentCpu, box.stack_at(0), 8)),
              -2);
    ASSERT_EQ(box.maps[0]->open_events(4096), 0);
    EXPECT_EQ(box.call("perf_event_output", box.context(), box.map_handle(0), kCurrentCpu,
                       box.stack_at(0), 8),
              0u);
    EXPECT_EQ(consumed(*box.maps[0]), 1u);
    EXPECT_EQ(static_cast<int64_t>(box.call("perf_event_output", box.context(), box.map_handle(0),
                                            uint64_t{1} << 33, box.stack_at(0), 8)),
              -22);
}

TEST(Identity, ComesFromTheServices) {
    Sandbox box;
    box.services.task = [] {
        Services::Task task;
        task.pid = 7;
        task.tgid = 5;
        task.uid = 1000;
        return task;
    };
    EXPECT_EQ(box.call("get_current_pid_tgid"), uint64_t{5} << 32 | 7);
    EXPECT_EQ(box.call("get_current_uid_gid"), 1000u);
    box.put<uint64_t>(0, ~uint64_t{0});
    EXPECT_EQ(box.call("get_current_comm", box.stack_at(0), 3), 0u);
    EXPECT_EQ(box.get<uint32_t>(0), 0xff00'6b73u);  // "sk\0", and what was behind
    box.services.ktime_ns = [] { return uint64_t{8'000'000}; };
    EXPECT_EQ(box.call("ktime_get_ns"), 8'000'000u);
    EXPECT_EQ(box.call("jiffies64"), 2u);
    EXPECT_EQ(static_cast<int64_t>(box.call("send_signal", 9)), -1);
}

}  // namespace
}  // namespace skep
