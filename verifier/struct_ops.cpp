// Programs that implement a member of one of the kernel's structs of functions (struct_ops): their
// arguments are the member's.
#include "verifier/analyzer.hpp"

namespace skep::verifier {

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

}  // namespace skep::verifier
