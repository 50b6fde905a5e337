// Dynptr arguments of kernel functions, and the slices that they give.
#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"
#include "verifier/each_cell.hpp"
#include "verifier/kfunc_call.hpp"

namespace skep::verifier {

bool Analyzer::kfunc_dynptr(KfuncCall& call, unsigned index) {
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    if (cell.type != CellType::Stack && cell.type != CellType::DynptrHandle)
        return reject(ErrorCode::BadDynptr,
                      "arg#%u expected pointer to stack or const struct bpf_dynptr: r%u is %s",
                      index, reg, name_of_cell(cell).c_str());
    if (call.ref.proto.params[index].has_suffix("__uninit")) return new_dynptr(call, index);
    Cell slot = cell;
    if (cell.type == CellType::Stack) {
        int off = 0;
        if (!special_slot(cell, reg, "dynptr", off)) return false;
        const Cell* found = special_at(cell.object, off, Tag::Dynptr);
        if (found == nullptr || found->type != CellType::DynptrSlot || found->off != 0)
            return reject(ErrorCode::BadDynptr, "Expected an initialized dynptr as arg #%u", index);
        slot = *found;
    } else if (!unmoved(reg)) {
        return false;
    }
    if (call.dynptr.type == CellType::NotInit) call.dynptr = slot;
    return true;
}

// A dynptr that the function makes on the stack.
bool Analyzer::new_dynptr(KfuncCall& call, unsigned index) {
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    int off = 0;
    if (cell.type != CellType::Stack)
        return reject(ErrorCode::BadDynptr, "Dynptr has to be an uninitialized dynptr");
    if (!special_slot(cell, reg, "dynptr", off)) return false;
    Cell slot = pointer(CellType::DynptrSlot);
    switch (call.kfunc.special) {
        case KfuncSpecial::DynptrFromSkb: slot.object = dynptr_kind::kSkb; break;
        case KfuncSpecial::DynptrFromXdp: slot.object = dynptr_kind::kXdp; break;
        case KfuncSpecial::DynptrFromSkbMeta: slot.object = dynptr_kind::kSkbMeta; break;
        case KfuncSpecial::DynptrClone:
            slot.object = call.dynptr.object;
            slot.ref = call.dynptr.ref;
            break;
        default:
            return unsupported(ErrorCode::UnsupportedKfunc, "%s makes a dynptr",
                               call.ref.name.c_str());
    }
    slot.id = fresh_id();
    return put_special(cell.object, off, 2, Tag::Dynptr, slot);
}

// Memory inside a dynptr. It is gone with the dynptr, or, if that is a packet's, when the packet
// changes.
bool Analyzer::slice_result(KfuncCall& call, Cell& r0) {
    const bool writable = call.is(KfuncSpecial::DynptrSliceRdwr);
    const bool raw = program_.type->kind == ProgKind::Raw;
    if (writable && !packet_writable() && !raw)
        return reject(ErrorCode::ReadOnlyMemory,
                      "the prog does not allow writes to packet data: %s", call.ref.name.c_str());
    const Cell& slot = call.dynptr;
    r0 = pointer(CellType::Mem, writable ? 0 : flag::kReadOnly,
                 object_index({.size = static_cast<uint32_t>(call.constant.value_or(0))}));
    if (dynptr_kind::is_packet(slot.object)) r0.flags |= flag::kPacketSlice;
    r0.ref = slot.ref != 0 ? slot.ref : slot.id;
    return true;
}

// The reference that dynptrs of the same record share is gone, and with it all of them.
void Analyzer::drop_dynptrs(uint32_t ref) {
    for (unsigned f = 0; f < st().depth(); ++f)
        for (int off = -static_cast<int>(kStackBytes); off < 0; off += 8) {
            const Cell* slot = special_at(f, off, Tag::Dynptr);
            if (slot != nullptr && slot->ref == ref) drop_special(f, off, 1);
        }
}

}  // namespace skep::verifier
