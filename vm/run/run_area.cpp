// Setting up a run and taking it down: regions, frames, fuel, tail-call chains.
#include "vm/run/run_area.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include <skep/context.hpp>

#include "maps/object_heap.hpp"
#include "vm/base/try.hpp"

namespace skep {

ContextWords context_words(const Program& program) noexcept {
    if (program.type->kind == ProgKind::RawTracepointWritable) return {.value = 0};
    const bool iterates = program.type->kind == ProgKind::Tracing &&
                          program.attach_type == static_cast<uint32_t>(AttachType::TraceIter);
    if (!iterates) return {};
    if (program.attach_target == "bpf_map") return {.map = 1};
    if (program.attach_target == "bpf_map_elem") return {.map = 1, .key = 2, .value = 3};
    if (program.attach_target == "sockmap") return {.map = 1, .key = 2};
    if (program.attach_target == "bpf_sk_storage_map") return {.map = 1, .value = 3};
    return {};
}

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
    const Image& from = running(env);
    const bool fits = target->image->program->type == from.program->type &&
                      (target->image->form == Form::Sandbox) == env.sandbox;
    // The buffers behind the context are as large as this program needs them.
    const bool enough = target->image->facts->read_buffer <= from.facts->read_buffer &&
                        target->image->facts->write_buffer <= from.facts->write_buffer;
    return fits && enough ? target : nullptr;
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

void RunArea::set_object_region() noexcept {
    Region& region = table[region::kHeap];
    region = {};
    if (heap == nullptr) return;
    region.base = heap->base();
    region.kind = static_cast<uint32_t>(RegionKind::Memory);
    region.readable = region.writable = heap->bytes();
}

void RunArea::bind(const Image& new_image) noexcept {
    bound_id = new_image.program_id;
    if (!new_image.frames.empty()) first_frame = new_image.frames[0];
    image = &new_image;
    maps = new_image.map_pointers;
    layout = new_image.program->type->ctx;
    attach_type = new_image.program->attach_type;
    packet_writable = new_image.program->type->packet_writable;
    sandbox = new_image.form == Form::Sandbox;
    region_count = region::kFirstMap + static_cast<uint32_t>(new_image.map_regions.size());
    heap = new_image.objects.get();
    object_types = new_image.object_types.get();
    if (sandbox) set_object_region();
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

uint64_t FunctionEntry::place() const noexcept { return uint64_t{image->program_id} << 32 | slot; }

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

// r1 and r2 at entry; in a sandbox the context's region too.
void set_context(RunArea& area, const Image& image) noexcept {
    area.entry_r2 = 0;
    if (!image.raw) {
        area.entry_r1 = reinterpret_cast<uintptr_t>(area.ctx);
    } else {
        const auto* bytes = static_cast<const BytesContext*>(area.ctx);
        if (bytes == nullptr || bytes->data == nullptr || bytes->size == 0) {
            area.entry_r1 = 0;
            if (area.sandbox) {
                area.table[region::kContext] = {};
                area.rows[region::kContext] = {};
            }
            return;
        }
        area.entry_r2 = bytes->size;
        area.entry_r1 = reinterpret_cast<uintptr_t>(bytes->data);
    }
    if (!area.sandbox) return;
    Region& region = area.table[region::kContext];
    if (image.raw) {
        region = {.base = reinterpret_cast<std::byte*>(area.entry_r1),
                  .lo = 0,
                  .kind = static_cast<uint32_t>(RegionKind::Memory),
                  .readable = area.entry_r2,
                  .writable = area.entry_r2};
        area.update_row(region::kContext);
    } else {
        region = {.kind = static_cast<uint32_t>(RegionKind::Context)};
        area.rows[region::kContext] = {};
    }
    area.entry_r1 = guest_address(region::kContext, 0);
}

// What the context leads to: the key and the value of a map's element.
void set_buffers(RunArea& area) noexcept {
    const auto* context = static_cast<const BytesContext*>(area.ctx);
    if (context == nullptr) return;
    const ContextWords& words = static_cast<const Image*>(area.image)->words;
    const auto open = [&](uint32_t number, std::byte* data, uint64_t size, bool writable) {
        if (data == nullptr) return;
        area.table[number] = {.base = data,
                              .lo = region::kBufferBase,
                              .kind = static_cast<uint32_t>(RegionKind::Memory),
                              .readable = size,
                              .writable = writable ? size : 0};
    };
    if (words.key >= 0) open(region::kKey, context->key, context->key_size, false);
    if (words.value >= 0) open(region::kBuffer, context->value, context->value_size, true);
}

// What a sandboxed run can address besides its maps.
void set_regions(RunArea& area) noexcept {
    // What an earlier run of the slot saw of inner maps is not this one's to see.
    for (; area.dynamic_count != 0; --area.dynamic_count)
        area.table[region::kFirstDynamic + area.dynamic_count - 1] = {};
    area.table[region::kScratch] = {};
    area.table[region::kObject] = {};
    area.table[region::kBuffer] = {};
    area.table[region::kKey] = {};
    if (static_cast<const Image*>(area.image)->words.any()) set_buffers(area);
    area.set_object_region();
    Region& packet = area.table[region::kPacket];
    packet = {};
    area.rows[region::kPacket] = {};
    if (area.packet == nullptr) return;
    packet.kind = static_cast<uint32_t>(RegionKind::Memory);
    area.packet_changed();
}

void close_first_frame(RunArea& area) noexcept {
    area.depth = area.nesting = 0;
    area.stack_top = 0;
    area.close_frame(area.stack + kStackSize);
}

// The trap is where it happened; what happened outside of any instruction is the first one's.
[[gnu::cold]] uint64_t settle_trap(RunArea& area, const Image& image) noexcept {
    if (area.trap_slot == kNoTrapSlot) {
        area.trap_slot = 0;
        area.trap_image = &image;
    }
    return 0;
}

// What bpf_throw() leads to, with all frames gone: the exception callback of the program that
// threw, whose result is the run's, or the cookie itself.
[[gnu::cold]] uint64_t catch_exception(RunArea& area, const Image& entered) noexcept {
    const Image& image = area.trap_slot == kNoTrapSlot ? entered : *area.trap_image;
    area.trap = TrapCode::None;
    area.trap_slot = kNoTrapSlot;
    area.tail_target = nullptr;
    const int32_t callback = image.program->exception_callback;
    if (callback < 0) return area.thrown;
    area.frame_bottom = area.stack + kStackSize;
    area.stack_top = 0;
    area.open_frames = area.nesting = area.depth = 0;
    area.bind(image);
    const uint64_t args[5] = {area.thrown};
    const CallResult result = image.code->enter(area, static_cast<uint32_t>(callback), args);
    area.release_all();
    return result.r0;
}

}  // namespace

void run_detail::set_up_memory(RunArea& area, const Image& image) noexcept {
    set_context(area, image);
    if (area.sandbox) set_regions(area);
}

void run_detail::set_first_stack_region(RunArea& area) noexcept {
    area.set_stack_region();
    area.stack_top = guest_address(region::kStack, kStackBase + kStackSize);
    area.stack_delta = area.stack_top - area.stack_host;
}

uint64_t run_detail::run_by_code(RunArea& area, const Image& image, const Code& code) noexcept {
    const uint64_t args[5] = {area.entry_r1, area.entry_r2};
    const CallResult result = code.enter(area, 0, args);
    const uint64_t r0 = area.tail_target != nullptr ? finish_tail_calls(area).r0 : result.r0;
    return end(area, image, r0);
}

uint64_t run_detail::end_directly(RunArea& area, const Image& image, uint64_t r0) noexcept {
    if (area.trap != TrapCode::None) {
        area.trapped_at(image, area.native_slot);
    } else if (area.tail_target != nullptr) {
        close_first_frame(area);
        r0 = finish_tail_calls(area).r0;
    }
    return end(area, image, r0);
}

uint64_t run_detail::end(RunArea& area, const Image& image, uint64_t r0) noexcept {
    if (area.ledger_count != 0) area.release_all();
    if (area.trap == TrapCode::None) [[likely]]
        return r0;
    uint64_t caught = 0;
    if (area.trap == TrapCode::Thrown) caught = catch_exception(area, image);
    return area.trap == TrapCode::None ? caught : settle_trap(area, image);
}

}  // namespace skep
