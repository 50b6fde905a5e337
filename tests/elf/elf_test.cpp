// The ELF reader and what Objects make of hand-made files: conventions of old tools, and every kind
// of damage.

#include "vm/elf/elf.hpp"

#include <chrono>
#include <gtest/gtest.h>

#include <skep/object.hpp>

#include "tests/elf/build.hpp"
#include "vm/btf/btf.hpp"
#include "vm/prog/program.hpp"

namespace skep {
namespace {

using test::ElfBuilder;
using test::kExitInsn;
using test::local_call;
using test::mov;
using test::wide;

Result<Object> open(const std::string& bytes, OpenOptions options = {}) {
    options.allow_kernel_btf = false;
    return Object::open_memory(std::as_bytes(std::span(bytes)), "test.o", options);
}
Result<Object> open(const ElfBuilder& elf) { return open(elf.bytes()); }

Error error_of(const ElfBuilder& elf) {
    auto object = open(elf);
    EXPECT_FALSE(object);
    return object ? Error{} : object.error();
}

TEST(Elf, TheExampleLinks) {
    OpenOptions options;
    auto object = open(test::example_object());
    ASSERT_TRUE(object) << object.error().to_string();
    options.target_btf = object->btf();
    object = open(test::example_object(), options);
    ASSERT_TRUE(object);
    ASSERT_EQ(object->programs().size(), 2u);
    EXPECT_EQ(object->programs()[1].type_name, "sched_cls");  // tc's convention
    ASSERT_EQ(object->maps().size(), 4u);
    EXPECT_EQ(object->maps()[0].name, "flows");
    EXPECT_EQ(object->maps()[0].value_size, 8u);
    EXPECT_EQ(object->maps()[1].init, (std::vector<MapInit>{{7, "tail"}}));
    auto program = object->link("filter");
    ASSERT_TRUE(program) << program.error().to_string();
    EXPECT_EQ(program->insns.size(), 11u);
    EXPECT_EQ(program->insns[5].target, 9);
    EXPECT_EQ(program->insns[6].target, 9);
    EXPECT_EQ(program->insns[2].pseudo_imm(), PseudoImm::MapValue);
    EXPECT_EQ(program->insns[2].imm >> 32, 4);
    EXPECT_EQ(program->where(6).line, 2u);
    EXPECT_EQ(program->where(9).line, 0u);  // the subprogram has no lines
    auto tail = object->link("2/7");
    ASSERT_TRUE(tail) << tail.error().to_string();
    EXPECT_EQ(tail->insns[0].imm, 1);
}

TEST(Elf, BigEndianAndForeignFilesSaySo) {
    ElfBuilder elf;
    elf.code("xdp", {mov(0, 0), kExitInsn});
    elf.data_order = 2;
    EXPECT_EQ(error_of(elf).code, ErrorCode::BigEndian);
    elf.data_order = 1;
    elf.machine = 62;
    EXPECT_EQ(error_of(elf).code, ErrorCode::NotBpf);
    elf.machine = 0;  // old LLVM
    EXPECT_TRUE(open(elf));
    elf.machine = 247;
    elf.file_type = 2;
    EXPECT_EQ(error_of(elf).code, ErrorCode::BadElf);
}

TEST(Elf, TruncatedFilesAreRefused) {
    const std::string bytes = test::example_object();
    for (size_t size = 0; size < bytes.size(); size += size < 256 ? 1 : 13) {
        auto object = open(bytes.substr(0, size));
        ASSERT_FALSE(object) << size;
        EXPECT_FALSE(object.error().message.empty());
    }
}

TEST(Elf, OldFilesWithoutTypesOrSymbolsHaveProgramsToo) {
    ElfBuilder old;
    const uint16_t code = old.code("xdp", {mov(0, 1), kExitInsn, mov(0, 2), kExitInsn});
    old.symbol({"LBB0_1", 0, 0, code, 8, 0});  // a label of old LLVM
    old.symbol({"one", 1, 0, code, 0, 0});
    old.symbol({"two", 1, 0, code, 16, 0});
    auto object = open(old);
    ASSERT_TRUE(object) << object.error().to_string();
    ASSERT_EQ(object->programs().size(), 2u);
    EXPECT_EQ(object->programs()[0].insn_count, 2u);
    auto two = object->link("two");
    ASSERT_TRUE(two);
    EXPECT_EQ(two->insns[0].imm, 2);

    ElfBuilder bare;
    bare.code("socket", {mov(0, 1), kExitInsn});
    object = open(bare);
    ASSERT_TRUE(object);
    ASSERT_EQ(object->programs().size(), 1u);
    EXPECT_EQ(object->programs()[0].name, "socket");
}

TEST(Elf, AddendsOfRelaReplaceTheImmediate) {
    for (const bool rela : {false, true}) {
        ElfBuilder elf;
        const uint16_t code = elf.code("xdp", {wide(1, 8), {}, mov(0, 0), kExitInsn});
        const uint16_t data = elf.section(".data.x", 1, 3, std::string(32, '\0'));
        elf.function("f", code, 0, 4);
        const uint32_t symbol = elf.symbol({"v", 1, 1, data, 4, 4});
        if (rela)
            elf.relocation_with_addend(code, 0, 1, symbol, 16);
        else
            elf.relocation(code, 0, 1, symbol);
        auto object = open(elf);
        ASSERT_TRUE(object) << object.error().to_string();
        auto program = object->link("f");
        ASSERT_TRUE(program) << program.error().to_string();
        EXPECT_EQ(program->insns[0].imm >> 32, rela ? 20 : 12);
    }
}

TEST(Elf, CallsReachStaticFunctionsOfOtherSections) {
    ElfBuilder elf;
    const uint16_t a = elf.code("xdp", {local_call(1), local_call(-1), kExitInsn});
    const uint16_t b = elf.code("classifier", {mov(0, 1), kExitInsn, mov(0, 2), kExitInsn});
    elf.function("f", a, 0, 3);
    const uint32_t section = elf.symbol({"", 0, 3, b, 0, 0});
    elf.function("g", b, 0, 2);
    const uint32_t h = elf.function("h", b, 2, 2);
    elf.relocation(a, 0, 10, section);
    elf.relocation(a, 8, 10, h);
    auto object = open(elf);
    ASSERT_TRUE(object) << object.error().to_string();
    auto program = object->link("f");
    ASSERT_TRUE(program) << program.error().to_string();
    ASSERT_EQ(program->subprograms.size(), 2u);
    EXPECT_EQ(program->subprograms[1].name, "h");
    EXPECT_EQ(program->insns[0].target, 3);
    EXPECT_EQ(program->insns[1].target, 3);
}

TEST(Elf, BadRelocationsNameProgramAndSlot) {
    struct Case {
        uint64_t offset;
        uint32_t type;
        int symbol;  // 0 flows like: data symbol, 1 function, 2 undefined, 3 other section
        ErrorCode code;
    };
    const Case cases[] = {
        {4, 1, 0, ErrorCode::BadRelocation},     // the middle of an instruction
        {16, 1, 0, ErrorCode::BadRelocation},    // a mov
        {0, 1, 2, ErrorCode::UnresolvedSymbol},  // an extern that nothing describes
        {0, 1, 3, ErrorCode::BadSymbol},         // neither data nor map
        {0, 1, 4, ErrorCode::BadRelocation},     // inside a function
    };
    for (const Case& c : cases) {
        ElfBuilder elf;
        const uint16_t code = elf.code("xdp", {wide(1, 0), {}, mov(0, 0), kExitInsn});
        const uint16_t data = elf.section(".data", 1, 3, std::string(8, '\0'));
        const uint16_t other = elf.section("other", 1, 3, std::string(8, '\0'));
        elf.function("f", code, 0, 4);
        const uint32_t symbols[] = {
            elf.symbol({"v", 1, 1, data, 0, 8}), 1, elf.symbol({"undefined", 1, 0, 0, 0, 0}),
            elf.symbol({"o", 1, 1, other, 0, 8}), elf.symbol({"label", 0, 0, code, 8, 0})};
        elf.relocation(code, c.offset, c.type, symbols[c.symbol]);
        auto object = open(elf);
        ASSERT_TRUE(object) << object.error().to_string();
        auto program = object->link("f");
        ASSERT_FALSE(program) << c.offset << " " << c.symbol;
        EXPECT_EQ(program.error().code, c.code) << program.error().to_string();
        EXPECT_EQ(program.error().where.program, "f");
        EXPECT_GE(program.error().where.slot, 0);
    }
}

TEST(Elf, FunctionsMustBeWholeSlotsInsideTheirSection) {
    for (const auto& [value, size] : std::vector<std::pair<uint64_t, uint64_t>>{
             {4, 8}, {0, 12}, {0, 64}, {64, 8}, {~uint64_t{7}, 16}, {0, ~uint64_t{7}}}) {
        ElfBuilder elf;
        const uint16_t code = elf.code("xdp", {mov(0, 0), kExitInsn});
        elf.symbol({"f", 1, 2, code, value, size});
        EXPECT_EQ(error_of(elf).code, ErrorCode::BadSymbol) << value << " " << size;
    }
}

TEST(Elf, OverlappingSectionsAndHugeOnesAreRefused) {
    ElfBuilder huge;
    huge.code("xdp", {mov(0, 0), kExitInsn});
    huge.zeros(".bss", uint64_t{1} << 40);
    EXPECT_EQ(error_of(huge).code, ErrorCode::LimitExceeded);
    std::string bytes = test::example_object();
    // Every section header gets the whole file as its data.
    uint64_t table = 0;
    std::memcpy(&table, bytes.data() + 40, 8);
    for (size_t at = table + 64; at + 64 <= bytes.size(); at += 64) {
        const uint64_t range[2] = {0, bytes.size()};
        std::memcpy(bytes.data() + at + 24, range, 16);
    }
    EXPECT_FALSE(open(bytes));
}

// Many functions over the same slots cannot make a small file into an endless program.
TEST(Elf, OverlappingFunctionsStayWithinTheLimit) {
    ElfBuilder elf;
    constexpr uint32_t kCount = 4000;
    std::vector<RawInsn> slots(kCount, local_call(-1));
    slots.back() = kExitInsn;
    const uint16_t text = elf.code(".text", slots);
    const uint16_t xdp = elf.code("xdp", {local_call(-1), kExitInsn});
    elf.function("f", xdp, 0, 2);
    std::vector<uint32_t> symbols;
    for (uint32_t i = 0; i + 1 < kCount; ++i)
        symbols.push_back(elf.function("s" + std::to_string(i), text, i, kCount - i));
    for (uint32_t i = 0; i + 1 < kCount; ++i)
        elf.relocation(text, uint64_t{i} * 8, 10, symbols[(i * 7 + 1) % symbols.size()]);
    elf.relocation(xdp, 0, 10, symbols[0]);
    auto object = open(elf);
    ASSERT_TRUE(object) << object.error().to_string();
    const auto start = std::chrono::steady_clock::now();
    auto program = object->link("f");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
    EXPECT_TRUE(!program && program.error().code == ErrorCode::LimitExceeded);
}

TEST(Elf, LegacyMapsOfAnySize) {
    ElfBuilder elf;
    const uint16_t code = elf.code("socket1", {wide(1, 20), {}, mov(0, 0), kExitInsn});
    std::string defs;
    for (const uint32_t w : {2u, 4u, 8u, 16u, 0u, 1u, 8u, 4u, 32u, 1u})
        defs.append(reinterpret_cast<const char*>(&w), 4);
    const uint16_t maps = elf.section("maps", 1, 3, defs);
    elf.function("f", code, 0, 4);
    elf.symbol({"first", 1, 0, maps, 0, 0});  // NOTYPE, no size
    elf.symbol({"second", 1, 0, maps, 20, 0});
    const uint32_t section = elf.symbol({"", 0, 3, maps, 0, 0});
    elf.relocation(code, 0, 1, section);  // a static map: the section and an addend
    auto object = open(elf);
    ASSERT_TRUE(object) << object.error().to_string();
    ASSERT_EQ(object->maps().size(), 2u);
    EXPECT_EQ(object->maps()[1].key_size, 8u);
    EXPECT_EQ(object->maps()[1].flags, 1u);
    auto program = object->link("f");
    ASSERT_TRUE(program) << program.error().to_string();
    EXPECT_EQ(program->insns[0].imm, 1);
    elf.at(maps).data.resize(30);
    EXPECT_EQ(error_of(elf).code, ErrorCode::BadMapDef);
}

// The first BTF-defined maps: `struct { __u32 type; ... } m SEC(".maps") = {.type = ...};`.
TEST(Elf, MapDefinitionsWithInitialisedNumbers) {
    ElfBuilder elf;
    std::string value;
    for (const uint32_t w : {1u, 64u, 0u, 0u}) value.append(reinterpret_cast<const char*>(&w), 4);
    const uint16_t maps = elf.section(".maps", 1, 3, value);
    elf.symbol({"m", 1, 1, maps, 0, 16});
    test::BtfBuilder b;
    const uint32_t u = b.add_int("__u32", 4), key = b.add("", 2, 0, u);
    const uint32_t def =
        b.add("", 4, 3, 16,
              {b.string("type"), u, 0, b.string("max_entries"), u, 32, b.string("key"), key, 64});
    const uint32_t var = b.add("m", 14, 0, def, {1});
    b.add(".maps", 15, 1, 0, {var, 0, 16});
    elf.section(".BTF", 1, 0, b.bytes());
    auto object = open(elf);
    ASSERT_TRUE(object) << object.error().to_string();
    EXPECT_EQ(object->maps().at(0).type, MapType::Hash);
    EXPECT_EQ(object->maps().at(0).max_entries, 64u);
    EXPECT_EQ(object->maps().at(0).key_size, 4u);
}

// A section with as many variables as BTF can list and a file full of symbols: what is looked up
// for each of the one must not walk all of the other.
TEST(Elf, ManyVariablesAndSymbolsStayLinear) {
    ElfBuilder elf;
    const uint16_t data = elf.section(".data", 1, 3, std::string(64, '\0'));
    for (uint32_t i = 0; i < 20000; ++i) elf.symbol({"s" + std::to_string(i), 1, 1, data, 8, 8});
    test::BtfBuilder b;
    const uint32_t u = b.add_int("u64", 8), var = b.add("t", 14, 0, u, {1});
    std::vector<uint32_t> entries;
    for (uint32_t i = 0; i < 60000; ++i) entries.insert(entries.end(), {var, 0, 8});
    b.add(".data", 15, 60000, 0, entries);
    elf.section(".BTF", 1, 0, b.bytes());
    const std::string bytes = elf.bytes();
    const auto start = std::chrono::steady_clock::now();
    auto object = open(bytes);
    ASSERT_TRUE(object) << object.error().to_string();
    EXPECT_EQ(object->globals().size(), 60000u);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(3));
}

TEST(Elf, UnknownSectionsLinkOnlyWithAType) {
    ElfBuilder elf;
    const uint16_t code = elf.code("my_section", {mov(0, 0), kExitInsn});
    elf.function("f", code, 0, 2);
    auto object = open(elf);
    ASSERT_TRUE(object);
    EXPECT_EQ(object->link("f").error().code, ErrorCode::UnknownProgramType);
    EXPECT_FALSE(object->set_program_type("f", "nonsense"));
    EXPECT_TRUE(object->set_program_type("f", "BPF_PROG_TYPE_XDP"));
    auto program = object->link("f");
    ASSERT_TRUE(program) << program.error().to_string();
    EXPECT_EQ(program->type->name, "xdp");
}

}  // namespace
}  // namespace skep
