// Orders between numbers: `if a > b` is remembered, so that a bound of b that is learnt later
// bounds a too, and the other way round.
//
// Linux compares ranges only and forgets that the two were compared. Orders are kept under
// `extended` and stricter, a few at a time; they are narrowed with, never branched on.
#include <algorithm>

#include "verifier/analyzer.hpp"
#include "verifier/each_cell.hpp"
#include "vm/isa/semantics.hpp"

namespace skep::verifier {
namespace {

bool is_signed(CondOp op) {
    return op == CondOp::Slt || op == CondOp::Sle || op == CondOp::Sgt || op == CondOp::Sge;
}

constexpr uint8_t kLinkFlags = flag::kLinkZext | flag::kLinkShifted;

// Some cell that holds the link's value at a known distance.
const Cell* find_link(const State& state, uint32_t id) {
    const Cell* found = nullptr;
    visit_cells(state, [&](const Cell& c) {
        if (found == nullptr && c.is_scalar() && c.id == id && (c.flags & kLinkFlags) == 0)
            found = &c;
    });
    return found;
}

}  // namespace

// What the branch says of two registers that way. Their ranges have been narrowed already.
void Analyzer::learn_order(State& state, const Insn& insn, bool taken) {
    if (insn.is_imm || insn.src == insn.dst) return;
    const CondOp op = taken ? insn.cond() : negate(insn.cond());
    unsigned lesser = insn.dst, greater = insn.src;
    bool strict = false;
    switch (op) {
        case CondOp::Lt:
        case CondOp::Slt: strict = true; break;
        case CondOp::Le:
        case CondOp::Sle: break;
        case CondOp::Gt:
        case CondOp::Sgt: strict = true; [[fallthrough]];
        case CondOp::Ge:
        case CondOp::Sge: std::swap(lesser, greater); break;
        default: return;
    }
    for (const unsigned reg : {lesser, greater}) {
        const Cell& cell = state.reg(reg);
        const Scalar& s = num(cell);
        if (s.is_const() || (cell.flags & kLinkFlags) != 0) return;
        // Where signed and 32-bit comparisons mean the same as this one.
        const uint64_t limit = insn.is64() ? (is_signed(op) ? INT64_MAX : UINT64_MAX)
                                           : (is_signed(op) ? INT32_MAX : UINT32_MAX);
        if (s.umax > limit) return;
    }
    Order order{.strict = strict};
    for (const unsigned reg : {lesser, greater}) {
        Cell& cell = state.own_top().regs[reg];
        if (cell.id == 0) {
            cell.id = fresh_id();
            cell.off = 0;
        }
        (reg == lesser ? order.x : order.y) = cell.id;
        (reg == lesser ? order.x_off : order.y_off) = cell.off;
        if (reg == greater) order.to_length = (cell.flags & flag::kPacketLength) != 0;
    }
    order.node = provenance_.make(state.reg(lesser).ref, state.reg(greater).ref);
    if (state.orders.size() == kMaxOrders) state.orders.erase(state.orders.begin());
    state.orders.push_back(order);
}

// The value that the order speaks of, on one of its sides, if a register or the stack has it.
bool Analyzer::ordered_value(const State& state, uint32_t id, int32_t off, Cell& value) {
    const Cell* cell = find_link(state, id);
    if (cell == nullptr) return false;
    value = *cell;
    const int64_t distance = int64_t{off} - cell->off;
    if (distance != 0)
        value.scalar = intern(add(num(*cell), Scalar::constant(static_cast<uint64_t>(distance))));
    value.off = off;
    return true;
}

// Narrows every link that an order bounds, until nothing changes.
void Analyzer::apply_orders(State& state) {
    bool again = true;
    for (size_t round = 0; again && round < kMaxOrders; ++round) {
        again = false;
        for (const Order& order : state.orders) {
            Cell x, y;
            if (!ordered_value(state, order.x, order.x_off, x) ||
                !ordered_value(state, order.y, order.y_off, y))
                continue;
            const uint64_t step = order.strict ? 1 : 0;
            if (num(y).umax < step || num(x).umin > UINT64_MAX - step) continue;  // a dead way
            const uint32_t node = provenance_.make(provenance_.make(x.ref, y.ref), order.node);
            const auto narrow = [&](Cell side, const Scalar& range) {
                const uint32_t now = pool_.meet(side.scalar, intern(range));
                if (now == side.scalar || now == ScalarPool::kBottom) return;
                side.scalar = now;
                sync_links(state, side, node);
                again = true;
            };
            if (num(x).umax > num(y).umax - step)
                narrow(x, Scalar::range_u64(0, num(y).umax - step));
            if (num(y).umin < num(x).umin + step)
                narrow(y, Scalar::range_u64(num(x).umin + step, UINT64_MAX));
        }
    }
}

// a - b where b is known not to be greater: no more than a.
bool Analyzer::ordered_difference(const Cell& a, const Cell& b, Cell& out) {
    for (const Order& order : st().orders) {
        if (b.id == 0 || a.id == 0 || order.x != b.id || order.y != a.id || order.x_off != b.off ||
            order.y_off != a.off || ((a.flags | b.flags) & kLinkFlags) != 0)
            continue;
        const uint64_t most = num(a).umax - num(b).umin;
        const Scalar range = Scalar::range_u64(order.strict ? 1 : 0, most);
        const uint32_t now = pool_.meet(out.scalar, intern(range));
        if (now == ScalarPool::kBottom) return false;
        out.scalar = now;
        out.ref = provenance_.make(out.ref, order.node);
        return true;
    }
    return false;
}

// Bytes that can be read from the packet's start plus `offset` on, as far as comparisons of it with
// the packet's length say.
uint16_t Analyzer::readable_from(const Cell& offset) {
    uint16_t most = 0;
    for (const Order& order : st().orders) {
        if (!order.to_length || offset.id == 0 || order.x != offset.id ||
            (offset.flags & kLinkFlags) != 0)
            continue;
        const int64_t more = int64_t{order.x_off} - offset.off + (order.strict ? 1 : 0);
        // offset + more did not wrap: offsets are no larger than packets.
        if (more <= most || more > kMaxPacketOff || num(offset).umax > kMaxPacketLength) continue;
        most = static_cast<uint16_t>(more);
        provenance_.mark(order.node);
    }
    return most;
}

}  // namespace skep::verifier
