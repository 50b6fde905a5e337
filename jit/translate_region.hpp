// The translator: sandboxed accesses that are checked against the region that they are expected to
// lie in. Several accesses through one register that follow each other, whatever branches leave
// between them, are checked by the first of them over their whole range; if that fails their code
// runs again, behind the functions, with a check for each.
#pragma once

#include "jit/translator.hpp"

namespace skep::jit {

template <MacroAssembler M>
int Translator<M>::checked_base(uint32_t slot) const {
    const ImageSlot& s = at(slot);
    const Insn& i = s.insn;
    const bool acquire = i.kind == Kind::Atomic && i.atomic() == AtomicOp::LoadAcquire;
    if (i.kind != Kind::Load && i.kind != Kind::Store && i.kind != Kind::Atomic) return -1;
    if (s.access == Access::ContextDynamic || s.access == Access::ContextField) return -1;
    if (s.dead || s.trap != TrapCode::None) return -1;
    const Reg base = i.kind == Kind::Load || acquire ? i.src : i.dst;
    return base == kFramePointer ? -1 : base;
}

template <MacroAssembler M>
RegionCheck Translator<M>::region_check(uint16_t number, Width w, bool store) const {
    RegionCheck check{.extent = bytes_of(w)};
    if (number <= region::kContext) {
        const auto width = static_cast<int32_t>(w == Width::B   ? 0
                                                : w == Width::H ? 1
                                                : w == Width::W ? 2
                                                                : 3);
        const auto row = disp(&HelperEnv::rows) + static_cast<int32_t>(number * sizeof(RegionRow));
        check.start_disp = row + static_cast<int32_t>(offsetof(RegionRow, start));
        check.delta_disp = row + static_cast<int32_t>(offsetof(RegionRow, delta));
        check.limit_disp =
            row +
            static_cast<int32_t>(store ? offsetof(RegionRow, write) : offsetof(RegionRow, read)) +
            width * 8;
        return check;
    }
    const Region& map = image_.map_regions[number - region::kFirstMap];
    const uint64_t start = guest_address(number, map.lo);
    check.constant = true;
    check.start = start;
    check.delta = reinterpret_cast<uintptr_t>(map.base) - start;
    check.bytes =
        static_cast<uint32_t>(std::min<uint64_t>(store ? map.writable : map.readable, INT32_MAX));
    return check;
}

template <MacroAssembler M>
typename Translator<M>::Group Translator<M>::find_group(uint32_t slot, Reg base,
                                                        uint16_t number) const {
    constexpr uint32_t kSpan = 48;
    constexpr int32_t kMaxExtent = 1024;
    Group group{.last = slot, .region = number, .low = at(slot).insn.off};
    int32_t high = group.low;
    const uint32_t end = std::min(last(current_), slot + kSpan);
    for (uint32_t k = slot; k < end; ++k) {
        const ImageSlot& s = at(k);
        if ((k != slot && plan_.is_target(k)) || s.dead || s.trap != TrapCode::None) break;
        const Insn& i = s.insn;
        if (checked_base(k) == base) {
            const int32_t low = std::min<int32_t>(group.low, i.off);
            const int32_t top = std::max(
                high, static_cast<int32_t>(i.off) + static_cast<int32_t>(bytes_of(i.width)));
            if (top - low > kMaxExtent) break;
            const bool writes = i.kind != Kind::Load &&
                                (i.kind != Kind::Atomic || i.atomic() != AtomicOp::LoadAcquire);
            group.low = low;
            high = top;
            group.writes |= writes;
            group.reads |= !writes;
            group.last = k;
        }
        const bool leaves = i.kind == Kind::Call || i.kind == Kind::CallLocal ||
                            i.kind == Kind::LoadPacket || i.kind == Kind::Exit ||
                            i.kind == Kind::Jump || i.kind == Kind::MayGoto;
        if (leaves || (Liveness::writes(i) >> base & 1) != 0) break;
    }
    group.extent = static_cast<uint32_t>(high - group.low);
    group.open = group.last != slot;
    return group;
}

template <MacroAssembler M>
bool Translator<M>::expected_operand(uint32_t slot, Reg base, bool store, Mem& out) {
    const Insn& i = at(slot).insn;
    out = Mem{.disp = i.off, .base = base, .index = kTmp0, .has_index = true};
    Group& open = groups_[base];
    if (!again_ && open.open && slot <= open.last) {
        RegionCheck known = region_check(open.region, i.width, store);
        m_.region_delta(known);
        return true;
    }
    const uint16_t number = expected_.region(slot);
    const bool usable = number <= region::kContext ||
                        (number >= region::kFirstMap && number != Expectations::kUnknown &&
                         number - region::kFirstMap < image_.map_regions.size());
    if (!usable) return false;
    RegionCheck check = region_check(number, i.width, store);
    Cold again{.what = Cold::What::Again,
               .slot = slot,
               .back = m_.new_label(),
               .end = slot + span_,
               .exact = true,
               .subprogram = current_};
    open = again_ ? Group{} : find_group(slot, base, number);
    const uint64_t budget = image_.slots.size() * 2 + 64;
    if (open.open && slots_again_ + (open.last - slot) <= budget) {
        slots_again_ += open.last - slot;
        again.exact = false;
        again.end = 0;  // set by end_groups()
        check = region_check(number, Width::B, open.writes);
        if (open.reads && open.writes)
            check.bytes = std::min(check.bytes, region_check(number, Width::B, false).bytes);
        check.extent = open.extent;
        check.whole = true;
        open_groups_.push_back(cold_.size());
        m_.check_region(base, open.low, check, cold(again));
        barrier();
        return true;
    }
    open = {};
    back_ = again.back;
    m_.check_region(base, i.off, check, cold(again));
    barrier();
    return true;
}

template <MacroAssembler M>
bool Translator<M>::emit_swapped_load(uint32_t slot) {
    const Insn& i = at(slot).insn;
    if (!sandbox() || exact_ || image_.hardened || checked_base(slot) < 0 || i.sign) return false;
    if (slot + 1 >= last(current_) || plan_.is_target(slot + 1)) return false;
    const Op& swap = plan_.op(slot + 1);
    if (swap.what != Op::What::Swap || swap.dst != i.dst || swap.a != i.dst ||
        swap.bits != 8 * bytes_of(i.width))
        return false;
    Mem mem;
    span_ = 2;
    const bool checked = expected_operand(slot, i.src, false, mem);
    span_ = 1;
    if (!checked) return false;
    m_.load_swapped(i.width, i.dst, mem);
    bind_back();
    return true;
}

template <MacroAssembler M>
void Translator<M>::end_groups(uint32_t slot) {
    std::erase_if(open_groups_, [&](size_t index) {
        Cold& c = cold_[index];
        const int base = checked_base(c.slot);
        if (groups_[static_cast<size_t>(base)].last >= slot &&
            groups_[static_cast<size_t>(base)].open)
            return false;
        groups_[static_cast<size_t>(base)] = {};
        c.end = slot;
        m_.bind(c.back);
        no_fall_through_ = UINT64_MAX;
        return true;
    });
}

template <MacroAssembler M>
void Translator<M>::emit_again(const Cold& c) {
    again_ = true;
    exact_ = c.exact;
    current_ = c.subprogram;
    for (uint32_t k = c.slot; k < c.end;) {
        if (at(k).dead && at(k).trap == TrapCode::None) {
            ++k;
            continue;
        }
        mark(k);
        k = emit_slot(k);
    }
    again_ = exact_ = false;
    m_.jump(c.back, false);
}

}  // namespace skep::jit
