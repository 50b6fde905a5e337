// analyze(): sets an analysis up, runs it, and, when it fails, runs it again to record the path.
#include "verifier/verifier.hpp"

#include <algorithm>

#include "helpers/print_format.hpp"
#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"
#include "verifier/kfunc_call.hpp"
#include "verifier/observer.hpp"
#include "verifier/subsumption.hpp"
#include "vm/base/os.hpp"

namespace skep {

std::string_view name_of(Verdict verdict) noexcept {
    switch (verdict) {
        case Verdict::Accepted: return "accepted";
        case Verdict::Rejected: return "rejected";
        case Verdict::Unsupported: return "unsupported";
    }
    return "rejected";
}

Analysis analyze(const Program& program, const AnalyzeOptions& options) {
    verifier::Analyzer analyzer(program, options);
    Analysis analysis = analyzer.run();
    // The path to an error is recorded in a second run, so that programs that pass do not pay.
    constexpr uint64_t kRecordLimit = 200'000;
    if (analysis.accepted() || analysis.processed > kRecordLimit || analysis.processed == 0 ||
        options.observer != nullptr)
        return analysis;
    verifier::Analyzer recorder(program, options);
    recorder.record_trail();
    Analysis again = recorder.run();
    if (again.error.code == analysis.error.code) analysis.path = std::move(again.path);
    return analysis;
}

VerifiedProgram analyze(std::shared_ptr<const Program> program, const AnalyzeOptions& options,
                        Analysis& analysis) {
    analysis = analyze(*program, options);
    VerifiedProgram verified;
    if (!analysis.accepted()) return verified;
    verified.facts_ = std::make_shared<const Facts>(analysis.facts);
    verified.program_ = std::move(program);
    verified.policy_ = options.policy;
    return verified;
}

}  // namespace skep

namespace skep::verifier {

Analyzer::Analyzer(const Program& program, const AnalyzeOptions& options)
    : program_(program), options_(options), current_(arena_) {
    const size_t slots = program.insns.size();
    result_.policy = options.policy;
    for (size_t i = 0; i < program.maps.size(); ++i)
        maps_.push_back({program.maps[i].get(), static_cast<int32_t>(i)});
    zero_ = pool_.constant(0);
    prune_points_.assign(slots, 0);
    force_points_.assign(slots, 0);
    access_kind_.assign(slots, 0);
    branch_seen_.assign(slots, 0);
    reached_.assign(slots, 0);
    call_seen_.assign(slots, 0);
    kept_.resize(slots);
    subsumption_ = std::make_unique<Subsumption>(*this);
    facts_.assign(slots, SlotFact{});
    frame_bytes_.assign(program.subprograms.size(), 0);
    is_callback_.assign(program.subprograms.size(), 0);
    if (program.exception_callback >= 0)
        is_callback_[static_cast<size_t>(program.exception_callback)] = 1;
    global_state_.assign(program.subprograms.size(), 0);
}

Analyzer::~Analyzer() {
    for (Checkpoint* checkpoint : all_checkpoints_) delete checkpoint;
}

uint16_t Analyzer::map_index(const MapDef* def, int32_t program_index) {
    for (size_t i = 0; i < maps_.size(); ++i)
        if (maps_[i].def == def) return static_cast<uint16_t>(i);
    maps_.push_back({def, program_index});
    return static_cast<uint16_t>(maps_.size() - 1);
}

uint16_t Analyzer::object_index(const ObjectDesc& desc) {
    for (size_t i = 0; i < objects_.size(); ++i)
        if (objects_[i] == desc) return static_cast<uint16_t>(i);
    if (objects_.size() >= UINT16_MAX) {
        reject(ErrorCode::AnalysisMemory, "more than %u kinds of objects", UINT16_MAX);
        return 0;
    }
    objects_.push_back(desc);
    return static_cast<uint16_t>(objects_.size() - 1);
}

// Where states are kept and compared: wherever paths meet or part.
void Analyzer::find_prune_points() {
    const auto& insns = program_.insns;
    for (uint32_t slot = 0; slot < insns.size(); ++slot) {
        const Insn& insn = insns[slot];
        const auto mark = [&](uint32_t at) {
            if (at < prune_points_.size()) prune_points_[at] = 1;
        };
        switch (insn.kind) {
            case Kind::Jump: mark(static_cast<uint32_t>(insn.target)); break;
            case Kind::Branch:
                mark(slot);
                mark(static_cast<uint32_t>(insn.target));
                break;
            case Kind::MayGoto:
                mark(slot);
                force_points_[slot] = 1;
                mark(static_cast<uint32_t>(insn.target));
                break;
            case Kind::CallLocal: mark(slot + 1); break;
            case Kind::Call:
                if (insn.pseudo_call() == PseudoCall::Kfunc) {
                    if (is_iter_next(slot) || kfunc_calls_back(slot)) {
                        mark(slot);
                        force_points_[slot] = 1;
                    }
                } else if (const Helper* helper = helper_with(static_cast<uint32_t>(insn.imm))) {
                    for (const ArgSpec& arg : helper->proto.args)
                        if (arg.kind == ArgKind::Callback) {
                            mark(slot);
                            if (arg.callback != CallbackKind::Timer &&
                                arg.callback != CallbackKind::Workqueue)
                                force_points_[slot] = 1;
                        }
                }
                break;
            default: break;
        }
    }
}

const Helper* Analyzer::helper_with(uint32_t number) const {
    const Helper* own = options_.host_helper ? options_.host_helper(number) : nullptr;
    return own != nullptr ? own : find_helper(number, *program_.type);
}

CallReads Analyzer::call_reads(uint32_t slot) const {
    CallReads reads;
    const Insn& insn = program_.insns[slot];
    if (insn.kind != Kind::Call || insn.pseudo_call() != PseudoCall::Helper) return reads;
    const Helper* helper = helper_with(static_cast<uint32_t>(insn.imm));
    if (helper == nullptr) return reads;
    reads.args = helper->proto.count;
    for (unsigned i = 0; i < helper->proto.count; ++i) {
        const ArgSpec& arg = helper->proto.args[i];
        if (arg.kind == ArgKind::FixedMemory) reads.bytes[i] = arg.size;
    }
    return reads;
}

bool Analyzer::helper_changes_packet(uint32_t slot) {
    const Insn& insn = program_.insns[slot];
    if (insn.kind != Kind::Call) return false;
    if (insn.pseudo_call() == PseudoCall::Kfunc) {
        const Kfunc* kfunc = kfunc_at(slot).kfunc;
        return kfunc != nullptr && kfunc->has(kfunc_flag::kChangesPacket);
    }
    if (insn.pseudo_call() != PseudoCall::Helper) return false;
    const Helper* helper = helper_with(static_cast<uint32_t>(insn.imm));
    // A tail call's target may do anything to the packet.
    return helper != nullptr &&
           (helper->flags & (helper_flag::kChangesPacket | helper_flag::kTailCall)) != 0;
}

bool Analyzer::entry_arguments(State& state) {
    Frame& frame = state.own_frame(0);
    if (program_.type->kind == ProgKind::Raw) {
        // r1: memory of at least raw_size bytes; r2: how many there are.
        frame.regs[1] = pointer(CellType::Mem, 0, object_index({.size = program_.raw_size}));
        frame.regs[2] = number(Scalar::range_u64(program_.raw_size, uint64_t{1} << 30));
        return true;
    }
    frame.regs[1] = pointer(CellType::Context);
    return true;
}

void Analyzer::observe() { options_.observer->at(*this, current_, slot_); }

Analysis Analyzer::run() {
    started_ns_ = os::monotonic_ns();
    bool ok = check_program();
    if (ok) {
        find_prune_points();
        liveness_ = std::make_unique<Liveness>(
            Liveness::compute(program_, *cfg_, [this](uint32_t slot) { return call_reads(slot); }));
        ok = explore_all() && check_stack_depth();
    }
    if (options_.observer != nullptr) options_.observer->done(*this);
    if (result_.processed > kLinuxInsns) beyond("processed_insns");
    if (ok) {
        result_.verdict = Verdict::Accepted;
        if (options_.facts) finish_facts(result_);
    } else {
        result_.facts = Facts{};
    }
    if (options_.log_level != 0)
        log_line(
            "processed %llu insns (limit %llu) max_states_per_insn 0 total_states %llu "
            "peak_states %llu mark_read 0\n",
            static_cast<unsigned long long>(result_.processed),
            static_cast<unsigned long long>(options_.budgets.insns),
            static_cast<unsigned long long>(result_.states),
            static_cast<unsigned long long>(result_.peak_states));
    result_.peak_memory = std::max(
        result_.peak_memory, arena_.bytes() + pool_.memory_bytes() + provenance_.memory_bytes());
    result_.time_ns = os::monotonic_ns() - started_ns_;
    return std::move(result_);
}

// bpf_snprintf: a constant format, and as many 8-byte values as it names.
bool Analyzer::check_snprintf(CallInfo&) {
    const Cell& format = st().reg(3);
    const Cell& length = st().reg(5);
    if (!num(length).is_const()) return true;
    if (num(length).value() % 8 != 0)
        return reject(ErrorCode::BadArgumentSize,
                      "Invalid format string: data length %llu is no "
                      "multiple of 8",
                      static_cast<unsigned long long>(num(length).value()));
    if (format.type != CellType::MapValue) return true;
    const MapDef& map = map_of(format);
    const uint64_t start = static_cast<uint64_t>(format.off) + num(format).value();
    std::string text;
    for (uint64_t i = start; i < map.contents.size() && map.contents[i] != std::byte{0}; ++i)
        text += static_cast<char>(map.contents[i]);
    const uint64_t values = num(length).value() / 8;
    if (check_format(text, values) == 0) return true;
    return reject(ErrorCode::BadArgumentSize,
                  "Invalid format string: it names more than the %llu values that are given, or "
                  "conversions that there are not",
                  static_cast<unsigned long long>(values));
}

}  // namespace skep::verifier
