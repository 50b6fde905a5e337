// What can be seen without running: limits, control flow, maps, calls.
#include <algorithm>

#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"

namespace skep::verifier {
namespace {

constexpr uint32_t kMaxSubprograms = 256, kMaxMaps = 64;

}  // namespace

uint32_t Analyzer::subprogram_index(uint32_t slot) const {
    const auto& all = program_.subprograms;
    const auto after = std::ranges::upper_bound(all, slot, {}, &Subprogram::first);
    return after == all.begin() ? 0 : static_cast<uint32_t>(after - all.begin()) - 1;
}

bool Analyzer::check_program() {
    const auto& insns = program_.insns;
    if (insns.empty()) return reject(ErrorCode::EmptyProgram, "the program has no instructions");
    if (insns.size() > kMaxInsns)
        return reject(ErrorCode::ProgramTooLarge, "%zu instructions, at most %u are allowed",
                      insns.size(), kMaxInsns);
    if (program_.subprograms.size() > kMaxSubprograms)
        return reject(ErrorCode::ProgramTooLarge,
                      "too many subprograms: %zu, at most %u are allowed",
                      program_.subprograms.size(), kMaxSubprograms);
    if (std::ranges::find(options_.denied_types, program_.type->kind) !=
        options_.denied_types.end())
        return reject(ErrorCode::NotPermitted, "the host does not permit programs of type %s",
                      std::string(program_.type->name).c_str());
    if (program_.type->kind == ProgKind::Unspec)
        return reject(ErrorCode::UnknownProgramType, "a program needs a type: --type gives one");
    if (!check_struct_ops()) return false;
    if (!check_attach_target()) return false;
    return check_control_flow() && check_map_use() && check_calls();
}

bool Analyzer::check_control_flow() {
    auto cfg = Cfg::build(program_, {.reject_unreachable = true});
    if (!cfg) {
        slot_ = cfg.error().where.slot >= 0 ? static_cast<uint32_t>(cfg.error().where.slot) : 0;
        const ErrorCode code = cfg.error().code;
        return reject(code, "%s", cfg.error().message.c_str());
    }
    cfg_ = std::make_unique<Cfg>(*std::move(cfg));
    return true;
}

bool Analyzer::check_map_use() {
    const auto& insns = program_.insns;
    for (uint32_t slot = 0; slot < insns.size(); ++slot) {
        const Insn& insn = insns[slot];
        if (insn.kind != Kind::Imm64) continue;
        slot_ = slot;
        const PseudoImm what = insn.pseudo_imm();
        if (what == PseudoImm::Value || what == PseudoImm::BtfId || what == PseudoImm::Func)
            continue;
        const auto index = static_cast<uint32_t>(insn.imm);
        if (index >= maps_.size())
            return reject(ErrorCode::ReservedField, "fd %u is not pointing to valid bpf_map",
                          index);
        if (index >= kMaxMaps && !extended()) beyond("maps");
        const MapDef& map = *maps_[index].def;
        if (std::ranges::find(options_.denied_map_types, map.type) !=
            options_.denied_map_types.end())
            return reject(ErrorCode::NotPermitted, "the host does not permit maps of type %u",
                          static_cast<unsigned>(map.type));
        if (!check_map_and_program(map)) return false;
        if (map.type == MapType::Arena && !check_arena(map)) return false;
        if (what == PseudoImm::MapFd || what == PseudoImm::MapIdx) {
            if (static_cast<uint64_t>(insn.imm) >> 32 != 0)
                return reject(ErrorCode::ReservedField, "unrecognized bpf_ld_imm64 insn");
            continue;
        }
        const bool direct =
            (map.type == MapType::Array && map.max_entries == 1) || map.type == MapType::Arena;
        if (!direct)
            return reject(ErrorCode::WrongMapType,
                          "invalid access to map value pointer: map '%s' has "
                          "no address that the program may name",
                          map.name.c_str());
        const uint64_t off = static_cast<uint64_t>(insn.imm) >> 32;
        if (off >= static_cast<uint64_t>(kMaxVarOff))
            return reject(ErrorCode::OutOfBoundsAccess,
                          "direct value offset of %llu is not allowed",
                          static_cast<unsigned long long>(off));
        if (map.type == MapType::Array && off >= map.value_size)
            return reject(ErrorCode::OutOfBoundsAccess,
                          "invalid access to map value pointer, "
                          "value_size=%u off=%llu",
                          map.value_size, static_cast<unsigned long long>(off));
    }
    return true;
}

bool Analyzer::check_map_and_program(const MapDef& map) {
    bool has_lock = false, has_timer = false;
    for (const SpecialField& field : map.fields) {
        has_lock |= field.kind == FieldKind::SpinLock || field.kind == FieldKind::ResSpinLock;
        has_timer |= field.kind == FieldKind::Timer || field.kind == FieldKind::Workqueue;
    }
    const ProgKind kind = program_.type->kind;
    const bool tracing = kind == ProgKind::Kprobe || kind == ProgKind::Tracepoint ||
                         kind == ProgKind::PerfEvent || kind == ProgKind::RawTracepoint ||
                         kind == ProgKind::RawTracepointWritable;
    if (has_lock && kind == ProgKind::SocketFilter)
        return reject(ErrorCode::LockDiscipline,
                      "socket filter progs cannot use bpf_spin_lock yet");
    if (has_lock && tracing)
        return reject(ErrorCode::LockDiscipline, "tracing progs cannot use bpf_spin_lock yet");
    if (has_timer && tracing)
        return reject(ErrorCode::LockDiscipline, "tracing progs cannot use bpf_timer yet");
    if (map.type == MapType::StructOps)
        return reject(ErrorCode::WrongMapType, "bpf_struct_ops map cannot be used in prog");
    if (!program_.sleepable) return true;
    switch (map.type) {
        case MapType::Hash:
        case MapType::LruHash:
        case MapType::Array:
        case MapType::PercpuHash:
        case MapType::PercpuArray:
        case MapType::LruPercpuHash:
        case MapType::ArrayOfMaps:
        case MapType::HashOfMaps:
        case MapType::Ringbuf:
        case MapType::UserRingbuf:
        case MapType::InodeStorage:
        case MapType::SkStorage:
        case MapType::TaskStorage:
        case MapType::CgrpStorage:
        case MapType::Queue:
        case MapType::Stack:
        case MapType::Arena: return true;
        default:
            return reject(
                ErrorCode::SleepableContext,
                "Sleepable programs can only use array, hash, ringbuf and local storage maps");
    }
}

// Rules that look at calls as they stand in the text.
bool Analyzer::check_calls() {
    const auto& insns = program_.insns;
    for (uint32_t slot = 0; slot < insns.size(); ++slot) {
        const Insn& insn = insns[slot];
        const uint32_t subprogram = subprogram_index(slot);
        const bool has_btf = program_.subprograms[subprogram].btf_func != 0;
        slot_ = slot;
        if (insn.kind == Kind::LoadPacket && subprogram != 0 && !has_btf)
            return reject(ErrorCode::HelperNotAllowed,
                          "LD_ABS is not allowed in subprogs without BTF");
        if (insn.kind == Kind::Call && insn.pseudo_call() == PseudoCall::Helper &&
            insn.imm == helper_id::kTailCall && subprogram != 0 && !has_btf)
            return reject(ErrorCode::TailCallContext,
                          "tail_call is not allowed in subprogs without BTF");
    }
    return true;
}

}  // namespace skep::verifier
