// bpf_snprintf and bpf_strtol/strtoul against the running kernel, on generated formats and texts.
#include <gtest/gtest.h>
#include <random>

#include "helpers/env.hpp"
#include "helpers/table.hpp"
#include "tests/support/kernel_bpf.hpp"

namespace skep {
namespace {

using Random = std::mt19937_64;
constexpr uint32_t kRodataBytes = 256;
constexpr int kOutBytes = 64;

// A frozen one-value array in the kernel: what ConstStr arguments must lie in.
class KernelRodata {
public:
    explicit KernelRodata(std::string_view text) {
        union bpf_attr attr;
        std::memset(&attr, 0, sizeof attr);
        attr.map_type = BPF_MAP_TYPE_ARRAY;
        attr.key_size = 4;
        attr.value_size = kRodataBytes;
        attr.max_entries = 1;
        attr.map_flags = BPF_F_RDONLY_PROG;
        fd = static_cast<int>(test::bpf(BPF_MAP_CREATE, &attr, sizeof attr));
        uint32_t key = 0;
        std::vector<char> value(kRodataBytes, '\0');
        std::copy(text.begin(), text.end(), value.begin());
        std::memset(&attr, 0, sizeof attr);
        attr.map_fd = static_cast<uint32_t>(fd);
        attr.key = reinterpret_cast<uintptr_t>(&key);
        attr.value = reinterpret_cast<uintptr_t>(value.data());
        test::bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof attr);
        std::memset(&attr, 0, sizeof attr);
        attr.map_fd = static_cast<uint32_t>(fd);
        test::bpf(BPF_MAP_FREEZE, &attr, sizeof attr);
    }
    ~KernelRodata() { close(fd); }
    KernelRodata(const KernelRodata&) = delete;
    KernelRodata& operator=(const KernelRodata&) = delete;
    int fd = -1;
};

class Assembler {
public:
    void raw(uint8_t opcode, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
        code.push_back({opcode, static_cast<uint8_t>(src << 4 | dst), off, imm});
    }
    void wide(uint8_t dst, uint64_t value, uint8_t src = 0) {
        raw(0x18, dst, src, 0, static_cast<int32_t>(value));
        code.push_back({0, 0, 0, static_cast<int32_t>(value >> 32)});
    }
    void stack_address(uint8_t dst, int32_t offset) {
        raw(0xbf, dst, 10, 0, 0);
        raw(0x07, dst, 0, 0, offset);
    }
    void store_stack(int32_t offset, uint64_t value) {
        wide(1, value);
        raw(0x7b, 10, 1, static_cast<int16_t>(offset), 0);
    }
    // The stack's `size` bytes at `offset` into the packet, r7 returned.
    void finish(int32_t offset, int32_t size) {
        raw(0xbf, 1, 6, 0, 0);
        raw(0xb7, 2, 0, 0, 0);
        stack_address(3, offset);
        raw(0xb7, 4, 0, 0, size);
        raw(0xb7, 5, 0, 0, 0);
        raw(0x85, 0, 0, 0, 9);
        raw(0xbf, 0, 7, 0, 0);
        raw(0x95, 0, 0, 0, 0);
    }
    std::vector<RawInsn> code;
};

struct Outcome {
    bool known = false;
    int32_t result = 0;
    std::vector<std::byte> bytes;
};

Outcome run_tc(const std::vector<RawInsn>& code, size_t bytes) {
    const test::KernelProgram program(3, code);
    if (program.fd < 0) return {};
    const std::vector<std::byte> packet(128);
    const test::TestRun run = test::test_run(program.fd, packet);
    if (!run.ok) return {};
    return {true, static_cast<int32_t>(run.retval), {run.out.begin(), run.out.begin() + bytes}};
}

Outcome kernel_snprintf(std::string_view format, std::span<const uint64_t> values, int out_size) {
    const KernelRodata rodata(format);
    Assembler a;
    a.raw(0xbf, 6, 1, 0, 0);
    for (int i = 0; i < kOutBytes; i += 8) a.store_stack(-256 + i, 0x2e2e2e2e2e2e2e2e);
    for (size_t i = 0; i < values.size(); ++i) {
        a.store_stack(-128 + static_cast<int32_t>(i) * 8, values[i]);
    }
    a.stack_address(1, -256);
    a.raw(0xb7, 2, 0, 0, out_size);
    a.wide(3, static_cast<uint32_t>(rodata.fd), 2);
    a.stack_address(4, -128);
    a.raw(0xb7, 5, 0, 0, static_cast<int32_t>(values.size() * 8));
    a.raw(0x85, 0, 0, 0, 165);
    a.raw(0xbf, 7, 0, 0, 0);
    a.finish(-256, kOutBytes);
    return run_tc(a.code, kOutBytes);
}

std::string random_format(Random& random, size_t& values) {
    static constexpr std::string_view kPieces[] = {
        "%d",    "%5d", "%-6d|", "%05d", "%+d",  "% d",  "%u",   "%x",     "%X",
        "%08x",  "%lx", "%llu",  "%ld",  "%li",  "%i",   "%lld", "%c",     "%3c",
        "%-3c|", "%%",  "text ", "x=",   "%px ", "%px,", "%0lx", "%10lld", "%-010x|",
        "%hd",   "%z",  "%p4",   "%.3d", "\t",   "%ps ", "%pS "};
    std::string format;
    values = 0;
    const int count = 1 + static_cast<int>(random() % 5);
    for (int i = 0; i < count; ++i) {
        const std::string_view piece = kPieces[random() % std::size(kPieces)];
        format += piece;
        if (piece.starts_with('%') && piece != "%%") ++values;
    }
    return format;
}

TEST(FormatsAgainstKernel, SnprintfPrintsTheSame) {
    if (!test::kernel_available()) GTEST_SKIP() << "bpf(2) is not allowed here";
    const uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    int compared = 0;
    for (int round = 0; round < 800; ++round) {
        size_t count = 0;
        const std::string format = random_format(random, count);
        // Now and then too few values.
        if (random() % 16 == 0 && count > 0) --count;
        std::vector<uint64_t> values(std::max<size_t>(count, 1));
        for (uint64_t& value : values) {
            value = random() % 3 == 0 ? random() : random() % 300;
            // Not the address of a symbol, nor a byte that ends the text.
            if (format.find("%c") != std::string::npos || format.find('c') != std::string::npos) {
                value = 'a' + random() % 26;
            }
        }
        const int out_size = 1 + static_cast<int>(random() % kOutBytes);
        const Outcome theirs = kernel_snprintf(format, values, out_size);
        // The verifier refuses most bad formats at load.
        if (!theirs.known) continue;
        ++compared;
        std::vector<std::byte> out(kOutBytes, std::byte{'.'});
        HelperEnv env;
        env.fuel = 1 << 20;
        const auto ours = static_cast<int32_t>(
            find_helper("snprintf")
                ->thunk(reinterpret_cast<uintptr_t>(out.data()), static_cast<uint64_t>(out_size),
                        reinterpret_cast<uintptr_t>(format.c_str()),
                        reinterpret_cast<uintptr_t>(values.data()), values.size() * 8, &env));
        ASSERT_EQ(ours, theirs.result) << '"' << format << '"' << testing::PrintToString(values);
        ASSERT_EQ(std::string_view(reinterpret_cast<const char*>(out.data()), out.size()),
                  std::string_view(reinterpret_cast<const char*>(theirs.bytes.data()),
                                   theirs.bytes.size()))
            << '"' << format << '"' << testing::PrintToString(values);
    }
    EXPECT_GT(compared, 100);
}

TEST(FormatsAgainstKernel, NumbersParseTheSame) {
    if (!test::kernel_available()) GTEST_SKIP() << "bpf(2) is not allowed here";
    const uint64_t seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    static constexpr std::string_view kPieces[] = {"0",
                                                   "1",
                                                   "7",
                                                   "9",
                                                   "a",
                                                   "F",
                                                   "x",
                                                   "0x",
                                                   "-",
                                                   "+",
                                                   " ",
                                                   "\n",
                                                   "g",
                                                   "18446744073709551615",
                                                   "9223372036854775807",
                                                   "9223372036854775808"};
    int compared = 0;
    for (int round = 0; round < 600; ++round) {
        std::string text;
        while (text.size() < 24 && random() % 5 != 0)
            text += kPieces[random() % std::size(kPieces)];
        text.resize(32, '\0');
        const uint32_t helper = random() % 2 == 0 ? 105 : 106;
        const int32_t size = 1 + static_cast<int32_t>(random() % 32);
        static constexpr int32_t kFlags[] = {0, 0, 8, 10, 16, 2, 32};
        const int32_t flags = kFlags[random() % std::size(kFlags)];
        Assembler a;
        a.raw(0xbf, 6, 1, 0, 0);
        for (int i = 0; i < 32; i += 8) {
            uint64_t word = 0;
            std::memcpy(&word, text.data() + i, 8);
            a.store_stack(-64 + i, word);
        }
        a.store_stack(-72, 0);
        a.stack_address(1, -64);
        a.raw(0xb7, 2, 0, 0, size);
        a.raw(0xb7, 3, 0, 0, flags);
        a.stack_address(4, -72);
        a.raw(0x85, 0, 0, 0, static_cast<int32_t>(helper));
        a.raw(0xbf, 7, 0, 0, 0);
        a.finish(-72, 8);
        const Outcome theirs = run_tc(a.code, 8);
        ASSERT_TRUE(theirs.known);
        ++compared;
        HelperEnv env;
        uint64_t number = 0;
        const auto ours = static_cast<int32_t>(find_helper(helper)->thunk(
            reinterpret_cast<uintptr_t>(text.data()), static_cast<uint64_t>(size),
            static_cast<uint64_t>(flags), reinterpret_cast<uintptr_t>(&number), 0, &env));
        ASSERT_EQ(ours, theirs.result) << testing::PrintToString(text) << size << ' ' << flags;
        uint64_t expected = 0;
        std::memcpy(&expected, theirs.bytes.data(), 8);
        // What Linux leaves in the result after an error is of no use to anybody.
        if (ours < 0) continue;
        ASSERT_EQ(number, expected) << testing::PrintToString(text);
    }
    EXPECT_GT(compared, 100);
}

}  // namespace
}  // namespace skep
