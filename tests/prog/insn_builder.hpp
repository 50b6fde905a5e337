// Instructions by hand, for tests that need a Program without bytes or assembler text.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "vm/prog/program.hpp"

namespace skep::build {

inline Insn alu(AluOp op, unsigned dst, int64_t imm, Width width = Width::Dw) {
    Insn i;
    i.kind = Kind::Alu;
    i.op = static_cast<uint8_t>(op);
    i.width = width;
    i.dst = static_cast<uint8_t>(dst);
    i.is_imm = true;
    i.imm = imm;
    return i;
}
inline Insn alu_reg(AluOp op, unsigned dst, unsigned src, Width width = Width::Dw) {
    Insn i = alu(op, dst, 0, width);
    i.is_imm = false;
    i.src = static_cast<uint8_t>(src);
    return i;
}
inline Insn mov(unsigned dst, int64_t imm) { return alu(AluOp::Mov, dst, imm); }
inline Insn mov_reg(unsigned dst, unsigned src) { return alu_reg(AluOp::Mov, dst, src); }
inline Insn load(unsigned dst, unsigned src, int16_t off, Width width = Width::Dw) {
    Insn i;
    i.kind = Kind::Load;
    i.width = width;
    i.dst = static_cast<uint8_t>(dst);
    i.src = static_cast<uint8_t>(src);
    i.off = off;
    return i;
}
inline Insn store(unsigned dst, int16_t off, unsigned src, Width width = Width::Dw) {
    Insn i = load(dst, src, off, width);
    i.kind = Kind::Store;
    return i;
}
inline Insn jump(int32_t target) {
    Insn i;
    i.kind = Kind::Jump;
    i.target = target;
    return i;
}
inline Insn branch(CondOp op, unsigned dst, int64_t imm, int32_t target) {
    Insn i = jump(target);
    i.kind = Kind::Branch;
    i.op = static_cast<uint8_t>(op);
    i.dst = static_cast<uint8_t>(dst);
    i.is_imm = true;
    i.imm = imm;
    return i;
}
inline Insn call(int32_t helper) {
    Insn i;
    i.kind = Kind::Call;
    i.imm = helper;
    return i;
}
inline Insn call_local(int32_t target) {
    Insn i = jump(target);
    i.kind = Kind::CallLocal;
    i.src = static_cast<uint8_t>(PseudoCall::Local);
    return i;
}
inline Insn exit() { return {}; }
inline Insn imm64(unsigned dst, int64_t imm) {
    Insn i = mov(dst, imm);
    i.kind = Kind::Imm64;
    return i;
}
inline Insn imm64_high() {
    Insn i;
    i.kind = Kind::Imm64High;
    return i;
}

// Subprograms named "f0", "f1" ... one after the other.
inline Program program(std::initializer_list<std::vector<Insn>> subprograms) {
    Program p;
    p.name = "test";
    for (const auto& insns : subprograms) {
        Subprogram s;
        s.name = "f" + std::to_string(p.subprograms.size());
        s.first = static_cast<uint32_t>(p.insns.size());
        s.count = static_cast<uint32_t>(insns.size());
        p.subprograms.push_back(std::move(s));
        p.insns.insert(p.insns.end(), insns.begin(), insns.end());
    }
    return p;
}

}  // namespace skep::build
