// One switch over the kinds of instructions, everything checked at every step.
#include "tests/support/reference.hpp"

#include <cstring>

#include "vm/isa/semantics.hpp"

namespace skep::test {

uint8_t* GuestMemory::find(uint64_t address, uint64_t size, bool for_write, TrapCode& trap) {
    for (Region& region : regions) {
        if (address < region.base) continue;
        const uint64_t offset = address - region.base;
        if (offset > region.bytes.size() || size > region.bytes.size() - offset) continue;
        if (for_write && !region.writable) {
            trap = TrapCode::ReadOnly;
            return nullptr;
        }
        return region.bytes.data() + offset;
    }
    trap = TrapCode::OutOfBounds;
    return nullptr;
}

namespace {

uint64_t read_le(const uint8_t* bytes, unsigned size) {
    uint64_t value = 0;
    std::memcpy(&value, bytes, size);
    return value;
}

// What a call puts aside.
struct Frame {
    uint32_t return_to = 0;
    std::array<uint64_t, 4> saved{};  // r6..r9
    uint64_t r10 = 0;
    uint32_t bytes = 0;  // of its own frame
};

class Machine {
public:
    Machine(std::span<const Insn> insns, ReferenceRun& run)
        : insns_(insns), run_(run), regs_(run.regs), stack_(run.memory.regions.size()) {
        run_.memory.regions.emplace_back();
        regs_[kFramePointer] = kReferenceStackTop;
        run_.memory.regions[stack_].base = kReferenceStackTop;
        push_frame(0);
    }

    ReferenceResult run() {
        while (!ended_) {
            if (pc_ >= insns_.size()) {
                stop(TrapCode::FellOffEnd);
                break;
            }
            ++result_.executed;
            step(insns_[pc_]);
        }
        while (depth_ > 0) pop_frame();
        if (result_.trap != TrapCode::None) result_.slot = pc_;
        result_.r0 = result_.trap == TrapCode::None ? regs_[0] : 0;
        return result_;
    }

private:
    void stop(TrapCode trap = TrapCode::None) {
        result_.trap = trap;
        ended_ = true;
    }

    // One unit; false if there is none left.
    bool charge() {
        if (result_.fuel_used == run_.fuel) {
            stop(TrapCode::Fuel);
            return false;
        }
        ++result_.fuel_used;
        return true;
    }

    void push_frame(uint32_t function) {
        Region& stack = run_.memory.regions[stack_];
        frames_[depth_].r10 = regs_[kFramePointer];
        frames_[depth_].bytes =
            run_.frame_bytes.contains(function) ? run_.frame_bytes[function] : kStackBytes;
        regs_[kFramePointer] = stack.base;
        stack.base -= frames_[depth_].bytes;
        stack.bytes.insert(stack.bytes.begin(), frames_[depth_].bytes, 0);
        ++depth_;
    }
    void pop_frame() {
        --depth_;
        regs_[kFramePointer] = frames_[depth_].r10;
        Region& stack = run_.memory.regions[stack_];
        stack.base += frames_[depth_].bytes;
        stack.bytes.erase(stack.bytes.begin(), stack.bytes.begin() + frames_[depth_].bytes);
    }

    void jump(const Insn& insn) {
        const auto target = static_cast<uint32_t>(insn.target);
        if (target <= pc_ && !charge()) return;
        pc_ = target;
    }

    uint64_t operand(const Insn& insn) const {
        return insn.is_imm ? static_cast<uint64_t>(insn.imm) : regs_[insn.src];
    }

    uint8_t* memory(unsigned base, const Insn& insn, bool for_write) {
        TrapCode trap = TrapCode::None;
        const uint64_t address = regs_[base] + static_cast<uint64_t>(int64_t{insn.off});
        uint8_t* bytes = run_.memory.find(address, bytes_of(insn.width), for_write, trap);
        if (bytes == nullptr) {
            stop(trap);
        } else if (insn.kind == Kind::Atomic && address % bytes_of(insn.width) != 0) {
            stop(TrapCode::Misaligned);
            bytes = nullptr;
        }
        return bytes;
    }

    void load(const Insn& insn) {
        const uint8_t* bytes = memory(insn.src, insn, false);
        if (bytes == nullptr) return;
        const uint64_t value = read_le(bytes, bytes_of(insn.width));
        regs_[insn.dst] = insn.sign ? sign_extend(value, bytes_of(insn.width) * 8) : value;
        ++pc_;
    }

    void store(const Insn& insn) {
        uint8_t* bytes = memory(insn.dst, insn, true);
        if (bytes == nullptr) return;
        const uint64_t value = operand(insn);
        std::memcpy(bytes, &value, bytes_of(insn.width));
        ++pc_;
    }

    void atomic(const Insn& insn) {
        const bool is_load = insn.atomic() == AtomicOp::LoadAcquire;
        uint8_t* bytes = memory(is_load ? insn.src : insn.dst, insn, !is_load);
        if (bytes == nullptr) return;
        const unsigned size = bytes_of(insn.width);
        const uint64_t old = read_le(bytes, size);
        const uint64_t s = zero_extend(regs_[insn.src], size * 8);
        uint64_t value = old;
        if (insn.atomic() == AtomicOp::Cmpxchg) {
            if (old == zero_extend(regs_[0], size * 8)) value = s;
            regs_[0] = old;
        } else if (is_load) {
            regs_[insn.dst] = old;
        } else {
            value = eval_atomic<uint64_t>(insn.atomic(), old, s);
            if (fetches(insn.atomic())) regs_[insn.src] = old;
        }
        if (!is_load) std::memcpy(bytes, &value, size);
        ++pc_;
    }

    // Network byte order; out of range ends the program with r0 = 0.
    void load_packet(const Insn& insn) {
        uint32_t offset = static_cast<uint32_t>(insn.imm);
        if (!insn.is_imm) offset += static_cast<uint32_t>(regs_[insn.src]);
        const unsigned size = bytes_of(insn.width);
        regs_[0] = 0;
        if (offset > run_.packet.size() || size > run_.packet.size() - offset) {
            stop();
            return;
        }
        for (unsigned i = 0; i < size; ++i) regs_[0] = regs_[0] << 8 | run_.packet[offset + i];
        ++pc_;
    }

    void may_goto(const Insn& insn) {
        if (rounds_ == 0) {
            jump(insn);
        } else {
            --rounds_;
            ++pc_;
        }
    }

    void clear_arguments() {
        for (unsigned i = 1; i <= 5; ++i) regs_[i] = 0;
    }

    void call_helper(const Insn& insn) {
        if (!charge()) return;
        std::optional<uint64_t> value;
        if (insn.pseudo_call() == PseudoCall::Helper && run_.helper) {
            value = run_.helper(static_cast<int32_t>(insn.imm), std::span(regs_).subspan<1, 5>(),
                                run_.memory);
        }
        if (!value) return stop(TrapCode::BadHelper);
        regs_[0] = *value;
        clear_arguments();
        ++pc_;
    }

    void call_local(const Insn& insn) {
        if (!charge()) return;
        if (depth_ == kMaxCallFrames) return stop(TrapCode::CallDepth);
        frames_[depth_].return_to = pc_ + 1;
        for (unsigned i = 0; i < 4; ++i) frames_[depth_].saved[i] = regs_[6 + i];
        push_frame(static_cast<uint32_t>(insn.target));
        pc_ = static_cast<uint32_t>(insn.target);
    }

    void exit() {
        if (depth_ == 1) return stop();
        pop_frame();
        for (unsigned i = 0; i < 4; ++i) regs_[6 + i] = frames_[depth_].saved[i];
        pc_ = frames_[depth_].return_to;
        clear_arguments();
    }

    void imm64(const Insn& insn) {
        // Maps, functions and kernel variables have addresses only inside an engine.
        if (insn.pseudo_imm() != PseudoImm::Value) return stop(TrapCode::Unsupported);
        regs_[insn.dst] = static_cast<uint64_t>(insn.imm);
        pc_ += 2;
    }

    void step(const Insn& insn) {
        switch (insn.kind) {
            case Kind::Alu:
            case Kind::Neg:
            case Kind::Endian:
                regs_[insn.dst] = eval_alu_insn(insn, regs_[insn.dst], operand(insn));
                ++pc_;
                return;
            case Kind::Imm64: return imm64(insn);
            case Kind::Imm64High: return stop(TrapCode::BadInstruction);
            case Kind::Load: return load(insn);
            case Kind::Store: return store(insn);
            case Kind::Atomic: return atomic(insn);
            case Kind::LoadPacket: return load_packet(insn);
            case Kind::Jump: return jump(insn);
            case Kind::Branch:
                if (eval_branch(insn, regs_[insn.dst], operand(insn))) return jump(insn);
                ++pc_;
                return;
            case Kind::MayGoto: return may_goto(insn);
            case Kind::Call: return call_helper(insn);
            case Kind::CallLocal: return call_local(insn);
            case Kind::Exit: return exit();
            case Kind::AddrSpaceCast: return stop(TrapCode::Unsupported);
        }
    }

    std::span<const Insn> insns_;
    ReferenceRun& run_;
    std::array<uint64_t, kRegisters> regs_;
    size_t stack_;  // the region of the frames
    std::array<Frame, kMaxCallFrames + 1> frames_;
    uint32_t depth_ = 0;
    uint32_t pc_ = 0;
    uint32_t rounds_ = kMayGotoMax;
    bool ended_ = false;
    ReferenceResult result_;
};

}  // namespace

ReferenceResult run_reference(std::span<const Insn> insns, ReferenceRun& run) {
    return Machine(insns, run).run();
}

ReferenceResult run_raw(std::span<const Insn> insns, std::vector<uint8_t>& memory, uint64_t fuel,
                        std::map<uint32_t, uint32_t> frame_bytes) {
    ReferenceRun run;
    run.frame_bytes = std::move(frame_bytes);
    run.fuel = fuel;
    run.packet = memory;
    if (!memory.empty()) {
        run.regs[1] = kReferenceMemory;
        run.regs[2] = memory.size();
        run.memory.regions.push_back({kReferenceMemory, std::move(memory)});
    }
    const ReferenceResult result = run_reference(insns, run);
    if (run.regs[1] != 0) memory = std::move(run.memory.regions[0].bytes);
    return result;
}

}  // namespace skep::test
