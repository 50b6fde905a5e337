// What native code tells about itself: slots by address, perf's map file, GDB's JIT interface.
#include "jit/observe.hpp"

#include <cstring>
#include <elf.h>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

#include <skep/vm.hpp>

#include "tests/support/engine_run.hpp"

extern "C" {
struct JitEntry {
    JitEntry* next;
    JitEntry* previous;
    const char* file;
    uint64_t size;
};
struct JitDescriptor {
    uint32_t version, action;
    JitEntry *relevant, *first;
};
extern JitDescriptor __jit_debug_descriptor;
}

namespace skep::test {
namespace {

constexpr std::string_view kTwoFunctions = R"(
    r6 = r1
    call local inner
    r0 += 1
    exit
inner:
    r0 = 41
    exit
)";

std::shared_ptr<const Code> compile(const Image& image, jit::Announce announce) {
    auto arena = jit::CodeArena::create(size_t{1} << 20);
    EXPECT_TRUE(arena.has_value());
    auto code = jit::compile(image, *arena, announce);
    EXPECT_TRUE(code.has_value()) << (code ? "" : code.error().to_string());
    return code ? *code : nullptr;
}

std::vector<std::string> perf_lines() {
    std::vector<std::string> lines;
    std::ifstream in(jit::perf_map_name());
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    return lines;
}

// Symbols of the newest object on the debugger's list.
std::vector<std::pair<std::string, uint64_t>> gdb_symbols() {
    const JitEntry* entry = __jit_debug_descriptor.first;
    std::vector<std::pair<std::string, uint64_t>> out;
    if (entry == nullptr) return out;
    Elf64_Ehdr header;
    std::memcpy(&header, entry->file, sizeof(header));
    const auto section = [&](unsigned index) {
        Elf64_Shdr s;
        std::memcpy(&s, entry->file + header.e_shoff + index * sizeof(s), sizeof(s));
        return s;
    };
    const Elf64_Shdr text = section(1), symbols = section(2), names = section(symbols.sh_link);
    for (uint64_t i = 1; i < symbols.sh_size / sizeof(Elf64_Sym); ++i) {
        Elf64_Sym symbol;
        std::memcpy(&symbol, entry->file + symbols.sh_offset + i * sizeof(symbol), sizeof(symbol));
        out.emplace_back(entry->file + names.sh_offset + symbol.st_name,
                         text.sh_addr + symbol.st_value);
    }
    return out;
}

TEST(Observe, EveryAddressOfTheCodeBelongsToASlot) {
    const Loaded loaded = load(Form::Sandbox, program_of(kTwoFunctions));
    const auto code = compile(*loaded.image, {.perf_map = true});
    ASSERT_NE(code, nullptr);
    const auto lines = perf_lines();
    ASSERT_GE(lines.size(), 3u);
    unsigned long long start = 0, size = 0;
    ASSERT_EQ(std::sscanf(lines[lines.size() - 3].c_str(), "%llx %llx", &start, &size), 2);
    const auto* first = reinterpret_cast<const std::byte*>(start);
    EXPECT_EQ(code->slot_at(first), 0u);
    EXPECT_EQ(code->slot_at(first + size - 1), 3u);
    EXPECT_EQ(code->slot_at(first + size), 4u);
    EXPECT_EQ(code->slot_at(first - 1), kNoSlot);
    EXPECT_EQ(code->slot_at(first + code->native_bytes()), kNoSlot);
    EXPECT_EQ(code->slot_at(nullptr), kNoSlot);
    ::unlink(jit::perf_map_name().c_str());
}

TEST(Observe, PerfMapNamesProgramsAndSubprograms) {
    ::unlink(jit::perf_map_name().c_str());
    auto vm = Vm::create({.engine = Engine::Jit, .mode = Mode::Sandbox, .perf_map = true});
    ASSERT_TRUE(vm.has_value());
    const uint64_t slots[] = {0x00000000000000b7, 0x0000000000000095};
    ASSERT_TRUE(vm->load_raw(slots, "raw").has_value());
    const auto lines = perf_lines();
    ASSERT_FALSE(lines.empty());
    EXPECT_NE(lines[0].find(" skep:"), std::string::npos) << lines[0];
    ::unlink(jit::perf_map_name().c_str());
}

TEST(Observe, PerfMapIsNotWrittenThroughALink) {
    const std::string victim = ::testing::TempDir() + "/victim";
    {
        std::ofstream(victim) << "before\n";
    }
    ::unlink(jit::perf_map_name().c_str());
    ASSERT_EQ(::symlink(victim.c_str(), jit::perf_map_name().c_str()), 0);
    const jit::CodeSymbol symbol{"x", 1, 2};
    EXPECT_FALSE(jit::append_perf_map({&symbol, 1}));
    std::ifstream in(victim);
    std::string text;
    std::getline(in, text);
    EXPECT_EQ(text, "before");
    EXPECT_TRUE(in.peek() == EOF);
    ::unlink(jit::perf_map_name().c_str());
    ::unlink(victim.c_str());
}

TEST(Observe, GdbSeesTheCodeAsLongAsItLives) {
    const JitEntry* before = __jit_debug_descriptor.first;
    const Loaded loaded = load(Form::Sandbox, program_of(kTwoFunctions));
    auto code = compile(*loaded.image, {.gdb_jit = true});
    ASSERT_NE(code, nullptr);
    const auto symbols = gdb_symbols();
    ASSERT_GE(symbols.size(), 2u);
    EXPECT_EQ(symbols[0].first, "skep:main");
    EXPECT_EQ(symbols[1].first, "skep:main/f1");
    EXPECT_EQ(code->slot_at(reinterpret_cast<const void*>(symbols[0].second)), 0u);
    EXPECT_EQ(code->slot_at(reinterpret_cast<const void*>(symbols[1].second)), 4u);
    code.reset();
    EXPECT_EQ(__jit_debug_descriptor.first, before);
}

}  // namespace
}  // namespace skep::test
