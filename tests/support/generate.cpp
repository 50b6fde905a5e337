// Programs are grown statement by statement from a list of weighted forms; jumps are patched when
// the block that they skip is complete.
//
// Registers: r6 = memory, r7 = a pointer into memory for variable offsets, r8 = the loop counter;
// r0..r5 and r9 hold numbers. A function gets memory in r1 and numbers in r2..r5.
#include "tests/support/generate.hpp"

#include <algorithm>
#include <array>

#include "tests/support/harness.hpp"
#include "tests/support/random.hpp"
#include "tests/support/reference.hpp"
#include "vm/isa/codec.hpp"
#include "vm/isa/disasm.hpp"

namespace skep::test {
namespace {

constexpr uint8_t kMemory = 6, kCursor = 7, kCounter = 8;
constexpr uint8_t kNumbers[] = {0, 1, 2, 3, 4, 5, 9};
constexpr uint8_t kAluCodes[] = {
#define SKEP_ALU(Name, code, sign, mnemonic) code,
#include "vm/isa/opcodes.def"
};
constexpr uint8_t kCondCodes[] = {
#define SKEP_COND(Name, code, sign, mnemonic) code,
#include "vm/isa/opcodes.def"
};
struct AtomicForm {
    int32_t imm;
    AtomicOp op;
};
constexpr AtomicForm kAtomics[] = {
#define SKEP_ATOMIC(Name, imm, text, fetches) {imm, AtomicOp::Name},
#include "vm/isa/opcodes.def"
};
constexpr uint8_t kSizeCodes[] = {0x10, 0x08, 0x00, 0x18};  // 1, 2, 4, 8 bytes
constexpr int kStackSlots = 8;                              // of 8 bytes, all written at the start
constexpr unsigned kFunctions = 3;

class Generator {
public:
    Generator(uint64_t seed, const GenerateOptions& options) : random_(seed), options_(options) {}

    std::vector<RawInsn> run() {
        const unsigned functions = options_.calls ? 1 + random_.below(kFunctions) : 1;
        for (unsigned i = 0; i < functions; ++i) {
            starts_.push_back(static_cast<uint32_t>(out_.size()));
            function(i, functions);
        }
        for (const auto& [slot, callee] : calls_) {
            out_[slot].imm = static_cast<int32_t>(starts_[callee]) - static_cast<int32_t>(slot) - 1;
        }
        return std::move(out_);
    }

private:
    void emit(unsigned opcode, unsigned dst, unsigned src, int off, int32_t imm) {
        out_.push_back({static_cast<uint8_t>(opcode), static_cast<uint8_t>(dst | src << 4),
                        static_cast<int16_t>(off), imm});
    }
    uint8_t number() { return random_.pick(kNumbers); }

    // Immediates at the edges as often as anywhere.
    int32_t immediate() {
        constexpr int32_t kEdges[] = {
            0,    1,   -1,  2,     7,      8,     31,    32,        63,        127,
            -128, 255, 256, 32767, -32768, 65535, 65536, INT32_MAX, INT32_MIN, INT32_MIN + 1};
        if (random_.chance(50)) return random_.pick(kEdges);
        return static_cast<int32_t>(random_.next() >> random_.below(32));
    }

    void set_number(uint8_t reg) {
        if (random_.chance(70)) {
            emit(kClassAlu64 | 0xb0, reg, 0, 0, immediate());
        } else {
            emit(0x18, reg, 0, 0, static_cast<int32_t>(random_.next()));
            emit(0, 0, 0, 0, immediate());
        }
    }

    void function(unsigned index, unsigned functions) {
        emit(0xbf, kMemory, 1, 0, 0);
        emit(0xbf, kCursor, kMemory, 0, 0);
        emit(0xb7, kCounter, 0, 0, 0);
        set_number(0);
        set_number(9);
        set_number(1);
        if (index == 0) {
            for (const uint8_t reg : {3, 4, 5}) set_number(reg);
        }
        for (int i = 1; i <= kStackSlots; ++i) emit(0x7b, 10, number(), -8 * i, 0);
        index_ = index;
        functions_ = functions;
        in_loop_ = false;
        block(options_.statements / (index + 1), 0);
        // The kernel refuses functions that nobody calls.
        for (unsigned callee = 1; index == 0 && callee < functions; ++callee) call_function(callee);
        digest(index == 0);
        emit(0x95, 0, 0, 0, 0);
    }

    // Everything that was computed, into memory and r0.
    void digest(bool store) {
        int off = 0;
        for (const uint8_t reg : kNumbers) {
            if (store) emit(0x7b, kMemory, reg, off, 0);
            off += 8;
            if (reg == 0) continue;
            emit(0x27, 0, 0, 0, 31);
            emit(0xaf, 0, reg, 0, 0);
        }
        for (int i = 1; i <= kStackSlots; ++i) {
            emit(0x79, 1, 10, -8 * i, 0);
            emit(0x27, 0, 0, 0, 31);
            emit(0x0f, 0, 1, 0, 0);
        }
        // The kernel's test run shows 32 bits of r0.
        emit(0xbf, 1, 0, 0, 0);
        emit(0x77, 1, 0, 0, 32);
        emit(0xaf, 0, 1, 0, 0);
    }

    void block(unsigned statements, unsigned depth) {
        for (unsigned i = 0; i < statements; ++i) statement(depth);
    }

    void statement(unsigned depth) {
        if (options_.wild && random_.chance(6)) return wild();
        if (random_.chance(options_.idioms)) return idiom(depth);
        const uint32_t form = random_.below(100);
        if (form < 40) return alu();
        if (form < 46) return unary();
        if (form < 50) return set_number(number());
        if (form < 62) return load();
        if (form < 72) return store();
        if (form < 78) return options_.atomics ? atomic() : alu();
        if (form < 81) return move_cursor();
        if (form < 93) return depth < 3 ? branch(depth) : alu();
        if (form < 96) return options_.loops && !in_loop_ && depth < 2 ? loop(depth) : alu();
        if (form < 98) return call();
        return skip();
    }

    void alu() {
        const uint8_t code = random_.pick(kAluCodes);
        const bool is64 = random_.chance(60);
        const bool is_imm = random_.chance(50);
        const uint8_t dst = number();
        const unsigned opcode = (is64 ? kClassAlu64 : kClassAlu) | code | (is_imm ? 0 : kSourceReg);
        int off = 0;
        int32_t imm = is_imm ? immediate() : 0;
        const bool divides = code == 0x30 || code == 0x90;
        if (divides) off = random_.chance(40) ? 1 : 0;
        // The kernel refuses zero divisors and wide shifts where they are constants.
        if (divides && is_imm && imm == 0) imm = 3;
        if (is_imm && (code == 0x60 || code == 0x70 || code == 0xc0)) imm &= is64 ? 63 : 31;
        if (code == 0xb0 && !is_imm) {
            constexpr int kFrom[] = {0, 8, 16, 32};
            off = kFrom[random_.below(is64 ? 4 : 3)];
        }
        emit(opcode, dst, is_imm ? 0 : number(), off, imm);
    }

    void unary() {
        constexpr int32_t kBits[] = {16, 32, 64};
        const uint8_t dst = number();
        switch (random_.below(5)) {
            case 0: return emit(kClassAlu64 | kCodeNeg, dst, 0, 0, 0);
            case 1: return emit(kClassAlu | kCodeNeg, dst, 0, 0, 0);
            case 2: return emit(kClassAlu | kCodeEnd, dst, 0, 0, random_.pick(kBits));
            case 3: return emit(kClassAlu | kCodeEnd | kSourceReg, dst, 0, 0, random_.pick(kBits));
            default: return emit(kClassAlu64 | kCodeEnd, dst, 0, 0, random_.pick(kBits));
        }
    }

    // A base register and an offset at which `bytes` bytes may be touched.
    struct Place {
        uint8_t base;
        int off;
    };
    Place place(unsigned bytes, bool aligned) {
        const auto align = [&](uint32_t off) { return aligned ? off / bytes * bytes : off; };
        switch (random_.below(3)) {
            case 0: {
                const uint32_t room = kStackSlots * 8;
                // The kernel refuses misaligned stack accesses everywhere.
                return {10, static_cast<int>(random_.below(room / bytes) * bytes) -
                                static_cast<int>(room)};
            }
            case 1:  // the cursor points at most half the memory away, at a multiple of 8
                return {kCursor,
                        static_cast<int>(align(random_.below(options_.memory_bytes / 2 - 8)))};
            default:
                return {kMemory,
                        static_cast<int>(align(random_.below(options_.memory_bytes - bytes + 1)))};
        }
    }

    void load() {
        const unsigned size = random_.below(4);
        const bool sign = size < 3 && random_.chance(30);
        const Place from = place(1u << size, false);
        emit(kClassLdx | (sign ? kModeMemSx : kModeMem) | kSizeCodes[size], number(), from.base,
             from.off, 0);
    }

    void store() {
        const unsigned size = random_.below(4);
        const Place to = place(1u << size, false);
        if (random_.chance(30)) {
            emit(kClassSt | kModeMem | kSizeCodes[size], to.base, 0, to.off, immediate());
        } else {
            emit(kClassStx | kModeMem | kSizeCodes[size], to.base, number(), to.off, 0);
        }
    }

    void atomic() {
        const AtomicForm form = random_.pick(kAtomics);
        const bool any_size = form.imm >= 0x100;
        const unsigned size = any_size ? random_.below(4) : 2 + random_.below(2);
        const Place at = place(1u << size, true);
        const uint8_t value = number();
        const bool is_load = form.op == AtomicOp::LoadAcquire;
        emit(kClassStx | kModeAtomic | kSizeCodes[size], is_load ? value : at.base,
             is_load ? at.base : value, at.off, form.imm);
    }

    // r7 = r6 + a multiple of 8 in the first half of memory that depends on a number.
    void move_cursor() {
        const uint8_t index = number();
        const auto mask = static_cast<int32_t>(options_.memory_bytes / 2 - 1) & ~7;
        emit(0x57, index, 0, 0, mask);
        emit(0xbf, kCursor, kMemory, 0, 0);
        emit(0x0f, kCursor, index, 0, 0);
    }

    void branch(unsigned depth) {
        const size_t jump = out_.size();
        const bool is_imm = random_.chance(50);
        emit((random_.chance(60) ? kClassJmp : kClassJmp32) | random_.pick(kCondCodes) |
                 (is_imm ? 0 : kSourceReg),
             number(), is_imm ? 0 : number(), 0, is_imm ? immediate() : 0);
        block(1 + random_.below(4), depth + 1);
        if (random_.chance(40)) {  // an else
            const size_t over = out_.size();
            const bool by_imm = random_.chance(30);
            emit(by_imm ? 0x06 : 0x05, 0, 0, 0, 0);
            out_[jump].off = static_cast<int16_t>(out_.size() - jump - 1);
            block(1 + random_.below(4), depth + 1);
            const auto distance = static_cast<int32_t>(out_.size() - over - 1);
            (by_imm ? out_[over].imm = distance : out_[over].off = static_cast<int16_t>(distance));
        } else {
            out_[jump].off = static_cast<int16_t>(out_.size() - jump - 1);
        }
    }

    void loop(unsigned depth) {
        in_loop_ = true;
        emit(0xb7, kCounter, 0, 0, 1 + static_cast<int32_t>(random_.below(6)));
        const size_t head = out_.size();
        block(1 + random_.below(5), depth + 1);
        emit(0x07, kCounter, 0, 0, -1);
        emit(0x55, kCounter, 0, static_cast<int>(head) - static_cast<int>(out_.size()) - 1, 0);
        in_loop_ = false;
    }

    void call() {
        if (index_ + 1 >= functions_) return alu();
        call_function(index_ + 1 + random_.below(functions_ - index_ - 1));
    }

    void call_function(unsigned callee) {
        emit(0xbf, 1, kMemory, 0, 0);
        calls_.emplace_back(static_cast<uint32_t>(out_.size()), callee);
        emit(0x85, 0, 1, 0, 0);
        for (const uint8_t reg : {1, 2, 3, 4, 5}) set_number(reg);
    }

    void skip() {
        switch (random_.below(3)) {
            case 0: return emit(0x05, 0, 0, 0, 0);
            case 1: return emit(0x06, 0, 0, 0, 0);
            default: return emit(0xe5, 0, 0, 0, 0);
        }
    }

    // --- what compilers write, which native code has forms of its own for

    uint8_t number_but(uint8_t other) {
        for (;;) {
            if (const uint8_t reg = number(); reg != other) return reg;
        }
    }
    void move(uint8_t dst, uint8_t src, bool is64 = true) {
        emit(is64 ? 0xbf : 0xbc, dst, src, 0, 0);
    }

    void idiom(unsigned depth) {
        switch (random_.below(12)) {
            case 0: return rotate();
            case 1:
            case 2: return indexed_access();
            case 3: return load_and_extend();
            case 4: return depth < 3 ? test_bits(depth) : rotate();
            case 5: return depth < 3 ? compare_loaded(depth) : load_and_combine();
            case 6: return load_and_combine();
            case 7: return copies();
            case 8: return frame_by_copy();
            case 9: return hammock();
            case 10: return extend();
            default: return constants();
        }
    }

    // Shifts that make a rotation, or nearly.
    void rotate() {
        const bool is64 = random_.chance(50);
        const unsigned cls = is64 ? kClassAlu64 : kClassAlu;
        const int size = is64 ? 64 : 32;
        const int left = static_cast<int>(random_.below(static_cast<uint32_t>(size)));
        const int right = (random_.chance(80) ? size - left : 7) & (size - 1);
        constexpr uint8_t kJoins[] = {0x40, 0xa0, 0x00};
        const unsigned join = cls | random_.pick(kJoins) | kSourceReg;
        const uint8_t x = number(), t = number_but(x);
        move(t, x, random_.chance(70));
        if (random_.chance(50)) {
            const bool first = random_.chance(50);
            emit(cls | (first ? 0x60 : 0x70), t, 0, 0, first ? left : right);
            emit(cls | (first ? 0x70 : 0x60), x, 0, 0, first ? right : left);
            random_.chance(50) ? emit(join, x, t, 0, 0) : emit(join, t, x, 0, 0);
            return;
        }
        uint8_t u = number_but(x);
        while (u == t) u = number_but(x);
        emit(cls | 0x70, t, 0, 0, right);
        if (random_.chance(20)) alu();
        move(u, x, random_.chance(70));
        emit(cls | 0x60, u, 0, 0, left);
        emit(join, u, t, 0, 0);
    }

    // t = memory + (x & mask) << scale, then accesses through it; t holds a number again at the
    // end.
    void indexed_access() {
        const uint8_t x = number(), t = number_but(x);
        const unsigned scale = random_.below(4);
        const auto half = static_cast<int32_t>(options_.memory_bytes / 2);
        emit(random_.chance(50) ? 0x57 : 0x54, x, 0, 0, (half >> scale) - 1);
        uint8_t index = x;
        if (scale != 0) {
            if (random_.chance(60)) {
                index = number_but(t);
                move(index, x);
            }
            emit(0x67, index, 0, 0, static_cast<int32_t>(scale));
        }
        move(t, kMemory);
        if (random_.chance(40)) emit(0x07, t, 0, 0, static_cast<int32_t>(random_.below(16)));
        emit(0x0f, t, index, 0, 0);
        const unsigned accesses = 1 + random_.below(3);
        for (unsigned i = 0; i < accesses; ++i) {
            const unsigned size = random_.below(4);
            const int off = static_cast<int>(random_.below(static_cast<uint32_t>(half) - 32));
            const uint8_t value = number_but(t);
            if (random_.chance(60))
                emit(kClassLdx | kModeMem | kSizeCodes[size], value, t, off, 0);
            else
                emit(kClassStx | kModeMem | kSizeCodes[size], t, value, off, 0);
            if (random_.chance(20)) emit(0x07, value, 0, 0, immediate());
        }
        if (random_.chance(50))
            emit(kClassLdx | kModeMem | kSizeCodes[random_.below(4)], t, t, 8, 0);
        else
            set_number(t);
    }

    void load_and_extend() {
        const unsigned size = random_.below(3);
        const uint8_t d = number();
        const Place from = place(1u << size, false);
        emit(kClassLdx | kModeMem | kSizeCodes[size], d, from.base, from.off, 0);
        if (random_.chance(30)) store();
        const int bits = 8 << size;
        if (random_.chance(50) && size > 0) {
            emit(kClassAlu | kCodeEnd | kSourceReg, d, 0, 0, bits);
            return;
        }
        const bool is64 = random_.chance(50) || bits == 32;
        const unsigned cls = is64 ? kClassAlu64 : kClassAlu;
        emit(cls | 0x60, d, 0, 0, (is64 ? 64 : 32) - bits);
        emit(cls | (random_.chance(70) ? 0xc0 : 0x70), d, 0, 0, (is64 ? 64 : 32) - bits);
    }

    void skipped_block(size_t jump, unsigned depth) {
        block(1 + random_.below(3), depth + 1);
        out_[jump].off = static_cast<int16_t>(out_.size() - jump - 1);
    }

    void test_bits(unsigned depth) {
        const uint8_t x = number(), t = number_but(x);
        move(t, x, random_.chance(60));
        const bool by_reg = random_.chance(40);
        emit((random_.chance(50) ? kClassAlu64 : kClassAlu) | 0x50 | (by_reg ? kSourceReg : 0), t,
             by_reg ? number_but(t) : 0, 0, by_reg ? 0 : immediate());
        if (random_.chance(20)) alu();
        const size_t jump = out_.size();
        emit((random_.chance(50) ? kClassJmp : kClassJmp32) | (random_.chance(50) ? 0x10 : 0x50), t,
             0, 0, 0);
        if (random_.chance(60)) set_number(t);
        skipped_block(jump, depth);
    }

    void compare_loaded(unsigned depth) {
        const unsigned size = random_.below(4);
        const uint8_t d = number(), x = number_but(d);
        const Place from = place(1u << size, false);
        emit(kClassLdx | kModeMem | kSizeCodes[size], d, from.base, from.off, 0);
        if (random_.chance(20)) store();
        const size_t jump = out_.size();
        const unsigned cls = random_.chance(60) ? kClassJmp : kClassJmp32;
        const unsigned code = random_.pick(kCondCodes);
        if (random_.chance(50))
            emit(cls | code, d, 0, 0,
                 random_.chance(50) ? static_cast<int32_t>(random_.below(256)) : immediate());
        else if (random_.chance(50))
            emit(cls | code | kSourceReg, d, x, 0, 0);
        else
            emit(cls | code | kSourceReg, x, d, 0, 0);
        if (random_.chance(60)) set_number(d);
        skipped_block(jump, depth);
        if (random_.chance(60)) set_number(d);
    }

    void load_and_combine() {
        constexpr uint8_t kCodes[] = {0x00, 0x10, 0x20, 0x40, 0x50, 0xa0};
        const bool is64 = random_.chance(50);
        const unsigned size = random_.chance(70) ? (is64 ? 3 : 2) : random_.below(4);
        const uint8_t d = number(), x = number_but(d);
        const Place from = place(1u << size, false);
        emit(kClassLdx | kModeMem | kSizeCodes[size], d, from.base, from.off, 0);
        if (random_.chance(20)) random_.chance(50) ? store() : alu();
        const unsigned opcode =
            (is64 ? kClassAlu64 : kClassAlu) | random_.pick(kCodes) | kSourceReg;
        random_.chance(70) ? emit(opcode, x, d, 0, 0) : emit(opcode, d, x, 0, 0);
        if (random_.chance(60)) set_number(d);
    }

    void copies() {
        for (unsigned i = 2 + random_.below(5); i > 0; --i) {
            const uint8_t d = number();
            move(d, number(), random_.chance(70));
            if (random_.chance(40)) alu();
        }
    }

    void frame_by_copy() {
        const uint8_t t = number(), value = number_but(t);
        const int slot = -8 * static_cast<int>(1 + random_.below(kStackSlots));
        move(t, 10);
        emit(0x07, t, 0, 0, slot);
        if (random_.chance(50)) emit(0x7b, t, value, 0, 0);
        if (random_.chance(50)) emit(0x79, value, 10, slot, 0);
        emit(0x79, t, t, 0, 0);
    }

    // A branch over one instruction.
    void hammock() {
        const bool is_imm = random_.chance(50);
        const size_t jump = out_.size();
        emit((random_.chance(60) ? kClassJmp : kClassJmp32) | random_.pick(kCondCodes) |
                 (is_imm ? 0 : kSourceReg),
             number(), is_imm ? 0 : number(), 1, is_imm ? immediate() : 0);
        switch (random_.below(3)) {
            case 0: move(number(), number(), random_.chance(50)); break;
            case 1: emit(random_.chance(50) ? 0xb7 : 0xb4, number(), 0, 0, immediate()); break;
            default: alu(); break;
        }
        out_[jump].off = static_cast<int16_t>(out_.size() - jump - 1);
    }

    void extend() {
        const uint8_t d = number();
        switch (random_.below(4)) {
            case 0: return move(d, random_.chance(50) ? d : number(), false);
            case 1: {
                const int32_t count = random_.chance(60) ? 32 : 48;
                emit(0x67, d, 0, 0, count);
                return emit(random_.chance(60) ? 0x77 : 0xc7, d, 0, 0, count);
            }
            case 2: {
                constexpr int32_t kMasks[] = {255, 65535, 1, 15, 0x7fffffff, -1};
                return emit(random_.chance(50) ? 0x57 : 0x54, d, 0, 0, random_.pick(kMasks));
            }
            default:
                emit(0x18, 4, 0, 0, -1);
                emit(0, 0, 0, 0, 0);
                return emit(0x5f, d, 4, 0, 0);
        }
    }

    // Arithmetic on registers that hold constants.
    void constants() {
        const uint8_t c = number(), d = number_but(c);
        set_number(c);
        constexpr uint8_t kCodes[] = {0x00, 0x10, 0x20, 0x40, 0x50, 0xa0, 0x60, 0x70, 0xc0};
        for (unsigned i = 1 + random_.below(3); i > 0; --i) {
            const unsigned cls = random_.chance(50) ? kClassAlu64 : kClassAlu;
            random_.chance(60) ? emit(cls | random_.pick(kCodes) | kSourceReg, d, c, 0, 0)
                               : emit(cls | random_.pick(kCodes) | kSourceReg, c, d, 0, 0);
        }
    }

    // One instruction that may end the run.
    void wild() {
        const uint8_t any = static_cast<uint8_t>(random_.below(10));
        const auto off = static_cast<int>(random_.between(-1024, 1024));
        const unsigned size = kSizeCodes[random_.below(4)];
        switch (random_.below(9)) {
            case 0: return emit(kClassLdx | kModeMem | size, number(), kMemory, off, 0);
            case 1: return emit(kClassLdx | kModeMem | size, number(), any, off, 0);
            case 2: return emit(kClassStx | kModeMem | size, kMemory, number(), off, 0);
            case 3: return emit(kClassStx | kModeMem | size, 10, number(), off, 0);
            case 4:
                return emit(kClassStx | kModeAtomic | (size & 0x18 & ~0x10 ? 0x18 : 0x00), kMemory,
                            number(), off, 0x01);
            case 5: return emit(0x0f, any, number(), 0, 0);
            case 6: return emit(0x27, any, 0, 0, immediate());
            case 7: return emit(0x55, number(), 0, -1 - static_cast<int>(random_.below(4)), 7);
            default:
                calls_.emplace_back(static_cast<uint32_t>(out_.size()), index_);
                return emit(0x85, 0, 1, 0, 0);
        }
    }

    Random random_;
    const GenerateOptions& options_;
    std::vector<RawInsn> out_;
    std::vector<uint32_t> starts_;                      // of functions
    std::vector<std::pair<uint32_t, unsigned>> calls_;  // slot, callee
    unsigned index_ = 0, functions_ = 1;
    bool in_loop_ = false;
};

constexpr RawInsn kNothing{.opcode = 0x05};  // goto +0

// Removes the instructions that do nothing and moves the targets of jumps with the rest.
std::vector<RawInsn> without_nothing(const std::vector<RawInsn>& slots) {
    auto insns = decode(slots);
    if (!insns) return slots;
    std::vector<int32_t> moved(slots.size() + 1);
    int32_t kept = 0;
    for (size_t i = 0; i < slots.size(); ++i) {
        moved[i] = kept;
        if (slots[i] != kNothing) ++kept;
    }
    std::vector<RawInsn> out;
    for (size_t i = 0; i < slots.size(); ++i) {
        if (slots[i] == kNothing) continue;
        Insn insn = (*insns)[i];
        insn.target = moved[static_cast<size_t>(insn.target)];
        out.push_back(encode(insn, static_cast<uint32_t>(out.size())));
    }
    return out;
}

}  // namespace

Generated generate(uint64_t seed, const GenerateOptions& options) {
    Generated program{.seed = seed, .slots = {}, .memory = {}};
    // A wild branch into the middle of a 64-bit immediate does not decode; the next attempt will.
    for (uint64_t attempt = 0;; ++attempt) {
        program.slots = Generator(seed + attempt * 0x1234567, options).run();
        if (decode(program.slots).has_value()) break;
    }
    Random random(~seed);
    program.memory.resize(options.memory_bytes);
    for (uint8_t& byte : program.memory) {
        byte = random.chance(30) ? 0 : static_cast<uint8_t>(random.next());
    }
    return program;
}

Generated minimise(Generated program, const std::function<bool(const Generated&)>& fails) {
    for (size_t chunk = std::max<size_t>(program.slots.size() / 2, 1); chunk > 0; chunk /= 2) {
        // Half steps, so that a chunk of two meets every 16-byte instruction whole.
        const size_t step = std::max<size_t>(chunk / 2, 1);
        for (size_t begin = 0; begin < program.slots.size(); begin += step) {
            Generated smaller = program;
            const size_t end = std::min(begin + chunk, smaller.slots.size());
            std::fill(smaller.slots.begin() + static_cast<ptrdiff_t>(begin),
                      smaller.slots.begin() + static_cast<ptrdiff_t>(end), kNothing);
            if (decode(smaller.slots) && fails(smaller)) program = std::move(smaller);
        }
    }
    Generated shorter = program;
    shorter.slots = without_nothing(program.slots);
    if (!shorter.slots.empty() && decode(shorter.slots) && fails(shorter)) program = shorter;
    return program;
}

std::string to_test(const Generated& program) {
    const auto insns = decode(program.slots);
    if (!insns) return "# does not decode: " + insns.error().to_string() + "\n";
    std::vector<uint8_t> memory = program.memory;
    const ReferenceResult result = run_raw(*insns, memory);
    TestCase test;
    test.title = "seed " + std::to_string(program.seed);
    test.sections = {{"mem", "", to_hex(program.memory)}, {"asm", "", disassemble(*insns)}};
    if (result.trap == TrapCode::None) {
        test.sections.push_back({"result", std::to_string(result.r0), ""});
    } else {
        test.sections.push_back(
            {"trap", std::string(name_of(result.trap)) + " " + std::to_string(result.slot), ""});
    }
    test.sections.push_back({"after", "", to_hex(memory)});
    return to_text({{test}});
}

}  // namespace skep::test
