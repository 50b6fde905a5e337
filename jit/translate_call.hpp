// The translator: helper calls whose effect is known when the code is made, and so need no trip
// through the helper: lookups in a map that is known, and the CPU's number.
#pragma once

#include <skep/helper.hpp>
#include <skep/map.hpp>

#include "jit/translator.hpp"

namespace skep::jit {

// Helpers by their Linux numbers (helpers/helpers.def).
inline constexpr uint32_t kMapLookupElem = 1, kGetSmpProcessorId = 8;

template <MacroAssembler M>
bool Translator<M>::emit_known_call(uint32_t slot) {
    if (sandbox() || image_.hardened) return false;
    const auto& helper = *reinterpret_cast<const Helper*>(at(slot).bound);
    if (helper.id == kGetSmpProcessorId) {
        m_.load(Width::W, false, 0, env(&HelperEnv::cpu));
        return true;
    }
    if (helper.id != kMapLookupElem || !image_.facts->complete) return false;
    const SlotFact& fact = image_.facts->slots[slot];
    if (fact.map < 0 || static_cast<size_t>(fact.map) >= image_.maps.size()) return false;
    const MapFastPath path = image_.maps[static_cast<size_t>(fact.map)]->fast_path();
    switch (path.kind) {
        case MapFastPath::Kind::None: return false;
        case MapFastPath::Kind::Function:
            // lookup(map, key, cpu): the first two are where the program put them.
            m_.load(Width::W, false, 3, env(&HelperEnv::cpu));
            m_.call_function(reinterpret_cast<Function>(path.lookup));
            return true;
        case MapFastPath::Kind::Array:
        case MapFastPath::Kind::PercpuArray: return emit_array_lookup(slot, path, fact);
    }
    return false;
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

}  // namespace skep::jit
