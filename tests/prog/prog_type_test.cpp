// Program types and section names: what libbpf makes of SEC("..."), and what people may type.
#include "vm/prog/prog_type.hpp"

#include <gtest/gtest.h>
#include <set>
#include <string>

namespace skep {
namespace {

struct SectionCase {
    std::string_view section;
    ProgKind kind;
    AttachType attach;
    bool sleepable = false;
    bool frags = false;
};

constexpr SectionCase kSections[] = {
    {"xdp", ProgKind::Xdp, AttachType::Xdp},
    {"?xdp", ProgKind::Xdp, AttachType::Xdp},
    {"xdp.frags", ProgKind::Xdp, AttachType::Xdp, false, true},
    {"xdp.frags/devmap", ProgKind::Xdp, AttachType::XdpDevmap, false, true},
    {"xdp/devmap", ProgKind::Xdp, AttachType::XdpDevmap},
    {"xdp/cpumap", ProgKind::Xdp, AttachType::XdpCpumap},
    {"xdp_devmap/map_prog", ProgKind::Xdp, AttachType::XdpDevmap},
    {"xdp_prog1", ProgKind::Xdp, AttachType::Xdp},
    {"xdp/whatever", ProgKind::Xdp, AttachType::Xdp},
    {"socket1", ProgKind::SocketFilter, AttachType::None},
    {"socket", ProgKind::SocketFilter, AttachType::None},
    {"classifier/ingress", ProgKind::SchedCls, AttachType::None},
    {"tc/ingress", ProgKind::SchedCls, AttachType::TcxIngress},
    {"tcx/egress", ProgKind::SchedCls, AttachType::TcxEgress},
    {"netkit/peer", ProgKind::SchedCls, AttachType::NetkitPeer},
    {"action", ProgKind::SchedAct, AttachType::None},
    {"kprobe/sys_open", ProgKind::Kprobe, AttachType::None},
    {"kprobe", ProgKind::Kprobe, AttachType::None},
    {"uprobe.s//proc/self/exe:f", ProgKind::Kprobe, AttachType::None, true},
    {"kprobe.multi/foo*", ProgKind::Kprobe, AttachType::TraceKprobeMulti},
    {"kprobe.session/foo", ProgKind::Kprobe, AttachType::TraceKprobeSession},
    {"usdt/lib:a:b", ProgKind::Kprobe, AttachType::None},
    {"tp/sched/sched_switch", ProgKind::Tracepoint, AttachType::None},
    {"tracepoint/syscalls/sys_enter_openat", ProgKind::Tracepoint, AttachType::None},
    {"raw_tp.w/x", ProgKind::RawTracepointWritable, AttachType::None},
    {"raw_tp/x", ProgKind::RawTracepoint, AttachType::None},
    {"tp_btf/x", ProgKind::Tracing, AttachType::TraceRawTp},
    {"fentry.s/x", ProgKind::Tracing, AttachType::TraceFentry, true},
    {"fmod_ret/x", ProgKind::Tracing, AttachType::ModifyReturn},
    {"iter.s/task", ProgKind::Tracing, AttachType::TraceIter, true},
    {"lsm.s/bprm", ProgKind::Lsm, AttachType::LsmMac, true},
    {"lsm_cgroup/x", ProgKind::Lsm, AttachType::LsmCgroup},
    {"freplace/f", ProgKind::Ext, AttachType::None},
    {"struct_ops.s/init", ProgKind::StructOps, AttachType::None, true},
    {"syscall", ProgKind::Syscall, AttachType::None, true},
    {"cgroup/connect4", ProgKind::CgroupSockAddr, AttachType::CgroupInet4Connect},
    {"cgroup/connect_unix", ProgKind::CgroupSockAddr, AttachType::CgroupUnixConnect},
    {"cgroup/sock", ProgKind::CgroupSock, AttachType::CgroupInetSockCreate},
    {"cgroup_skb/egress", ProgKind::CgroupSkb, AttachType::CgroupInetEgress},
    {"cgroup_skb/egress/1", ProgKind::CgroupSkb, AttachType::CgroupInetEgress},
    {"cgroup/skb", ProgKind::CgroupSkb, AttachType::None},
    {"cgroup/dev", ProgKind::CgroupDevice, AttachType::CgroupDevice},
    {"cgroup/getsockopt", ProgKind::CgroupSockopt, AttachType::CgroupGetsockopt},
    {"sk_skb/stream_verdict", ProgKind::SkSkb, AttachType::SkSkbStreamVerdict},
    {"sk_skb", ProgKind::SkSkb, AttachType::None},
    {"sk_reuseport/migrate", ProgKind::SkReuseport, AttachType::SkReuseportSelectOrMigrate},
    {"sk_lookup/pass", ProgKind::SkLookup, AttachType::SkLookup},
    {"sockops", ProgKind::SockOps, AttachType::CgroupSockOps},
    {"netfilter", ProgKind::Netfilter, AttachType::Netfilter},
};

TEST(SectionTypes, MatchAsLibbpf) {
    for (const SectionCase& expected : kSections) {
        SCOPED_TRACE(expected.section);
        const SectionType* row = find_section_type(expected.section);
        ASSERT_NE(row, nullptr);
        EXPECT_EQ(row->type->kind, expected.kind);
        EXPECT_EQ(row->attach_type, static_cast<uint32_t>(expected.attach));
        EXPECT_EQ(row->sleepable, expected.sleepable);
        EXPECT_EQ(row->frags, expected.frags);
    }
}

TEST(SectionTypes, UnknownNamesMatchNothing) {
    for (const std::string_view name : {"", "?", "xdpfoo", "tcp", "kprobes/x", "fentry.x/y", "maps",
                                        "license", ".text", "tcx/sideways", "0x2/1"}) {
        EXPECT_EQ(find_section_type(name), nullptr) << name;
    }
}

TEST(SectionTypes, SimilarNamesAreFound) {
    EXPECT_EQ(similar_sections("xpd").front(), "xdp");
    EXPECT_EQ(similar_sections("kprob/sys_open").front(), "kprobe");
    EXPECT_EQ(similar_sections("cgroup/conect4").front(), "cgroup/connect4");
    EXPECT_LE(similar_sections("t", 2).size(), 2u);
    EXPECT_TRUE(similar_sections("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz").empty());
}

TEST(ProgTypes, NamesAndNumbersAreUnique) {
    std::set<std::string_view> names;
    std::set<uint32_t> kinds;
    std::set<uint64_t> groups;
    for (const ProgType& type : prog_types()) {
        EXPECT_TRUE(names.insert(type.name).second) << type.name;
        EXPECT_TRUE(kinds.insert(static_cast<uint32_t>(type.kind)).second) << type.name;
        EXPECT_TRUE(groups.insert(type.groups).second) << type.name;
        ASSERT_NE(type.ctx, nullptr) << type.name;
        EXPECT_EQ(find_prog_type(type.kind), &type);
        EXPECT_EQ(find_prog_type(type.name), &type);
        EXPECT_EQ(find_prog_type(type.uapi_name), &type);
    }
    EXPECT_EQ(prog_types().size(), 34u);
}

TEST(ProgTypes, ParseTakesTypesSectionsAndBoth) {
    EXPECT_EQ(parse_type("cgroup_sock_addr/connect4").attach_type, 10u);
    EXPECT_EQ(parse_type("cgroup_sock_addr/connect4").type->kind, ProgKind::CgroupSockAddr);
    EXPECT_EQ(parse_type("cgroup/connect4").attach_type, 10u);
    EXPECT_EQ(parse_type("bpf_prog_type_xdp").type->kind, ProgKind::Xdp);
    EXPECT_EQ(parse_type("tc").type->kind, ProgKind::SchedCls);
    EXPECT_EQ(parse_type("nonsense").type, nullptr);
    EXPECT_EQ(find_attach_type("BPF_TCX_INGRESS"), 46u);
    EXPECT_EQ(find_attach_type("xdp_devmap"), 33u);
    EXPECT_EQ(find_attach_type("nowhere"), std::nullopt);
}

TEST(ProgTypes, VerdictsHaveNames) {
    const ProgType& xdp = *find_prog_type(ProgKind::Xdp);
    EXPECT_EQ(xdp.verdict_of(2), "pass");
    EXPECT_EQ(xdp.verdict_of(99), "");
    const ProgType& tc = *find_prog_type(ProgKind::SchedCls);
    EXPECT_EQ(tc.verdict_of(0xffffffff), "unspec");
    EXPECT_EQ(tc.verdict_of(2), "shot");
    EXPECT_EQ(find_prog_type(ProgKind::SocketFilter)->verdict_of(60), "pass");
    EXPECT_EQ(find_prog_type(ProgKind::LwtXmit)->verdict_of(1), "");
}

TEST(ProgTypes, ReturnRangesDependOnTheAttachType) {
    EXPECT_EQ(return_range(ProgKind::CgroupSkb, 1).max, 3);
    EXPECT_EQ(return_range(ProgKind::CgroupSkb, 0).max, 1);
    EXPECT_EQ(return_range(ProgKind::CgroupSockAddr, 19).min, 1);
    EXPECT_EQ(return_range(ProgKind::CgroupSockAddr, 8).max, 3);
    EXPECT_FALSE(return_range(ProgKind::Xdp, 37).checked);
    EXPECT_TRUE(return_range(ProgKind::Tracing, 24).checked);
}

}  // namespace
}  // namespace skep
