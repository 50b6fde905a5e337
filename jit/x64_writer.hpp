// asmjit's x86-64 assembler with the forms that the macro-assembler emits most written straight
// into the buffer: the same bytes in a tenth of the time. Labels are its own, too. With a logger
// attached everything goes through asmjit, so that a listing is asmjit's reading of the same calls;
// a test compares the bytes of both (golden_test.cpp).
//
// The functions have the names and operands of asmjit's that they stand in front of; those that are
// not here are asmjit's. What they do not encode themselves they hand on.
#pragma once

#include <asmjit/x86.h>
#include <vector>

namespace skep::jit {

class X64Writer : public asmjit::x86::Assembler {
public:
    using Base = asmjit::x86::Assembler;
    using Gp = asmjit::x86::Gp;
    using Mem = asmjit::x86::Mem;
    using Label = asmjit::Label;
    using CondCode = asmjit::x86::CondCode;

    explicit X64Writer(asmjit::CodeHolder* code) : Base(code), direct_(code->logger() == nullptr) {}

    // --- labels and jumps
    Label newLabel() override;
    asmjit::Error bind(const Label& label) override;
    uint64_t position_of(const Label& label) const;
    X64Writer& short_() {
        if (direct_)
            short_next_ = true;
        else
            Base::short_();
        return *this;
    }
    void jmp(const Label& label);
    void j(CondCode cond, const Label& label);
    void jz(const Label& label) { j(CondCode::kZero, label); }
    void jne(const Label& label) { j(CondCode::kNE, label); }
    void ja(const Label& label) { j(CondCode::kA, label); }
    void jae(const Label& label) { j(CondCode::kAE, label); }
    void jc(const Label& label) { j(CondCode::kC, label); }
    void js(const Label& label) { j(CondCode::kS, label); }
    void call(const Label& label);
    void call(const asmjit::Imm& target) { Base::call(target); }

    // --- moves
    void mov(const Gp& dst, const Gp& src) {
        if (!room() || dst.size() < 4) return void(Base::mov(dst, src));
        put(0x89, src.id(), dst.id(), is64(dst));
    }
    void mov(const Gp& dst, const Mem& src) {
        if (!room() || dst.size() < 4) return void(Base::mov(dst, src));
        put(0x8b, dst.id(), src, is64(dst));
    }
    void mov(const Mem& dst, const Gp& src) {
        if (!room()) return void(Base::mov(dst, src));
        const unsigned size = src.size();
        const unsigned opcode = size == 1 ? 0x88u : 0x89u;
        put(opcode | (size == 2 ? kWord : 0), src.id(), dst, size == 8, size == 1 && src.id() >= 4);
    }
    void mov(const Gp& dst, uint64_t imm);
    void mov(const Mem& dst, int64_t imm);
    void movzx(const Gp& dst, const Gp& src) {
        if (!room()) return void(Base::movzx(dst, src));
        const bool byte = src.size() == 1;
        put(kEscape | (byte ? 0xb6u : 0xb7u), dst.id(), src.id(), is64(dst), byte && src.id() >= 4);
    }
    void movzx(const Gp& dst, const Mem& src) {
        if (!room()) return void(Base::movzx(dst, src));
        put(kEscape | (src.size() == 1 ? 0xb6u : 0xb7u), dst.id(), src, is64(dst));
    }
    void movsx(const Gp& dst, const Gp& src) {
        if (!room()) return void(Base::movsx(dst, src));
        const bool byte = src.size() == 1;
        put(kEscape | (byte ? 0xbeu : 0xbfu), dst.id(), src.id(), is64(dst), byte && src.id() >= 4);
    }
    void movsx(const Gp& dst, const Mem& src) {
        if (!room()) return void(Base::movsx(dst, src));
        put(kEscape | (src.size() == 1 ? 0xbeu : 0xbfu), dst.id(), src, is64(dst));
    }
    void movsxd(const Gp& dst, const Gp& src) {
        if (!room()) return void(Base::movsxd(dst, src));
        put(0x63, dst.id(), src.id(), true);
    }
    void movsxd(const Gp& dst, const Mem& src) {
        if (!room()) return void(Base::movsxd(dst, src));
        put(0x63, dst.id(), src, true);
    }
    void lea(const Gp& dst, const Mem& src) {
        if (!room()) return void(Base::lea(dst, src));
        put(0x8d, dst.id(), src, is64(dst));
    }
    void push(const Gp& r) {
        if (!room()) return void(Base::push(r));
        put_short(0x50, r.id());
    }
    void push(const Mem& m) { Base::push(m); }
    void push(int imm) { Base::push(imm); }
    void pop(const Gp& r) {
        if (!room()) return void(Base::pop(r));
        put_short(0x58, r.id());
    }
    void pop(const Mem& m) { Base::pop(m); }

    // --- arithmetic; the numbers are the operations' in opcodes and ModRM bytes
    void add(const Gp& d, const auto& s) {
        arithmetic<0>(d, s, [&] { Base::add(d, s); });
    }
    void or_(const Gp& d, const auto& s) {
        arithmetic<1>(d, s, [&] { Base::or_(d, s); });
    }
    void and_(const Gp& d, const auto& s) {
        arithmetic<4>(d, s, [&] { Base::and_(d, s); });
    }
    void sub(const Gp& d, const auto& s) {
        arithmetic<5>(d, s, [&] { Base::sub(d, s); });
    }
    void xor_(const Gp& d, const auto& s) {
        arithmetic<6>(d, s, [&] { Base::xor_(d, s); });
    }
    void cmp(const Gp& d, const auto& s) {
        arithmetic<7>(d, s, [&] { Base::cmp(d, s); });
    }
    void add(const Mem& d, int64_t imm) {
        memory_arithmetic<0>(d, imm, [&] { Base::add(d, imm); });
    }
    void sub(const Mem& d, int64_t imm) {
        memory_arithmetic<5>(d, imm, [&] { Base::sub(d, imm); });
    }
    void cmp(const Mem& d, int64_t imm) {
        memory_arithmetic<7>(d, imm, [&] { Base::cmp(d, imm); });
    }
    void imul(const Gp& d, const Gp& s) {
        if (!room()) return void(Base::imul(d, s));
        put(kEscape | 0xaf, d.id(), s.id(), is64(d));
    }
    void imul(const Gp& d, const Mem& s) {
        if (!room()) return void(Base::imul(d, s));
        put(kEscape | 0xaf, d.id(), s, is64(d));
    }
    void imul(const Gp& d, const Gp& s, int64_t imm);
    void test(const Gp& a, const Gp& b) {
        if (!room() || a.size() < 4) return void(Base::test(a, b));
        put(0x85, b.id(), a.id(), is64(a));
    }
    void test(const Gp& a, int64_t imm);
    void shl(const Gp& d, const auto& count) {
        shift<4>(d, count, [&] { Base::shl(d, count); });
    }
    void shr(const Gp& d, const auto& count) {
        shift<5>(d, count, [&] { Base::shr(d, count); });
    }
    void sar(const Gp& d, const auto& count) {
        shift<7>(d, count, [&] { Base::sar(d, count); });
    }
    void rol(const Gp& d, const auto& count) {
        shift<0>(d, count, [&] { Base::rol(d, count); });
    }
    void neg(const Gp& d) {
        if (!room()) return void(Base::neg(d));
        put(0xf7, 3, d.id(), is64(d));
    }
    void bswap(const Gp& d) {
        if (!room()) return void(Base::bswap(d));
        uint8_t* p = prefixes(_bufferPtr, 0, is64(d), 0, 0, d.id(), false);
        *p++ = 0x0f;
        *p++ = static_cast<uint8_t>(0xc8 | (d.id() & 7));
        done(p);
    }
    void cmov(CondCode cond, const Gp& d, const Gp& s) {
        if (!room()) return void(Base::cmov(cond, d, s));
        put(kEscape | 0x40 | code_of(cond), d.id(), s.id(), is64(d));
    }

private:
    static constexpr unsigned kEscape = 0x100;  // a two-byte opcode
    static constexpr unsigned kWord = 0x200;    // 16-bit operands
    // No form above is longer.
    static constexpr ptrdiff_t kRoom = 16;

    // What asmjit's emitters do at their ends.
    void done(uint8_t* p) {
        _bufferPtr = p;
        _section->_buffer._size = static_cast<size_t>(p - _bufferData);
    }
    bool room() const { return direct_ && _bufferEnd - _bufferPtr >= kRoom; }
    static bool is64(const Gp& r) { return r.size() == 8; }
    static bool fits_byte(int64_t v) { return v == static_cast<int8_t>(v); }
    static unsigned code_of(CondCode cond) {
        return static_cast<unsigned>(cond);  // asmjit's are the processor's
    }
    static uint8_t* put32(uint8_t* p, int64_t value) {
        const auto v = static_cast<uint32_t>(value);
        for (unsigned i = 0; i < 4; ++i) *p++ = static_cast<uint8_t>(v >> 8 * i);
        return p;
    }

    static uint8_t* prefixes(uint8_t* p, unsigned opcode, bool wide, unsigned reg, unsigned index,
                             unsigned base, bool byte_register) {
        if ((opcode & kWord) != 0) *p++ = 0x66;
        const unsigned rex = (wide ? 8u : 0u) | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;
        if (rex != 0 || byte_register) *p++ = static_cast<uint8_t>(0x40 | rex);
        return p;
    }
    static uint8_t* opcodes(uint8_t* p, unsigned opcode) {
        if ((opcode & kEscape) != 0) *p++ = 0x0f;
        *p++ = static_cast<uint8_t>(opcode);
        return p;
    }
    // `byte_register`: an operand is one of spl, bpl, sil, dil, which need a prefix, or above.
    void put(unsigned opcode, unsigned reg, unsigned rm, bool wide, bool byte_register = false) {
        uint8_t* p = prefixes(_bufferPtr, opcode, wide, reg, 0, rm, byte_register);
        p = opcodes(p, opcode);
        *p++ = static_cast<uint8_t>(0xc0 | (reg & 7) << 3 | (rm & 7));
        done(p);
    }
    void put(unsigned opcode, unsigned reg, const Mem& mem, bool wide, bool byte_register = false) {
        const unsigned base = mem.baseId();
        const bool has_index = mem.hasIndex();
        const unsigned index = has_index ? mem.indexId() : 4;
        uint8_t* p =
            prefixes(_bufferPtr, opcode, wide, reg, has_index ? index : 0, base, byte_register);
        p = opcodes(p, opcode);
        const int32_t disp = mem.offsetLo32();
        const bool none = disp == 0 && (base & 7) != 5, small = fits_byte(disp);
        const unsigned mode = none ? 0u : small ? 0x40u : 0x80u;
        const bool sib = has_index || (base & 7) == 4;
        *p++ = static_cast<uint8_t>(mode | (reg & 7) << 3 | (sib ? 4 : base & 7));
        if (sib)
            *p++ = static_cast<uint8_t>((has_index ? mem.shift() << 6 : 0) | (index & 7) << 3 |
                                        (base & 7));
        if (!none && small)
            *p++ = static_cast<uint8_t>(disp);
        else if (!none)
            p = put32(p, disp);
        done(p);
    }
    void put_short(unsigned opcode, unsigned reg) {
        uint8_t* p = prefixes(_bufferPtr, 0, false, 0, 0, reg, false);
        *p++ = static_cast<uint8_t>(opcode | (reg & 7));
        done(p);
    }
    void put_imm(int64_t imm, bool byte) {
        uint8_t* p = _bufferPtr;
        if (byte)
            *p++ = static_cast<uint8_t>(imm);
        else
            p = put32(p, imm);
        done(p);
    }

    template <unsigned kOp, class Other>
    void arithmetic(const Gp& d, const Gp& s, Other&& by_asmjit) {
        if (!room() || d.size() < 4) return by_asmjit();
        put(kOp << 3 | 1, s.id(), d.id(), is64(d));
    }
    template <unsigned kOp, class Other>
    void arithmetic(const Gp& d, const Mem& s, Other&& by_asmjit) {
        if (!room() || d.size() < 4) return by_asmjit();
        put(kOp << 3 | 3, d.id(), s, is64(d));
    }
    template <unsigned kOp, class Other>
    void arithmetic(const Gp& d, int64_t imm, Other&& by_asmjit) {
        // The accumulator has forms of its own.
        const bool byte = fits_byte(imm);
        if (!room() || d.size() < 4 || imm != static_cast<int32_t>(imm) || (d.id() == 0 && !byte))
            return by_asmjit();
        put(byte ? 0x83 : 0x81, kOp, d.id(), is64(d));
        put_imm(imm, byte);
    }
    template <unsigned kOp, class Other>
    void memory_arithmetic(const Mem& d, int64_t imm, Other&& by_asmjit) {
        if (!room() || d.size() == 2 || imm != static_cast<int32_t>(imm)) return by_asmjit();
        const bool byte = fits_byte(imm);
        put(d.size() == 1 ? 0x80 : byte ? 0x83 : 0x81, kOp, d, d.size() == 8);
        put_imm(imm, byte);
    }
    template <unsigned kOp, class Other>
    void shift(const Gp&, const Gp&, Other&& by_asmjit) {
        by_asmjit();
    }
    template <unsigned kOp, class Other>
    void shift(const Gp& d, int64_t count, Other&& by_asmjit) {
        if (!room() || d.size() < 2) return by_asmjit();
        put((count == 1 ? 0xd1 : 0xc1) | (d.size() == 2 ? kWord : 0), kOp, d.id(), is64(d));
        if (count != 1) put_imm(count, true);
    }

    // --- labels
    struct Place {
        uint32_t offset = kUnbound;
        uint32_t jumps = kNone;  // the last jump to it that waits for its place
    };
    struct Waiting {
        uint32_t behind = 0;  // where the jump ends
        uint32_t next = 0;
        bool is_short = false;
    };
    static constexpr uint32_t kUnbound = UINT32_MAX, kNone = UINT32_MAX;

    void jump(unsigned short_opcode, unsigned long_opcode, const Label& label);
    void wait_for(Place& place, bool is_short);
    void make_room();

    bool direct_;
    bool short_next_ = false;
    std::vector<Place> places_;
    std::vector<Waiting> waiting_;
};

}  // namespace skep::jit
