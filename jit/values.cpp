#include "jit/values.hpp"

#include <algorithm>
#include <bit>

#include "vm/isa/semantics.hpp"

namespace skep::jit {

namespace {

unsigned length_of(uint64_t v) { return 64u - static_cast<unsigned>(std::countl_zero(v)); }
unsigned size_of(Width w) { return w == Width::Dw ? 64 : 32; }

bool commutes(AluOp op) {
    return op == AluOp::Add || op == AluOp::Mul || op == AluOp::Or || op == AluOp::And ||
           op == AluOp::Xor;
}

// How long `a op b` can get at `width` when the operands are below 2^a and 2^b.
unsigned result_bits(AluOp op, Width width, unsigned a, unsigned b) {
    const unsigned size = size_of(width);
    a = std::min(a, size);
    b = std::min(b, size);
    switch (op) {
        case AluOp::Add: return std::min(size, std::max(a, b) + 1);
        case AluOp::Mul: return std::min(size, a + b);
        case AluOp::Or:
        case AluOp::Xor: return std::max(a, b);
        case AluOp::And: return std::min(a, b);
        default: return size;
    }
}

unsigned result_bits_imm(AluOp op, Width width, bool is_signed, unsigned a, int64_t imm) {
    const unsigned size = size_of(width);
    a = std::min(a, size);
    const uint64_t value = zero_extend(static_cast<uint64_t>(imm), size);
    const auto count = static_cast<unsigned>(imm) & (size - 1);
    switch (op) {
        case AluOp::Lsh: return std::min(size, a + count);
        case AluOp::Rsh: return a - std::min(a, count);
        case AluOp::Arsh: return a < size ? a - std::min(a, count) : size;
        case AluOp::Div: return is_signed || value == 0 ? size : a;
        case AluOp::Mod: return is_signed || value == 0 ? size : std::min(a, length_of(value - 1));
        default: return result_bits(op, width, a, length_of(value));
    }
}

}  // namespace

Values::Values(const Image& image, const Liveness& liveness, const std::vector<uint8_t>& selects)
    : image_(image),
      liveness_(liveness),
      selects_(selects),
      facts_(image.form == Form::Unchecked && image.facts->complete &&
             image.facts->slots.size() == image.slots.size()) {}

bool Values::is_plain(uint32_t slot) const {
    const ImageSlot& s = image_.slots[slot];
    const Insn& i = s.insn;
    if (i.kind != Kind::Load && i.kind != Kind::Store) return false;
    const Reg base = i.kind == Kind::Load ? i.src : i.dst;
    const bool stores_frame = i.kind == Kind::Store && !i.is_imm && opaque_frame(i.src);
    const int end = i.off + static_cast<int>(bytes_of(i.width));
    if (base == kFramePointer && i.off >= -static_cast<int>(kStackBytes) && end <= 0)
        return !stores_frame;
    return image_.form == Form::Unchecked && s.access == Access::Proven;
}

void Values::build(uint32_t first, uint32_t end, bool private_frame) {
    static constexpr auto kAtEntry = [] {
        std::array<Value, kRegisters> values;
        for (ValueId r = 0; r < kRegisters; ++r) {
            values[r].reg = static_cast<Reg>(r);
            values[r].value = values[r].last = r;
        }
        return values;
    }();
    first_ = first;
    epoch_ = 0;
    private_frame_ = private_frame;
    forget_kept();
    leaves_with_ = defined_ = 0;
    const size_t slots = end - first;
    if (values_.size() < kRegisters + slots)
        values_.resize(std::max<size_t>(kRegisters + slots, kMaxBlock));
    std::copy(kAtEntry.begin(), kAtEntry.end(), values_.begin());
    std::fill_n(values_.begin() + kRegisters, slots, Value{});
    for (ValueId r = 0; r < kRegisters; ++r) current_[r] = r;
    uint32_t last = end - 1;
    if (last > first && image_.slots[last].insn.kind == Kind::Imm64High) --last;
    const ImageSlot* s = image_.slots.data() + first;
    ValueId id = kRegisters;
    for (uint32_t slot = first; slot < end; ++slot, ++s, ++id) {
        values_[id].epoch = epoch_;
        if (s->dead || s->trap != TrapCode::None) continue;
        add_slot(id, *s, slot);
        count(id, slot);
        const Kind kind = s->insn.kind;
        if (slot != last && kind != Kind::Branch && kind != Kind::MayGoto) continue;
        const uint16_t mask = leaving(slot, slot == last);
        values_[id].leaving = mask;
        demand_leaving(mask);
    }
}

// Registers that must be right when control leaves behind `slot`.
uint16_t Values::leaving(uint32_t slot, bool last) const {
    const Insn& i = image_.slots[slot].insn;
    if (last) {
        // What calls leave in r0..r5 is no definition of this block.
        const bool calls =
            i.kind == Kind::Call || i.kind == Kind::CallLocal || i.kind == Kind::LoadPacket;
        const uint16_t clobbered = calls ? liveness_.writes_at(slot) : uint16_t{0};
        return static_cast<uint16_t>(liveness_.live_after(slot) & ~clobbered);
    }
    if (selects_[slot] != 0) return 0;
    return liveness_.live_before(static_cast<uint32_t>(i.target));
}

void Values::demand_registers(uint16_t mask) {
    for (; mask != 0; mask &= static_cast<uint16_t>(mask - 1))
        ++values_[value_in(static_cast<Reg>(std::countr_zero(mask)))].uses;
}

// A definition is demanded once by all who leave while it is in force: it has to be there for the
// last of them, and then is for the others.
void Values::demand_leaving(uint16_t mask) {
    // Nobody asks how often values from outside are used.
    demand_registers(static_cast<uint16_t>(mask & defined_ & ~leaves_with_));
    leaves_with_ |= mask;
}

// What the slot demands by being executed. Dead ones demand, too, which costs a fold at most.
void Values::count(ValueId id, uint32_t slot) {
    const Value& v = values_[id];
    if (v.computes) {
        demand(v.a);
        demand(v.b);
        return;
    }
    const bool copies = v.reg != kNoReg && v.value != id && !v.effect;
    if (copies || v.redundant || v.what == Value::What::Const) return;
    uint16_t mask = liveness_.reads_at(slot);
    // What it overwrites was read before.
    if (v.reg != kNoReg && (mask >> v.reg & 1) != 0) {
        mask &= static_cast<uint16_t>(~(1u << v.reg));
        ++values_[values_[v.previous].value].uses;
    }
    demand_registers(mask);
}

void Values::define(ValueId id, Reg reg, ValueId value) {
    Value& d = values_[id];
    d.reg = reg;
    d.value = value;
    d.previous = current_[reg];
    current_[reg] = id;
    leaves_with_ &= static_cast<uint16_t>(~(1u << reg));
    defined_ |= static_cast<uint16_t>(1u << reg);
    if (value == id) {
        d.last = id;
        return;
    }
    values_[values_[value].last].next = id;
    values_[value].last = id;
}

void Values::constant(ValueId id, Reg reg, uint64_t value) {
    Value& v = values_[id];
    v.what = Value::What::Const;
    v.imm = static_cast<int64_t>(value);
    v.bits = static_cast<uint8_t>(length_of(value));
    v.a = v.b = kNoValue;
    compute(id, reg);
}

void Values::zero_extend(ValueId id, Reg reg, ValueId a, unsigned bits) {
    if (values_[a].bits <= bits) {
        copy(id, reg, a);
        return;
    }
    Value& v = values_[id];
    v.what = Value::What::ZeroExtend;
    v.count = v.bits = static_cast<uint8_t>(bits);
    v.a = a;
    v.computes = true;
    compute(id, reg);
}

// What a 32-bit operation may read instead of `v`, whose upper half does not matter.
ValueId Values::low_half(ValueId v) const {
    const Value& value = values_[v];
    if (value.what != Value::What::ZeroExtend || value.count != 32) return v;
    return held_now(value.a) ? value.a : v;
}

bool Values::held_now(ValueId value) const {
    return std::any_of(current_.begin(), current_.end(),
                       [&](ValueId d) { return values_[d].value == value; });
}

void Values::add_slot(ValueId id, const ImageSlot& s, uint32_t slot) {
    const Insn& i = s.insn;
    Value& v = values_[id];
    static constexpr SlotFact kNothingKnown{};
    const SlotFact& fact = facts_ ? image_.facts->slots[slot] : kNothingKnown;
    if (fact.zero_extended && i.dst < kRegisters) {
        Value& before = values_[value_in(i.dst)];
        before.bits = std::min<uint8_t>(before.bits, 32);
    }
    switch (i.kind) {
        case Kind::Alu:
            v.nonzero = fact.divisor_nonzero;
            if (slot > first_ && selects_[slot - 1])
                add_select(id, i);
            else if (fact.dst_const)
                constant(id, i.dst, fact.value);
            else
                add_alu(id, i);
            break;
        case Kind::Neg:
            v.what = Value::What::Neg;
            v.width = i.width;
            v.a = value_in(i.dst);
            v.bits = static_cast<uint8_t>(size_of(i.width));
            v.computes = true;
            compute(id, i.dst);
            break;
        case Kind::Endian: add_endian(id, i); break;
        case Kind::Imm64: constant(id, i.dst, s.bound); break;
        case Kind::Load:
        case Kind::Store: add_memory(id, slot); break;
        case Kind::Atomic: add_atomic(id, i); break;
        case Kind::Branch: add_branch(id, i); break;
        case Kind::AddrSpaceCast: compute(id, i.dst); break;
        case Kind::Imm64High:
        case Kind::LoadPacket:
        case Kind::Jump:
        case Kind::MayGoto:
        case Kind::Call:
        case Kind::CallLocal:
        case Kind::Exit: break;
    }
}

void Values::add_alu(ValueId id, const Insn& i) {
    Value& v = values_[id];
    v.width = i.width;
    v.sign = i.sign;
    if (!i.is_imm && opaque_frame(i.src)) {
        compute(id, i.dst);
        return;
    }
    if (i.alu() == AluOp::Mov) {
        add_move(id, i);
        return;
    }
    ValueId a = value_in(i.dst);
    ValueId b = i.is_imm ? kNoValue : value_in(i.src);
    if (!i.is64()) {
        a = low_half(a);
        if (b != kNoValue) b = low_half(b);
    }
    const auto is_const = [&](ValueId x) { return values_[x].what == Value::What::Const; };
    if (b != kNoValue && is_const(a) && !is_const(b) && commutes(i.alu())) std::swap(a, b);
    int64_t imm = i.imm;
    if (b != kNoValue) {
        if (!is_const(b)) {
            add_reg(id, i, a, b);
            return;
        }
        imm = values_[b].imm;
        if (!i.is64()) imm = static_cast<int32_t>(imm);
        const bool masks = i.alu() == AluOp::And && imm == UINT32_MAX;
        if (!fits_i32(imm) && !masks && !is_const(a)) {
            add_reg(id, i, a, b);
            return;
        }
    }
    if (is_const(a)) {
        const auto d = static_cast<uint64_t>(values_[a].imm);
        const auto s = static_cast<uint64_t>(imm);
        constant(id, i.dst,
                 i.is64() ? eval_alu<uint64_t>(i.alu(), d, s, i.sign)
                          : eval_alu<uint32_t>(i.alu(), static_cast<uint32_t>(d),
                                               static_cast<uint32_t>(s), i.sign));
        return;
    }
    add_imm(id, i, i.width, i.alu(), a, imm);
}

void Values::add_move(ValueId id, const Insn& i) {
    if (i.is_imm) {
        constant(id, i.dst, i.is64() ? static_cast<uint64_t>(i.imm) : static_cast<uint32_t>(i.imm));
        return;
    }
    const ValueId a = value_in(i.src);
    Value& v = values_[id];
    if (i.sext != 0) {
        if (values_[a].what == Value::What::Const) {
            const uint64_t wide = sign_extend(static_cast<uint64_t>(values_[a].imm), i.sext);
            constant(id, i.dst, i.is64() ? wide : static_cast<uint32_t>(wide));
            return;
        }
        v.what = Value::What::SignExtend;
        v.count = i.sext;
        v.bits = static_cast<uint8_t>(size_of(i.width));
        v.a = a;
        v.computes = true;
        compute(id, i.dst);
    } else if (i.is64()) {
        copy(id, i.dst, a);
    } else if (values_[a].what == Value::What::Const) {
        constant(id, i.dst, static_cast<uint32_t>(values_[a].imm));
    } else {
        zero_extend(id, i.dst, a, 32);
    }
}

// A move that the branch before it skips: the old value or the new one.
void Values::add_select(ValueId id, const Insn& i) {
    Value& v = values_[id];
    v.what = Value::What::Select;
    v.a = value_in(i.dst);
    v.bits = values_[v.a].bits;
    unsigned bits = 64;
    if (i.is_imm) {
        v.imm = i.is64() ? i.imm : int64_t{static_cast<uint32_t>(i.imm)};
        bits = length_of(static_cast<uint64_t>(v.imm));
    } else {
        v.b = value_in(i.src);
        bits = values_[v.b].bits;
        // A narrow move cuts what it moves.
        v.width = !i.is64() && bits > 32 ? Width::W : Width::Dw;
        if (v.width == Width::W) bits = 32;
    }
    v.bits = static_cast<uint8_t>(std::max<unsigned>(v.bits, bits));
    v.computes = true;
    compute(id, i.dst);
}

void Values::add_reg(ValueId id, const Insn& i, ValueId a, ValueId b) {
    Value& v = values_[id];
    Width width = i.width;
    const AluOp op = i.alu();
    if (op == AluOp::Or || op == AluOp::Xor || op == AluOp::Add) {
        if (add_rotate(id, i.dst, width, a, b)) return;
    }
    const bool low = values_[a].bits <= 32 && values_[b].bits <= 32;
    // Where the upper halves are 0 the 32-bit form does the same, and divides faster.
    const bool narrows = op == AluOp::Or || op == AluOp::Xor || op == AluOp::And ||
                         ((op == AluOp::Div || op == AluOp::Mod) && !i.sign);
    if (narrows && low) width = Width::W;
    v.what = Value::What::Alu;
    v.op = static_cast<uint8_t>(op);
    v.width = width;
    v.bits = static_cast<uint8_t>(result_bits(op, width, values_[a].bits, values_[b].bits));
    v.a = a;
    v.b = b;
    v.computes = true;
    compute(id, i.dst);
}

void Values::add_imm(ValueId id, const Insn& i, Width width, AluOp op, ValueId a, int64_t imm) {
    Value& v = values_[id];
    const unsigned size = size_of(width);
    const auto as_copy = [&] {
        if (width == Width::Dw)
            copy(id, i.dst, a);
        else
            zero_extend(id, i.dst, a, 32);
    };
    if (op == AluOp::Sub && imm != INT32_MIN) {
        op = AluOp::Add;
        imm = -imm;
    }
    if (op == AluOp::Mul && imm > 0 && std::has_single_bit(static_cast<uint64_t>(imm))) {
        op = AluOp::Lsh;
        imm = std::countr_zero(static_cast<uint64_t>(imm));
    }
    const bool shift = op == AluOp::Lsh || op == AluOp::Rsh || op == AluOp::Arsh;
    if (shift) imm &= size - 1;
    if (imm == 0 && (shift || op == AluOp::Add || op == AluOp::Or || op == AluOp::Xor)) {
        as_copy();
        return;
    }
    if (op == AluOp::And) {
        const uint64_t mask = skep::zero_extend(static_cast<uint64_t>(imm), size);
        const unsigned length = length_of(mask);
        const bool low_bits = (mask & (mask + 1)) == 0;
        if (low_bits && (length == 8 || length == 16 || length == 32 || length == 64 ||
                         values_[a].bits <= length)) {
            if (mask == 0)
                constant(id, i.dst, 0);
            else
                zero_extend(id, i.dst, a, std::min(length, size));
            return;
        }
    }
    if (shift && add_shift_pair(id, i.dst, width, op, a, static_cast<unsigned>(imm))) return;
    const bool low = values_[a].bits <= 32;
    if (low && width == Width::Dw && imm >= 0 &&
        (op == AluOp::Or || op == AluOp::Xor || op == AluOp::And ||
         (op == AluOp::Rsh && imm < 32) || ((op == AluOp::Div || op == AluOp::Mod) && !i.sign)))
        width = Width::W;
    v.what = Value::What::AluImm;
    v.op = static_cast<uint8_t>(op);
    v.width = width;
    v.bits = static_cast<uint8_t>(result_bits_imm(op, width, i.sign, values_[a].bits, imm));
    v.a = a;
    v.imm = imm;
    v.computes = true;
    compute(id, i.dst);
}

// x << k >> k: sign or zero extension.
bool Values::add_shift_pair(ValueId id, Reg reg, Width width, AluOp op, ValueId a, unsigned count) {
    const Value& inner = values_[a];
    if (op == AluOp::Lsh || inner.what != Value::What::AluImm || inner.width != width ||
        static_cast<AluOp>(inner.op) != AluOp::Lsh || inner.imm != static_cast<int64_t>(count))
        return false;
    const unsigned rest = size_of(width) - count;
    if (rest != 8 && rest != 16 && rest != 32) return false;
    if (op == AluOp::Arsh && rest == size_of(width)) return false;
    const ValueId x = inner.a;
    // The left shift goes where nobody else could read it.
    if (inner.uses == 0 && values_[current_[reg]].value == a) --values_[x].uses;
    if (op == AluOp::Rsh) {
        zero_extend(id, reg, x, rest);
        return true;
    }
    Value& v = values_[id];
    v.what = Value::What::SignExtend;
    v.width = width;
    v.count = static_cast<uint8_t>(rest);
    v.bits = static_cast<uint8_t>(size_of(width));
    v.a = x;
    v.computes = true;
    compute(id, reg);
    return true;
}

// (x << k) op (x >> N - k), at N bits: rotation of x.
bool Values::add_rotate(ValueId id, Reg reg, Width width, ValueId a, ValueId b) {
    const unsigned size = size_of(width);
    const auto shifts = [&](const Value& n, AluOp op) {
        if (n.what != Value::What::AluImm || static_cast<AluOp>(n.op) != op) return false;
        // A right shift of a short value is the same at both widths.
        return n.width == width || (op == AluOp::Rsh && values_[n.a].bits <= 32);
    };
    const Value *left = &values_[a], *right = &values_[b];
    if (!shifts(*left, AluOp::Lsh)) std::swap(left, right);
    if (!shifts(*left, AluOp::Lsh) || !shifts(*right, AluOp::Rsh)) return false;
    if (left->imm + right->imm != size) return false;
    ValueId x = left->a;
    if (x != right->a) {
        // One shift may have looked through a zero extension.
        const auto strip = [&](ValueId y) {
            const Value& n = values_[y];
            return n.what == Value::What::ZeroExtend && n.count == 32 ? n.a : y;
        };
        if (width == Width::Dw || strip(x) != strip(right->a)) return false;
    }
    // A register holds x, or did until one of the two shifts, which go, was made in it.
    const auto reachable = [&](ValueId y) {
        return held_now(y) || std::any_of(current_.begin(), current_.end(), [&](ValueId d) {
                   const Value& shift = values_[d];
                   return (shift.value == a || shift.value == b) && shift.previous != kNoValue &&
                          values_[shift.previous].value == y;
               });
    };
    if (!reachable(x)) x = right->a;
    if (!reachable(x)) return false;
    const auto turn = static_cast<int64_t>(left->imm);
    Value& v = values_[id];
    v.what = Value::What::Rotate;
    v.width = width;
    v.bits = static_cast<uint8_t>(size);
    v.a = x;
    v.imm = turn;
    v.computes = true;
    compute(id, reg);
    return true;
}

void Values::add_endian(ValueId id, const Insn& i) {
    const ValueId a = value_in(i.dst);
    const auto bits = static_cast<unsigned>(i.imm);
    if (values_[a].what == Value::What::Const) {
        constant(id, i.dst, eval_endian(i.endian(), static_cast<uint64_t>(values_[a].imm), bits));
        return;
    }
    if (i.endian() == EndianOp::ToLe) {
        zero_extend(id, i.dst, a, bits);
        return;
    }
    Value& v = values_[id];
    v.what = Value::What::Swap;
    v.count = v.bits = static_cast<uint8_t>(bits);
    v.a = a;
    v.computes = true;
    compute(id, i.dst);
}

void Values::add_branch(ValueId id, const Insn& i) {
    Value& v = values_[id];
    v.width = i.width;
    v.op = i.op;
    if (opaque_frame(i.dst) || (!i.is_imm && opaque_frame(i.src))) return;
    v.computes = true;
    v.a = value_in(i.dst);
    v.imm = i.imm;
    if (!i.is_imm) v.b = value_in(i.src);
    if (!i.is64()) {
        v.a = low_half(v.a);
        if (v.b != kNoValue) v.b = low_half(v.b);
    }
    if (v.b == kNoValue || values_[v.b].what != Value::What::Const) return;
    const int64_t imm = i.is64() ? values_[v.b].imm : static_cast<int32_t>(values_[v.b].imm);
    if (!fits_i32(imm)) return;
    v.b = kNoValue;
    v.imm = imm;
}

void Values::add_memory(ValueId id, uint32_t slot) {
    const Insn& i = image_.slots[slot].insn;
    Value& v = values_[id];
    const bool plain = is_plain(slot);
    v.imm = i.off;
    v.count = static_cast<uint8_t>(8 * bytes_of(i.width));
    if (plain && add_frame_access(id, i)) return;
    if (plain) {
        v.a = value_in(i.kind == Kind::Load ? i.src : i.dst);
        v.computes = true;
    }
    if (i.kind == Kind::Store) {
        if (plain && !i.is_imm) v.b = value_in(i.src);
        ++epoch_;
        // A sandboxed program may have made up an address in its own frame.
        if (!plain && image_.form == Form::Sandbox) forget_kept();
        return;
    }
    if (plain)
        v.what = Value::What::Load;
    else
        v.effect = true;
    v.sign = i.sign;
    // A narrow load from the context may yield a pointer.
    const Access access = image_.slots[slot].access;
    if (!i.sign && (access == Access::Checked || access == Access::Proven)) v.bits = v.count;
    compute(id, i.dst);
}

Values::Kept* Values::kept_at(int off, unsigned bytes) {
    for (Kept& k : kept()) {
        if (k.value != kNoValue && k.off == off && k.bytes == bytes) return &k;
    }
    return nullptr;
}

void Values::keep(int off, unsigned bytes, ValueId value) {
    kept_[next_kept_++ % kept_.size()] = {off, bytes, value};
}

// Loads and stores of a frame that nothing else touches: what was stored or loaded before need not
// be loaded again while a register holds it, nor stored again. True if nothing is left to do.
bool Values::add_frame_access(ValueId id, const Insn& i) {
    const Reg base = i.kind == Kind::Load ? i.src : i.dst;
    if (!private_frame_ || base != kFramePointer) return false;
    const unsigned bytes = bytes_of(i.width);
    Kept* known = kept_at(i.off, bytes);
    if (i.kind == Kind::Load) {
        if (i.sign || bytes < 4) return false;
        if (known == nullptr || !held_now(known->value)) {
            if (known != nullptr) known->value = kNoValue;
            keep(i.off, bytes, id);
            return false;
        }
        if (bytes == 8)
            copy(id, i.dst, known->value);
        else
            zero_extend(id, i.dst, known->value, 32);
        return true;
    }
    if (!i.is_imm && known != nullptr && known->value == value_in(i.src)) {
        values_[id].redundant = true;
        return true;
    }
    for (Kept& k : kept()) {
        const bool apart =
            k.off + static_cast<int>(k.bytes) <= i.off || i.off + static_cast<int>(bytes) <= k.off;
        if (!apart) k.value = kNoValue;
    }
    if (!i.is_imm && bytes >= 4) keep(i.off, bytes, value_in(i.src));
    return false;
}

void Values::add_atomic(ValueId id, const Insn& i) {
    // Atomic accesses to the frame are rare.
    forget_kept();
    ++epoch_;
    values_[id].effect = true;
    if (i.atomic() == AtomicOp::LoadAcquire)
        compute(id, i.dst);
    else if (i.atomic() == AtomicOp::Cmpxchg)
        compute(id, 0);
    else if (fetches(i.atomic()))
        compute(id, i.src);
}

}  // namespace skep::jit
