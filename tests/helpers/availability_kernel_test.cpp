// Which program types may call which helpers, against the running kernel's verifier.
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include "helpers/table.hpp"
#include "tests/support/kernel_bpf.hpp"

namespace skep {
namespace {

// Types that a kernel loads without an attach target, and the attach types that matter.
constexpr std::pair<ProgKind, AttachType> kCases[] = {
    {ProgKind::SocketFilter, AttachType::None},
    {ProgKind::Kprobe, AttachType::None},
    {ProgKind::SchedCls, AttachType::None},
    {ProgKind::SchedAct, AttachType::None},
    {ProgKind::Tracepoint, AttachType::None},
    {ProgKind::Xdp, AttachType::Xdp},
    {ProgKind::PerfEvent, AttachType::None},
    {ProgKind::CgroupSkb, AttachType::CgroupInetEgress},
    {ProgKind::CgroupSock, AttachType::CgroupInetSockCreate},
    {ProgKind::LwtIn, AttachType::None},
    {ProgKind::LwtOut, AttachType::None},
    {ProgKind::LwtXmit, AttachType::None},
    {ProgKind::LwtSeg6local, AttachType::None},
    {ProgKind::SockOps, AttachType::CgroupSockOps},
    {ProgKind::SkSkb, AttachType::None},
    {ProgKind::CgroupDevice, AttachType::CgroupDevice},
    {ProgKind::SkMsg, AttachType::SkMsgVerdict},
    {ProgKind::RawTracepoint, AttachType::None},
    {ProgKind::RawTracepointWritable, AttachType::None},
    {ProgKind::CgroupSockAddr, AttachType::CgroupInet4Bind},
    {ProgKind::CgroupSockAddr, AttachType::CgroupInet4Connect},
    {ProgKind::CgroupSockAddr, AttachType::CgroupUdp4Recvmsg},
    {ProgKind::SkReuseport, AttachType::SkReuseportSelect},
    {ProgKind::FlowDissector, AttachType::FlowDissector},
    {ProgKind::CgroupSysctl, AttachType::CgroupSysctl},
    {ProgKind::CgroupSockopt, AttachType::CgroupGetsockopt},
    {ProgKind::CgroupSockopt, AttachType::CgroupSetsockopt},
    {ProgKind::SkLookup, AttachType::SkLookup},
    {ProgKind::Syscall, AttachType::None},
    {ProgKind::Netfilter, AttachType::Netfilter},
};

// Left out of this kernel's configuration, so its answer says nothing.
bool depends_on_configuration(std::string_view name) {
    return name == "override_return" || name == "probe_write_user";
}

bool kernel_allows(ProgKind kind, AttachType attach, uint32_t id) {
    const RawInsn insns[] = {
        {0x85, 0, 0, static_cast<int32_t>(id)}, {0xb7, 0, 0, 0}, {0x95, 0, 0, 0}};
    constexpr uint32_t kSleepable = 1u << 4;
    const test::KernelProgram program(static_cast<uint32_t>(kind), insns,
                                      static_cast<uint32_t>(attach),
                                      kind == ProgKind::Syscall ? kSleepable : 0, true);
    if (program.fd >= 0) return true;
    return program.log.find("cannot use helper") == std::string::npos &&
           program.log.find("not allowed in probe") == std::string::npos &&
           program.log.find("not supported for program type") == std::string::npos &&
           program.log.find("unknown func") == std::string::npos;
}

TEST(HelperAvailability, IsTheKernels) {
    if (!test::kernel_available()) GTEST_SKIP() << "bpf(2) is not allowed here";
    utsname name{};
    uname(&name);
    if (!std::string_view(name.release).starts_with("6.18.")) {
        GTEST_SKIP() << "the table is that of Linux 6.18";
    }
    for (const auto& [kind, attach] : kCases) {
        const ProgType& type = *find_prog_type(kind);
        for (uint32_t id = 1; id <= kLastHelper; ++id) {
            const Helper& helper = *find_helper(id, type);
            if (depends_on_configuration(helper.name)) continue;
            EXPECT_EQ(helper_allowed(helper, type, static_cast<uint32_t>(attach)),
                      kernel_allows(kind, attach, id))
                << helper.name << " in " << type.name << '/'
                << attach_type_name(static_cast<uint32_t>(attach));
        }
    }
}

// Types that between them may call nearly every helper.
constexpr std::pair<ProgKind, AttachType> kWitnesses[] = {
    {ProgKind::SchedCls, AttachType::None},
    {ProgKind::Xdp, AttachType::Xdp},
    {ProgKind::Kprobe, AttachType::None},
    {ProgKind::PerfEvent, AttachType::None},
    {ProgKind::SockOps, AttachType::CgroupSockOps},
    {ProgKind::SkMsg, AttachType::SkMsgVerdict},
    {ProgKind::CgroupSkb, AttachType::CgroupInetEgress},
    {ProgKind::CgroupSockAddr, AttachType::CgroupInet4Connect},
    {ProgKind::CgroupSysctl, AttachType::CgroupSysctl},
    {ProgKind::LwtXmit, AttachType::None},
    {ProgKind::SkLookup, AttachType::SkLookup},
};

TEST(HelperAvailability, GplOnlyHelpersAreTheKernels) {
    if (!test::kernel_available()) GTEST_SKIP() << "bpf(2) is not allowed here";
    int asked = 0;
    for (const auto& [kind, attach] : kWitnesses) {
        const ProgType& type = *find_prog_type(kind);
        for (uint32_t id = 1; id <= kLastHelper; ++id) {
            const Helper& helper = *find_helper(id, type);
            if (!helper_allowed(helper, type, static_cast<uint32_t>(attach))) continue;
            const RawInsn insns[] = {
                {0x85, 0, 0, static_cast<int32_t>(id)}, {0xb7, 0, 0, 0}, {0x95, 0, 0, 0}};
            const test::KernelProgram program(static_cast<uint32_t>(kind), insns,
                                              static_cast<uint32_t>(attach), 0, true,
                                              "Proprietary");
            if (program.log.find("cannot use helper") != std::string::npos) continue;
            ++asked;
            EXPECT_EQ((helper.flags & helper_flag::kGplOnly) != 0,
                      program.log.find("GPL-restricted") != std::string::npos)
                << helper.name << " in " << type.name << ": " << program.log;
        }
    }
    EXPECT_GT(asked, 500);
}

}  // namespace
}  // namespace skep
