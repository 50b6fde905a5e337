#include "bench/switch_interpreter.hpp"

#include <cstring>

#include "vm/isa/semantics.hpp"

namespace skep::bench {
namespace {

struct SavedFrame {
    const RawInsn* back = nullptr;
    uint64_t registers[4] = {};
};

template <class T>
T load(uint64_t address) {
    T value;
    std::memcpy(&value, reinterpret_cast<const void*>(address), sizeof(T));
    return value;
}

template <class T>
void store(uint64_t address, uint64_t value) {
    const T narrow = static_cast<T>(value);
    std::memcpy(reinterpret_cast<void*>(address), &narrow, sizeof(T));
}

template <class T>
void atomic(const RawInsn& i, uint64_t* r) {
    T* p = reinterpret_cast<T*>(r[i.dst()] + static_cast<int64_t>(i.off));
    const T s = static_cast<T>(r[i.src()]);
    switch (i.imm) {
        case 0x00: __atomic_fetch_add(p, s, __ATOMIC_SEQ_CST); break;
        case 0x40: __atomic_fetch_or(p, s, __ATOMIC_SEQ_CST); break;
        case 0x50: __atomic_fetch_and(p, s, __ATOMIC_SEQ_CST); break;
        case 0xa0: __atomic_fetch_xor(p, s, __ATOMIC_SEQ_CST); break;
        case 0x01: r[i.src()] = __atomic_fetch_add(p, s, __ATOMIC_SEQ_CST); break;
        case 0x41: r[i.src()] = __atomic_fetch_or(p, s, __ATOMIC_SEQ_CST); break;
        case 0x51: r[i.src()] = __atomic_fetch_and(p, s, __ATOMIC_SEQ_CST); break;
        case 0xa1: r[i.src()] = __atomic_fetch_xor(p, s, __ATOMIC_SEQ_CST); break;
        case 0xe1: r[i.src()] = __atomic_exchange_n(p, s, __ATOMIC_SEQ_CST); break;
        default: {
            T expected = static_cast<T>(r[0]);
            __atomic_compare_exchange_n(p, &expected, s, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
            r[0] = expected;
        }
    }
}

}  // namespace

uint64_t switch_interpret(std::span<const RawInsn> program, uint64_t r1, uint64_t r2) {
    alignas(8) unsigned char stack[kMaxCallFrames * kStackBytes];
    SavedFrame frames[kMaxCallFrames];
    unsigned depth = 0;
    uint64_t r[kRegisters] = {0, r1, r2};
    r[10] = reinterpret_cast<uintptr_t>(stack + sizeof(stack));
    for (const RawInsn* pc = program.data();; ++pc) {
        const RawInsn i = *pc;
        uint64_t& d = r[i.dst()];
        const uint64_t s = r[i.src()];
        const int64_t k = i.imm;
        switch (i.opcode) {
#define SKEP_ALU(Name, code, sign, mnemonic)                                                    \
    case kClassAlu64 | (code):                                                                  \
        d = eval_alu<uint64_t>(AluOp::Name, d, static_cast<uint64_t>(k), i.off != 0);           \
        break;                                                                                  \
    case kClassAlu64 | kSourceReg | (code):                                                     \
        d = eval_alu<uint64_t>(AluOp::Name, d, s, i.off != 0);                                  \
        break;                                                                                  \
    case kClassAlu | (code):                                                                    \
        d = eval_alu<uint32_t>(AluOp::Name, static_cast<uint32_t>(d), static_cast<uint32_t>(k), \
                               i.off != 0);                                                     \
        break;                                                                                  \
    case kClassAlu | kSourceReg | (code):                                                       \
        d = eval_alu<uint32_t>(AluOp::Name, static_cast<uint32_t>(d), static_cast<uint32_t>(s), \
                               i.off != 0);                                                     \
        break;
#define SKEP_COND(Name, code, sign, mnemonic)                                                      \
    case kClassJmp | (code):                                                                       \
        if (eval_cond<uint64_t>(CondOp::Name, d, static_cast<uint64_t>(k))) pc += i.off;           \
        break;                                                                                     \
    case kClassJmp | kSourceReg | (code):                                                          \
        if (eval_cond<uint64_t>(CondOp::Name, d, s)) pc += i.off;                                  \
        break;                                                                                     \
    case kClassJmp32 | (code):                                                                     \
        if (eval_cond<uint32_t>(CondOp::Name, static_cast<uint32_t>(d), static_cast<uint32_t>(k))) \
            pc += i.off;                                                                           \
        break;                                                                                     \
    case kClassJmp32 | kSourceReg | (code):                                                        \
        if (eval_cond<uint32_t>(CondOp::Name, static_cast<uint32_t>(d), static_cast<uint32_t>(s))) \
            pc += i.off;                                                                           \
        break;
#include "vm/isa/opcodes.def"
            case kClassAlu64 | 0x80: d = 0 - d; break;
            case kClassAlu | 0x80: d = static_cast<uint32_t>(0 - d); break;
            case 0xd4: d = eval_endian(EndianOp::ToLe, d, static_cast<unsigned>(k)); break;
            case 0xdc: d = eval_endian(EndianOp::ToBe, d, static_cast<unsigned>(k)); break;
            case 0x05: pc += i.off; break;
            case 0x06: pc += k; break;
            case 0x18:
                d = static_cast<uint32_t>(i.imm) | uint64_t{static_cast<uint32_t>(pc[1].imm)} << 32;
                ++pc;
                break;
            case 0x71: d = load<uint8_t>(s + static_cast<int64_t>(i.off)); break;
            case 0x69: d = load<uint16_t>(s + static_cast<int64_t>(i.off)); break;
            case 0x61: d = load<uint32_t>(s + static_cast<int64_t>(i.off)); break;
            case 0x79: d = load<uint64_t>(s + static_cast<int64_t>(i.off)); break;
            case 0x73: store<uint8_t>(d + static_cast<int64_t>(i.off), s); break;
            case 0x6b: store<uint16_t>(d + static_cast<int64_t>(i.off), s); break;
            case 0x63: store<uint32_t>(d + static_cast<int64_t>(i.off), s); break;
            case 0x7b: store<uint64_t>(d + static_cast<int64_t>(i.off), s); break;
            case 0x72:
                store<uint8_t>(d + static_cast<int64_t>(i.off), static_cast<uint64_t>(k));
                break;
            case 0x6a:
                store<uint16_t>(d + static_cast<int64_t>(i.off), static_cast<uint64_t>(k));
                break;
            case 0x62:
                store<uint32_t>(d + static_cast<int64_t>(i.off), static_cast<uint64_t>(k));
                break;
            case 0x7a:
                store<uint64_t>(d + static_cast<int64_t>(i.off), static_cast<uint64_t>(k));
                break;
            case 0xc3: atomic<uint32_t>(i, r); break;
            case 0xdb: atomic<uint64_t>(i, r); break;
            case 0x85: {
                SavedFrame& frame = frames[depth++];
                frame.back = pc;
                std::memcpy(frame.registers, r + 6, sizeof(frame.registers));
                r[10] -= kStackBytes;
                pc += k;
                break;
            }
            case 0x95: {
                if (depth == 0) return r[0];
                const SavedFrame& frame = frames[--depth];
                pc = frame.back;
                std::memcpy(r + 6, frame.registers, sizeof(frame.registers));
                r[10] += kStackBytes;
                break;
            }
            default: return 0;
        }
    }
}

bool switch_can_interpret(std::span<const RawInsn> program) {
    for (const RawInsn& i : program) {
        const bool calls_helper = i.opcode == 0x85 && i.src() != 1;
        const bool map = i.opcode == 0x18 && i.src() != 0;
        if (calls_helper || map) return false;
    }
    return true;
}

}  // namespace skep::bench
