// Global functions: verified once, on their own, by their BTF prototype; callers only check that
// their arguments fit it.
#include "helpers/kfunc.hpp"
#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"
#include "verifier/kfunc_call.hpp"

namespace skep::verifier {

namespace {

// The tags of a parameter: __arg_ctx and its like in libbpf's bpf_helpers.h.
namespace arg_tag {
constexpr unsigned kCtx = 1, kNonnull = 2, kNullable = 4, kTrusted = 8, kUntrusted = 16,
                   kArena = 32, kUnknown = 64;
}  // namespace arg_tag

unsigned tag_bit(std::string_view value) {
    if (!value.starts_with("arg:")) return 0;
    value.remove_prefix(4);
    if (value == "ctx") return arg_tag::kCtx;
    if (value == "nonnull") return arg_tag::kNonnull;
    if (value == "nullable") return arg_tag::kNullable;
    if (value == "trusted") return arg_tag::kTrusted;
    if (value == "untrusted") return arg_tag::kUntrusted;
    if (value == "arena") return arg_tag::kArena;
    return arg_tag::kUnknown;
}

}  // namespace

// What parameter `index` of a global function is.
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
    unsigned tags = 0;
    for (const BtfDeclTag& tag : btf.decl_tags(id))
        if (tag.component == static_cast<int32_t>(index)) tags |= tag_bit(tag.value);
    if ((tags & arg_tag::kUnknown) != 0) {
        out.wrong = "a tag that is not known";
        return out;
    }
    const BtfType type = btf.resolved(proto.param(index).type);
    if (type.is(BtfKind::Ptr)) {
        pointer_parameter(btf, type, tags, out);
        return out;
    }
    if (tags != 0)
        out.wrong = "a pointer tag, but is no pointer";
    else if (!type.is(BtfKind::Int) && !type.is_any_enum())
        out.wrong = "a type that is not supported";
    return out;
}

void Analyzer::pointer_parameter(const Btf& btf, const BtfType& type, unsigned tags,
                                 Parameter& out) const {
    constexpr const char* kCombination = "an invalid combination of tags";
    const BtfType target = btf.resolved(type.type());
    const std::string_view name = target.name();
    const bool is_struct = target.is(BtfKind::Struct);
    const auto only = [&](unsigned allowed) {
        if ((tags & ~allowed) != 0) out.wrong = kCombination;
    };
    out.nonnull = (tags & arg_tag::kNonnull) != 0;
    out.nullable = (tags & arg_tag::kNullable) != 0;
    out.type_name = essential_name(name);
    if ((tags & arg_tag::kCtx) != 0 || (is_struct && is_context_name(name))) {
        out.kind = Parameter::Context;
        return only(arg_tag::kCtx);
    }
    if (is_struct && (name == "bpf_dynptr" || name == "bpf_dynptr_kern")) {
        out.kind = Parameter::Dynptr;
        return only(0);
    }
    if ((tags & arg_tag::kTrusted) != 0) {
        out.kind = Parameter::Trusted;
        if (!target.is_composite() && !target.is(BtfKind::Fwd)) out.wrong = "no kernel type";
        return only(arg_tag::kTrusted | arg_tag::kNullable);
    }
    if ((tags & arg_tag::kUntrusted) != 0) {
        const bool plain =
            target.is(BtfKind::Void) || target.is(BtfKind::Int) || target.is_any_enum();
        out.kind = plain ? Parameter::UntrustedMemory : Parameter::Untrusted;
        if (!plain && !target.is_composite()) out.wrong = "no struct of the kernel's";
        return only(arg_tag::kUntrusted);
    }
    if ((tags & arg_tag::kArena) != 0) {
        out.kind = Parameter::Arena;
        return only(arg_tag::kArena);
    }
    const auto size = btf.size_of(type.type());
    if (!size || *size == 0) {
        out.wrong = "a type whose size cannot be determined";
        return;
    }
    out.kind = Parameter::Memory;
    out.size = *size;
    only(arg_tag::kNonnull);
}

// The program's own types name the kernel's.
Cell Analyzer::parameter_object(const Parameter& wanted, uint8_t flags) {
    return btf_object(wanted.type_name, flags);
}

bool Analyzer::pass_object(const Parameter& wanted, unsigned reg, const char* function) {
    const Cell cell = st().reg(reg);
    if (wanted.nullable && cell.is_scalar() && num(cell).is_const(0)) {
        need(cell);
        return true;
    }
    constexpr uint8_t kUnsafe = flag::kUntrusted | flag::kUser | flag::kPercpu | flag::kAlloc;
    KfuncType type;
    type.name = wanted.type_name;
    const bool object = cell.type == CellType::Btf || cell.type == CellType::Socket ||
                        cell.type == CellType::SockCommon || cell.type == CellType::TcpSock;
    if (!object || (cell.type == CellType::Btf && (cell.flags & kUnsafe) != 0) ||
        !fits_object(cell, type, false))
        return reject(ErrorCode::BadGlobalCall, "R%u is %s: %s() expects a pointer to %s", reg,
                      name_of_cell(cell).c_str(), function, type.name.c_str());
    if (cell.maybe_null() && !wanted.nullable)
        return reject(ErrorCode::PossiblyNull, "R%u may be null: %s() needs it not to be", reg,
                      function);
    return check_constant_offset(cell, reg, "ptr_", true);
}

bool Analyzer::pass_dynptr(unsigned reg) {
    const Cell cell = st().reg(reg);
    if (cell.type == CellType::DynptrHandle) return unmoved(reg);
    int off = 0;
    if (cell.type != CellType::Stack)
        return reject(ErrorCode::BadDynptr,
                      "arg#%u expected pointer to stack or const struct bpf_dynptr: r%u is %s",
                      reg - 1, reg, name_of_cell(cell).c_str());
    if (!special_slot(cell, reg, "dynptr", off)) return false;
    const Cell* slot = special_at(cell.object, off, Tag::Dynptr);
    if (slot != nullptr && slot->type == CellType::DynptrSlot && slot->off == 0) return true;
    return reject(ErrorCode::BadDynptr, "Expected an initialized dynptr as arg #%u", reg - 1);
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

// Global functions take at most five arguments, and return a number.
bool Analyzer::check_prototype(uint32_t subprogram) {
    const Subprogram& function = program_.subprograms[subprogram];
    if (program_.btf == nullptr || function.btf_func == 0) return true;
    const Btf& btf = *program_.btf;
    const BtfType proto = btf.type(btf.type(function.btf_func).type());
    if (!proto.is(BtfKind::FuncProto)) return true;
    if (proto.count() > 5)
        return reject(ErrorCode::BadGlobalCall,
                      "Global function %s() with %u > 5 args. Buggy "
                      "compiler.",
                      function.name.c_str(), proto.count());
    const BtfType result = btf.resolved(proto.type());
    if (result.is(BtfKind::Int) || result.is_any_enum()) return true;
    return reject(ErrorCode::BadGlobalCall,
                  "Global function %s() doesn't return scalar. Only those are supported.",
                  function.name.c_str());
}

bool Analyzer::call_global(const Insn&, uint32_t subprogram) {
    const std::string& name = program_.subprograms[subprogram].name;
    if (!check_prototype(subprogram)) return false;
    if (st().find_lock() != nullptr)
        return reject(ErrorCode::LockDiscipline,
                      "global function calls are not allowed while holding a "
                      "lock, use static function instead");
    if (!may_sleep_here() && may_sleep(subprogram))
        return reject(ErrorCode::SleepableContext,
                      "global functions that may sleep are not allowed in a non-sleepable context: "
                      "%s()",
                      name.c_str());
    for (uint32_t i = 0; i < 5; ++i) {
        const unsigned reg = i + 1;
        const Parameter wanted = parameter(subprogram, i);
        if (!wanted.known)
            return reject(ErrorCode::BadGlobalCall,
                          "global function %s() doesn't have a BTF prototype", name.c_str());
        if (!wanted.present) break;
        if (wanted.wrong != nullptr)
            return reject(ErrorCode::BadGlobalCall, "argument %u of global function %s() has %s",
                          reg, name.c_str(), wanted.wrong);
        if (!read_reg(reg)) return false;
        const Cell cell = st().reg(reg);
        switch (wanted.kind) {
            case Parameter::Number:
                if (!cell.is_scalar())
                    return reject(ErrorCode::BadGlobalCall,
                                  "R%u is not a scalar: argument %u of %s()", reg, reg,
                                  name.c_str());
                break;
            case Parameter::Arena:
                if (!cell.is_scalar() && cell.type != CellType::Arena)
                    return reject(ErrorCode::BadGlobalCall,
                                  "R%u is not a pointer to arena or scalar: argument %u of %s()",
                                  reg, reg, name.c_str());
                break;
            case Parameter::Context:
                if (cell.type != CellType::Context)
                    return reject(ErrorCode::BadGlobalCall,
                                  "arg#%u expects pointer to ctx, r%u is %s", i, reg,
                                  name_of_cell(cell).c_str());
                if (!check_constant_offset(cell, reg, "ctx", false)) return false;
                break;
            case Parameter::Dynptr:
                if (!pass_dynptr(reg)) return false;
                break;
            case Parameter::Trusted:
                if (!pass_object(wanted, reg, name.c_str())) return false;
                break;
            case Parameter::Untrusted:
            case Parameter::UntrustedMemory: break;  // read with care, whatever it is
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
    if (!check_prototype(subprogram)) return false;
    Frame& frame = state.own_frame(0);
    for (uint32_t i = 0; i < 5; ++i) {
        const Parameter wanted = parameter(subprogram, i);
        if (!wanted.present) break;
        if (wanted.wrong != nullptr)
            return reject(ErrorCode::BadGlobalCall, "argument %u of global function %s() has %s",
                          i + 1, program_.subprograms[subprogram].name.c_str(), wanted.wrong);
        Cell& reg = frame.regs[i + 1];
        switch (wanted.kind) {
            case Parameter::Number: reg = unknown(); break;
            case Parameter::Context: reg = pointer(CellType::Context); break;
            case Parameter::Dynptr:
                reg = pointer(CellType::DynptrHandle, 0, dynptr_kind::kLocal);
                break;
            case Parameter::Trusted:
                reg = parameter_object(wanted, flag::kTrusted);
                if (wanted.nullable) reg.flags |= flag::kMaybeNull, reg.id = fresh_id();
                break;
            case Parameter::Untrusted: reg = parameter_object(wanted, flag::kUntrusted); break;
            case Parameter::UntrustedMemory:
                reg = pointer(CellType::Mem, flag::kReadOnly | flag::kUntrusted, object_index({}));
                break;
            case Parameter::Arena: reg = pointer(CellType::Arena); break;
            case Parameter::Memory:
                reg = pointer(CellType::Mem, wanted.nonnull ? 0 : flag::kMaybeNull,
                              object_index({.size = wanted.size}));
                if (!wanted.nonnull) reg.id = fresh_id();
                break;
        }
    }
    return true;
}

// bpf_throw() ends in it: a global function of one number.
bool Analyzer::wants_exception_callback() {
    const auto subprogram = static_cast<uint32_t>(program_.exception_callback);
    const Parameter first = parameter(subprogram, 0), second = parameter(subprogram, 1);
    slot_ = program_.subprograms[subprogram].first;
    if (!program_.subprograms[subprogram].is_global)
        return reject(ErrorCode::BadCallback, "exception cb should be a global function");
    if (!first.present || first.kind != Parameter::Number || first.wrong != nullptr ||
        second.present)
        return reject(ErrorCode::BadCallback, "exception cb only supports single integer argument");
    global_state_[subprogram] = 1;
    return true;
}

// Whether a subprogram, or anything it calls, has a slot for which `holds` does.
template <class Predicate>
bool Analyzer::reaches(uint32_t subprogram, Predicate holds) {
    std::vector<uint32_t> work{subprogram};
    std::vector<uint8_t> seen(program_.subprograms.size(), 0);
    seen[subprogram] = 1;
    while (!work.empty()) {
        const uint32_t at = work.back();
        work.pop_back();
        const Subprogram& sub = program_.subprograms[at];
        for (uint32_t slot = sub.first; slot < sub.first + sub.count; ++slot)
            if (holds(slot)) return true;
        for (const uint32_t callee : cfg_->subprograms()[at].callees)
            if (seen[callee] == 0) {
                seen[callee] = 1;
                work.push_back(callee);
            }
    }
    return false;
}

// It may move the packet's bounds.
bool Analyzer::changes_packet(uint32_t subprogram) {
    return reaches(subprogram, [this](uint32_t slot) { return helper_changes_packet(slot); });
}

bool Analyzer::throws_below(uint32_t subprogram) {
    return reaches(subprogram, [this](uint32_t slot) {
        const Insn& insn = program_.insns[slot];
        return insn.kind == skep::Kind::Call && insn.pseudo_call() == PseudoCall::Kfunc &&
               calls_throw(slot);
    });
}

bool Analyzer::may_sleep(uint32_t subprogram) {
    return reaches(subprogram, [this](uint32_t slot) {
        const Insn& insn = program_.insns[slot];
        if (insn.kind != skep::Kind::Call) return false;
        if (insn.pseudo_call() == PseudoCall::Kfunc) {
            const Kfunc* kfunc = kfunc_at(slot).kfunc;
            return kfunc != nullptr && kfunc->has(kfunc_flag::kSleepable);
        }
        const Helper* helper = find_helper(static_cast<uint32_t>(insn.imm), *program_.type);
        return helper != nullptr && (helper->flags & helper_flag::kMaySleep) != 0;
    });
}

}  // namespace skep::verifier
