// bpf_timer: armed by programs, fired by the host.
#include "tests/api/vm_fixture.hpp"

namespace skep::test {
namespace {

constexpr uint32_t kTimerAt = 8;  // struct { u64 count; struct bpf_timer timer; }

MapDef timer_map(MapType type, uint32_t entries = 4) {
    MapDef def = map_def("timers", type, 4, 24, entries);
    def.fields = {{FieldKind::Timer, kTimerAt, 16, 0}};
    return def;
}

// r6 = the timer of key 3, or the program ends with 99.
constexpr std::string_view kFind = R"(
        *(u32 *)(r10 - 4) = 3
        r2 = r10
        r2 += -4
        r1 = map[0] ll
        call bpf_map_lookup_elem
        if r0 == 0 goto none
        r6 = r0
        r6 += 8
)";
constexpr std::string_view kNone = R"(
  none: r0 = 99
        exit
)";
constexpr std::string_view kInit = R"(
        r1 = r6
        r2 = map[0] ll
        r3 = 1
        call bpf_timer_init
)";
constexpr std::string_view kSetCallback = R"(
        r1 = r6
        r2 = func fired ll
        call bpf_timer_set_callback
)";
constexpr std::string_view kStart = R"(
        r1 = r6
        r2 = 1000
        r3 = 0
        call bpf_timer_start
)";
constexpr std::string_view kCancel = R"(
        r1 = r6
        call bpf_timer_cancel
)";
// Adds the key to the value's first word.
constexpr std::string_view kCount = R"(
 fired: r1 = *(u32 *)(r2 + 0)
        lock *(u64 *)(r3 + 0) += r1
        r0 = 0
        exit
)";

std::string text(std::initializer_list<std::string_view> parts) {
    std::string all;
    for (const std::string_view part : parts) all += part;
    return all;
}

struct Param {
    Mode mode;
    Engine engine;
};

class Timers : public testing::TestWithParam<Param> {
protected:
    Vm vm() {
        VmOptions options;
        options.mode = GetParam().mode;
        options.engine = GetParam().engine;
        options.policy = Policy::Extended;
        options.services.ktime_ns = [this] { return now_; };
        options.services.tai_ns = [this] { return now_ + 1'000'000; };
        auto made = Vm::create(std::move(options));
        EXPECT_TRUE(made.has_value());
        return *std::move(made);
    }
    static uint64_t count(Map& map, uint32_t key = 3) {
        std::array<uint64_t, 3> value{};
        EXPECT_EQ(map.host_lookup(reinterpret_cast<const std::byte*>(&key),
                                  std::as_writable_bytes(std::span(value)), 0),
                  0);
        EXPECT_EQ(value[1] | value[2], 0u) << "a timer is never read out";
        return value[0];
    }
    static long put(Map& map, uint32_t key = 3) {
        const std::array<uint64_t, 3> value{};
        return map.host_update(reinterpret_cast<const std::byte*>(&key),
                               std::as_bytes(std::span(value)), 0);
    }

    uint64_t now_ = 5000;
};

TEST_P(Timers, FireWhenTheHostSaysThatTheyAreDue) {
    for (const MapType type : {MapType::Array, MapType::Hash, MapType::LruHash}) {
        Vm vm = this->vm();
        const MapDef defs[] = {timer_map(type)};
        const LoadedProgram program = load(
            vm, text({kFind, kInit, kSetCallback, kStart, "exit\n", kNone, kCount}), "raw", defs);
        const auto map = vm.map("timers");
        ASSERT_NE(map, nullptr);
        ASSERT_EQ(put(*map), 0);
        EXPECT_EQ(vm.next_timer(), std::nullopt);
        EXPECT_EQ(run_bytes(program).r0, 0u);
        EXPECT_EQ(vm.next_timer(), 6000u);
        EXPECT_EQ(vm.run_timers(5999)->fired, 0u);
        EXPECT_EQ(vm.run_timers(6000)->fired, 1u);
        EXPECT_EQ(vm.run_timers(9000)->fired, 0u);
        EXPECT_EQ(count(*map), 3u);
        // Initialised once.
        EXPECT_EQ(run_bytes(program).r0, 0u) << "the last call starts it again";
        EXPECT_EQ(vm.run_timers(7000)->fired, 1u);
        EXPECT_EQ(count(*map), 6u);
    }
}

TEST_P(Timers, EndWithTheirValue) {
    for (const MapType type : {MapType::Array, MapType::Hash}) {
        Vm vm = this->vm();
        const MapDef defs[] = {timer_map(type)};
        const LoadedProgram program = load(
            vm, text({kFind, kInit, kSetCallback, kStart, "exit\n", kNone, kCount}), "raw", defs);
        const auto map = vm.map("timers");
        const uint32_t key = 3;
        ASSERT_EQ(put(*map), 0);
        EXPECT_EQ(run_bytes(program).r0, 0u);
        ASSERT_EQ(put(*map), 0) << "an update ends the old value";
        EXPECT_EQ(vm.next_timer(), std::nullopt);
        EXPECT_EQ(run_bytes(program).r0, 0u) << "the new value has a timer of its own";
        EXPECT_NE(vm.next_timer(), std::nullopt);
        if (type == MapType::Array) continue;
        ASSERT_EQ(map->host_erase(reinterpret_cast<const std::byte*>(&key)), 0);
        EXPECT_EQ(vm.next_timer(), std::nullopt);
        EXPECT_EQ(vm.run_timers(UINT64_MAX)->fired, 0u);
    }
}

TEST_P(Timers, EndWithTheirProgramAndMap) {
    const MapDef defs[] = {timer_map(MapType::Array)};
    Vm vm = this->vm();
    const std::string source = text({kFind, kInit, kSetCallback, kStart, "exit\n", kNone, kCount});
    {
        const LoadedProgram program = load(vm, source, "raw", defs);
        EXPECT_EQ(run_bytes(program).r0, 0u);
        EXPECT_EQ(vm.next_timer(), 6000u);
    }
    EXPECT_EQ(vm.run_timers(UINT64_MAX)->fired, 0u);
    // A map that outlives the Vm whose wheel its timer waits on.
    std::shared_ptr<Map> map;
    {
        Vm other = this->vm();
        const LoadedProgram program = load(other, source, "raw", defs);
        map = other.map("timers");
        EXPECT_EQ(run_bytes(program).r0, 0u);
    }
    EXPECT_EQ(put(*map), 0);
}

TEST_P(Timers, WrongUsesAreLinuxsErrors) {
    Vm vm = this->vm();
    const MapDef defs[] = {timer_map(MapType::Array)};
    const auto result = [&](std::initializer_list<std::string_view> body) {
        std::string source = text({kFind});
        for (const std::string_view part : body) source += part;
        source += text({"exit\n", kNone, kCount});
        Vm fresh = this->vm();
        const LoadedProgram program = load(fresh, source, "raw", defs);
        return static_cast<int64_t>(run_bytes(program).r0);
    };
    // A program without a reference to the callback does not assemble it: keep one.
    EXPECT_EQ(result({kSetCallback}), -22);
    EXPECT_EQ(result({kStart, "r7 = r0\n", kSetCallback, "r0 = r7\n"}), -22);
    EXPECT_EQ(result({kInit, kStart, "r7 = r0\n", kSetCallback, "r0 = r7\n"}), -22);
    EXPECT_EQ(result({kInit, kInit, "r7 = r0\n", kSetCallback, "r0 = r7\n"}), -16);
    EXPECT_EQ(result({kCancel, "r7 = r0\n", kSetCallback, "r0 = r7\n"}), -22);
    EXPECT_EQ(result({kInit, kSetCallback, kCancel}), 0);
    EXPECT_EQ(result({kInit, kSetCallback, kStart, kCancel}), 1);
    EXPECT_EQ(result({kInit, kSetCallback, kStart, kCancel, kStart}), -22)
        << "cancelling forgets the callback";
    EXPECT_EQ(result({kInit, kSetCallback, "r1 = r6\nr2 = 5\nr3 = 4\ncall bpf_timer_start\n"}),
              -22);
    EXPECT_EQ(result({kInit, kSetCallback, "r1 = r6\nr2 = 5\nr3 = 2\ncall bpf_timer_start\n"}), 0);
    for (const int clock : {2, 3, 16, -1}) {
        EXPECT_EQ(result({"r1 = r6\nr2 = map[0] ll\nr3 = " + std::to_string(clock) +
                              "\ncall bpf_timer_init\nr7 = r0\n",
                          kSetCallback, "r0 = r7\n"}),
                  -22)
            << clock;
    }
}

TEST_P(Timers, AbsoluteTimesAreOnTheTimersClock) {
    const MapDef defs[] = {timer_map(MapType::Array)};
    const auto next = [&](const char* clock, const char* time) {
        Vm vm = this->vm();
        const LoadedProgram program =
            load(vm,
                 text({kFind, "r1 = r6\nr2 = map[0] ll\nr3 = ", clock, "\ncall bpf_timer_init\n",
                       kSetCallback, "r1 = r6\nr2 = ", time,
                       "\nr3 = 1\ncall bpf_timer_start\nexit\n", kNone, kCount}),
                 "raw", defs);
        EXPECT_EQ(run_bytes(program).r0, 0u);
        return vm.next_timer();
    };
    EXPECT_EQ(next("1", "7000"), 7000u);
    EXPECT_EQ(next("1", "70"), 5000u) << "what is past is due at once";
    EXPECT_EQ(next("0", "1007000"), 7000u);
}

TEST_P(Timers, CallbacksRestartAndCannotCancelThemselves) {
    Vm vm = this->vm();
    const MapDef defs[] = {timer_map(MapType::Array)};
    constexpr std::string_view kAgain = R"(
 fired: r6 = r3
        r1 = r3
        r1 += 8
        call bpf_timer_cancel
        if r0 != -35 goto out
        r1 = r6
        r1 += 8
        r2 = 1000
        r3 = 0
        call bpf_timer_start
        if r0 != 0 goto out
        r1 = 1
        lock *(u64 *)(r6 + 0) += r1
   out: r0 = 0
        exit
)";
    const LoadedProgram program =
        load(vm, text({kFind, kInit, kSetCallback, kStart, "exit\n", kNone, kAgain}), "raw", defs);
    EXPECT_EQ(run_bytes(program).r0, 0u);
    for (int n = 0; n < 5; ++n) {
        const auto due = vm.next_timer();
        ASSERT_TRUE(due);
        EXPECT_EQ(*due, 6000u + 1000u * static_cast<unsigned>(n));
        now_ = *due;
        EXPECT_EQ(vm.run_timers(now_)->fired, 1u);
    }
    EXPECT_EQ(count(*vm.map("timers")), 5u);
}

TEST_P(Timers, ManyFireInTheOrderInWhichTheyAreDue) {
    if (GetParam().mode == Mode::Verified) GTEST_SKIP() << "the program is not bounded for proof";
    Vm vm = this->vm();
    const MapDef defs[] = {timer_map(MapType::Hash, 64)};
    // Timer of key r8, due r8 * 7 % 16 after now; the callback notes a running number (key 63).
    const LoadedProgram program = load(vm, R"(
        r8 = 0
  next: *(u32 *)(r10 - 4) = r8
        r2 = r10
        r2 += -4
        r1 = map[0] ll
        call bpf_map_lookup_elem
        r6 = r0
        r6 += 8
        r1 = r6
        r2 = map[0] ll
        r3 = 1
        call bpf_timer_init
        r1 = r6
        r2 = func fired ll
        call bpf_timer_set_callback
        r1 = r6
        r2 = r8
        r2 *= 7
        r2 &= 15
        r3 = 0
        call bpf_timer_start
        r8 += 1
        if r8 < 16 goto next
        r0 = 0
        exit
 fired: r6 = r3
        *(u32 *)(r10 - 4) = 63
        r2 = r10
        r2 += -4
        call bpf_map_lookup_elem
        r1 = 1
        r1 = atomic_fetch_add((u64 *)(r0 + 0), r1)
        *(u64 *)(r6 + 0) = r1
        r0 = 0
        exit
)",
                                       "raw", defs);
    const auto map = vm.map("timers");
    for (uint32_t key = 0; key < 16; ++key) ASSERT_EQ(put(*map, key), 0);
    ASSERT_EQ(put(*map, 63), 0);
    ASSERT_EQ(run_bytes(program).r0, 0u);
    const auto runs = vm.run_timers(6000);
    EXPECT_EQ(runs->fired, 16u);
    EXPECT_EQ(runs->trapped, 0u);
    for (uint32_t key = 0; key < 16; ++key) EXPECT_EQ(count(*map, key), key * 7 % 16) << key;
}

TEST_P(Timers, ATrapInACallbackIsReported) {
    if (GetParam().mode == Mode::Verified) GTEST_SKIP() << "proven programs do not trap";
    Vm vm = this->vm();
    const MapDef defs[] = {timer_map(MapType::Array)};
    const LoadedProgram program = load(vm,
                                       text({kFind, kInit, kSetCallback, kStart, "exit\n", kNone,
                                             " fired: r1 = 0\nr0 = *(u64 *)(r1 + 0)\nexit\n"}),
                                       "raw", defs);
    EXPECT_EQ(run_bytes(program).r0, 0u);
    const auto runs = vm.run_timers(6000);
    EXPECT_EQ(runs->fired, 1u);
    EXPECT_EQ(runs->trapped, 1u);
    EXPECT_EQ(runs->first_trap.trap, TrapCode::OutOfBounds);
    EXPECT_NE(program.describe(runs->first_trap).message, "");
}

// A sandboxed program that scribbles over its value, or names what is no timer, gains nothing.
TEST(TimerForgery, ValuesHoldNoTimer) {
    Vm vm = make_vm();
    const MapDef defs[] = {timer_map(MapType::Array)};
    const LoadedProgram scribble = load(
        vm,
        text({kFind, kInit, kSetCallback, "r1 = -1\n*(u64 *)(r6 + 0) = r1\n*(u64 *)(r6 + 8) = r1\n",
              kStart, "exit\n", kNone, kCount}),
        "raw", defs);
    EXPECT_EQ(run_bytes(scribble).r0, 0u);
    EXPECT_EQ(vm.run_timers(UINT64_MAX)->fired, 1u);
    Vm second = make_vm();
    const LoadedProgram wrong =
        load(second, text({kFind, "r6 += -8\n", kInit, "exit\n", kNone}), "raw", defs);
    EXPECT_EQ(run_bytes(wrong).trap, TrapCode::BadArgument);
}

std::string name_of_param(const testing::TestParamInfo<Param>& info) {
    return std::string(info.param.mode == Mode::Sandbox ? "Sandbox" : "Verified") +
           (info.param.engine == Engine::Interpreter ? "Interpreter" : "Default");
}
INSTANTIATE_TEST_SUITE_P(Modes, Timers,
                         testing::Values(Param{Mode::Sandbox, Engine::Interpreter},
                                         Param{Mode::Sandbox, Engine::Default},
                                         Param{Mode::Verified, Engine::Interpreter},
                                         Param{Mode::Verified, Engine::Default}),
                         name_of_param);

// Sharing between Vms, and a program's successor on the same map.
TEST(SharedMaps, OneMapForTwoVmsAndForASuccessor) {
    const MapDef defs[] = {map_def("counts", MapType::Array, 4, 8, 1)};
    constexpr std::string_view kAdd = R"(
        *(u32 *)(r10 - 4) = 0
        r2 = r10
        r2 += -4
        r1 = map[0] ll
        call bpf_map_lookup_elem
        if r0 == 0 goto out
        r1 = 1
        lock *(u64 *)(r0 + 0) += r1
        r0 = *(u64 *)(r0 + 0)
   out: exit)";
    Vm first = make_vm(), second = make_vm();
    LoadedProgram program = load(first, kAdd, "raw", defs);
    EXPECT_EQ(run_bytes(program).r0, 1u);
    const auto map = first.map("counts");
    ASSERT_TRUE(second.use_map("counts", map));
    EXPECT_EQ(run_bytes(load(second, kAdd, "raw", defs)).r0, 2u);
    EXPECT_EQ(second.map("counts"), map);
    ASSERT_TRUE(first.use_map("counts", map));
    program = load(first, kAdd, "raw", defs);
    EXPECT_EQ(run_bytes(program).r0, 3u);
    EXPECT_EQ(first.maps().size(), 1u);
    EXPECT_GT(first.memory().values, 0u);
    const MapDef other[] = {map_def("counts", MapType::Array, 4, 16, 1)};
    EXPECT_FALSE(first.load_raw(slots_of(kAdd), "raw", other).has_value());
    EXPECT_FALSE(first.use_map("counts", nullptr).has_value());
}

}  // namespace
}  // namespace skep::test
