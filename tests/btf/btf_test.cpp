// The BTF type graph: what it says of good bytes, and that it refuses every kind of bad ones.

#include "vm/btf/btf.hpp"

#include <chrono>
#include <cstdlib>
#include <gtest/gtest.h>
#include <random>

#include "tests/btf/build.hpp"
#include "vm/base/os.hpp"
#include "vm/btf/btf_ext.hpp"

namespace skep {
namespace {

using test::BtfBuilder;

std::shared_ptr<const Btf> good(const BtfBuilder& b) {
    auto btf = Btf::parse(b.bytes());
    EXPECT_TRUE(btf) << btf.error().to_string();
    return btf ? *btf : nullptr;
}

std::string error_of(const BtfBuilder& b) {
    auto btf = Btf::parse(b.bytes());
    return btf ? "accepted" : btf.error().message;
}

// struct pair { int a; struct { short b; char c[2][3]; }; const int *p; unsigned f : 3; };
struct PairTypes {
    BtfBuilder b;
    uint32_t i, s, c, row, grid, anon, ci, p, pair;
    PairTypes() {
        i = b.add_int("int", 4, true);
        s = b.add_int("short", 2, true);
        c = b.add_int("char", 1);
        row = b.add("", 3, 0, 0, {c, i, 3});
        grid = b.add("", 3, 0, 0, {row, i, 2});
        anon = b.add("", 4, 2, 8, {b.string("b"), s, 0, b.string("c"), grid, 16});
        ci = b.add("", 10, 0, i);
        p = b.add("", 2, 0, ci);
        pair = b.add("pair", 4, 4, 32,
                     {b.string("a"), i, 0, 0, anon, 32, b.string("p"), p, 128, b.string("f"), i,
                      3u << 24 | 192},
                     true);
    }
};

TEST(Btf, ReadsTypesMembersAndSizes) {
    PairTypes t;
    const auto btf = good(t.b);
    ASSERT_TRUE(btf);
    EXPECT_EQ(btf->type_count(), t.pair + 1);
    EXPECT_EQ(btf->type(t.pair).name(), "pair");
    EXPECT_EQ(btf->size_of(t.pair), 32u);
    EXPECT_EQ(btf->size_of(t.grid), 6u);
    EXPECT_EQ(btf->flatten(t.grid).count, 6u);
    EXPECT_EQ(btf->flatten(t.grid).element, t.c);
    EXPECT_EQ(btf->size_of(t.p), 8u);
    EXPECT_EQ(btf->size_of(0), std::nullopt);
    EXPECT_EQ(btf->type(t.pair).member(3).bit_size, 3u);
    EXPECT_EQ(btf->find("pair", BtfKind::Struct), t.pair);
    EXPECT_EQ(btf->find("pair", BtfKind::Union), 0u);
    EXPECT_EQ(btf->find_member(t.pair, "c")->offset(), 6u);
    EXPECT_FALSE(btf->find_member(t.pair, "nothing"));
    EXPECT_EQ(btf->field_at(t.pair, 10)->path, "c[1][1]");
    EXPECT_EQ(btf->field_at(t.pair, 1)->path, "a");
    EXPECT_FALSE(btf->field_at(t.pair, 14));  // padding
    EXPECT_FALSE(btf->field_at(t.pair, 32));
    EXPECT_EQ(btf->type_name(t.p), "const int *");
    EXPECT_EQ(btf->type_name(t.grid), "char[2][3]");
}

TEST(Btf, NamesDeclarators) {
    BtfBuilder b;
    const uint32_t i = b.add_int("int", 4, true);
    const uint32_t v = b.add("", 2, 0, 0);
    const uint32_t proto = b.add("", 13, 2, i, {0, v, 0, 0});
    const uint32_t fp = b.add("", 2, 0, proto);
    const uint32_t s = b.add("flow", 7, 0, 0);
    const uint32_t sp = b.add("", 2, 0, s);
    const uint32_t csp = b.add("", 10, 0, sp);
    const auto btf = good(b);
    ASSERT_TRUE(btf);
    EXPECT_EQ(btf->type_name(fp), "int (*)(void *, ...)");
    EXPECT_EQ(btf->type_name(csp), "struct flow *const");
}

TEST(Btf, EnumsTagsAndLinkage) {
    BtfBuilder b;
    const uint32_t i = b.add_int("int", 4, true);
    const uint32_t e = b.add("e", 6, 2, 4, {b.string("A"), 1, b.string("B"), 0xffffffff});
    const uint32_t e64 = b.add("e64", 19, 1, 8, {b.string("C"), 5, 7});
    const uint32_t tag = b.add("kptr", 18, 0, i);
    const uint32_t var = b.add("v", 14, 0, i, {1});
    b.add("mine", 17, 0, var, {0xffffffff});
    const auto btf = good(b);
    ASSERT_TRUE(btf);
    EXPECT_EQ(btf->type(e).enumerator(1).value, ~uint64_t{0});
    EXPECT_EQ(btf->type(e64).enumerator(0).value, 7ull << 32 | 5);
    EXPECT_EQ(btf->type_tags(tag), std::vector<std::string_view>{"kptr"});
    EXPECT_EQ(btf->type(var).linkage(), BtfLinkage::Global);
    ASSERT_EQ(btf->decl_tags(var).size(), 1u);
    EXPECT_EQ(btf->decl_tags(var)[0].value, "mine");
    EXPECT_EQ(btf->decl_tags(i).size(), 0u);
}

TEST(Btf, SplitFollowsItsBase) {
    BtfBuilder b;
    const uint32_t i = b.add_int("int", 4, true);
    const auto base = good(b);
    ASSERT_TRUE(base);
    BtfBuilder s;
    // Strings of the split BTF start behind the base's ("" and "int": 5 bytes).
    s.words() = {5 + 1, 8u << 24, i};
    s.string("myint");
    auto split = Btf::parse(s.bytes(), base);
    ASSERT_TRUE(split) << split.error().to_string();
    EXPECT_EQ((*split)->type_count(), 3u);
    EXPECT_EQ((*split)->type(2).name(), "myint");
    EXPECT_EQ((*split)->size_of(2), 4u);
    EXPECT_EQ((*split)->find("myint", BtfKind::Typedef), 2u);
    EXPECT_EQ((*split)->find("int", BtfKind::Int), 1u);
}

TEST(Btf, FlavorsShareAnEssentialName) {
    EXPECT_EQ(essential_name("task_struct___old"), "task_struct");
    EXPECT_EQ(essential_name("task_struct"), "task_struct");
    EXPECT_EQ(essential_name("___x"), "___x");
    EXPECT_EQ(essential_name("x___"), "x___");
    EXPECT_EQ(essential_name("a___b___c"), "a___b");
    BtfBuilder b;
    const uint32_t plain = b.add("s", 4, 0, 4), flavor = b.add("s___v2", 4, 0, 8);
    const auto btf = good(b);
    ASSERT_TRUE(btf);
    EXPECT_EQ(btf->candidates("s"), (std::vector<uint32_t>{plain, flavor}));
}

TEST(Btf, RefusesWhatIsMalformed) {
    struct Case {
        const char* what;
        void (*make)(BtfBuilder&);
        const char* message;
    };
    const Case cases[] = {
        {"kind", [](BtfBuilder& b) { b.add("", 20, 0, 0); }, "unknown kind"},
        {"reserved bits", [](BtfBuilder& b) { b.add("", 2 | 0x40, 0, 0); }, "reserved bits"},
        {"cut record", [](BtfBuilder& b) { b.add("s", 4, 3, 8); }, "ends after"},
        {"name",
         [](BtfBuilder& b) {
             b.add_int("i", 4);
             b.words()[0] = 99;
         },
         "outside of the strings"},
        {"id", [](BtfBuilder& b) { b.add("", 2, 0, 7); }, "refers to type 7"},
        {"typedef of itself", [](BtfBuilder& b) { b.add("t", 8, 0, 1); }, "contains itself"},
        {"struct in itself", [](BtfBuilder& b) { b.add("s", 4, 1, 8, {0, 1, 0}); },
         "contains itself"},
        {"array of itself",
         [](BtfBuilder& b) {
             b.add_int("i", 4);
             b.add("", 3, 0, 0, {2, 1, 1});
         },
         "contains itself"},
        {"member outside",
         [](BtfBuilder& b) {
             b.add_int("i", 4);
             b.add("s", 4, 1, 4, {0, 1, 8});
         },
         "ends after its parent"},
        {"int", [](BtfBuilder& b) { b.add("i", 1, 0, 4, {64}); }, "an integer of 64 bits"},
        {"function type",
         [](BtfBuilder& b) {
             b.add_int("i", 4);
             b.add("f", 12, 0, 1);
         },
         "not a prototype"},
        {"huge array",
         [](BtfBuilder& b) {
             b.add_int("i", 4);
             b.add("", 3, 0, 0, {1, 1, 0x7fffffff});
         },
         "more than 4 GiB"},
        {"section entry",
         [](BtfBuilder& b) {
             b.add_int("i", 4);
             b.add(".data", 15, 1, 4, {1, 0, 4});
         },
         "neither a variable"},
    };
    for (const Case& c : cases) {
        BtfBuilder b;
        c.make(b);
        EXPECT_NE(error_of(b).find(c.message), std::string::npos) << c.what << ": " << error_of(b);
    }
}

TEST(Btf, RefusesDeepNestingButTakesLongPointerChains) {
    BtfBuilder deep;
    deep.add_int("i", 4);
    for (uint32_t i = 0; i < 500; ++i) deep.add("t", 8, 0, deep.next() - 1);
    EXPECT_NE(error_of(deep).find("deep"), std::string::npos);
    BtfBuilder pointers;
    pointers.add_int("i", 4);
    for (uint32_t i = 0; i < 500; ++i) pointers.add("", 2, 0, pointers.next() - 1);
    const auto btf = good(pointers);
    ASSERT_TRUE(btf);
    EXPECT_FALSE(btf->type_name(500).empty());
}

// Each union holds the one before twice: 2^100 ways down, walked within a budget.
TEST(Btf, SharedUnionsDoNotExplode) {
    BtfBuilder b;
    uint32_t below = b.add_int("i", 4);
    for (unsigned i = 0; i < 100; ++i) below = b.add("", 5, 2, 4, {0, below, 0, 0, below, 0});
    const auto btf = good(b);
    ASSERT_TRUE(btf);
    EXPECT_FALSE(btf->find_member(below, "missing"));
    EXPECT_TRUE(btf->align_of(below));
    EXPECT_EQ(btf->field_at(below, 0)->size, 4u);
}

TEST(Btf, RefusesBadHeaders) {
    PairTypes t;
    const std::string bytes = t.b.bytes();
    for (size_t size = 0; size < bytes.size(); ++size)
        EXPECT_FALSE(Btf::parse(bytes.substr(0, size))) << size;
    std::string swapped = bytes;
    std::swap(swapped[0], swapped[1]);
    EXPECT_EQ(Btf::parse(swapped).error().code, ErrorCode::BigEndian);
}

TEST(Btf, SurvivesMutations) {
    PairTypes t;
    const std::string bytes = t.b.bytes();
    const unsigned seed = std::random_device{}();
    std::mt19937 random(seed);
    unsigned accepted = 0;
    for (unsigned round = 0; round < 20000; ++round) {
        std::string mutant = bytes;
        for (unsigned n = 1 + random() % 3; n-- != 0;)
            mutant[random() % mutant.size()] = char(random());
        auto btf = Btf::parse(mutant);
        if (!btf) continue;
        ++accepted;
        for (uint32_t id = 0; id < (*btf)->type_count(); ++id) {
            (void)(*btf)->size_of(id);
            (void)(*btf)->type_name(id);
            (void)(*btf)->field_at(id, random() % 40);
            (void)(*btf)->align_of(id);
            (void)(*btf)->decl_tags(id);
            (void)(*btf)->find((*btf)->type(id).name(), BtfKind::Int);
        }
    }
    EXPECT_GT(accepted, 0u) << "seed " << seed;
}

TEST(Btf, ParsesTheKernelsTypes) {
    auto bytes = os::read_file("/sys/kernel/btf/vmlinux");
    if (!bytes) GTEST_SKIP() << "no /sys/kernel/btf/vmlinux here";
    const auto start = std::chrono::steady_clock::now();
    auto btf = Btf::parse(std::move(*bytes));
    const auto parsed = std::chrono::steady_clock::now();
    ASSERT_TRUE(btf) << btf.error().to_string();
    const uint32_t task = (*btf)->find("task_struct", BtfKind::Struct);
    const auto found = std::chrono::steady_clock::now();
    ASSERT_NE(task, 0u);
    EXPECT_GT((*btf)->find_member(task, "pid")->offset(), 0u);
    const auto ms = [](auto d) { return std::chrono::duration<double, std::milli>(d).count(); };
    RecordProperty("parse_ms", std::to_string(ms(parsed - start)));
    RecordProperty("index_ms", std::to_string(ms(found - parsed)));
    std::printf("%u types, parse %.1f ms, index %.1f ms, %.1f MB\n", (*btf)->type_count(),
                ms(parsed - start), ms(found - parsed), double((*btf)->memory_bytes()) / 1e6);
}

TEST(BtfExt, ReadsRecordsAndRefusesBadOnes) {
    BtfBuilder b;
    const uint32_t i = b.add_int("int", 4, true);
    const uint32_t proto = b.add("", 13, 0, i);
    const uint32_t func = b.add("f", 12, 1, proto);
    const uint32_t section = b.string("xdp"), file = b.string("a.c"), text = b.string("return 0;");
    const auto btf = good(b);
    ASSERT_TRUE(btf);
    std::vector<uint32_t> words = {
        0x0001eb9f, 32, 0, 20,   20,   28,           48, 28,      8, section, 1, 0,    func, 16,
        section,    1,  8, file, text, 7u << 10 | 3, 16, section, 1, 16,      i, file, 0};
    const auto parse = [&] { return BtfExt::parse(std::as_bytes(std::span(words)), *btf); };
    auto ext = parse();
    ASSERT_TRUE(ext) << ext.error().to_string();
    EXPECT_EQ(ext->funcs.at(0).name, "xdp");
    EXPECT_EQ(ext->lines.at(0).records.at(0).line, 7u);
    EXPECT_EQ(ext->lines.at(0).records.at(0).text, "return 0;");
    EXPECT_EQ(ext->relocations.at(0).records.at(0).access, "a.c");
    for (const size_t word : {0u, 1u, 3u, 5u, 8u, 9u, 10u, 12u, 13u, 17u, 18u, 24u, 25u, 26u}) {
        const uint32_t old = std::exchange(words[word], 0x7ffffff1);
        EXPECT_FALSE(parse()) << "word " << word;
        words[word] = old;
    }
}

}  // namespace
}  // namespace skep
