// Every real object of this machine opens, and every program of it links. Mutations of them never
// do harm, and are refused quickly.

#include "tests/elf/corpus.hpp"

#include <chrono>
#include <gtest/gtest.h>
#include <map>
#include <random>

#include <skep/object.hpp>

#include "vm/base/os.hpp"
#include "vm/prog/program.hpp"

namespace skep {
namespace {

using Clock = std::chrono::steady_clock;

// The kernel's types, parsed once for all objects.
OpenOptions options() {
    OpenOptions o;
    static const auto btf = load_btf("/sys/kernel/btf/vmlinux");
    if (btf) o.target_btf = *btf;
    o.kconfig = test::kKconfig;
    return o;
}

// Failures that are right, by what the message has. Everything else that does not link is a defect.
bool is_explained(const Error& error) {
    switch (error.code) {
        case ErrorCode::UnknownProgramType:  // sections that no loader knows; --type says it
        case ErrorCode::KconfigMissing:
        case ErrorCode::BtfNeeded: return true;
        default: return false;
    }
}

// Objects that libbpf refuses for the same reason: parts that a linker has yet to put together, and
// one that is wrong on purpose.
bool is_no_object(const Error& error) {
    return error.message.find("is extern; link the objects first") != std::string::npos ||
           error.message.find("unknown pinning 2") != std::string::npos;
}

TEST(Corpus, EveryProgramOfEveryObjectLinks) {
    const auto files = test::corpus(SKEP_CORPUS);
    if (files.empty()) GTEST_SKIP() << "no eBPF objects on this machine";
    unsigned objects = 0, programs = 0, linked = 0, explained = 0;
    std::map<std::string, unsigned> reasons;
    for (const std::string& file : files) {
        auto object = Object::open_file(file, options());
        if (!object) {
            if (is_no_object(object.error()))
                std::printf("  %s\n", object.error().to_string().c_str());
            else
                ADD_FAILURE() << object.error().to_string();
            continue;
        }
        ++objects;
        EXPECT_FALSE(object->dump().empty());
        for (size_t i = 0; i < object->programs().size(); ++i) {
            ++programs;
            auto program = object->link(i);
            if (program) {
                ++linked;
                EXPECT_EQ(program->subprograms.at(0).name, program->name);
                continue;
            }
            if (is_explained(program.error())) {
                ++explained;
                ++reasons[program.error().message.substr(0, 90)];
                continue;
            }
            ADD_FAILURE() << program.error().to_string();
        }
    }
    std::printf("%u objects of %zu, %u programs: %u linked, %u need something that is not here\n",
                objects, files.size(), programs, linked, explained);
    for (const auto& [reason, count] : reasons) std::printf("  %u x %s\n", count, reason.c_str());
}

// Opens, configures and links whatever is there; must never crash, hang or take long.
void exercise(std::span<const std::byte> bytes) {
    OpenOptions o;
    o.allow_kernel_btf = false;
    auto object = Object::open_memory(bytes, "mutant", o);
    if (!object) {
        EXPECT_FALSE(object.error().message.empty());
        return;
    }
    (void)object->dump();
    for (size_t i = 0; i < object->programs().size() && i < 8; ++i) (void)object->link(i);
}

TEST(Corpus, MutantsAreRefusedQuickly) {
    auto files = test::corpus(SKEP_CORPUS);
    if (files.empty()) GTEST_SKIP() << "no eBPF objects on this machine";
    const unsigned seed = std::random_device{}();
    std::mt19937 random(seed);
    double slowest = 0;
    const auto end = Clock::now() + std::chrono::seconds(5);
    unsigned rounds = 0;
    while (Clock::now() < end) {
        const std::string& file = files[random() % files.size()];
        auto bytes = os::read_file(file);
        ASSERT_TRUE(bytes);
        if (bytes->size() > 200'000) continue;
        if (random() % 4 == 0) bytes->resize(random() % bytes->size());
        for (unsigned n = random() % 8; n-- != 0 && !bytes->empty();) {
            // Half of the changes hit the headers and tables at the end, where the structure is.
            const size_t at = random() % 2 ? random() % bytes->size()
                                           : bytes->size() - 1 - random() % (bytes->size() / 4 + 1);
            (*bytes)[at] = static_cast<char>(random() % 3 ? random() : (random() % 2 ? 0xff : 0));
        }
        const auto start = Clock::now();
        exercise(std::as_bytes(std::span(*bytes)));
        slowest = std::max(slowest,
                           std::chrono::duration<double, std::milli>(Clock::now() - start).count());
        ++rounds;
    }
    std::printf("%u mutants, slowest %.1f ms (seed %u)\n", rounds, slowest, seed);
    // Generous: sanitizers and a loaded machine; a quadratic walk takes seconds.
    EXPECT_LT(slowest, 500) << "seed " << seed;
}

}  // namespace
}  // namespace skep
