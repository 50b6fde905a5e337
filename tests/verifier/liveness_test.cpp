#include "verifier/liveness.hpp"

#include <gtest/gtest.h>

#include "tests/prog/insn_builder.hpp"

namespace skep {
namespace {

using namespace build;

Liveness liveness(const Program& p, const CallReader& reads = {}) {
    const auto cfg = Cfg::build(p);
    EXPECT_TRUE(cfg);
    return Liveness::compute(p, *cfg, reads);
}
constexpr uint16_t regs(std::initializer_list<unsigned> list) {
    uint16_t mask = 0;
    for (const unsigned r : list) mask |= static_cast<uint16_t>(1u << r);
    return mask;
}

TEST(Liveness, MovesAndBranches) {
    // 0: r2=r1  1: if r2==0 goto 3  2: r3=5  3: r0=r2  4: exit
    const Program p =
        program({{mov_reg(2, 1), branch(CondOp::Eq, 2, 0, 3), mov(3, 5), mov_reg(0, 2), exit()}});
    const Liveness l = liveness(p);
    EXPECT_EQ(l.registers_before(0), regs({1}));
    EXPECT_EQ(l.registers_before(2), regs({2}));
    EXPECT_EQ(l.registers_before(3), regs({2}));
    EXPECT_EQ(l.registers_before(4), regs({0}));
    EXPECT_EQ(l.dump(p), "0: r1\n1: r2\n2: r2\n3: r2\n4: r0\n");
}

TEST(Liveness, CallsReadTheirArgumentsAndClobber) {
    const Program p = program({{call(1), mov_reg(0, 6), exit()}});
    EXPECT_EQ(liveness(p).registers_before(0), regs({1, 2, 3, 4, 5, 6}));
    const auto two = [](uint32_t) { return CallReads{.args = 2}; };
    EXPECT_EQ(liveness(p, two).registers_before(0), regs({1, 2, 6}));
}

TEST(Liveness, LocalCallsReadWhatTheCalleeReads) {
    const Program p = program({{call_local(2), exit()}, {mov_reg(0, 2), exit()}});
    EXPECT_EQ(liveness(p).registers_before(0), regs({2}));
    EXPECT_EQ(liveness(p).registers_across(0), 0);
    const Program recursive = program({{call_local(2), exit()}, {call_local(2), exit()}});
    EXPECT_EQ(liveness(recursive).registers_before(0), regs({1, 2, 3, 4, 5}));
}

TEST(Liveness, LoopsKeepWhatTheNextRoundReads) {
    // 0: r1=0 1: r2=r3 2: r1+=1 3: if r1<9 goto 1 4: r0=r1 5: exit
    const Program p = program({{mov(1, 0), mov_reg(2, 3), alu(AluOp::Add, 1, 1),
                                branch(CondOp::Lt, 1, 9, 1), mov_reg(0, 1), exit()}});
    EXPECT_EQ(liveness(p).registers_before(2), regs({1, 3}));
    EXPECT_EQ(liveness(p).registers_before(0), regs({3}));
}

TEST(Liveness, StackSlotsLiveFromStoreToLoad) {
    // 0: *(u64*)(r10-8)=r1 1: r2=r10 2: r2+=-4 3: r0=*(u32*)(r2+0) 4: exit
    const Program p = program({{store(10, -8, 1), mov_reg(2, 10), alu(AluOp::Add, 2, -4),
                                load(0, 2, 0, Width::W), exit()}});
    const Liveness l = liveness(p);
    EXPECT_TRUE(l.stack_before(0).empty());
    EXPECT_EQ(l.stack_before(1), granules(0, 0));
    EXPECT_EQ(l.stack_before(3), granules(0, 0));
    EXPECT_TRUE(l.stack_before(4).empty());
}

TEST(Liveness, PartialStoresKill) {
    // A two-byte store leaves the rest of its granule alive.
    const Program p = program({{store(10, -8, 1, Width::H), load(0, 10, -8), exit()}});
    EXPECT_EQ(liveness(p).stack_before(0), granules(0, 1));
    const Program half = program({{store(10, -8, 1, Width::W), load(0, 10, -8), exit()}});
    EXPECT_EQ(liveness(half).stack_before(0), granules(0, 0));
}

TEST(Liveness, EscapedAddressesReadEverythingAbove) {
    // 0: r2=r10 1: r2+=-16 2: call 1 3: exit
    const Program p = program({{mov_reg(2, 10), alu(AluOp::Add, 2, -16), call(1), exit()}});
    EXPECT_EQ(liveness(p).stack_before(2), granules(0, 3));
    const auto key = [](uint32_t) { return CallReads{.args = 2, .bytes = {0, 4, 0, 0, 0}}; };
    EXPECT_EQ(liveness(p, key).stack_before(2), granules(3, 3));
    const Program local = program({{mov_reg(1, 10), alu(AluOp::Add, 1, -16), call_local(4), exit()},
                                   {load(0, 1, 0), exit()}});
    EXPECT_EQ(liveness(local).stack_across(2), granules(0, 3));
}

TEST(Liveness, SpilledAddressesMayComeBack) {
    // 0: r2=r10 1: *(r10-8)=r2 2: r3=*(r10-8) 3: r0=*(r3-24) 4: exit
    const Program p =
        program({{mov_reg(2, 10), store(10, -8, 2), load(3, 10, -8), load(0, 3, -24), exit()}});
    EXPECT_EQ(liveness(p).stack_before(3), ~StackMask{});
}

TEST(Liveness, AddressesThatDifferByPathReadBoth) {
    // 0: r2=r10 1: if r1==0 goto 3 2: r2+=-8 3: r0=*(r2-8) 4: exit; stores through it kill nothing
    const Program p = program({{mov_reg(2, 10), branch(CondOp::Eq, 1, 0, 3), alu(AluOp::Add, 2, -8),
                                load(0, 2, -8), exit()}});
    EXPECT_EQ(liveness(p).stack_before(3), ~StackMask{});
    const Program stores =
        program({{mov_reg(2, 10), branch(CondOp::Eq, 1, 0, 3), alu(AluOp::Add, 2, -8),
                  store(2, -8, 1), load(0, 10, -8), exit()}});
    EXPECT_EQ(liveness(stores).stack_before(3), granules(0, 1));
}

TEST(StackMask, GranulesOfByteRanges) {
    EXPECT_EQ(granules_touched(-8, 8), granules(0, 1));
    EXPECT_EQ(granules_touched(-5, 2), granules(0, 1));
    EXPECT_TRUE(granules_covered(-5, 2).empty());
    EXPECT_EQ(granules_covered(-7, 7), granules(0, 0));
    EXPECT_EQ(granules_touched(-600, 1000), ~StackMask{});
    EXPECT_TRUE(granules_touched(0, 8).empty());
    EXPECT_EQ(granules_covered(-512, 512), ~StackMask{});
    EXPECT_EQ(granules(63, 64), (StackMask{uint64_t{1} << 63, 1}));
}

}  // namespace
}  // namespace skep
