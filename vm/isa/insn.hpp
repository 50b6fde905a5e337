// One decoded instruction.
//
// `kind` says which other fields mean something, so whoever walks a program switches over kinds and
// not over 120 opcodes. An instruction sits at the index of its 8-byte wire slot; a 16-byte
// instruction keeps its second slot as Kind::Imm64High. So an index means the same in diagnostics,
// in llvm-objdump, in line information and in the tables of the JIT.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace skep {

// The 8 bytes on the wire (RFC 9669 section 3.1), little-endian.
struct RawInsn {
    uint8_t opcode = 0;
    uint8_t regs = 0;  // dst in the low nibble, src in the high one
    int16_t off = 0;
    int32_t imm = 0;

    constexpr uint8_t dst() const { return regs & 0xf; }
    constexpr uint8_t src() const { return regs >> 4; }
    constexpr bool operator==(const RawInsn&) const = default;
};
static_assert(sizeof(RawInsn) == 8);

inline constexpr unsigned kRegisters = 11;     // r0..r10
inline constexpr uint8_t kFramePointer = 10;   // r10, read-only
inline constexpr unsigned kStackBytes = 512;   // per frame
inline constexpr unsigned kMaxCallFrames = 8;  // the entry's included
inline constexpr unsigned kMaxTailCalls = 33;
inline constexpr uint32_t kMaxInsns = 1'000'000;
inline constexpr uint32_t kMayGotoMax = 8u << 20;  // rounds a may_goto grants

enum class Kind : uint8_t {
    Alu,         // dst = dst op (src | imm); Mov with off 8/16/32 sign-extends (movsx)
    Neg,         // dst = -dst
    Endian,      // dst = byte order operation on dst; imm = 16/32/64, op = EndianOp
    Imm64,       // dst = 64-bit immediate; src = PseudoImm says what it is
    Imm64High,   // second slot of Imm64, never executed
    Load,        // dst = *(width *)(src + off), sign-extended if sign
    Store,       // *(width *)(dst + off) = src or imm
    Atomic,      // on *(width *)(dst + off); op = AtomicOp. LoadAcquire alone is a load, as on the
                 // wire: dst = *(width *)(src + off)
    LoadPacket,  // legacy LD_ABS / LD_IND: r0 = packet bytes, network order; is_imm = ABS
    Jump,        // target = slot index
    Branch,      // if dst op (src | imm) goto target
    MayGoto,     // goto target, unless the run's rounds are not used up
    Call,        // helper; imm = number; src = PseudoCall::Kfunc: imm = BTF id, off = BTF fd index
    CallLocal,   // bpf2bpf; target = slot index of the callee
    Exit,
    AddrSpaceCast,  // dst = src cast between address spaces (arena)
};

enum class AluOp : uint8_t {
#define SKEP_ALU(Name, code, sign, mnemonic) Name,
#include "vm/isa/opcodes.def"
};
enum class CondOp : uint8_t {
#define SKEP_COND(Name, code, sign, mnemonic) Name,
#include "vm/isa/opcodes.def"
};
enum class AtomicOp : uint8_t {
#define SKEP_ATOMIC(Name, imm, text, fetches) Name,
#include "vm/isa/opcodes.def"
};
enum class EndianOp : uint8_t { ToLe, ToBe, Swap };

// The src field of a 64-bit immediate load.
enum class PseudoImm : uint8_t {
    Value = 0,     // a plain number
    MapFd = 1,     // imm = map (index in Program::maps after linking)
    MapValue = 2,  // imm = map, next slot's imm = offset into its value
    BtfId = 3,     // address of a kernel variable
    Func = 4,      // address of a subprogram: imm = relative slot, as in a local call
    MapIdx = 5,
    MapIdxValue = 6,
};
// The src field of a call.
enum class PseudoCall : uint8_t { Helper = 0, Local = 1, Kfunc = 2 };

// Access width in bytes; the value is the size.
enum class Width : uint8_t { B = 1, H = 2, W = 4, Dw = 8 };
constexpr unsigned bytes_of(Width w) { return static_cast<unsigned>(w); }

struct Insn {
    Kind kind = Kind::Exit;
    uint8_t opcode = 0;       // as on the wire
    uint8_t op = 0;           // AluOp, CondOp, AtomicOp or EndianOp, by kind
    Width width = Width::Dw;  // of the memory access, or W/Dw for 32/64-bit Alu, Neg, Branch
    uint8_t dst = 0;
    uint8_t src = 0;          // register, or PseudoImm / PseudoCall by kind
    bool is_imm : 1 = false;  // the second operand is `imm`, not `src`
    bool sign : 1 = false;    // Load: sign-extends; Alu Div/Mod: signed
    uint8_t sext = 0;         // Alu Mov: 0, or the number of bits (8, 16, 32) to sign-extend from
    int16_t off = 0;          // bytes of memory displacement; otherwise as on the wire
    uint16_t reserved = 0;
    // Sign-extended immediate (Imm64: both halves). Jump, Branch, MayGoto: the wire's target is in
    // `target`, `imm` keeps the operand.
    int64_t imm = 0;
    int32_t target = 0;  // Jump, Branch, MayGoto, CallLocal, Imm64 Func: absolute slot index
    uint32_t reserved2 = 0;

    constexpr AluOp alu() const { return static_cast<AluOp>(op); }
    constexpr CondOp cond() const { return static_cast<CondOp>(op); }
    constexpr AtomicOp atomic() const { return static_cast<AtomicOp>(op); }
    constexpr EndianOp endian() const { return static_cast<EndianOp>(op); }
    constexpr PseudoImm pseudo_imm() const { return static_cast<PseudoImm>(src); }
    constexpr PseudoCall pseudo_call() const { return static_cast<PseudoCall>(src); }
    constexpr bool is64() const { return width == Width::Dw; }
    constexpr bool operator==(const Insn&) const = default;
};
static_assert(sizeof(Insn) == 32);

constexpr bool fetches(AtomicOp op) {
    switch (op) {
#define SKEP_ATOMIC(Name, imm, text, fetch) \
    case AtomicOp::Name: return fetch;
#include "vm/isa/opcodes.def"
    }
    return false;
}

// Instruction classes and modifiers of the opcode byte (RFC 9669 section 3.2).
inline constexpr uint8_t kClassMask = 0x07;
inline constexpr uint8_t kClassLd = 0x00, kClassLdx = 0x01, kClassSt = 0x02, kClassStx = 0x03;
inline constexpr uint8_t kClassAlu = 0x04, kClassJmp = 0x05, kClassJmp32 = 0x06, kClassAlu64 = 0x07;
inline constexpr uint8_t kSourceReg = 0x08;
inline constexpr uint8_t kCodeMask = 0xf0, kSizeMask = 0x18, kModeMask = 0xe0;
inline constexpr uint8_t kModeImm = 0x00, kModeAbs = 0x20, kModeInd = 0x40, kModeMem = 0x60;
inline constexpr uint8_t kModeMemSx = 0x80, kModeAtomic = 0xc0;
inline constexpr uint8_t kCodeNeg = 0x80, kCodeEnd = 0xd0;
inline constexpr uint8_t kCodeJa = 0x00, kCodeCall = 0x80, kCodeExit = 0x90, kCodeJcond = 0xe0;

}  // namespace skep
