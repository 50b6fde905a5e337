// Setting up a run and taking it down: regions, frames, fuel, tail-call chains.
#include "vm/run/run_area.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include <skep/context.hpp>

#include "vm/base/try.hpp"

namespace skep {

namespace {

const Image& running(const HelperEnv& env) noexcept {
    return *static_cast<const Image*>(env.image);
}

const Callable* function_at(const HelperEnv& env, uint32_t slot) noexcept {
    for (const FunctionEntry& entry : running(env).functions) {
        if (entry.slot == slot) return &entry;
    }
    return nullptr;
}

// Program arrays of a Vm hold nothing but its loaded programs. One of another context or another
// form cannot go on in this run: the slot counts as empty.
const TailTarget* program_at(const HelperEnv& env, Map& map, uint32_t index) noexcept {
    const auto* target = static_cast<const TailTarget*>(map.executable(index));
    if (target == nullptr) return nullptr;
    const bool fits = target->image->program->type == running(env).program->type &&
                      (target->image->form == Form::Sandbox) == env.sandbox;
    return fits ? target : nullptr;
}

}  // namespace

Result<std::unique_ptr<RunArea>> RunArea::create() {
    std::unique_ptr<RunArea> area(new (std::nothrow) RunArea);
    if (area == nullptr) return skep::fail(ErrorCode::OutOfMemory, "no memory for a run area");
    SKEP_TRY(area->stack_pages, os::Pages::allocate(kStackSize, true));
    area->stack = area->stack_pages.data();
    area->regions = area->table.data();
    area->find_function = function_at;
    area->find_program = program_at;
    area->stack_memory = area->stack;
    area->stack_bytes = kStackSize;
    area->table[region::kStack].kind = static_cast<uint32_t>(RegionKind::Memory);
    area->table[region::kMapHandle].kind = static_cast<uint32_t>(RegionKind::Handle);
    area->table[region::kFunction].kind = static_cast<uint32_t>(RegionKind::Handle);
    return area;
}

uint64_t RunArea::open_frame(const FrameInfo& frame) noexcept {
    if (frame_bottom - stack < static_cast<ptrdiff_t>(frame.bytes)) {
        fail(TrapCode::CallDepth);
        return 0;
    }
    const std::byte* top = frame_bottom;
    frame_bottom -= frame.bytes;
    if (frame.zero) std::memset(frame_bottom, 0, frame.bytes);
    if (!sandbox) {
        stack_top = reinterpret_cast<uintptr_t>(top);
    } else {
        set_stack_region();
        stack_top = guest_address(region::kStack, kStackBase + static_cast<uint32_t>(top - stack));
    }
    return stack_top;
}

void RunArea::bind(const Image& new_image) noexcept {
    image = &new_image;
    maps = new_image.map_pointers;
    layout = new_image.program->type->ctx;
    attach_type = new_image.program->attach_type;
    sandbox = new_image.form == Form::Sandbox;
    region_count = region::kFirstMap + static_cast<uint32_t>(new_image.map_regions.size());
    if (!sandbox || (regions_of != 0 && regions_of == new_image.program_id)) return;
    std::copy(new_image.map_regions.begin(), new_image.map_regions.end(),
              table.begin() + region::kFirstMap);
    regions_of = new_image.program_id;
}

EnteredFrame::EnteredFrame(RunArea& area, const FrameInfo& frame) noexcept
    : area_(area), bottom_(area.frame_bottom), stack_top_(area.stack_top) {
    ++area.depth;
    ++area.nesting;
    if (area.depth > kMaxCallFrames || area.nesting > kMaxNesting) {
        area.fail(TrapCode::CallDepth);
        return;
    }
    r10 = area.open_frame(frame);
}

EnteredFrame::~EnteredFrame() {
    area_.close_frame(bottom_);
    area_.stack_top = stack_top_;
    --area_.nesting;
    --area_.depth;
}

CallResult FunctionEntry::call(HelperEnv& env, const uint64_t (&args)[5]) const noexcept {
    return image->code->enter(env, subprogram, args);
}

CallResult finish_tail_calls(HelperEnv& env) noexcept {
    auto& area = static_cast<RunArea&>(env);
    const auto* caller = static_cast<const Image*>(area.image);
    const uint32_t depth = area.depth;
    CallResult result;
    while (area.tail_target != nullptr && area.trap == TrapCode::None) {
        const TailTarget target = *area.tail_target;
        area.tail_target = nullptr;
        area.bind(*target.image);
        area.depth = 0;
        // r1 is the context, as at the program's own entry; the helper refused other types.
        const uint64_t args[5] = {area.entry_r1, area.entry_r2};
        result = target.code->enter(area, 0, args);
    }
    area.depth = depth;
    area.bind(*caller);
    result.trapped = area.trap != TrapCode::None;
    return result;
}

namespace {

// r1 and r2 at entry, and the context's region.
void set_context(RunArea& area, const RunStart& start) noexcept {
    const ProgType& type = *start.image->program->type;
    Region& region = area.table[region::kContext];
    region = {};
    area.entry_r2 = 0;
    if (type.kind == ProgKind::Raw) {
        const auto* bytes = static_cast<const BytesContext*>(start.ctx);
        if (bytes == nullptr || bytes->data == nullptr || bytes->size == 0) {
            area.entry_r1 = 0;
            return;
        }
        area.entry_r2 = bytes->size;
        area.entry_r1 = reinterpret_cast<uintptr_t>(bytes->data);
        if (!area.sandbox) return;
        region = {.base = bytes->data,
                  .lo = 0,
                  .kind = static_cast<uint32_t>(RegionKind::Memory),
                  .readable = bytes->size,
                  .writable = bytes->size};
    } else {
        area.entry_r1 = reinterpret_cast<uintptr_t>(start.ctx);
        region.kind = static_cast<uint32_t>(RegionKind::Context);
    }
    if (area.sandbox) area.entry_r1 = guest_address(region::kContext, 0);
}

void set_packet(RunArea& area, const ProgType& type) noexcept {
    Region& region = area.table[region::kPacket];
    region = {};
    if (area.packet == nullptr) return;
    region.kind = static_cast<uint32_t>(RegionKind::Memory);
    area.packet_writable = type.packet_writable;
    area.packet_changed();
}

}  // namespace

uint64_t run_program(RunArea& area, const RunStart& start) noexcept {
    const uint64_t quantum = std::min(start.fuel, kFuelQuantum);
    area.fuel = static_cast<int64_t>(quantum);
    area.fuel_reserve = start.fuel - quantum;
    area.ctx = start.ctx;
    area.packet = start.packet;
    area.frame_bottom = area.stack + kStackSize;
    area.stack_top = 0;
    area.open_frames = area.nesting = area.depth = area.tail_calls = 0;
    area.trap = TrapCode::None;
    area.trap_slot = kNoTrapSlot;
    area.trap_image = start.image;
    area.tail_target = nullptr;
    area.may_goto_left = kMayGotoMax;
    area.redirect = {};
    area.ledger_count = 0;
    area.scratch_used = 0;
    area.retval = 0;
    // What an earlier run of the slot saw of inner maps is not this one's to see.
    for (; area.dynamic_count != 0; --area.dynamic_count)
        area.table[region::kFirstDynamic + area.dynamic_count - 1] = {};
    area.table[region::kScratch] = {};
    area.table[region::kObject] = {};
    area.bind(*start.image);
    set_context(area, start);
    if (area.sandbox) set_packet(area, *start.image->program->type);

    const uint64_t args[5] = {area.entry_r1, area.entry_r2};
    CallResult result = start.code->enter(area, 0, args);
    if (area.tail_target != nullptr) result = finish_tail_calls(area);
    area.release_all();
    if (area.trap != TrapCode::None) {
        if (area.trap_slot == kNoTrapSlot) area.trap_slot = 0;
        return 0;
    }
    return result.r0;
}

}  // namespace skep
