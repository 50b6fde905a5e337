// Programs that implement a member of one of the kernel's structs of functions (struct_ops): their
// arguments are the member's, and what they may write depends on the struct.
#include <algorithm>
#include <array>

#include "verifier/analyzer.hpp"

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

// "ops/member", as the object's maps say.
Analyzer::OpsMember Analyzer::struct_ops_member() const {
    OpsMember out;
    const Btf* btf = options_.kernel_btf.get();
    const std::string_view target = program_.attach_target;
    const size_t slash = target.find('/');
    if (btf == nullptr || slash == std::string_view::npos) return out;
    out.ops = essential_name(target.substr(0, slash));
    out.member = target.substr(slash + 1);
    const uint32_t id = btf->find(out.ops, BtfKind::Struct);
    const auto member = id == 0 ? std::nullopt : btf->find_member(id, out.member);
    if (!member) return out;
    BtfType type = btf->resolved(member->type);
    if (type.is(BtfKind::Ptr)) type = btf->resolved(type.type());
    if (type.is(BtfKind::FuncProto)) out.proto = type;
    // The stub of the member names its parameters.
    const std::string stub = std::string(out.ops) + "__" + std::string(out.member);
    if (const uint32_t func = btf->find(stub, BtfKind::Func); func != 0)
        out.stub = btf->type(btf->type(func).type());
    return out;
}

bool Analyzer::check_struct_ops() {
    if (program_.type->kind != ProgKind::StructOps) return true;
    if (!program_.gpl_compatible && !strict())
        return reject(ErrorCode::GplOnly, "struct ops programs must have a GPL compatible license");
    if (program_.attach_target == "tcp_congestion_ops/get_info")
        return reject(ErrorCode::HelperNotAllowed,
                      "attach to unsupported member get_info of struct tcp_congestion_ops");
    return true;
}

// A pointer argument to a struct: what it points to, and whether it may be null.
Cell Analyzer::struct_ops_argument(uint32_t index, const BtfType& target) {
    const Btf* btf = options_.kernel_btf.get();
    const OpsMember member = struct_ops_member();
    BtfType type = target;
    // A congestion control's socket is TCP's.
    if (member.ops == "tcp_congestion_ops" && type.name() == "sock")
        if (const uint32_t id = btf->find("tcp_sock", BtfKind::Struct); id != 0)
            type = btf->type(id);
    Cell cell =
        pointer(CellType::Btf, flag::kTrusted,
                object_index({.size = type.size(), .btf_id = type.id(), .btf = btf, .name = {}}));
    if (member.stub && index < member.stub->count() &&
        member.stub->param(index).name.ends_with("__nullable")) {
        cell.flags |= flag::kMaybeNull;
        cell.id = fresh_id();
    }
    return cell;
}

// Whether a program of this struct may write [off, off + size) of an object of the kernel's.
bool Analyzer::struct_ops_writes(const ObjectDesc& desc, uint64_t off, unsigned size) const {
    if (program_.type->kind != ProgKind::StructOps || desc.btf == nullptr) return false;
    const OpsMember member = struct_ops_member();
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
