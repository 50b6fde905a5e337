#include "jit/runtime.hpp"

#include <skep/helper.hpp>

#include "vm/run/arena_access.hpp"
#include "vm/run/engine_calls.hpp"
#include "vm/run/guest_memory.hpp"
#include "vm/run/run_area.hpp"

namespace skep::jit {

namespace {

RunArea& area_of(HelperEnv* env) { return static_cast<RunArea&>(*env); }

const ImageSlot& slot_of(const HelperEnv* env, uint64_t slot) {
    return static_cast<const Image*>(env->image)->slots[slot];
}

uint64_t read_host(const std::byte* host, const Insn& i) {
    switch (i.width) {
        case Width::B:
            return i.sign ? static_cast<uint64_t>(int64_t{guest::load<int8_t>(host)})
                          : guest::load<uint8_t>(host);
        case Width::H:
            return i.sign ? static_cast<uint64_t>(int64_t{guest::load<int16_t>(host)})
                          : guest::load<uint16_t>(host);
        case Width::W:
            return i.sign ? static_cast<uint64_t>(int64_t{guest::load<int32_t>(host)})
                          : guest::load<uint32_t>(host);
        case Width::Dw: return guest::load<uint64_t>(host);
    }
    return 0;
}

void write_host(std::byte* host, Width width, uint64_t value) {
    switch (width) {
        case Width::B: guest::store<uint8_t>(host, static_cast<uint8_t>(value)); break;
        case Width::H: guest::store<uint16_t>(host, static_cast<uint16_t>(value)); break;
        case Width::W: guest::store<uint32_t>(host, static_cast<uint32_t>(value)); break;
        case Width::Dw: guest::store<uint64_t>(host, value); break;
    }
}

uint64_t access_load(RunArea& area, uint64_t address, const Insn& i) {
    if (!area.sandbox) return load_context(area, address - area.entry_r1, i).value;
    const std::byte* host =
        guest::translate<false>(area.regions, area.region_count, address, bytes_of(i.width));
    return host != nullptr ? read_host(host, i) : load_slowly(area, address, i).value;
}

void access_store(RunArea& area, uint64_t address, const Insn& i, uint64_t value) {
    if (!area.sandbox) {
        store_context(area, address - area.entry_r1, i, value);
        return;
    }
    std::byte* host =
        guest::translate<true>(area.regions, area.region_count, address, bytes_of(i.width));
    if (host != nullptr)
        write_host(host, i.width, value);
    else
        store_slowly(area, address, i, value);
}

// In front of a sandboxed helper call: every argument is checked against the prototype.
uint64_t sandboxed_call(uint64_t r1, uint64_t r2, uint64_t r3, uint64_t r4, uint64_t r5,
                        HelperEnv* env) noexcept {
    const uint64_t registers[6] = {0, r1, r2, r3, r4, r5};
    const ImageSlot& slot = slot_of(env, env->native_slot);
    return call_helper<true>(*reinterpret_cast<const Helper*>(slot.bound), registers, area_of(env));
}

}  // namespace

uint64_t runtime_access(uint64_t address, uint64_t slot, uint64_t value, HelperEnv* env) noexcept {
    RunArea& area = area_of(env);
    area.native_slot = static_cast<uint32_t>(slot);
    const Insn& i = slot_of(env, slot).insn;
    const ImageSlot& image_slot = slot_of(env, slot);
    if (i.kind == Kind::Atomic && image_slot.access == Access::ContextDynamic &&
        image_slot.memory == Memory::Arena)
        return arena_atomic(*static_cast<const Image*>(env->image)->arena, address, i, value,
                            env->native_r0);
    switch (i.kind) {
        case Kind::Load: return access_load(area, address, i);
        case Kind::Store: access_store(area, address, i, value); return 0;
        default:
            // An atomic access that the inline check refused: to the context, or out of bounds.
            if (area.sandbox)
                fail_access(area, address, bytes_of(i.width));
            else
                area.fail(TrapCode::BadContextAccess);
            return 0;
    }
}

uint64_t runtime_packet_load(uint64_t index, uint64_t slot, uint64_t, HelperEnv* env) noexcept {
    env->native_slot = static_cast<uint32_t>(slot);
    const LoadedValue loaded = load_packet(area_of(env), index, slot_of(env, slot).insn);
    env->native_ended = loaded.ok ? 0 : 1;
    return loaded.value;
}

uint64_t runtime_refuel(uint64_t, uint64_t, uint64_t, HelperEnv* env) noexcept {
    return env->refill() ? 1 : 0;
}

uint64_t runtime_open_frame(uint64_t slot, uint64_t callee, uint64_t, HelperEnv* env) noexcept {
    RunArea& area = area_of(env);
    area.native_slot = static_cast<uint32_t>(slot);
    if (area.depth >= kMaxCallFrames) {
        area.fail(TrapCode::CallDepth);
        return 0;
    }
    const Image& image = *static_cast<const Image*>(area.image);
    if (area.open_frame(image.frames[callee]) != 0) ++area.depth;
    return 0;
}

uint64_t runtime_close_frame(uint64_t, uint64_t callee, uint64_t, HelperEnv* env) noexcept {
    RunArea& area = area_of(env);
    const Image& image = *static_cast<const Image*>(area.image);
    area.close_frame(area.frame_bottom + image.frames[callee].bytes);
    --area.depth;
    return 0;
}

uint64_t runtime_tail_call(uint64_t caller, uint64_t, uint64_t, uint64_t, uint64_t,
                           HelperEnv* env) noexcept {
    RunArea& area = area_of(env);
    const Image& image = *static_cast<const Image*>(area.image);
    std::byte* const bottom = area.frame_bottom;
    // The subprogram's own frame is given up; whoever closes it finds it as it was.
    area.close_frame(bottom + image.frames[caller].bytes);
    const uint64_t r0 = finish_tail_calls(*env).r0;
    area.close_frame(bottom);
    return r0;
}

Function call_target(const ImageSlot& slot, Form form) noexcept {
    if (form == Form::Sandbox) return reinterpret_cast<Function>(&sandboxed_call);
    return reinterpret_cast<Function>(reinterpret_cast<const Helper*>(slot.bound)->thunk);
}

bool is_tail_call(const ImageSlot& slot) noexcept {
    return slot.insn.kind == Kind::Call && slot.insn.pseudo_call() == PseudoCall::Helper &&
           slot.trap == TrapCode::None &&
           (reinterpret_cast<const Helper*>(slot.bound)->flags & helper_flag::kTailCall) != 0;
}

}  // namespace skep::jit
