#include "vm/prog/cfg.hpp"

#include <gtest/gtest.h>
#include <random>
#include <set>

#include "tests/prog/insn_builder.hpp"

namespace skep {
namespace {

using namespace build;

ErrorCode error_of(const Program& p, const CfgOptions& options = {}) {
    const auto cfg = Cfg::build(p, options);
    return cfg ? ErrorCode::None : cfg.error().code;
}

TEST(Cfg, CutsBlocksAndFindsDominators) {
    // 0: r0=0; 1: if r1==0 goto 4; 2: r0=1; 3: goto 5; 4: r0=2; 5: exit
    const Program p =
        program({{mov(0, 0), branch(CondOp::Eq, 1, 0, 4), mov(0, 1), jump(5), mov(0, 2), exit()}});
    const auto cfg = Cfg::build(p);
    ASSERT_TRUE(cfg) << cfg.error().to_string();
    ASSERT_EQ(cfg->blocks().size(), 4u);
    EXPECT_EQ(cfg->block_of(1), 0u);
    EXPECT_EQ(cfg->block_of(3), 1u);
    EXPECT_EQ(cfg->block(3).dominator, 0u);
    EXPECT_TRUE(cfg->dominates(0, 3));
    EXPECT_FALSE(cfg->dominates(1, 3));
    EXPECT_EQ(cfg->predecessors(3).size(), 2u);
    EXPECT_FALSE(cfg->is_in_loop(0));
    EXPECT_TRUE(cfg->is_block_start(4));
    EXPECT_EQ(cfg->dump(),
              "subprogram 0:\n"
              "  block 0: 0..1 -> 1, 2\n"
              "  block 1: 2..3 -> 3 dominator 0\n"
              "  block 2: 4..4 -> 3 dominator 0\n"
              "  block 3: 5..5 dominator 0\n");
}

TEST(Cfg, NestsLoops) {
    // 0: r1=0  outer 1: r2=0  inner 2: r2+=1  3: if r2<4 goto 2  4: r1+=1  5: if r1<4 goto 1  6:
    // exit
    const Program p =
        program({{mov(1, 0), mov(2, 0), alu(AluOp::Add, 2, 1), branch(CondOp::Lt, 2, 4, 2),
                  alu(AluOp::Add, 1, 1), branch(CondOp::Lt, 1, 4, 1), exit()}});
    const auto cfg = Cfg::build(p);
    ASSERT_TRUE(cfg);
    EXPECT_TRUE(cfg->is_loop_head(1));
    EXPECT_TRUE(cfg->is_loop_head(2));
    EXPECT_TRUE(cfg->is_back_edge(3, 2));
    EXPECT_TRUE(cfg->is_back_edge(5, 1));
    EXPECT_FALSE(cfg->is_back_edge(5, 6));
    const uint32_t inner = cfg->block_of(2), outer = cfg->block_of(1);
    EXPECT_EQ(cfg->block(inner).outer_head, outer);
    EXPECT_EQ(cfg->block(cfg->block_of(4)).loop_head, outer);
    EXPECT_EQ(cfg->block(cfg->block_of(6)).loop_head, kNoIndex);
    EXPECT_EQ(cfg->block(inner).component, cfg->block(outer).component);
    EXPECT_FALSE(cfg->is_in_loop(6));
}

TEST(Cfg, RefusesBrokenStructure) {
    EXPECT_EQ(error_of(program({{mov(0, 0)}})), ErrorCode::FallsOffEnd);
    EXPECT_EQ(error_of(program({{branch(CondOp::Eq, 0, 0, 0), call(1)}})), ErrorCode::FallsOffEnd);
    EXPECT_EQ(error_of(program({{jump(7)}})), ErrorCode::JumpOutOfRange);
    EXPECT_EQ(error_of(program({{jump(-1)}})), ErrorCode::JumpOutOfRange);
    EXPECT_EQ(error_of(program({{jump(2)}, {exit(), exit()}})), ErrorCode::JumpOutOfRange);
    EXPECT_EQ(error_of(program({{jump(2), imm64(0, 1), imm64_high(), exit()}})),
              ErrorCode::BadJump);
    EXPECT_EQ(error_of(program({{call_local(3), exit()}, {exit(), exit()}})),
              ErrorCode::JumpOutOfRange);
    EXPECT_EQ(error_of(Program{}), ErrorCode::EmptyProgram);
}

TEST(Cfg, UnreachableInstructionsAreAnErrorOnRequest) {
    const Program dead = program({{jump(2), mov(0, 0), exit()}});
    EXPECT_EQ(error_of(dead), ErrorCode::None);
    EXPECT_EQ(error_of(dead, {.reject_unreachable = true}), ErrorCode::UnreachableInsn);
    const Program uncalled = program({{exit()}, {exit()}});
    EXPECT_EQ(error_of(uncalled, {.reject_unreachable = true}), ErrorCode::UnreachableInsn);
    EXPECT_FALSE(Cfg::build(uncalled)->is_reachable(1));
}

TEST(Cfg, FindsRecursionAndDepth) {
    // f0 -> f1 -> f2
    const Program chain = program({{call_local(2), exit()}, {call_local(4), exit()}, {exit()}});
    const auto cfg = Cfg::build(chain);
    ASSERT_TRUE(cfg);
    EXPECT_EQ(cfg->call_depth(), 3u);
    EXPECT_EQ(cfg->callees_first()[0], 2u);
    EXPECT_EQ(cfg->subprograms()[0].callees, std::vector<uint32_t>{1});
    const Program cycle =
        program({{call_local(2), exit()}, {call_local(4), exit()}, {call_local(2), exit()}});
    EXPECT_FALSE(Cfg::build(cycle)->subprograms()[0].is_recursive);
    EXPECT_TRUE(Cfg::build(cycle)->subprograms()[1].is_recursive);
    const Program self = program({{call_local(0), exit()}});
    EXPECT_TRUE(Cfg::build(self)->subprograms()[0].is_recursive);
}

// Dominance, components and loop heads against their definitions, on random graphs.
TEST(Cfg, AgreesWithDefinitionsOnRandomPrograms) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (int round = 0; round < 300; ++round) {
        const uint32_t n = 2 + random() % 12;
        std::vector<Insn> insns;
        for (uint32_t i = 0; i + 1 < n; ++i) {
            const auto target = static_cast<int32_t>(random() % n);
            if (random() % 3 == 0)
                insns.push_back(jump(target));
            else
                insns.push_back(branch(CondOp::Eq, 0, 0, target));
        }
        insns.push_back(exit());
        const auto cfg = Cfg::build(program({insns}));
        ASSERT_TRUE(cfg);
        const auto blocks = static_cast<uint32_t>(cfg->blocks().size());
        // Blocks reachable from `start` without entering `avoided`.
        const auto reach = [&](uint32_t start, uint32_t avoided) {
            std::set<uint32_t> seen;
            std::vector<uint32_t> work;
            if (start != avoided) work.push_back(start);
            while (!work.empty()) {
                const uint32_t b = work.back();
                work.pop_back();
                if (!seen.insert(b).second) continue;
                for (const uint32_t s : cfg->block(b).next())
                    if (s != avoided) work.push_back(s);
            }
            return seen;
        };
        const auto all = reach(0, kNoIndex);
        for (uint32_t b = 0; b < blocks; ++b) {
            ASSERT_EQ(cfg->block(b).is_reachable, all.contains(b));
            if (!all.contains(b)) continue;
            for (uint32_t a = 0; a < blocks; ++a) {
                if (!all.contains(a)) continue;
                ASSERT_EQ(cfg->dominates(a, b), a == b || !reach(0, a).contains(b))
                    << a << " " << b << "\n"
                    << cfg->dump();
                const bool same =
                    a != b && reach(a, kNoIndex).contains(b) && reach(b, kNoIndex).contains(a);
                if (a == b) continue;
                ASSERT_EQ(same, cfg->block(a).component != 0 &&
                                    cfg->block(a).component == cfg->block(b).component);
            }
        }
        // Without the loop heads no cycle is left.
        for (uint32_t b = 0; b < blocks; ++b) {
            if (!all.contains(b) || cfg->block(b).is_loop_head) continue;
            std::set<uint32_t> seen;
            std::vector<uint32_t> work{b};
            bool returns = false;
            while (!work.empty()) {
                const uint32_t x = work.back();
                work.pop_back();
                for (const uint32_t s : cfg->block(x).next()) {
                    returns |= s == b;
                    if (!cfg->block(s).is_loop_head && seen.insert(s).second) work.push_back(s);
                }
            }
            ASSERT_FALSE(returns) << b << "\n" << cfg->dump();
        }
    }
}

TEST(Cfg, DeepNestsTakeLinearTime) {
    // Loops nested as deep as the program is long: every second block is a head.
    const int32_t n = 100'000;
    std::vector<Insn> insns;
    for (int32_t i = 0; i < n; ++i) insns.push_back(mov(0, i));
    for (int32_t i = n; i-- > 0;) insns.push_back(branch(CondOp::Eq, 0, 0, i));
    insns.push_back(exit());
    const auto cfg = Cfg::build(program({insns}));
    ASSERT_TRUE(cfg);
    EXPECT_TRUE(cfg->is_loop_head(0));
    EXPECT_TRUE(cfg->is_loop_head(n - 1));
}

}  // namespace
}  // namespace skep
