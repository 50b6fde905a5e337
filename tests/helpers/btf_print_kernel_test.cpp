// Objects printed by their BTF type against the running kernel: bpf_snprintf_btf on random bytes of
// types that the kernel has, by BPF_PROG_TEST_RUN, and the same here.
#include <gtest/gtest.h>
#include <random>

#include <skep/object.hpp>

#include "helpers/btf_print.hpp"
#include "tests/support/kernel_bpf.hpp"
#include "vm/btf/btf.hpp"

namespace skep {
namespace {

constexpr int kObjectAt = -512, kTextAt = -416, kPointerAt = -16;
constexpr int kObjectBytes = 96, kTextBytes = 400;

void load_wide(std::vector<RawInsn>& code, uint8_t reg, uint64_t value) {
    code.push_back({0x18, reg, 0, static_cast<int32_t>(value)});
    code.push_back({0x00, 0, 0, static_cast<int32_t>(value >> 32)});
}
void stack_pointer(std::vector<RawInsn>& code, uint8_t reg, int offset) {
    code.push_back({0xbf, static_cast<uint8_t>(0xa0 | reg), 0, 0});
    code.push_back({0x07, reg, 0, offset});
}

// Puts the object on the stack, prints it there, and writes the text into the packet.
std::vector<RawInsn> program_of(const std::vector<std::byte>& object, uint32_t type,
                                uint64_t flags) {
    std::vector<RawInsn> code = {{0xbf, 0x16, 0, 0}};
    for (int at = kObjectAt; at < 0; at += 8) {
        uint64_t word = 0;
        const int offset = at - kObjectAt;
        if (offset < static_cast<int>(object.size()))
            std::memcpy(&word, object.data() + offset,
                        std::min<size_t>(8, object.size() - static_cast<size_t>(offset)));
        load_wide(code, 1, word);
        code.push_back({0x7b, 0x1a, static_cast<int16_t>(at), 0});
    }
    stack_pointer(code, 1, kObjectAt);
    code.push_back({0x7b, 0x1a, kPointerAt, 0});
    load_wide(code, 1, type);
    code.push_back({0x7b, 0x1a, kPointerAt + 8, 0});
    stack_pointer(code, 1, kTextAt);
    code.push_back({0xb7, 2, 0, kTextBytes});
    stack_pointer(code, 3, kPointerAt);
    code.push_back({0xb7, 4, 0, 16});
    code.push_back({0xb7, 5, 0, static_cast<int32_t>(flags)});
    code.push_back({0x85, 0, 0, 149});
    code.push_back({0xbf, 0x07, 0, 0});
    code.push_back({0xbf, 0x61, 0, 0});
    code.push_back({0xb7, 2, 0, 0});
    stack_pointer(code, 3, kTextAt);
    code.push_back({0xb7, 4, 0, kTextBytes});
    code.push_back({0xb7, 5, 0, 0});
    code.push_back({0x85, 0, 0, 9});  // bpf_skb_store_bytes
    code.push_back({0xbf, 0x70, 0, 0});
    code.push_back({0x95, 0, 0, 0});
    return code;
}

TEST(BtfTextAgainstKernel, ObjectsLookTheSame) {
    if (!test::kernel_available()) GTEST_SKIP() << "bpf(2) is not allowed here";
    const auto loaded = load_btf("/sys/kernel/btf/vmlinux");
    if (!loaded) GTEST_SKIP() << "the kernel publishes no types";
    const Btf& btf = **loaded;
    const uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    unsigned compared = 0;
    for (const char* name :
         {"iphdr", "tcphdr", "ethhdr", "sockaddr_in", "bpf_insn", "list_head", "in6_addr",
          "btf_enum", "rb_node", "bpf_timer", "ipv6hdr", "udphdr", "hlist_head", "bpf_spin_lock",
          "bpf_flow_keys", "bpf_sock_tuple", "btf_type", "qspinlock", "bpf_cgroup_storage_key"}) {
        const uint32_t type = btf.find(name, BtfKind::Struct);
        if (type == 0 || btf.type(type).size() > kObjectBytes) continue;
        for (int round = 0; round < 24; ++round) {
            std::vector<std::byte> object(btf.type(type).size());
            // Zeroes are left out, letters print as such.
            const uint64_t zeroes = random() % 6 + 1;  // 1: nothing else
            for (std::byte& byte : object)
                byte = static_cast<std::byte>(random() % zeroes == 0 ? 0
                                              : random() % 3 == 0    ? 'a' + random() % 26
                                                                     : random());
            // Addresses are hidden unless they are asked for.
            const uint64_t flags = (random() & btf_print::kKnown) | btf_print::kRawPointers;
            const test::KernelProgram program(3, program_of(object, type, flags));
            ASSERT_GE(program.fd, 0) << program.error;
            const test::TestRun run =
                test::test_run(program.fd, std::vector<std::byte>(kTextBytes));
            ASSERT_TRUE(run.ok);
            const std::string theirs(
                reinterpret_cast<const char*>(run.out.data()),
                strnlen(reinterpret_cast<const char*>(run.out.data()), kTextBytes));
            const std::string ours = print_btf(btf, type, object, flags, kMaxBtfText);
            ASSERT_EQ(ours.substr(0, kTextBytes - 1), theirs) << name << " flags " << flags;
            ASSERT_EQ(ours.size(), run.retval) << ours;
            ++compared;
        }
    }
    EXPECT_GT(compared, 200u);
}

}  // namespace
}  // namespace skep
