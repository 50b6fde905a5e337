#include <array>
#include <gtest/gtest.h>
#include <set>

#include "vm/base/bytes.hpp"
#include "vm/base/os.hpp"

namespace skep {
namespace {

TEST(Errors, NumbersAndNamesAreUnique) {
    std::set<std::string_view> names;
    std::set<int> numbers;
    size_t rows = 0;
#define SKEP_ERROR(number, Name, stable_name, text) \
    names.insert(#stable_name), numbers.insert(number), ++rows;
#include <skep/errors.def>
#undef SKEP_ERROR
    EXPECT_EQ(names.size(), rows);
    EXPECT_EQ(numbers.size(), rows);
}

TEST(Errors, TextNamesEveryKnownPlace) {
    const Error error{ErrorCode::BadOpcode, "opcode 0xff",
                      Where{.object = "a.o",
                            .section = "xdp",
                            .program = "f",
                            .slot = 7,
                            .file = "a.c",
                            .line = 12}};
    EXPECT_EQ(error.to_string(), "a.o: section xdp: program f: slot 7: opcode 0xff (a.c:12)");
    EXPECT_EQ(Error{ErrorCode::BadOpcode}.to_string(), "unknown instruction");
}

TEST(ByteView, RefusesEverythingOutside) {
    const std::array<std::byte, 8> data{std::byte{1}, std::byte{2}};
    const ByteView view{data};
    EXPECT_EQ(view.read<uint16_t>(0), 0x0201);
    EXPECT_TRUE(view.read<uint64_t>(0).has_value());
    EXPECT_FALSE(view.read<uint64_t>(1).has_value());
    EXPECT_FALSE(view.read<uint8_t>(8).has_value());
    EXPECT_FALSE(view.read<uint8_t>(UINT64_MAX).has_value());
    EXPECT_FALSE(view.contains(4, UINT64_MAX));
    EXPECT_FALSE(view.sub(8, 1).has_value());
    EXPECT_TRUE(view.sub(8, 0).has_value());
    EXPECT_EQ(view.c_string(0), std::string_view("\x01\x02"));
    EXPECT_FALSE(ByteView(std::span(data).first(2)).c_string(0).has_value());
}

TEST(Pages, AreZeroedAndMovable) {
    auto pages = os::Pages::allocate(10000, true);
    ASSERT_TRUE(pages.has_value());
    EXPECT_GE(pages->size(), 10000u);
    std::byte* data = pages->data();
    data[9999] = std::byte{7};
    const os::Pages moved = std::move(*pages);
    EXPECT_EQ(moved.data(), data);
    EXPECT_EQ(moved.data()[9999], std::byte{7});
    EXPECT_EQ(moved.data()[0], std::byte{0});
    EXPECT_FALSE(os::Pages::allocate(SIZE_MAX).has_value());
}

}  // namespace
}  // namespace skep
