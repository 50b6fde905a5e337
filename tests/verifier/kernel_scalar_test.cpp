// The running kernel's verifier against the scalar domain: on random straight-line programs over
// two unknown numbers our knowledge of the result is at least as precise as what its log prints.
//
// SKEP_ROUNDS sets the number of programs, SKEP_SEED the seed.
#include <cstdlib>
#include <gtest/gtest.h>
#include <optional>
#include <string_view>

#include "tests/support/random.hpp"
#include "tests/verifier/kernel_load.hpp"
#include "verifier/scalar.hpp"
#include "vm/isa/codec.hpp"

namespace skep {
namespace {

using namespace test;

constexpr unsigned kX = 6, kY = 7;  // the two numbers' registers

// What the log says of a register after slot `slot` on the first path: "6: (0f) ... ; R6=...".
std::optional<Scalar> scalar_in_log(std::string_view log, size_t slot, unsigned reg) {
    const std::string start = "\n" + std::to_string(slot) + ": (";
    const size_t line = log.find(start);
    if (line == std::string_view::npos) return std::nullopt;
    const size_t end = log.find('\n', line + 1);
    const std::string_view text = log.substr(line, end - line);
    const std::string name = " R" + std::to_string(reg);
    size_t at = text.find(';');
    if (at != std::string_view::npos) at = text.find(name, at);
    if (at == std::string_view::npos) return std::nullopt;
    at += name.size();
    if (text.substr(at, 2) == "_w") at += 2;
    if (at >= text.size() || text[at] != '=') return std::nullopt;
    std::string_view value = text.substr(at + 1);
    if (value.starts_with('P')) value.remove_prefix(1);
    const auto number = [](std::string_view s) {
        const std::string copy(s.substr(0, 24));
        return copy.starts_with('-') ? static_cast<uint64_t>(std::strtoll(copy.c_str(), nullptr, 0))
                                     : std::strtoull(copy.c_str(), nullptr, 0);
    };
    if (!value.starts_with("scalar(")) return Scalar::constant(number(value));
    value.remove_prefix(7);
    Scalar s;
    const auto set = [&](std::string_view field, uint64_t v) {
        if (field == "smin")
            s.smin = static_cast<int64_t>(v);
        else if (field == "smax")
            s.smax = static_cast<int64_t>(v);
        else if (field == "umin")
            s.umin = v;
        else if (field == "umax")
            s.umax = v;
        else if (field == "smin32")
            s.s32_min = static_cast<int32_t>(v);
        else if (field == "smax32")
            s.s32_max = static_cast<int32_t>(v);
        else if (field == "umin32")
            s.u32_min = static_cast<uint32_t>(v);
        else if (field == "umax32")
            s.u32_max = static_cast<uint32_t>(v);
    };
    while (!value.empty() && value.front() != ')') {
        if (value.starts_with("var_off=(")) {
            value.remove_prefix(9);
            s.bits.value = number(value);
            s.bits.mask = number(value.substr(value.find(';') + 2));
            break;
        }
        // name=name=...=number
        const size_t stop = value.find_first_of(",)");
        const std::string_view item = value.substr(0, stop);
        const size_t last = item.rfind('=');
        if (last == std::string_view::npos) return std::nullopt;
        for (size_t from = 0; from < last;) {
            const size_t to = item.find('=', from);
            set(item.substr(from, to - from), number(item.substr(last + 1)));
            from = to + 1;
        }
        value.remove_prefix(stop == std::string_view::npos ? value.size() : stop);
        if (value.starts_with(',')) value.remove_prefix(1);
    }
    return s;
}

class KernelScalar : public testing::Test {
protected:
    int32_t number() {
        const auto near = static_cast<int32_t>(random_.between(-2, 2));
        switch (random_.below(5)) {
            case 0: return static_cast<int32_t>(random_.next());
            case 1:
                return static_cast<int32_t>((1u << random_.below(32)) +
                                            static_cast<uint32_t>(near));
            case 2: return static_cast<int32_t>(random_.below(16)) + near;
            case 3: return -static_cast<int32_t>(random_.below(300));
            default: return static_cast<int32_t>(random_.next() >> random_.below(64) & 0x7fffffff);
        }
    }
    // Knowledge about a register: masks, shifts, extensions, conditions that leave for the exit.
    void narrow(unsigned reg) {
        switch (random_.below(7)) {
            case 0: add(wire::alu(AluOp::And, true, reg, number())); break;
            case 1: add(wire::alu(AluOp::Or, random_.chance(70), reg, number())); break;
            case 2: add(wire::alu_reg(AluOp::Mov, false, reg, reg)); break;
            case 3:
                add(wire::alu(random_.chance(50) ? AluOp::Rsh : AluOp::Arsh, true, reg,
                              static_cast<int32_t>(random_.below(64))));
                break;
            default: {
                const auto op = static_cast<CondOp>(random_.below(11));
                leave_if(wire::branch(op, random_.chance(60), reg, number(), 0));
                break;
            }
        }
    }
    void operate() {
        const bool is64 = random_.chance(60);
        auto op = static_cast<AluOp>(random_.below(12));
        const unsigned bits = is64 ? 64 : 32;
        const bool is_shift = op == AluOp::Lsh || op == AluOp::Rsh || op == AluOp::Arsh;
        if (random_.chance(45) || is_shift) {
            int32_t imm = is_shift ? static_cast<int32_t>(random_.below(bits)) : number();
            if (imm == 0 && (op == AluOp::Div || op == AluOp::Mod)) imm = 3;
            add(wire::alu(op, is64, kX, imm));
        } else {
            const int16_t sext[] = {0, 8, 16, 32};
            are_linked_ |= op == AluOp::Mov;
            int16_t off = op == AluOp::Mov ? sext[random_.below(is64 ? 4 : 3)] : 0;
            if ((op == AluOp::Div || op == AluOp::Mod) && random_.chance(50)) off = 1;
            add(wire::alu_reg(op, is64, kX, kY, off));
        }
    }
    void add(RawInsn insn) { program_.push_back(insn); }
    void leave_if(RawInsn insn) {
        leaves_.push_back(program_.size());
        program_.push_back(insn);
    }
    void generate();
    // Our knowledge along the path that takes no branch, for slots from `first` on.
    void simulate(size_t slot, Scalar& x, Scalar& y, bool& feasible);

    uint64_t seed_ = seed_or(1);
    Random random_{seed_};
    std::vector<RawInsn> program_;
    std::vector<size_t> leaves_;
    bool are_linked_ = false;
    std::vector<Insn> decoded_;
};

void KernelScalar::generate() {
    program_.clear();
    leaves_.clear();
    are_linked_ = false;
    // Stack that was never written holds an unknown number.
    add(wire::load(8, kX, 10, -8));
    add(wire::load(8, kY, 10, -16));
    for (unsigned n = random_.below(5); n-- > 0;) narrow(kX);
    for (unsigned n = random_.below(5); n-- > 0;) narrow(kY);
    for (unsigned n = 1 + random_.below(2); n-- > 0;) operate();
    // What Linux learns of copies goes by their identity, which numbers alone do not have.
    if (!are_linked_ && random_.chance(40)) {
        const auto op = static_cast<CondOp>(random_.below(11));
        leave_if(wire::branch_reg(op, random_.chance(60), kX, kY, 0));
        add(wire::mov_reg(kX, kX));
    }
    const size_t end = program_.size();
    add(wire::mov(0, 0));
    add(wire::exit());
    for (const size_t slot : leaves_) program_[slot].off = static_cast<int16_t>(end - slot - 1);
}

void KernelScalar::simulate(size_t slot, Scalar& x, Scalar& y, bool& feasible) {
    const Insn& insn = decoded_[slot];
    Scalar& dst = insn.dst == kX ? x : y;
    const Scalar src = insn.is_imm      ? Scalar::constant(static_cast<uint64_t>(insn.imm))
                       : insn.src == kX ? x
                                        : y;
    if (insn.kind == Kind::Alu) {
        dst = transfer(insn, dst, src);
    } else if (insn.kind == Kind::Branch) {
        const Refined r = refine(insn.cond(), insn.width, dst, src, false);
        feasible = r.feasible;
        dst = r.dst;
        if (!insn.is_imm) (insn.src == kX ? x : y) = r.src;
    }
}

// Linux splits the path where a number that is -1 or 0 meets a constant mask; its log then follows
// one half.
bool splits(const Insn& insn, const Scalar& dst) {
    if (insn.kind != Kind::Alu || (insn.alu() != AluOp::And && insn.alu() != AluOp::Or))
        return false;
    return (dst.smin == -1 && dst.smax == 0) || (dst.s32_min == -1 && dst.s32_max == 0);
}

TEST_F(KernelScalar, NeverKnowsMoreThanWeDo) {
    if (!kernel_available()) GTEST_SKIP() << "bpf(2) is not allowed here";
    SCOPED_TRACE("SKEP_SEED=" + std::to_string(seed_));
    std::string buffer;
    size_t compared = 0, equal = 0, reported = 0;
    const size_t rounds = rounds_or(400);
    for (size_t round = 0; round < rounds && reported < 5; ++round) {
        generate();
        const auto decoded = decode(program_);
        ASSERT_TRUE(decoded) << decoded.error().to_string();
        decoded_ = *decoded;
        const KernelVerdict kernel =
            kernel_verdict(BPF_PROG_TYPE_SOCKET_FILTER, program_, 2, buffer);
        ASSERT_TRUE(kernel.accepted) << kernel.log;
        Scalar x = Scalar::unknown(), y = Scalar::unknown();
        bool feasible = true;
        for (size_t slot = 2; slot + 2 < program_.size() && feasible; ++slot) {
            if (splits(decoded_[slot], decoded_[slot].dst == kX ? x : y)) break;
            simulate(slot, x, y, feasible);
            if (!feasible) break;
            for (const unsigned reg : {kX, kY}) {
                const auto theirs = scalar_in_log(kernel.log, slot, reg);
                if (!theirs) continue;
                const Scalar& ours = reg == kX ? x : y;
                ++compared;
                equal += ours == *theirs ? 1 : 0;
                if (subsumes(*theirs, ours)) continue;
                ++reported;
                ADD_FAILURE() << "after slot " << slot << " the kernel knows r" << reg << " as "
                              << to_string(*theirs) << ", we as " << to_string(ours) << "\n"
                              << kernel.log;
            }
            if (reported != 0) break;
        }
    }
    std::printf(
        "%zu values compared, %.1f%% equal, the rest ours more precise\n", compared,
        compared == 0 ? 0.0 : 100.0 * static_cast<double>(equal) / static_cast<double>(compared));
    EXPECT_GT(compared, rounds);
}

}  // namespace
}  // namespace skep
