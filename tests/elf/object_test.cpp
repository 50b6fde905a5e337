// Objects: opened, configured, linked.

#include <filesystem>
#include <gtest/gtest.h>

#include <skep/object.hpp>

#include "vm/base/os.hpp"
#include "vm/btf/btf.hpp"
#include "vm/prog/program.hpp"

namespace skep {
namespace {

constexpr const char* kXdpFilter = "/usr/lib/x86_64-linux-gnu/bpf/xdpfilt_alw_all.o";
constexpr const char* kDispatcher = "/usr/lib/x86_64-linux-gnu/bpf/xdp-dispatcher.o";

TEST(Object, OpensDebiansXdpFilter) {
    if (!std::filesystem::exists(kXdpFilter)) GTEST_SKIP() << "xdp-tools is not installed";
    auto object = Object::open_file(kXdpFilter);
    ASSERT_TRUE(object) << object.error().to_string();
    ASSERT_EQ(object->programs().size(), 1u);
    EXPECT_EQ(object->programs()[0].type_name, "xdp");
    EXPECT_TRUE(object->gpl_compatible());
    ASSERT_EQ(object->maps().size(), 5u);
    EXPECT_EQ(object->maps()[1].name, "filter_ports");
    EXPECT_EQ(object->maps()[1].type, MapType::PercpuArray);
    EXPECT_EQ(object->maps()[1].max_entries, 65536u);
    EXPECT_TRUE(object->maps()[1].pin_by_name);
    auto program = object->link("");
    ASSERT_TRUE(program) << program.error().to_string();
    EXPECT_EQ(program->insns.size(), object->programs()[0].insn_count);
    EXPECT_EQ(program->insns[97].pseudo_imm(), PseudoImm::MapFd);
    EXPECT_EQ(program->maps.at(static_cast<uint32_t>(program->insns[97].imm))->name,
              "filter_ethernet");
    ASSERT_NE(program->line_of(97), nullptr);
    EXPECT_GT(program->line_of(97)->line, 0u);
    EXPECT_EQ(object->target_btf_name(), "");
}

TEST(Object, ConfiguresGlobalsUntilTheFirstLink) {
    if (!std::filesystem::exists(kDispatcher)) GTEST_SKIP() << "xdp-tools is not installed";
    auto object = Object::open_file(kDispatcher);
    ASSERT_TRUE(object) << object.error().to_string();
    EXPECT_TRUE(object->set_global("conf.num_progs_enabled", 3));
    EXPECT_TRUE(object->set_global("conf.run_prios[1]", 0x1234));
    EXPECT_EQ(object->set_global("conf.nothing", 1).error().code, ErrorCode::UnknownGlobal);
    EXPECT_EQ(object->set_global("conf.num_progs_enabled", 300).error().code,
              ErrorCode::InvalidArgument);
    EXPECT_EQ(object->set_global("missing", 1).error().code, ErrorCode::UnknownGlobal);
    auto program = object->link("xdp_dispatcher");
    ASSERT_TRUE(program) << program.error().to_string();
    const auto offset = object->btf()->find_member(object->globals()[0].type_id, "run_prios");
    const auto& contents = program->maps.at(0)->contents;
    EXPECT_EQ(contents.at(offset->offset() + 4), std::byte{0x34});
    EXPECT_EQ(contents.at(offset->offset() + 5), std::byte{0x12});
    EXPECT_EQ(object->set_global("conf.num_progs_enabled", 3).error().code, ErrorCode::Frozen);
}

TEST(Object, RefusesWhatIsNoObject) {
    EXPECT_EQ(Object::open_file("/nonexistent.o").error().code, ErrorCode::Unreadable);
    const std::string text = "not an object";
    EXPECT_EQ(Object::open_memory(std::as_bytes(std::span(text)), "x").error().code,
              ErrorCode::BadElf);
}

}  // namespace
}  // namespace skep
