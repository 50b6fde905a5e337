// Context tables against the running kernel: every offset, width and direction of every context
// struct is asked of its verifier, and the tables must say the same.
#include <gtest/gtest.h>
#include <sstream>
#include <sys/utsname.h>

#include "tests/support/kernel_bpf.hpp"
#include "vm/prog/prog_type.hpp"

namespace skep {
namespace {

struct Case {
    ProgKind kind;
    AttachType attach;
};

constexpr Case kCases[] = {
    {ProgKind::Xdp, AttachType::Xdp},
    {ProgKind::Xdp, AttachType::XdpDevmap},
    {ProgKind::SocketFilter, AttachType::None},
    {ProgKind::SchedCls, AttachType::None},
    {ProgKind::SchedAct, AttachType::None},
    {ProgKind::CgroupSkb, AttachType::CgroupInetEgress},
    {ProgKind::LwtIn, AttachType::None},
    {ProgKind::LwtXmit, AttachType::None},
    {ProgKind::SkSkb, AttachType::None},
    {ProgKind::FlowDissector, AttachType::FlowDissector},
    {ProgKind::Kprobe, AttachType::None},
    {ProgKind::RawTracepoint, AttachType::None},
    {ProgKind::PerfEvent, AttachType::None},
    {ProgKind::CgroupSock, AttachType::CgroupInetSockCreate},
    {ProgKind::CgroupSock, AttachType::CgroupInet4PostBind},
    {ProgKind::CgroupSock, AttachType::CgroupInet6PostBind},
    {ProgKind::CgroupSockAddr, AttachType::CgroupInet4Connect},
    {ProgKind::CgroupSockAddr, AttachType::CgroupInet6Bind},
    {ProgKind::CgroupSockAddr, AttachType::CgroupUdp4Sendmsg},
    {ProgKind::CgroupSockAddr, AttachType::CgroupUdp6Sendmsg},
    {ProgKind::CgroupSockAddr, AttachType::CgroupUnixConnect},
    {ProgKind::SockOps, AttachType::CgroupSockOps},
    {ProgKind::SkMsg, AttachType::SkMsgVerdict},
    {ProgKind::SkReuseport, AttachType::SkReuseportSelectOrMigrate},
    {ProgKind::SkLookup, AttachType::SkLookup},
    {ProgKind::CgroupSockopt, AttachType::CgroupGetsockopt},
    {ProgKind::CgroupSockopt, AttachType::CgroupSetsockopt},
    {ProgKind::CgroupSysctl, AttachType::CgroupSysctl},
    {ProgKind::CgroupDevice, AttachType::CgroupDevice},
    {ProgKind::Netfilter, AttachType::Netfilter},
};

bool kernel_6_18() {
    utsname name{};
    uname(&name);
    return std::string_view(name.release).starts_with("6.18.");
}

// Does the kernel accept `r0 = 1; access; exit`?
bool kernel_allows(const Case& c, uint32_t off, uint32_t width, bool store) {
    const uint8_t size = width == 1 ? 0x10 : width == 2 ? 0x08 : width == 4 ? 0x00 : 0x18;
    const auto at = static_cast<int16_t>(off);
    const RawInsn load{static_cast<uint8_t>(0x61 | size), 0x12, at, 0};
    const RawInsn write{static_cast<uint8_t>(0x63 | size), 0x01, at, 0};
    const RawInsn insns[] = {{0xb7, 0, 0, 1}, store ? write : load, {0x95, 0, 0, 0}};
    const uint32_t attach = static_cast<uint32_t>(c.attach);
    return test::KernelProgram(static_cast<uint32_t>(c.kind), insns, attach).fd >= 0;
}

TEST(LayoutsAgainstKernel, EveryAccessHasTheSameAnswer) {
    if (!test::kernel_available()) GTEST_SKIP() << "bpf(2) is not allowed here";
    if (!kernel_6_18()) GTEST_SKIP() << "the tables are those of Linux 6.18";
    for (const Case& c : kCases) {
        const ProgType& type = *find_prog_type(c.kind);
        std::ostringstream differences;
        const uint32_t end = type.ctx->size > 256 ? 256 : type.ctx->size + 8;
        for (uint32_t off = 0; off < end; ++off) {
            for (const uint32_t width : {1u, 2u, 4u, 8u}) {
                // Unaligned accesses are refused alike; four of them per struct are proof enough.
                if (off % width != 0 && off > 4) continue;
                for (const bool store : {false, true}) {
                    const bool ours =
                        type.ctx->allows(off, width, store, static_cast<uint32_t>(c.attach));
                    const bool theirs = kernel_allows(c, off, width, store);
                    if (ours != theirs) {
                        differences << (store ? "store" : "load") << width << '@' << off << ' '
                                    << (theirs ? "allowed" : "refused") << " by the kernel; ";
                    }
                }
            }
        }
        EXPECT_EQ(differences.str(), "")
            << type.name << '/' << attach_type_name(static_cast<uint32_t>(c.attach));
    }
}

}  // namespace
}  // namespace skep
