// Calls: subprograms, helpers, callbacks, and what is held across them.
//
// A callback helper is verified for any number of rounds: besides going on behind the call, a state
// enters the callback, comes back to the call itself, and so on until a round adds nothing.
#include <algorithm>

#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"
#include "verifier/each_cell.hpp"
#include "verifier/lsm_hooks.hpp"

namespace skep::verifier {
namespace {

// Helpers that give another view of their argument: the result lives as long as that.
bool is_cast_helper(uint32_t id) {
    using namespace helper_id;
    return id == kSkFullsock || id == kTcpSock || (id >= kSkcToTcp6Sock && id <= kSkcToUdp6Sock) ||
           id == kSkcToUnixSock || id == kSkcToMptcpSock;
}

}  // namespace

void Analyzer::clobber_caller_saved(State& state) {
    Frame& frame = state.own_top();
    for (unsigned r = 0; r <= 5; ++r) frame.regs[r] = Cell{};
}

void Analyzer::clear_packet_pointers(State& state) {
    for (Order& order : state.orders) order.to_length = false;
    update_cells(
        state,
        [](const Cell& c) {
            if (c.is_scalar()) return (c.flags & flag::kPacketLength) != 0;
            return c.is_packet() || c.type == CellType::PacketEnd ||
                   (c.type == CellType::Mem && (c.flags & flag::kPacketSlice) != 0);
        },
        [&](Cell& c) {
            // A length is stale, but still a number.
            if (c.is_scalar())
                c.flags &= static_cast<uint8_t>(~flag::kPacketLength);
            else
                c = dead_pointer();
        });
}

// What is left of a pointer whose object is gone: privileged Linux takes it for a number.
Cell Analyzer::dead_pointer() { return strict() ? Cell{} : unknown(); }

uint32_t Analyzer::acquire(uint32_t slot) {
    const uint32_t id = fresh_id();
    Hold hold;
    hold.kind = HoldKind::Reference;
    hold.id = id;
    hold.slot = slot;
    st().holds.push_back(hold);
    return id;
}

bool Analyzer::release_reference(uint32_t ref) {
    const size_t removed = std::erase_if(
        st().holds, [&](const Hold& h) { return h.kind == HoldKind::Reference && h.id == ref; });
    if (removed == 0)
        return reject(ErrorCode::BadRelease, "reference has not been acquired before");
    drop_dynptrs(ref);
    update_cells(
        st(), [&](const Cell& c) { return c.is_pointer() && c.ref == ref; },
        [&](Cell& c) { c = dead_pointer(); });
    return true;
}

bool Analyzer::check_holds_at_exit(const char* what, bool program_end) {
    const State& state = st();
    if (SKEP_MUTANT(LeaksPass)) return true;
    if (program_end) {
        if (const Hold* lock = state.find_lock(); lock != nullptr)
            return reject(ErrorCode::LockDiscipline,
                          "%s cannot be used inside bpf_spin_lock-ed region: "
                          "the lock of insn %u is held",
                          what, lock->slot);
        for (const Hold& hold : state.holds)
            if (hold.kind == HoldKind::Reference)
                return reject(ErrorCode::UnreleasedReference,
                              "Unreleased reference id=%u alloc_insn=%u: %s while it is held",
                              hold.id, hold.slot, what);
            else if (hold.kind == HoldKind::Irq)
                return reject(ErrorCode::LockDiscipline,
                              "%s cannot be used inside bpf_local_irq_save-ed region", what);
        if (state.rcu_depth != 0)
            return reject(ErrorCode::LockDiscipline,
                          "%s cannot be used inside bpf_rcu_read_lock-ed region", what);
        if (state.preempt_depth != 0)
            return reject(ErrorCode::LockDiscipline,
                          "%s cannot be used inside bpf_preempt_disable-ed region", what);
    }
    return true;
}

bool Analyzer::check_return_value() {
    // What a hook without result returns is not looked at.
    const bool own_result = !verifying_global_ || is_exception_callback(st().top().subprogram);
    if (own_result &&
        (program_.type->kind == ProgKind::Lsm || program_.type->kind == ProgKind::StructOps))
        if (const auto proto = traced_prototype(); proto && proto->type() == 0) return true;
    if (!read_reg(0)) return false;
    const Cell& r0 = st().reg(0);
    if (!own_result) {
        if (!r0.is_scalar())
            return reject(ErrorCode::BadReturnValue,
                          "At subprogram exit the register R0 is not a "
                          "scalar value (%s)",
                          name_of_cell(r0).c_str());
        return true;
    }
    if (strict() && r0.is_pointer())
        return reject(ErrorCode::PointerLeak, "R0 leaks addr as return value");
    ReturnRange range = return_range(program_.type->kind, program_.attach_type);
    const bool is_lsm = program_.type->kind == ProgKind::Lsm;
    if (is_lsm) lsm_return_range(range);
    if (!range.checked) return true;
    if (!r0.is_scalar())
        return reject(ErrorCode::BadReturnValue,
                      "At program exit the register R0 is not a known value "
                      "(%s)",
                      name_of_cell(r0).c_str());
    need(r0);
    const Scalar& value = num(r0);
    // The results of security hooks are ints, all others are looked at as a whole.
    const bool is_int =
        is_lsm && program_.attach_type != static_cast<uint32_t>(AttachType::LsmCgroup);
    const bool inside = is_int ? value.s32_min >= range.min && value.s32_max <= range.max
                               : value.smin >= range.min && value.smax <= range.max;
    if (inside) return true;
    if (is_lsm && options_.kernel_btf == nullptr)
        return unsupported(ErrorCode::BtfNeeded,
                           "what the hook '%s' may return depends on its prototype: give the "
                           "kernel's BTF",
                           program_.attach_target.c_str());
    return reject(ErrorCode::BadReturnValue,
                  "At program exit the register R0 has %s should have been in [%d, %d]",
                  to_string(value).c_str(), range.min, range.max);
}

// Hooks return an errno; a few a yes or no; some nothing, and then anything goes, except where the
// result decides about the hook.
void Analyzer::lsm_return_range(ReturnRange& range) const {
    const auto prototype = traced_prototype();
    const bool is_void = prototype && options_.kernel_btf->resolve(prototype->type()) == 0;
    const bool cgroup = program_.attach_type == static_cast<uint32_t>(AttachType::LsmCgroup);
    if (is_void)
        range = {cgroup, 1, 1};
    else if (!cgroup && lsm_hook(program_.attach_target).is_yes_or_no)
        range = {true, 0, 1};
}

bool Analyzer::enter_subprogram(State& state, uint32_t subprogram, uint32_t call_slot,
                                FrameRole role) {
    for (unsigned frame = 0; frame < state.depth(); ++frame)
        if (state.frame(frame).subprogram == subprogram) return reject_recursion(subprogram);
    if (state.depth() >= kMaxFrames)
        return reject(ErrorCode::CallsTooDeep,
                      "the call stack of %u frames is too deep: at most %u "
                      "are allowed",
                      kMaxFrames + 1, kMaxFrames);
    std::array<Cell, 6> args;
    for (unsigned r = 1; r <= 5; ++r) args[r] = state.reg(r);
    const uint16_t index = static_cast<uint16_t>(state.depth());
    Frame& frame = state.push_frame();
    frame.call_slot = call_slot;
    frame.subprogram = subprogram;
    frame.role = role;
    frame.held_at_entry = static_cast<uint32_t>(state.holds.size());
    if (role == FrameRole::Call)
        for (unsigned r = 1; r <= 5; ++r) frame.regs[r] = args[r];
    frame.regs[kFramePointer] = pointer(CellType::Stack, 0, index);
    state.slot = program_.subprograms[subprogram].first;
    return true;
}

bool Analyzer::step_call_local(const Insn& insn) {
    ++jumps_;
    const uint32_t subprogram = subprogram_index(static_cast<uint32_t>(insn.target));
    if (is_exception_callback(subprogram))
        return reject(ErrorCode::BadCallback, "cannot call exception cb directly");
    // Without a prototype a global function is verified in the place of its call, like a static
    // one.
    const Subprogram& callee = program_.subprograms[subprogram];
    if (callee.is_global && callee.btf_func != 0 && program_.btf != nullptr)
        return call_global(insn, subprogram);
    if (!enter_subprogram(st(), subprogram, slot_, FrameRole::Call)) return false;
    Frame& caller = st().own_frame(st().depth() - 2);
    for (unsigned r = 0; r <= 5; ++r) caller.regs[r] = Cell{};
    return true;
}

bool Analyzer::leave_subprogram() {
    State& state = st();
    const Frame& callee = state.top();
    const Cell r0 = callee.regs[0];
    const bool callback = callee.role == FrameRole::Callback;
    const uint32_t call_slot = callee.call_slot;
    if (r0.type == CellType::Stack)
        return reject(ErrorCode::PointerLeak, "cannot return stack pointer to the caller");
    if (callback) {
        if (r0.type == CellType::NotInit) return read_reg(0);
        if (!r0.is_scalar())
            return reject(ErrorCode::BadReturnValue,
                          "R0 not a scalar value: a callback returns a "
                          "number");
        need(r0);
        const Scalar& value = num(r0);
        if (value.smin < callee.return_min || value.smax > callee.return_max)
            return reject(ErrorCode::BadReturnValue,
                          "At callback return the register R0 has %s should have been in [%d, %d]",
                          to_string(value).c_str(), callee.return_min, callee.return_max);
        if (state.holds.size() > callee.held_at_entry) {
            const Hold& hold = state.holds.back();
            return reject(hold.kind == HoldKind::Reference ? ErrorCode::UnreleasedReference
                                                           : ErrorCode::LockDiscipline,
                          "Unreleased reference id=%u alloc_insn=%u: the callback ends while it is "
                          "held",
                          hold.id, hold.slot);
        }
    }
    // Pointers into the frame that goes are dead.
    const uint16_t gone = static_cast<uint16_t>(state.depth() - 1);
    state.pop_frame();
    update_cells(
        state, [&](const Cell& c) { return c.type == CellType::Stack && c.object >= gone; },
        [&](Cell& c) { c = unknown(); });
    if (!callback) {
        state.own_top().regs[0] = r0;
        state.slot = call_slot + 1;
        return true;
    }
    state.slot = call_slot;
    if (Checkpoint* before = previous_visit(parent_, call_slot); before != nullptr)
        widen(before->state, state);
    return true;
}

// --- helpers
// ---------------------------------------------------------------------------------------

// Helpers of tracing and security programs that only some of what they attach to allows.
bool Analyzer::target_allows(const Helper& helper) const {
    const bool is_lsm = program_.type->kind == ProgKind::Lsm;
    if (!is_lsm && program_.type->kind != ProgKind::Tracing) return true;
    const auto attach = static_cast<AttachType>(program_.attach_type);
    const std::string_view target = program_.attach_target;
    constexpr std::string_view kPathFunctions[] = {"security_file_permission",
                                                   "security_inode_getattr",
                                                   "security_file_open",
                                                   "security_path_truncate",
                                                   "vfs_truncate",
                                                   "vfs_fallocate",
                                                   "dentry_open",
                                                   "vfs_getattr",
                                                   "filp_close"};
    // Hooks of which the kernel knows whether they run with the socket locked.
    constexpr std::string_view kSocketHooks[] = {"socket_post_create", "socket_socketpair",
                                                 "sock_graft", "inet_csk_clone",
                                                 "inet_conn_established"};
    switch (helper.id) {
        case helper_id::kSetsockopt:
        case helper_id::kGetsockopt:
            if (is_lsm) return std::ranges::find(kSocketHooks, target) != std::end(kSocketHooks);
            return target == "tcp" || target == "unix";
        case helper_id::kDPath:
            return is_lsm || attach == AttachType::TraceIter ||
                   std::ranges::find(kPathFunctions, target) != std::end(kPathFunctions);
        case helper_id::kGetFuncIp:
            return is_lsm || attach == AttachType::TraceFentry ||
                   attach == AttachType::TraceFexit || attach == AttachType::ModifyReturn;
        default: return true;
    }
}

bool Analyzer::check_helper_allowed(const Helper& helper) {
    const std::string name = "bpf_" + std::string(helper.name);
    if (!helper_allowed(helper, *program_.type, program_.attach_type) || !target_allows(helper))
        return reject(ErrorCode::HelperNotAllowed,
                      "program of this type cannot use helper %s#%u: type "
                      "%s may not call it",
                      name.c_str(), helper.id, std::string(program_.type->name).c_str());
    // A congestion control that goes has no socket options to set.
    const bool releases = program_.type->kind == ProgKind::StructOps &&
                          program_.attach_target == "tcp_congestion_ops/release";
    if (releases && (helper.id == helper_id::kSetsockopt || helper.id == helper_id::kGetsockopt))
        return reject(ErrorCode::HelperNotAllowed,
                      "program of this type cannot use helper %s#%u: release may not call it",
                      name.c_str(), helper.id);
    if (std::ranges::find(options_.denied_helpers, helper.id) != options_.denied_helpers.end())
        return reject(ErrorCode::NotPermitted, "the host does not permit helper %s#%u",
                      name.c_str(), helper.id);
    if ((helper.flags & helper_flag::kGplOnly) != 0 && !program_.gpl_compatible) {
        if (!strict())
            return reject(ErrorCode::GplOnly,
                          "cannot call GPL-restricted function %s#%u from non-GPL "
                          "compatible program",
                          name.c_str(), helper.id);
        relax("gpl_only_helper");
    }
    if ((helper.flags & helper_flag::kMaySleep) != 0) {
        if (!st().in_sleepable)
            return reject(ErrorCode::SleepableContext,
                          "helper call might sleep in a non-sleepable prog: %s#%u", name.c_str(),
                          helper.id);
        if (!may_sleep_here())
            return reject(ErrorCode::SleepableContext,
                          "sleepable helper %s#%u in a section that must not sleep", name.c_str(),
                          helper.id);
    }
    if (st().find_lock() != nullptr && helper.id != helper_id::kSpinUnlock)
        return reject(ErrorCode::LockDiscipline,
                      "function calls are not allowed while holding a lock: "
                      "%s#%u",
                      name.c_str(), helper.id);
    return true;
}

bool Analyzer::step_call(const Insn& insn) {
    if (const auto poison = program_.poisoned.find(slot_); poison != program_.poisoned.end())
        return reject(ErrorCode::PoisonedInsn,
                      "invalid func unknown#195896080: the CO-RE relocation of "
                      "this instruction has no target: %s",
                      poison->second.c_str());
    if (insn.pseudo_call() == PseudoCall::Kfunc) return step_kfunc(insn);
    const auto id = static_cast<uint32_t>(insn.imm);
    const Helper* helper = helper_with(id);
    if (helper == nullptr)
        return reject(ErrorCode::UnknownHelper, "invalid func unknown#%u: there is no such helper",
                      id);
    if (!check_helper_allowed(*helper)) return false;

    CallInfo call{.helper = helper};
    // The last registers of these may be anything, even nothing that was written.
    const bool is_lax = id == helper_id::kTracePrintk || id == helper_id::kGetBranchSnapshot;
    const unsigned count = is_lax ? 2 : helper->proto.count;
    for (unsigned i = 0; i < count; ++i)
        if (!check_argument(call, i)) return false;
    if (id == helper_id::kDynptrFromMem && st().reg(1).type != CellType::MapValue)
        return reject(ErrorCode::BadDynptr, "Unsupported reg type %s for bpf_dynptr_from_mem data",
                      name_of_cell(st().reg(1)).c_str());
    if (!check_special(call)) return false;
    return finish_call(call);
}

// What a call does once its arguments are right.
bool Analyzer::finish_call(CallInfo& call) {
    const Helper& helper = *call.helper;
    if (call.uninit_reg != 0) {
        // Written in full, after all arguments were read.
        const Cell target = st().reg(call.uninit_reg);
        if (target.type == CellType::Stack && call.uninit_size != 0 &&
            !write_stack_from_helper(target, call.uninit_reg, call.uninit_size))
            return false;
    }
    if (call.kptr != nullptr ? !give_to_kptr(call)
                             : call.release_ref != 0 && !release_reference(call.release_ref))
        return false;
    if (call.callback_subprogram >= 0 && !start_callback(call)) return false;
    const bool tail_call = helper.id == helper_id::kTailCall;
    if ((tail_call || call.changes_packet || (helper.flags & helper_flag::kChangesPacket) != 0) &&
        !SKEP_MUTANT(HelpersLeaveThePacket))
        clear_packet_pointers(st());
    if (tail_call && st().depth() > 1) {
        // The other program returns in the place of this frame, with any result.
        State returned = st();
        returned.slot = returned.top().call_slot + 1;
        returned.pop_frame();
        returned.own_top().regs[0] = unknown();
        branch_seen_[slot_] |= 3;
        if (!push_branch(std::move(returned))) return false;
    }
    note_call_facts(call);
    clobber_caller_saved(st());
    if (!set_result(call)) return false;
    st().slot = slot_ + 1;
    return true;
}

bool Analyzer::set_result(CallInfo& call) {
    const Helper& helper = *call.helper;
    Cell r0;
    switch (helper.proto.ret) {
        case RetKind::Scalar: r0 = scalar_result(call); break;
        case RetKind::Void: set_reg(0, Cell{}); return true;
        case RetKind::MapValue:
        case RetKind::MapValueOrNull: {
            if (call.map.type != CellType::MapHandle)
                return reject(ErrorCode::BadArgumentType,
                              "the helper needs a map to return a value of");
            r0 = pointer(CellType::MapValue, 0, call.map.object);
            if (helper.proto.ret == RetKind::MapValueOrNull && !call.key_in_bounds)
                r0.flags |= flag::kMaybeNull;
            if (!r0.maybe_null()) {
                make_nonnull(r0);
                if (!maps_[call.map.object].def->fields.empty()) r0.id = fresh_id();
            }
            break;
        }
        case RetKind::SocketOrNull: r0 = pointer(CellType::Socket, flag::kMaybeNull); break;
        case RetKind::TcpSockOrNull: r0 = pointer(CellType::TcpSock, flag::kMaybeNull); break;
        case RetKind::SockCommonOrNull: r0 = pointer(CellType::SockCommon, flag::kMaybeNull); break;
        case RetKind::AllocMemOrNull:
            r0 = pointer(CellType::Mem, flag::kMaybeNull | flag::kRingbuf,
                         object_index({.size = static_cast<uint32_t>(call.alloc_size)}));
            break;
        case RetKind::DynptrMemOrNull:
            r0 = pointer(CellType::Mem, flag::kMaybeNull | call.result_flags,
                         object_index({.size = static_cast<uint32_t>(call.alloc_size)}));
            r0.ref = call.result_ref;
            break;
        case RetKind::BtfObject:
        case RetKind::BtfObjectOrNull:
            if (!btf_result(call, r0)) return false;
            break;
        case RetKind::PercpuMem:
        case RetKind::PercpuMemOrNull:
            if (!percpu_result(call, r0)) return false;
            break;
    }
    if (r0.maybe_null()) r0.id = fresh_id();
    if (is_cast_helper(helper.id)) {
        r0.ref = call.ref;
    } else if (acquires(call)) {
        const uint32_t ref = acquire(slot_);
        r0.id = ref;
        r0.ref = ref;
    }
    set_reg(0, r0);
    return true;
}

bool Analyzer::acquires(const CallInfo& call) const {
    // Its reference is the dynptr's, not the result's.
    if (call.helper->id == helper_id::kRingbufReserveDynptr) return false;
    if ((call.helper->flags & helper_flag::kAcquires) != 0) return true;
    if (call.helper->id != helper_id::kMapLookup || call.map.type != CellType::MapHandle)
        return false;
    const MapType type = maps_[call.map.object].def->type;
    return type == MapType::Sockmap || type == MapType::Sockhash;
}

Cell Analyzer::scalar_result(const CallInfo& call) {
    if (call.helper->id == helper_id::kSmpProcessorId)
        return number(Scalar::range_u64(0, UINT32_MAX >> 1));
    if ((call.helper->flags & helper_flag::kBoundedResult) == 0) return unknown();
    constexpr int64_t kMaxErrno = 4095;
    return number(Scalar::range_s64(-kMaxErrno, static_cast<int64_t>(call.size_max)));
}

// --- callbacks
// -------------------------------------------------------------------------------------

bool Analyzer::start_callback(CallInfo& call) {
    const auto subprogram = static_cast<uint32_t>(call.callback_subprogram);
    const Frame& caller = st().top();
    is_callback_[subprogram] = 1;
    if (call.callback == CallbackKind::Timer || call.callback == CallbackKind::Workqueue) {
        // Runs later, on its own: a path of its own, with nothing of this one's.
        State state = entry_state(subprogram);
        Frame& frame = state.own_frame(0);
        frame.role = FrameRole::AsyncCallback;
        frame.callback_kind = static_cast<uint8_t>(call.callback);
        state.in_sleepable = call.callback == CallbackKind::Workqueue;
        // Once per callback and map: it starts the same each time.
        const std::pair started{subprogram, call.map.object};
        if (std::ranges::find(async_started_, started) != async_started_.end()) return true;
        async_started_.push_back(started);
        state.async_entries = static_cast<uint32_t>(async_started_.size());
        callback_arguments(call, frame);
        if (parent_ != nullptr) ++parent_->branches;
        pending_.push_back({std::move(state), parent_, slot_, {}, length_});
        return true;
    }
    if (call.callback == CallbackKind::Loop) {
        need(st().reg(1));
        if (caller.callback_depth >= num(st().reg(1)).umax) {
            st().own_top().callback_depth = 0;
            return true;
        }
    }
    State state = st();
    if (!enter_subprogram(state, subprogram, slot_, FrameRole::Callback)) return false;
    ++state.callback_unroll_depth;
    ++state.own_frame(state.depth() - 2).callback_depth;
    Frame& frame = state.own_top();
    frame.callback_kind = static_cast<uint8_t>(call.callback);
    frame.return_checked = true;
    frame.return_min = 0;
    frame.return_max = 1;
    callback_arguments(call, frame);
    st().own_top().callback_depth = 0;
    branch_seen_[slot_] |= 3;
    return push_branch(std::move(state));
}

void Analyzer::callback_arguments(const CallInfo& call, Frame& frame) {
    const Frame& caller = st().top();
    auto& regs = frame.regs;
    switch (call.callback) {
        case CallbackKind::Loop:
            regs[1] = unknown();
            regs[2] = caller.regs[3];
            break;
        case CallbackKind::ForEach:
        case CallbackKind::Workqueue:
        case CallbackKind::Timer: {
            const uint16_t map = call.map.object;
            regs[1] = pointer(CellType::MapHandle, 0, map);
            regs[2] = pointer(CellType::MapKey, 0, map);
            regs[3] = pointer(CellType::MapValue, 0, map);
            if (!maps_[map].def->fields.empty()) regs[3].id = fresh_id();
            if (call.callback == CallbackKind::ForEach) regs[4] = caller.regs[3];
            break;
        }
        case CallbackKind::FindVma:
            regs[1] = btf_object("task_struct", flag::kTrusted);
            regs[2] = btf_object("vm_area_struct", flag::kTrusted);
            regs[3] = caller.regs[4];
            break;
        case CallbackKind::UserRingbuf:
            regs[1] = pointer(CellType::DynptrHandle, 0, dynptr_kind::kLocal);
            regs[2] = caller.regs[3];
            break;
        case CallbackKind::Less:
            regs[1] = call.graph_node;
            regs[2] = call.graph_node;
            break;
        case CallbackKind::None: break;
    }
}

}  // namespace skep::verifier
