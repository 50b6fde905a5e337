// Programs that implement a member of one of the kernel's structs of functions (struct_ops): their
// arguments are the member's, and what they may write depends on the struct.
#include <algorithm>
#include <array>

#include "verifier/analyzer.hpp"
#include "vm/prog/attach_proto.hpp"

namespace skep::verifier {
namespace {

// Fields that programs of a struct may write to, by the innermost member's name; empty: all.
struct WritableFields {
    std::string_view ops, object;
    std::array<std::string_view, 12> members;
};
constexpr std::array kWritable = {
    WritableFields{"tcp_congestion_ops",
                   "tcp_sock",
                   {"sk_pacing_rate", "sk_pacing_status", "icsk_ca_priv", "pending", "snd_cwnd",
                    "snd_cwnd_cnt", "snd_cwnd_stamp", "snd_ssthresh", "ecn_flags", "app_limited"}},
    WritableFields{"bpf_dummy_ops", "bpf_dummy_ops_state", {}},
    WritableFields{"sched_ext_ops", "task_struct", {"slice", "dsq_vtime", "disallow"}},
};

// "icsk_ca_priv" of "inet_conn.icsk_ca_priv[3]".
std::string_view last_member(std::string_view path) {
    path = path.substr(0, path.find('['));
    const size_t dot = path.rfind('.');
    return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

}  // namespace

bool Analyzer::check_struct_ops() {
    if (program_.type->kind != ProgKind::StructOps) return true;
    if (!program_.gpl_compatible && !strict())
        return reject(ErrorCode::GplOnly, "struct ops programs must have a GPL compatible license");
    if (program_.attach_target == "tcp_congestion_ops/get_info")
        return reject(ErrorCode::HelperNotAllowed,
                      "attach to unsupported member get_info of struct tcp_congestion_ops");
    return true;
}

// Whether a program of this struct may write [off, off + size) of an object of the kernel's.
bool Analyzer::struct_ops_writes(const ObjectDesc& desc, uint64_t off, unsigned size) const {
    if (program_.type->kind != ProgKind::StructOps || desc.btf == nullptr) return false;
    if (options_.kernel_btf == nullptr) return false;
    const OpsMember member = struct_ops_member(program_, *options_.kernel_btf);
    const BtfType type = desc.btf->resolved(desc.btf_id);
    for (const WritableFields& row : kWritable) {
        if (row.ops != member.ops || row.object != type.name()) continue;
        if (row.members[0].empty()) return off + size <= type.size();
        const auto field = desc.btf->field_at(desc.btf_id, static_cast<uint32_t>(off));
        const auto end = desc.btf->field_at(desc.btf_id, static_cast<uint32_t>(off + size - 1));
        if (!field || !end) return false;
        const std::string_view name = last_member(field->path);
        return name == last_member(end->path) && !name.empty() &&
               std::ranges::find(row.members, name) != row.members.end();
    }
    return false;
}

}  // namespace skep::verifier
