#include "jit/plan.hpp"

#include <algorithm>
#include <array>

#include "jit/runtime.hpp"

namespace skep::jit {

namespace {
constexpr unsigned kMaxAlignment = 64;
}  // namespace

Plan::Plan(const Image& image, Abilities abilities)
    : image_(image),
      liveness_(image),
      targets_(image.slots.size() + 1, false),
      loop_heads_(image.slots.size() + 1, false),
      selects_(image.slots.size() + 1, false),
      ends_(image.slots.size(), 0),
      callbacks_(image.functions.size(), false),
      saved_(image.functions.size(), 0),
      bound_(image.slots.size() + 1, 0) {
    find_jumps();
    if (has_selects_) find_selects();
    ops_ = optimise(image, liveness_, {targets_, selects_, ends_}, abilities);
    if (has_selects_) give_up_selects();
    find_saved();
    find_depth();
    if (image.fuel) find_fuel_register();
    find_fall_through();
    if (image.fuel) find_chargers();
    bare_ = find_bare();
    find_sizes();
}

void Plan::find_jumps() {
    if (const int32_t callback = image_.program->exception_callback; callback >= 0)
        callbacks_[static_cast<uint32_t>(callback)] = true;
    constexpr auto bit = [](Kind kind) { return 1u << static_cast<unsigned>(kind); };
    constexpr unsigned kJumps = bit(Kind::Jump) | bit(Kind::Branch) | bit(Kind::MayGoto);
    constexpr unsigned kOthers = bit(Kind::Imm64) | bit(Kind::Call) | bit(Kind::CallLocal);
    for (const Subprogram& subprogram : image_.program->subprograms) {
        const ImageSlot* s = image_.slots.data() + subprogram.first;
        for (uint32_t i = subprogram.first; i < subprogram.first + subprogram.count; ++i, ++s) {
            ends_[i] = how_block_ends(*s);
            const unsigned kind = bit(s->insn.kind);
            if ((kind & (kJumps | kOthers)) == 0) continue;
            if ((kind & kJumps) != 0) {
                if (!s->dead) find_jump(i, subprogram);
                continue;
            }
            const Insn& insn = s->insn;
            if (insn.kind == Kind::Imm64 && insn.pseudo_imm() == PseudoImm::Func) {
                callbacks_[subprogram_at(static_cast<uint32_t>(insn.target))] = true;
                nests_ = true;
            }
            if (is_tail_call(*s)) nests_ = tail_calls_ = true;
            // The program itself has no entry for calls; only a recursive one would need it.
            if (insn.kind == Kind::CallLocal && insn.target == 0) structured_ = false;
        }
    }
}

void Plan::find_jump(uint32_t slot, const Subprogram& subprogram) {
    const auto target = static_cast<uint32_t>(image_.slots[slot].insn.target);
    if (may_select(slot)) {
        selects_[slot] = has_selects_ = true;
        return;
    }
    targets_[target] = true;
    if (target < subprogram.first || target >= subprogram.first + subprogram.count)
        structured_ = false;
    if (target > slot) return;
    loop_heads_[target] = true;
    if (loop_ends_.empty()) loop_ends_.assign(image_.slots.size() + 1, 0);
    loop_ends_[target] = slot + 1;
}

// if a op b goto +1; dst = src. Or the branch goes where a jump behind the move goes, too, as long
// as nobody counts them.
bool Plan::may_select(uint32_t slot) const {
    if (slot + 2 >= image_.slots.size() || image_.hardened) return false;
    const ImageSlot &branch = image_.slots[slot], &next = image_.slots[slot + 1];
    const Insn &b = branch.insn, &m = next.insn;
    if (b.kind != Kind::Branch || branch.dead || branch.trap != TrapCode::None) return false;
    const ImageSlot& behind = image_.slots[slot + 2];
    const bool same = !image_.fuel && behind.insn.kind == Kind::Jump && !behind.dead &&
                      behind.trap == TrapCode::None && behind.insn.target == b.target;
    if (b.target != static_cast<int32_t>(slot) + 2 && !same) return false;
    if (next.dead || next.trap != TrapCode::None || m.kind != Kind::Alu || m.alu() != AluOp::Mov ||
        m.sext != 0)
        return false;
    if (!m.is_imm && m.src == kFramePointer) return false;
    return b.dst != kFramePointer && (b.is_imm || b.src != kFramePointer);
}

// A move that others jump to is no part of a selection.
void Plan::find_selects() {
    for (uint32_t i = 0; i + 1 < image_.slots.size(); ++i) {
        if (!selects_[i] || !targets_[i + 1]) continue;
        selects_[i] = false;
        targets_[static_cast<uint32_t>(image_.slots[i].insn.target)] = true;
    }
}

// A branch in a block that was given up jumps after all. What counts on nobody jumping there
// (several accesses that one check covers) has to know.
void Plan::give_up_selects() {
    for (uint32_t i = 0; i + 1 < image_.slots.size(); ++i) {
        if (selects_[i] == 0 || ops_[i].selects) continue;
        selects_[i] = 0;
        targets_[static_cast<uint32_t>(image_.slots[i].insn.target)] = 1;
    }
}

void Plan::find_chargers() {
    chargers_.assign(image_.slots.size() + 1, kNoSlot);
    std::vector<bool> several(chargers_.size(), false);
    for (uint32_t i = 0; i < image_.slots.size(); ++i) {
        const ImageSlot& s = image_.slots[i];
        const bool jumps = s.insn.kind == Kind::Jump || s.insn.kind == Kind::Branch ||
                           s.insn.kind == Kind::MayGoto;
        if (!jumps || !s.charge || s.dead) continue;
        const auto target = static_cast<uint32_t>(s.insn.target);
        const bool alone = chargers_[target] == kNoSlot && !several[target];
        several[target] = several[target] || !alone || s.insn.kind != Kind::Branch;
        chargers_[target] = several[target] ? kNoSlot : i;
    }
}

// Running past the end of the last subprogram is a trap, past any other one's an entry by the back
// door.
void Plan::find_fall_through() {
    const auto& subs = image_.program->subprograms;
    for (size_t f = 0; f + 1 < subs.size(); ++f) {
        uint32_t last = subs[f].first + subs[f].count - 1;
        if (image_.slots[last].insn.kind == Kind::Imm64High && last > subs[f].first) --last;
        const ImageSlot& s = image_.slots[last];
        const bool ends = s.insn.kind == Kind::Exit || s.insn.kind == Kind::Jump || s.dead ||
                          s.trap != TrapCode::None;
        if (!ends) structured_ = false;
    }
}

void Plan::find_saved() {
    constexpr uint16_t kCalleeSaved = 0xf << 6;
    for (uint32_t f = 0; f < saved_.size(); ++f) {
        const Subprogram& s = image_.program->subprograms[f];
        for (uint32_t i = s.first; i < s.first + s.count; ++i) {
            if (ops_[i].what == Op::What::Nothing) continue;
            saved_[f] |= liveness_.writes_at(i) & kCalleeSaved;
        }
        // What may be read before it was written is cleared at entry.
        saved_[f] |= liveness_.live_before(s.first) & kCalleeSaved;
        image_saved_ |= saved_[f];
    }
}

// The longest chain of calls that can be open, by relaxation: as many rounds as frames may be open
// at once settle it, unless it is longer or has no end.
void Plan::find_depth() {
    if (image_.functions.size() == 1 && structured_) return;
    std::vector<std::pair<uint32_t, uint32_t>> calls;  // caller, callee
    for (uint32_t i = 0; i < image_.slots.size(); ++i) {
        const Insn& insn = image_.slots[i].insn;
        if (insn.kind != Kind::CallLocal) continue;
        calls.emplace_back(subprogram_at(i), subprogram_at(static_cast<uint32_t>(insn.target)));
    }
    std::vector<unsigned> depth(image_.functions.size(), 1);
    bool changed = !calls.empty();
    for (unsigned round = 0; changed && round <= kMaxCallFrames; ++round) {
        changed = false;
        for (const auto& [caller, callee] : calls) {
            if (depth[callee] > depth[caller]) continue;
            depth[callee] = depth[caller] + 1;
            changed = true;
        }
    }
    deep_ = changed || *std::max_element(depth.begin(), depth.end()) > kMaxCallFrames;
}

void Plan::find_fuel_register() {
    uint16_t used = 0;
    bool charges = false;
    for (uint32_t i = 0; i < image_.slots.size(); ++i) {
        used |= liveness_.reads_at(i) | liveness_.writes_at(i);
        charges |= image_.slots[i].charge;
    }
    if (!charges) return;
    for (Reg r = 9; r >= 2; --r) {
        if ((used >> r & 1) != 0) continue;
        fuel_register_ = r;
        if (r >= 6) image_saved_ |= static_cast<uint16_t>(1u << r);
        return;
    }
}

bool Plan::find_bare() const {
    if (image_.form != Form::Unchecked || image_.functions.size() != 1) return false;
    for (const ImageSlot& s : image_.slots) {
        const Insn& insn = s.insn;
        if (insn.kind == Kind::Imm64High) continue;
        const uint16_t used = Liveness::reads(insn) | Liveness::writes(insn);
        if (s.trap != TrapCode::None || s.charge || (used >> kFramePointer & 1) != 0) return false;
        switch (insn.kind) {
            case Kind::Load:
            case Kind::Store:
            case Kind::Atomic:
                if (s.access != Access::Proven && s.access != Access::ContextField) return false;
                break;
            case Kind::Alu:
            case Kind::Neg:
            case Kind::Endian:
            case Kind::Imm64:
            case Kind::Imm64High:
            case Kind::Jump:
            case Kind::Branch:
            case Kind::Exit: break;
            case Kind::LoadPacket:
            case Kind::MayGoto:
            case Kind::Call:
            case Kind::CallLocal:
            case Kind::AddrSpaceCast: return false;
        }
    }
    const Kind last = image_.slots.back().insn.kind;
    return last == Kind::Exit || last == Kind::Jump;
}

uint32_t Plan::subprogram_at(uint32_t slot) const {
    const auto& subs = image_.program->subprograms;
    const auto it = std::upper_bound(subs.begin(), subs.end(), slot,
                                     [](uint32_t s, const Subprogram& p) { return s < p.first; });
    return static_cast<uint32_t>(it - subs.begin()) - 1;
}

unsigned Plan::alignment(uint32_t slot) const {
    // About what fits in a line.
    constexpr uint32_t kShort = 20;
    return loop_ends_[slot] - slot <= kShort ? kMaxAlignment : 16;
}

uint32_t Plan::head_bound(uint32_t slot) const {
    if (loop_heads_[slot] == 0) return 0;
    constexpr uint32_t kCharge = 24;
    return alignment(slot) + (sole_charger(slot) != kNoSlot ? kCharge : 0);
}

namespace {

// Generous: a jump that is long for nothing costs four bytes, one that does not reach a second
// translation without short ones (jit.cpp).
constexpr uint8_t size_of_kind(Kind kind) {
    switch (kind) {
        case Kind::Alu: return 20;
        case Kind::Load:
        case Kind::Store: return 16;
        case Kind::Neg:
        case Kind::Endian:
        case Kind::Imm64: return 12;
        case Kind::Imm64High: return 0;
        case Kind::Jump: return 8;
        case Kind::Branch: return 30;
        case Kind::Exit: return 32;
        default: return 160;
    }
}
constexpr auto kSizes = [] {
    std::array<uint8_t, static_cast<size_t>(Kind::AddrSpaceCast) + 1> table{};
    for (size_t k = 0; k < table.size(); ++k) table[k] = size_of_kind(static_cast<Kind>(k));
    return table;
}();

}  // namespace

uint32_t Plan::size_bound(const ImageSlot& s) const {
    if (image_.hardened) return 200;
    if (s.trap != TrapCode::None) return 32;
    const Insn& i = s.insn;
    const uint32_t size = kSizes[static_cast<size_t>(i.kind)];
    switch (i.kind) {
        case Kind::Alu: return i.alu() == AluOp::Div || i.alu() == AluOp::Mod ? 96 : size;
        case Kind::Load:
        case Kind::Store:
            return image_.form == Form::Unchecked && s.access != Access::ContextDynamic ? size
                                                                                        : 160;
        case Kind::Jump:
        case Kind::Branch: return s.charge && image_.fuel ? size + 26 : size;
        default: return size;
    }
}

void Plan::find_sizes() {
    uint32_t bound = 0;
    const ImageSlot* s = image_.slots.data();
    const Op* op = ops_.data();
    for (uint32_t i = 0; i < image_.slots.size(); ++i, ++s, ++op) {
        if (loop_heads_[i] != 0) bound += head_bound(i);
        if (op->what != Op::What::Nothing) {
            // What the optimiser chose needs no checks.
            const bool chosen = op->what > Op::What::AluImm;
            bound += chosen ? kSizes[static_cast<size_t>(s->insn.kind)] : size_bound(*s);
        }
        bound_[i + 1] = bound;
    }
}

}  // namespace skep::jit
