// Calls of kernel functions: which function a call means, whether it may be called here, and what
// the call does to the state.
#include "helpers/kfunc.hpp"

#include <algorithm>

#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"
#include "verifier/each_cell.hpp"
#include "verifier/kfunc_call.hpp"

namespace skep::verifier {

using Kind = KfuncType::Kind;
using Target = KfuncType::Target;

namespace {

bool is_tagged_kfunc(const Btf& btf, uint32_t func) {
    for (const BtfDeclTag& tag : btf.decl_tags(func))
        if (tag.value == "bpf_kfunc") return true;
    return false;
}

}  // namespace

// --- which function -----------------------------------------------------------------------------

const KfuncRef& Analyzer::kfunc_at(uint32_t slot) {
    const auto found = kfuncs_.find(slot);
    if (found != kfuncs_.end()) return *found->second;
    auto ref = std::make_unique<KfuncRef>();
    resolve_kfunc(slot, *ref);
    return *kfuncs_.emplace(slot, std::move(ref)).first->second;
}

void Analyzer::resolve_kfunc(uint32_t slot, KfuncRef& out) const {
    using Status = KfuncRef::Status;
    const Btf* btf = options_.kernel_btf.get();
    const auto external = program_.externs.find(slot);
    const bool by_name = external != program_.externs.end();
    uint32_t func = 0;
    if (by_name) {
        out.name = essential_name(external->second.name);
        out.weak = external->second.weak;
        if (btf != nullptr) func = btf->find(out.name, BtfKind::Func);
    } else {
        if (btf == nullptr || insn_at(slot).off != 0) return;
        func = static_cast<uint32_t>(insn_at(slot).imm);
        if (!btf->has(func) || !btf->type(func).is(BtfKind::Func)) {
            out.status = Status::NoFunction;
            return;
        }
        out.name = btf->type(func).name();
    }
    if (options_.host_kfunc) out.host = options_.host_kfunc(out.name);
    out.kfunc = find_kfunc(out.name);
    if (out.host != nullptr) {
        out.status = Status::Known;
        return;
    }
    if (out.kfunc == nullptr) {
        if (!by_name || (func != 0 && !is_tagged_kfunc(*btf, func)))
            out.status = Status::NotAllowed;
        else
            out.status = btf == nullptr || func != 0 ? Status::Unknown : Status::Missing;
        return;
    }
    // A kernel without it cannot load the program, unless we bring the function ourselves. Where no
    // kernel is named, what programs can do without is missing if nothing runs it.
    const bool absent = btf != nullptr ? func == 0 : out.weak;
    if (absent && out.kfunc->run == nullptr) {
        out.status = Status::Missing;
        return;
    }
    out.status = Status::Known;
    std::optional<KfuncProto> proto;
    if (func != 0) proto = kfunc_proto(*btf, func);
    out.proto = proto ? *std::move(proto) : kfunc_proto(*out.kfunc);
}

bool Analyzer::kfunc_unresolved(const KfuncRef& ref) {
    using Status = KfuncRef::Status;
    const char* name = ref.name.c_str();
    switch (ref.status) {
        case Status::Known: return true;
        case Status::Unnamed:
            if (insn_at(slot_).imm == 0)
                return reject(ErrorCode::UnknownHelper,
                              "invalid kernel function call not eliminated in verifier pass");
            if (insn_at(slot_).off != 0)
                return reject(ErrorCode::UnknownHelper,
                              "failed to find the BTF of the module that has the kernel function");
            return unsupported(ErrorCode::BtfNeeded,
                               "calls kernel function %lld, whose name only the kernel's BTF tells",
                               static_cast<long long>(insn_at(slot_).imm));
        case Status::NoFunction:
            return reject(ErrorCode::UnknownHelper, "kernel btf_id %lld is not a function",
                          static_cast<long long>(insn_at(slot_).imm));
        case Status::Missing:
            if (ref.weak)
                return reject(ErrorCode::UnknownHelper,
                              "invalid func unknown: the weak kernel function %s does not exist, "
                              "test its address before calling it",
                              name);
            return reject(ErrorCode::UnresolvedSymbol,
                          "extern (func ksym) '%s': not found in the kernel's BTF", name);
        case Status::Unknown:
            return unsupported(ErrorCode::UnsupportedKfunc, "calls kernel function %s", name);
        case Status::NotAllowed:
            return reject(ErrorCode::HelperNotAllowed, "calling kernel function %s is not allowed",
                          name);
    }
    return false;
}

bool Analyzer::is_iter_next(uint32_t slot) {
    const KfuncRef& ref = kfunc_at(slot);
    return ref.kfunc != nullptr && ref.kfunc->has(kfunc_flag::kIterNext);
}

// Rounds of their callback converge at the call, as those of a helper's do.
bool Analyzer::kfunc_calls_back(uint32_t slot) {
    const KfuncRef& ref = kfunc_at(slot);
    return ref.kfunc != nullptr && ref.kfunc->special == KfuncSpecial::RbtreeAdd;
}

bool Analyzer::calls_throw(uint32_t slot) {
    const KfuncRef& ref = kfunc_at(slot);
    return ref.kfunc != nullptr && ref.kfunc->special == KfuncSpecial::Throw;
}

// --- whether it may be called -------------------------------------------------------------------

bool Analyzer::in_rcu_section() const {
    return current_.rcu_depth != 0 || current_.find_lock() != nullptr || !current_.in_sleepable;
}

bool Analyzer::may_sleep_here() const {
    if (!current_.in_sleepable || current_.rcu_depth != 0 || current_.preempt_depth != 0)
        return false;
    return std::ranges::none_of(current_.holds,
                                [](const Hold& h) { return h.kind == HoldKind::Irq; });
}

bool Analyzer::may_call_kfunc(const KfuncCall& call) {
    using namespace kfunc_flag;
    const Kfunc& kfunc = call.kfunc;
    const std::string name(kfunc.name);
    if (!program_.gpl_compatible) {
        if (!strict())
            return reject(ErrorCode::GplOnly,
                          "cannot call kernel function %s from non-GPL compatible program",
                          name.c_str());
        relax("gpl_only_helper");
    }
    if (!kfunc_allowed(kfunc, *program_.type, program_.attach_type))
        return reject(ErrorCode::HelperNotAllowed,
                      "calling kernel function %s is not allowed: type %s may not call it",
                      name.c_str(), std::string(program_.type->name).c_str());
    if (kfunc.has(kDeviceBound))
        return reject(ErrorCode::HelperNotAllowed,
                      "metadata kfuncs require device-bound program: %s", name.c_str());
    if (call.is(KfuncSpecial::Trap))
        return reject(ErrorCode::HelperNotAllowed,
                      "unexpected __bpf_trap() due to uninitialized variable?");
    if (st().find_lock() != nullptr && !kfunc.has(kSpinAllowed))
        return reject(ErrorCode::LockDiscipline,
                      "function calls are not allowed while holding a lock: %s", name.c_str());
    if (!kfunc.has(kSleepable)) return true;
    if (!st().in_sleepable)
        return reject(ErrorCode::SleepableContext,
                      "program must be sleepable to call sleepable kfunc %s", name.c_str());
    if (st().rcu_depth != 0)
        return reject(ErrorCode::SleepableContext,
                      "kernel func %s is sleepable within rcu_read_lock region", name.c_str());
    if (st().preempt_depth != 0)
        return reject(ErrorCode::SleepableContext,
                      "kernel func %s is sleepable within non-preemptible region", name.c_str());
    for (const Hold& hold : st().holds)
        if (hold.kind == HoldKind::Irq)
            return reject(ErrorCode::SleepableContext,
                          "kernel func %s is sleepable within IRQ-disabled region", name.c_str());
    return true;
}

bool Analyzer::step_kfunc(const Insn&) {
    const KfuncRef& ref = kfunc_at(slot_);
    if (!kfunc_unresolved(ref)) return false;
    if (ref.host != nullptr) return call_host_kfunc(ref);
    KfuncCall call{.ref = ref, .kfunc = *ref.kfunc};
    if (!may_call_kfunc(call)) return false;
    if (!kfunc_arguments(call)) return false;
    if (call.kfunc.has(kfunc_flag::kRelease) && call.release_reg == 0)
        return reject(ErrorCode::BadRelease,
                      "release kernel function %s expects refcounted PTR_TO_BTF_ID",
                      ref.name.c_str());
    if (call.kfunc.has(kfunc_flag::kRcuProtected) && !in_rcu_section())
        return reject(ErrorCode::LockDiscipline,
                      "kernel func %s requires RCU critical section protection", ref.name.c_str());
    return kfunc_effects(call);
}

// The host's functions are checked like helpers, by the prototype that their C++ signature says.
bool Analyzer::call_host_kfunc(const KfuncRef& ref) {
    const Helper& helper = *ref.host;
    if (!check_helper_allowed(helper)) return false;
    CallInfo call{.helper = &helper};
    for (unsigned i = 0; i < helper.proto.count; ++i)
        if (!check_argument(call, i)) return false;
    return finish_call(call);
}

// --- what it does -------------------------------------------------------------------------------

bool Analyzer::kfunc_effects(KfuncCall& call) {
    const Kfunc& kfunc = call.kfunc;
    switch (kfunc.special) {
        case KfuncSpecial::RcuLock:
            if (st().rcu_depth != 0)
                return reject(ErrorCode::LockDiscipline,
                              "nested rcu read lock (kernel function bpf_rcu_read_lock)");
            ++st().rcu_depth;
            break;
        case KfuncSpecial::RcuUnlock:
            if (!leave_rcu()) return false;
            break;
        case KfuncSpecial::PreemptDisable: ++st().preempt_depth; break;
        case KfuncSpecial::PreemptEnable:
            if (st().preempt_depth == 0)
                return reject(ErrorCode::LockDiscipline,
                              "unmatched attempt to enable preemption (kernel function %s)",
                              call.ref.name.c_str());
            --st().preempt_depth;
            break;
        case KfuncSpecial::Throw: return throws();
        case KfuncSpecial::IrqSave:
            if (!save_irq(call)) return false;
            break;
        case KfuncSpecial::IrqRestore:
            if (!restore_irq(call)) return false;
            break;
        case KfuncSpecial::ResLock:
        case KfuncSpecial::ResLockIrqsave:
            if (!take_res_lock(call)) return false;
            break;
        case KfuncSpecial::ResUnlock:
        case KfuncSpecial::ResUnlockIrqrestore:
            if (!drop_res_lock(call)) return false;
            break;
        default: break;
    }
    if (kfunc.has(kfunc_flag::kIterNew)) return iterator_new(call);
    if (kfunc.has(kfunc_flag::kIterNext)) return iterator_next(call);
    if (kfunc.has(kfunc_flag::kIterDestroy)) return iterator_destroy(call);
    if (call.callback >= 0 && !start_kfunc_callback(call)) return false;
    if (call.release_reg != 0 && !release_reference(st().reg(call.release_reg).ref)) return false;
    if (kfunc.has(kfunc_flag::kChangesPacket)) clear_packet_pointers(st());
    clobber_caller_saved(st());
    Cell r0;
    if (!kfunc_result(call, r0)) return false;
    if (call.is(KfuncSpecial::ResLock) || call.is(KfuncSpecial::ResLockIrqsave)) r0 = constant(0);
    set_reg(0, r0);
    st().slot = slot_ + 1;
    return true;
}

// Behind the outermost section nothing that it protected may be relied on.
bool Analyzer::leave_rcu() {
    if (st().rcu_depth == 0)
        return reject(ErrorCode::LockDiscipline,
                      "unmatched rcu read unlock (kernel function bpf_rcu_read_unlock)");
    if (--st().rcu_depth != 0) return true;
    update_cells(
        st(),
        [](const Cell& c) {
            return (c.type == CellType::Btf || c.type == CellType::IteratorSlot) &&
                   (c.flags & flag::kRcu) != 0;
        },
        [](Cell& c) {
            c.flags &= static_cast<uint8_t>(~(flag::kRcu | flag::kMaybeNull));
            c.flags |= flag::kUntrusted;
        });
    return true;
}

// The program ends here, with the cookie as its result unless it has an exception callback.
bool Analyzer::throws() {
    if (!check_holds_at_exit("bpf_throw", true)) return false;
    path_over_ = true;
    if (program_.exception_callback >= 0 || verifying_global_) return true;
    own_reg(0) = st().reg(1);
    return check_return_value();
}

bool Analyzer::start_kfunc_callback(KfuncCall& call) {
    CallInfo info;
    info.callback_subprogram = call.callback;
    info.map = call.field_map;
    switch (call.kfunc.special) {
        case KfuncSpecial::WqSetCallback:
        case KfuncSpecial::TaskWork: info.callback = CallbackKind::Workqueue; break;
        default: return start_object_callback(call);
    }
    return start_callback(info);
}

// --- results ------------------------------------------------------------------------------------

bool Analyzer::kfunc_result(KfuncCall& call, Cell& r0) {
    const Kfunc& kfunc = call.kfunc;
    bool handled = false;
    if (!special_result(call, r0, handled)) return false;
    if (!handled) {
        switch (call.ref.proto.result.kind) {
            case Kind::Void: r0 = Cell{}; return true;
            case Kind::Scalar:
            case Kind::Other: r0 = unknown(); return true;
            case Kind::Pointer: break;
        }
        if (!pointer_result(call, r0)) return false;
    }
    if (!r0.is_pointer()) return true;
    const bool may_be_null = kfunc.has(kfunc_flag::kRetNull) && !call.never_null;
    if (may_be_null) {
        r0.flags |= flag::kMaybeNull;
        r0.id = fresh_id();
    }
    if (kfunc.has(kfunc_flag::kAcquire)) {
        const uint32_t ref = acquire(slot_);
        r0.ref = ref;
        if (may_be_null || has_lock(r0)) r0.id = ref;
    }
    return true;
}

bool Analyzer::pointer_result(KfuncCall& call, Cell& r0) {
    const KfuncType& type = call.ref.proto.result;
    switch (type.target) {
        case Target::Void: r0 = unknown(); return true;  // as good as a number
        case Target::Struct:
        case Target::Union: r0 = kernel_object(type, kfunc_result_flags(call)); return true;
        default: break;
    }
    if (!call.result_size) {
        if (type.size == 0)
            return reject(ErrorCode::BadArgumentType,
                          "kernel function %s returns a pointer of a type that is not supported",
                          call.ref.name.c_str());
        call.result_size = type.size;
        call.result_readonly = true;
    }
    r0 = pointer(CellType::Mem, call.result_readonly ? flag::kReadOnly : 0,
                 object_index({.size = static_cast<uint32_t>(*call.result_size)}));
    r0.ref = call.held;
    return true;
}

uint8_t Analyzer::kfunc_result_flags(const KfuncCall& call) const {
    if (call.kfunc.has(kfunc_flag::kUntrustedResult)) return flag::kUntrusted;
    if (call.kfunc.has(kfunc_flag::kRcuProtected)) return flag::kRcu;
    return 0;
}

// An object of a type that a prototype names.
Cell Analyzer::kernel_object(const KfuncType& type, uint8_t flags) {
    const Btf* btf = options_.kernel_btf.get();
    if (type.btf_id != 0 && btf != nullptr)
        return pointer(CellType::Btf, flags,
                       object_index({.size = type.size, .btf_id = type.btf_id, .btf = btf}));
    return btf_object(type.name, flags);
}

// Results that do not follow from the prototype.
bool Analyzer::special_result(KfuncCall& call, Cell& r0, bool& handled) {
    handled = true;
    switch (call.kfunc.special) {
        case KfuncSpecial::CastToKernCtx: return cast_to_kern_ctx(r0);
        case KfuncSpecial::RdonlyCast: return rdonly_cast(call, r0);
        case KfuncSpecial::DynptrSlice:
        case KfuncSpecial::DynptrSliceRdwr: return slice_result(call, r0);
        default: break;
    }
    return object_result(call, r0, handled);
}

// The kernel's own struct behind the context of this program type.
bool Analyzer::cast_to_kern_ctx(Cell& r0) {
    std::string_view name;
    switch (program_.type->kind) {
        case ProgKind::Xdp: name = "xdp_buff"; break;
        case ProgKind::SocketFilter:
        case ProgKind::SchedCls:
        case ProgKind::SchedAct:
        case ProgKind::CgroupSkb:
        case ProgKind::LwtIn:
        case ProgKind::LwtOut:
        case ProgKind::LwtXmit:
        case ProgKind::LwtSeg6local:
        case ProgKind::SkSkb: name = "sk_buff"; break;
        case ProgKind::CgroupSock: name = "sock"; break;
        case ProgKind::CgroupSockAddr: name = "bpf_sock_addr_kern"; break;
        case ProgKind::SockOps: name = "bpf_sock_ops_kern"; break;
        case ProgKind::SkMsg: name = "sk_msg"; break;
        case ProgKind::FlowDissector: name = "bpf_flow_dissector"; break;
        case ProgKind::Kprobe: name = "pt_regs"; break;
        case ProgKind::PerfEvent: name = "bpf_perf_event_data_kern"; break;
        case ProgKind::CgroupDevice: name = "bpf_cgroup_dev_ctx"; break;
        case ProgKind::CgroupSysctl: name = "bpf_sysctl_kern"; break;
        case ProgKind::CgroupSockopt: name = "bpf_sockopt_kern"; break;
        case ProgKind::SkReuseport: name = "sk_reuseport_kern"; break;
        case ProgKind::SkLookup: name = "bpf_sk_lookup_kern"; break;
        case ProgKind::Netfilter: name = "bpf_nf_ctx"; break;
        default:
            return unsupported(ErrorCode::UnsupportedFeature,
                               "bpf_cast_to_kern_ctx in a program of type %s",
                               std::string(program_.type->name).c_str());
    }
    r0 = btf_object(name, flag::kTrusted);
    return true;
}

bool Analyzer::rdonly_cast(const KfuncCall& call, Cell& r0) {
    const Btf* btf = options_.kernel_btf.get();
    const uint64_t id = call.constant.value_or(0);
    if (id == 0) {
        // Memory of any size, read as a kernel reads what may fault.
        r0 = pointer(CellType::Mem, flag::kReadOnly | flag::kUntrusted, object_index({.size = 0}));
        return true;
    }
    if (btf == nullptr)
        return unsupported(ErrorCode::BtfNeeded, "bpf_rdonly_cast names a type of the kernel's");
    if (id > UINT32_MAX || !btf->has(static_cast<uint32_t>(id)))
        return reject(ErrorCode::BadArgumentType,
                      "Unknown type ID %llu passed to kfunc bpf_rdonly_cast",
                      static_cast<unsigned long long>(id));
    const BtfType type = btf->type(static_cast<uint32_t>(id));
    if (!type.is(BtfKind::Struct))
        return reject(ErrorCode::BadArgumentType,
                      "kfunc bpf_rdonly_cast type ID argument must be of a struct or void");
    r0 = pointer(CellType::Btf, flag::kUntrusted,
                 object_index({.size = type.size(), .btf_id = type.id(), .btf = btf}));
    return true;
}

}  // namespace skep::verifier
