// Both dialects give the same bytes; errors carry the line and what was expected there.
#include "vm/isa/assemble.hpp"

#include <gtest/gtest.h>
#include <string>

#include "vm/isa/codec.hpp"
#include "vm/isa/disasm.hpp"

namespace skep {
namespace {

struct Pair {
    const char* kernel;    // what disassemble() prints
    const char* mnemonic;  // the same in the classic dialect, or another accepted spelling
};

const Pair kPairs[] = {
    {"r0 += r1", "add64 r0, r1"},
    {"r0 += r1", "add %r0, %r1"},
    {"r0 += -5", "add r0, -5"},
    {"w3 -= 7", "sub32 r3, 7"},
    {"r3 *= r4", "mul r3, r4"},
    {"r3 /= r4", "div64 r3, r4"},
    {"w3 /= 9", "div32 w3, 9"},
    {"r3 s/= r4", "sdiv64 r3, r4"},
    {"w3 s%= 9", "smod32 r3, 9"},
    {"r3 %= 9", "mod r3, 9"},
    {"r3 |= 9", "or r3, 9"},
    {"r3 &= 15", "and r3, 0xf"},
    {"r3 ^= r3", "xor r3, r3"},
    {"r3 <<= 63", "lsh r3, 63"},
    {"w3 >>= w1", "rsh32 r3, r1"},
    {"r3 s>>= 2", "arsh r3, 2"},
    {"r0 = 0", "mov r0, 0"},
    {"w0 = 5", "mov32 r0, 5"},
    {"w0 = -1", "mov32 r0, 0xffffffff"},
    {"r9 = r10", "mov64 r9, r10"},
    {"r2 = (s8)r1", "movsx864 r2, r1"},
    {"r2 = (s32)r1", "movsx3264 r2, r1"},
    {"w2 = (s16)w1", "movsx1632 r2, r1"},
    {"r1 = -r1", "neg r1"},
    {"w1 = -w1", "neg32 r1"},
    {"r1 = be16 r1", "be16 r1"},
    {"r1 = le64 r1", "le64 r1"},
    {"r1 = bswap32 r1", "bswap32 r1"},
    {"r1 = 0x1122334455667788 ll", "lddw r1, 0x1122334455667788"},
    {"r1 = 0xffffffffffffffff ll", "lddw r1, -1"},
    {"r1 = 0xffffffffffffffff ll", "r1 = 18446744073709551615 ll"},
    {"r1 = map[3] ll", "r1=map[3]ll"},
    {"r1 = map[3] + 16 ll", "r1 = map [ 0x3 ] + 0x10 ll"},
    {"r1 = map_idx[3] ll", "r1 = map_idx[3] ll"},
    {"r1 = map_idx[3] + 0 ll", "r1 = map_idx[3] + 0 ll"},
    {"r1 = btf[77] ll", "r1 = btf[77] ll"},
    {"r1 = btf[77] + 4 ll", "r1 = btf[77] + 4 ll"},
    {"r1 = func +2 ll", "r1 = func next ll\nexit\nnext: exit"},
    {"r0 = *(u32 *)(r1 + 4)", "ldxw r0, [r1+4]"},
    {"r0 = *(u32 *)(r1 + 4)", "w0 = *(u32 *)(r1 + 0x4)"},
    {"r0 = *(u8 *)(r1 + 0)", "ldxb r0, [r1]"},
    {"r0 = *(u8 *)(r1 + 0)", "r0 = *(u8*)(r1)"},
    {"r0 = *(u16 *)(r1 - 2)", "ldxh r0, [r1-2]"},
    {"r0 = *(u64 *)(r10 - 512)", "ldxdw r0, [r10-512]"},
    {"r0 = *(s16 *)(r1 + 4)", "ldxsh r0, [r1+4]"},
    {"r0 = *(s32 *)(r1 - 32768)", "ldxsw r0, [r1-32768]"},
    {"*(u64 *)(r10 - 8) = r1", "stxdw [r10-8], r1"},
    {"*(u8 *)(r10 + 32767) = r1", "stxb [r10+32767], w1"},
    {"*(u32 *)(r1 + 0) = 5", "stw [r1], 5"},
    {"*(u64 *)(r1 + 0) = -5", "stdw [r1], -5"},
    {"lock *(u64 *)(r1 + 8) += r2", "lock add [r1+8], r2"},
    {"lock *(u32 *)(r1 + 8) |= w2", "lock or32 [r1+8], r2"},
    {"lock *(u64 *)(r1 + 0) &= r2", "lock and64 [r1], r2"},
    {"lock *(u64 *)(r1 + 0) ^= r2", "lock xor [r1], r2"},
    {"r2 = atomic_fetch_add((u64 *)(r1 + 8), r2)", "lock fetch_add [r1+8], r2"},
    {"r2 = atomic_fetch_add((u64 *)(r1 + 8), r2)", "r2 = atomic64_fetch_add((u64 *)(r1 + 8), r2)"},
    {"w2 = atomic_fetch_xor((u32 *)(r1 + 8), w2)", "lock fetch_xor32 [r1+8], r2"},
    {"r2 = xchg_64(r1 - 8, r2)", "lock xchg [r1-8], r2"},
    {"w2 = xchg32_32(r1 + 0, w2)", "lock xchg32 [r1], r2"},
    {"r0 = cmpxchg_64(r1 + 0, r0, r2)", "lock cmpxchg [r1], r2"},
    {"w0 = cmpxchg32_32(r1 + 0, w0, w2)", "lock cmpxchg32 [r1], r2"},
    {"r0 = load_acquire((u64 *)(r1 + 0))", "r0 = load_acquire((u64*)(r1))"},
    {"store_release((u64 *)(r1 + 0), r2)", "store_release((u64 *)(r1 + 0), r2)"},
    {"goto +5", "ja +5"},
    {"goto -1", "goto pc-1"},
    {"gotol +70000", "ja32 +70000"},
    {"may_goto +2", "may_goto pc+2"},
    {"if r1 > 5 goto +2", "jgt r1, 5, +2"},
    {"if r1 != 5 goto +2", "jne r1, 5, +2"},
    {"if w1 != 5 goto +2", "jne32 r1, 5, +2"},
    {"if r1 s<= r2 goto -2", "jsle r1, r2, -2"},
    {"if r1 & 7 goto +0", "jset r1, 7, +0"},
    {"if w1 s>= -1 goto +1", "jsge32 r1, -1, +1"},
    {"call 12", "call 0xc"},
    {"call +5", "call local +5"},
    {"call -2", "call pc-2"},
    {"call kfunc 77", "call kfunc 77"},
    {"call kfunc 77 fd 3", "call kfunc 77 fd 3"},
    {"exit", "exit ; done"},
    {"r0 = *(u8 *)skb[12]", "ldabsb 12"},
    {"r0 = *(u16 *)skb[r6 + 12]", "ldindh r6, 12"},
    {"r0 = *(u32 *)skb[r6 - 12]", "ldindw r6, -12"},
    {"r1 = addr_space_cast(r2, 0, 1)", "r1 = addr_space_cast(r2, 0x0, 0x1)"},
    {"r1 = addr_space_cast(r2, 1, 0)", "r1 = addr_space_cast(r2, 1, 0)"},
};

TEST(Assemble, BothDialectsGiveTheBytesThatAreDisassembledAgain) {
    for (const Pair& pair : kPairs) {
        const auto kernel = assemble(pair.kernel);
        ASSERT_TRUE(kernel.has_value()) << pair.kernel << ": " << kernel.error().to_string();
        const auto other = assemble(pair.mnemonic);
        ASSERT_TRUE(other.has_value()) << pair.mnemonic << ": " << other.error().to_string();
        ASSERT_GE(other->size(), kernel->size());
        EXPECT_TRUE(std::equal(kernel->begin(), kernel->end(), other->begin())) << pair.mnemonic;
        const auto insn = decode_one(*kernel, 0);
        ASSERT_TRUE(insn.has_value()) << pair.kernel << ": " << insn.error().to_string();
        EXPECT_EQ(disassemble(*insn, 0), pair.kernel);
    }
}

TEST(Assemble, LabelsReachBackwardsAndForwards) {
    const auto slots = assemble(R"(
    start:                      # a label of its own
        if r1 == 0 goto out     // forwards, over 16 bytes
        r2 = 1 ll
        goto start              ; backwards
        /* over
           lines */
    out: last: exit)");
    ASSERT_TRUE(slots.has_value()) << slots.error().to_string();
    const auto same = assemble("0: if r1 == 0 goto +3\n1: r2 = 1 ll\n3: goto -4\n4: exit");
    ASSERT_TRUE(same.has_value()) << same.error().to_string();
    EXPECT_EQ(*slots, *same);
}

TEST(Assemble, AListingAssembles) {
    const auto slots = assemble("r1 = 5 ll\nif w1 > 3 goto +1\nr0 = *(s8 *)(r1 - 1)\nexit");
    ASSERT_TRUE(slots.has_value());
    const auto insns = decode(*slots);
    ASSERT_TRUE(insns.has_value());
    const std::string listing = disassemble(*insns);
    EXPECT_EQ(listing, "0: r1 = 0x5 ll\n2: if w1 > 3 goto +1\n3: r0 = *(s8 *)(r1 - 1)\n4: exit\n");
    EXPECT_EQ(assemble(listing).value(), *slots);
}

TEST(Assemble, NamesOfHelpersComeFromTheCaller) {
    AssembleOptions options;
    options.helper = [](std::string_view name) {
        return name == "bpf_x" ? std::optional<int32_t>(99) : std::nullopt;
    };
    const auto slots = assemble("call bpf_x\ncall bpf_y\nbpf_y: exit", options);
    ASSERT_TRUE(slots.has_value()) << slots.error().to_string();
    EXPECT_EQ((*slots)[0].imm, 99);
    EXPECT_EQ((*slots)[0].src(), 0);
    EXPECT_EQ((*slots)[1].src(), 1);
    const auto insns = decode(*slots);
    DisasmNames names;
    names.helper = [](int32_t number) { return number == 99 ? "bpf_x" : std::string(); };
    names.function = [](uint32_t slot) { return slot == 2 ? "bpf_y" : std::string(); };
    EXPECT_EQ(disassemble(*insns, names), "0: call bpf_x\n1: call bpf_y\n2: exit\n");
    names.map = [](uint32_t map) { return "counts" + std::to_string(map); };
    EXPECT_EQ(disassemble(decode_one(*assemble("r1 = map[2] + 8 ll"), 0).value(), 0, names),
              "r1 = counts2 + 8 ll");
}

struct Wrong {
    const char* text;
    uint32_t line;
    const char* message;
};

TEST(Assemble, ErrorsCarryLineAndExpectation) {
    const Wrong table[] = {
        {"r0 = 1\nr0 + 1", 2, "expected an assignment (=, +=, -=, s>>= ...), found `+`"},
        {"r11 = 1", 1, "expected an instruction, found `r11`"},
        {"r0 += w1", 1, "expected a 64-bit register (r0 to r10), found `w1`"},
        {"r0 = 0x100000000", 1, "the number takes more than 32 bits; end it with `ll`"},
        {"r0 += 0x100000000", 1,
         "expected a number from -2147483648 to 4294967295, found `0x100000000`"},
        {"r0 = 5x", 1, "`5x` is no number"},
        {"r0 = 99999999999999999999", 1, "`99999999999999999999` does not fit in 64 bits"},
        {"w0 = 5 ll", 1, "`ll` needs a 64-bit register (r0 to r10)"},
        {"goto nowhere", 1, "no label `nowhere`"},
        {"\n\ngoto", 3, "expected a label or a distance (+2, -3), found the end of the line"},
        {"a: exit\na: exit", 2, "label `a` is there already"},
        {"/* two\nlines */ exit exit", 2, "expected the end of the line, found `exit`"},
        {"exit exit", 1, "expected the end of the line, found `exit`"},
        {"if r1 ~ 5 goto +1", 1, "unexpected character `~`"},
        {"if r1 == 5 +1", 1, "expected `goto`, found `+`"},
        {"if r1 = 5 goto +1", 1, "expected a comparison (==, !=, <, s>=, & ...), found `=`"},
        {"r0 = *(u9 *)(r1 + 0)", 1,
         "expected a type (u8, u16, u32, u64, s8, s16, s32), found `u9`"},
        {"r0 = *(u8 *)(r1 + 32768)", 1, "expected an offset from -32768 to 32767, found `+`"},
        {"r0 = *(u8 *)(w1 + 0)", 1, "expected a 64-bit register (r0 to r10), found `w1`"},
        {"*(s8 *)(r1 + 0) = r2", 1, "stores have no sign: u8, u16, u32, u64"},
        {"r1 = -r2", 1, "negation works in place: `r1 = -r1`"},
        {"r1 = be16 r2", 1, "byte order operations work in place: `r1 = be16 r1`"},
        {"frob r1", 1, "expected an instruction, found `frob`"},
        {"ldxw r1 [r2]", 1, "expected `,`, found `[`"},
        {"lock sub [r1], r2", 1,
         "expected add, or, and, xor, xchg, cmpxchg, fetch_add ... (with 32 for 32 bits), found "
         "`sub`"},
        {"lock *(u64 *)(r1 + 0) -= r2", 1, "expected `+=`, `|=`, `&=` or `^=`, found `-=`"},
        {"lock *(u16 *)(r1 + 0) += r2", 1, "atomic operations work on u32 and u64"},
        {"r1 = cmpxchg_64(r1 + 0, r1, r2)", 1, "cmpxchg compares with r0 and gives r0"},
        {"r1 = map[0]", 1, "expected `ll`, found the end of the line"},
    };
    for (const Wrong& row : table) {
        const auto slots = assemble(row.text);
        ASSERT_FALSE(slots.has_value()) << row.text;
        EXPECT_EQ(slots.error().code, ErrorCode::Syntax) << row.text;
        EXPECT_EQ(slots.error().message, row.message) << row.text;
        EXPECT_EQ(slots.error().where.line, row.line) << row.text;
    }
}

TEST(Assemble, AFarLabelNeedsGotol) {
    std::string text = "goto far\n";
    for (int i = 0; i < 32768; ++i) text += "r0 = 0\n";
    text += "far: exit\n";
    const auto slots = assemble(text);
    ASSERT_FALSE(slots.has_value());
    EXPECT_EQ(slots.error().where.line, 1u);
    EXPECT_NE(slots.error().message.find("gotol"), std::string::npos);
    EXPECT_TRUE(assemble("gotol" + text.substr(4)).has_value());
}

TEST(Assemble, AnyBytesAreAnswered) {
    for (int c = 0; c < 256; ++c) {
        for (const char* tail : {"", "r", "0x", ":", "*(", "[r1", "\n"}) {
            const std::string text = static_cast<char>(c) + std::string(tail);
            const auto slots = assemble(text);
            EXPECT_TRUE(slots.has_value() || !slots.error().message.empty()) << c;
        }
    }
    EXPECT_EQ(assemble("").value().size(), 0u);
}

}  // namespace
}  // namespace skep
