// What decodes, what is refused and why, and that every form survives each round trip.
#include "vm/isa/codec.hpp"

#include <gtest/gtest.h>
#include <vector>

#include "vm/isa/assemble.hpp"
#include "vm/isa/disasm.hpp"

namespace skep {
namespace {

RawInsn raw(unsigned opcode, unsigned dst = 0, unsigned src = 0, int off = 0, int32_t imm = 0) {
    return {static_cast<uint8_t>(opcode), static_cast<uint8_t>(dst | src << 4),
            static_cast<int16_t>(off), imm};
}

const RawInsn kExit = raw(0x95);

// The code of the refusal, or None.
ErrorCode refusal(std::vector<RawInsn> slots) {
    const auto insns = decode(slots);
    return insns ? ErrorCode::None : insns.error().code;
}

// --- exhaustive round trip -----------------------------------------------------------------------

struct Fields {
    std::vector<unsigned> dst{0, 3, 10, 11};
    std::vector<unsigned> src{0, 1, 2, 3, 4, 6, 7, 10, 12};
    std::vector<int> off{0, 1, 8, 16, 32, -3, 32767, -32768};
    std::vector<int32_t> imm{0,    1,    2,    5,    16,   32,    64,    0x40,  0x50,      0xa0,
                             0x41, 0x51, 0xa1, 0xe1, 0xf1, 0x100, 0x110, 65536, INT32_MIN, -1};
};

// A 64-bit immediate's second slot gets these upper halves.
void check_round_trip(const RawInsn& first, int32_t high, bool& decodes) {
    const std::vector<RawInsn> slots{first, raw(0, 0, 0, 0, high)};
    const auto insn = decode_one(slots, 0);
    decodes = insn.has_value();
    if (!decodes) return;
    const std::string text = disassemble(*insn, 0);
    ASSERT_EQ(encode(*insn, 0), first) << text;
    const auto again = assemble(text);
    ASSERT_TRUE(again.has_value()) << text << ": " << again.error().to_string();
    const size_t size = insn->kind == Kind::Imm64 ? 2 : 1;
    ASSERT_EQ(*again, std::vector<RawInsn>(slots.begin(), slots.begin() + size)) << text;
}

TEST(Codec, EveryDecodableInsnSurvivesEncodeAndText) {
    const Fields fields;
    std::vector<unsigned> opcodes;
    size_t forms = 0;
    for (unsigned opcode = 0; opcode < 256; ++opcode) {
        bool any = false;
        for (const unsigned dst : fields.dst)
            for (const unsigned src : fields.src)
                for (const int off : fields.off)
                    for (const int32_t imm : fields.imm) {
                        bool decodes = false;
                        const int32_t high = opcode == 0x18 ? (off == 0 ? 0x11223344 : 0) : 0;
                        check_round_trip(raw(opcode, dst, src, off, imm), high, decodes);
                        if (HasFatalFailure()) return;
                        any |= decodes;
                        forms += decodes;
                        if (opcode != 0x18) continue;
                        check_round_trip(raw(opcode, dst, src, off, imm), 0, decodes);
                        if (HasFatalFailure()) return;
                        forms += decodes;
                    }
        if (any) opcodes.push_back(opcode);
    }
    // RFC 9669 tables 3 to 16 and appendix A, load-acquire and store-release of 1 and 2 bytes,
    // and may_goto: 2 x 12 x 2 arithmetic, 2 negations, 3 byte orders, 2 x 11 x 2 conditions,
    // 2 gotos, call, exit, may_goto, 7 plain and 3 sign-extending loads with the 64-bit immediate
    // and 6 packet loads, 8 stores, 4 atomic widths.
    EXPECT_EQ(opcodes.size(), 48u + 2 + 3 + 44 + 5 + 4 + 3 + 1 + 6 + 8 + 4);
    EXPECT_GT(forms, 4000u);
}

TEST(Codec, DecodeIsTheInverseOfEncodeForWholePrograms) {
    const auto slots = assemble(R"(
        r1 = 0x1122334455667788 ll
        if r1 == 0 goto end
        gotol end
        call f
        r2 = func f ll
        may_goto -3
    end:
        exit
    f:
        w0 = -5
        exit)");
    ASSERT_TRUE(slots.has_value()) << slots.error().to_string();
    const auto insns = decode(*slots);
    ASSERT_TRUE(insns.has_value()) << insns.error().to_string();
    ASSERT_EQ(insns->size(), slots->size());
    for (uint32_t i = 0; i < slots->size(); ++i) EXPECT_EQ(encode((*insns)[i], i), (*slots)[i]);
    EXPECT_EQ((*insns)[0].imm, 0x1122334455667788);
    EXPECT_EQ((*insns)[1].kind, Kind::Imm64High);
    EXPECT_EQ((*insns)[2].target, 8);
    EXPECT_EQ((*insns)[3].target, 8);
    EXPECT_EQ((*insns)[4].kind, Kind::CallLocal);
    EXPECT_EQ((*insns)[4].target, 9);
    EXPECT_EQ((*insns)[5].target, 9);
    EXPECT_EQ((*insns)[7].target, 5);
    EXPECT_EQ((*insns)[9].imm, -5);
}

TEST(Codec, AMovedTargetIsEncoded) {
    auto insns = decode(std::vector{raw(0x05, 0, 0, 1), raw(0x85, 0, 1, 0, 0), kExit, kExit});
    ASSERT_TRUE(insns.has_value());
    (*insns)[0].target = 3;
    (*insns)[1].target = 3;
    EXPECT_EQ(encode((*insns)[0], 0), raw(0x05, 0, 0, 2));
    EXPECT_EQ(encode((*insns)[1], 1), raw(0x85, 0, 1, 0, 1));
}

// --- meaning of fields ---------------------------------------------------------------------------

TEST(Codec, FieldsMeanWhatTheTableSays) {
    const auto one = [](const RawInsn& slot) {
        auto insn = decode_one(std::vector{slot}, 0);
        EXPECT_TRUE(insn.has_value()) << insn.error().to_string();
        return insn.value_or(Insn{});
    };
    EXPECT_TRUE(one(raw(0x3f, 1, 2, 1)).sign);  // r1 s/= r2
    EXPECT_FALSE(one(raw(0x3f, 1, 2, 0)).sign);
    EXPECT_TRUE(one(raw(0x94, 1, 0, 1, 7)).sign);  // w1 s%= 7
    EXPECT_EQ(one(raw(0xbf, 1, 2, 32)).sext, 32);
    EXPECT_EQ(one(raw(0xbc, 1, 2, 16)).sext, 16);
    EXPECT_EQ(one(raw(0xbf, 1, 2, 1, 1)).kind, Kind::AddrSpaceCast);
    EXPECT_EQ(one(raw(0xd4, 1, 0, 0, 16)).endian(), EndianOp::ToLe);
    EXPECT_EQ(one(raw(0xdc, 1, 0, 0, 16)).endian(), EndianOp::ToBe);
    EXPECT_EQ(one(raw(0xd7, 1, 0, 0, 16)).endian(), EndianOp::Swap);
    EXPECT_EQ(one(raw(0x91, 1, 2, 4)).width, Width::B);  // r1 = *(s8 *)(r2 + 4)
    EXPECT_TRUE(one(raw(0x91, 1, 2, 4)).sign);
    EXPECT_EQ(one(raw(0x07, 1, 0, 0, -1)).imm, -1);
    EXPECT_EQ(one(raw(0x16, 1, 0, 7, 5)).width, Width::W);
    EXPECT_EQ(one(raw(0x16, 1, 0, 7, 5)).target, 8);
    EXPECT_TRUE(one(raw(0x30, 0, 0, 0, 3)).is_imm);
    EXPECT_FALSE(one(raw(0x50, 0, 6, 0, 3)).is_imm);
    EXPECT_EQ(one(raw(0xd3, 1, 2, 0, 0x100)).atomic(), AtomicOp::LoadAcquire);
    EXPECT_EQ(one(raw(0xd3, 1, 2, 0, 0x100)).width, Width::B);
}

// --- refusals ------------------------------------------------------------------------------------

struct Refused {
    const char* why;
    RawInsn slot;
    ErrorCode code;
};

TEST(Codec, RefusesWhatTheRulesForbid) {
    using enum ErrorCode;
    const Refused table[] = {
        {"unknown arithmetic", raw(0xe7), BadOpcode},
        {"unknown arithmetic", raw(0xf4), BadOpcode},
        {"negation of a register", raw(0x8f, 1, 2), BadOpcode},
        {"big-endian swap at 64 bits", raw(0xdf, 1, 0, 0, 16), BadOpcode},
        {"32-bit call", raw(0x86), BadOpcode},
        {"32-bit exit", raw(0x96), BadOpcode},
        {"32-bit may_goto", raw(0xe6), BadOpcode},
        {"exit through a register", raw(0x9d), BadOpcode},
        {"sign-extending 8-byte load", raw(0x99, 1, 2), BadOpcode},
        {"8-byte packet load", raw(0x38), BadOpcode},
        {"4-byte immediate load", raw(0x00), BadOpcode},
        {"atomic store of an immediate", raw(0xda), BadOpcode},
        {"callx", raw(0x8d, 1), UnsupportedInsn},
        {"gotox", raw(0x0d, 1), UnsupportedInsn},
        {"src with an immediate", raw(0x07, 1, 2, 0, 5), BadEncoding},
        {"imm with a register", raw(0x0f, 1, 2, 0, 5), BadEncoding},
        {"off of an addition", raw(0x07, 1, 0, 1, 5), BadEncoding},
        {"off of a division", raw(0x37, 1, 0, 2, 5), BadEncoding},
        {"off of a move of an immediate", raw(0xb7, 1, 0, 8, 5), BadEncoding},
        {"movsx from 32 to 32 bits", raw(0xbc, 1, 2, 32), BadEncoding},
        {"32-bit address space cast", raw(0xbc, 1, 2, 1, 1), BadEncoding},
        {"cast between unknown spaces", raw(0xbf, 1, 2, 1, 2), BadEncoding},
        {"negation with an operand", raw(0x87, 1, 0, 0, 1), BadEncoding},
        {"byte order of 8 bits", raw(0xd4, 1, 0, 0, 8), BadEncoding},
        {"byte order with src", raw(0xdc, 1, 1, 0, 16), BadEncoding},
        {"goto with imm", raw(0x05, 0, 0, 0, 1), BadEncoding},
        {"gotol with off", raw(0x06, 0, 0, 1, 0), BadEncoding},
        {"goto with dst", raw(0x05, 1), BadEncoding},
        {"exit with imm", raw(0x95, 0, 0, 0, 1), BadEncoding},
        {"exit with dst", raw(0x95, 1), BadEncoding},
        {"call with dst", raw(0x85, 1, 0, 0, 6), BadEncoding},
        {"call with off", raw(0x85, 0, 0, 1, 6), BadEncoding},
        {"call of an unknown sort", raw(0x85, 0, 3, 0, 6), BadEncoding},
        {"may_goto with imm", raw(0xe5, 0, 0, 0, 1), BadEncoding},
        {"JCOND of an unknown sort", raw(0xe5, 0, 1), BadEncoding},
        {"branch on an immediate with src", raw(0x15, 1, 2), BadEncoding},
        {"branch on a register with imm", raw(0x1d, 1, 2, 0, 3), BadEncoding},
        {"load with imm", raw(0x61, 1, 2, 0, 1), BadEncoding},
        {"store of an immediate with src", raw(0x62, 1, 2), BadEncoding},
        {"store of a register with imm", raw(0x63, 1, 2, 0, 1), BadEncoding},
        {"unknown atomic", raw(0xdb, 1, 2, 0, 0x10), BadEncoding},
        {"subtraction is no atomic", raw(0xdb, 1, 2, 0, 0x20), BadEncoding},
        {"xchg without fetch", raw(0xdb, 1, 2, 0, 0xe0), BadEncoding},
        {"2-byte atomic addition", raw(0xcb, 1, 2, 0, 0), BadEncoding},
        {"1-byte cmpxchg", raw(0xd3, 1, 2, 0, 0xf1), BadEncoding},
        {"packet load with dst", raw(0x30, 1), BadEncoding},
        {"packet load with off", raw(0x30, 0, 0, 1), BadEncoding},
        {"absolute packet load with src", raw(0x30, 0, 1), BadEncoding},
        {"64-bit immediate with off", raw(0x18, 1, 0, 1), BadEncoding},
        {"64-bit immediate of an unknown sort", raw(0x18, 1, 7), BadEncoding},
        {"r11", raw(0x07, 11), BadRegister},
        {"r15 as a source", raw(0x0f, 1, 15), BadRegister},
        {"write of r10", raw(0x07, 10, 0, 0, 1), BadRegister},
        {"move to r10", raw(0xbf, 10, 1), BadRegister},
        {"load to r10", raw(0x79, 10, 1), BadRegister},
        {"fetch to r10", raw(0xdb, 1, 10, 0, 0x01), BadRegister},
        {"xchg with r10", raw(0xdb, 1, 10, 0, 0xe1), BadRegister},
        {"load_acquire to r10", raw(0xdb, 10, 1, 0, 0x100), BadRegister},
        {"byte order of r10", raw(0xdc, 10, 0, 0, 16), BadRegister},
        {"negation of r10", raw(0x87, 10), BadRegister},
        {"64-bit immediate to r10", raw(0x18, 10), BadRegister},
        {"branch on r12", raw(0x15, 12), BadRegister},
        {"store through r11", raw(0x7b, 11, 1), BadRegister},
        {"packet index r11", raw(0x50, 0, 11), BadRegister},
        {"jump before the program", raw(0x05, 0, 0, -2), BadJump},
        {"jump past the program", raw(0x05, 0, 0, 5), BadJump},
        {"gotol far away", raw(0x06, 0, 0, 0, INT32_MAX), BadJump},
        {"local call out of the program", raw(0x85, 0, 1, 0, 9), BadJump},
        {"function outside of the program", raw(0x18, 1, 4, 0, 9), BadJump},
    };
    for (const Refused& row : table) {
        // Slot 1 is both a second half for 0x18 and, for others, an unreachable first one.
        std::vector<RawInsn> slots{row.slot, raw(0), kExit};
        if (row.slot.opcode != 0x18) slots[1] = kExit;
        EXPECT_EQ(name_of(refusal(slots)), name_of(row.code)) << row.why;
    }
}

TEST(Codec, RefusesBrokenSixteenByteInsns) {
    using enum ErrorCode;
    EXPECT_EQ(refusal({raw(0x18, 1)}), Truncated);
    EXPECT_EQ(refusal({kExit, raw(0x18, 1)}), Truncated);
    EXPECT_EQ(refusal({raw(0x18, 1), kExit}), BadEncoding);
    EXPECT_EQ(refusal({raw(0x18, 1), raw(0, 1), kExit}), BadEncoding);
    EXPECT_EQ(refusal({raw(0x18, 1), raw(0, 0, 0, 1), kExit}), BadEncoding);
    EXPECT_EQ(refusal({raw(0x18, 1, 1), raw(0, 0, 0, 0, 1), kExit}), BadEncoding);
    EXPECT_EQ(refusal({raw(0x18, 1, 2), raw(0, 0, 0, 0, 1), kExit}), None);
    // Into the second half, by goto, branch, gotol and call.
    const RawInsn lo = raw(0x18, 1), hi = raw(0);
    EXPECT_EQ(refusal({raw(0x05, 0, 0, 1), lo, hi, kExit}), BadJump);
    EXPECT_EQ(refusal({raw(0x15, 0, 0, 1), lo, hi, kExit}), BadJump);
    EXPECT_EQ(refusal({raw(0x06, 0, 0, 0, 1), lo, hi, kExit}), BadJump);
    EXPECT_EQ(refusal({raw(0x85, 0, 1, 0, 1), lo, hi, kExit}), BadJump);
    EXPECT_EQ(refusal({lo, hi, raw(0x05, 0, 0, -2), kExit}), BadJump);
    EXPECT_EQ(refusal({lo, hi, raw(0x05, 0, 0, -3), kExit}), None);
}

TEST(Codec, SizesAreLimited) {
    EXPECT_EQ(refusal({}), ErrorCode::EmptyProgram);
    EXPECT_EQ(refusal(std::vector<RawInsn>(kMaxInsns, kExit)), ErrorCode::None);
    EXPECT_EQ(refusal(std::vector<RawInsn>(kMaxInsns + 1, kExit)), ErrorCode::LimitExceeded);
}

TEST(Codec, MessagesNameSlotFoundAndAllowed) {
    const auto insns = decode(std::vector{kExit, raw(0x07, 1, 0, 3, 5), kExit});
    ASSERT_FALSE(insns.has_value());
    EXPECT_EQ(insns.error().to_string(), "slot 1: off is 3; opcode 0x07 allows 0");
    const auto jump = decode(std::vector{raw(0x05, 0, 0, 7), kExit});
    EXPECT_EQ(jump.error().to_string(), "slot 0: jumps to slot 8; the program has slots 0 to 1");
    const auto reg = decode(std::vector{raw(0x0f, 1, 12), kExit});
    EXPECT_EQ(reg.error().to_string(), "slot 0: src names r12; registers are r0 to r10");
}

}  // namespace
}  // namespace skep
