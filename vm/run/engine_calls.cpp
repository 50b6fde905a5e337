// Out-of-line parts of the engines: see the header.
#include "vm/run/engine_calls.hpp"

#include <algorithm>
#include <cstring>

#include <skep/context.hpp>
#include <skep/helper.hpp>

#include "helpers/readable.hpp"
#include "helpers/sockets.hpp"
#include "maps/object_heap.hpp"
#include "vm/isa/semantics.hpp"
#include "vm/prog/ctx_layouts.hpp"
#include "vm/run/arena_access.hpp"
#include "vm/run/guest_memory.hpp"
#include "vm/run/threaded.hpp"

namespace skep {

namespace {

using region::kBufferBase;

const Program& running(const RunArea& area) {
    return *static_cast<const Image*>(area.image)->program;
}

const ArenaMap& arena_of_run(const RunArea& area) {
    return *static_cast<const Image*>(area.image)->arena;
}

bool is_packet_pointer(CtxFieldKind kind) {
    return kind == CtxFieldKind::PacketStart || kind == CtxFieldKind::PacketEnd ||
           kind == CtxFieldKind::PacketMeta;
}

bool is_buffer(CtxFieldKind kind) {
    return kind == CtxFieldKind::BufferPtr || kind == CtxFieldKind::BufferEndPtr ||
           kind == CtxFieldKind::FlowKeysPtr;
}

// Memory that the context points to, in a region of its own: a socket option, or flow keys.
bool open_buffer(RunArea& area) {
    std::byte* begin = nullptr;
    const std::byte* end = nullptr;
    if (area.layout == &kSockoptCtx) {
        const auto& option = *static_cast<const SockoptContext*>(area.ctx);
        begin = option.optval;
        end = option.optval_end;
    } else if (area.layout == &kFlowDissectorCtx) {
        FlowKeys* keys = static_cast<SkbContext*>(area.ctx)->flow_keys;
        begin = reinterpret_cast<std::byte*>(keys);
        end = begin + sizeof *keys;
    }
    if (begin == nullptr || end < begin) return false;
    const auto size = static_cast<uint64_t>(end - begin);
    area.table[region::kBuffer] = {.base = begin,
                                   .lo = kBufferBase,
                                   .kind = static_cast<uint32_t>(RegionKind::Memory),
                                   .readable = size,
                                   .writable = size};
    return true;
}

// Fields that the verifier takes for sockets that are always there.
bool must_be_there(const RunArea& area, const CtxField& field) {
    return field.kind == CtxFieldKind::SocketPtr && area.layout != &kSockOpsCtx &&
           area.layout != &kSkLookupCtx;
}

// Pointer fields as register values. Verified programs get the pointer. In a sandbox, pointers into
// the packet and to other memory become guest addresses, sockets their copies' addresses, and null
// stays null; objects of the kernel's are addresses already.
bool resolve_pointer(void* self, const CtxField& field, const void* pointer, uint64_t& out) {
    auto& area = *static_cast<RunArea*>(self);
    out = reinterpret_cast<uintptr_t>(pointer);
    if (pointer == nullptr) return area.sandbox || !must_be_there(area, field);
    if (!area.sandbox || field.kind == CtxFieldKind::BtfPtr) return true;
    if (field.kind == CtxFieldKind::SocketPtr || field.kind == CtxFieldKind::SockCommonPtr) {
        auto* socket = const_cast<SockContext*>(static_cast<const SockContext*>(pointer));
        if (!add_socket(area, socket)) return false;
        out = object_address(area, socket);
        return true;
    }
    if (is_buffer(field.kind)) {
        if (!open_buffer(area)) return false;
        const auto offset =
            static_cast<const std::byte*>(pointer) - area.table[region::kBuffer].base;
        out = guest_address(region::kBuffer, kBufferBase + static_cast<uint32_t>(offset));
        return true;
    }
    if (!is_packet_pointer(field.kind) || area.packet == nullptr) return false;
    const auto offset = static_cast<const std::byte*>(pointer) - area.packet->head;
    out = guest_address(region::kPacket, region::kPacketBase + static_cast<uint32_t>(offset));
    return true;
}

bool is_context(const RunArea& area, uint64_t address) {
    return address >> 32 == region::kContext &&
           area.table[region::kContext].kind == static_cast<uint32_t>(RegionKind::Context);
}

// What the access of `insn`, an instruction of the running image, may lead to.
Memory memory_of(const RunArea& area, const Insn& insn) {
    const auto& slots = static_cast<const Image*>(area.image)->slots;
    const auto distance =
        reinterpret_cast<uintptr_t>(&insn) - reinterpret_cast<uintptr_t>(&slots.front().insn);
    const size_t index = distance / sizeof(ImageSlot);
    return index < slots.size() ? slots[index].memory : Memory::Context;
}

uint64_t load_host(const void* at, Width width) {
    switch (width) {
        case Width::B: return guest::load<uint8_t>(at);
        case Width::H: return guest::load<uint16_t>(at);
        case Width::W: return guest::load<uint32_t>(at);
        case Width::Dw: return guest::load<uint64_t>(at);
    }
    return 0;
}

void store_host(void* at, Width width, uint64_t value) {
    switch (width) {
        case Width::B: guest::store(at, static_cast<uint8_t>(value)); break;
        case Width::H: guest::store(at, static_cast<uint16_t>(value)); break;
        case Width::W: guest::store(at, static_cast<uint32_t>(value)); break;
        case Width::Dw: guest::store(at, value); break;
    }
}

// True for a proven access whose instruction also reaches the context, but not this time.
bool is_plain(const RunArea& area, uint64_t offset, const Insn& insn) {
    return !area.sandbox && offset >= area.layout->size && memory_of(area, insn) == Memory::Unknown;
}

// What a verified program finds in a kptr: an object that the field owns, or one that it named
// without owning it, which may be gone.
uint64_t load_kptr(const RunArea& area, uint64_t address) {
    ObjectHeap* heap = area.heap;
    if (heap == nullptr) return 0;
    auto* slot = reinterpret_cast<std::byte*>(address);
    if (const std::byte* held = heap->held(slot, false)) return reinterpret_cast<uintptr_t>(held);
    const auto shown = guest::load<uint64_t>(slot);
    if (is_kernel_address(shown)) return shown;
    const auto offset = static_cast<uint32_t>(shown);
    if (shown >> 32 != ObjectHeap::kGuestRegion || offset >= heap->bytes()) return 0;
    return reinterpret_cast<uintptr_t>(heap->object_of(heap->base() + offset));
}

// Only unowned kptrs are stored to.
void store_kptr(const RunArea& area, uint64_t address, uint64_t value) {
    const auto* object = reinterpret_cast<const std::byte*>(value);
    uint64_t shown = 0;
    if (area.heap != nullptr && (area.heap->contains(object) || is_kernel_address(value)))
        shown = area.heap->shown(object);
    guest::store(reinterpret_cast<void*>(address), shown);
}

uint64_t extended(uint64_t value, const Insn& insn) {
    return insn.sign ? sign_extend(value, bytes_of(insn.width) * 8) : value;
}

// Loads through typed kernel pointers read what was published, and zero elsewhere, null included.
// Which loads those are a sandbox does not know: the address says it, in programs that can have
// such pointers.
bool is_kernel_object(const RunArea& area, uint64_t address) {
    constexpr uint64_t kNullPage = 4096;
    return area.world != nullptr &&
           (is_kernel_address(address) || is_map_object(address) || address < kNullPage);
}

}  // namespace

LoadedValue load_context(RunArea& area, uint64_t offset, const Insn& insn) noexcept {
    uint64_t value = 0;
    const Program& program = running(area);
    if (memory_of(area, insn) == Memory::Arena)
        return {arena_load(arena_of_run(area), area.entry_r1 + offset, insn), true};
    if (!area.sandbox && memory_of(area, insn) == Memory::Kptr)
        return {load_kptr(area, area.entry_r1 + offset), true};
    if (is_plain(area, offset, insn)) {
        const auto* at = reinterpret_cast<const void*>(area.entry_r1 + offset);
        return {extended(load_host(at, insn.width), insn), true};
    }
    if (!area.sandbox && memory_of(area, insn) == Memory::Btf) {
        // A kernel object: what the host published of it; the rest reads as zero, as the kernel's
        // own faulting loads do.
        value = load_kernel_object(area, area.entry_r1 + offset, bytes_of(insn.width));
        return {extended(value, insn), true};
    }
    if (area.ctx == nullptr || !ctx_load(*area.layout, area.ctx, offset, bytes_of(insn.width),
                                         value, {resolve_pointer, &area}, program.attach_type)) {
        area.fail(TrapCode::BadContextAccess);
        return {};
    }
    return {extended(value, insn), true};
}

bool store_context(RunArea& area, uint64_t offset, const Insn& insn, uint64_t value) noexcept {
    const Program& program = running(area);
    if (memory_of(area, insn) == Memory::Arena) {
        arena_store(arena_of_run(area), area.entry_r1 + offset, insn, value);
        return true;
    }
    if (!area.sandbox && memory_of(area, insn) == Memory::Kptr) {
        store_kptr(area, area.entry_r1 + offset, value);
        return true;
    }
    if (is_plain(area, offset, insn)) {
        store_host(reinterpret_cast<void*>(area.entry_r1 + offset), insn.width, value);
        return true;
    }
    if (!area.sandbox && memory_of(area, insn) == Memory::Btf) {
        if (store_kernel_object(area, area.entry_r1 + offset, value, bytes_of(insn.width)))
            return true;
        area.fail(TrapCode::OutOfBounds);
        return false;
    }
    if (area.ctx != nullptr &&
        ctx_store(*area.layout, area.ctx, offset, bytes_of(insn.width), value, program.attach_type))
        return true;
    area.fail(TrapCode::BadContextAccess);
    return false;
}

LoadedValue load_slowly(RunArea& area, uint64_t address, const Insn& insn) noexcept {
    if (is_context(area, address)) return load_context(area, static_cast<uint32_t>(address), insn);
    if (is_kernel_object(area, address)) {
        const uint64_t value = load_kernel_object(area, address, bytes_of(insn.width));
        return {extended(value, insn), true};
    }
    fail_access(area, address, bytes_of(insn.width));
    return {};
}

bool store_slowly(RunArea& area, uint64_t address, const Insn& insn, uint64_t value) noexcept {
    if (is_context(area, address))
        return store_context(area, static_cast<uint32_t>(address), insn, value);
    if (is_kernel_address(address) &&
        store_kernel_object(area, address, value, bytes_of(insn.width)))
        return true;
    fail_access(area, address, bytes_of(insn.width));
    return false;
}

void fail_access(RunArea& area, uint64_t address, unsigned size) noexcept {
    if (is_context(area, address)) {
        area.fail(TrapCode::BadContextAccess);
        return;
    }
    const bool readable =
        guest::translate<false>(area.regions, area.region_count, address, size) != nullptr;
    area.fail(readable ? TrapCode::ReadOnly : TrapCode::OutOfBounds);
}

LoadedValue load_packet(RunArea& area, uint64_t index, const Insn& insn) noexcept {
    if (area.packet == nullptr) return {};
    const PacketBuffer& packet = *area.packet;
    const auto size = static_cast<uint64_t>(packet.data_end - packet.data);
    // As in the kernel, index and displacement are 32-bit; what is negative is outside.
    const int64_t offset = int64_t{static_cast<int32_t>(index)} + insn.imm;
    const unsigned width = bytes_of(insn.width);
    if (offset < 0 || static_cast<uint64_t>(offset) > size || size - offset < width) return {};
    const std::byte* at = packet.data + offset;
    const uint64_t value = load_host(at, insn.width);
    if (insn.width == Width::B) return {value, true};
    return {eval_endian(EndianOp::ToBe, value, width * 8), true};
}

CallResult tail_call_from_subprogram(RunArea& area) noexcept {
    // The subprogram's own frame is given up; leave_local() sets the same bottom again.
    area.close_frame(area.frames[area.open_frames - 1].bottom);
    return finish_tail_calls(area);
}

uint64_t enter_local(RunArea& area, const Op* op, const uint64_t* registers) noexcept {
    if (area.depth >= kMaxCallFrames || area.open_frames >= kMaxOpenFrames) {
        area.fail(TrapCode::CallDepth);
        return 0;
    }
    Frame& frame = area.frames[area.open_frames];
    frame.return_to = op + 1;
    std::copy(registers + 6, registers + 11, frame.saved);
    frame.bottom = area.frame_bottom;
    const uint64_t r10 = area.open_frame(*op->frame);
    if (r10 == 0) return 0;
    ++area.open_frames;
    ++area.depth;
    return r10;
}

const Op* leave_local(RunArea& area, uint64_t* registers) noexcept {
    const Frame& frame = area.frames[--area.open_frames];
    --area.depth;
    std::copy(frame.saved, frame.saved + 5, registers + 6);
    area.close_frame(frame.bottom);
    area.stack_top = frame.saved[4];
    return frame.return_to;
}

}  // namespace skep
