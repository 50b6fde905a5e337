// The interpreter: threaded code run by computed gotos, one instantiation per form.
//
// One function holds all handlers, so that program counter, register file and accumulator stay in
// host registers; each handler ends in its own indirect jump, which the host predicts from what
// ran before. Arithmetic is semantics.hpp's with the operator as a constant; every guest access
// goes through guest_memory.hpp. In the sandbox form every address is translated and checked; the
// context, whose region has no bytes, takes the slow path through its table.
// Idea: M. A. Ertl, D. Gregg, "The structure and performance of efficient interpreters", 2003.
#include <skep/context.hpp>

#include "vm/isa/semantics.hpp"
#include "vm/run/arena_access.hpp"
#include "vm/run/atomic_access.hpp"
#include "vm/run/engine_calls.hpp"
#include "vm/run/guest_memory.hpp"
#include "vm/run/run_area.hpp"
#include "vm/run/threaded.hpp"

namespace skep {

namespace {

// Nothing behind it runs, not even speculatively, before everything in front of it is decided.
[[gnu::always_inline]] inline void speculation_barrier() noexcept {
#if defined(__x86_64__)
    asm volatile("lfence" ::: "memory");
#elif defined(__aarch64__)
    asm volatile("dsb sy\n\tisb" ::: "memory");
#endif
}

// kHardened: no branch of the program and no check of an address is speculated past.
template <bool kSandbox, bool kHardened>
CallResult execute(const ThreadedCode* code, RunArea* area, const Op* pc,
                   const uint64_t* entry_args, uint64_t r10) noexcept {
    static const void* const labels[] = {
#define SKEP_HANDLER(Name) &&L_##Name,
#include "vm/run/handlers.def"
    };
    if (code == nullptr) return {reinterpret_cast<uintptr_t>(labels), false};

    alignas(64) uint64_t registers[kRegisters + 1];
    char* const file = reinterpret_cast<char*>(registers);
    uint64_t acc = 0;
    uint64_t fault = 0;  // the address that went to a slow path
    const Region* const regions = area->regions;
    const uint32_t region_count = area->region_count;
    const uint32_t first_frame = area->open_frames;
    registers[0] = 0;
    for (unsigned i = 0; i < 5; ++i) registers[1 + i] = entry_args[i];
    for (unsigned i = 6; i < 10; ++i) registers[i] = 0;
    registers[10] = r10;

// The operands of the current op.
#define REG(offset) (*reinterpret_cast<uint64_t*>(file + (offset)))
#define NEXT()              \
    do {                    \
        ++pc;               \
        goto * pc->handler; \
    } while (0)
#define JUMP(to)            \
    do {                    \
        pc = (to);          \
        goto * pc->handler; \
    } while (0)
#define TRAP(code_)        \
    do {                   \
        area->fail(code_); \
        goto trapped;      \
    } while (0)
#define CHARGE()                               \
    do {                                       \
        if (--area->fuel < 0) [[unlikely]] {   \
            if (!area->refill()) goto trapped; \
        }                                      \
    } while (0)
// Declares `host`: the address of `size` bytes that may be read or written, else goes to `slow`.
#define HOST_ADDRESS(write, address, size, slow)                              \
    std::byte* host;                                                          \
    if constexpr (kSandbox) {                                                 \
        host = guest::translate<write>(regions, region_count, address, size); \
        if (host == nullptr) [[unlikely]] {                                   \
            fault = address;                                                  \
            goto slow;                                                        \
        }                                                                     \
        if constexpr (kHardened) speculation_barrier();                       \
    } else {                                                                  \
        host = reinterpret_cast<std::byte*>(address);                         \
    }

    goto * pc->handler;

#define ALU_HANDLER(Name, suffix, word, d, s)                                            \
    L_##Name##suffix                                                                     \
        : acc = eval_alu<word>(AluOp::Name, static_cast<word>(d), static_cast<word>(s)); \
    REG(pc->a) = acc;                                                                    \
    NEXT();
#define SKEP_ALU(Name, code_, sign, mnemonic)                \
    ALU_HANDLER(Name, 64R, uint64_t, REG(pc->a), REG(pc->b)) \
    ALU_HANDLER(Name, 64RD, uint64_t, acc, REG(pc->b))       \
    ALU_HANDLER(Name, 64RS, uint64_t, REG(pc->a), acc)       \
    ALU_HANDLER(Name, 64I, uint64_t, REG(pc->a), pc->imm)    \
    ALU_HANDLER(Name, 64ID, uint64_t, acc, pc->imm)          \
    ALU_HANDLER(Name, 32R, uint32_t, REG(pc->a), REG(pc->b)) \
    ALU_HANDLER(Name, 32RD, uint32_t, acc, REG(pc->b))       \
    ALU_HANDLER(Name, 32RS, uint32_t, REG(pc->a), acc)       \
    ALU_HANDLER(Name, 32I, uint32_t, REG(pc->a), pc->imm)    \
    ALU_HANDLER(Name, 32ID, uint32_t, acc, pc->imm)
#include "vm/isa/opcodes.def"

#define BRANCH_HANDLER(Name, suffix, word, d, s)                                           \
    L_J##Name##suffix                                                                      \
        : if (eval_cond<word>(CondOp::Name, static_cast<word>(d), static_cast<word>(s))) { \
        if constexpr (kHardened) speculation_barrier();                                    \
        JUMP(pc->target);                                                                  \
    }                                                                                      \
    if constexpr (kHardened) speculation_barrier();                                        \
    NEXT();                                                                                \
    L_J##Name##suffix##C                                                                   \
        : if (eval_cond<word>(CondOp::Name, static_cast<word>(d), static_cast<word>(s))) { \
        if constexpr (kHardened) speculation_barrier();                                    \
        CHARGE();                                                                          \
        JUMP(pc->target);                                                                  \
    }                                                                                      \
    if constexpr (kHardened) speculation_barrier();                                        \
    NEXT();
#define SKEP_COND(Name, code_, sign, mnemonic)                  \
    BRANCH_HANDLER(Name, 64R, uint64_t, REG(pc->a), REG(pc->b)) \
    BRANCH_HANDLER(Name, 64RD, uint64_t, acc, REG(pc->b))       \
    BRANCH_HANDLER(Name, 64RS, uint64_t, REG(pc->a), acc)       \
    BRANCH_HANDLER(Name, 64I, uint64_t, REG(pc->a), pc->imm)    \
    BRANCH_HANDLER(Name, 64ID, uint64_t, acc, pc->imm)          \
    BRANCH_HANDLER(Name, 32R, uint32_t, REG(pc->a), REG(pc->b)) \
    BRANCH_HANDLER(Name, 32RD, uint32_t, acc, REG(pc->b))       \
    BRANCH_HANDLER(Name, 32RS, uint32_t, REG(pc->a), acc)       \
    BRANCH_HANDLER(Name, 32I, uint32_t, REG(pc->a), pc->imm)    \
    BRANCH_HANDLER(Name, 32ID, uint32_t, acc, pc->imm)
#include "vm/isa/opcodes.def"

#define LOAD_HANDLER(label, word, extended, base)                                    \
    label: {                                                                         \
        const uint64_t address = (base) + static_cast<int64_t>(pc->off);             \
        HOST_ADDRESS(false, address, sizeof(word), slow_load)                        \
        acc = static_cast<uint64_t>(static_cast<extended>(guest::load<word>(host))); \
        REG(pc->a) = acc;                                                            \
    }                                                                                \
    NEXT();
#define STORE_HANDLER(label, word, base, value)                          \
    label: {                                                             \
        const uint64_t address = (base) + static_cast<int64_t>(pc->off); \
        HOST_ADDRESS(true, address, sizeof(word), slow_store)            \
        guest::store<word>(host, static_cast<word>(value));              \
    }                                                                    \
    NEXT();
#define MEMORY_HANDLERS(Name, word, signed_word)                                             \
    LOAD_HANDLER(L_Load##Name, word, uint64_t, REG(pc->b))                                   \
    LOAD_HANDLER(L_Load##Name##A, word, uint64_t, acc)                                       \
    LOAD_HANDLER(L_LoadS##Name, signed_word, int64_t, REG(pc->b))                            \
    LOAD_HANDLER(L_LoadS##Name##A, signed_word, int64_t, acc)                                \
    STORE_HANDLER(L_Store##Name, word, REG(pc->a), REG(pc->b))                               \
    STORE_HANDLER(L_Store##Name##A, word, acc, REG(pc->b))                                   \
    STORE_HANDLER(L_Store##Name##S, word, REG(pc->a), acc)                                   \
    STORE_HANDLER(L_StoreI##Name, word, REG(pc->a), pc->imm)                                 \
    L_LoadCtx##Name : acc = guest::load<word>(static_cast<std::byte*>(area->ctx) + pc->off); \
    REG(pc->a) = acc;                                                                        \
    NEXT();                                                                                  \
    L_StoreCtx##Name : guest::store<word>(static_cast<std::byte*>(area->ctx) + pc->off,      \
                                          static_cast<word>(pc->c ? REG(pc->b) : pc->imm));  \
    NEXT();
    MEMORY_HANDLERS(B, uint8_t, int8_t)
    MEMORY_HANDLERS(H, uint16_t, int16_t)
    MEMORY_HANDLERS(W, uint32_t, int32_t)
    MEMORY_HANDLERS(Dw, uint64_t, int64_t)

// a = base, b = operand register.
#define ATOMIC_HANDLER(Name, bits, word)                                                       \
    L_Atomic##Name##bits : {                                                                   \
        constexpr AtomicOp op = AtomicOp::Name;                                                \
        constexpr bool is_load = op == AtomicOp::LoadAcquire;                                  \
        const uint64_t address = REG(is_load ? pc->b : pc->a) + static_cast<int64_t>(pc->off); \
        HOST_ADDRESS(!is_load, address, sizeof(word), slow_atomic)                             \
        if (kSandbox && reinterpret_cast<uintptr_t>(host) % sizeof(word) != 0) [[unlikely]]    \
            TRAP(TrapCode::Misaligned);                                                        \
        const word old = atomic_rmw<word>(op, host, static_cast<word>(REG(pc->b)),             \
                                          static_cast<word>(registers[0]));                    \
        if constexpr (op == AtomicOp::Cmpxchg) {                                               \
            registers[0] = old;                                                                \
        } else if constexpr (is_load) {                                                        \
            REG(pc->a) = old;                                                                  \
        } else if constexpr (fetches(op)) {                                                    \
            REG(pc->b) = old;                                                                  \
        }                                                                                      \
    }                                                                                          \
    NEXT();
#define SKEP_ATOMIC(Name, imm_, text, fetch) \
    ATOMIC_HANDLER(Name, 32, uint32_t)       \
    ATOMIC_HANDLER(Name, 64, uint64_t)
#include "vm/isa/opcodes.def"
    ATOMIC_HANDLER(LoadAcquire, 8, uint8_t)
    ATOMIC_HANDLER(LoadAcquire, 16, uint16_t)
    ATOMIC_HANDLER(StoreRelease, 8, uint8_t)
    ATOMIC_HANDLER(StoreRelease, 16, uint16_t)

#define UNARY_HANDLER(label, expression) \
    label:                               \
    acc = (expression);                  \
    REG(pc->a) = acc;                    \
    NEXT();
    UNARY_HANDLER(L_ToBe16, eval_endian(EndianOp::ToBe, REG(pc->a), 16))
    UNARY_HANDLER(L_ToBe16D, eval_endian(EndianOp::ToBe, acc, 16))
    UNARY_HANDLER(L_ToBe32, eval_endian(EndianOp::ToBe, REG(pc->a), 32))
    UNARY_HANDLER(L_ToBe32D, eval_endian(EndianOp::ToBe, acc, 32))
    UNARY_HANDLER(L_ToBe64, eval_endian(EndianOp::ToBe, REG(pc->a), 64))
    UNARY_HANDLER(L_ToBe64D, eval_endian(EndianOp::ToBe, acc, 64))
    UNARY_HANDLER(L_Movsx8, sign_extend(REG(pc->b), 8))
    UNARY_HANDLER(L_Movsx16, sign_extend(REG(pc->b), 16))
    UNARY_HANDLER(L_Movsx32, sign_extend(REG(pc->b), 32))
    UNARY_HANDLER(
        L_AluGeneric,
        eval_alu_insn(*pc->insn, REG(pc->a),
                      pc->insn->is_imm ? static_cast<uint64_t>(pc->insn->imm) : REG(pc->b)))

L_LoadCtxPacket:
    // The guest address of a pointer into the packet's buffer.
    acc = guest_address(
        region::kPacket,
        region::kPacketBase +
            static_cast<uint32_t>(
                guest::load<std::byte*>(static_cast<std::byte*>(area->ctx) + pc->off) -
                area->packet->head));
    REG(pc->a) = acc;
    NEXT();
L_LoadDynamic: {
    const uint64_t address = REG(pc->b) + static_cast<int64_t>(pc->off);
    const LoadedValue loaded = load_context(*area, address - area->entry_r1, *pc->insn);
    if (!loaded.ok) [[unlikely]]
        goto trapped;
    acc = loaded.value;
    REG(pc->a) = acc;
}
    NEXT();
L_StoreDynamic: {
    const uint64_t address = REG(pc->a) + static_cast<int64_t>(pc->off);
    const uint64_t value = pc->insn->is_imm ? static_cast<uint64_t>(pc->insn->imm) : REG(pc->b);
    if (!store_context(*area, address - area->entry_r1, *pc->insn, value)) [[unlikely]]
        goto trapped;
}
    NEXT();
L_AtomicArena: {
    const Insn& insn = *pc->insn;
    const bool is_load = insn.atomic() == AtomicOp::LoadAcquire;
    const uint64_t address = REG(is_load ? pc->b : pc->a) + static_cast<int64_t>(pc->off);
    const uint64_t old = arena_atomic(*static_cast<const Image*>(area->image)->arena, address, insn,
                                      REG(pc->b), registers[0]);
    if (insn.atomic() == AtomicOp::Cmpxchg)
        registers[0] = old;
    else if (is_load)
        REG(pc->a) = old;
    else if (fetches(insn.atomic()))
        REG(pc->b) = old;
}
    NEXT();
L_CastAddress: {
    // Null stays null: of an address to be cast the whole, of an offset its 32 bits.
    const uint64_t from = REG(pc->b);
    const auto low = static_cast<uint32_t>(from);
    acc = (pc->c != 0 ? from : low) == 0 ? 0 : pc->imm | low;
    REG(pc->a) = acc;
}
    NEXT();
L_LoadPacket: {
    const uint64_t index = pc->insn->is_imm ? 0 : REG(pc->b);
    const LoadedValue loaded = load_packet(*area, index, *pc->insn);
    registers[0] = loaded.value;
    if (!loaded.ok) goto leave;
    if (kSandbox) clear_arguments(registers);
}
    NEXT();

L_Ja:
    JUMP(pc->target);
L_JaC:
    CHARGE();
    JUMP(pc->target);
L_MayGoto:
    if (area->may_goto_left != 0) {
        --area->may_goto_left;
        NEXT();
    }
    if (pc->c) CHARGE();
    JUMP(pc->target);

L_CallHelper:
    acc = call_helper<kSandbox>(*pc->helper, registers, *area);
    registers[0] = acc;
    if (area->trap != TrapCode::None) [[unlikely]]
        goto trapped;
    if (kSandbox) clear_arguments(registers);
    NEXT();
L_CallTail:
    acc = call_helper<kSandbox>(*pc->helper, registers, *area);
    registers[0] = acc;
    if (area->trap != TrapCode::None) [[unlikely]]
        goto trapped;
    if (area->tail_target != nullptr) {
        CHARGE();
        // The program's own frame: whoever entered goes on with the target. A subprogram's frame:
        // the target takes its place and returns to its caller.
        if (area->open_frames == first_frame) return {0, false};
        const CallResult result = tail_call_from_subprogram(*area);
        if (result.trapped) goto trapped;
        registers[0] = result.r0;
        goto leave;
    }
    if (kSandbox) clear_arguments(registers);
    NEXT();

L_CallLocalC:
    CHARGE();
L_CallLocal: {
    r10 = enter_local(*area, pc, registers);
    if (r10 == 0) [[unlikely]]
        goto trapped;
    registers[10] = r10;
    JUMP(pc->target);
}
L_Exit:
leave:
    if (area->open_frames == first_frame) return {registers[0], false};
    pc = leave_local(*area, registers);
    clear_arguments(registers);
    goto * pc->handler;

L_Trap:
    TRAP(static_cast<TrapCode>(pc->imm));

// Only the sandbox form comes to these.
slow_load:
    __attribute__((unused));
    {
        const Insn& insn = code->insn_of(pc);
        const LoadedValue loaded = load_slowly(*area, fault, insn);
        if (!loaded.ok) goto trapped;
        acc = loaded.value;
        registers[insn.dst] = acc;
    }
    NEXT();
slow_store:
    __attribute__((unused));
    {
        const Insn& insn = code->insn_of(pc);
        const uint64_t value = insn.is_imm ? static_cast<uint64_t>(insn.imm) : registers[insn.src];
        if (!store_slowly(*area, fault, insn, value)) goto trapped;
    }
    NEXT();
slow_atomic:
    __attribute__((unused));
    fail_access(*area, fault, bytes_of(code->insn_of(pc).width));

trapped:
    area->trapped_at(code->image(), code->slot_of(pc));
    area->open_frames = first_frame;
    return {0, true};
}

}  // namespace

namespace {

using Execute = CallResult (*)(const ThreadedCode*, RunArea*, const Op*, const uint64_t*,
                               uint64_t) noexcept;

Execute instantiation(Form form, bool hardened) noexcept {
    if (form == Form::Sandbox) return hardened ? execute<true, true> : execute<true, false>;
    return hardened ? execute<false, true> : execute<false, false>;
}

}  // namespace

const void* const* handler_table(Form form, bool hardened) noexcept {
    const CallResult table = instantiation(form, hardened)(nullptr, nullptr, nullptr, nullptr, 0);
    return reinterpret_cast<const void* const*>(table.r0);
}

CallResult ThreadedCode::enter(HelperEnv& env, uint32_t subprogram,
                               const uint64_t (&args)[5]) const noexcept {
    auto& area = static_cast<RunArea&>(env);
    const EnteredFrame frame(area, image_->frames[subprogram]);
    if (area.trap != TrapCode::None) return {0, true};
    return instantiation(image_->form, image_->hardened)(this, &area, entry(subprogram), args,
                                                         frame.r10);
}

}  // namespace skep
