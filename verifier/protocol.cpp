// Objects with a protocol that helpers work on: spin locks, timers, dynptrs; and the stack slots of
// objects that the program must not look into.
#include <algorithm>

#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"
#include "verifier/each_cell.hpp"
#include "verifier/kfunc_call.hpp"
#include "vm/btf/special_fields.hpp"

namespace skep::verifier {
namespace {

const SpecialField* find_field(const std::vector<SpecialField>& fields, FieldKind kind) {
    for (const SpecialField& field : fields)
        if (field.kind == kind) return &field;
    return nullptr;
}

}  // namespace

const char* Analyzer::name_of_field(FieldKind kind) const { return name_of(kind).data(); }

// The offset into the map value that a lock or timer argument names must be the field's.
bool Analyzer::field_argument(const Cell& cell, unsigned reg, FieldKind kind) {
    const char* name = name_of_field(kind);
    if (!num(cell).is_const())
        return reject(ErrorCode::SpecialFieldAccess,
                      "R%u doesn't have constant offset. %s has to be at "
                      "the constant offset",
                      reg, name);
    const std::vector<SpecialField>* fields = fields_of(cell);
    const SpecialField* field = fields != nullptr ? find_field(*fields, kind) : nullptr;
    if (field == nullptr)
        return reject(ErrorCode::SpecialFieldAccess, "%s '%s' has no valid %s",
                      cell.type == CellType::MapValue ? "map" : "struct",
                      cell.type == CellType::MapValue ? map_of(cell).name.c_str() : "", name);
    const int64_t at = int64_t{cell.off} + static_cast<int64_t>(num(cell).value());
    if (at != field->offset)
        return reject(ErrorCode::SpecialFieldAccess,
                      "off %lld doesn't point to 'struct %s' that is at "
                      "%u",
                      static_cast<long long>(at), name, field->offset);
    return true;
}

bool Analyzer::spin_lock_argument(CallInfo& call, unsigned reg) {
    const Cell cell = st().reg(reg);
    if (!holds_locks(cell)) return bad_argument(call, reg - 1, cell, "map_value, ptr_");
    if (in_tree_callback())
        return reject(ErrorCode::LockDiscipline, "can't spin_{lock,unlock} in rbtree cb");
    if (!field_argument(cell, reg, FieldKind::SpinLock)) return false;
    const Hold* held = st().find_lock();
    if (call.helper->id == helper_id::kSpinLock) {
        if (held != nullptr)
            return reject(ErrorCode::LockDiscipline,
                          "Locking two bpf_spin_locks are not allowed: the one "
                          "of insn %u is held",
                          held->slot);
        Hold hold;
        hold.kind = HoldKind::SpinLock;
        hold.slot = slot_;
        hold.lock_id = cell.id;
        hold.lock_object = cell.object;
        hold.lock_type = cell.type;
        st().holds.push_back(hold);
        return true;
    }
    if (held == nullptr)
        return reject(ErrorCode::LockDiscipline, "bpf_spin_unlock without taking a lock");
    if (held->kind != HoldKind::SpinLock || held->lock_id != cell.id ||
        held->lock_object != cell.object)
        return reject(ErrorCode::LockDiscipline, "bpf_spin_unlock of different lock");
    std::erase_if(st().holds, [](const Hold& h) { return h.kind == HoldKind::SpinLock; });
    end_loans();
    return true;
}

bool Analyzer::timer_argument(CallInfo& call, unsigned reg) {
    const Cell cell = st().reg(reg);
    if (cell.type != CellType::MapValue || cell.maybe_null())
        return bad_argument(call, reg - 1, cell, "map_value");
    if (!field_argument(cell, reg, FieldKind::Timer)) return false;
    call.map = pointer(CellType::MapHandle, 0, cell.object);
    return true;
}

// --- dynptrs: two stack slots, whose lower half holds the cell
// --------------------------------------

bool Analyzer::special_slot(const Cell& cell, unsigned reg, const char* what, int& off) {
    if (cell.type != CellType::Stack) return false;
    if (!num(cell).is_const())
        return reject(ErrorCode::BadDynptr, "%s has to be at a constant offset: arg#%u", what,
                      reg - 1);
    off = cell.off + static_cast<int>(static_cast<int64_t>(num(cell).value()));
    if (off % 8 != 0)
        return reject(ErrorCode::BadDynptr, "cannot pass in %s at an offset=%d", what, off);
    return true;
}

bool Analyzer::put_special(unsigned frame, int off, unsigned slots, Tag tag, const Cell& cell) {
    if (off < -static_cast<int>(kStackBytes) || off + static_cast<int>(slots) * 8 > 0)
        return reject(ErrorCode::StackOutOfBounds,
                      "cannot pass in an object of %u bytes at an offset=%d", slots * 8, off);
    if (!spoil(frame, off, off + static_cast<int>(slots) * 8)) return false;
    uint16_t& deepest = frame_bytes_[st().frame(frame).subprogram];
    deepest = std::max(deepest, static_cast<uint16_t>(-off));
    for (unsigned i = 0; i < slots; ++i) {
        const auto [c, b] = stack_byte(off + static_cast<int>(i) * 8);
        StackChunk& chunk = st().own_chunk(frame, c);
        for (unsigned j = 0; j < 8; ++j) chunk.tags[b + j] = tag;
        chunk.sizes[b / kGranule] = 8;
        chunk.sizes[b / kGranule + 1] = 0;
        chunk.cells[b / kGranule] = cell;
        chunk.cells[b / kGranule].off = static_cast<int32_t>(i);
    }
    return true;
}

void Analyzer::drop_special(unsigned frame, int off, unsigned slots) {
    for (unsigned i = 0; i < slots; ++i) {
        const auto [c, b] = stack_byte(off + static_cast<int>(i) * 8);
        StackChunk& chunk = st().own_chunk(frame, c);
        for (unsigned j = 0; j < 8; ++j) chunk.tags[b + j] = Tag::Invalid;
        chunk.sizes[b / kGranule] = 0;
        chunk.cells[b / kGranule] = Cell{};
    }
}

const Cell* Analyzer::special_at(unsigned frame, int off, Tag tag) {
    if (off < -static_cast<int>(kStackBytes) || off + 8 > 0) return nullptr;
    const auto [c, b] = stack_byte(off);
    const StackChunk* chunk = st().chunk(frame, c);
    if (chunk == nullptr || chunk->tags[b] != tag || chunk->sizes[b / kGranule] != 8)
        return nullptr;
    return &chunk->cells[b / kGranule];
}

// A store into a slot that holds a dynptr destroys it, unless it must be released.
bool Analyzer::spoil_special(unsigned frame, int off, Tag tag) {
    const int slot = off & ~7;
    const auto [c, b] = stack_byte(slot);
    const Cell cell = st().chunk(frame, c)->cells[b / kGranule];
    const int first = slot - cell.off * 8;
    if (tag == Tag::Dynptr) {
        if (cell.ref != 0)
            return reject(ErrorCode::BadDynptr, "cannot overwrite referenced dynptr at fp%d",
                          first);
        drop_special(frame, first, 2);
        // Slices of it are no longer valid; those that are read-only, or a packet's, live by what
        // they lie in, as in Linux.
        update_cells(
            st(),
            [&](const Cell& x) {
                return x.type == CellType::Mem && x.ref == cell.id && x.ref != 0 &&
                       (x.flags & ~flag::kMaybeNull) == 0;
            },
            [&](Cell& x) { x = dead_pointer(); });
        return true;
    }
    const bool iterator = tag == Tag::Iterator;
    const unsigned slots = iterator ? iterator_slots(iterator_cell::kind_of(cell)) : 1;
    drop_special(frame, first, slots);
    return true;
}

bool Analyzer::dynptr_argument(CallInfo& call, unsigned index) {
    const ArgSpec& spec = call.helper->proto.args[index];
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    if (cell.type != CellType::Stack && cell.type != CellType::DynptrHandle)
        return bad_argument(call, index, cell, "fp, dynptr_ptr");
    call.dynptr_reg = reg;
    if (spec.has(arg_flag::kUninit)) {
        int off = 0;
        if (cell.type != CellType::Stack)
            return reject(ErrorCode::BadDynptr, "Dynptr has to be an uninitialized dynptr");
        if (!special_slot(cell, reg, "dynptr", off)) return false;
        Cell slot = pointer(
            CellType::DynptrSlot, 0,
            spec.has(arg_flag::kRingbufDynptr) ? dynptr_kind::kRingbuf : dynptr_kind::kLocal);
        if (call.helper->id == helper_id::kRingbufReserveDynptr) slot.ref = acquire(slot_);
        slot.id = fresh_id();
        return put_special(cell.object, off, 2, Tag::Dynptr, slot);
    }
    const Cell* slot = &cell;
    int off = 0;
    if (cell.type == CellType::Stack) {
        if (!special_slot(cell, reg, "dynptr", off)) return false;
        slot = special_at(cell.object, off, Tag::Dynptr);
        if (slot == nullptr || slot->type != CellType::DynptrSlot || slot->off != 0)
            return reject(ErrorCode::BadDynptr, "Expected an initialized dynptr as arg #%u",
                          reg - 1);
    } else if (!unmoved(reg)) {
        return false;
    }
    if (spec.has(arg_flag::kRingbufDynptr) && slot->object != dynptr_kind::kRingbuf)
        return reject(ErrorCode::BadDynptr, "Expected a dynptr of type ringbuf as arg #%u",
                      reg - 1);
    if (spec.has(arg_flag::kLocalDynptr) && slot->object != dynptr_kind::kLocal)
        return reject(ErrorCode::BadDynptr, "Expected a dynptr of type local as arg #%u", reg - 1);
    if (spec.has(arg_flag::kRelease)) {
        if (cell.type != CellType::Stack)
            return reject(ErrorCode::BadDynptr, "arg %u is an unacquired reference", reg);
        const uint32_t ref = slot->ref;
        if (ref == 0)
            return reject(ErrorCode::BadRelease, "arg %u is an unacquired reference", reg);
        drop_special(cell.object, off, 2);
        // The record is gone, and with it every dynptr and slice of it.
        call.release_ref = ref;
        return true;
    }
    // What a slice of it lives by: the reference, or the dynptr itself.
    call.result_ref = slot->ref != 0 ? slot->ref : slot->id;
    if (dynptr_kind::is_packet(slot->object)) {
        // bpf_dynptr_data() of a packet is always null, but what it would give goes with the
        // packet.
        if (call.helper->id == helper_id::kDynptrData) call.result_flags |= flag::kPacketSlice;
        call.changes_packet =
            call.helper->id == helper_id::kDynptrWrite && slot->object != dynptr_kind::kXdp;
    }
    return true;
}

}  // namespace skep::verifier
