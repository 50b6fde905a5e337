// Sections that kernel functions open and close: disabled interrupts, resilient spin locks.
#include <algorithm>

#include "verifier/analyzer.hpp"
#include "verifier/kfunc_call.hpp"

namespace skep::verifier {
namespace {

// Cell::object of saved interrupt states: which functions restore them.
constexpr uint16_t kNativeIrq = 1, kLockIrq = 2;

bool saves_irq(KfuncSpecial special) {
    return special == KfuncSpecial::IrqSave || special == KfuncSpecial::ResLockIrqsave;
}
bool is_lock_irq(KfuncSpecial special) {
    return special == KfuncSpecial::ResLockIrqsave || special == KfuncSpecial::ResUnlockIrqrestore;
}

}  // namespace

// Where the interrupt state lies on the stack; it is saved or restored in kfunc_effects().
bool Analyzer::irq_flag(KfuncCall& call, unsigned index) {
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    if (cell.type != CellType::Stack)
        return reject(ErrorCode::LockDiscipline,
                      "arg#%u doesn't point to an irq flag on stack: r%u is %s", index, reg,
                      name_of_cell(cell).c_str());
    if (!num(cell).is_const())
        return reject(ErrorCode::LockDiscipline, "irq flag has to be at a constant offset: arg#%u",
                      index);
    call.frame = cell.object;
    call.off = cell.off + static_cast<int>(static_cast<int64_t>(num(cell).value()));
    if (call.off % 8 != 0)
        return reject(ErrorCode::LockDiscipline, "cannot pass in irq flag at an offset=%d",
                      call.off);
    const Cell* slot = special_at(call.frame, call.off, Tag::Irq);
    if (saves_irq(call.kfunc.special)) {
        if (slot == nullptr) return true;
        return reject(ErrorCode::LockDiscipline, "expected uninitialized irq flag as arg#%u",
                      index);
    }
    if (slot == nullptr)
        return reject(ErrorCode::LockDiscipline, "expected an initialized irq flag as arg#%u",
                      index);
    if ((slot->object == kLockIrq) != is_lock_irq(call.kfunc.special))
        return reject(ErrorCode::LockDiscipline,
                      "irq flag acquired by %s kfuncs cannot be restored with %s kfuncs",
                      slot->object == kLockIrq ? "lock" : "native",
                      is_lock_irq(call.kfunc.special) ? "lock" : "native");
    return true;
}

bool Analyzer::save_irq(const KfuncCall& call) {
    Hold hold;
    hold.kind = HoldKind::Irq;
    hold.id = fresh_id();
    hold.slot = slot_;
    Cell cell =
        pointer(CellType::IrqSlot, 0, is_lock_irq(call.kfunc.special) ? kLockIrq : kNativeIrq);
    cell.ref = hold.id;
    if (!put_special(call.frame, call.off, 1, Tag::Irq, cell)) return false;
    st().holds.push_back(hold);
    return true;
}

bool Analyzer::restore_irq(const KfuncCall& call) {
    const uint32_t id = special_at(call.frame, call.off, Tag::Irq)->ref;
    const auto last = std::find_if(st().holds.rbegin(), st().holds.rend(),
                                   [](const Hold& h) { return h.kind == HoldKind::Irq; });
    if (last == st().holds.rend() || last->id != id)
        return reject(ErrorCode::LockDiscipline,
                      "cannot restore irq state out of order: the one of insn %u comes first",
                      last == st().holds.rend() ? 0 : last->slot);
    drop_special(call.frame, call.off, 1);
    std::erase_if(st().holds, [&](const Hold& h) { return h.kind == HoldKind::Irq && h.id == id; });
    return true;
}

bool Analyzer::res_lock_argument(KfuncCall& call, unsigned index) {
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    if (!holds_locks(cell))
        return reject(ErrorCode::BadArgumentType,
                      "arg#%u doesn't point to map value or allocated object: r%u is %s", index,
                      reg, name_of_cell(cell).c_str());
    if (!field_argument(cell, reg, FieldKind::ResSpinLock)) return false;
    call.object = cell;
    const bool irq = is_lock_irq(call.kfunc.special);
    const auto same = [&](const Hold& h) {
        return h.kind == HoldKind::ResLock && h.lock_id == cell.id && h.lock_object == cell.object;
    };
    const bool locks = call.is(KfuncSpecial::ResLock) || call.is(KfuncSpecial::ResLockIrqsave);
    if (locks) {
        if (std::ranges::none_of(st().holds, same)) return true;
        return reject(ErrorCode::LockDiscipline,
                      "Acquiring the same lock again, AA deadlock detected");
    }
    const Hold* held = st().find_lock();
    if (held == nullptr)
        return reject(ErrorCode::LockDiscipline, "bpf_res_spin_unlock without taking a lock");
    if (std::ranges::none_of(st().holds,
                             [&](const Hold& h) { return same(h) && (h.id != 0) == irq; }))
        return reject(ErrorCode::LockDiscipline, "bpf_res_spin_unlock of different lock");
    if (!same(*held))
        return reject(ErrorCode::LockDiscipline, "bpf_res_spin_unlock cannot be out of order");
    return true;
}

// The lock may be refused: then nothing is held, and r0 says why.
bool Analyzer::take_res_lock(KfuncCall& call) {
    State refused = st();
    clobber_caller_saved(refused);
    refused.own_top().regs[0] = number(Scalar::range_s64(-4095, -1));
    refused.slot = slot_ + 1;
    branch_seen_[slot_] |= 3;
    if (!push_branch(std::move(refused))) return false;
    Hold hold;
    hold.kind = HoldKind::ResLock;
    hold.id = call.is(KfuncSpecial::ResLockIrqsave) ? 1 : 0;  // how it is to be released
    hold.slot = slot_;
    hold.lock_id = call.object.id;
    hold.lock_object = call.object.object;
    hold.lock_type = call.object.type;
    st().holds.push_back(hold);
    return !call.is(KfuncSpecial::ResLockIrqsave) || save_irq(call);
}

bool Analyzer::drop_res_lock(KfuncCall& call) {
    std::erase_if(st().holds, [&](const Hold& h) {
        return h.kind == HoldKind::ResLock && h.lock_id == call.object.id &&
               h.lock_object == call.object.object;
    });
    end_loans();
    return !call.is(KfuncSpecial::ResUnlockIrqrestore) || restore_irq(call);
}

}  // namespace skep::verifier
