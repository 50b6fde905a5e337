// The values of an extended basic block: what each slot computes, from which other values, and
// which registers hold it for how long. Built in one forward pass; select.hpp walks it backward.
//
// Identifiers: 0..10 are the registers' values at the block's start, 11 + k what slot first + k
// defines. A move defines no value of its own; it makes one more register hold its source's.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "jit/liveness.hpp"
#include "jit/masm.hpp"
#include "vm/run/image.hpp"

namespace skep::jit {

using ValueId = uint16_t;
inline constexpr ValueId kNoValue = UINT16_MAX;
// The longest block, so that an identifier and every count about a value fit in 16 bits.
inline constexpr uint32_t kMaxBlock = 512;
inline constexpr Reg kNoReg = 0xff;

struct Value {
    enum class What : uint8_t {
        Opaque,      // what only the instruction itself can compute; also values from outside
        Const,       // imm
        Alu,         // a op b
        AluImm,      // a op imm
        Neg,         // -a
        Rotate,      // a rotated left by imm
        SignExtend,  // low `count` bits of a, to `width`
        ZeroExtend,  // low `count` bits of a
        Swap,        // low `count` bits of a in reverse byte order
        Select,      // a or b, by the branch in the slot before
        Load,        // [a + imm], `count` bits wide, sign-extended if `sign`
    };
    What what = What::Opaque;
    Width width = Width::Dw;
    uint8_t op = 0;
    uint8_t bits = 64;  // the value is below 2^bits
    uint8_t count = 0;
    // The slot as a definition: register `reg` holds `value` from here on; before, definition
    // `previous` was in force. `next` chains the definitions of one value up to `last`.
    Reg reg = kNoReg;
    bool sign : 1 = false;  // Load: sign-extends; Alu Div and Mod: signed
    bool nonzero : 1 = false;
    bool needed : 1 = false;     // the register is read, or must be right where control leaves
    bool dropped : 1 = false;    // somebody relied on this definition not being emitted
    bool computes : 1 = false;   // the slot reads its operands (and is no copy)
    bool effect : 1 = false;     // emitted whoever needs the register
    bool redundant : 1 = false;  // a store of what is there
    ValueId a = kNoValue, b = kNoValue;
    ValueId value = kNoValue, previous = kNoValue, next = kNoValue, last = kNoValue;
    uint16_t uses = 0, served = 0;  // demands for the value, and those that have been met
    uint16_t leaving = 0;           // registers that must be right where control leaves behind it
    uint16_t needed_defs = 0;       // of this value
    uint16_t epoch = 0;             // memory writes before the slot
    int64_t imm = 0;
};

class Values {
public:
    // `selects`: branches over one move (Plan), by slot.
    Values(const Image& image, const Liveness& liveness, const std::vector<uint8_t>& selects);

    // Builds the values of slots first..end-1. `private_frame`: only loads and stores through r10
    // touch the frame of the subprogram they are in.
    void build(uint32_t first, uint32_t end, bool private_frame);

    Value& operator[](ValueId id) { return values_[id]; }
    const Value& operator[](ValueId id) const { return values_[id]; }
    ValueId id_of(uint32_t slot) const { return static_cast<ValueId>(kRegisters + slot - first_); }
    uint32_t slot_of(ValueId id) const { return first_ + id - kRegisters; }
    // The definition of each register that is in force at the end.
    const std::array<ValueId, kRegisters>& final_definitions() const { return current_; }
    // True if the access at `slot` may be moved, merged or left out: it can neither trap nor needs
    // a translation.
    bool is_plain(uint32_t slot) const;

private:
    ValueId value_in(Reg r) const { return values_[current_[r]].value; }
    bool opaque_frame(Reg r) const { return r == kFramePointer && image_.form == Form::Sandbox; }
    void define(ValueId id, Reg reg, ValueId value);
    void compute(ValueId id, Reg reg) { define(id, reg, id); }
    void copy(ValueId id, Reg reg, ValueId value) { define(id, reg, value); }
    void constant(ValueId id, Reg reg, uint64_t value);
    void zero_extend(ValueId id, Reg reg, ValueId a, unsigned bits);
    ValueId low_half(ValueId v) const;

    uint16_t leaving(uint32_t slot, bool last) const;
    void demand(ValueId value) {
        if (value != kNoValue) ++values_[value].uses;
    }
    void demand_registers(uint16_t mask);
    void demand_leaving(uint16_t mask);
    void count(ValueId id, uint32_t slot);
    void add_slot(ValueId id, const ImageSlot& image_slot, uint32_t slot);
    void add_alu(ValueId id, const Insn& insn);
    void add_move(ValueId id, const Insn& insn);
    void add_select(ValueId id, const Insn& insn);
    void add_reg(ValueId id, const Insn& insn, ValueId a, ValueId b);
    void add_imm(ValueId id, const Insn& insn, Width width, AluOp op, ValueId a, int64_t imm);
    bool add_shift_pair(ValueId id, Reg reg, Width width, AluOp op, ValueId a, unsigned count);
    bool add_rotate(ValueId id, Reg reg, Width width, ValueId a, ValueId b);
    void add_endian(ValueId id, const Insn& insn);
    void add_branch(ValueId id, const Insn& insn);
    void add_memory(ValueId id, uint32_t slot);
    // What is known of the frame: which value lies where.
    struct Kept {
        int off = 0;
        unsigned bytes = 0;
        ValueId value = kNoValue;
    };
    std::span<Kept> kept() {
        return std::span(kept_).first(std::min<size_t>(next_kept_, kept_.size()));
    }
    void forget_kept() { next_kept_ = 0; }
    Kept* kept_at(int off, unsigned bytes);
    void keep(int off, unsigned bytes, ValueId value);
    bool held_now(ValueId value) const;
    bool add_frame_access(ValueId id, const Insn& insn);
    void add_atomic(ValueId id, const Insn& insn);

    const Image& image_;
    const Liveness& liveness_;
    const std::vector<uint8_t>& selects_;
    std::vector<Value> values_;
    std::array<ValueId, kRegisters> current_{};
    // The newest few, replaced in turn.
    std::array<Kept, 16> kept_{};
    unsigned next_kept_ = 0;  // how many have been kept
    // Registers whose definition in force is demanded by somebody who leaves.
    uint16_t leaves_with_ = 0;
    uint16_t defined_ = 0;  // registers that the block has defined
    uint32_t first_ = 0;
    uint16_t epoch_ = 0;
    bool private_frame_ = false;
    bool facts_ = false;  // the image's may be used
};

}  // namespace skep::jit
