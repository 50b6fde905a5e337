// Running a loaded program: context checks, CPU slot, run area, result.
#include <algorithm>
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

// What a thread is in while a program runs: one more run, and a read section if the program could
// see memory that other threads reclaim.
class OpenRun {
public:
    OpenRun(sync::ThreadSlot& thread, bool reclaims) noexcept
        : thread_(thread), reclaims_(reclaims) {
        ++thread_.runs;
        if (reclaims_) sync::enter();  // cannot fail: the thread holds a slot
    }
    ~OpenRun() {
        if (reclaims_) sync::leave();
        --thread_.runs;
    }
    OpenRun(const OpenRun&) = delete;
    OpenRun& operator=(const OpenRun&) = delete;

private:
    sync::ThreadSlot& thread_;
    bool reclaims_;
};

void hand_out_redirect(const VmState& state, const RunArea& area, RedirectTarget& redirect) {
    const HelperEnv::Redirect& to = area.redirect;
    redirect.map = to.map != nullptr ? state.map_handle(to.map) : nullptr;
    redirect.key = to.key;
    redirect.flags = to.flags;
    redirect.socket = to.socket;
}

// A run whose code needs nothing but its arguments: no CPU slot, no run area.
RunResult run_bare(const ProgramBody& body, void* ctx) noexcept {
    uint64_t r1 = reinterpret_cast<uintptr_t>(ctx), r2 = 0;
    if (body.image->raw) {
        const auto& bytes = *static_cast<const BytesContext*>(ctx);
        r1 = bytes.size == 0 ? 0 : reinterpret_cast<uintptr_t>(bytes.data);
        r2 = bytes.size;
    }
    return {.r0 = body.code->direct_entry()(r1, r2, 0, 0, 0, nullptr), .program = body.number};
}

// The run area of this thread for one more run, or why there is none.
RunArea* area_for(VmState& state, TrapCode& why) noexcept {
    sync::ThreadSlot& thread = sync::thread_slot;
    if (thread.slot == nullptr && !sync::acquire_slot(thread)) [[unlikely]] {
        why = TrapCode::NoSlot;
        return nullptr;
    }
    if (thread.runs >= kMaxRunDepth) [[unlikely]] {
        why = TrapCode::NestedRuns;
        return nullptr;
    }
    RunArea* area = state.area(thread.index, thread.runs);
    if (area == nullptr) why = TrapCode::OutOfMemory;
    return area;
}

// Inside of an OpenRun. Fills the result where it is: a copy would read as a whole what was just
// written in parts.
inline void run_in(RunArea& area, const ProgramBody& body, void* ctx, PacketBuffer* packet,
                   const Code* code, RunResult& result) noexcept {
    const uint64_t r0 = run_program(area, {.image = body.image,
                                           .code = code,
                                           .ctx = ctx,
                                           .packet = packet,
                                           .fuel = body.fuel,
                                           .world = body.world.get()});
    result.r0 = r0;
    if (area.trap == TrapCode::None) [[likely]] {
        result.trap = TrapCode::None;
        result.slot = 0;
        result.program = body.number;
        return;
    }
    result.trap = area.trap;
    result.slot = area.trap_slot;
    result.program = area.trap_image->program_id;
}

// Everything but what must be looked at before any run.
[[gnu::noinline]] RunResult run_in_area(VmState& state, const ProgramBody& body, void* ctx,
                                        PacketBuffer* packet, RedirectTarget* redirect,
                                        const Code* code) noexcept {
    TrapCode why = TrapCode::None;
    RunArea* const area = area_for(state, why);
    if (area == nullptr) [[unlikely]]
        return trapped(body, why);
    const OpenRun open(sync::thread_slot, body.image->reclaims);
    area->interrupt = &body.interrupted;
    RunResult result;
    run_in(*area, body, ctx, packet, code, result);
    if (redirect != nullptr) hand_out_redirect(state, *area, *redirect);
    return result;
}

// Writes the addresses of what the context leads to. False: there is less of it than the proof says
// that the program reaches, or the context is too short for them.
bool place_words(const Image& image, BytesContext& context) noexcept {
    const ContextWords& words = image.words;
    const bool sandbox = image.form == Form::Sandbox;
    const auto place = [&](int word, const void* data, uint64_t guest) {
        if (word < 0) return true;
        const uint64_t at = static_cast<uint64_t>(word) * 8;
        const uint64_t address = data == nullptr ? 0
                                 : sandbox       ? guest
                                                 : reinterpret_cast<uintptr_t>(data);
        if (context.size < at + 8) return false;
        std::memcpy(context.data + at, &address, sizeof address);
        return true;
    };
    const auto is_enough = [](const void* data, uint64_t size, uint32_t needed) {
        return data == nullptr || (size >= needed && size <= kMaxPacketBuffer);
    };
    if (!is_enough(context.key, context.key_size, image.facts->read_buffer) ||
        !is_enough(context.value, context.value_size, image.facts->write_buffer))
        return false;
    // A writable tracepoint's buffer is always there.
    const bool always = image.program->type->kind == ProgKind::RawTracepointWritable;
    if (always && context.value == nullptr && image.facts->write_buffer != 0) return false;
    if (context.map != nullptr) {
        const auto& maps = image.map_pointers;
        const auto own = std::find(maps.begin(), maps.end(), context.map);
        const auto index = static_cast<uint32_t>(own - maps.begin());
        if (!place(words.map, own != maps.end() || !sandbox ? context.map : nullptr,
                   map_handle(index)))
            return false;
    }
    return place(words.key, context.key, guest_address(region::kKey, region::kBufferBase)) &&
           place(words.value, context.value, guest_address(region::kBuffer, region::kBufferBase));
}

}  // namespace

RunResult run_body(VmState& state, const ProgramBody& body, void* ctx, PacketBuffer* packet,
                   RedirectTarget* redirect, const Code* instead) noexcept {
    if (packet != nullptr && !well_formed(*packet)) [[unlikely]]
        return trapped(body, TrapCode::BadArgument);
    if (body.interrupted.load(std::memory_order_relaxed) != 0) [[unlikely]]
        return trapped(body, TrapCode::Interrupted);
    const Code* code = instead != nullptr ? instead : body.code;
    if (!code->is_bare()) return run_in_area(state, body, ctx, packet, redirect, code);
    if (redirect != nullptr) *redirect = {};
    return run_bare(body, ctx);
}

RunResult LoadedProgram::run(XdpContext& context, RedirectTarget* redirect) const noexcept {
    if (impl_ == nullptr) return {.trap = TrapCode::BadArgument};
    if (impl_->body->context != ContextKind::Xdp)
        return trapped(*impl_->body, TrapCode::BadArgument);
    return run_body(*impl_->state, *impl_->body, &context, &context.packet, redirect);
}

namespace {

// One read section's worth of runs.
void run_burst(VmState& state, const ProgramBody& body, std::span<XdpContext> contexts,
               RunResult* results) noexcept {
    TrapCode why = TrapCode::None;
    RunArea* const area = area_for(state, why);
    if (area == nullptr) [[unlikely]] {
        std::fill_n(results, contexts.size(), trapped(body, why));
        return;
    }
    const OpenRun open(sync::thread_slot, body.image->reclaims);
    area->interrupt = &body.interrupted;
    const Code* const code = body.code;
    for (XdpContext& context : contexts) {
        RunResult& result = *results++;
        if (!well_formed(context.packet)) [[unlikely]]
            result = trapped(body, TrapCode::BadArgument);
        else if (body.interrupted.load(std::memory_order_relaxed) != 0) [[unlikely]]
            result = trapped(body, TrapCode::Interrupted);
        else
            run_in(*area, body, &context, &context.packet, code, result);
    }
}

}  // namespace

void LoadedProgram::run(std::span<XdpContext> contexts,
                        std::span<RunResult> results) const noexcept {
    constexpr size_t kSection = 64;  // runs, after which other threads may reuse what they deleted
    const size_t count = std::min(contexts.size(), results.size());
    const bool fits = impl_ != nullptr && impl_->body->context == ContextKind::Xdp;
    if (!fits || impl_->body->code->is_bare()) {
        for (size_t i = 0; i < count; ++i) results[i] = run(contexts[i]);
        return;
    }
    for (size_t i = 0; i < count; i += kSection) {
        const size_t some = std::min(kSection, count - i);
        run_burst(*impl_->state, *impl_->body, contexts.subspan(i, some), results.data() + i);
    }
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
    if (body.image->words.any() && !place_words(*body.image, context))
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
