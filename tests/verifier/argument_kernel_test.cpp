// What helpers take first, in every type of program, against the running kernel's verifier: a
// helper's prototype differs by type, and the context or a socket is where.
#include <algorithm>
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include "helpers/table.hpp"
#include "tests/verifier/kernel_verdict.hpp"
#include "tests/verifier/verdict_case.hpp"
#include "verifier/verifier.hpp"

namespace skep::test {
namespace {

constexpr std::pair<const char*, const char*> kFirst[] = {
    {"the context", "r1 = r6"},           {"a number", "r1 = 1"},  {"null", "r1 = 0"},
    {"the stack", "r1 = r10\nr1 += -64"}, {"a socket", "r1 = r7"},
};

// Loads the context's socket into r7, where there is one.
const char* socket_of(ProgKind kind) {
    switch (kind) {
        case ProgKind::SocketFilter:
        case ProgKind::SchedCls:
        case ProgKind::SchedAct:
        case ProgKind::CgroupSkb: return "r7 = *(u64 *)(r6 + 168)";
        case ProgKind::CgroupSock: return "r7 = r6";
        case ProgKind::CgroupSockAddr: return "r7 = *(u64 *)(r6 + 64)";
        case ProgKind::SockOps: return "r7 = *(u64 *)(r6 + 184)";
        case ProgKind::SkMsg: return "r7 = *(u64 *)(r6 + 72)";
        case ProgKind::SkReuseport: return "r7 = *(u64 *)(r6 + 40)";
        case ProgKind::CgroupSockopt:
        case ProgKind::SkLookup: return "r7 = *(u64 *)(r6 + 0)";
        default: return nullptr;
    }
}

// What the type is called where it needs an attach type too.
std::string section_of(const ProgType& type) {
    switch (type.kind) {
        case ProgKind::CgroupSockAddr: return "cgroup/connect4";
        case ProgKind::CgroupSockopt: return "cgroup/setsockopt";
        default: return std::string(type.name);
    }
}

std::string body(const Helper& helper, const ProgType& type, const char* first, bool socket) {
    std::string text = "r6 = r1\n";
    for (int at = -64; at < 0; at += 8) text += "*(u64 *)(r10 - " + std::to_string(-at) + ") = 0\n";
    if (socket) {
        text += socket_of(type.kind);
        text += "\nif r7 == 0 goto out\n";
    }
    text += first;
    text += "\nr2 = r10\nr2 += -32\nr3 = 4\nr4 = r10\nr4 += -48\nr5 = 4\n";
    return text + "call " + std::to_string(helper.id) + "\nout:\nr0 = 1\nexit\n";
}

// Whether the verifier's last word is about the type of r1.
bool refuses_first(const std::string& log) {
    constexpr std::string_view kWords[] = {"R1 type=", "R1 is of type", "R1 must be referenced"};
    return std::ranges::any_of(
        kWords, [&](std::string_view words) { return log.find(words) != std::string::npos; });
}

TEST(HelperArguments, TheFirstOneIsTheKernels) {
    utsname name{};
    uname(&name);
    if (!std::string_view(name.release).starts_with("6.18."))
        GTEST_SKIP() << "the table is that of Linux 6.18";
    unsigned asked = 0, taken = 0;
    for (unsigned kind = 1; kind <= static_cast<unsigned>(ProgKind::Netfilter); ++kind) {
        const ProgType* type = find_prog_type(static_cast<ProgKind>(kind));
        if (type == nullptr) continue;
        if (type->kind == ProgKind::Tracing || type->kind == ProgKind::Lsm ||
            type->kind == ProgKind::Ext || type->kind == ProgKind::StructOps)
            continue;
        for (uint32_t id = 1; id <= kLastHelper; ++id) {
            const Helper* helper = find_helper(id, *type);
            if (helper == nullptr || !helper_allowed(*helper, *type, kAnyAttach)) continue;
            for (const auto& [what, first] : kFirst) {
                const bool socket = std::string_view(what) == "a socket";
                if (socket && socket_of(type->kind) == nullptr) continue;
                TestCase text;
                text.title = "case";
                text.sections = {{"prog", section_of(*type), ""},
                                 {"asm", "", body(*helper, *type, first, socket)}};
                const auto read = read_verdict_case(text);
                ASSERT_TRUE(read) << read.error().to_string();
                if (!read->program) continue;
                const auto kernel =
                    kernel_verdict(read->slots, *read->type.type, read->type.attach_type,
                                   read->maps, true, type->kind == ProgKind::Syscall);
                // What the machine's configuration leaves out says nothing.
                if (!kernel || (!kernel->accepted && kernel->log.empty()) ||
                    kernel->log.find("cannot use helper") != std::string::npos)
                    continue;
                const Analysis analysis = analyze(*read->program, {});
                const bool ours = !analysis.accepted() && refuses_first(analysis.error.message);
                const bool theirs = !kernel->accepted && refuses_first(kernel->log);
                ++asked;
                taken += theirs ? 0 : 1;
                EXPECT_EQ(ours, theirs)
                    << what << " for " << helper->name << " in " << type->name
                    << "\n  we: " << analysis.error.message << "\n  Linux: "
                    << kernel->log.substr(kernel->log.size() > 200 ? kernel->log.size() - 200 : 0);
            }
        }
    }
    if (asked == 0) GTEST_SKIP() << "the kernel does not load programs for us";
    std::printf("%u calls, %u taken\n", asked, taken);
}

}  // namespace
}  // namespace skep::test
