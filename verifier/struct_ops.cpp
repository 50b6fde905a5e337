// Programs that implement a member of one of the kernel's structs of functions (struct_ops): their
// arguments are the member's.
#include "verifier/analyzer.hpp"
#include "vm/prog/attach_proto.hpp"

namespace skep::verifier {

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
    const OpsMember member = struct_ops_member(program_, *btf);
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
