// From an image's slots to threaded code: which handler runs each instruction, and where jumps go.
#include "vm/run/threaded.hpp"

#include <new>
#include <string>

namespace skep {

namespace {

constexpr uint32_t kNone = ~uint32_t{0};
constexpr unsigned kAluGroup = 10;     // handlers per operator, as listed in handlers.def
constexpr unsigned kBranchGroup = 20;  // handlers per condition
constexpr unsigned kMemoryGroup = 10;  // handlers per width
constexpr unsigned kTailCallHelper = 12;

constexpr unsigned number(Handler h) { return static_cast<unsigned>(h); }

static_assert(number(Handler::Sub64R) - number(Handler::Add64R) == kAluGroup);
static_assert(number(Handler::Add32R) - number(Handler::Add64R) == kAluGroup / 2);
static_assert(number(Handler::JGt64R) - number(Handler::JEq64R) == kBranchGroup);
static_assert(number(Handler::JEq32R) - number(Handler::JEq64R) == kBranchGroup / 4);
static_assert(number(Handler::JEq64RC) - number(Handler::JEq64R) == kBranchGroup / 2);
static_assert(number(Handler::LoadH) - number(Handler::LoadW) == kMemoryGroup);
static_assert(number(Handler::LoadSW) - number(Handler::LoadW) == 2);
static_assert(number(Handler::StoreW) - number(Handler::LoadW) == 4);
static_assert(number(Handler::LoadCtxW) - number(Handler::LoadW) == 8);

// Place of a width in the order of opcodes.def.
constexpr unsigned width_index(Width width) {
    constexpr Width order[] = {
#define SKEP_SIZE(Name, code, bytes, text) Width::Name,
#include "vm/isa/opcodes.def"
    };
    unsigned index = 0;
    while (order[index] != width) ++index;
    return index;
}

constexpr uint8_t reg(uint8_t number_) { return static_cast<uint8_t>(number_ * 8); }

}  // namespace

// Walks the slots once to emit ops, then resolves jumps.
class ThreadedBuilder {
public:
    explicit ThreadedBuilder(const Image& image)
        : image_(image),
          code_(new ThreadedCode(image)),
          table_(handler_table(image.form, image.hardened)) {}

    std::unique_ptr<ThreadedCode> build() {
        find_targets();
        op_of_slot_.assign(image_.slots.size() + 1, kNone);
        code_->ops_.reserve(image_.slots.size() + 1);
        for (uint32_t slot = 0; slot < image_.slots.size(); ++slot) {
            op_of_slot_[slot] = static_cast<uint32_t>(code_->ops_.size());
            if (is_target_[slot]) acc_ = kNone;
            if (image_.slots[slot].insn.kind != Kind::Imm64High) emit(slot);
        }
        // Whatever runs past the last instruction, or into a dead second slot, ends here.
        Op end;
        end.imm = static_cast<uint64_t>(TrapCode::FellOffEnd);
        push(Handler::Trap, end, static_cast<uint32_t>(image_.slots.size()) - 1);
        resolve();
        return std::move(code_);
    }

private:
    void find_targets() {
        is_target_.assign(image_.slots.size() + 1, false);
        for (const ImageSlot& slot : image_.slots) {
            switch (slot.insn.kind) {
                case Kind::Jump:
                case Kind::Branch:
                case Kind::MayGoto:
                case Kind::CallLocal:
                    is_target_[static_cast<uint32_t>(slot.insn.target)] = true;
                    break;
                default: break;
            }
        }
        for (const FunctionEntry& function : image_.functions) is_target_[function.slot] = true;
    }

    Op& push(Handler handler, Op op, uint32_t slot) {
        op.handler = table_[number(handler)];
        code_->ops_.push_back(op);
        code_->slots_.push_back(slot);
        return code_->ops_.back();
    }

    void push_jump(Handler handler, Op op, uint32_t slot) {
        fixups_.push_back({static_cast<uint32_t>(code_->ops_.size()),
                           static_cast<uint32_t>(image_.slots[slot].insn.target)});
        push(handler, op, slot);
    }

    void emit(uint32_t slot) {
        const ImageSlot& from = image_.slots[slot];
        const Insn& insn = from.insn;
        Op op;
        op.a = reg(insn.dst);
        op.b = reg(insn.src);
        op.off = insn.off;
        op.imm = static_cast<uint64_t>(insn.imm);
        if (from.trap != TrapCode::None) {
            op.imm = static_cast<uint64_t>(from.trap);
            push(Handler::Trap, op, slot);
            return;
        }
        switch (insn.kind) {
            case Kind::Alu:
            case Kind::Neg:
            case Kind::Endian: emit_alu(slot, insn, op); break;
            case Kind::Imm64:
                op.imm = from.bound;
                push(Handler::Mov64I, op, slot);
                acc_ = insn.dst;
                break;
            case Kind::Load:
            case Kind::Store: emit_access(slot, from, op); break;
            case Kind::Atomic: emit_atomic(slot, from, op); break;
            case Kind::Branch: emit_branch(slot, from, op); break;
            default: emit_control(slot, from, op); break;
        }
    }

    void emit_alu(uint32_t slot, const Insn& insn, Op op) {
        const bool signed_division = insn.kind == Kind::Alu && insn.sign &&
                                     (insn.alu() == AluOp::Div || insn.alu() == AluOp::Mod);
        Handler handler = Handler::AluGeneric;
        if (insn.kind == Kind::Endian && insn.endian() != EndianOp::ToLe) {
            const bool kept = acc_ == insn.dst;
            switch (insn.imm) {
                case 16: handler = kept ? Handler::ToBe16D : Handler::ToBe16; break;
                case 32: handler = kept ? Handler::ToBe32D : Handler::ToBe32; break;
                default: handler = kept ? Handler::ToBe64D : Handler::ToBe64; break;
            }
        } else if (insn.kind == Kind::Alu && insn.sext == 0 && !signed_division) {
            handler = static_cast<Handler>(number(Handler::Add64R) + insn.op * kAluGroup +
                                           (insn.is64() ? 0 : kAluGroup / 2) + operands(insn));
        } else if (insn.kind == Kind::Alu && insn.sext != 0 && insn.is64() && !insn.is_imm) {
            handler = insn.sext == 8    ? Handler::Movsx8
                      : insn.sext == 16 ? Handler::Movsx16
                                        : Handler::Movsx32;
        }
        if (handler == Handler::AluGeneric) {
            op.insn = &insn;
            if (insn.is_imm) op.b = op.a;
        }
        push(handler, op, slot);
        acc_ = insn.dst;
    }

    // Offset of the handler in its group: R, RD, RS, I, ID.
    unsigned operands(const Insn& insn) const {
        if (insn.is_imm) return acc_ == insn.dst ? 4 : 3;
        if (acc_ == insn.dst) return 1;
        return acc_ == insn.src ? 2 : 0;
    }

    void emit_branch(uint32_t slot, const ImageSlot& from, Op op) {
        const Insn& insn = from.insn;
        push_jump(static_cast<Handler>(number(Handler::JEq64R) + insn.op * kBranchGroup +
                                       (insn.is64() ? 0 : kBranchGroup / 4) +
                                       (from.charge ? kBranchGroup / 2 : 0) + operands(insn)),
                  op, slot);
    }

    void emit_access(uint32_t slot, const ImageSlot& from, Op op) {
        const Insn& insn = from.insn;
        const bool is_load = insn.kind == Kind::Load;
        unsigned handler = number(Handler::LoadW) + width_index(insn.width) * kMemoryGroup;
        if (from.access == Access::ContextField) {
            emit_context_field(slot, from, op);
        } else if (from.access == Access::ContextDynamic) {
            op.insn = &insn;
            push(is_load ? Handler::LoadDynamic : Handler::StoreDynamic, op, slot);
        } else if (is_load) {
            handler += (insn.sign ? 2 : 0) + (acc_ == insn.src ? 1 : 0);
            push(static_cast<Handler>(handler), op, slot);
        } else if (insn.is_imm) {
            push(static_cast<Handler>(handler + 7), op, slot);
        } else {
            handler += 4 + (acc_ == insn.dst ? 1 : acc_ == insn.src ? 2 : 0);
            push(static_cast<Handler>(handler), op, slot);
        }
        if (is_load) acc_ = insn.dst;
    }

    void emit_context_field(uint32_t slot, const ImageSlot& from, Op op) {
        const Insn& insn = from.insn;
        op.off = from.host_off + from.field_shift;
        const bool is_pointer = from.field_kind != static_cast<uint8_t>(CtxFieldKind::Scalar);
        if (is_pointer && image_.form == Form::Sandbox) {
            push(Handler::LoadCtxPacket, op, slot);
            return;
        }
        const Width width = is_pointer ? Width::Dw : insn.width;
        op.c = insn.is_imm ? 0 : 1;
        push(static_cast<Handler>(number(Handler::LoadW) + width_index(width) * kMemoryGroup +
                                  (insn.kind == Kind::Load ? 8 : 9)),
             op, slot);
    }

    void emit_atomic(uint32_t slot, const ImageSlot& from, Op op) {
        const Insn& insn = from.insn;
        Handler handler = static_cast<Handler>(number(Handler::AtomicAdd32) + insn.op * 2 +
                                               (insn.is64() ? 1 : 0));
        const bool is_load = insn.atomic() == AtomicOp::LoadAcquire;
        if (insn.width == Width::B)
            handler = is_load ? Handler::AtomicLoadAcquire8 : Handler::AtomicStoreRelease8;
        if (insn.width == Width::H)
            handler = is_load ? Handler::AtomicLoadAcquire16 : Handler::AtomicStoreRelease16;
        if (from.access == Access::ContextDynamic && from.memory == Memory::Arena) {
            op.insn = &insn;
            handler = Handler::AtomicArena;
        } else if (from.access == Access::ContextDynamic) {
            op.imm = static_cast<uint64_t>(TrapCode::BadContextAccess);
            handler = Handler::Trap;
        }
        push(handler, op, slot);
        acc_ = kNone;
    }

    void emit_control(uint32_t slot, const ImageSlot& from, Op op) {
        const Insn& insn = from.insn;
        switch (insn.kind) {
            case Kind::Jump: push_jump(from.charge ? Handler::JaC : Handler::Ja, op, slot); break;
            case Kind::MayGoto:
                op.c = from.charge ? 1 : 0;
                push_jump(Handler::MayGoto, op, slot);
                break;
            case Kind::LoadPacket:
                op.insn = &insn;
                push(Handler::LoadPacket, op, slot);
                break;
            case Kind::Call:
                op.helper = reinterpret_cast<const Helper*>(from.bound);
                push(insn.imm == kTailCallHelper ? Handler::CallTail : Handler::CallHelper, op,
                     slot);
                break;
            case Kind::CallLocal:
                op.frame = &image_.frames[subprogram_at(static_cast<uint32_t>(insn.target))];
                push_jump(from.charge ? Handler::CallLocalC : Handler::CallLocal, op, slot);
                break;
            case Kind::Exit: push(Handler::Exit, op, slot); break;
            case Kind::AddrSpaceCast:
                op.imm = from.bound;
                op.c = static_cast<uint32_t>(insn.imm) == 1 ? 1 : 0;
                push(Handler::CastAddress, op, slot);
                break;
            default:
                op.imm = static_cast<uint64_t>(TrapCode::BadInstruction);
                push(Handler::Trap, op, slot);
                break;
        }
        acc_ = kNone;
    }

    uint32_t subprogram_at(uint32_t slot) const {
        for (const FunctionEntry& function : image_.functions)
            if (function.slot == slot) return function.subprogram;
        return 0;
    }

    void resolve() {
        const auto last = static_cast<uint32_t>(code_->ops_.size()) - 1;
        for (const Fixup& fixup : fixups_) {
            const uint32_t to = fixup.slot < op_of_slot_.size() ? op_of_slot_[fixup.slot] : kNone;
            code_->ops_[fixup.op].target = &code_->ops_[to == kNone ? last : to];
        }
        for (const FunctionEntry& function : image_.functions)
            code_->entries_.push_back(op_of_slot_[function.slot]);
    }

    struct Fixup {
        uint32_t op;
        uint32_t slot;
    };

    const Image& image_;
    std::unique_ptr<ThreadedCode> code_;
    const void* const* table_;
    std::vector<bool> is_target_;
    std::vector<uint32_t> op_of_slot_;
    std::vector<Fixup> fixups_;
    uint32_t acc_ = kNone;  // the register whose value the accumulator holds here
};

Result<std::unique_ptr<ThreadedCode>> ThreadedCode::build(const Image& image) {
    return ThreadedBuilder(image).build();
}

}  // namespace skep
