// kptrs: objects that map values and other objects keep.
#include "helpers/impl.hpp"
#include "helpers/objects.hpp"

namespace skep::helper {

// An object that the program allocated, or one of the kernel's that it acquired; or null.
BtfResultOrNull<ObjectKind::Kptr> kptr_xchg(HelperEnv& env, KptrSlot slot,
                                            ReleasedKptrOrNull value) noexcept {
    auto* object = static_cast<std::byte*>(value.object);
    ObjectHeap* heap = env.heap;
    if (heap == nullptr) {
        if (object != nullptr) env.fail(TrapCode::Unsupported);
        return {nullptr};
    }
    if (reinterpret_cast<uintptr_t>(slot.field) % sizeof(uint64_t) != 0 ||
        (object != nullptr && !objects::give_up(env, object))) {
        env.fail(TrapCode::BadArgument);
        return {nullptr};
    }
    std::byte* before = nullptr;
    if (!heap->exchange(slot.field, env.sandbox, object, before)) {
        heap->release(object);
        env.fail(TrapCode::OutOfMemory);
        return {nullptr};
    }
    if (before != nullptr && !objects::hold(env, before)) before = nullptr;
    return {before};
}

namespace {

// A CPU's copy of a per-CPU object. Every CPU sees the one copy of a kernel variable that there is.
void* copy_of(HelperEnv& env, void* object, uint32_t cpu) noexcept {
    auto* base = static_cast<std::byte*>(object);
    ObjectHeap* heap = env.heap;
    if (heap == nullptr || !heap->contains(base)) return cpu < cpu_slots() ? object : nullptr;
    const uint32_t stride = heap->copy_stride(base);
    if (stride == 0 || heap->object_of(base) != base) {
        env.fail(TrapCode::Unsupported);
        return nullptr;
    }
    return cpu < objects::copies() ? base + uint64_t{stride} * cpu : nullptr;
}

}  // namespace

PercpuResultOrNull per_cpu_ptr(HelperEnv& env, PercpuBtf object, uint32_t cpu) noexcept {
    return {copy_of(env, object.object, cpu)};
}
PercpuResult this_cpu_ptr(HelperEnv& env, PercpuBtf object) noexcept {
    if (env.heap == nullptr || !env.heap->contains(object.object)) return {object.object};
    return {copy_of(env, object.object, env.cpu)};
}

}  // namespace skep::helper
