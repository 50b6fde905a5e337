// See the header. The names by which the kernel's BTF knows hooks are Linux's.
#include "vm/prog/attach_proto.hpp"

#include <string>

namespace skep {

// "ops/member", as the object's maps say.
OpsMember struct_ops_member(const Program& program, const Btf& btf) {
    OpsMember out;
    const std::string_view target = program.attach_target;
    const size_t slash = target.find('/');
    if (slash == std::string_view::npos) return out;
    out.ops = essential_name(target.substr(0, slash));
    out.member = target.substr(slash + 1);
    const uint32_t id = btf.find(out.ops, BtfKind::Struct);
    const auto member = id == 0 ? std::nullopt : btf.find_member(id, out.member);
    if (!member) return out;
    BtfType type = btf.resolved(member->type);
    if (type.is(BtfKind::Ptr)) type = btf.resolved(type.type());
    if (type.is(BtfKind::FuncProto)) out.proto = type;
    const std::string stub = std::string(out.ops) + "__" + std::string(out.member);
    if (const uint32_t func = btf.find(stub, BtfKind::Func); func != 0)
        out.stub = btf.type(btf.type(func).type());
    return out;
}

std::optional<BtfType> attach_prototype(const Program& program, const Btf& btf) {
    if (program.attach_target.empty()) return std::nullopt;
    if (program.section.starts_with("tp_btf")) {
        const uint32_t id = btf.find("btf_trace_" + program.attach_target, BtfKind::Typedef);
        if (id == 0) return std::nullopt;
        BtfType type = btf.resolved(id);
        if (type.is(BtfKind::Ptr)) type = btf.resolved(type.type());
        if (!type.is(BtfKind::FuncProto)) return std::nullopt;
        return type;
    }
    if (program.type->kind == ProgKind::StructOps) return struct_ops_member(program, btf).proto;
    std::string name = program.attach_target;
    if (program.section.starts_with("lsm")) name = "bpf_lsm_" + name;
    if (program.section.starts_with("iter")) name = "bpf_iter_" + name;
    const uint32_t id = btf.find(name, BtfKind::Func);
    if (id == 0) return std::nullopt;
    return btf.type(btf.type(id).type());
}

// A tracepoint's function has the probe's own data before its arguments.
uint32_t first_parameter(const Program& program) {
    return program.section.starts_with("tp_btf") ? 1 : 0;
}

std::optional<BtfType> argument_target(const Program& program, const Btf& btf, uint32_t index,
                                       bool& maybe) {
    maybe = false;
    const auto proto = attach_prototype(program, btf);
    const uint32_t at = index + first_parameter(program);
    if (!proto || at >= proto->count()) return std::nullopt;
    const BtfType type = btf.resolved(proto->param(at).type);
    if (!type.is(BtfKind::Ptr)) return std::nullopt;
    BtfType target = btf.resolved(type.type());
    if (!target.is_composite()) return std::nullopt;
    if (program.type->kind != ProgKind::StructOps) return target;
    const OpsMember member = struct_ops_member(program, btf);
    // A congestion control's socket is TCP's.
    if (member.ops == "tcp_congestion_ops" && target.name() == "sock")
        if (const uint32_t id = btf.find("tcp_sock", BtfKind::Struct); id != 0)
            target = btf.type(id);
    maybe = member.stub && at < member.stub->count() &&
            member.stub->param(at).name.ends_with("__nullable");
    return target;
}

}  // namespace skep
