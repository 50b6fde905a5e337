// The translator: helper calls whose effect is known when the code is made, and so need no trip
// through the helper: lookups in a map that is known, and the CPU's number.
#pragma once

#include <algorithm>

#include <skep/helper.hpp>
#include <skep/map.hpp>

#include "jit/translator.hpp"

namespace skep::jit {

// Helpers by their Linux numbers (helpers/helpers.def).
inline constexpr uint32_t kMapLookupElem = 1, kMapUpdateElem = 2, kMapDeleteElem = 3,
                          kGetSmpProcessorId = 8, kLoop = 181;
inline constexpr int32_t kMaxLoopRounds = 1 << 23;

template <MacroAssembler M>
bool Translator<M>::emit_known_call(uint32_t slot) {
    // Kernel functions have numbers of their own.
    if (image_.hardened || at(slot).insn.pseudo_call() != PseudoCall::Helper) return false;
    if (sandbox()) return emit_sandboxed_lookup(slot);
    const auto& helper = *reinterpret_cast<const Helper*>(at(slot).bound);
    if (helper.id == kGetSmpProcessorId) {
        m_.load(Width::W, false, 0, env(&HelperEnv::cpu));
        return true;
    }
    if (helper.id == kLoop) return emit_loop(slot);
    if (helper.id < kMapLookupElem || helper.id > kMapDeleteElem || !image_.facts->complete)
        return false;
    const SlotFact& fact = image_.facts->slots[slot];
    if (fact.map < 0 || static_cast<size_t>(fact.map) >= image_.maps.size()) return false;
    const MapFastPath path = image_.maps[static_cast<size_t>(fact.map)]->fast_path();
    // The arguments before the CPU are where the program put them.
    if (helper.id == kMapUpdateElem)
        return emit_map_call(5, reinterpret_cast<Function>(path.update));
    if (helper.id == kMapDeleteElem)
        return emit_map_call(3, reinterpret_cast<Function>(path.erase));
    switch (path.kind) {
        case MapFastPath::Kind::None: return false;
        case MapFastPath::Kind::Function:
            return emit_map_call(3, reinterpret_cast<Function>(path.lookup));
        case MapFastPath::Kind::Array:
        case MapFastPath::Kind::PercpuArray: return emit_array_lookup(slot, path, fact);
    }
    return false;
}

// `entry` takes the run's CPU as its `last` argument.
template <MacroAssembler M>
bool Translator<M>::emit_map_call(uint8_t last, Function entry) {
    if (entry == nullptr) return false;
    m_.load(Width::W, false, last, env(&HelperEnv::cpu));
    m_.call_function(entry);
    return true;
}

template <MacroAssembler M>
bool Translator<M>::emit_array_lookup(uint32_t slot, const MapFastPath& path,
                                      const SlotFact& fact) {
    if (path.stride > INT32_MAX || path.cpu_stride > INT32_MAX) return false;
    if (fact.key_const && fact.value >= path.entries) {
        m_.mov_imm(0, 0);
        return true;
    }
    const uint64_t base = reinterpret_cast<uintptr_t>(path.base);
    const bool percpu = path.kind == MapFastPath::Kind::PercpuArray;
    if (percpu) {
        m_.load(Width::W, false, kTmp1, env(&HelperEnv::cpu));
        m_.alu_imm(AluOp::Mul, Width::Dw, false, kTmp1, static_cast<int64_t>(path.cpu_stride));
    }
    if (fact.key_const) {
        m_.mov_imm(0, base + fact.value * path.stride);
        if (percpu) m_.add3(0, 0, kTmp1);
        return true;
    }
    const LabelId back = m_.new_label();
    m_.load(Width::W, false, 0, Mem{.base = 2});
    m_.branch_imm(CondOp::Ge, Width::W, 0, static_cast<int32_t>(path.entries),
                  cold({.what = Cold::What::Null, .slot = slot, .back = back}), false);
    m_.alu_imm(AluOp::Mul, Width::Dw, false, 0, static_cast<int64_t>(path.stride));
    if (percpu) m_.add3(0, 0, kTmp1);
    m_.mov_imm(kTmp0, base);
    m_.add3(0, 0, kTmp0);
    m_.bind(back);
    return true;
}

// A lookup in a map that is expected, with a key that is expected in the stack, which no other
// thread writes. Whatever differs goes by the dispatcher.
template <MacroAssembler M>
bool Translator<M>::emit_sandboxed_lookup(uint32_t slot) {
    const int index = expected_.map_of_call(slot);
    if (reinterpret_cast<const Helper*>(at(slot).bound)->id != kMapLookupElem || index < 0 ||
        static_cast<size_t>(index) >= image_.maps.size())
        return false;
    Map* const map = image_.map_pointers[static_cast<size_t>(index)];
    const MapFastPath path = map->fast_path();
    const ValueRange values = map->values();
    const bool inlined =
        path.kind == MapFastPath::Kind::Array || path.kind == MapFastPath::Kind::PercpuArray;
    constexpr uint32_t kLongestKey = 512;  // bytes of a frame
    if (path.kind == MapFastPath::Kind::None || values.base == nullptr ||
        map->def().key_size > kLongestKey)
        return false;
    if (inlined && (path.stride > INT32_MAX || path.cpu_stride > INT32_MAX)) return false;
    // Programs see a value under the first of its map's numbers.
    const auto first = std::find(image_.map_pointers.begin(), image_.map_pointers.end(), map);
    const uint64_t guest_base = guest_address(
        region::kFirstMap + static_cast<uint32_t>(first - image_.map_pointers.begin()), 0);

    const LabelId back = m_.new_label();
    const LabelId by_helper = cold({.what = Cold::What::Helper, .slot = slot, .back = back});
    m_.mov_imm(kTmp0, map_handle(static_cast<uint32_t>(index)));
    m_.branch(CondOp::Ne, Width::Dw, 1, kTmp0, by_helper, false);
    RegionCheck key = region_check(region::kStack, Width::B, false);
    key.extent = map->def().key_size;
    key.whole = true;
    m_.check_region(2, 0, key, by_helper);
    if (inlined) {
        const LabelId outside = cold({.what = Cold::What::Null, .slot = slot, .back = back});
        m_.load(Width::W, false, 0, Mem{.base = 2, .index = kTmp0, .has_index = true});
        m_.branch_imm(CondOp::Ge, Width::W, 0, static_cast<int32_t>(path.entries), outside, false);
        m_.alu_imm(AluOp::Mul, Width::Dw, false, 0, static_cast<int64_t>(path.stride));
        if (path.kind == MapFastPath::Kind::PercpuArray) {
            m_.load(Width::W, false, kTmp1, env(&HelperEnv::cpu));
            m_.alu_imm(AluOp::Mul, Width::Dw, false, kTmp1, static_cast<int64_t>(path.cpu_stride));
            m_.add3(0, 0, kTmp1);
        }
        const auto inside = static_cast<uint64_t>(path.base - values.base);
        m_.mov_imm(kTmp0, guest_base + inside);
        m_.add3(0, 0, kTmp0);
    } else {
        m_.add3(2, 2, kTmp0);
        m_.mov_imm(1, reinterpret_cast<uintptr_t>(map));
        m_.load(Width::W, false, 3, env(&HelperEnv::cpu));
        store_fuel();
        m_.call_function(reinterpret_cast<Function>(path.lookup));
        load_fuel();
        m_.branch_imm(CondOp::Eq, Width::Dw, 0, 0, back, false);
        m_.mov_imm(kTmp0, guest_base - reinterpret_cast<uintptr_t>(values.base));
        m_.add3(0, 0, kTmp0);
    }
    m_.bind(back);
    return true;
}

// bpf_loop(count, callback, context, flags) with a callback that is known: its function is called
// from here, in a frame that stays open over all rounds. Whatever the helper would refuse, or a
// depth at which it would trap, is left to the helper.
template <MacroAssembler M>
bool Translator<M>::emit_loop(uint32_t slot) {
    if (!image_.facts->complete || image_.facts->slots[slot].callback < 0) return false;
    const uint32_t callee =
        plan_.subprogram_at(static_cast<uint32_t>(image_.facts->slots[slot].callback));
    const FrameInfo& frame = image_.frames[callee];
    // Tail calls count how deeply C++ is nested, and cleared frames are cleared in each round.
    if (callee == 0 || plan_.tail_calls() || (frame.zero && frame.bytes != 0)) return false;
    const LabelId by_helper =
        cold({.what = Cold::What::Helper, .slot = slot, .back = m_.new_label()});
    const LabelId back = cold_.back().back;
    m_.branch_imm(CondOp::Ne, Width::Dw, 4, 0, by_helper, false);
    m_.branch_imm(CondOp::Gt, Width::W, 1, kMaxLoopRounds, by_helper, false);
    m_.branch_mem_imm(CondOp::Ge, Width::W, env(&HelperEnv::depth),
                      static_cast<int32_t>(kMaxCallFrames), by_helper, false);
    const auto bytes = static_cast<int32_t>(image_.frames[current_].bytes);
    const LabelId round = m_.new_label(), done = m_.new_label();
    m_.mov_imm(kTmp0, slot);
    m_.mov_imm(kTmp1, callee);
    m_.call_label(open_gate());
    m_.push_loop(1, 3);
    if (bytes != 0) m_.alu_imm(AluOp::Sub, Width::Dw, false, kFramePointer, bytes);
    m_.bind(round);
    m_.loop_round(1, 2, done);
    charge_always(slot);
    m_.call_label(function_label(callee));
    m_.loop_next();
    m_.branch_imm(CondOp::Eq, Width::Dw, 0, 0, round, false);
    m_.bind(done);
    m_.pop_loop(0);
    if (bytes != 0) m_.alu_imm(AluOp::Add, Width::Dw, false, kFramePointer, bytes);
    m_.mov_imm(kTmp1, callee);
    m_.call_label(close_gate());
    m_.bind(back);
    return true;
}

}  // namespace skep::jit
