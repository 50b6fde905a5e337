#include "jit/expect.hpp"

#include <algorithm>

#include <skep/helper.hpp>

#include "helpers/env.hpp"

namespace skep::jit {

Expectations::Expectations(const Image& image) : image_(image) {
    if (image.form != Form::Sandbox) return;
    slots_.assign(image.slots.size(), kUnknown);
    saved_at_.assign(image.slots.size() + 1, 0);
    State nothing;
    nothing.fill(kUnknown);
    arguments_.assign(image.functions.size(), nothing);
    if (!arguments_.empty()) arguments_[0][1] = image.raw ? region::kContext : kContextStart;
    for (uint32_t f = 0; f < image.functions.size(); ++f) walk(image.program->subprograms[f], f);
    // What the walk needed is not needed any more.
    saved_at_ = {};
    saved_ = {};
    arguments_ = {};
}

void Expectations::walk(const Subprogram& subprogram, uint32_t index) {
    State state = arguments_[index];
    state[0] = kUnknown;
    for (unsigned r = 6; r < kFramePointer; ++r) state[r] = kUnknown;
    state[kFramePointer] = region::kStack;
    stack_.fill(kUnknown);
    bool falls_through = true;
    for (uint32_t slot = subprogram.first; slot < subprogram.first + subprogram.count; ++slot) {
        if (const uint32_t at = saved_at_[slot]; at != 0) {
            const State& jumped = saved_[at - 1];
            if (!falls_through) state = jumped;
            for (unsigned r = 0; r < kRegisters; ++r) {
                if (state[r] == kUnknown) state[r] = jumped[r];
            }
        }
        step(slot, state);
        const Kind kind = image_.slots[slot].insn.kind;
        falls_through = kind != Kind::Jump && kind != Kind::Exit;
    }
}

void Expectations::remember(uint32_t target, const State& state) {
    if (saved_at_[target] != 0) return;
    saved_.push_back(state);
    saved_at_[target] = static_cast<uint32_t>(saved_.size());
}

void Expectations::step(uint32_t slot, State& state) {
    const ImageSlot& s = image_.slots[slot];
    const Insn& i = s.insn;
    const auto note = [&](uint16_t region) {
        slots_[slot] = (region & kHandle) != 0 ? kUnknown : region;
    };
    switch (i.kind) {
        case Kind::Alu: step_alu(i, state); break;
        case Kind::Neg:
        case Kind::Endian: state[i.dst] = kUnknown; break;
        case Kind::Imm64:
            state[i.dst] = kUnknown;
            if (i.pseudo_imm() == PseudoImm::MapValue || i.pseudo_imm() == PseudoImm::MapIdxValue)
                state[i.dst] =
                    static_cast<uint16_t>(region::kFirstMap + static_cast<uint32_t>(i.imm));
            else if (i.pseudo_imm() == PseudoImm::MapFd || i.pseudo_imm() == PseudoImm::MapIdx)
                state[i.dst] = static_cast<uint16_t>(kHandle | static_cast<uint32_t>(i.imm));
            break;
        case Kind::Load:
            note(state[i.src]);
            step_load(i, state);
            break;
        case Kind::Store:
            note(state[i.dst]);
            if (i.dst == kFramePointer && i.width == Width::Dw && i.off < 0 &&
                i.off >= -static_cast<int>(kStackBytes))
                stack_[static_cast<unsigned>(-i.off - 1) / 8] = i.is_imm ? kUnknown : state[i.src];
            break;
        case Kind::Atomic:
            note(state[i.atomic() == AtomicOp::LoadAcquire ? i.src : i.dst]);
            if (i.atomic() == AtomicOp::Cmpxchg)
                state[0] = kUnknown;
            else if (i.atomic() == AtomicOp::LoadAcquire)
                state[i.dst] = kUnknown;
            else if (fetches(i.atomic()))
                state[i.src] = kUnknown;
            break;
        case Kind::Jump:
        case Kind::Branch:
        case Kind::MayGoto:
            if (i.target > static_cast<int32_t>(slot))
                remember(static_cast<uint32_t>(i.target), state);
            break;
        case Kind::Call:
        case Kind::LoadPacket:
        case Kind::CallLocal:
            if (i.kind == Kind::Call && (state[1] & kHandle) != 0) slots_[slot] = state[1];
            step_call(s, state);
            break;
        case Kind::AddrSpaceCast: state[i.dst] = kUnknown; break;
        case Kind::Imm64High:
        case Kind::Exit: break;
    }
}

void Expectations::step_alu(const Insn& i, State& state) {
    const auto movable = [](uint16_t region) {
        // Only the context's start is known, not what lies behind it.
        return region == kContextStart ? kUnknown : region;
    };
    const uint16_t other = i.is_imm ? kUnknown : state[i.src];
    const bool moves = i.alu() == AluOp::Mov && i.sext == 0;
    if (!i.is64() || (i.alu() != AluOp::Add && i.alu() != AluOp::Sub && !moves)) {
        state[i.dst] = kUnknown;
    } else if (moves) {
        state[i.dst] = other;
    } else if (movable(state[i.dst]) == kUnknown) {
        state[i.dst] = movable(other);
    } else if (i.alu() == AluOp::Sub && other != kUnknown) {
        state[i.dst] = kUnknown;  // the distance of two pointers
    }
}

void Expectations::step_load(const Insn& i, State& state) {
    uint16_t loaded = kUnknown;
    const bool in_frame =
        i.src == kFramePointer && i.off < 0 && i.off >= -static_cast<int>(kStackBytes);
    if (in_frame && i.width == Width::Dw) {
        loaded = stack_[static_cast<unsigned>(-i.off - 1) / 8];
    } else if (state[i.src] == kContextStart && i.off >= 0) {
        const CtxField* field =
            image_.program->type->ctx->find(static_cast<uint32_t>(i.off), bytes_of(i.width));
        if (field != nullptr &&
            (field->kind == CtxFieldKind::PacketStart || field->kind == CtxFieldKind::PacketEnd ||
             field->kind == CtxFieldKind::PacketMeta))
            loaded = region::kPacket;
    }
    state[i.dst] = loaded;
}

void Expectations::step_call(const ImageSlot& s, State& state) {
    uint16_t result = kUnknown;
    if (s.insn.kind == Kind::CallLocal) {
        const auto callee = std::lower_bound(
            image_.functions.begin(), image_.functions.end(), static_cast<uint32_t>(s.insn.target),
            [](const FunctionEntry& f, uint32_t slot) { return f.slot < slot; });
        State& passed = arguments_[static_cast<size_t>(callee - image_.functions.begin())];
        for (unsigned r = 1; r <= 5; ++r) {
            if (passed[r] == kUnknown) passed[r] = state[r];
        }
    } else if (s.insn.kind == Kind::Call && s.bound != 0 && s.trap == TrapCode::None) {
        const RetKind ret = reinterpret_cast<const Helper*>(s.bound)->proto.ret;
        const bool value = ret == RetKind::MapValueOrNull || ret == RetKind::MapValue ||
                           ret == RetKind::AllocMemOrNull;
        if (value && state[1] != kUnknown && (state[1] & kHandle) != 0)
            result = static_cast<uint16_t>(region::kFirstMap + (state[1] & ~kHandle));
    }
    for (unsigned r = 1; r <= 5; ++r) state[r] = kUnknown;
    state[0] = result;
}

}  // namespace skep::jit
