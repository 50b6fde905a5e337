// The translator: what the optimiser chose (op.hpp).
#pragma once

#include "jit/translator.hpp"

namespace skep::jit {

template <MacroAssembler M>
void Translator<M>::emit_op(const Op& o) {
    switch (o.what) {
        case Op::What::MovImm: m_.mov_imm(o.dst, static_cast<uint64_t>(o.imm)); break;
        case Op::What::Move: m_.mov(o.width, o.dst, o.a); break;
        case Op::What::Alu:
            m_.alu3(o.alu(), o.width, o.is_signed, o.dst, o.a, o.b, o.nonzero);
            break;
        case Op::What::AluImm: m_.alu3_imm(o.alu(), o.width, o.is_signed, o.dst, o.a, o.imm); break;
        case Op::What::AluMem: m_.alu_mem(o.alu(), o.width, o.dst, o.a, o.mem); break;
        case Op::What::Neg: m_.neg3(o.width, o.dst, o.a); break;
        case Op::What::Rotate: m_.rotate_left(o.width, o.dst, o.a, o.bits); break;
        case Op::What::SignExtend: m_.sign_extend(o.width, o.dst, o.a, o.bits); break;
        case Op::What::ZeroExtend: m_.zero_extend(o.dst, o.a, o.bits); break;
        case Op::What::Swap: m_.swap(o.dst, o.a, o.bits); break;
        case Op::What::Lea: m_.lea(o.dst, o.mem); break;
        case Op::What::Load: m_.load(o.memory_width(), false, o.dst, o.mem); break;
        case Op::What::LoadSigned: m_.load_signed(o.width, o.memory_width(), o.dst, o.mem); break;
        case Op::What::LoadSwapped: m_.load_swapped(o.memory_width(), o.dst, o.mem); break;
        case Op::What::Store: m_.store(o.memory_width(), o.mem, o.a); break;
        case Op::What::StoreImm:
            m_.store_imm(o.memory_width(), o.mem, static_cast<int32_t>(o.imm));
            break;
        case Op::What::Select:
        case Op::What::SetIf:
        case Op::What::Slot:
        case Op::What::Nothing:
        case Op::What::Compare:
        case Op::What::CompareImm:
        case Op::What::CompareMem:
        case Op::What::CompareMemImm:
        case Op::What::Test:
        case Op::What::TestImm: break;
    }
}

// The condition under which `o` branches, once its operands have been compared.
inline CondOp condition_of(const Op& o) {
    const bool mask = o.cond() == CondOp::Set;
    return mask ? CondOp::Ne : o.cond();
}

inline bool reads(const Op& comparison, Reg r) {
    const Op& c = comparison;
    switch (c.what) {
        case Op::What::Compare:
        case Op::What::Test: return c.a == r || c.b == r;
        case Op::What::CompareImm:
        case Op::What::TestImm: return c.a == r;
        case Op::What::CompareMem:
            return c.a == r || c.mem.base == r || (c.mem.has_index && c.mem.index == r);
        case Op::What::CompareMemImm:
            return c.mem.base == r || (c.mem.has_index && c.mem.index == r);
        default: return true;
    }
}

// dst = a if the comparison of `slot` - 1 holds, else b.
template <MacroAssembler M>
void Translator<M>::emit_select(uint32_t slot) {
    const Op &o = plan_.op(slot), &comparison = plan_.op(slot - 1);
    const CondOp cond = condition_of(comparison);
    if (o.what == Op::What::SetIf) {
        // A register that the comparison does not read can be cleared before it.
        const bool clear = M::kAbilities.narrow_sets && !reads(comparison, o.dst);
        if (clear) m_.mov_imm(o.dst, 0);
        compare(slot - 1, true, kNoLabel, false);
        m_.set_if(o.imm == 1 ? cond : negate(cond), o.dst, clear);
        return;
    }
    Reg b = o.b;
    if (o.is_imm || o.width == Width::W) {
        // Not between the comparison and its use: it may write flags.
        if (o.is_imm)
            m_.mov_imm(kTmp0, static_cast<uint64_t>(o.imm));
        else
            m_.mov(Width::W, kTmp0, o.b);
        b = kTmp0;
    }
    compare(slot - 1, true, kNoLabel, false);
    m_.select(cond, o.dst, o.a, b);
}

template <MacroAssembler M>
void Translator<M>::compare(uint32_t slot, bool taken, LabelId target, bool short_form) {
    const Op& o = plan_.op(slot);
    if (o.what == Op::What::Slot) {
        compare_as_it_stands(at(slot).insn, taken, target, short_form);
        return;
    }
    const bool zero = (o.cond() == CondOp::Eq) == taken;
    if (o.what == Op::What::Test) {
        m_.branch_test(zero, o.width, o.a, o.b, target, short_form);
        return;
    }
    if (o.what == Op::What::TestImm) {
        m_.branch_test_imm(zero, o.width, o.a, o.imm, target, short_form);
        return;
    }
    if (o.cond() == CondOp::Set) {
        if (o.what == Op::What::Compare)
            m_.branch_test(!taken, o.width, o.a, o.b, target, short_form);
        else
            m_.branch_test_imm(!taken, o.width, o.a, o.imm, target, short_form);
        return;
    }
    const CondOp cond = taken ? o.cond() : negate(o.cond());
    switch (o.what) {
        case Op::What::Compare: m_.branch(cond, o.width, o.a, o.b, target, short_form); break;
        case Op::What::CompareImm:
            m_.branch_imm(cond, o.width, o.a, o.imm, target, short_form);
            break;
        case Op::What::CompareMem:
            m_.branch_mem(cond, o.memory_width(), o.a, o.mem, target, short_form);
            break;
        default:
            m_.branch_mem_imm(cond, o.memory_width(), o.mem, static_cast<int32_t>(o.imm), target,
                              short_form);
            break;
    }
}

template <MacroAssembler M>
void Translator<M>::compare_as_it_stands(const Insn& i, bool taken, LabelId target,
                                         bool short_form) {
    const Reg dst = value_of(i.dst, kTmp0);
    if (i.is_imm && image_.hardened) {
        blinded(kTmp2, static_cast<uint64_t>(i.imm), kTmp1);
        if (i.cond() == CondOp::Set)
            m_.branch_test(!taken, i.width, dst, kTmp2, target, short_form);
        else
            m_.branch(taken ? i.cond() : negate(i.cond()), i.width, dst, kTmp2, target, short_form);
        return;
    }
    if (i.cond() == CondOp::Set) {
        if (i.is_imm)
            m_.branch_test_imm(!taken, i.width, dst, i.imm, target, short_form);
        else
            m_.branch_test(!taken, i.width, dst, value_of(i.src, kTmp1), target, short_form);
        return;
    }
    const CondOp cond = taken ? i.cond() : negate(i.cond());
    if (i.is_imm)
        m_.branch_imm(cond, i.width, dst, i.imm, target, short_form);
    else
        m_.branch(cond, i.width, dst, value_of(i.src, kTmp1), target, short_form);
}

}  // namespace skep::jit
