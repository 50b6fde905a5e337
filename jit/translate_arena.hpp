// Accesses to arenas (maps/arena.hpp): any 32-bit offset, and what stores where no page is
// allocated.
#pragma once

#include "jit/translator.hpp"
#include "maps/arena.hpp"

namespace skep::jit {

template <MacroAssembler M>
bool Translator<M>::in_arena(const ImageSlot& s) {
    return s.access == Access::ContextDynamic && s.memory == Memory::Arena;
}

template <MacroAssembler M>
void Translator<M>::emit_cast(const ImageSlot& s) {
    // Null stays null: of an address to be cast the whole, of an offset its 32 bits.
    const Width whole = static_cast<uint32_t>(s.insn.imm) == 1 ? Width::Dw : Width::W;
    m_.mov(Width::Dw, kTmp0, value_of(s.insn.src, kTmp0));
    m_.mov(Width::W, s.insn.dst, kTmp0);
    if (s.bound == 0) return;
    const LabelId null = m_.new_label();
    m_.branch_imm(CondOp::Eq, whole, kTmp0, 0, null, true);
    m_.mov_imm(kTmp0, s.bound);
    m_.alu(AluOp::Or, Width::Dw, false, s.insn.dst, kTmp0);
    m_.bind(null);
}

template <MacroAssembler M>
Mem Translator<M>::arena_operand(const ImageSlot& s, Reg base) {
    m_.mov(Width::W, kTmp0, value_of(base, kTmp0));
    if (s.insn.off != 0) m_.add3_imm(kTmp0, kTmp0, s.insn.off);
    m_.mov_imm(kTmp1, reinterpret_cast<uintptr_t>(image_.arena->base()));
    return Mem{.base = kTmp1, .index = kTmp0, .has_index = true};
}

template <MacroAssembler M>
void Translator<M>::emit_arena_load(uint32_t slot) {
    const Insn& i = at(slot).insn;
    const Mem mem = arena_operand(at(slot), i.src);
    m_.load(i.width, i.sign, i.dst, mem);
}

template <MacroAssembler M>
void Translator<M>::emit_arena_store(uint32_t slot) {
    const ImageSlot& s = at(slot);
    const Insn& i = s.insn;
    const LabelId unbacked = m_.new_label();
    const Mem mem = arena_operand(s, i.dst);
    m_.mov_imm(kTmp1, reinterpret_cast<uintptr_t>(image_.arena->pages()));
    m_.mov(Width::Dw, kTmp2, kTmp0);
    m_.alu_imm(AluOp::Arsh, Width::Dw, false, kTmp2, ArenaMap::kPageShift);
    m_.load(Width::B, false, kTmp2, Mem{.base = kTmp1, .index = kTmp2, .has_index = true});
    m_.branch_imm(CondOp::Eq, Width::W, kTmp2, 0, unbacked, false);
    m_.mov_imm(kTmp1, reinterpret_cast<uintptr_t>(image_.arena->base()));
    if (i.is_imm) m_.mov_imm(kTmp2, static_cast<uint64_t>(i.imm));
    m_.store(i.width, mem, i.is_imm ? kTmp2 : value_of(i.src, kTmp2));
    m_.bind(unbacked);
}

template <MacroAssembler M>
void Translator<M>::emit_arena_atomic(uint32_t slot) {
    const Insn& i = at(slot).insn;
    const bool acquire = i.atomic() == AtomicOp::LoadAcquire;
    const bool compares = i.atomic() == AtomicOp::Cmpxchg;
    if (compares) m_.store(Width::Dw, env(&HelperEnv::native_r0), 0);
    access_by_runtime(slot, acquire ? i.src : i.dst, i.src, true);
    if (acquire || compares)
        m_.mov(Width::Dw, acquire ? i.dst : 0, kTmp0);
    else if (fetches(i.atomic()))
        m_.mov(Width::Dw, i.src, kTmp0);
}

}  // namespace skep::jit
