// What tracing programs and security hooks may attach to, as far as names and prototypes say it.
#include <algorithm>
#include <array>

#include "verifier/analyzer.hpp"
#include "verifier/lsm_hooks.hpp"

namespace skep::verifier {
namespace {

constexpr unsigned kSleeps = 1, kUntrusted = 2, kDisabled = 4, kYesOrNo = 8;
struct HookRow {
    std::string_view name;
    unsigned traits;
};
constexpr HookRow kHooks[] = {
#define SKEP_LSM_HOOK(name, traits) {#name, traits},
#include "verifier/lsm_hooks.def"
#undef SKEP_LSM_HOOK
};
static_assert(std::ranges::is_sorted(kHooks, {}, &HookRow::name));

// Entries of system calls: errors may be injected there, and programs may sleep.
bool is_system_call(std::string_view name) {
    constexpr std::array<std::string_view, 4> kPrefixes = {"__x64_sys_", "__arm64_sys_",
                                                           "__ia32_sys_", "__riscv_sys_"};
    return std::ranges::any_of(kPrefixes, [&](std::string_view p) { return name.starts_with(p); });
}

// Functions that Linux keeps for tests of programs that change results.
bool is_test_function(std::string_view name) {
    constexpr std::array<std::string_view, 4> kNames = {
        "bpf_fentry_test1", "bpf_modify_return_test", "bpf_modify_return_test2",
        "bpf_modify_return_test_tp"};
    return std::ranges::find(kNames, name) != kNames.end();
}

// Other functions whose result a program may replace.
bool is_changeable(std::string_view name) {
    constexpr std::array<std::string_view, 8> kNames = {
        "update_socket_protocol", "bpf_rstat_flush",        "should_failslab",
        "should_fail_alloc_page", "should_fail_bio",        "open_ctree",
        "__filemap_add_folio",    "blk_should_fake_timeout"};
    return std::ranges::find(kNames, name) != kNames.end();
}

// Functions that programs themselves run inside of.
bool is_denied(std::string_view name) {
    constexpr std::array<std::string_view, 8> kNames = {
        "migrate_disable",   "migrate_enable",  "rcu_read_unlock_strict", "preempt_count_add",
        "preempt_count_sub", "__rcu_read_lock", "__rcu_read_unlock",      "__bpf_trap"};
    return std::ranges::find(kNames, name) != kNames.end();
}

bool never_returns(std::string_view name) {
    constexpr std::array<std::string_view, 10> kNames = {"__x64_sys_exit",
                                                         "__x64_sys_exit_group",
                                                         "do_exit",
                                                         "do_group_exit",
                                                         "kthread_complete_and_exit",
                                                         "kthread_exit",
                                                         "make_task_dead",
                                                         "__ia32_sys_exit",
                                                         "__ia32_sys_exit_group",
                                                         "__module_put_and_kthread_exit"};
    return std::ranges::find(kNames, name) != kNames.end();
}

}  // namespace

LsmHook lsm_hook(std::string_view name) {
    const auto* row = std::ranges::lower_bound(kHooks, name, {}, &HookRow::name);
    if (row == std::end(kHooks) || row->name != name) return {};
    return {(row->traits & kSleeps) != 0, (row->traits & kUntrusted) != 0,
            (row->traits & kDisabled) != 0, (row->traits & kYesOrNo) != 0};
}

bool Analyzer::check_attach_target() {
    switch (program_.type->kind) {
        case ProgKind::Tracing:
        case ProgKind::Lsm:
        case ProgKind::Ext: break;
        default: return true;
    }
    const std::string& target = program_.attach_target;
    const char* name = target.c_str();
    if (target.empty())
        return reject(ErrorCode::UnknownProgramType,
                      "Tracing programs must provide btf_id: the section "
                      "name says what a %s program attaches to",
                      std::string(program_.type->name).c_str());
    if (program_.type->kind == ProgKind::Lsm) return check_lsm_target();
    if (program_.type->kind == ProgKind::Ext || is_iterator() || is_typed_tracepoint())
        return !program_.sleepable || is_iterator() || program_.type->kind == ProgKind::Ext ||
               reject(ErrorCode::SleepableContext, "%s is not sleepable", name);
    if (is_denied(target))
        return reject(ErrorCode::HelperNotAllowed, "attach to function %s is denied", name);
    const auto attach = static_cast<AttachType>(program_.attach_type);
    const bool at_end = attach == AttachType::TraceFexit || attach == AttachType::ModifyReturn;
    if (at_end && never_returns(target))
        return reject(ErrorCode::HelperNotAllowed,
                      "Attaching fexit/fmod_ret to __noreturn function '%s' is rejected.", name);
    const bool injectable = is_system_call(target) || is_test_function(target);
    if (program_.sleepable && !injectable && target != "should_fail_bio" && target != "open_ctree")
        return reject(ErrorCode::SleepableContext, "%s is not sleepable", name);
    if (attach == AttachType::ModifyReturn && !injectable && !is_changeable(target) &&
        !target.starts_with("security_"))
        return reject(ErrorCode::HelperNotAllowed, "%s() is not modifiable", name);
    return true;
}

bool Analyzer::check_lsm_target() {
    const char* name = program_.attach_target.c_str();
    const LsmHook hook = lsm_hook(program_.attach_target);
    if (!program_.gpl_compatible && !strict())
        return reject(ErrorCode::GplOnly, "LSM programs must have a GPL compatible license");
    if (hook.is_disabled)
        return reject(ErrorCode::HelperNotAllowed, "the program points to disabled hook bpf_lsm_%s",
                      name);
    if (program_.sleepable && !hook.may_sleep)
        return reject(ErrorCode::SleepableContext, "bpf_lsm_%s is not sleepable", name);
    const Btf* btf = options_.kernel_btf.get();
    if (btf != nullptr && btf->find("bpf_lsm_" + program_.attach_target, BtfKind::Func) == 0)
        return reject(ErrorCode::UnknownProgramType, "there is no security hook %s", name);
    return true;
}

}  // namespace skep::verifier
