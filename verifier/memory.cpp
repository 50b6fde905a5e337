// Loads, stores and atomics, by what the pointer points to.
#include <algorithm>
#include <cstring>

#include "verifier/analyzer.hpp"
#include "vm/btf/special_fields.hpp"

namespace skep::verifier {
namespace {

bool is_socket(CellType type) {
    return type == CellType::Socket || type == CellType::SockCommon || type == CellType::TcpSock ||
           type == CellType::XdpSock;
}

// Kinds of memory whose accesses are translated in their own ways: one instruction may not meet
// one of these and anything else (Linux rewrites the instruction).
bool mixes_freely(CellType type) {
    return type != CellType::Context && !is_socket(type) && type != CellType::Btf &&
           type != CellType::Arena;
}

Memory memory_of(const Cell& cell) {
    switch (cell.type) {
        case CellType::Context: return Memory::Context;
        case CellType::MapValue: return Memory::MapValue;
        case CellType::MapKey: return Memory::MapKey;
        case CellType::Stack: return Memory::Stack;
        case CellType::PacketMeta: return Memory::PacketMeta;
        case CellType::Packet: return Memory::Packet;
        case CellType::FlowKeys: return Memory::Mem;
        case CellType::Socket:
        case CellType::SockCommon:
        case CellType::TcpSock:
        case CellType::XdpSock: return Memory::Socket;
        // A map's struct bpf_map is an object of the kernel's too, and none of the host's.
        case CellType::MapHandle: return Memory::Btf;
        case CellType::Btf: return (cell.flags & flag::kAlloc) != 0 ? Memory::Mem : Memory::Btf;
        case CellType::TpBuffer:
        case CellType::Buffer: return Memory::Buffer;
        case CellType::Mem:
            if ((cell.flags & flag::kUntrusted) != 0) return Memory::Btf;
            return (cell.flags & flag::kRingbuf) != 0 ? Memory::Ringbuf : Memory::Mem;
        case CellType::Arena: return Memory::Arena;
        default: return Memory::Unknown;
    }
}

}  // namespace

bool Analyzer::check_constant_offset(const Cell& cell, unsigned reg, const char* what,
                                     bool allow_fixed) {
    const Scalar& variable = num(cell);
    if (cell.off < 0)
        return reject(ErrorCode::BadContextField, "negative offset %s ptr R%u off=%d disallowed",
                      what, reg, cell.off);
    if (!allow_fixed && cell.off != 0)
        return reject(ErrorCode::BadContextField,
                      "dereference of modified %s ptr R%u off=%d disallowed: use the pointer as it "
                      "came",
                      what, reg, cell.off);
    if (!variable.is_const() || (!allow_fixed && variable.value() != 0))
        return reject(ErrorCode::BadContextField, "variable %s access var_off=%s disallowed", what,
                      to_string(variable).c_str());
    return true;
}

bool Analyzer::check_region(const Cell& cell, unsigned reg, int64_t off, uint64_t size,
                            uint64_t limit, bool zero_size, const char* what) {
    const Scalar& variable = num(cell);
    const auto fits = [&](int64_t at) {
        return at >= 0 && (size > 0 || zero_size) && static_cast<uint64_t>(at) + size <= limit;
    };
    const auto bounds_error = [&](int64_t at) {
        const ErrorCode code =
            cell.is_packet() ? ErrorCode::PacketOutOfBounds : ErrorCode::OutOfBoundsAccess;
        return reject(code,
                      "invalid access to %s, %s_size=%llu off=%lld size=%llu: R%u allows offsets "
                      "0 to %lld here",
                      what, what, static_cast<unsigned long long>(limit),
                      static_cast<long long>(at), static_cast<unsigned long long>(size), reg,
                      static_cast<long long>(limit) - static_cast<long long>(size));
    };
    if (variable.is_const()) {
        const int64_t at = off + static_cast<int64_t>(variable.value());
        return fits(at) || bounds_error(at);
    }
    if (variable.smin == INT64_MIN || variable.smin + off < 0 || variable.smin + off > INT32_MAX)
        return reject(ErrorCode::UnboundedOffset,
                      "R%u min value is negative, either use unsigned index or do a if (index >=0) "
                      "check: the offset into %s is %s",
                      reg, what, to_string(variable).c_str());
    if (!fits(variable.smin + off)) return bounds_error(variable.smin + off);
    if (variable.umax >= static_cast<uint64_t>(kMaxVarOff))
        return reject(ErrorCode::UnboundedOffset,
                      "R%u unbounded memory access, make sure to bounds check any such access: the "
                      "offset into %s is %s",
                      reg, what, to_string(variable).c_str());
    const int64_t highest = static_cast<int64_t>(variable.umax) + off;
    if (!fits(highest)) {
        const ErrorCode code =
            cell.is_packet() ? ErrorCode::PacketOutOfBounds : ErrorCode::OutOfBoundsAccess;
        return reject(code,
                      "R%u max value is outside of the allowed memory range: offset %lld size "
                      "%llu of %s, %s_size=%llu",
                      reg, static_cast<long long>(highest), static_cast<unsigned long long>(size),
                      what, what, static_cast<unsigned long long>(limit));
    }
    return true;
}

bool Analyzer::check_packet(const Cell& cell, unsigned reg, int64_t off, uint64_t size,
                            bool zero_size) {
    const Scalar& variable = num(cell);
    if (variable.smin < 0)
        return reject(ErrorCode::UnboundedOffset,
                      "R%u min value is negative, either use unsigned index or do a if (index >=0) "
                      "check.",
                      reg);
    const int64_t at = off;
    const bool usable = (cell.flags & (flag::kAtEnd | flag::kBeyondEnd)) == 0;
    if (!usable || at < 0 || (size == 0 && !zero_size) ||
        static_cast<uint64_t>(at) + size > cell.object)
        return reject(ErrorCode::PacketOutOfBounds,
                      "invalid access to packet, off=%lld size=%llu, R%u(id=%u,off=%lld,r=%u): R%u "
                      "offset is outside of the packet: %u bytes are proven here",
                      static_cast<long long>(at), static_cast<unsigned long long>(size), reg,
                      cell.id, static_cast<long long>(off), cell.object, reg, cell.object);
    return true;
}

bool Analyzer::check_map_fields(const Cell& cell, unsigned reg, int64_t off, uint64_t size) {
    const MapDef& map = map_of(cell);
    const Scalar& variable = num(cell);
    const int64_t low = variable.smin + off;
    const int64_t high = static_cast<int64_t>(variable.umax) + off + static_cast<int64_t>(size);
    for (const SpecialField& field : map.fields) {
        if (!(low < field.offset + int64_t{field.size} && high > field.offset)) continue;
        if (is_kptr(field.kind) || field.kind == FieldKind::Uptr) {
            const char* wrong = helper_access_         ? "cannot be accessed indirectly by helper"
                                : !variable.is_const() ? "access cannot have variable offset"
                                : low != field.offset  ? "access misaligned"
                                : size != sizeof(uint64_t) ? "access size must be BPF_DW"
                                                           : nullptr;
            if (wrong == nullptr) continue;
            return reject(ErrorCode::SpecialFieldAccess,
                          "kptr %s: R%u reaches bytes %lld to %lld, the field is at %u", wrong, reg,
                          static_cast<long long>(low), static_cast<long long>(high - 1),
                          field.offset);
        }
        return reject(
            ErrorCode::SpecialFieldAccess,
            "%s cannot be accessed directly by load/store: R%u reaches bytes %lld to %lld, "
            "the field is at %u to %u",
            name_of_field(field.kind), reg, static_cast<long long>(low),
            static_cast<long long>(high - 1), field.offset, field.offset + field.size - 1);
    }
    return true;
}

bool Analyzer::check_alignment(const Cell& cell, unsigned reg, int32_t off, unsigned size) {
    if (size == 1 || cell.type == CellType::Arena) return true;
    Tnum sum = tnum_add(num(cell).bits,
                        tnum_const<uint64_t>(static_cast<uint64_t>(int64_t{cell.off} + off)));
    if (((sum.value | sum.mask) & (size - 1)) == 0) return true;
    return reject(ErrorCode::MisalignedAccess, "misaligned %s access off %s+%d+%d size %u (R%u)",
                  cell.type == CellType::Stack ? "stack" : name_of_cell(cell).c_str(),
                  to_string(num(cell)).c_str(), cell.off, off, size, reg);
}

bool Analyzer::frozen_load(const Cell& cell, int32_t off, unsigned size, Cell* out) {
    const MapDef& map = map_of(cell);
    const Scalar& variable = num(cell);
    if (!map.frozen || map.type != MapType::Array || map.max_entries != 1 || !variable.is_const())
        return false;
    const uint64_t at = static_cast<uint64_t>(int64_t{cell.off} + off) + variable.value();
    uint64_t value = 0;
    for (unsigned i = 0; i < size; ++i)
        if (at + i < map.contents.size())
            value |= static_cast<uint64_t>(map.contents[at + i]) << (i * 8);
    *out = constant(value);
    return true;
}

bool Analyzer::access_map_value(const Cell& cell, unsigned reg, int32_t off, unsigned size,
                                bool store, const Cell* value, Cell* out,
                                const SpecialField** kptr) {
    const MapDef& map = map_of(cell);
    if (store && is_read_only(map))
        return reject(ErrorCode::ReadOnlyMemory,
                      "write into map forbidden, value_size=%u off=%d "
                      "size=%u: the map is read-only for programs",
                      map.value_size, cell.off + off, size);
    if (!store && (map.flags & map_flags::kWronlyProg) != 0)
        return reject(ErrorCode::WriteOnlyMemory,
                      "read from map forbidden, value_size=%u off=%d "
                      "size=%u: the map is write-only for programs",
                      map.value_size, cell.off + off, size);
    const int64_t at = int64_t{cell.off} + off;
    if (!check_region(cell, reg, at, size, map.value_size, false, "map value")) return false;
    if (!SKEP_MUTANT(FieldsAreData) && !check_map_fields(cell, reg, at, size)) return false;
    if (num(cell).is_const()) {
        *kptr = field_at(map.fields, at + static_cast<int64_t>(num(cell).value()));
        if (*kptr != nullptr) return access_kptr(cell, reg, **kptr, store, value, out);
    }
    if (out != nullptr && !frozen_load(cell, off, size, out)) *out = loaded(size);
    return true;
}

bool Analyzer::access_context(const Cell& cell, unsigned reg, int32_t off, unsigned size,
                              bool store, const Cell*, Cell* out) {
    const CtxLayout& layout = *program_.type->ctx;
    const bool plain = layout.is_bytes && layout.unaligned;
    if (!plain && !check_constant_offset(cell, reg, "ctx", extended())) return false;
    if (plain && !num(cell).is_const())
        return reject(ErrorCode::BadContextField, "variable ctx access var_off=%s disallowed",
                      to_string(num(cell)).c_str());
    const int64_t at = int64_t{cell.off} + off + static_cast<int64_t>(num(cell).value());
    if (!plain && cell.off != 0 && !strict()) relax("modified_context");
    const auto bad = [&] {
        return reject(
            ErrorCode::BadContextField,
            "invalid bpf_context access off=%lld size=%u: %s of %s does not allow this %s",
            static_cast<long long>(at), size, std::string(layout.name).c_str(),
            std::string(program_.type->name).c_str(), store ? "store" : "load");
    };
    if (at < 0 || at > UINT16_MAX) return bad();
    const auto at32 = static_cast<uint32_t>(at);
    if (layout.is_bytes) {
        if (!layout.allows(at32, size, store, program_.attach_type)) return bad();
        if (out != nullptr) *out = context_argument(at32, size);
        return !failed_;
    }
    const CtxField* field = layout.access(at32, size, store, program_.attach_type);
    if (field == nullptr) return bad();
    if (out == nullptr) return true;
    *out = context_value(*field, size);
    return true;
}

Cell Analyzer::context_value(const CtxField& field, unsigned size) {
    if (field.kind == CtxFieldKind::PacketStart || field.kind == CtxFieldKind::PacketMeta ||
        field.kind == CtxFieldKind::BufferPtr) {
        if (has_packet_pointer()) note_packet_start();
    }
    switch (field.kind) {
        case CtxFieldKind::Scalar: return loaded(size);
        case CtxFieldKind::PacketStart: return pointer(CellType::Packet);
        case CtxFieldKind::PacketEnd: return pointer(CellType::PacketEnd);
        case CtxFieldKind::PacketMeta: return pointer(CellType::PacketMeta);
        case CtxFieldKind::FlowKeysPtr: return pointer(CellType::FlowKeys);
        case CtxFieldKind::SocketPtr:
        case CtxFieldKind::SockCommonPtr: {
            Cell cell = pointer(field.kind == CtxFieldKind::SocketPtr ? CellType::Socket
                                                                      : CellType::SockCommon);
            if (context_pointer_maybe_null(field)) {
                cell.flags |= flag::kMaybeNull;
                cell.id = fresh_id();
            }
            return cell;
        }
        case CtxFieldKind::BufferPtr: return pointer(CellType::Packet);
        case CtxFieldKind::BufferEndPtr: return pointer(CellType::PacketEnd);
        case CtxFieldKind::BtfPtr:
            return btf_object(field.name == "skb" ? "sk_buff" : "nf_hook_state", flag::kTrusted);
    }
    return loaded(size);
}

bool Analyzer::access_socket(const Cell& cell, unsigned reg, int32_t off, unsigned size, bool store,
                             Cell* out) {
    if (store)
        return reject(ErrorCode::ReadOnlyMemory, "R%u cannot write into %s", reg,
                      name_of_cell(cell).c_str());
    if (num(cell).smin < 0)
        return reject(ErrorCode::UnboundedOffset,
                      "R%u min value is negative, either use unsigned "
                      "index or do a if (index >=0) check.",
                      reg);
    const int64_t at = int64_t{cell.off} + off;
    if (!socket_field_allowed(cell.type, at, size))
        return reject(ErrorCode::BadContextField, "R%u invalid %s access off=%lld size=%u", reg,
                      name_of_cell(cell).c_str(), static_cast<long long>(at), size);
    if (out != nullptr) *out = loaded(size);
    return true;
}

bool Analyzer::access(unsigned reg, int32_t off, unsigned size, bool store, const Cell* value,
                      Cell* out, bool sign, bool atomic) {
    const Cell cell = st().reg(reg);
    if (!cell.is_pointer())
        return reject(ErrorCode::NotAPointer,
                      "R%u invalid mem access 'scalar': r%u is a number, "
                      "%s",
                      reg, reg, to_string(num(cell)).c_str());
    if (cell.type != CellType::Stack && !atomic) {
        // Only the stack must be aligned on this machine's kind of processor.
    } else if (!check_alignment(cell, reg, off, size)) {
        return false;
    }
    if (cell.maybe_null() && !SKEP_MUTANT(NullIsReadable))
        return reject(ErrorCode::PossiblyNull,
                      "R%u invalid mem access '%s': the pointer may be null", reg,
                      name_of_cell(cell).c_str());
    const int64_t at = int64_t{cell.off} + off;
    const SpecialField* kptr = nullptr;
    bool ok = false;
    switch (cell.type) {
        case CellType::MapKey:
            if (store)
                return reject(ErrorCode::ReadOnlyMemory, "write to change key R%u not allowed",
                              reg);
            ok = check_region(cell, reg, at, size, map_of(cell).key_size, false, "map key");
            if (ok && out != nullptr) *out = loaded(size);
            break;
        case CellType::MapValue:
            ok = access_map_value(cell, reg, off, size, store, value, out, &kptr);
            break;
        case CellType::Mem:
            if (store && (cell.flags & flag::kReadOnly) != 0)
                return reject(ErrorCode::ReadOnlyMemory, "R%u cannot write into %s", reg,
                              name_of_cell(cell).c_str());
            // Memory that nothing is known of is read with care, anywhere.
            ok = (cell.flags & flag::kUntrusted) != 0 ||
                 check_region(cell, reg, at, size, objects_[cell.object].size, false, "memory");
            if (ok && out != nullptr) *out = loaded(size);
            break;
        case CellType::Context: ok = access_context(cell, reg, off, size, store, value, out); break;
        case CellType::Stack: ok = access_stack(cell, reg, off, size, store, value, out); break;
        case CellType::Packet:
        case CellType::PacketMeta:
            if (store && !packet_writable())
                return reject(ErrorCode::ReadOnlyMemory,
                              "cannot write into packet: %s programs may "
                              "only read it",
                              std::string(program_.type->name).c_str());
            if (store && strict() && value != nullptr && value->is_pointer())
                return reject(ErrorCode::PointerLeak, "a pointer would leak into the packet");
            if (off < 0 && !SKEP_MUTANT(ReadsBehindGoUnnoticed)) packet_steps_back_ = true;
            ok = check_packet(cell, reg, at, size, false);
            if (ok && out != nullptr) *out = loaded(size);
            break;
        case CellType::FlowKeys:
            if (at < 0 || at + size > 56)
                return reject(ErrorCode::OutOfBoundsAccess,
                              "invalid access to flow keys off=%lld size=%u: it has 56 bytes",
                              static_cast<long long>(at), size);
            ok = true;
            if (out != nullptr) *out = loaded(size);
            break;
        case CellType::Socket:
        case CellType::SockCommon:
        case CellType::TcpSock:
        case CellType::XdpSock: ok = access_socket(cell, reg, off, size, store, out); break;
        case CellType::TpBuffer:
        case CellType::Buffer: ok = access_buffer(cell, reg, at, size, store, out); break;
        case CellType::Btf: ok = access_btf(cell, reg, off, size, store, out); break;
        case CellType::MapHandle: ok = access_map_handle(cell, reg, at, size, store, out); break;
        case CellType::Arena:
            ok = true;
            if (out != nullptr) *out = loaded(size);
            break;
        case CellType::PacketEnd:
        case CellType::Function:
        case CellType::DynptrHandle:
        case CellType::DynptrSlot:
        case CellType::IteratorSlot:
        case CellType::IrqSlot:
        case CellType::NotInit:
        case CellType::Scalar:
            return reject(ErrorCode::NotAPointer, "R%u invalid mem access '%s'", reg,
                          name_of_cell(cell).c_str());
    }
    if (!ok) return false;
    if (strict() && store && value != nullptr && value->is_pointer() &&
        cell.type != CellType::Stack && kptr == nullptr && value->type != CellType::Arena)
        return reject(ErrorCode::PointerLeak, "a pointer would leak into %s",
                      name_of_cell(cell).c_str());
    if (out != nullptr && sign) {
        if (!out->is_scalar())
            return reject(ErrorCode::BadContextField,
                          "a pointer cannot be loaded with sign extension");
        *out = number(sign_extend(num(*out), size * 8), out->ref);
    }
    fact_access(kptr != nullptr ? Memory::Kptr : memory_of(cell), cell, at);
    return true;
}

bool Analyzer::access_buffer(const Cell& cell, unsigned reg, int64_t at, unsigned size, bool store,
                             Cell* out) {
    if (store && (cell.flags & flag::kReadOnly) != 0)
        return reject(ErrorCode::ReadOnlyMemory, "R%u cannot write into %s", reg,
                      name_of_cell(cell).c_str());
    if (at < 0 || !num(cell).is_const())
        return reject(ErrorCode::OutOfBoundsAccess,
                      "R%u invalid buffer access: off=%lld, size=%u, "
                      "var_off=%s",
                      reg, static_cast<long long>(at), size, to_string(num(cell)).c_str());
    // Who runs the program sees to it that there is so much.
    constexpr uint64_t kMaxBufferAccess = uint64_t{1} << 29;
    const auto end = static_cast<uint64_t>(at) + num(cell).value() + size;
    if (end > kMaxBufferAccess)
        return reject(ErrorCode::OutOfBoundsAccess, "R%u invalid buffer access: off=%lld, size=%u",
                      reg, static_cast<long long>(at), size);
    uint32_t& needed = (cell.flags & flag::kReadOnly) != 0 ? result_.facts.read_buffer
                                                           : result_.facts.write_buffer;
    needed = std::max(needed, static_cast<uint32_t>(end));
    if (out != nullptr) *out = loaded(size);
    return true;
}

// Whether instruction slot_ has met memory that it may not meet together with this one.
bool Analyzer::check_same_kind(const Cell& cell) {
    const CellType type = cell.type;
    uint8_t& before = access_kind_[slot_];
    // Objects that programs allocate are reached in another way than the kernel's.
    constexpr uint8_t kAllocated = 0x80;
    const bool allocated = type == CellType::Btf && (cell.flags & flag::kAlloc) != 0;
    const auto now =
        static_cast<uint8_t>(static_cast<uint8_t>(type) | (allocated ? kAllocated : 0));
    if (before == 0) {
        before = now;
    } else if (before != now && (!mixes_freely(type) ||
                                 !mixes_freely(static_cast<CellType>(before & ~kAllocated)))) {
        const auto arena = static_cast<uint8_t>(CellType::Arena);
        if (!extended() || now == arena || before == arena)
            return reject(
                ErrorCode::MixedPointers,
                "same insn cannot be used with different pointers: another path comes here "
                "with a different kind of pointer");
        relax("mixed_pointers");
    }
    return true;
}

bool Analyzer::step_load(const Insn& insn) {
    if (!read_reg(insn.src) || !write_reg(insn.dst)) return false;
    const Cell target = st().reg(insn.src);
    Cell out;
    if (!access(insn.src, insn.off, bytes_of(insn.width), false, nullptr, &out, insn.sign))
        return false;
    if (!check_same_kind(target)) return false;
    set_reg(insn.dst, out);
    st().slot = slot_ + 1;
    return true;
}

bool Analyzer::step_store(const Insn& insn) {
    Cell value;
    if (insn.is_imm) {
        value.type = CellType::Scalar;
        value.scalar = const_index(static_cast<uint64_t>(insn.imm));
    } else {
        if (!read_reg(insn.src)) return false;
        value = st().reg(insn.src);
    }
    if (!read_reg(insn.dst)) return false;
    const Cell target = st().reg(insn.dst);
    // A spilled copy stays linked to its register.
    const unsigned bits = bytes_of(insn.width) * 8;
    if (!insn.is_imm && value.is_scalar() && target.type == CellType::Stack &&
        (bits == 64 || num(value).umax >> bits == 0)) {
        Cell& src = own_reg(insn.src);
        link_ids(src, value);
    }
    if (!access(insn.dst, insn.off, bytes_of(insn.width), true, &value, nullptr, false))
        return false;
    if (!check_same_kind(target)) return false;
    st().slot = slot_ + 1;
    return true;
}

bool Analyzer::step_atomic(const Insn& insn) {
    const unsigned size = bytes_of(insn.width);
    const AtomicOp op = insn.atomic();
    if (op == AtomicOp::LoadAcquire || op == AtomicOp::StoreRelease) {
        const bool load = op == AtomicOp::LoadAcquire;
        const unsigned pointer_reg = load ? insn.src : insn.dst;
        if (!read_reg(insn.src) || (!load && !read_reg(insn.dst))) return false;
        if (load && !write_reg(insn.dst)) return false;
        const Cell target = st().reg(pointer_reg);
        if (!check_atomic_target(target, pointer_reg)) return false;
        if (load) {
            Cell out;
            if (!access(pointer_reg, insn.off, size, false, nullptr, &out, false, true))
                return false;
            set_reg(insn.dst, out);
        } else {
            const Cell value = st().reg(insn.src);
            if (!access(pointer_reg, insn.off, size, true, &value, nullptr, false, true))
                return false;
        }
        st().slot = slot_ + 1;
        return check_same_kind(target);
    }
    if (!read_reg(insn.src)) return false;
    if (op == AtomicOp::Cmpxchg && !read_reg(0)) return false;
    if (!read_reg(insn.dst)) return false;
    if (strict() && st().reg(insn.src).is_pointer())
        return reject(ErrorCode::PointerLeak, "R%u leaks addr into mem", insn.src);
    const unsigned result = op == AtomicOp::Cmpxchg ? 0 : insn.src;
    if (fetches(op) && !write_reg(result)) return false;
    const Cell target = st().reg(insn.dst);
    if (!check_atomic_target(target, insn.dst)) return false;
    if (fetches(op) && result == insn.dst)
        return reject(ErrorCode::NotAPointer,
                      "R%u invalid mem access 'scalar': the old value replaces the pointer before "
                      "the new one is stored through it",
                      result);
    if (target.type == CellType::Stack && !num(target).is_const())
        return reject(ErrorCode::BadAtomic,
                      "variable offset stack pointer cannot be the target of an atomic: R%u is "
                      "fp%+d plus %s",
                      insn.dst, target.off, to_string(num(target)).c_str());
    Cell old;
    if (!access(insn.dst, insn.off, size, false, nullptr, &old, false, true)) return false;
    if (!access(insn.dst, insn.off, size, true, nullptr, nullptr, false, true)) return false;
    if (fetches(op)) set_reg(result, old);
    st().slot = slot_ + 1;
    return true;
}

bool Analyzer::check_atomic_target(const Cell& target, unsigned reg) {
    switch (target.type) {
        case CellType::Context:
        case CellType::Packet:
        case CellType::PacketMeta:
        case CellType::FlowKeys:
        case CellType::Socket:
        case CellType::SockCommon:
        case CellType::TcpSock:
        case CellType::XdpSock:
            return reject(ErrorCode::BadAtomic, "BPF_ATOMIC stores into R%u %s is not allowed", reg,
                          name_of_cell(target).c_str());
        default: return true;
    }
}

}  // namespace skep::verifier
