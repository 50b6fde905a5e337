// Real objects against the running kernel's verifier, program by program: what Linux accepts is
// accepted. What it refuses and we accept must be for a reason that is not the program's fault.
#include <bpf/libbpf.h>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <map>
#include <memory>
#include <sstream>

#include <skep/object.hpp>

#include "tests/elf/corpus.hpp"
#include "tests/support/kernel_bpf.hpp"
#include "verifier/verifier.hpp"
#include "vm/elf/object_impl.hpp"

namespace skep {
namespace {

struct Linux {
    bool accepted = false;
    int error = 0;
    std::string log;
};

struct ObjectCloser {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
};

// What the verifier said last, without its statistics.
std::string last_words(const std::string& log) {
    std::string last, line;
    std::stringstream lines(log);
    while (std::getline(lines, line))
        if (!line.starts_with("processed ") && !line.starts_with("verification time") &&
            !line.starts_with("stack depth"))
            last = line;
    return last;
}

// Nothing if libbpf cannot open the object.
std::optional<Linux> ask_linux(const std::string& file, size_t index) {
    std::unique_ptr<bpf_object, ObjectCloser> object(bpf_object__open_file(file.c_str(), nullptr));
    if (libbpf_get_error(object.get()) != 0) {
        (void)object.release();
        return std::nullopt;
    }
    std::string log(1 << 16, '\0');
    size_t i = 0;
    bpf_program* p = nullptr;
    bpf_object__for_each_program(p, object.get()) {
        bpf_program__set_autoload(p, i == index);
        if (i++ != index) continue;
        bpf_program__set_log_buf(p, log.data(), log.size());
        bpf_program__set_log_level(p, 4);
    }
    Linux out;
    out.error = bpf_object__load(object.get());
    out.accepted = out.error == 0;
    out.log = last_words(log.c_str());
    return out;
}

// Why a refusal by Linux says nothing about the program; null if it may.
const char* excuse(const Linux& said, const std::string& file) {
    const auto has = [&](const char* words) { return said.log.find(words) != std::string::npos; };
    if (said.log.empty()) return "Linux refused before its verifier looked (rights, maps, targets)";
    if (has("is too complex") || has("is too large")) return "beyond Linux's budgets";
    if (has("cannot use helper") || has("for kernel symbol") || has("invalid func unknown"))
        return "left out of this kernel";
    if (file.find(".gcc.") != std::string::npos && has("invalid access to map value pointer"))
        return "libbpf adds the offsets of gcc's data relocations twice";
    return nullptr;
}

class CorpusVerdict : public testing::Test {
protected:
    void compare(const std::string& file, const Object& object, size_t index);

    std::shared_ptr<const Btf> btf_;
    std::map<std::string, unsigned> counts_;
};

void CorpusVerdict::compare(const std::string& file, const Object& object, size_t index) {
    const auto said = ask_linux(file, index);
    if (!said) return;
    const std::string name = std::filesystem::path(file).filename().string() + " " +
                             std::string(object.programs()[index].name);
    auto program = object.link(index);
    std::string why;
    bool accepted = false;
    if (program) {
        AnalyzeOptions options;
        options.kernel_btf = btf_;
        const Analysis analysis = analyze(*program, options);
        accepted = analysis.accepted();
        why = analysis.error.to_string();
    } else {
        why = program.error().to_string();
    }
    EXPECT_TRUE(accepted || !said->accepted) << name << ": " << why;
    ++counts_[said->accepted ? "both accept" : accepted ? "only we accept" : "both refuse"];
    if (said->accepted || !accepted) return;
    const char* reason = excuse(*said, file);
    EXPECT_NE(reason, nullptr) << name << ", Linux: " << said->error << " " << said->log;
    if (reason != nullptr) ++counts_[std::string("  ") + reason];
}

TEST_F(CorpusVerdict, WhatLinuxAcceptsIsAccepted) {
    if (!test::kernel_available()) GTEST_SKIP() << "bpf(2) is not allowed here";
    const auto btf = load_btf("/sys/kernel/btf/vmlinux");
    if (!btf) GTEST_SKIP() << "no /sys/kernel/btf/vmlinux here";
    btf_ = *btf;
    libbpf_set_print(nullptr);
    // Each load takes its time; a part of the programs does between changes.
    const bool all = std::getenv("SKEP_ALL") != nullptr || std::getenv("SKEP_LONG") != nullptr;
    OpenOptions open;
    open.target_btf = btf_;
    open.kconfig = test::kKconfig;
    for (const std::string& file : test::corpus(SKEP_CORPUS)) {
        const auto object = Object::open_file(file, open);
        if (!object) continue;
        for (size_t i = 0; i < object->programs().size(); ++i) {
            const std::string name = std::string(object->programs()[i].name) + file;
            if (all || std::hash<std::string>{}(name) % 8 == 0) compare(file, *object, i);
        }
    }
    for (const auto& [what, count] : counts_) std::printf("%5u %s\n", count, what.c_str());
}

}  // namespace
}  // namespace skep
