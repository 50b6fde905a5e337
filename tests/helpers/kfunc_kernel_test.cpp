// The table of kernel functions beside the running kernel's BTF; skipped where there is none.
#include <fstream>
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include "helpers/kfunc.hpp"
#include "vm/btf/btf.hpp"

namespace skep {
namespace {

std::shared_ptr<const Btf> running_btf() {
    std::ifstream in("/sys/kernel/btf/vmlinux", std::ios::binary);
    auto parsed = Btf::parse(std::string((std::istreambuf_iterator<char>(in)), {}));
    return parsed ? *parsed : nullptr;
}

void expect_same(const KfuncType& ours, const KfuncType& theirs, const std::string& what) {
    EXPECT_EQ(static_cast<int>(ours.kind), static_cast<int>(theirs.kind)) << what;
    EXPECT_EQ(static_cast<int>(ours.target), static_cast<int>(theirs.target)) << what;
    const bool scalar =
        ours.kind == KfuncType::Kind::Scalar || ours.target == KfuncType::Target::Scalar;
    if (scalar) {
        EXPECT_EQ(ours.size, theirs.size) << what;
        EXPECT_EQ(ours.is_signed, theirs.is_signed) << what;
    } else {
        EXPECT_EQ(ours.name, theirs.name) << what;
    }
}

TEST(KfuncTable, PrototypesAreTheKernels) {
    const auto btf = running_btf();
    if (btf == nullptr) GTEST_SKIP() << "no /sys/kernel/btf/vmlinux";
    unsigned compared = 0;
    for (const Kfunc& row : kfuncs()) {
        const uint32_t func = btf->find(row.name, BtfKind::Func);
        if (func == 0) continue;
        const auto theirs = kfunc_proto(*btf, func);
        ASSERT_TRUE(theirs) << row.name;
        const KfuncProto ours = kfunc_proto(row);
        const std::string name(row.name);
        expect_same(ours.result, theirs->result, name);
        ASSERT_EQ(ours.params.size(), theirs->params.size()) << name;
        for (size_t i = 0; i < ours.params.size(); ++i) {
            EXPECT_EQ(ours.params[i].name, theirs->params[i].name) << name;
            expect_same(ours.params[i].type, theirs->params[i].type,
                        name + " " + ours.params[i].name);
        }
        ++compared;
    }
    std::printf("%u of %zu functions are in the running kernel\n", compared, kfuncs().size());
}

TEST(KfuncTable, IteratorsAreAsLargeAsTheKernels) {
    const auto btf = running_btf();
    if (btf == nullptr) GTEST_SKIP() << "no /sys/kernel/btf/vmlinux";
    for (const IteratorKind& kind : iterator_kinds())
        if (const uint32_t id = btf->find(kind.name, BtfKind::Struct); id != 0) {
            EXPECT_EQ(btf->size_of(id), kind.bytes) << kind.name;
        }
}

// Functions that a kernel of this version tags as callable.
TEST(KfuncTable, NothingIsMissing) {
    const auto btf = running_btf();
    utsname name{};
    uname(&name);
    if (btf == nullptr || !std::string_view(name.release).starts_with("6.18."))
        GTEST_SKIP() << "not Linux 6.18";
    for (uint32_t id = 1; id < btf->type_count(); ++id) {
        if (!btf->type(id).is(BtfKind::Func)) continue;
        for (const BtfDeclTag& tag : btf->decl_tags(id)) {
            const std::string_view func = btf->type(id).name();
            // Targets of fmod_ret programs are tagged too; no program may call them.
            const bool target =
                func.starts_with("bpf_fentry_test") || func.starts_with("bpf_modify_return_test");
            if (tag.value == "bpf_kfunc" && !target) {
                EXPECT_NE(find_kfunc(func), nullptr) << func;
            }
        }
    }
}

TEST(KfuncTable, NamesAreFoundUpToTheirFlavor) {
    ASSERT_NE(find_kfunc("bpf_task_acquire"), nullptr);
    EXPECT_EQ(find_kfunc("bpf_task_acquire___one"), find_kfunc("bpf_task_acquire"));
    EXPECT_EQ(find_kfunc("bpf_task_acquir"), nullptr);
    EXPECT_EQ(find_kfunc(""), nullptr);
}

}  // namespace
}  // namespace skep
