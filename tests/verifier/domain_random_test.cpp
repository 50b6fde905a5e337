// Containment at 64 bits on structured random values, and the laws of the lattice.
//
// SKEP_SAMPLES sets the samples per operator, SKEP_SEED the seed.
#include <cstdlib>
#include <gtest/gtest.h>
#include <random>

#include "verifier/scalar.hpp"
#include "vm/isa/semantics.hpp"

namespace skep {
namespace {

#ifdef NDEBUG
constexpr uint64_t kDefaultSamples = 100'000;
#else
constexpr uint64_t kDefaultSamples = 8'000;
#endif

uint64_t from_environment(const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 0) : otherwise;
}

struct Sample {
    Scalar scalar;
    uint64_t member;
};

class Generator {
public:
    explicit Generator(uint64_t seed) : random_(seed) {}

    uint64_t bits() { return random_(); }
    // Numbers near what matters: small, powers of two, the ends of the signed and 32-bit ranges.
    uint64_t number() {
        const uint64_t near = random_() % 5 - 2;
        switch (random_() % 8) {
            case 0: return random_();
            case 1: return (uint64_t{1} << random_() % 64) + near;
            case 2: return random_() % 16 + near;
            case 3: return ~random_() % 300;
            case 4: return random_() >> random_() % 64;
            case 5: return (random_() << 32) + near;
            case 6: return static_cast<uint64_t>(int64_t{INT32_MIN}) + near;
            default: return static_cast<uint32_t>(random_() >> random_() % 64);
        }
    }
    // A consistent scalar, and one of its values.
    Sample sample() {
        const uint64_t x = number();
        Scalar s = Scalar::unknown();
        for (uint64_t n = random_() % 4; n-- > 0;) s = narrow(s, x);
        if (random_() % 12 == 0) s = Scalar::constant(x);
        return {s, x};
    }

private:
    Scalar narrow(const Scalar& s, uint64_t x) {
        Scalar t = Scalar::unknown();
        const uint64_t slack = random_() >> random_() % 64;
        switch (random_() % 6) {
            case 0: return join(s, Scalar::constant(number()));
            case 1:
                t.bits.mask = random_() & random_();
                t.bits.value = x & ~t.bits.mask;
                break;
            case 2:
                t.umin = x - std::min(x, slack);
                t.umax = x + std::min(~x, slack >> random_() % 64);
                break;
            case 3: {
                const auto y = static_cast<int64_t>(x);
                const auto room = static_cast<int64_t>(slack >> 1);
                t.smin = y < INT64_MIN + room ? INT64_MIN : y - room;
                t.smax = y > INT64_MAX - room ? INT64_MAX : y + room;
                break;
            }
            case 4: {
                const auto y = static_cast<uint32_t>(x), room = static_cast<uint32_t>(slack >> 32);
                t.u32_min = y - std::min(y, room);
                t.u32_max = y + std::min(~y, room);
                break;
            }
            default: {
                const auto y = static_cast<int32_t>(x);
                const auto room = static_cast<int32_t>(slack >> 33);
                t.s32_min = y < INT32_MIN + room ? INT32_MIN : y - room;
                t.s32_max = y > INT32_MAX - room ? INT32_MAX : y + room;
                break;
            }
        }
        return meet(s, sync(t));
    }
    std::mt19937_64 random_;
};

class DomainRandom : public testing::Test {
protected:
    uint64_t seed_ = from_environment("SKEP_SEED", std::random_device{}());
    uint64_t samples_ = from_environment("SKEP_SAMPLES", kDefaultSamples);
    Generator generator_{seed_};
    testing::ScopedTrace trace_{__FILE__, __LINE__, "SKEP_SEED=" + std::to_string(seed_)};
};

std::vector<Insn> instructions() {
    std::vector<Insn> out;
    Insn i;
    for (const Width width : {Width::Dw, Width::W}) {
        i = {};
        i.kind = Kind::Alu;
        i.width = width;
        for (unsigned op = 0; op < 12; ++op) {
            i.op = static_cast<uint8_t>(op);
            out.push_back(i);
            if (i.alu() == AluOp::Div || i.alu() == AluOp::Mod) {
                i.sign = true;
                out.push_back(i);
                i.sign = false;
            }
        }
        i.op = static_cast<uint8_t>(AluOp::Mov);
        for (const uint8_t sext : {8, 16, 32}) {
            if (sext == 32 && width == Width::W) continue;
            i.sext = sext;
            out.push_back(i);
        }
        i = {};
        i.kind = Kind::Neg;
        i.width = width;
        out.push_back(i);
    }
    for (const EndianOp op : {EndianOp::ToLe, EndianOp::ToBe, EndianOp::Swap}) {
        for (const int bits : {16, 32, 64}) {
            i = {};
            i.kind = Kind::Endian;
            i.op = static_cast<uint8_t>(op);
            i.imm = bits;
            out.push_back(i);
        }
    }
    return out;
}

std::string describe(const Insn& i) {
    return "kind " + std::to_string(static_cast<int>(i.kind)) + " op " + std::to_string(i.op) +
           (i.is64() ? " 64" : " 32") + (i.sign ? " signed" : "") + " sext " +
           std::to_string(i.sext);
}

TEST_F(DomainRandom, GeneratedScalarsAreConsistent) {
    for (uint64_t n = 0; n < samples_ / 4; ++n) {
        const Sample s = generator_.sample();
        ASSERT_TRUE(s.scalar.contains(s.member)) << to_string(s.scalar) << " " << s.member;
        ASSERT_EQ(sync(s.scalar), s.scalar) << to_string(s.scalar);
    }
}

TEST_F(DomainRandom, OperatorsContainConcreteResults) {
    for (const Insn& insn : instructions()) {
        for (uint64_t n = 0; n < samples_; ++n) {
            const Sample a = generator_.sample(), b = generator_.sample();
            const Scalar out = transfer(insn, a.scalar, b.scalar);
            const uint64_t x = eval_alu_insn(insn, a.member, b.member);
            ASSERT_TRUE(out.contains(x))
                << describe(insn) << ": " << to_string(a.scalar) << " (" << a.member << "), "
                << to_string(b.scalar) << " (" << b.member << ") gives " << to_string(out)
                << " without " << x;
        }
    }
}

TEST_F(DomainRandom, ExtensionsContainConcreteResults) {
    for (const unsigned bits : {8u, 16u, 32u, 64u}) {
        for (uint64_t n = 0; n < samples_; ++n) {
            const Sample a = generator_.sample();
            ASSERT_TRUE(zero_extend(a.scalar, bits).contains(zero_extend(a.member, bits)));
            if (bits == 64) continue;
            ASSERT_TRUE(sign_extend(a.scalar, bits).contains(sign_extend(a.member, bits)))
                << bits << ": " << to_string(a.scalar) << " " << a.member;
        }
    }
}

TEST_F(DomainRandom, BranchesKeepWhatGoesTheirWay) {
    for (unsigned op = 0; op < 11; ++op) {
        const auto cond = static_cast<CondOp>(op);
        for (const Width width : {Width::Dw, Width::W}) {
            for (uint64_t n = 0; n < samples_; ++n) {
                const Sample a = generator_.sample();
                const Sample b = generator_.bits() % 16 == 0 ? a : generator_.sample();
                const bool holds = width == Width::Dw
                                       ? eval_cond<uint64_t>(cond, a.member, b.member)
                                       : eval_cond<uint32_t>(cond, static_cast<uint32_t>(a.member),
                                                             static_cast<uint32_t>(b.member));
                const Refined r = refine(cond, width, a.scalar, b.scalar, holds);
                ASSERT_TRUE(r.feasible && r.dst.contains(a.member) && r.src.contains(b.member))
                    << "condition " << op << " at " << bytes_of(width) << ": "
                    << to_string(a.scalar) << " (" << a.member << "), " << to_string(b.scalar)
                    << " (" << b.member << ") leaves " << to_string(r.dst) << ", "
                    << to_string(r.src);
                ASSERT_TRUE(subsumes(a.scalar, r.dst) && subsumes(b.scalar, r.src));
            }
        }
    }
}

TEST_F(DomainRandom, LatticeLaws) {
    for (uint64_t n = 0; n < samples_; ++n) {
        const Sample s = generator_.sample(), t = generator_.sample();
        const Scalar &a = s.scalar, &b = t.scalar;
        const Scalar up = join(a, b), down = meet(a, b);
        ASSERT_TRUE(subsumes(a, a) && subsumes(Scalar::unknown(), a));
        ASSERT_TRUE(subsumes(a, Scalar::bottom()));
        ASSERT_TRUE(subsumes(up, a) && subsumes(up, b));
        ASSERT_TRUE(subsumes(a, down) && subsumes(b, down));
        ASSERT_EQ(up, join(b, a));
        ASSERT_EQ(down, meet(b, a));
        ASSERT_EQ(join(a, a), a);
        ASSERT_EQ(meet(a, a), a);
        ASSERT_EQ(join(up, a), up);
        ASSERT_TRUE(up.contains(s.member) && up.contains(t.member));
        ASSERT_TRUE(!a.contains(t.member) || down.contains(t.member));
        ASSERT_TRUE(!subsumes(a, b) || a.contains(t.member));
        ASSERT_EQ(subsumes(a, b) && subsumes(b, a), a == b);
        const Sample u = generator_.sample();
        ASSERT_TRUE(!subsumes(a, b) || !subsumes(b, u.scalar) || subsumes(a, u.scalar));
        ASSERT_EQ(join(join(a, b), u.scalar), join(a, join(b, u.scalar)));
    }
}

// What a general state proves, a special one proves too: needed for pruning to lose no program.
TEST_F(DomainRandom, OperatorsAreMonotoneUpToReduction) {
    uint64_t compared = 0, monotone = 0;
    for (const Insn& insn : instructions()) {
        for (uint64_t n = 0; n < samples_ / 20; ++n) {
            const Sample a = generator_.sample(), b = generator_.sample(), c = generator_.sample();
            const Scalar narrow = transfer(insn, a.scalar, b.scalar);
            const Scalar wide = transfer(insn, join(a.scalar, c.scalar), b.scalar);
            ++compared;
            monotone += subsumes(wide, narrow) ? 1 : 0;
        }
    }
    EXPECT_GT(monotone * 1000, compared * 999) << monotone << " of " << compared;
}

}  // namespace
}  // namespace skep
