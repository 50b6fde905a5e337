#include "jit/select.hpp"

#include <algorithm>
#include <new>

#include "vm/isa/semantics.hpp"

namespace skep::jit {

namespace {

// How far chains of definitions are followed: hostile programs have long ones.
constexpr unsigned kMaxSteps = 16;

bool is_add(const Value& v) {
    return (v.what == Value::What::Alu || v.what == Value::What::AluImm) && v.width == Width::Dw &&
           static_cast<AluOp>(v.op) == AluOp::Add;
}
bool is_scale(const Value& v) {
    return v.what == Value::What::AluImm && v.width == Width::Dw &&
           static_cast<AluOp>(v.op) == AluOp::Lsh && v.imm >= 1 && v.imm <= 3;
}

bool takes_memory(AluOp op) {
    return op == AluOp::Add || op == AluOp::Sub || op == AluOp::And || op == AluOp::Or ||
           op == AluOp::Xor || op == AluOp::Mul;
}
bool commutes(AluOp op) { return takes_memory(op) && op != AluOp::Sub; }

// The same order on numbers that are not negative.
CondOp as_unsigned(CondOp op) {
    switch (op) {
        case CondOp::Sgt: return CondOp::Gt;
        case CondOp::Sge: return CondOp::Ge;
        case CondOp::Slt: return CondOp::Lt;
        case CondOp::Sle: return CondOp::Le;
        default: return op;
    }
}

}  // namespace

void Selector::select(uint32_t first, uint32_t end, bool private_frame, std::vector<Op>& ops) {
    values_.build(first, end, private_frame);
    current_ = values_.final_definitions();
    failed_ = false;
    folding_count_ = 0;
    leaves_with_ = 0;
    ValueId id = values_.id_of(end);
    const ImageSlot* s = image_.slots.data() + end;
    for (uint32_t slot = end; slot-- > first;) {
        --id;
        --s;
        if (s->dead || s->trap != TrapCode::None) continue;
        const Value& d = values_[id];
        epoch_ = d.epoch;
        need_leaving(d.leaving);
        if (d.reg != kNoReg) {
            current_[d.reg] = d.previous;
            leaves_with_ &= static_cast<uint16_t>(~(1u << d.reg));
        }
        ::new (&ops[slot]) Op(choose(id, s->insn, slot));  // made in place
    }
    if (failed_) std::fill(ops.begin() + first, ops.begin() + end, Op{});
}

Op Selector::choose(ValueId id, const Insn& insn, uint32_t slot) {
    const Value& v = values_[id];
    if (v.redundant) return Op{.what = Op::What::Nothing};
    if (insn.kind == Kind::Branch) return choose_branch(id, slot);
    if (insn.kind == Kind::Store && v.computes) return choose_store(id, insn);
    return v.reg == kNoReg ? as_it_stands(slot) : choose_definition(id, insn, slot);
}

// --- registers ----------------------------------------------------------------------------------

// True if the register of `definition` still holds its value here: nothing was defined since, or
// only what is left out.
bool Selector::in_force(ValueId definition) const {
    ValueId d = current_[values_[definition].reg];
    if (d == definition) return true;
    for (unsigned steps = 0; d != definition; ++steps) {
        const Value& over = values_[d];
        if (over.needed || over.effect || d < kRegisters || d < definition || steps == kMaxSteps)
            return false;
        const Value& v = values_[over.value];
        const bool folding = std::find(folding_.begin(), folding_.begin() + folding_count_,
                                       over.value) != folding_.begin() + folding_count_;
        if (v.uses != 0 && !folding && !over.dropped) return false;
        d = over.previous;
    }
    return true;
}

// Of the definitions of `v` in force, one that is needed anyway, else the oldest.
ValueId Selector::holder(ValueId v) const {
    const Value& first = values_[v];
    if (first.next == kNoValue) {
        if (first.reg == kNoReg || first.dropped) return kNoValue;
        return current_[first.reg] == v || in_force(v) ? v : kNoValue;
    }
    ValueId found = kNoValue;
    unsigned steps = 0;
    for (ValueId d = v; d != kNoValue && steps < kMaxSteps; d = values_[d].next, ++steps) {
        if (values_[d].dropped || values_[d].reg == kNoReg) continue;
        if (found != kNoValue && !values_[d].needed) continue;
        if (!in_force(d)) continue;
        found = d;
        if (values_[d].needed) break;
    }
    if (found != kNoValue || steps < kMaxSteps) return found;
    // A value of very many copies: its newest ones.
    for (const ValueId d : current_) {
        if (values_[d].value == v && !values_[d].dropped) return d;
    }
    return kNoValue;
}

// True if a register holds `v` here and has to be set anyway.
bool Selector::kept(ValueId v) const {
    if (values_[v].needed_defs == 0) return v < kRegisters && held(v);
    const ValueId d = holder(v);
    return d != kNoValue && values_[d].needed;
}

void Selector::need(ValueId definition) {
    Value& d = values_[definition];
    if (d.dropped) failed_ = true;
    if (d.needed) return;
    d.needed = true;
    ++values_[d.value].needed_defs;
}

Reg Selector::take_of_several(ValueId v, Reg preferred) {
    ValueId d = holder(v);
    // An operand that is already where the result goes saves a move.
    if (preferred != kNoReg) {
        const ValueId there = current_[preferred];
        const bool free = there < kRegisters || values_[there].needed;
        if (values_[there].value == v && free && !values_[there].dropped) d = there;
    }
    ++values_[v].served;
    if (d == kNoValue) {
        failed_ = true;
        return 0;
    }
    // Definitions in between were relied upon not to be there.
    for (ValueId over = current_[values_[d].reg]; over != d; over = values_[over].previous)
        values_[over].dropped = true;
    need(d);
    return values_[d].reg;
}

void Selector::need_registers(uint16_t mask) {
    Value* const values = &values_[0];
    for (; mask != 0; mask &= static_cast<uint16_t>(mask - 1)) {
        Value& d = values[current_[static_cast<unsigned>(std::countr_zero(mask))]];
        Value& v = values[d.value];
        ++v.served;
        if (d.dropped) failed_ = true;
        if (d.needed) continue;
        d.needed = true;
        ++v.needed_defs;
    }
}

void Selector::need_leaving(uint16_t mask) {
    need_registers(static_cast<uint16_t>(mask & ~leaves_with_));
    leaves_with_ |= mask;
}

// --- folding ------------------------------------------------------------------------------------

bool Selector::last_use(ValueId v) const {
    return values_[v].served + 1 == values_[v].uses && values_[v].needed_defs == 0;
}

// The user computes `v` itself. If others do so too, or a register gets it as well, its operands
// are read once more.
void Selector::fold(ValueId v) {
    Value& value = values_[v];
    const bool last = last_use(v);
    ++value.served;
    if (last) {
        for (ValueId d = v; d != kNoValue; d = values_[d].next) values_[d].dropped = true;
        return;
    }
    for (const ValueId operand : {value.a, value.b}) {
        if (operand != kNoValue) ++values_[operand].uses;
    }
}

bool Selector::operands_held(ValueId v) const {
    const Value& value = values_[v];
    return (value.a == kNoValue || held(value.a)) && (value.b == kNoValue || held(value.b));
}

// A load of `bits` that its only user can make itself, here.
bool Selector::foldable_load(ValueId v, unsigned bits) const {
    const Value& value = values_[v];
    return value.what == Value::What::Load && value.computes && value.count == bits &&
           value.epoch == epoch_ && last_use(v);
}

bool Selector::resolve_index(ValueId v, bool always, Address& out) {
    const Value& value = values_[v];
    const bool last = out.exclusive && last_use(v);
    if (is_scale(value) && (always || last) && !kept(v)) {
        if (last) folding_[folding_count_++] = v;
        if (held(value.a)) {
            out.index = value.a;
            out.shift = static_cast<uint8_t>(value.imm);
            out.folded[out.folds++] = v;
            return true;
        }
        if (last) --folding_count_;
    }
    if (!held(v)) return false;
    out.index = v;
    out.shift = 0;
    return true;
}

bool Selector::resolve_sum(ValueId v, bool always, Address& out) {
    const Value& value = values_[v];
    if (value.what == Value::What::AluImm) {
        if (!fits_i32(out.disp + value.imm)) return false;
        out.disp += value.imm;
        return resolve(value.a, false, always, out);
    }
    if (out.index != kNoValue) return false;
    const Address before = out;
    const unsigned folding = folding_count_;
    for (const auto& [base, index] : {std::pair{value.a, value.b}, std::pair{value.b, value.a}}) {
        if (is_scale(values_[base]) && !is_scale(values_[index])) continue;
        if (resolve_index(index, always, out) && resolve(base, false, always, out)) return true;
        out = before;
        folding_count_ = folding;
    }
    return false;
}

// Adds `v` to the address. `always`: worth it whoever else needs `v`.
bool Selector::resolve(ValueId v, bool root, bool always, Address& out) {
    const Value& value = values_[v];
    const bool last = out.exclusive && last_use(v);
    if (out.folds < 4 && is_add(value) && (root || ((always || last) && !kept(v)))) {
        const Address before = out;
        const unsigned folding = folding_count_;
        if (last || root) folding_[folding_count_++] = v;
        if (!root) {
            out.folded[out.folds++] = v;
            out.exclusive = last;
        }
        if (resolve_sum(v, always, out)) return true;
        out = before;
        folding_count_ = folding;
    }
    if (root || !held(v)) return false;
    out.base = v;
    return true;
}

void Selector::commit(const Address& address) {
    for (unsigned i = 0; i < address.folds; ++i) fold(address.folded[i]);
}

bool Selector::encodes(const Address& address, unsigned bits) const {
    if (abilities_.rich_addresses || address.index == kNoValue) return true;
    return address.disp == 0 && (address.shift == 0 || (1u << address.shift) * 8 == bits);
}

// The operand at `base` + disp of an access of `bits`.
Mem Selector::memory_of(ValueId base, int64_t disp, unsigned bits) {
    Address address{.disp = disp};
    const unsigned folding = folding_count_;
    if (!resolve(base, false, true, address) || !encodes(address, bits)) {
        folding_count_ = folding;
        address = Address{.base = base, .disp = disp};
    }
    commit(address);
    Mem mem{.disp = static_cast<int32_t>(address.disp)};
    if (address.index != kNoValue) {
        mem.index = take(address.index);
        mem.has_index = true;
        mem.shift = address.shift;
    }
    mem.base = take(address.base);
    folding_count_ = folding;
    return mem;
}

Mem Selector::load_address(ValueId load) {
    const Value& v = values_[load];
    return memory_of(v.a, v.imm, v.count);
}

// Whether the address of `load` can be formed here.
bool Selector::reachable(ValueId load) {
    const Value& v = values_[load];
    if (held(v.a)) return true;
    Address address{.disp = v.imm};
    const unsigned folding = folding_count_;
    const bool resolved = resolve(v.a, false, true, address);
    folding_count_ = folding;
    return resolved && encodes(address, v.count);
}

// --- operations ---------------------------------------------------------------------------------

Op Selector::as_it_stands(uint32_t slot) {
    need_registers(liveness_.reads_at(slot));
    return Op{};
}

Op Selector::choose_definition(ValueId id, const Insn& i, uint32_t slot) {
    const Value& d = values_[id];
    if (d.value != id) return d.needed ? choose_copy(id) : Op{.what = Op::What::Nothing};
    const bool pure = d.computes || d.what == Value::What::Const || i.kind == Kind::Alu;
    if (!d.needed && pure) return Op{.what = Op::What::Nothing};
    if (d.what == Value::What::Opaque) return as_it_stands(slot);
    return compute(id, d.reg);
}

// Register `d.reg` is to hold a value that another definition computed.
Op Selector::choose_copy(ValueId id) {
    const Value& d = values_[id];
    const ValueId v = d.value;
    const Value& value = values_[v];
    if (value.what == Value::What::Const) return compute(v, d.reg);
    if (value.served == value.uses && value.needed_defs == 1 && value.computes && v >= kRegisters &&
        value.what != Value::What::Select &&
        (value.what != Value::What::Load || value.epoch == epoch_)) {
        folding_[folding_count_++] = v;
        if (operands_held(v)) {
            for (ValueId other = v; other != kNoValue; other = values_[other].next) {
                if (other != id) values_[other].dropped = true;
            }
            const Op op = compute(v, d.reg);
            --folding_count_;
            return op;
        }
        --folding_count_;
    }
    const ValueId source = holder(v);
    if (source == kNoValue) {
        failed_ = true;
        return {};
    }
    for (ValueId over = current_[values_[source].reg]; over != source;
         over = values_[over].previous)
        values_[over].dropped = true;
    need(source);
    const Reg from = values_[source].reg;
    if (from == d.reg) return Op{.what = Op::What::Nothing};
    return Op{.what = Op::What::Move,
              .width = value.bits <= 32 ? Width::W : Width::Dw,
              .dst = d.reg,
              .a = from};
}

// dst = v, from v's operands, which are held here.
Op Selector::compute(ValueId id, Reg dst) {
    const Value& v = values_[id];
    Op out{.width = v.width, .op = v.op, .bits = v.count, .dst = dst, .is_signed = v.sign};
    if (compute_sum(id, dst, out) || compute_from_load(v, dst, out)) return out;
    switch (v.what) {
        case Value::What::Opaque: failed_ = true; return out;
        case Value::What::Const:
            out.what = Op::What::MovImm;
            out.imm = v.imm;
            return out;
        case Value::What::Alu: return compute_alu(v, dst);
        case Value::What::AluImm:
            out.what = Op::What::AluImm;
            out.imm = v.imm;
            break;
        case Value::What::Neg: out.what = Op::What::Neg; break;
        case Value::What::Rotate:
            out.what = Op::What::Rotate;
            out.bits = static_cast<uint8_t>(v.imm);
            break;
        case Value::What::SignExtend: out.what = Op::What::SignExtend; break;
        case Value::What::ZeroExtend: out.what = Op::What::ZeroExtend; break;
        case Value::What::Swap: out.what = Op::What::Swap; break;
        case Value::What::Load: return compute_load(id, dst);
        case Value::What::Select: return compute_select(v, dst);
    }
    out.a = take(v.a, dst);
    return out;
}

Op Selector::compute_load(ValueId id, Reg dst) {
    const Value& v = values_[id];
    Op out{.what = v.sign ? Op::What::LoadSigned : Op::What::Load, .bits = v.count, .dst = dst};
    out.mem = load_address(id);
    return out;
}

Op Selector::compute_select(const Value& v, Reg dst) {
    const Value& old = values_[v.a];
    if (old.what == Value::What::Const && v.b == kNoValue &&
        ((old.imm == 1 && v.imm == 0) || (old.imm == 0 && v.imm == 1))) {
        ++values_[v.a].served;
        return Op{.what = Op::What::SetIf, .dst = dst, .imm = old.imm};
    }
    Op out{
        .what = Op::What::Select, .width = v.width, .dst = dst, .a = take(v.a, dst), .imm = v.imm};
    if (v.b == kNoValue)
        out.is_imm = true;
    else
        out.b = take(v.b);
    return out;
}

Op Selector::compute_alu(const Value& v, Reg dst) {
    Op out{.width = v.width, .op = v.op, .dst = dst, .is_signed = v.sign, .nonzero = v.nonzero};
    if (compute_with_load(v, dst, out)) return out;
    out.what = Op::What::Alu;
    out.a = take(v.a, dst);
    out.b = take(v.b);
    if (commutes(out.alu()) && out.b == dst) std::swap(out.a, out.b);
    return out;
}

// Sums of 64 bits that swallow a scaled or another sum.
bool Selector::compute_sum(ValueId id, Reg dst, Op& out) {
    const Value& sum = values_[id];
    if (!is_add(sum)) return false;
    const auto swallows = [&](ValueId v) {
        return v != kNoValue && (is_add(values_[v]) || is_scale(values_[v]));
    };
    if (!swallows(sum.a) && !swallows(sum.b)) return false;
    Address address;
    const unsigned folding = folding_count_;
    const bool resolved = resolve(id, true, false, address);
    folding_count_ = folding;
    if (!resolved || address.folds == 0) return false;
    const bool three = address.index != kNoValue && address.disp != 0;
    if (three && !abilities_.rich_addresses) return false;
    // The same again, now for good: the folding marks must stand while registers are taken.
    address = {};
    resolve(id, true, false, address);
    commit(address);
    out.what = Op::What::Lea;
    out.mem.disp = static_cast<int32_t>(address.disp);
    if (address.index != kNoValue) {
        out.mem.index = take(address.index);
        out.mem.has_index = true;
        out.mem.shift = address.shift;
    }
    out.mem.base = take(address.base);
    out.dst = dst;
    folding_count_ = folding;
    return true;
}

bool Selector::compute_with_load(const Value& v, Reg dst, Op& out) {
    if (!abilities_.memory_operands || !takes_memory(static_cast<AluOp>(v.op))) return false;
    const unsigned bits = v.width == Width::Dw ? 64 : 32;
    ValueId plain = v.a, load = v.b;
    if (!foldable_load(load, bits) && commutes(static_cast<AluOp>(v.op))) std::swap(plain, load);
    if (!foldable_load(load, bits) || plain == load) return false;
    folding_[folding_count_++] = load;
    const bool possible = reachable(load) && held(plain);
    if (possible) {
        fold(load);
        out.what = Op::What::AluMem;
        out.dst = dst;
        out.bits = static_cast<uint8_t>(bits);
        out.a = take(plain);
        out.mem = load_address(load);
    }
    --folding_count_;
    return possible;
}

// Extensions and byte swaps of what was loaded for them.
bool Selector::compute_from_load(const Value& v, Reg dst, Op& out) {
    if (v.what != Value::What::SignExtend && v.what != Value::What::Swap) return false;
    const ValueId load = v.a;
    if (!foldable_load(load, v.count) || values_[load].sign) return false;
    folding_[folding_count_++] = load;
    const bool possible = reachable(load);
    if (possible) {
        fold(load);
        out.what = v.what == Value::What::Swap ? Op::What::LoadSwapped : Op::What::LoadSigned;
        out.dst = dst;
        out.mem = load_address(load);
    }
    --folding_count_;
    return possible;
}

Op Selector::choose_branch(ValueId id, uint32_t slot) {
    const Value& v = values_[id];
    Op out{.width = v.width, .op = v.op, .selects = selects_[slot] != 0, .imm = v.imm};
    if (out.selects && !values_[static_cast<ValueId>(id + 1)].needed)
        return Op{.what = Op::What::Nothing, .selects = true};
    if (!v.computes) return as_it_stands(slot);
    const auto cond = static_cast<CondOp>(v.op);
    if (choose_test(v, cond, out) || choose_memory_compare(v, cond, out)) return out;
    out.a = take(v.a);
    if (v.b == kNoValue) {
        out.what = Op::What::CompareImm;
    } else {
        out.what = Op::What::Compare;
        out.b = take(v.b);
    }
    return out;
}

// (x & y) == 0
bool Selector::choose_test(const Value& v, CondOp cond, Op& out) {
    const bool with_zero =
        v.b == kNoValue && v.imm == 0 && (cond == CondOp::Eq || cond == CondOp::Ne);
    if (!with_zero) return false;
    const Value& masked = values_[v.a];
    const bool mask = (masked.what == Value::What::Alu || masked.what == Value::What::AluImm) &&
                      static_cast<AluOp>(masked.op) == AluOp::And;
    const bool low = masked.what == Value::What::ZeroExtend && masked.count < 32;
    if ((!mask && !low) || !last_use(v.a)) return false;
    // A 32-bit comparison sees the low half only.
    const Width width = low || v.width == Width::W ? Width::W : masked.width;
    folding_[folding_count_++] = v.a;
    const bool possible = operands_held(v.a);
    if (possible) {
        fold(v.a);
        out.width = width;
        out.a = take(masked.a);
        out.imm = low ? (int64_t{1} << masked.count) - 1 : masked.imm;
        if (width == Width::W) out.imm = static_cast<int32_t>(out.imm);
        out.what = Op::What::TestImm;
        if (masked.b != kNoValue) {
            out.what = Op::What::Test;
            out.b = take(masked.b);
        }
    }
    --folding_count_;
    return possible;
}

bool Selector::choose_memory_compare(const Value& v, CondOp cond, Op& out) {
    if (!abilities_.memory_operands || cond == CondOp::Set) return false;
    const unsigned bits = v.width == Width::Dw ? 64 : 32;
    ValueId load = v.a, other = v.b;
    bool swapped = false;
    const auto usable = [&](ValueId x) {
        return x != kNoValue && !values_[x].sign && foldable_load(x, values_[x].count);
    };
    if (!usable(load) && usable(other)) {
        std::swap(load, other);
        swapped = true;
    }
    if (!usable(load) || load == other) return false;
    // The low half of a wider one lies at the same address.
    const unsigned loaded = std::min<unsigned>(values_[load].count, bits);
    if (other == kNoValue) {
        // A narrow operand is a number below 2^loaded; so must the other one be. 16-bit immediates
        // decode slowly.
        const int64_t limit = loaded == 16 ? 128 : int64_t{1} << std::min(loaded, 31u);
        if (loaded < bits && (v.imm < 0 || v.imm >= limit)) return false;
    } else if (loaded != bits) {
        return false;
    }
    folding_[folding_count_++] = load;
    const bool possible = reachable(load) && (other == kNoValue || held(other));
    if (possible) {
        fold(load);
        out.bits = static_cast<uint8_t>(loaded);
        if (loaded < bits) cond = as_unsigned(cond);
        out.what = other == kNoValue ? Op::What::CompareMemImm : Op::What::CompareMem;
        if (other != kNoValue) {
            out.a = take(other);
            if (!swapped) cond = mirrored(cond);
        }
        out.op = static_cast<uint8_t>(cond);
        out.mem = load_address(load);
    }
    --folding_count_;
    return possible;
}

Op Selector::choose_store(ValueId id, const Insn& insn) {
    const Value& v = values_[id];
    Op out{.what = Op::What::StoreImm, .bits = v.count};
    if (v.b == kNoValue) {
        out.imm = insn.imm;
    } else if (values_[v.b].what == Value::What::Const && fits_i32(values_[v.b].imm)) {
        out.imm = values_[v.b].imm;
        ++values_[v.b].served;
    } else {
        out.what = Op::What::Store;
        out.a = take(v.b);
    }
    out.mem = memory_of(v.a, v.imm, v.count);
    return out;
}

}  // namespace skep::jit
