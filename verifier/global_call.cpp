// Global functions: verified once, on their own, by their BTF prototype; callers only check that
// their arguments fit it.
#include "verifier/analyzer.hpp"

namespace skep::verifier {

// What parameter `index` of a global function is: a number, the context, or memory.
Analyzer::Parameter Analyzer::parameter(uint32_t subprogram, uint32_t index) const {
    Parameter out;
    const uint32_t id = program_.subprograms[subprogram].btf_func;
    if (program_.btf == nullptr || id == 0) return out;
    const Btf& btf = *program_.btf;
    const BtfType func = btf.type(id);
    const BtfType proto = btf.type(func.type());
    if (!proto.is(BtfKind::FuncProto)) return out;
    out.known = true;
    if (index >= proto.count()) return out;
    out.present = true;
    for (const BtfDeclTag& tag : btf.decl_tags(id)) {
        if (tag.component != static_cast<int32_t>(index)) continue;
        if (tag.value == "arg:ctx") out.kind = Parameter::Context;
        if (tag.value == "arg:nonnull") out.nonnull = true;
        if (tag.value == "arg:trusted" || tag.value == "arg:dynptr" || tag.value == "arg:arena")
            out.unsupported = true;
    }
    const BtfType type = btf.resolved(proto.param(index).type);
    if (type.is(BtfKind::Int) || type.is_any_enum()) return out;
    if (!type.is(BtfKind::Ptr)) {
        out.unsupported = true;
        return out;
    }
    if (out.kind == Parameter::Context) return out;
    const BtfType target = btf.resolved(type.type());
    const std::string_view name = target.name();
    if (target.is(BtfKind::Struct) && is_context_name(name)) {
        out.kind = Parameter::Context;
        return out;
    }
    const auto size = btf.size_of(type.type());
    if (!size || *size == 0) {
        out.unsupported = true;
        return out;
    }
    out.kind = Parameter::Memory;
    out.size = *size;
    return out;
}

bool Analyzer::is_context_name(std::string_view name) const {
    switch (program_.type->kind) {
        case ProgKind::Kprobe:
            return name == "pt_regs" || name == "user_pt_regs" || name == "bpf_user_pt_regs_t";
        case ProgKind::PerfEvent: return name == "bpf_perf_event_data";
        case ProgKind::RawTracepoint: return name == "bpf_raw_tracepoint_args";
        default: return !name.empty() && name == program_.type->ctx->name;
    }
}

bool Analyzer::call_global(const Insn&, uint32_t subprogram) {
    const std::string& name = program_.subprograms[subprogram].name;
    if (st().find_lock() != nullptr)
        return reject(ErrorCode::LockDiscipline,
                      "global function calls are not allowed while holding a "
                      "lock, use static function instead");
    for (uint32_t i = 0; i < 5; ++i) {
        const unsigned reg = i + 1;
        const Parameter wanted = parameter(subprogram, i);
        if (!wanted.known)
            return reject(ErrorCode::BadGlobalCall,
                          "global function %s() doesn't have a BTF prototype", name.c_str());
        if (!wanted.present) break;
        if (wanted.unsupported)
            return unsupported(ErrorCode::UnsupportedFeature,
                               "argument %u of global function %s() is of "
                               "a kind that is not verified",
                               reg, name.c_str());
        if (!read_reg(reg)) return false;
        const Cell cell = st().reg(reg);
        switch (wanted.kind) {
            case Parameter::Number:
                if (!cell.is_scalar())
                    return reject(ErrorCode::BadGlobalCall,
                                  "R%u is not a scalar: argument %u of %s()", reg, reg,
                                  name.c_str());
                break;
            case Parameter::Context:
                if (cell.type != CellType::Context)
                    return reject(ErrorCode::BadGlobalCall,
                                  "arg#%u expects pointer to ctx, r%u is %s", i, reg,
                                  name_of_cell(cell).c_str());
                if (!check_constant_offset(cell, reg, "ctx", false)) return false;
                break;
            case Parameter::Memory: {
                const bool null = cell.is_scalar() && num(cell).is_const(0);
                if (null && !wanted.nonnull) {
                    need(cell);
                    break;
                }
                if (cell.maybe_null() && wanted.nonnull)
                    return reject(ErrorCode::PossiblyNull,
                                  "arg#%u may be null: %s() needs it not to be", i, name.c_str());
                if (!global_memory(cell, reg, wanted.size)) return false;
                break;
            }
        }
    }
    unbounded_ = true;  // what it costs is not counted here
    if (global_state_[subprogram] == 0) global_state_[subprogram] = 1;
    for (unsigned r = 0; r <= 5; ++r) own_reg(r) = Cell{};
    // It may move the packet: what it does is not known here.
    if (changes_packet(subprogram)) clear_packet_pointers(st());
    set_reg(0, unknown());
    st().slot = slot_ + 1;
    return true;
}

bool Analyzer::global_memory(const Cell& cell, unsigned reg, uint32_t size) {
    switch (cell.type) {
        case CellType::Stack: {
            if (!stack_range(cell, reg, size, true, false, false)) return false;
            return true;
        }
        case CellType::MapValue: {
            const MapDef& map = map_of(cell);
            if (is_read_only(map))
                return reject(ErrorCode::ReadOnlyMemory, "write into map forbidden, value_size=%u",
                              map.value_size);
            return check_region(cell, reg, cell.off, size, map.value_size, false, "map value") &&
                   check_map_fields(cell, reg, cell.off, size);
        }
        case CellType::Mem:
            if ((cell.flags & flag::kReadOnly) != 0)
                return reject(ErrorCode::ReadOnlyMemory, "R%u cannot write into %s", reg,
                              name_of_cell(cell).c_str());
            return check_region(cell, reg, cell.off, size, objects_[cell.object].size, false,
                                "memory");
        case CellType::Packet:
        case CellType::PacketMeta:
            if (!packet_writable())
                return reject(ErrorCode::ReadOnlyMemory, "cannot write into packet");
            return check_packet(cell, reg, cell.off, size, false);
        default: break;
    }
    return reject(ErrorCode::BadGlobalCall,
                  "arg#%u expected pointer to memory of %u bytes, r%u is %s", reg - 1, size, reg,
                  name_of_cell(cell).c_str());
}

bool Analyzer::global_entry(uint32_t subprogram, State& state) {
    slot_ = program_.subprograms[subprogram].first;
    Frame& frame = state.own_frame(0);
    for (uint32_t i = 0; i < 5; ++i) {
        const Parameter wanted = parameter(subprogram, i);
        if (!wanted.present) break;
        Cell& reg = frame.regs[i + 1];
        switch (wanted.kind) {
            case Parameter::Number: reg = unknown(); break;
            case Parameter::Context: reg = pointer(CellType::Context); break;
            case Parameter::Memory:
                reg = pointer(CellType::Mem, wanted.nonnull ? 0 : flag::kMaybeNull,
                              object_index({.size = wanted.size}));
                if (!wanted.nonnull) reg.id = fresh_id();
                break;
        }
    }
    return true;
}

// Whether a subprogram, or anything it calls, may move the packet's bounds.
bool Analyzer::changes_packet(uint32_t subprogram) {
    std::vector<uint32_t> work{subprogram};
    std::vector<uint8_t> seen(program_.subprograms.size(), 0);
    seen[subprogram] = 1;
    while (!work.empty()) {
        const uint32_t at = work.back();
        work.pop_back();
        const Subprogram& sub = program_.subprograms[at];
        for (uint32_t slot = sub.first; slot < sub.first + sub.count; ++slot)
            if (helper_changes_packet(slot)) return true;
        for (const uint32_t callee : cfg_->subprograms()[at].callees)
            if (seen[callee] == 0) {
                seen[callee] = 1;
                work.push_back(callee);
            }
    }
    return false;
}

}  // namespace skep::verifier
