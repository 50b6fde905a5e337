// Running a loaded program: context checks, CPU slot, run area, result.
#include <cstring>

#include "vm/api/vm_state.hpp"
#include "vm/sync/slots.hpp"

namespace skep {

namespace {

constexpr int64_t kMaxPacketBuffer = int64_t{1} << 30;

RunResult trapped(const ProgramBody& body, TrapCode code) noexcept {
    return {.trap = code, .program = body.number};
}

bool well_formed(const PacketBuffer& packet) noexcept {
    return packet.head <= packet.data_meta && packet.data_meta <= packet.data &&
           packet.data <= packet.data_end && packet.data_end <= packet.hard_end &&
           packet.hard_end - packet.head <= kMaxPacketBuffer;
}

// Ends a read section that enter() began.
struct Section {
    ~Section() { sync::leave(); }
};

}  // namespace

RunResult run_body(VmState& state, const ProgramBody& body, void* ctx, PacketBuffer* packet,
                   RedirectTarget* redirect) noexcept {
    if (packet != nullptr && !well_formed(*packet)) return trapped(body, TrapCode::BadArgument);
    if (body.interrupted.load(std::memory_order_relaxed) != 0) [[unlikely]]
        return trapped(body, TrapCode::Interrupted);
    if (!sync::enter()) [[unlikely]]
        return trapped(body, TrapCode::NoSlot);
    const Section section;
    const unsigned depth = sync::thread_slot.depth - 1;
    if (depth >= kMaxRunDepth) [[unlikely]]
        return trapped(body, TrapCode::NestedRuns);
    RunArea* area = state.area(sync::current_slot(), depth);
    if (area == nullptr) [[unlikely]]
        return trapped(body, TrapCode::OutOfMemory);
    area->interrupt = &body.interrupted;
    RunResult result;
    result.r0 = run_program(
        *area,
        {.image = body.image, .code = body.code, .ctx = ctx, .packet = packet, .fuel = body.fuel});
    result.program = body.number;
    if (area->trap != TrapCode::None) [[unlikely]] {
        result.trap = area->trap;
        result.slot = area->trap_slot;
        result.program = area->trap_image->program_id;
    }
    if (redirect != nullptr) {
        const HelperEnv::Redirect& to = area->redirect;
        redirect->map = to.map != nullptr ? state.map_handle(to.map) : nullptr;
        redirect->key = to.key;
        redirect->flags = to.flags;
    }
    return result;
}

RunResult LoadedProgram::run(XdpContext& context, RedirectTarget* redirect) const noexcept {
    if (impl_ == nullptr) return {.trap = TrapCode::BadArgument};
    if (impl_->body->context != ContextKind::Xdp)
        return trapped(*impl_->body, TrapCode::BadArgument);
    return run_body(*impl_->state, *impl_->body, &context, &context.packet, redirect);
}

RunResult LoadedProgram::run(SkbContext& context, RedirectTarget* redirect) const noexcept {
    if (impl_ == nullptr) return {.trap = TrapCode::BadArgument};
    if (impl_->body->context != ContextKind::Skb)
        return trapped(*impl_->body, TrapCode::BadArgument);
    return run_body(*impl_->state, *impl_->body, &context, &context.packet, redirect);
}

RunResult LoadedProgram::run(BytesContext& context) const noexcept {
    if (impl_ == nullptr) return {.trap = TrapCode::BadArgument};
    const ProgramBody& body = *impl_->body;
    const bool too_short =
        body.source->type->kind == ProgKind::Raw && context.size < body.source->raw_size;
    if (body.context != ContextKind::Bytes || too_short || context.size > kMaxPacketBuffer ||
        (context.data == nullptr && context.size != 0))
        return trapped(body, TrapCode::BadArgument);
    return run_body(*impl_->state, body, &context, nullptr, nullptr);
}

RunResult LoadedProgram::run_context(void* context, uint64_t size) const noexcept {
    if (impl_ == nullptr) return {.trap = TrapCode::BadArgument};
    const ProgramBody& body = *impl_->body;
    if (body.context == ContextKind::Bytes) {
        if (context == nullptr || size != sizeof(BytesContext))
            return trapped(body, TrapCode::BadArgument);
        return run(*static_cast<BytesContext*>(context));
    }
    const uint32_t wanted = body.source->type->ctx->host_size;
    if (size != wanted || (context == nullptr && wanted != 0))
        return trapped(body, TrapCode::BadArgument);
    auto* packet = body.packet_offset < 0
                       ? nullptr
                       : reinterpret_cast<PacketBuffer*>(static_cast<std::byte*>(context) +
                                                         body.packet_offset);
    // Programs without a packet at hand leave its buffer empty.
    if (packet != nullptr && packet->head == nullptr) packet = nullptr;
    return run_body(*impl_->state, body, context, packet, nullptr);
}

}  // namespace skep
