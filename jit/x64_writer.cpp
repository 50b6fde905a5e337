#include "jit/x64_writer.hpp"

namespace skep::jit {

// --- labels and jumps ---------------------------------------------------------------------------

asmjit::Label X64Writer::newLabel() {
    if (!direct_) return Base::newLabel();
    places_.emplace_back();
    return Label(static_cast<uint32_t>(places_.size() - 1));
}

asmjit::Error X64Writer::bind(const Label& label) {
    if (!direct_) return Base::bind(label);
    Place& place = places_[label.id()];
    place.offset = static_cast<uint32_t>(offset());
    for (uint32_t w = place.jumps; w != kNone; w = waiting_[w].next) {
        const Waiting& jump = waiting_[w];
        const auto distance = static_cast<int32_t>(place.offset - jump.behind);
        uint8_t* end = _bufferData + jump.behind;
        if (!jump.is_short)
            put32(end - 4, distance);
        else if (fits_byte(distance))
            end[-1] = static_cast<uint8_t>(distance);
        else
            return reportError(asmjit::kErrorInvalidDisplacement);
    }
    place.jumps = kNone;
    return asmjit::kErrorOk;
}

uint64_t X64Writer::position_of(const Label& label) const {
    return direct_ ? places_[label.id()].offset : code()->labelOffset(label);
}

void X64Writer::make_room() {
    if (_bufferEnd - _bufferPtr >= kRoom) return;
    if (const asmjit::Error e = _code->growBuffer(&_section->_buffer, kRoom)) reportError(e);
}

void X64Writer::wait_for(Place& place, bool is_short) {
    waiting_.push_back({static_cast<uint32_t>(offset()), place.jumps, is_short});
    place.jumps = static_cast<uint32_t>(waiting_.size() - 1);
}

// Backward jumps are short where that reaches, forward ones where it was asked for.
void X64Writer::jump(unsigned short_opcode, unsigned long_opcode, const Label& label) {
    make_room();
    if (_bufferEnd - _bufferPtr < kRoom) return;  // no memory: reported
    Place& place = places_[label.id()];
    const bool wants_short = short_next_;
    short_next_ = false;
    const bool is_bound = place.offset != kUnbound;
    const int64_t short_distance = int64_t{place.offset} - static_cast<int64_t>(offset()) - 2;
    if (is_bound ? fits_byte(short_distance) : wants_short) {
        uint8_t* p = _bufferPtr;
        *p++ = static_cast<uint8_t>(short_opcode);
        *p++ = static_cast<uint8_t>(is_bound ? short_distance : 0);
        done(p);
        if (!is_bound) wait_for(place, true);
        return;
    }
    uint8_t* p = opcodes(_bufferPtr, long_opcode);
    const int64_t distance = int64_t{place.offset} - (p - _bufferData) - 4;
    done(put32(p, is_bound ? distance : 0));
    if (!is_bound) wait_for(place, false);
}

void X64Writer::jmp(const Label& label) {
    if (!direct_) return void(Base::jmp(label));
    jump(0xeb, 0xe9, label);
}

void X64Writer::j(CondCode cond, const Label& label) {
    if (!direct_) return void(Base::j(cond, label));
    jump(0x70 | code_of(cond), kEscape | 0x80 | code_of(cond), label);
}

void X64Writer::call(const Label& label) {
    if (!direct_) return void(Base::call(label));
    make_room();
    if (_bufferEnd - _bufferPtr < kRoom) return;
    Place& place = places_[label.id()];
    const bool is_bound = place.offset != kUnbound;
    uint8_t* p = _bufferPtr;
    *p++ = 0xe8;
    const int64_t distance = int64_t{place.offset} - (p - _bufferData) - 4;
    done(put32(p, is_bound ? distance : 0));
    if (!is_bound) wait_for(place, false);
}

// --- immediates ---------------------------------------------------------------------------------

void X64Writer::mov(const Gp& dst, uint64_t imm) {
    if (!room() || dst.size() < 4) return void(Base::mov(dst, imm));
    if (dst.size() == 4 || imm <= UINT32_MAX) {
        put_short(0xb8, dst.id());
        put_imm(static_cast<int64_t>(imm), false);
        return;
    }
    if (static_cast<int64_t>(imm) == static_cast<int32_t>(imm)) {
        put(0xc7, 0, dst.id(), true);
        put_imm(static_cast<int64_t>(imm), false);
        return;
    }
    uint8_t* p = prefixes(_bufferPtr, 0, true, 0, 0, dst.id(), false);
    *p++ = static_cast<uint8_t>(0xb8 | (dst.id() & 7));
    p = put32(p, static_cast<int64_t>(imm));
    done(put32(p, static_cast<int64_t>(imm >> 32)));
}

void X64Writer::mov(const Mem& dst, int64_t imm) {
    const unsigned size = dst.size();
    if (!room() || size == 2 || imm != static_cast<int32_t>(imm)) return void(Base::mov(dst, imm));
    put(size == 1 ? 0xc6 : 0xc7, 0, dst, size == 8);
    put_imm(imm, size == 1);
}

void X64Writer::imul(const Gp& d, const Gp& s, int64_t imm) {
    if (!room() || imm != static_cast<int32_t>(imm)) return void(Base::imul(d, s, imm));
    const bool byte = fits_byte(imm);
    put(byte ? 0x6b : 0x69, d.id(), s.id(), is64(d));
    put_imm(imm, byte);
}

void X64Writer::test(const Gp& a, int64_t imm) {
    // The accumulator has forms of its own.
    if (!room() || a.size() < 4 || a.id() == 0 || imm != static_cast<int32_t>(imm))
        return void(Base::test(a, imm));
    put(0xf7, 0, a.id(), is64(a));
    put_imm(imm, false);
}

}  // namespace skep::jit
