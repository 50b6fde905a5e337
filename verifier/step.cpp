// One instruction on the abstract state: dispatch, numbers, moves, constants.
//
// Copies of a number share a link id, so that what a branch teaches about one teaches it about all:
// equal values, values at a constant distance (Cell::off), the zero-extended low half, and, between
// `<<= 32` and `>>= 32`, the half that is on its way there.
#include <utility>

#include "verifier/analyzer.hpp"
#include "verifier/each_cell.hpp"

namespace skep::verifier {

bool Analyzer::read_reg(unsigned reg) {
    if (st().reg(reg).type != CellType::NotInit) return true;
    return reject(ErrorCode::UninitRegister,
                  "R%u !read_ok: r%u is read, and no instruction on this "
                  "path wrote it",
                  reg, reg);
}

bool Analyzer::write_reg(unsigned reg) {
    if (reg != kFramePointer) return true;
    return reject(ErrorCode::FramePointerWrite,
                  "frame pointer is read only: r10 cannot be written");
}

Cell Analyzer::number(const Scalar& s, uint32_t from, uint32_t from2) {
    return interned(intern(s), from, from2);
}

Cell Analyzer::interned(uint32_t index, uint32_t from, uint32_t from2) {
    Cell cell;
    cell.type = CellType::Scalar;
    cell.scalar = index;
    cell.ref = provenance_.make(from, from2);
    return cell;
}

Cell Analyzer::loaded(unsigned size) {
    return size == 8 ? unknown() : interned(pool_.zero_extend(ScalarPool::kUnknown, size * 8));
}

Cell Analyzer::pointer(CellType type, uint8_t flags, uint16_t object) {
    Cell cell;
    cell.type = type;
    cell.flags = flags;
    cell.object = object;
    cell.scalar = zero_;
    return cell;
}

bool Analyzer::step() {
    const Insn& insn = insn_at(slot_);
    switch (insn.kind) {
        case Kind::Alu: return insn.alu() == AluOp::Mov ? step_mov(insn) : step_alu(insn);
        case Kind::Neg:
        case Kind::Endian: return step_unary(insn);
        case Kind::Imm64: return step_imm64(insn);
        case Kind::Imm64High:
            return reject(ErrorCode::JumpOutOfRange,
                          "execution enters the middle of an instruction");
        case Kind::Load: return step_load(insn);
        case Kind::Store: return step_store(insn);
        case Kind::Atomic: return step_atomic(insn);
        case Kind::LoadPacket: return step_load_packet(insn);
        case Kind::Jump:
            ++jumps_;
            st().slot = static_cast<uint32_t>(insn.target);
            return true;
        case Kind::Branch: return step_branch(insn);
        case Kind::MayGoto: return step_may_goto(insn);
        case Kind::Call: return step_call(insn);
        case Kind::CallLocal: return step_call_local(insn);
        case Kind::Exit: return step_exit();
        case Kind::AddrSpaceCast: return step_addr_space_cast(insn);
    }
    return true;
}

// Gives both a common link id; constants need none.
void Analyzer::link_ids(Cell& from, Cell& to) {
    if (num(from).is_const()) {
        to.id = 0;
        to.off = 0;
        to.flags = 0;
        return;
    }
    if (from.id == 0) {
        from.id = fresh_id();
        from.off = 0;
        from.flags &= flag::kPacketLength;
    }
    to.id = from.id;
    to.off = from.off;
    to.flags = from.flags;
}

bool Analyzer::step_mov(const Insn& insn) {
    if (!insn.is_imm && !read_reg(insn.src)) return false;
    if (!write_reg(insn.dst)) return false;
    st().slot = slot_ + 1;
    if (insn.is_imm) {
        set_reg(insn.dst, interned(pool_.transfer(insn, ScalarPool::kUnknown,
                                                  const_index(static_cast<uint64_t>(insn.imm)))));
        return true;
    }
    Cell& src = own_reg(insn.src);
    if (!src.is_scalar()) {
        if (insn.is64() && insn.sext == 0) {
            set_reg(insn.dst, src);
            return true;
        }
        if (strict())
            return reject(ErrorCode::PointerLeak, "R%u partial copy of pointer", insn.src);
        set_reg(insn.dst, number(transfer(insn, Scalar::unknown(), Scalar::unknown())));
        return true;
    }
    if (insn.is64() && insn.sext == 0) {
        Cell copy = src;
        link_ids(src, copy);
        set_reg(insn.dst, copy);
        return true;
    }
    const Scalar& before = num(src);
    Cell out = interned(pool_.transfer(insn, ScalarPool::kUnknown, src.scalar), src.ref);
    if (out.scalar == src.scalar) {
        // All values survive the extension: it is an equal copy. Linux sees that of numbers that
        // are not negative.
        const int64_t half = insn.sext != 0 ? int64_t{1} << (insn.sext - 1) : 0;
        const bool unchanged = insn.sext == 0 ? before.umax <= UINT32_MAX
                               : extended()   ? before.smin >= -half && before.smax < half &&
                                                  (insn.is64() || before.smin >= 0)
                                            : before.umax < static_cast<uint64_t>(half);
        if (unchanged) link_ids(src, out);
    } else if (extended() && insn.sext == 0 && (src.flags & flag::kLinkShifted) == 0) {
        link_ids(src, out);
        if (out.id != 0)
            out.flags = static_cast<uint8_t>((out.flags | flag::kLinkZext) & ~flag::kPacketLength);
    }
    set_reg(insn.dst, out);
    return true;
}

// What `out` = `dst` op c has to do with the numbers that `dst` was linked to.
void Analyzer::keep_link(const Insn& insn, Cell& dst, int64_t c, Cell& out) {
    const bool adds = insn.alu() == AluOp::Add || insn.alu() == AluOp::Sub;
    const bool shifted = (dst.flags & flag::kLinkShifted) != 0;
    if (adds && !shifted && c > INT32_MIN && c <= INT32_MAX) {
        // A distance from a number's lower half cannot be said: it becomes a number of its own.
        if (insn.is64() && (dst.flags & flag::kLinkZext) != 0) name_anew(dst);
        const int64_t off = dst.off + (insn.alu() == AluOp::Add ? c : -c);
        if (off != static_cast<int32_t>(off)) return;
        out.id = dst.id;
        out.off = static_cast<int32_t>(off);
        if (!insn.is64()) out.flags = flag::kLinkZext;
    } else if (insn.is64() && c == 32 && insn.alu() == (shifted ? AluOp::Rsh : AluOp::Lsh)) {
        out.id = dst.id;
        out.off = dst.off;
        out.flags = shifted ? flag::kLinkZext : flag::kLinkShifted;
    }
}

// Gives the copies of this number a link of their own.
void Analyzer::name_anew(const Cell& cell) {
    const Cell old = cell;
    const uint32_t id = fresh_id();
    update_cells(
        st(),
        [&](const Cell& c) {
            return c.is_scalar() && c.id == old.id && c.off == old.off && c.flags == old.flags;
        },
        [&](Cell& c) {
            c.id = id;
            c.off = 0;
            c.flags &= flag::kPacketLength;
        });
}

bool Analyzer::scalar_alu(const Insn& insn, Cell& dst, const Cell& src) {
    const Scalar& b = num(src);
    // Linux knows nothing of quotients and remainders; its verdicts are held to that.
    const bool divides = insn.alu() == AluOp::Div || insn.alu() == AluOp::Mod;
    if (divides && !extended()) {
        dst = insn.is64() ? unknown() : number(zero_extend(Scalar::unknown(), 32));
        return true;
    }
    Cell out;
    out.type = CellType::Scalar;
    out.scalar = pool_.transfer(insn, dst.scalar, src.scalar);
    out.ref = provenance_.make(dst.ref, SKEP_MUTANT(SecondOperandIsImprecise) ? 0 : src.ref);
    if (insn.alu() == AluOp::Sub && insn.is64() && !insn.is_imm && !st().orders.empty())
        ordered_difference(dst, src, out);
    if (dst.id != 0 && b.is_const()) {
        // Linux knows distances, but not sums of them.
        const bool adds = insn.alu() == AluOp::Add || insn.alu() == AluOp::Sub;
        if (extended() || (adds && dst.off == 0 && (dst.flags & ~flag::kPacketLength) == 0))
            keep_link(insn, dst, static_cast<int64_t>(b.value()), out);
        if (num(out).is_const()) out.id = 0, out.off = 0, out.flags = 0;
    }
    dst = out;
    return true;
}

bool Analyzer::step_alu(const Insn& insn) {
    const AluOp op = insn.alu();
    if (!insn.is_imm && !read_reg(insn.src)) return false;
    if (!read_reg(insn.dst)) return false;
    if (insn.is_imm) {
        if ((op == AluOp::Div || op == AluOp::Mod) && insn.imm == 0)
            return reject(ErrorCode::DivisionByZero, "div by zero: the divisor is the constant 0");
        const int64_t bits = insn.is64() ? 64 : 32;
        if ((op == AluOp::Lsh || op == AluOp::Rsh || op == AluOp::Arsh) &&
            (insn.imm < 0 || insn.imm >= bits))
            return reject(ErrorCode::BadShift, "invalid shift %lld: allowed are 0 to %lld",
                          static_cast<long long>(insn.imm), static_cast<long long>(bits - 1));
        if ((op == AluOp::Div || op == AluOp::Mod) && options_.facts)
            facts_[slot_].divisor_nonzero = true;
    }
    if (!write_reg(insn.dst)) return false;
    st().slot = slot_ + 1;

    const Cell src = insn.is_imm ? [&] {
        Cell c;
        c.type = CellType::Scalar;
        c.scalar = const_index(static_cast<uint64_t>(insn.imm));
        return c;
    }()
                                 : st().reg(insn.src);
    Cell& dst = own_reg(insn.dst);
    if (dst.is_scalar() && src.is_scalar()) return scalar_alu(insn, dst, src);

    if (arena_alu(dst, src)) return true;
    if (dst.is_pointer() && src.is_pointer()) {
        if (op == AluOp::Sub && !strict()) return pointer_difference(dst, src);
        const auto in_packet = [](const Cell& c) {
            return c.is_packet() || c.type == CellType::PacketEnd;
        };
        if (op == AluOp::Sub && in_packet(dst) && in_packet(src))
            return pointer_difference(dst, src);
        return reject(ErrorCode::BadPointerArithmetic,
                      "R%u pointer arithmetic between two pointers "
                      "prohibited: only their difference may be taken",
                      insn.dst);
    }
    if (dst.is_pointer()) {
        need(src);
        return pointer_alu(insn, op, dst, Cell(dst), src, insn.dst, true);
    }
    need(dst);
    const Cell offset = dst;
    return pointer_alu(insn, op, dst, src, offset, insn.src, false);
}

bool Analyzer::step_unary(const Insn& insn) {
    if (!read_reg(insn.dst) || !write_reg(insn.dst)) return false;
    st().slot = slot_ + 1;
    Cell& dst = own_reg(insn.dst);
    if (!dst.is_scalar()) {
        if (strict())
            return reject(ErrorCode::PointerLeak, "R%u pointer arithmetic prohibited", insn.dst);
        dst = number(transfer(insn, Scalar::unknown(), Scalar::unknown()));
        return true;
    }
    dst = interned(pool_.transfer(insn, dst.scalar, dst.scalar), dst.ref);
    return true;
}

bool Analyzer::step_imm64(const Insn& insn) {
    if (!write_reg(insn.dst)) return false;
    st().slot = slot_ + 2;
    switch (insn.pseudo_imm()) {
        case PseudoImm::Value:
            set_reg(insn.dst, constant(static_cast<uint64_t>(insn.imm)));
            return true;
        case PseudoImm::MapFd:
        case PseudoImm::MapIdx: {
            const auto index = static_cast<uint32_t>(insn.imm);
            set_reg(insn.dst, pointer(CellType::MapHandle, 0, static_cast<uint16_t>(index)));
            if (options_.facts) facts_[slot_].map = static_cast<int32_t>(index);
            return true;
        }
        case PseudoImm::MapValue:
        case PseudoImm::MapIdxValue: {
            const auto index = static_cast<uint32_t>(insn.imm);
            const MapDef& map = *maps_[index].def;
            if (map.type == MapType::Arena) {
                // An address in user space: a number until it is cast.
                set_reg(insn.dst, unknown());
                return true;
            }
            Cell cell = pointer(CellType::MapValue, 0, static_cast<uint16_t>(index));
            cell.off = static_cast<int32_t>(static_cast<uint64_t>(insn.imm) >> 32);
            // Identity of the value, for locks in it.
            if (!map.fields.empty()) cell.id = 0x80000000u | index;
            set_reg(insn.dst, cell);
            return true;
        }
        case PseudoImm::Func: {
            const uint32_t subprogram = subprogram_index(static_cast<uint32_t>(insn.target));
            // Linux wants the function's type, to know that it is static.
            if (program_.subprograms[subprogram].btf_func == 0) {
                if (!extended()) return reject(ErrorCode::BadCallback, "missing btf func_info");
                relax("callback_without_type");
            }
            if (program_.subprograms[subprogram].is_global)
                return reject(ErrorCode::BadCallback,
                              "callback function not static: the address of "
                              "a global function cannot be taken");
            set_reg(insn.dst, pointer(CellType::Function, 0, static_cast<uint16_t>(subprogram)));
            return true;
        }
        case PseudoImm::BtfId: return step_kernel_variable(insn);
    }
    return true;
}

bool Analyzer::step_load_packet(const Insn& insn) {
    const ProgKind kind = program_.type->kind;
    if (kind != ProgKind::SocketFilter && kind != ProgKind::SchedCls && kind != ProgKind::SchedAct)
        return reject(ErrorCode::HelperNotAllowed,
                      "BPF_LD_[ABS|IND] instructions not allowed for this program type");
    if (!check_holds_at_exit("BPF_LD_[ABS|IND]", true)) return false;
    if (!read_reg(6)) return false;
    if (st().reg(6).type != CellType::Context)
        return reject(ErrorCode::BadArgumentType,
                      "at the time of BPF_LD_ABS|IND R6 != pointer to skb: r6 is %s",
                      name_of_cell(st().reg(6)).c_str());
    if (!check_constant_offset(st().reg(6), 6, "ctx", false)) return false;
    if (!insn.is_imm && !read_reg(insn.src)) return false;
    clobber_caller_saved(st());
    set_reg(0, unknown());
    st().slot = slot_ + 1;
    return true;
}

bool Analyzer::step_exit() {
    if (!check_holds_at_exit("BPF_EXIT instruction in main prog", st().depth() == 1)) return false;
    if (st().depth() > 1) return leave_subprogram();
    if (st().top().role == FrameRole::AsyncCallback) {
        path_over_ = true;
        if (!read_reg(0)) return false;
        if (!st().reg(0).is_scalar())
            return reject(ErrorCode::BadReturnValue,
                          "At async callback return, R0 is not a number");
        need(st().reg(0));
        if (!num(st().reg(0)).is_const(0))
            return reject(ErrorCode::BadReturnValue,
                          "At async callback return the register R0 has %s should have been 0",
                          to_string(num(st().reg(0))).c_str());
        return true;
    }
    path_over_ = true;
    return check_return_value();
}

}  // namespace skep::verifier
