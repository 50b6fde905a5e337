// The few fields of the kernel's own objects that programs may write to.
#include <algorithm>
#include <array>

#include "verifier/analyzer.hpp"
#include "vm/prog/attach_proto.hpp"

namespace skep::verifier {
namespace {

// By the struct whose functions the program implements (empty: programs on packets, that is of tc
// and XDP); members are named by any step of their path, none of them means all.
struct WritableFields {
    std::string_view ops, object;
    std::array<std::string_view, 12> members;
};
constexpr WritableFields kWritable[] = {
    {"", "nf_conn", {"mark"}},
    {"", "nf_conn___init", {"mark"}},
    {"tcp_congestion_ops",
     "tcp_sock",
     {"sk_pacing_rate", "sk_pacing_status", "icsk_ca_priv", "pending", "snd_cwnd", "snd_cwnd_cnt",
      "snd_cwnd_stamp", "snd_ssthresh", "ecn_flags", "app_limited"}},
    {"bpf_dummy_ops", "bpf_dummy_ops_state", {}},
    {"sched_ext_ops", "task_struct", {"slice", "dsq_vtime", "disallow"}},
    {"hid_bpf_ops", "hid_bpf_ctx", {"retval"}},
    {"hid_bpf_ops", "hid_device", {"name", "uniq", "phys"}},
    {"Qdisc_ops", "sk_buff", {"tstamp"}},
    {"Qdisc_ops", "bpf_sk_buff_ptr", {"tstamp"}},
    {"Qdisc_ops", "Qdisc", {"limit", "qlen", "qstats"}},
};

// The step of "inet_conn.icsk_ca_priv[3]" that is one of `members`, or nothing.
std::string_view listed_step(std::string_view path, const WritableFields& row) {
    while (!path.empty()) {
        const size_t end = std::min(path.find('.'), path.size());
        const std::string_view step = path.substr(0, end);
        const std::string_view name = step.substr(0, step.find('['));
        if (!name.empty() && std::ranges::find(row.members, name) != std::end(row.members))
            return name;
        path.remove_prefix(std::min(end + 1, path.size()));
    }
    return {};
}

}  // namespace

bool Analyzer::may_write_kernel_object(const ObjectDesc& desc, uint64_t off, unsigned size) const {
    const ProgKind kind = program_.type->kind;
    const bool packets =
        kind == ProgKind::SchedCls || kind == ProgKind::SchedAct || kind == ProgKind::Xdp;
    if ((kind != ProgKind::StructOps && !packets) || desc.btf == nullptr) return false;
    const Btf* kernel = options_.kernel_btf.get();
    const std::string_view ops = packets || kernel == nullptr
                                     ? std::string_view{}
                                     : struct_ops_member(program_, *kernel).ops;
    if (ops.empty() && !packets) return false;
    const BtfType type = desc.btf->resolved(desc.btf_id);
    for (const WritableFields& row : kWritable) {
        if (row.ops != ops || row.object != type.name()) continue;
        if (row.members[0].empty()) return off + size <= type.size();
        if (off + size > type.size()) return false;
        const auto first = desc.btf->field_at(desc.btf_id, static_cast<uint32_t>(off));
        const auto last = desc.btf->field_at(desc.btf_id, static_cast<uint32_t>(off + size - 1));
        if (!first || !last) return false;
        const std::string_view name = listed_step(first->path, row);
        return !name.empty() && name == listed_step(last->path, row);
    }
    return false;
}

}  // namespace skep::verifier
