// Arithmetic on pointers: a fixed offset, a variable part, and limits that keep their sum from ever
// overflowing (|offset| < 2^29 before any access or comparison).
#include "verifier/analyzer.hpp"

namespace skep::verifier {

// `named`: the pointer, for messages.
bool Analyzer::sane_offset(const Cell& cell, const Scalar& s, const Cell& named) {
    if (s.is_const()) {
        const auto value = static_cast<int64_t>(s.value());
        if (value >= kMaxVarOff || value <= -kMaxVarOff)
            return reject(
                ErrorCode::BadPointerArithmetic,
                "math between %s pointer and %lld is not allowed: offsets stay below 2^29",
                name_of_cell(named).c_str(), static_cast<long long>(value));
    }
    if (cell.is_pointer() && (cell.off >= kMaxVarOff || cell.off <= -kMaxVarOff))
        return reject(ErrorCode::BadPointerArithmetic, "%s pointer offset %d is not allowed",
                      name_of_cell(named).c_str(), cell.off);
    if (s.smin == INT64_MIN)
        return reject(
            ErrorCode::UnboundedOffset,
            "math between %s pointer and register with unbounded min value is not allowed",
            name_of_cell(named).c_str());
    if (s.smin >= kMaxVarOff || s.smin <= -kMaxVarOff)
        return reject(ErrorCode::UnboundedOffset, "value %lld makes %s pointer be out of bounds",
                      static_cast<long long>(s.smin), name_of_cell(named).c_str());
    return true;
}

bool Analyzer::pointer_difference(Cell& dst, const Cell& src) {
    const bool length = extended() && dst.type == CellType::PacketEnd &&
                        src.type == CellType::Packet && src.id == 0 && src.off == 0 &&
                        num(src).is_const(0);
    if (!length) {
        dst = unknown();
        return true;
    }
    relax("packet_length");
    dst = number(Scalar::range_u64(0, kMaxPacketLength));
    dst.flags = flag::kPacketLength;
    return true;
}

bool Analyzer::pointer_alu(const Insn& insn, AluOp op, Cell& dst, const Cell& pointer_cell,
                           const Cell& offset, unsigned pointer_reg, bool dst_is_pointer) {
    if (!insn.is64()) {
        if (op == AluOp::Sub && !strict()) {
            dst = number(zero_extend(Scalar::unknown(), 32));
            return true;
        }
        return reject(ErrorCode::BadPointerArithmetic, "R%u 32-bit pointer arithmetic prohibited",
                      insn.dst);
    }
    const Scalar s = num(offset);
    const bool plain = s.is_const() && (op == AluOp::Add || op == AluOp::Sub);
    if (pointer_cell.maybe_null()) {
        if ((!extended() || !plain) && !SKEP_MUTANT(OrNullArithmetic))
            return reject(ErrorCode::PossiblyNull,
                          "R%u pointer arithmetic on %s prohibited, null-check it first",
                          pointer_reg, name_of_cell(pointer_cell).c_str());
        relax("or_null_arithmetic");
    }
    switch (pointer_cell.type) {
        case CellType::FlowKeys:
            if (s.is_const()) break;
            [[fallthrough]];
        case CellType::MapHandle:
            if (pointer_cell.type == CellType::MapHandle && s.is_const(0) && op == AluOp::Add)
                break;
            [[fallthrough]];
        case CellType::PacketEnd:
        case CellType::Socket:
        case CellType::SockCommon:
        case CellType::TcpSock:
        case CellType::XdpSock:
            return reject(ErrorCode::BadPointerArithmetic,
                          "R%u pointer arithmetic on %s prohibited", pointer_reg,
                          name_of_cell(pointer_cell).c_str());
        default: break;
    }
    if (!sane_offset(offset, s, pointer_cell)) return false;
    if (!sane_offset(pointer_cell, num(pointer_cell), pointer_cell)) return false;

    if (pointer_cell.is_packet() && (op == AluOp::Sub ? s.smax > 0 : s.smin < 0))
        packet_steps_back_ = !SKEP_MUTANT(StepsBackGoUnnoticed);
    Cell out = pointer_cell;
    const int64_t delta = s.is_const() ? static_cast<int64_t>(s.value()) : 0;
    switch (op) {
        case AluOp::Add: {
            const int64_t off = pointer_cell.off + delta;
            if (s.is_const() && off == static_cast<int32_t>(off)) {
                out.off = static_cast<int32_t>(off);
                break;
            }
            out.scalar = pool_.transfer(insn, pointer_cell.scalar, offset.scalar);
            if (out.is_packet()) {
                const bool from_start = pointer_cell.type == CellType::Packet &&
                                        pointer_cell.id == 0 && num(pointer_cell).is_const(0);
                out.id = fresh_id();
                out.object = from_start && !st().orders.empty() ? readable_from(offset) : 0;
                out.flags &= static_cast<uint8_t>(~(flag::kAtEnd | flag::kBeyondEnd));
            }
            break;
        }
        case AluOp::Sub: {
            if (!dst_is_pointer)
                return reject(ErrorCode::BadPointerArithmetic,
                              "R%u tried to subtract pointer from scalar", insn.dst);
            if (pointer_cell.type == CellType::Stack)
                return reject(ErrorCode::BadPointerArithmetic,
                              "R%u subtraction from stack pointer prohibited", insn.dst);
            const int64_t off = pointer_cell.off - delta;
            if (s.is_const() && off == static_cast<int32_t>(off)) {
                out.off = static_cast<int32_t>(off);
                break;
            }
            out.scalar = pool_.transfer(insn, pointer_cell.scalar, offset.scalar);
            if (out.is_packet()) {
                out.id = fresh_id();
                if (s.smin < 0) {
                    out.object = 0;
                    out.flags &= static_cast<uint8_t>(~(flag::kAtEnd | flag::kBeyondEnd));
                }
            }
            break;
        }
        case AluOp::And:
        case AluOp::Or:
        case AluOp::Xor:
            return reject(ErrorCode::BadPointerArithmetic,
                          "R%u bitwise operator on pointer prohibited", insn.dst);
        default:
            return reject(ErrorCode::BadPointerArithmetic,
                          "R%u pointer arithmetic with this operator prohibited", insn.dst);
    }
    if (!sane_offset(out, num(out), pointer_cell)) return false;
    dst = out;
    return true;
}

}  // namespace skep::verifier
