// The abstract state of a run: frames with registers and stack, and what the run holds.
//
// Frames and stack chunks are shared between states and copied when one of the sharers writes
// (own_frame, own_chunk), so copying a state costs a few words. One analysis uses one Arena from
// one thread; reference counts are plain integers.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "verifier/cell.hpp"
#include "vm/isa/insn.hpp"

namespace skep::verifier {

// What each byte of the stack holds.
enum class Tag : uint8_t {
    Invalid,  // nothing was written
    Misc,     // some number
    Zero,     // the number 0
    Spill,    // part of the value in the granule's cell
    Dynptr,
    Iterator,
    Irq,
};

inline constexpr unsigned kGranule = 4;      // bytes; the unit of spilled cells
inline constexpr unsigned kChunkBytes = 64;  // the unit of sharing
inline constexpr unsigned kChunkGranules = kChunkBytes / kGranule;
inline constexpr unsigned kChunks = kStackBytes / kChunkBytes;
inline constexpr unsigned kMaxFrames = kMaxCallFrames;

struct StackChunk {
    uint32_t refs = 0;
    std::array<Tag, kChunkBytes> tags{};
    // Bytes of the value in each granule's cell: 0 = none, 1, 2, 4, or 8 (then it covers the next
    // granule too).
    std::array<uint8_t, kChunkGranules> sizes{};
    std::array<Cell, kChunkGranules> cells{};
};

enum class FrameRole : uint8_t { Call, Callback, AsyncCallback, ExceptionCallback };

struct Frame {
    uint32_t refs = 0;
    uint32_t call_slot = 0;  // of the caller; the entry's is 0
    uint32_t subprogram = 0;
    uint32_t held_at_entry = 0;   // holds of the run when the frame was entered
    uint32_t callback_depth = 0;  // rounds of the callback that this frame's call runs
    FrameRole role = FrameRole::Call;
    uint8_t callback_kind = 0;    // engine.hpp: CallbackKind
    bool return_checked = false;  // callbacks: r0 must lie in [return_min, return_max]
    int32_t return_min = 0, return_max = 0;
    uint32_t cleaned_at = ~0u;  // slot for which dead cells were cleared last
    std::array<Cell, kRegisters> regs{};
    std::array<StackChunk*, kChunks> chunks{};  // chunk 0 is next to the frame pointer
};

// Something that must be given back: a socket, a ring-buffer record, a lock ...
enum class HoldKind : uint8_t { Reference, SpinLock, ResLock, Irq };
struct Hold {
    HoldKind kind{};
    uint32_t id = 0;
    uint32_t slot = 0;     // where it was acquired
    uint32_t lock_id = 0;  // locks: identity of the object that contains the lock
    uint16_t lock_object = 0;
    CellType lock_type = CellType::NotInit;
    bool operator==(const Hold&) const = default;
};

// What a comparison of two registers taught, for when only one of them is known better later:
// (value of link x) + x_off + (strict ? 1 : 0) <= (value of link y) + y_off, in unsigned numbers
// that do not wrap at the 1. Links name values, which never change, so an order holds for good.
struct Order {
    uint32_t x = 0, y = 0;
    int32_t x_off = 0, y_off = 0;
    bool strict = false;
    bool to_length = false;  // the greater side is the packet's length (flag::kPacketLength)
    uint32_t node = 0;       // provenance: whether a proof rests on the order
};
inline constexpr size_t kMaxOrders = 8;

// Allocates frames and chunks, and counts what is in use.
class Arena {
public:
    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena();

    Frame* make_frame();
    Frame* copy_frame(const Frame& from);
    StackChunk* make_chunk();
    StackChunk* copy_chunk(const StackChunk& from);
    void release(Frame* frame);
    void release(StackChunk* chunk);
    uint64_t bytes() const { return bytes_; }

private:
    std::vector<Frame*> free_frames_, all_frames_;
    std::vector<StackChunk*> free_chunks_, all_chunks_;
    uint64_t bytes_ = 0;
};

class State {
public:
    explicit State(Arena& arena) : arena_(&arena) {}
    State(const State& other);
    State(State&& other) noexcept;
    State& operator=(State other) noexcept;
    ~State();
    void swap(State& other) noexcept;

    // Frames: 0 is the entry's, depth() - 1 the one that runs.
    unsigned depth() const { return depth_; }
    const Frame& frame(unsigned i) const { return *frames_[i]; }
    const Frame& top() const { return *frames_[depth_ - 1]; }
    Frame& own_frame(unsigned i) {
        if (frames_[i]->refs > 1) unshare(i);
        return *frames_[i];
    }
    Frame& own_top() { return own_frame(depth_ - 1); }
    Frame& push_frame();
    void pop_frame();

    const Cell& reg(unsigned r) const { return top().regs[r]; }

    // The chunk that holds byte -(64*i+64) .. -(64*i+1) of the frame; null if nothing was written.
    const StackChunk* chunk(unsigned frame_index, unsigned i) const {
        return frames_[frame_index]->chunks[i];
    }
    StackChunk& own_chunk(unsigned frame_index, unsigned i);

    uint32_t slot = 0;  // next instruction
    std::vector<Hold> holds;
    std::vector<Order> orders;  // at most kMaxOrders, oldest first
    uint32_t rcu_depth = 0;
    uint32_t preempt_depth = 0;
    uint32_t may_goto_depth = 0;
    uint32_t callback_unroll_depth = 0;
    uint32_t async_entries = 0;
    bool in_sleepable = false;
    bool packet_may_change = false;

    // The spin lock that was taken last, of either kind.
    const Hold* find_lock() const {
        for (size_t i = holds.size(); i-- > 0;)
            if (holds[i].kind == HoldKind::SpinLock || holds[i].kind == HoldKind::ResLock)
                return &holds[i];
        return nullptr;
    }
    bool holds_reference(uint32_t id) const {
        for (const Hold& h : holds)
            if (h.kind == HoldKind::Reference && h.id == id) return true;
        return false;
    }

private:
    void unshare(unsigned i);

    Arena* arena_;
    std::array<Frame*, kMaxFrames> frames_{};
    unsigned depth_ = 0;
};

// --- bytes of a frame's stack
// ---------------------------------------------------------------------- `at` counts from the frame
// pointer downwards: byte off (-512 .. -1) is at -off - 1. So a value of n bytes at `off` occupies
// at = -off-1 (its lowest byte) down to -off-n.
struct StackByte {
    unsigned chunk;
    unsigned byte;  // within the chunk, ascending addresses
};
constexpr StackByte stack_byte(int off) {
    const unsigned up = static_cast<unsigned>(off + static_cast<int>(kStackBytes));
    return {kChunks - 1 - up / kChunkBytes, up % kChunkBytes};
}

}  // namespace skep::verifier
