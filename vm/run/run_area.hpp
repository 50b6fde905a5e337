// A run area: all memory that one run needs besides its maps, preallocated per CPU slot and nesting
// depth: the environment, the saved registers of open frames, the guest stack and the region table.
//
// A run uses the area of its slot, which its thread holds, so nothing in it is shared.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>

#include "helpers/env.hpp"
#include "maps/relaxed_copy.hpp"
#include "vm/base/os.hpp"
#include "vm/isa/insn.hpp"
#include "vm/run/image.hpp"

namespace skep {

struct Op;

// Frames that may be open in one run: the program's own, and for every tail call that replaced a
// subprogram, those that were open below it (Linux allows 33 of them, 8 frames each).
inline constexpr unsigned kMaxOpenFrames = 64;
// Bytes of guest stack: eight full frames, and what tail calls from subprograms leave open below.
inline constexpr uint32_t kStackSize = 32 * 1024;
// Callbacks and tail calls out of subprograms recurse on the native stack, at most so deep; with
// about 1 KiB of native stack for interpreter and helper each, a run needs at most 64 KiB of it.
inline constexpr unsigned kMaxNesting = 48;
// Guest offset of the lowest byte of the stack, above a null page.
inline constexpr uint32_t kStackBase = 0x10000;
inline constexpr uint32_t kMaxRunMaps = 1024;
inline constexpr uint32_t kNoTrapSlot = ~uint32_t{0};

// What a local call saves.
struct Frame {
    const Op* return_to = nullptr;
    uint64_t saved[5] = {};  // r6..r10
    std::byte* bottom = nullptr;
};

struct RunArea : HelperEnv {
    std::byte* stack = nullptr;           // kStackSize bytes, guard pages around
    std::byte* frame_bottom = nullptr;    // lowest byte of the current frame
    uint64_t entry_r1 = 0, entry_r2 = 0;  // what every program of the run gets
    const Image* trap_image = nullptr;    // the program that trapped
    uint32_t regions_of = 0;              // program whose maps the region table holds, 0 = none
    uint32_t bound_id = 0;                // program that bind() was last called for, 0 = none
    FrameInfo first_frame;                // of that program
    Frame frames[kMaxOpenFrames];
    os::Pages stack_pages;
    std::array<Region, region::kFirstMap + kMaxRunMaps> table;

    static Result<std::unique_ptr<RunArea>> create();
    RunArea() = default;
    RunArea(const RunArea&) = delete;
    RunArea& operator=(const RunArea&) = delete;
    ~RunArea() { delete[] world_block; }

    // Opens a frame below the current one and returns its r10, or 0 (and a trap) when the stack is
    // used up.
    uint64_t open_frame(const FrameInfo& frame) noexcept;
    // Makes `bottom` the current frame's lowest byte again.
    void close_frame(std::byte* bottom) noexcept {
        frame_bottom = bottom;
        if (sandbox) set_stack_region();
    }
    // The stack as far as open frames reach is what the guest can address.
    void set_stack_region() noexcept {
        Region& region = table[region::kStack];
        region.base = frame_bottom;
        region.lo = kStackBase + static_cast<uint32_t>(frame_bottom - stack);
        region.readable = region.writable =
            static_cast<uint64_t>(stack + kStackSize - frame_bottom);
        update_row(region::kStack);
    }
    // Where a sandboxed program reaches allocated objects, if its image has any.
    void set_object_region() noexcept;
    // Binds the maps of `image`: HelperEnv::maps, image, and the map regions.
    void bind(const Image& new_image) noexcept;
    // True if bind(new_image) would change nothing.
    bool is_bound(const Image& new_image) const noexcept {
        return bound_id != 0 && bound_id == new_image.program_id;
    }
    // Records where the first trap of the run happened.
    void trapped_at(const Image& where, uint32_t slot) noexcept {
        if (trap_slot != kNoTrapSlot) return;
        trap_slot = slot;
        trap_image = &where;
    }
};

// What a run starts with. `ctx` is the host's struct for the context; type raw: a BytesContext.
struct RunStart {
    const Image* image = nullptr;
    const Code* code = nullptr;
    void* ctx = nullptr;
    PacketBuffer* packet = nullptr;
    uint64_t fuel = kDefaultFuel;
    const KernelWorld* world = nullptr;
};

// Finishes a tail call that the engine left in env.tail_target, and those that follow it, in place
// of the current frame. For tail calls out of subprograms: the result is the subprogram's.
CallResult finish_tail_calls(HelperEnv& env) noexcept;

// Opens and closes the frame of one Code::enter(): depth, nesting and stack. `r10` is 0 when one of
// them is used up (trap is set).
class EnteredFrame {
public:
    EnteredFrame(RunArea& area, const FrameInfo& frame) noexcept;
    ~EnteredFrame();
    EnteredFrame(const EnteredFrame&) = delete;
    EnteredFrame& operator=(const EnteredFrame&) = delete;
    uint64_t r10 = 0;

private:
    RunArea& area_;
    std::byte* bottom_;
    uint64_t stack_top_;
};

// What run_program() leaves to the library: contexts and regions of a sandbox and of type raw, the
// interpreter, and every end of a run but a plain one.
namespace run_detail {
void set_up_memory(RunArea& area, const Image& image) noexcept;
void set_first_stack_region(RunArea& area) noexcept;
uint64_t run_by_code(RunArea& area, const Image& image, const Code& code) noexcept;
uint64_t end_directly(RunArea& area, const Image& image, uint64_t r0) noexcept;
uint64_t end(RunArea& area, const Image& image, uint64_t r0) noexcept;

inline void reset(RunArea& area, const RunStart& start) noexcept {
    const uint64_t quantum = std::min(start.fuel, kFuelQuantum);
    area.fuel = static_cast<int64_t>(quantum);
    area.fuel_reserve = start.fuel - quantum;
    area.may_goto_left = kMayGotoMax;
    area.ctx = start.ctx;
    area.packet = start.packet;
    area.stack_top = 0;
    area.tail_target = nullptr;
    area.redirect = {};
    area.retval = 0;
    area.tail_calls = area.depth = area.ledger_count = area.scratch_used = 0;
    area.open_frames = area.nesting = area.object_count = 0;
    area.world = start.world;
    area.world_filled = false;
    area.trap = TrapCode::None;
    // Left so by all runs that do not trap.
    if (area.trap_slot != kNoTrapSlot) area.trap_slot = kNoTrapSlot;
    area.frame_bottom = area.stack + kStackSize;
}

// The frame of the program itself, in an area that has no other.
inline void open_first_frame(RunArea& area) noexcept {
    constexpr uint32_t kFew = 256;  // bytes, for which a call of memset() is not worth it
    const FrameInfo frame = area.first_frame;
    std::byte* const top = area.stack + kStackSize;
    area.frame_bottom = top - frame.bytes;
    area.depth = area.nesting = 1;
    if (frame.zero) {
        if (frame.bytes <= kFew) [[likely]]
            relaxed_zero(area.frame_bottom, frame.bytes);
        else
            std::memset(area.frame_bottom, 0, frame.bytes);
    }
    area.stack_host = area.stack_top = reinterpret_cast<uintptr_t>(top);
    if (area.sandbox) set_first_stack_region(area);
}
}  // namespace run_detail

// Runs until the program and everything that it tail-called has ended, and returns r0. The caller
// sets the area's services, interrupt, user and cpu. Leaves trap, trap_slot and trap_image in the
// area; everything else that the run held is released. Here, so that a run is no call deeper than
// it must be.
inline uint64_t run_program(RunArea& area, const RunStart& start) noexcept {
    const Image& image = *start.image;
    run_detail::reset(area, start);
    if (!area.is_bound(image)) [[unlikely]]
        area.bind(image);
    area.entry_r1 = reinterpret_cast<uintptr_t>(start.ctx);
    area.entry_r2 = 0;
    if (area.sandbox || image.raw) run_detail::set_up_memory(area, image);

    const Code::Entry entry = start.code->direct_entry();
    if (entry == nullptr) return run_detail::run_by_code(area, image, *start.code);
    run_detail::open_first_frame(area);
    const uint64_t r0 = entry(area.entry_r1, area.entry_r2, 0, 0, 0, &area);
    if (area.trap == TrapCode::None && area.tail_target == nullptr && area.ledger_count == 0)
        [[likely]]
        return r0;
    return run_detail::end_directly(area, image, r0);
}

}  // namespace skep
