// The translator: sandboxed accesses to fields of a context that is not bytes. Where the register
// is expected to hold the context's address, the field is read or written in the host's struct
// after one comparison; whatever differs from the expectation goes by the context's table.
#pragma once

#include <skep/context.hpp>

#include "jit/translator.hpp"

namespace skep::jit {

template <MacroAssembler M>
const CtxField* Translator<M>::expected_field(uint32_t slot) const {
    if (!sandbox() || exact_ || expected_.region(slot) != Expectations::kContextStart)
        return nullptr;
    const Insn& i = at(slot).insn;
    const Program& program = *image_.program;
    const unsigned width = bytes_of(i.width);
    const bool store = i.kind == Kind::Store;
    if (i.sign || i.off < 0 || (store && !i.is_imm && i.src == kFramePointer)) return nullptr;
    const CtxField* field =
        program.type->ctx->access(static_cast<uint32_t>(i.off), width, store, program.attach_type);
    if (field == nullptr) return nullptr;
    const bool scalar = field->kind == CtxFieldKind::Scalar &&
                        static_cast<uint32_t>(i.off) - field->off + width <= field->host_size;
    const bool pointer =
        !store && field->host_size == sizeof(void*) &&
        (field->kind == CtxFieldKind::PacketStart || field->kind == CtxFieldKind::PacketEnd ||
         field->kind == CtxFieldKind::PacketMeta);
    return scalar || pointer ? field : nullptr;
}

// kTmp0 = the host's struct, if `base` is the context's address; else to the exact way.
template <MacroAssembler M>
LabelId Translator<M>::enter_context(uint32_t slot, Reg base) {
    back_ = m_.new_label();
    const LabelId other = cold({.what = Cold::What::Again,
                                .slot = slot,
                                .back = back_,
                                .end = slot + 1,
                                .exact = true,
                                .subprogram = current_});
    m_.mov_imm(kTmp0, guest_address(region::kContext, 0));
    m_.branch(CondOp::Ne, Width::Dw, base, kTmp0, other, false);
    barrier();
    m_.load(Width::Dw, false, kTmp0, env(&HelperEnv::ctx));
    m_.branch_imm(CondOp::Eq, Width::Dw, kTmp0, 0, other, false);
    return other;
}

template <MacroAssembler M>
bool Translator<M>::emit_expected_context(uint32_t slot) {
    const CtxField* field = expected_field(slot);
    if (field == nullptr) return false;
    const Insn& i = at(slot).insn;
    const bool store = i.kind == Kind::Store;
    const LabelId other = enter_context(slot, store ? i.dst : i.src);
    const int32_t inside = i.off - static_cast<int32_t>(field->off);
    Mem mem{.disp = static_cast<int32_t>(field->host_off) + inside, .base = kTmp0};
    if (store && !i.is_imm) {
        m_.store(i.width, mem, i.src);
    } else if (store) {
        constant(kTmp2, static_cast<uint64_t>(i.imm));
        m_.store(i.width, mem, kTmp2);
    } else if (field->kind == CtxFieldKind::Scalar) {
        m_.load(i.width, false, i.dst, mem);
    } else {
        // A place in the packet's buffer becomes its distance from the buffer's head.
        mem.disp = field->host_off;
        m_.load(Width::Dw, false, kTmp1, env(&HelperEnv::packet));
        m_.load(Width::Dw, false, kTmp0, mem);
        m_.branch_imm(CondOp::Eq, Width::Dw, kTmp1, 0, other, false);
        m_.branch_imm(CondOp::Eq, Width::Dw, kTmp0, 0, other, false);
        m_.load(Width::Dw, false, kTmp1, Mem{.disp = offsetof(PacketBuffer, head), .base = kTmp1});
        m_.alu(AluOp::Sub, Width::Dw, false, kTmp0, kTmp1);
        m_.add3_imm(i.dst, kTmp0, static_cast<int32_t>(region::kPacketBase));
    }
    bind_back();
    return true;
}

}  // namespace skep::jit
