// Verdicts on tests/elf/kfuncs/verdicts.c: ours by the running kernel's types, and the kernel's,
// loaded by libbpf. Skipped where there are no such types; the kernel is not asked where bpf(2) is
// refused.
#include <cstdlib>
#include <gtest/gtest.h>
#include <memory>

#ifdef SKEP_HAS_LIBBPF
#include <bpf/libbpf.h>
#endif

#include <skep/object.hpp>

#include "tests/support/kernel_bpf.hpp"
#include "verifier/verifier.hpp"
#include "vm/elf/object_impl.hpp"

namespace skep {
namespace {

constexpr const char* kObject = SKEP_KFUNC_OBJECTS "/verdicts.v3.o";

#ifdef SKEP_HAS_LIBBPF
// Whether the running kernel loads the program.
bool kernel_accepts(const std::string& program) {
    libbpf_set_print(nullptr);
    bpf_object* object = bpf_object__open_file(kObject, nullptr);
    if (libbpf_get_error(object) != 0) return false;
    bpf_program* p = nullptr;
    bpf_object__for_each_program(p, object)
        bpf_program__set_autoload(p, program == bpf_program__name(p));
    const bool accepted = bpf_object__load(object) == 0;
    bpf_object__close(object);
    return accepted;
}
#endif

TEST(KfuncVerdicts, AreThoseOfTheRunningKernel) {
    const auto btf = load_btf("/sys/kernel/btf/vmlinux");
    if (!btf) GTEST_SKIP() << "no /sys/kernel/btf/vmlinux here";
    OpenOptions open;
    open.target_btf = *btf;
    const auto object = Object::open_file(kObject, open);
    ASSERT_TRUE(object) << object.error().to_string();
    [[maybe_unused]] const bool ask = test::kernel_available();
    [[maybe_unused]] const bool all = std::getenv("SKEP_ALL") != nullptr;
    for (const auto& entry : object->programs()) {
        const std::string name(entry.name);
        const bool expected = name.starts_with("ok_");
        SCOPED_TRACE(name);
        auto program = object->link(entry.name);
        ASSERT_TRUE(program) << program.error().to_string();
        AnalyzeOptions options;
        options.kernel_btf = *btf;
        const Analysis analysis = analyze(*program, options);
        EXPECT_EQ(analysis.accepted(), expected) << analysis.error.to_string();
        EXPECT_NE(analysis.verdict, Verdict::Unsupported) << analysis.error.to_string();
#ifdef SKEP_HAS_LIBBPF
        // Each load takes its time; a part of the programs does between changes.
        if (ask && (all || std::hash<std::string>{}(name) % 5 == 0)) {
            EXPECT_EQ(kernel_accepts(name), expected) << "Linux";
        }
#endif
    }
}

}  // namespace
}  // namespace skep
