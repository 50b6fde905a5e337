// The batches of replay.hpp.
#include "tools/replay.hpp"

#include <algorithm>
#include <cstring>

#include "tools/text.hpp"
#include "vm/base/os.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::tool {
namespace {

constexpr size_t kBatch = 64;
constexpr size_t kArenaBytes = size_t{1} << 20;  // of packet or context bytes in a batch

// Runs [0, runs) through `job` in batches. The job lays out inputs with prepare(run, slot) until it
// returns false for want of room (never for the first slot), executes run(slot), and gets
// finish(run, slot).
template <class Job>
void drive(Job& job, uint64_t runs, uint64_t untimed, Outcome& outcome,
           const std::function<void()>& after_batch, Progress* progress) {
    for (uint64_t next = 0; next < runs;) {
        const uint64_t limit = next < untimed ? untimed : runs;
        size_t count = 0;
        while (count < kBatch && next + count < limit && job.prepare(next + count, count)) ++count;
        const uint64_t start = os::monotonic_ns();
        for (size_t slot = 0; slot < count; ++slot) job.run(slot);
        const uint64_t elapsed = os::monotonic_ns() - start;
        if (next >= untimed) {
            outcome.timed_ns += elapsed;
            outcome.timed_runs += count;
        }
        for (size_t slot = 0; slot < count; ++slot) job.finish(next + slot, slot);
        if (after_batch) after_batch();
        next += count;
        if (progress != nullptr && outcome.timed_ns != 0) {
            progress->at(next, static_cast<double>(outcome.timed_runs) * 1e9 /
                                   static_cast<double>(outcome.timed_ns));
        }
    }
}

void apply(const std::vector<ContextEdit>& edits, const CtxLayout& layout, void* context) {
    for (const auto& [field, value] : edits) ctx_set(layout, context, field, value);
}

// What every kind of run records.
void record(Outcome& outcome, const LoadedProgram& program, const RunResult& result, uint64_t run) {
    ++outcome.total;
    if (run == 0) outcome.first = result;
    if (result.ok()) {
        outcome.count(static_cast<uint32_t>(result.r0));
        return;
    }
    ++outcome.trapped;
    if (!outcome.trap) outcome.trap = program.describe(result);
}

class PacketJob {
public:
    PacketJob(const LoadedProgram& program, const Capture& capture, const ReplayOptions& options,
              Outcome& outcome)
        : program_(program),
          capture_(capture),
          options_(options),
          outcome_(outcome),
          shape_(packet_shape(*options.type, options.attach_type, options.framing)),
          packets_(kBatch),
          results_(kBatch),
          targets_(kBatch) {
        uint32_t longest = 0;
        for (const Frame& frame : capture.frames) longest = std::max(longest, frame.length);
        arena_.resize(std::max<size_t>(kArenaBytes, buffer_bytes(longest)));
    }

    bool prepare(uint64_t run, size_t slot) {
        const Frame& frame = frame_of(run);
        if (slot == 0) used_ = 0;
        const uint32_t size = buffer_bytes(frame.length);
        if (size > arena_.size() - used_) return false;
        Packet& packet = packets_[slot];
        make_packet(shape_, capture_.data(frame), frame, std::span(arena_).subspan(used_, size),
                    packet);
        used_ += size;
        apply(options_.edits, *options_.type->ctx, context_of(shape_, packet));
        times_[slot] = frame.time_ns;
        return true;
    }

    void run(size_t slot) {
        if (options_.clock != nullptr) go_on_to(times_[slot]);
        Packet& packet = packets_[slot];
        RedirectTarget* target = options_.out != nullptr ? &targets_[slot] : nullptr;
        if (shape_.kind == ProgKind::Xdp) {
            results_[slot] = program_.run(packet.xdp, target);
        } else if (shape_.kind == ProgKind::SkMsg) {
            results_[slot] = program_.run_context(&packet.message, sizeof packet.message);
        } else if (shape_.kind == ProgKind::SkReuseport) {
            results_[slot] = program_.run_context(&packet.reuseport, sizeof packet.reuseport);
        } else {
            results_[slot] = program_.run(packet.skb, target);
        }
    }

    void finish(uint64_t run, size_t slot) {
        const RunResult& result = results_[slot];
        Packet& packet = packets_[slot];
        const PacketBuffer& bounds = bounds_of(shape_, packet);
        record(outcome_, program_, result, run);
        if (run == 0) {
            outcome_.first_data.assign(bounds.data, bounds.data_end);
            outcome_.has_data = true;
        }
        if (options_.per_packet) {
            outcome_.rows.push_back({run, static_cast<uint32_t>(result.r0),
                                     static_cast<uint32_t>(bounds.data_end - bounds.data),
                                     !result.ok(), frame_of(run).truncated()});
        }
        if (options_.out != nullptr && result.ok()) write(run, slot);
    }

private:
    // Sets the clock, and on the way to each time at which a timer is due.
    void go_on_to(uint64_t time) {
        constexpr unsigned kMostTimes = 100'000;  // a timer that restarts at once never ends
        for (unsigned n = 0; options_.timers != nullptr && n < kMostTimes; ++n) {
            const auto next = options_.timers->next_timer();
            if (!next || *next > time) break;
            *options_.clock = std::max(*options_.clock, *next);
            if (const auto runs = options_.timers->run_timers(*options_.clock)) {
                outcome_.timers_fired += runs->fired;
                if (runs->trapped != 0 && !outcome_.trap)
                    outcome_.trap = program_.describe(runs->first_trap);
            }
        }
        *options_.clock = time;
    }

    const Frame& frame_of(uint64_t run) const {
        return capture_.frames[run % capture_.frames.size()];
    }

    void write(uint64_t run, size_t slot) {
        uint32_t keep = 0;
        const RunResult& result = results_[slot];
        if (!goes_on(*options_.type, result.r0, keep)) return;
        rebuild_frame(shape_, packets_[slot], frame_bytes_);
        if (frame_bytes_.size() > keep) frame_bytes_.resize(keep);
        std::string comment(verdict_name(*options_.type, result.r0));
        if (comment == "redirect" && options_.redirect_name) {
            comment += " to " + options_.redirect_name(targets_[slot]);
        }
        const Frame& frame = frame_of(run);
        if (frame.truncated()) comment += " (truncated in the capture)";
        options_.out->add(frame_bytes_,
                          static_cast<uint32_t>(frame_bytes_.size()) + packets_[slot].cut,
                          frame.time_ns, comment);
        targets_[slot] = {};
    }

    const LoadedProgram& program_;
    const Capture& capture_;
    const ReplayOptions& options_;
    Outcome& outcome_;
    PacketShape shape_;
    std::vector<std::byte> arena_;
    size_t used_ = 0;
    std::vector<Packet> packets_;
    std::vector<RunResult> results_;
    std::vector<RedirectTarget> targets_;
    std::array<uint64_t, kBatch> times_{};
    std::vector<std::byte> frame_bytes_;
};

// Contexts that are the bytes themselves: one, or several of the same size in turn.
class BytesJob {
public:
    BytesJob(const LoadedProgram& program, std::span<const BytesInput> inputs, Outcome& outcome)
        : program_(program),
          inputs_(inputs),
          size_(inputs.front().bytes.size()),
          outcome_(outcome) {
        // Aligned, as the kernel's contexts are.
        stride_ = (size_ + 15) / 16 * 16;
        slots_ = std::clamp<size_t>(stride_ == 0 ? kBatch : kArenaBytes / stride_, 1, kBatch);
        arena_.resize(stride_ * slots_ / sizeof(arena_[0]));
    }

    bool prepare(uint64_t run, size_t slot) {
        if (slot >= slots_) return false;
        BytesContext& context = contexts_[slot];
        context.data = size_ == 0 ? nullptr : at(slot);
        context.size = size_;
        const BytesInput& input = inputs_[run % inputs_.size()];
        if (size_ != 0) std::memcpy(context.data, input.bytes.data(), size_);
        context.map = input.map;
        const auto lend = [](std::vector<std::byte>& copy, const std::vector<std::byte>& from,
                             std::byte*& data, uint64_t& size) {
            copy = from;
            data = copy.empty() ? nullptr : copy.data();
            size = copy.size();
        };
        lend(keys_[slot], input.key, context.key, context.key_size);
        lend(values_[slot], input.value, context.value, context.value_size);
        return true;
    }
    void run(size_t slot) { results_[slot] = program_.run(contexts_[slot]); }
    void finish(uint64_t run, size_t slot) {
        record(outcome_, program_, results_[slot], run);
        const BytesInput& input = inputs_[run % inputs_.size()];
        if (input.map != nullptr && !input.key.empty() && values_[slot] != input.value &&
            values_[slot].size() == input.map->def().value_size)
            input.map->host_update(input.key.data(), values_[slot], map_flags::kExist);
        if (run != 0) return;
        outcome_.has_data = true;
        if (size_ != 0) outcome_.first_data.assign(at(slot), at(slot) + size_);
    }

private:
    std::byte* at(size_t slot) {
        return reinterpret_cast<std::byte*>(arena_.data()) + slot * stride_;
    }

    const LoadedProgram& program_;
    std::span<const BytesInput> inputs_;
    size_t size_;
    Outcome& outcome_;
    size_t stride_ = 0;
    size_t slots_ = 0;
    std::vector<std::max_align_t> arena_;
    std::array<std::vector<std::byte>, kBatch> keys_, values_;
    std::array<BytesContext, kBatch> contexts_;
    std::array<RunResult, kBatch> results_;
};

// Contexts that the host keeps in a struct which the type's table describes.
class ContextJob {
public:
    ContextJob(const LoadedProgram& program, std::span<const std::byte> data,
               const ReplayOptions& options, Outcome& outcome)
        : program_(program),
          layout_(*options.type->ctx),
          data_(data),
          options_(options),
          outcome_(outcome) {
        stride_ = (layout_.host_size + sizeof(std::max_align_t) - 1) / sizeof(std::max_align_t);
        arena_.resize(stride_ * kBatch);
        buffers_.resize(kBatch);
    }

    bool prepare(uint64_t, size_t slot) {
        auto* host = reinterpret_cast<std::byte*>(&arena_[slot * stride_]);
        std::memset(host, 0, layout_.host_size);
        sockets_[slot] = {};
        buffers_[slot].assign(data_.begin(), data_.end());
        for (const CtxField& field : layout_.fields) {
            const void* pointer = nullptr;
            // A socket look-up starts without one.
            if (field.kind == CtxFieldKind::SocketPtr && &layout_ != &kSkLookupCtx)
                pointer = &sockets_[slot];
            if (field.kind == CtxFieldKind::BufferPtr) pointer = buffers_[slot].data();
            if (field.kind == CtxFieldKind::BufferEndPtr) {
                pointer = buffers_[slot].data() + buffers_[slot].size();
            }
            if (pointer != nullptr && field.host_size == sizeof pointer) {
                std::memcpy(host + field.host_off, &pointer, sizeof pointer);
            }
        }
        apply(options_.edits, layout_, host);
        return true;
    }
    void run(size_t slot) {
        results_[slot] = program_.run_context(&arena_[slot * stride_], layout_.host_size);
    }
    void finish(uint64_t run, size_t slot) {
        record(outcome_, program_, results_[slot], run);
        if (run == 0 && !data_.empty()) {
            outcome_.first_data = buffers_[slot];
            outcome_.has_data = true;
        }
    }

private:
    const LoadedProgram& program_;
    const CtxLayout& layout_;
    std::span<const std::byte> data_;
    const ReplayOptions& options_;
    Outcome& outcome_;
    size_t stride_ = 0;
    std::vector<std::max_align_t> arena_;
    std::vector<std::vector<std::byte>> buffers_;
    std::array<SockContext, kBatch> sockets_;
    std::array<RunResult, kBatch> results_;
};

}  // namespace

void Outcome::count(uint32_t retval) {
    if (retval < low.size()) {
        ++low[retval];
    } else {
        ++others[retval];
    }
}

uint64_t Outcome::returned(uint32_t retval) const {
    if (retval < low.size()) return low[retval];
    const auto found = others.find(retval);
    return found == others.end() ? 0 : found->second;
}

Outcome replay_packets(const LoadedProgram& program, const Capture& capture,
                       const ReplayOptions& options) {
    Outcome outcome;
    if (capture.frames.empty()) return outcome;
    const uint64_t frames = capture.frames.size();
    std::optional<Progress> progress;
    if (options.progress) progress.emplace("replay", options.runs * frames);
    auto job = std::make_unique<PacketJob>(program, capture, options, outcome);
    drive(*job, options.runs * frames, options.untimed * frames, outcome, options.after_batch,
          progress ? &*progress : nullptr);
    return outcome;
}

Outcome replay_bytes(const LoadedProgram& program, std::span<const BytesInput> contexts,
                     const ReplayOptions& options) {
    Outcome outcome;
    auto job = std::make_unique<BytesJob>(program, contexts, outcome);
    drive(*job, options.runs * contexts.size(), options.untimed * contexts.size(), outcome,
          options.after_batch, nullptr);
    return outcome;
}

Outcome replay_context(const LoadedProgram& program, std::span<const std::byte> data,
                       const ReplayOptions& options) {
    Outcome outcome;
    auto job = std::make_unique<ContextJob>(program, data, options, outcome);
    drive(*job, options.runs, options.untimed, outcome, options.after_batch, nullptr);
    return outcome;
}

std::string_view verdict_name(const ProgType& type, uint64_t retval) {
    return type.verdict_of(static_cast<uint32_t>(retval));
}

}  // namespace skep::tool
