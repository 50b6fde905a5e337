// Open-coded iterators: objects on the stack with functions new, next and destroy. A loop over one
// is verified for any number of rounds: next goes on with an element and without, and the rounds
// converge where a state has been seen before but for its numbers that nothing rests on.
#include "verifier/analyzer.hpp"
#include "verifier/kfunc_call.hpp"

namespace skep::verifier {

using namespace iterator_cell;

// What the call says about the iterator is noted in `call`; the slots are looked at.
bool Analyzer::kfunc_iterator(KfuncCall& call, unsigned index) {
    const KfuncParam& param = call.ref.proto.params[index];
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    call.iterator = find_iterator_kind(param.type.name);
    if (call.iterator < 0)
        return unsupported(ErrorCode::UnsupportedKfunc, "iterators of type struct %s",
                           param.type.name.c_str());
    const char* name = param.type.name.c_str();
    if (cell.type != CellType::Stack)
        return reject(ErrorCode::BadIterator,
                      "arg#%u expected pointer to an iterator on stack, r%u is %s", index, reg,
                      name_of_cell(cell).c_str());
    if (!num(cell).is_const())
        return reject(ErrorCode::BadIterator, "%s has to be at a constant offset: arg#%u", name,
                      index);
    call.frame = cell.object;
    call.off = cell.off + static_cast<int>(static_cast<int64_t>(num(cell).value()));
    if (call.off % 8 != 0)
        return reject(ErrorCode::BadIterator, "cannot pass in %s at an offset=%d", name, call.off);
    const Cell* slot = special_at(call.frame, call.off, Tag::Iterator);
    if (call.kfunc.has(kfunc_flag::kIterNew)) {
        const unsigned slots = iterator_slots(call.iterator);
        for (unsigned i = 0; i < slots; ++i)
            if (special_at(call.frame, call.off + static_cast<int>(i) * 8, Tag::Iterator) !=
                nullptr)
                return reject(ErrorCode::BadIterator, "expected uninitialized %s as arg #%u", name,
                              index);
        return true;
    }
    if (slot == nullptr || slot->off != 0 || kind_of(*slot) != call.iterator)
        return reject(ErrorCode::BadIterator, "expected an initialized %s as arg #%u", name, index);
    if ((slot->flags & flag::kUntrusted) != 0)
        return reject(ErrorCode::BadIterator,
                      "expected an RCU CS when using %s: the section that %s was made in has ended",
                      call.ref.name.c_str(), name);
    call.held = slot->ref;
    return true;
}

unsigned Analyzer::iterator_slots(int kind) const {
    return iterator_kinds()[static_cast<size_t>(kind)].bytes / 8;
}

bool Analyzer::iterator_new(KfuncCall& call) {
    Cell cell = pointer(CellType::IteratorSlot, 0, make(call.iterator, kActive));
    if (call.kfunc.has(kfunc_flag::kRcuProtected)) cell.flags |= flag::kRcu;
    cell.ref = acquire(slot_);
    if (!put_special(call.frame, call.off, iterator_slots(call.iterator), Tag::Iterator, cell))
        return false;
    clobber_caller_saved(st());
    set_reg(0, unknown());
    st().slot = slot_ + 1;
    return true;
}

bool Analyzer::iterator_next(KfuncCall& call) {
    const Cell iterator = *special_at(call.frame, call.off, Tag::Iterator);
    clobber_caller_saved(st());
    st().slot = slot_ + 1;
    if (state_of(iterator) == kActive) {
        State next = st();
        ++next.own_frame(call.frame).callback_depth;
        Cell r0;
        if (!pointer_result(call, r0)) return false;
        if (r0.type == CellType::Btf)
            r0.flags |= (iterator.flags & flag::kRcu) != 0 ? flag::kRcu : flag::kTrusted;
        next.own_top().regs[0] = r0;
        if (Checkpoint* before = previous_round(); before != nullptr) widen(before->state, next);
        branch_seen_[slot_] |= 3;
        if (!push_branch(std::move(next))) return false;
        const auto [c, b] = stack_byte(call.off);
        st().own_chunk(call.frame, c).cells[b / kGranule].object = make(call.iterator, kDrained);
    }
    set_reg(0, constant(0));
    return true;
}

bool Analyzer::iterator_destroy(KfuncCall& call) {
    const uint32_t ref = special_at(call.frame, call.off, Tag::Iterator)->ref;
    drop_special(call.frame, call.off, iterator_slots(call.iterator));
    if (!release_reference(ref)) return false;
    clobber_caller_saved(st());
    set_reg(0, Cell{});
    st().slot = slot_ + 1;
    return true;
}

bool Analyzer::converges(const Checkpoint& kept) const {
    const Insn& insn = insn_at(kept.state.slot);
    if (insn.kind == skep::Kind::MayGoto)
        return kept.state.may_goto_depth != current_.may_goto_depth;
    return true;
}

bool Analyzer::same_iterator_depths(const State& a, const State& b) const {
    for (unsigned f = 0; f < a.depth() && f < b.depth(); ++f)
        if (a.frame(f).callback_depth != b.frame(f).callback_depth) return false;
    return true;
}

}  // namespace skep::verifier
