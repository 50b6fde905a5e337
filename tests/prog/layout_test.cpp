// Context tables: reads and stores go where the table says, and nowhere else.
#include <cstring>
#include <gtest/gtest.h>
#include <vector>

#include <skep/context.hpp>

#include "vm/prog/ctx_layouts.hpp"

namespace skep {
namespace {

bool plain_pointer(void*, const CtxField&, const void* pointer, uint64_t& out) {
    out = reinterpret_cast<uintptr_t>(pointer);
    return true;
}
constexpr CtxPointers kPlain{&plain_pointer, nullptr};

TEST(Layouts, FieldsAreSortedDisjointAndInside) {
    for (const ProgType& type : prog_types()) {
        const CtxLayout& layout = *type.ctx;
        uint32_t end = 0;
        for (const CtxField& field : layout.fields) {
            EXPECT_GE(field.off, end) << layout.name << '.' << field.name;
            end = field.off + field.size;
            EXPECT_LE(end, layout.size) << layout.name << '.' << field.name;
            EXPECT_LE(uint32_t{field.host_off} + field.host_size, layout.host_size)
                << layout.name << '.' << field.name;
        }
    }
}

TEST(Layouts, LoadsReadTheHostStruct) {
    std::byte packet[64]{};
    SkbContext skb;
    skb.packet = {packet, packet + 8, packet + 16, packet + 60, packet + 64};
    skb.mark = 0x11223344;
    skb.cb[1] = 0xaabbccdd;
    skb.cb[2] = 0x12345678;
    uint64_t value = 0;
    EXPECT_TRUE(ctx_load(kTcCtx, &skb, 8, 4, value, kPlain));
    EXPECT_EQ(value, 0x11223344u);
    EXPECT_TRUE(ctx_load(kTcCtx, &skb, 9, 1, value, kPlain));
    EXPECT_EQ(value, 0x33u);
    EXPECT_TRUE(ctx_load(kTcCtx, &skb, 56, 8, value, kPlain));
    EXPECT_EQ(value, 0x12345678u);
    EXPECT_TRUE(ctx_load(kTcCtx, &skb, 76, 4, value, kPlain));
    EXPECT_EQ(value, reinterpret_cast<uintptr_t>(packet + 16));
    EXPECT_FALSE(ctx_load(kTcCtx, &skb, 76, 4, value, CtxPointers{}));
    EXPECT_FALSE(ctx_load(kTcCtx, &skb, 7, 4, value, kPlain));
    EXPECT_FALSE(ctx_load(kTcCtx, &skb, 192, 4, value, kPlain));
    EXPECT_FALSE(ctx_load(kTcCtx, &skb, ~uint64_t{0} - 3, 4, value, kPlain));
}

TEST(Layouts, StoresFollowTheTypesRules) {
    SkbContext skb;
    EXPECT_TRUE(ctx_store(kTcCtx, &skb, 8, 4, 7));
    EXPECT_EQ(skb.mark, 7u);
    EXPECT_FALSE(ctx_store(kTcCtx, &skb, 8, 2, 7));
    EXPECT_FALSE(ctx_store(kTcCtx, &skb, 0, 4, 7));
    EXPECT_FALSE(ctx_store(kTcCtx, &skb, 76, 4, 7));
    EXPECT_FALSE(ctx_store(kSocketFilterCtx, &skb, 8, 4, 9));
    EXPECT_TRUE(ctx_store(kSocketFilterCtx, &skb, 49, 1, 0xff));
    EXPECT_EQ(skb.cb[0], 0xff00u);
    EXPECT_EQ(skb.mark, 7u);
}

TEST(Layouts, BytesAreBoundByTheHostsSize) {
    std::byte memory[16];
    std::memset(memory, 0x5a, sizeof memory);
    BytesContext bytes{memory, 12};
    uint64_t value = 0;
    EXPECT_TRUE(ctx_load(kTracepointCtx, &bytes, 8, 4, value, kPlain));
    EXPECT_FALSE(ctx_load(kTracepointCtx, &bytes, 8, 8, value, kPlain));
    EXPECT_FALSE(ctx_load(kTracepointCtx, &bytes, 6, 4, value, kPlain));
    EXPECT_TRUE(ctx_load(kRawCtx, &bytes, 6, 4, value, kPlain));
    EXPECT_FALSE(ctx_load(kRawCtx, &bytes, 9, 4, value, kPlain));
    EXPECT_FALSE(ctx_store(kTracepointCtx, &bytes, 0, 4, 1));
    EXPECT_TRUE(ctx_store(kRawCtx, &bytes, 11, 1, 1));
    EXPECT_EQ(memory[11], std::byte{1});
    EXPECT_EQ(memory[12], std::byte{0x5a});
}

TEST(Layouts, ImportCopiesScalarsOnly) {
    std::vector<std::byte> uapi(200, std::byte{0x11});
    SkbContext skb;
    ctx_import(kTcCtx, &skb, uapi.data(), uapi.size());
    EXPECT_EQ(skb.mark, 0x11111111u);
    EXPECT_EQ(skb.packet.data, nullptr);
    EXPECT_EQ(skb.sk, nullptr);
    SkbContext cut;
    ctx_import(kTcCtx, &cut, uapi.data(), 10);
    EXPECT_EQ(cut.mark, 0x1111u);
    EXPECT_EQ(cut.queue_mapping, 0u);
}

TEST(Layouts, FieldsAreSetByName) {
    SkbContext skb;
    EXPECT_TRUE(ctx_set(kTcCtx, &skb, "cb[2]", 5));
    EXPECT_TRUE(ctx_set(kTcCtx, &skb, "ifindex", 3));
    EXPECT_EQ(skb.cb[2], 5u);
    EXPECT_EQ(skb.ifindex, 3u);
    EXPECT_FALSE(ctx_set(kTcCtx, &skb, "cb[5]", 5));
    EXPECT_FALSE(ctx_set(kTcCtx, &skb, "cb[x]", 5));
    EXPECT_FALSE(ctx_set(kTcCtx, &skb, "data", 5));
    EXPECT_FALSE(ctx_set(kTcCtx, &skb, "nothing", 5));
}

}  // namespace
}  // namespace skep
