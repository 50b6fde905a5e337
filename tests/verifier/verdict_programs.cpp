#include "tests/verifier/verdict_programs.hpp"

#include "tests/support/random.hpp"
#include "tests/verifier/kernel_load.hpp"

namespace skep::test {
namespace {

using wire::alu;
using wire::alu_reg;
using wire::load;
using wire::mov;
using wire::mov_reg;
using wire::store;

// r6 and r8 hold numbers, r7 a map value, r9 the context; r2..r5 are temporary.
constexpr unsigned kA = 6, kMap = 7, kB = 8, kContext = 9;
constexpr unsigned kSizes[] = {1, 2, 4, 8};

class Builder {
public:
    explicit Builder(uint64_t seed) : random_(seed) {}

    std::vector<RawInsn> build() {
        prologue();
        for (unsigned n = 3 + random_.below(9); n-- > 0;) statement(2);
        const size_t end = out_.size();
        add(mov(0, 2));
        add(wire::exit());
        for (const size_t slot : exits_) out_[slot].off = static_cast<int16_t>(end - slot - 1);
        return out_;
    }

private:
    void add(RawInsn insn) { out_.push_back(insn); }
    void leave_if(RawInsn insn) {
        exits_.push_back(out_.size());
        add(insn);
    }
    unsigned number_reg() { return random_.chance(60) ? kA : kB; }
    unsigned size() { return random_.pick(kSizes); }
    int32_t number() {
        switch (random_.below(6)) {
            case 0: return static_cast<int32_t>(random_.below(64));
            case 1: return -static_cast<int32_t>(random_.below(70));
            case 2: return static_cast<int32_t>(1u << random_.below(31)) - 1;
            case 3: return static_cast<int32_t>(random_.next());
            case 4: return static_cast<int32_t>(random_.below(16)) * 4;
            default: return static_cast<int32_t>(random_.below(300));
        }
    }

    void prologue() {
        add(mov_reg(kContext, 1));
        lookup();
        leave_if(wire::branch(CondOp::Eq, true, 0, 0, 0));
        add(mov_reg(kMap, 0));
        source(kA);
        source(kB);
    }
    void lookup() {
        if (random_.chance(50))
            add(wire::store_imm(4, 10, -4, static_cast<int32_t>(random_.below(6))));
        else
            add(wire::store_imm(8, 10, -8, 0));
        add(mov_reg(2, 10));
        add(alu(AluOp::Add, true, 2, random_.chance(50) ? -4 : -8));
        if (out_[out_.size() - 1].imm == -8) add(wire::store_imm(8, 10, -8, 0));
        add({0x18, 1 | 1 << 4, 0, 0});
        add({});
        add(wire::call(1));
    }
    // A number of which nothing, or little, is known.
    void source(unsigned reg) {
        switch (random_.below(4)) {
            case 0:
                add(wire::call(random_.chance(50) ? 5 : 7));
                add(mov_reg(reg, 0));
                break;
            case 1: add(load(size(), reg, kMap, static_cast<int16_t>(8 * random_.below(8)))); break;
            case 2: add(load(4, reg, kContext, 12)); break;
            default: add(load(8, reg, 10, -64)); break;
        }
    }

    void arithmetic() {
        constexpr AluOp kOps[] = {AluOp::Add, AluOp::Sub, AluOp::Mul, AluOp::Or,
                                  AluOp::And, AluOp::Lsh, AluOp::Rsh, AluOp::Arsh,
                                  AluOp::Xor, AluOp::Mov, AluOp::And, AluOp::Add};
        const AluOp op = random_.pick(kOps);
        const bool is64 = random_.chance(65);
        const unsigned dst = number_reg();
        if (op == AluOp::Lsh || op == AluOp::Rsh || op == AluOp::Arsh) {
            add(alu(op, is64, dst, static_cast<int32_t>(random_.below(is64 ? 64 : 32))));
        } else if (random_.chance(60)) {
            add(alu(op, is64, dst, number()));
        } else {
            add(alu_reg(op, is64, dst, number_reg()));
        }
    }
    // Makes `reg` small, one way or another.
    void bound(unsigned reg, int32_t most) {
        switch (random_.below(6)) {
            case 0: add(alu(AluOp::And, true, reg, most | (most >> 1) | (most >> 2))); break;
            case 1: leave_if(wire::branch(CondOp::Gt, true, reg, most, 0)); break;
            case 2:
                leave_if(wire::branch(CondOp::Sgt, true, reg, most, 0));
                leave_if(wire::branch(CondOp::Slt, true, reg, 0, 0));
                break;
            case 3:
                leave_if(wire::branch(CondOp::Ge, false, reg, most + 1, 0));
                add(alu_reg(AluOp::Mov, false, reg, reg));
                break;
            case 4:
                add(alu_reg(AluOp::Mov, true, 3, reg));
                leave_if(wire::branch(CondOp::Gt, true, 3, most, 0));
                break;
            default:
                add(mov(3, most));
                leave_if(wire::branch_reg(CondOp::Gt, true, reg, 3, 0));
                break;
        }
    }
    void condition() {
        const auto op = static_cast<CondOp>(random_.below(11));
        if (random_.chance(70))
            leave_if(wire::branch(op, random_.chance(70), number_reg(), number(), 0));
        else
            leave_if(wire::branch_reg(op, random_.chance(70), kA, kB, 0));
    }

    void access(unsigned reg, int16_t off) {
        if (random_.chance(60))
            add(load(size(), random_.chance(30) ? kB : 5, reg, off));
        else if (random_.chance(60))
            add(wire::store_imm(size(), reg, off, number()));
        else
            add(store(size(), reg, off, random_.chance(70) ? number_reg() : kContext));
    }
    void map_access() {
        const unsigned reg = number_reg();
        if (random_.chance(75)) bound(reg, static_cast<int32_t>(random_.below(80)));
        add(mov_reg(2, kMap));
        add(alu_reg(random_.chance(90) ? AluOp::Add : AluOp::Sub, true, 2, reg));
        if (random_.chance(30)) add(alu(AluOp::Add, true, 2, number()));
        access(2, static_cast<int16_t>(random_.chance(60) ? 0 : random_.between(-8, 60)));
    }
    void stack_access() {
        add(mov_reg(2, 10));
        if (random_.chance(50)) {
            const unsigned reg = number_reg();
            if (random_.chance(80)) bound(reg, 7 + static_cast<int32_t>(random_.below(32)));
            add(alu_reg(AluOp::Add, true, 2, reg));
        }
        add(alu(AluOp::Add, true, 2, -8 * static_cast<int32_t>(1 + random_.below(12))));
        access(2, static_cast<int16_t>(random_.chance(70) ? 0 : random_.between(-16, 16)));
    }
    void spill_or_fill() {
        const auto slot = static_cast<int16_t>(-16 - 8 * static_cast<int>(random_.below(3)));
        const auto low = static_cast<int16_t>(slot + (random_.chance(20) ? 4 : 0));
        if (random_.chance(50)) {
            constexpr unsigned kFrom[] = {kA, kB, kMap, kContext, 10, kA, kB};
            const unsigned bytes = random_.chance(60) ? 8 : size();
            add(store(bytes, 10, bytes == 8 ? slot : low, random_.pick(kFrom)));
        } else {
            constexpr unsigned kTo[] = {kA, kB, kMap, kA, kB};
            const unsigned bytes = random_.chance(60) ? 8 : size();
            add(load(bytes, random_.pick(kTo), 10, bytes == 8 ? slot : low));
        }
    }
    // if (...) { a } else { b }
    void diamond(unsigned depth) {
        const size_t fork = out_.size();
        add(wire::branch(static_cast<CondOp>(random_.below(11)), random_.chance(80), number_reg(),
                         number(), 0));
        side(depth);
        const size_t join = out_.size();
        add(wire::jump(0));
        out_[fork].off = static_cast<int16_t>(out_.size() - fork - 1);
        side(depth);
        out_[join].off = static_cast<int16_t>(out_.size() - join - 1);
    }
    void side(unsigned depth) {
        for (unsigned n = random_.below(3); n-- > 0;) {
            switch (random_.below(5)) {
                case 0: add(mov(number_reg(), number())); break;
                case 1: add(mov_reg(number_reg(), number_reg())); break;
                case 2: statement(depth - 1); break;
                case 3: add(mov_reg(kMap, random_.chance(50) ? 10u : kMap)); break;
                default: arithmetic(); break;
            }
        }
    }
    void loop(unsigned depth) {
        const bool on_stack = random_.chance(20);
        const unsigned counter = on_stack ? kB : 4;
        add(mov(counter, static_cast<int32_t>(random_.below(4))));
        const size_t head = out_.size();
        if (random_.chance(50)) {
            add(mov_reg(2, kMap));
            add(alu_reg(AluOp::Add, true, 2, counter));
            access(2, static_cast<int16_t>(random_.below(8)));
        } else if (counter == kB) {
            statement(depth - 1);
        } else {
            add(alu_reg(AluOp::Add, true, kA, counter));
        }
        add(alu(AluOp::Add, true, counter, static_cast<int32_t>(1 + random_.below(4))));
        const int32_t most = static_cast<int32_t>(random_.below(70));
        const CondOp op = random_.chance(96)   ? CondOp::Lt
                          : random_.chance(50) ? CondOp::Slt
                                               : CondOp::Ne;
        add(wire::branch(
            op, random_.chance(85), counter, most,
            static_cast<int16_t>(static_cast<int>(head) - static_cast<int>(out_.size()) - 1)));
    }
    void packet() {
        add(load(4, 2, kContext, random_.chance(95) ? 0 : 8));
        add(load(4, 3, kContext, 4));
        add(mov_reg(4, 2));
        const bool variable = random_.chance(40);
        if (variable) {
            const unsigned reg = number_reg();
            if (random_.chance(80)) bound(reg, 1 + static_cast<int32_t>(random_.below(400)));
            add(alu_reg(AluOp::Add, true, 4, reg));
            add(mov_reg(2, 4));
        }
        const auto bytes = static_cast<int32_t>(random_.below(24));
        add(alu(AluOp::Add, true, 4, bytes));
        switch (random_.below(5)) {
            case 0: leave_if(wire::branch_reg(CondOp::Gt, true, 4, 3, 0)); break;
            case 1: leave_if(wire::branch_reg(CondOp::Lt, true, 3, 4, 0)); break;
            case 2: leave_if(wire::branch_reg(CondOp::Ge, true, 4, 3, 0)); break;
            case 3: leave_if(wire::branch_reg(CondOp::Le, true, 3, 4, 0)); break;
            default: leave_if(wire::branch_reg(CondOp::Gt, true, 4, 3, 0)); break;
        }
        const int limit = std::max(1, bytes);
        access(2, static_cast<int16_t>(random_.chance(85) ? random_.between(0, limit - 1)
                                                          : random_.between(-4, limit + 4)));
        if (random_.chance(15)) {
            add(mov_reg(1, kContext));
            add(mov(2, 0));
            add(wire::call(44));  // bpf_xdp_adjust_head: packet pointers are gone
            if (random_.chance(30)) access(2, 0);
        }
    }
    void helper() {
        switch (random_.below(4)) {
            case 0:
                add(wire::call(5));
                if (random_.chance(40))
                    add(mov_reg(number_reg(), 0));
                else if (random_.chance(20))
                    add(mov_reg(number_reg(), 3));
                break;
            case 1: {
                lookup();
                if (random_.chance(80)) leave_if(wire::branch(CondOp::Eq, true, 0, 0, 0));
                access(0, static_cast<int16_t>(random_.below(64)));
                if (random_.chance(50)) add(mov_reg(kMap, 0));
                break;
            }
            case 2:
                add(wire::call(7));
                add(alu_reg(AluOp::Mov, random_.chance(50), number_reg(), 0));
                break;
            default: {
                // bpf_csum_diff(from, from_size, 0, 0, 0) on the stack or in the map.
                add(mov_reg(1, random_.chance(50) ? 10u : kMap));
                add(alu(AluOp::Add, true, 1, random_.chance(50) ? -16 : 0));
                const unsigned reg = number_reg();
                if (random_.chance(60)) bound(reg, static_cast<int32_t>(random_.below(70)));
                add(mov_reg(2, reg));
                add(mov(3, 0));
                add(mov(4, 0));
                add(mov(5, 0));
                add(wire::call(28));
                break;
            }
        }
    }

    void statement(unsigned depth) {
        switch (random_.below(13)) {
            case 0:
            case 1: arithmetic(); return;
            case 2: condition(); return;
            case 3:
            case 4: map_access(); return;
            case 5: stack_access(); return;
            case 6:
            case 7: spill_or_fill(); return;
            case 8:
                if (depth > 0) diamond(depth);
                return;
            case 9:
                if (depth > 0) loop(depth);
                return;
            case 10: packet(); return;
            case 11: helper(); return;
            default: bound(number_reg(), number() & 0x7fffffff); return;
        }
    }

    Random random_;
    std::vector<RawInsn> out_;
    std::vector<size_t> exits_;
};

bool is_wide(const RawInsn& insn) { return insn.opcode == 0x18; }

}  // namespace

VerdictProgram verdict_program(uint64_t seed) { return {seed, Builder(seed).build()}; }

std::vector<RawInsn> with_map(const std::vector<RawInsn>& slots, int fd) {
    std::vector<RawInsn> out = slots;
    for (RawInsn& insn : out)
        if (is_wide(insn) && insn.src() == 1) insn.imm = fd;
    return out;
}

VerdictProgram minimised(VerdictProgram program,
                         const std::function<bool(const VerdictProgram&)>& fails) {
    const RawInsn nothing = wire::jump(0);
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t slot = program.slots.size(); slot-- > 0;) {
            RawInsn& insn = program.slots[slot];
            if (insn == nothing || insn.opcode == 0) continue;
            const VerdictProgram before = program;
            insn = nothing;
            if (is_wide(before.slots[slot])) program.slots[slot + 1] = nothing;
            if (fails(program))
                changed = true;
            else
                program = before;
        }
    }
    return program;
}

}  // namespace skep::test
