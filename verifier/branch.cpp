// Conditional jumps: whether they are decided, and what each way teaches.
//
// A decided branch makes its operands precise: the proof rests on the way that is not taken. An
// undecided one forks the state and narrows the operands, everything linked to them, the range of
// packet pointers compared with data_end, and the nullness of pointers compared with 0.
#include <algorithm>
#include <utility>

#include "verifier/analyzer.hpp"
#include "verifier/each_cell.hpp"
#include "vm/isa/semantics.hpp"

namespace skep::verifier {
namespace {

// Any number whose low half is one of `s`.
Scalar with_low_half_of(const Scalar& s) {
    Scalar low = Scalar::unknown();
    low.bits = {s.bits.value & UINT32_MAX, s.bits.mask | ~uint64_t{UINT32_MAX}};
    low.u32_min = s.u32_min;
    low.u32_max = s.u32_max;
    low.s32_min = s.s32_min;
    low.s32_max = s.s32_max;
    return sync(low);
}

bool is_packet_operand(const Cell& cell) {
    return cell.is_packet() || cell.type == CellType::PacketEnd;
}

// What an earlier comparison with data_end says about the same one: 1, 0, or -1.
int decide_packet(CondOp op, const Cell& dst, const Cell& src) {
    const Cell* packet = nullptr;
    if (src.type == CellType::PacketEnd) {
        packet = &dst;
    } else if (dst.type == CellType::PacketEnd) {
        packet = &src;
        op = mirrored(op);
    } else {
        return -1;
    }
    const bool beyond = (packet->flags & flag::kBeyondEnd) != 0;
    const bool at = (packet->flags & flag::kAtEnd) != 0;
    if (!beyond && !at) return -1;
    switch (op) {
        case CondOp::Le:
        case CondOp::Gt: return beyond ? op == CondOp::Gt : -1;
        case CondOp::Lt:
        case CondOp::Ge: return op == CondOp::Ge;
        default: return -1;
    }
}

}  // namespace

// Linux decides `p == 0` for these only; the others are explored both ways.
bool Analyzer::known_nonnull(const Cell& cell) const {
    if (!cell.is_pointer() || cell.maybe_null()) return false;
    switch (cell.type) {
        case CellType::Socket:
        case CellType::TcpSock:
        case CellType::MapValue:
        case CellType::MapKey:
        case CellType::SockCommon:
        case CellType::MapHandle: return true;
        case CellType::Mem: return program_.type->kind != ProgKind::Raw;
        case CellType::Btf:
            return (cell.flags & (flag::kTrusted | flag::kRcu | flag::kAlloc)) != 0 ||
                   cell.ref != 0;
        case CellType::Context:
        case CellType::Stack:
        case CellType::Packet:
        case CellType::PacketEnd:
        case CellType::PacketMeta:
        case CellType::Function: return extended() && cell.off == 0;
        default: return false;
    }
}

int Analyzer::decide(const Insn& insn, const Cell& dst, const Cell& src) {
    if (is_packet_operand(dst) && is_packet_operand(src))
        return insn.is64() ? decide_packet(insn.cond(), dst, src) : -1;
    if (dst.is_pointer() || src.is_pointer()) {
        const bool dst_const = dst.is_scalar() && num(dst).is_const();
        const bool src_const = src.is_scalar() && num(src).is_const();
        if (!dst_const && !src_const) return -1;
        const Cell& pointer_cell = src_const ? dst : src;
        const Cell& zero = src_const ? src : dst;
        if (!known_nonnull(pointer_cell) || num(zero).value() != 0) return -1;
        if (insn.cond() == CondOp::Eq) return 0;
        if (insn.cond() == CondOp::Ne) return 1;
        return -1;
    }
    if (extended() && !insn.is_imm && insn.src == insn.dst) {
        switch (insn.cond()) {
            case CondOp::Eq:
            case CondOp::Ge:
            case CondOp::Le:
            case CondOp::Sge:
            case CondOp::Sle: return 1;
            case CondOp::Ne:
            case CondOp::Gt:
            case CondOp::Lt:
            case CondOp::Sgt:
            case CondOp::Slt: return 0;
            case CondOp::Set: break;
        }
    }
    if (!pool_.refine(insn.cond(), insn.width, dst.scalar, src.scalar, true).feasible) return 0;
    if (!pool_.refine(insn.cond(), insn.width, dst.scalar, src.scalar, false).feasible) return 1;
    return -1;
}

void Analyzer::sync_links(State& state, const Cell& known, uint32_t node) {
    const uint32_t id = known.id;
    if (id == 0 || (known.flags & flag::kLinkShifted) != 0) return;
    const bool known_zext = (known.flags & flag::kLinkZext) != 0;
    const int32_t base = known.off;
    update_cells(
        state, [&](const Cell& c) { return c.is_scalar() && c.id == id; },
        [&](Cell& c) {
            if ((c.flags & flag::kLinkShifted) != 0) return;
            const bool zext = (c.flags & flag::kLinkZext) != 0;
            // Both are the link's value plus a distance, whole or its low half.
            const int64_t distance = int64_t{c.off} - base;
            uint32_t moved = known.scalar;
            if (distance != 0)
                moved = intern(add(num(known), Scalar::constant(static_cast<uint64_t>(distance))));
            if (zext)
                moved = pool_.zero_extend(moved, 32);
            else if (known_zext)
                moved = intern(with_low_half_of(pool_[moved]));
            const uint32_t index = pool_.meet(c.scalar, moved);
            // Bottom: the way is dead; the operands themselves say so.
            if (index == ScalarPool::kBottom || index == c.scalar) return;
            c.scalar = index;
            c.ref = provenance_.make(c.ref, node);
        });
}

bool Analyzer::refine_numbers(State& state, const Insn& insn, bool taken) {
    const Cell dst = state.reg(insn.dst);
    Cell src;
    if (insn.is_imm) {
        src.type = CellType::Scalar;
        src.scalar = const_index(static_cast<uint64_t>(insn.imm));
    } else {
        src = state.reg(insn.src);
    }
    const ScalarPool::Refined refined =
        pool_.refine(insn.cond(), insn.width, dst.scalar, src.scalar, taken);
    if (!refined.feasible) return false;
    const uint32_t dst_index = refined.dst, src_index = refined.src;
    if (dst_index != dst.scalar) {
        Cell& d = state.own_top().regs[insn.dst];
        d.scalar = dst_index;
        d.ref = provenance_.make(dst.ref, src.ref);
        sync_links(state, Cell(d), d.ref);
    }
    if (!insn.is_imm && src_index != src.scalar && insn.src != insn.dst) {
        Cell& s = state.own_top().regs[insn.src];
        // A link may have narrowed it already.
        const uint32_t now = pool_.meet(s.scalar, src_index);
        if (now != ScalarPool::kBottom) s.scalar = now;
        s.ref = provenance_.make(src.ref, dst.ref);
        sync_links(state, Cell(s), s.ref);
    }
    return true;
}

void Analyzer::make_nonnull(Cell& cell) {
    cell.flags &= static_cast<uint8_t>(~flag::kMaybeNull);
    if (cell.type != CellType::MapValue) return;
    const MapDef& map = map_of(cell);
    if (map.inner != nullptr) {
        cell.type = CellType::MapHandle;
        cell.object = map_index(map.inner.get(), -1);
    } else if (map.type == MapType::Xskmap) {
        cell.type = CellType::XdpSock;
    } else if (map.type == MapType::Sockmap || map.type == MapType::Sockhash) {
        cell.type = CellType::Socket;
    }
}

void Analyzer::resolve_null(State& state, uint32_t id, bool is_null, uint32_t ref) {
    // Only the reference itself goes with its null; a cast of it has its own nullness.
    if (is_null && ref != 0 && ref == id)
        std::erase_if(state.holds,
                      [&](const Hold& h) { return h.kind == HoldKind::Reference && h.id == ref; });
    update_cells(
        state, [&](const Cell& c) { return c.maybe_null() && c.id == id; },
        [&](Cell& c) {
            if (is_null) {
                const bool node = c.type == CellType::Btf && (c.flags & flag::kAlloc) != 0;
                c = constant(node ? 0 : static_cast<uint64_t>(static_cast<int64_t>(c.off)));
                return;
            }
            make_nonnull(c);
            const bool keeps_identity = c.type == CellType::MapHandle || has_lock(c) ||
                                        (c.type == CellType::MapValue && !map_of(c).fields.empty());
            if (!keeps_identity) c.id = 0;
        });
}

void Analyzer::set_packet_range(State& state, const Cell& p, bool open) {
    if (p.off < 0 || (p.off == 0 && open)) return;
    const Scalar& variable = num(p);
    const uint64_t limit = extended() ? static_cast<uint64_t>(kMaxVarOff) : kMaxPacketOff;
    if (variable.umax > limit || variable.umax + static_cast<uint64_t>(p.off) > limit)
        if (!SKEP_MUTANT(PacketOffsetsWrap)) return;
    if (variable.umax + static_cast<uint64_t>(p.off) > kMaxPacketOff) relax("packet_offset");
    const uint32_t proven = static_cast<uint32_t>(p.off) + (open ? 1 : 0);
    const auto range = static_cast<uint16_t>(std::min(proven, kMaxPacketOff));
    update_cells(
        state, [&](const Cell& c) { return c.type == p.type && c.id == p.id && c.object < range; },
        [&](Cell& c) { c.object = range; });
}

// A number that is data_end - data: what is known of it is known of the packet.
void Analyzer::learn_packet_length(const Insn& insn, State& state) {
    for (const unsigned reg : {unsigned{insn.dst}, unsigned{insn.src}}) {
        if (reg == insn.src && insn.is_imm) break;
        const Cell cell = state.reg(reg);
        if (!cell.is_scalar() || (cell.flags & flag::kPacketLength) == 0) continue;
        const auto range = static_cast<uint16_t>(std::min<uint64_t>(num(cell).umin, kMaxPacketOff));
        if (range == 0) continue;
        need(cell);
        update_cells(
            state,
            [&](const Cell& c) {
                return c.type == CellType::Packet && c.id == 0 && c.object < range;
            },
            [&](Cell& c) { c.object = range; });
    }
}

// `taken` and `next` are the states of the two ways.
void Analyzer::learn_packet_range(const Insn& insn, State& taken, State& next) {
    const Cell dst = next.reg(insn.dst), src = next.reg(insn.src);
    const bool dst_is_packet = (dst.type == CellType::Packet && src.type == CellType::PacketEnd) ||
                               (dst.type == CellType::PacketMeta && src.type == CellType::Packet &&
                                src.off == 0 && src.id == 0 && num(src).is_const(0));
    const bool src_is_packet = (dst.type == CellType::PacketEnd && src.type == CellType::Packet) ||
                               (dst.type == CellType::Packet && dst.off == 0 && dst.id == 0 &&
                                num(dst).is_const(0) && src.type == CellType::PacketMeta);
    if (!dst_is_packet && !src_is_packet) return;
    const Cell& packet = dst_is_packet ? dst : src;
    const unsigned reg = dst_is_packet ? insn.dst : insn.src;
    const CondOp op = dst_is_packet ? insn.cond() : mirrored(insn.cond());
    const auto mark_end = [&](State& state, bool beyond) {
        if (packet.type != CellType::Packet) return;
        Cell& c = state.own_top().regs[reg];
        c.flags &= static_cast<uint8_t>(~(flag::kAtEnd | flag::kBeyondEnd));
        c.flags |= beyond ? flag::kBeyondEnd : flag::kAtEnd;
    };
    switch (op) {
        case CondOp::Gt:  // packet > end
            set_packet_range(next, packet, false);
            mark_end(taken, true);
            break;
        case CondOp::Lt:  // packet < end
            set_packet_range(taken, packet, true);
            mark_end(next, false);
            break;
        case CondOp::Ge:  // packet >= end
            set_packet_range(next, packet, true);
            mark_end(taken, false);
            break;
        case CondOp::Le:  // packet <= end
            set_packet_range(taken, packet, false);
            mark_end(next, true);
            break;
        default: break;
    }
}

bool Analyzer::step_branch(const Insn& insn) {
    if (!insn.is_imm && !read_reg(insn.src)) return false;
    if (!read_reg(insn.dst)) return false;
    ++jumps_;
    const Cell dst = st().reg(insn.dst);
    Cell src;
    if (insn.is_imm) {
        src.type = CellType::Scalar;
        src.scalar = const_index(static_cast<uint64_t>(insn.imm));
    } else {
        src = st().reg(insn.src);
    }
    if (strict() && (dst.is_pointer() || src.is_pointer())) {
        const bool packets = is_packet_operand(dst) && is_packet_operand(src);
        const bool null_test = src.is_scalar() && num(src).is_const(0) &&
                               (insn.cond() == CondOp::Eq || insn.cond() == CondOp::Ne);
        if (!packets && !null_test && dst.type != src.type)
            return reject(ErrorCode::PointerLeak, "R%u pointer comparison prohibited",
                          dst.is_pointer() ? insn.dst : insn.src);
    }
    const auto target = static_cast<uint32_t>(insn.target);
    const int outcome = decide(insn, dst, src);
    if (outcome >= 0) {
        if (!SKEP_MUTANT(DecidedBranchesNeedNothing)) need(dst);
        need(src);
        if (options_.facts) branch_seen_[slot_] |= outcome == 1 ? 1 : 2;
        st().slot = outcome == 1 ? target : slot_ + 1;
        return true;
    }
    branch_seen_[slot_] |= 3;
    State taken = st();
    taken.slot = target;
    st().slot = slot_ + 1;
    if (dst.is_scalar() && src.is_scalar()) {
        // Both ways are feasible: decide() would have said so otherwise.
        const bool taken_ok = refine_numbers(taken, insn, true);
        const bool next_ok = refine_numbers(st(), insn, false);
        if (!taken_ok || !next_ok) {
            need(dst);
            need(src);
            if (taken_ok) st() = std::move(taken);
            return true;
        }
    }
    if (extended() && dst.is_scalar() && src.is_scalar()) {
        learn_order(taken, insn, true);
        learn_order(st(), insn, false);
        for (State* state : {&taken, &st()})
            if (!state->orders.empty()) apply_orders(*state);
    }
    const bool equality = insn.cond() == CondOp::Eq || insn.cond() == CondOp::Ne;
    if (insn.is64() && equality) {
        State& equal = insn.cond() == CondOp::Eq ? taken : st();
        State& unequal = insn.cond() == CondOp::Eq ? st() : taken;
        if (insn.is_imm && insn.imm == 0 && dst.maybe_null()) {
            // Only the base itself tells: a shifted pointer is not 0 when its base is null.
            // Nodes of lists and trees are null as they come, and cannot be shifted before.
            const bool node = dst.type == CellType::Btf && (dst.flags & flag::kAlloc) != 0;
            if (((dst.off == 0 || (node && !extended())) && num(dst).is_const(0)) ||
                SKEP_MUTANT(ShiftedPointerTellsNull)) {
                resolve_null(equal, dst.id, true, dst.ref);
                resolve_null(unequal, dst.id, false, dst.ref);
            }
        } else if (!insn.is_imm && dst.is_pointer() && src.is_pointer() &&
                   dst.maybe_null() != src.maybe_null() && dst.type != CellType::Btf &&
                   src.type != CellType::Btf) {
            const Cell& nullable = dst.maybe_null() ? dst : src;
            if (nullable.off == 0) resolve_null(equal, nullable.id, false, nullable.ref);
        }
    }
    if (insn.is64() && !insn.is_imm) learn_packet_range(insn, taken, st());
    if (((dst.is_scalar() ? dst.flags : 0) | (src.is_scalar() ? src.flags : 0)) &
        flag::kPacketLength) {
        learn_packet_length(insn, taken);
        learn_packet_length(insn, st());
    }
    return push_branch(std::move(taken));
}

bool Analyzer::step_may_goto(const Insn& insn) {
    ++jumps_;
    branch_seen_[slot_] |= 3;
    Checkpoint* before = previous_round();
    State next = st();
    next.slot = slot_ + 1;
    ++next.may_goto_depth;
    if (before != nullptr) widen(before->state, next);
    st().slot = static_cast<uint32_t>(insn.target);
    return push_branch(std::move(next));
}

}  // namespace skep::verifier
