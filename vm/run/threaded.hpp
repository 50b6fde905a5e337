// Threaded code: the interpreter's own form of an image. One Op per instruction or fused group,
// with the address of its handler, scaled register numbers and resolved jump targets, so that the
// inner loop decodes nothing.
//
// The accumulator: handlers leave the value that they put into their destination in a local, too.
// Within a straight run of code the builder knows which register that is, and picks the handler
// that takes its operand from there, so that chains of arithmetic do not wait for stores to be
// forwarded to loads.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <skep/error.hpp>

#include "vm/run/image.hpp"

namespace skep {

enum class Handler : uint16_t {
#define SKEP_HANDLER(Name) Name,
#include "vm/run/handlers.def"
    Count
};

struct Op {
    const void* handler = nullptr;
    uint8_t a = 0, b = 0, c = 0, d = 0;  // byte offsets into the register file: register * 8
    int32_t off = 0;                     // displacement
    union {
        uint64_t imm = 0;
        const Insn* insn;        // AluGeneric, Dynamic, LoadPacket
        const Helper* helper;    // CallHelper, CallTail
        const FrameInfo* frame;  // CallLocal: the callee's
    };
    union {
        uint64_t imm2 = 0;
        const Op* target;
    };
};
static_assert(sizeof(Op) == 32);

class ThreadedCode final : public Code {
public:
    // The image must outlive the code.
    static Result<std::unique_ptr<ThreadedCode>> build(const Image& image);

    CallResult enter(HelperEnv& env, uint32_t subprogram,
                     const uint64_t (&args)[5]) const noexcept override;

    const Image& image() const noexcept { return *image_; }
    const Op* entry(uint32_t subprogram) const noexcept { return &ops_[entries_[subprogram]]; }
    uint32_t slot_of(const Op* op) const noexcept {
        return slots_[static_cast<size_t>(op - ops_.data())];
    }
    const Insn& insn_of(const Op* op) const noexcept { return image_->slots[slot_of(op)].insn; }

private:
    friend class ThreadedBuilder;
    explicit ThreadedCode(const Image& image) : image_(&image) {}

    const Image* image_;
    std::vector<Op> ops_;
    std::vector<uint32_t> slots_;    // by op: the slot that a trap in it is reported at
    std::vector<uint32_t> entries_;  // by subprogram: index of its first op
};

// The address of each handler, in the instantiation for `form`, hardened or not.
const void* const* handler_table(Form form, bool hardened) noexcept;

}  // namespace skep
