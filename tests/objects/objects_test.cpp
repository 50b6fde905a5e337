// Programs on kptrs, allocated objects and arenas: verdicts and results of Linux 6.18 (their names
// say which), in every engine and mode; and a program that forges whatever it can.
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <gtest/gtest.h>
#include <optional>
#include <random>
#include <set>
#include <string>

#include <skep/context.hpp>
#include <skep/object.hpp>
#include <skep/vm.hpp>

#include "maps/object_heap.hpp"
#include "verifier/verifier.hpp"
#include "vm/prog/program.hpp"

namespace skep {
namespace {

struct Setting {
    Mode mode;
    Engine engine;
    const char* name;
};
constexpr Setting kSettings[] = {{Mode::Verified, Engine::Interpreter, "verified, interpreter"},
                                 {Mode::Verified, Engine::Default, "verified, native"},
                                 {Mode::Sandbox, Engine::Interpreter, "sandbox, interpreter"},
                                 {Mode::Sandbox, Engine::Default, "sandbox, native"}};

// The result that NAME_vN says; nothing: the program is to be rejected.
std::optional<uint64_t> expected(std::string_view name) {
    const size_t at = name.rfind("_v");
    uint64_t value = 0;
    if (at == std::string_view::npos) return std::nullopt;
    const auto end = std::from_chars(name.data() + at + 2, name.data() + name.size(), value).ptr;
    return end == name.data() + name.size() ? std::optional(value) : std::nullopt;
}

Result<Object> open(const char* name) {
    return Object::open_file(std::string(SKEP_OBJECTS) + "/" + name + ".o");
}

RunResult run(const LoadedProgram& program, bool packet) {
    if (!packet) {
        std::byte bytes[64] = {};
        BytesContext context{};
        context.data = bytes;
        context.size = sizeof bytes;
        return program.run(context);
    }
    std::vector<std::byte> bytes(256);
    SkbContext context{};
    context.packet = {.head = bytes.data(),
                      .data_meta = bytes.data() + 64,
                      .data = bytes.data() + 64,
                      .data_end = bytes.data() + 128,
                      .hard_end = bytes.data() + 256};
    return program.run(context);
}

void check_object(const char* name) {
    auto object = open(name);
    ASSERT_TRUE(object) << object.error().to_string();
    size_t accepted = 0, rejected = 0;
    for (const ObjectProgram& entry : object->programs()) {
        const std::string program(entry.name);
        SCOPED_TRACE(std::string(name) + "/" + program);
        const auto value = expected(program);
        auto linked = object->link(program);
        ASSERT_TRUE(linked) << linked.error().to_string();
        AnalyzeOptions options;
        options.policy = Policy::Linux;
        const Analysis analysis = analyze(*linked, options);
        EXPECT_EQ(analysis.accepted(), value.has_value()) << analysis.error.to_string();
        (value ? accepted : rejected) += 1;
        if (!value || !analysis.accepted()) continue;
        const bool packet = entry.type_name == "sched_cls";
        for (const Setting& setting : kSettings) {
            // What only proven arena accesses do as Linux does.
            if (setting.mode == Mode::Sandbox && program.find("_proven_") != std::string::npos)
                continue;
            VmOptions vm_options;
            vm_options.mode = setting.mode;
            vm_options.engine = setting.engine;
            vm_options.policy = Policy::Linux;
            auto vm = Vm::create(vm_options);
            ASSERT_TRUE(vm);
            const auto loaded = vm->load(*object, program);
            ASSERT_TRUE(loaded) << loaded.error().to_string();
            const RunResult result = run(*loaded, packet);
            EXPECT_TRUE(result.ok()) << setting.name << ": " << text_of(result.trap);
            EXPECT_EQ(static_cast<uint32_t>(result.r0), *value) << setting.name;
        }
    }
    EXPECT_GT(accepted, 3u);
    EXPECT_GT(rejected, 0u);
}

TEST(Objects, ListsAndTrees) { check_object("graph"); }
TEST(Objects, Kptrs) { check_object("kptr"); }
TEST(Objects, Arenas) { check_object("arena"); }

// Whatever it overwrites and passes: every run ends, with a result or a trap, and what it leaves in
// its map's values goes with them.
TEST(Objects, ForgedOnesHarmNothing) {
    const char* given = std::getenv("SKEP_SEED");
    const uint64_t seed =
        given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
    SCOPED_TRACE("SKEP_SEED=" + std::to_string(seed));
    const bool is_long = std::getenv("SKEP_LONG") != nullptr;
    auto object = open("forge");
    ASSERT_TRUE(object) << object.error().to_string();
    for (const Engine engine : {Engine::Interpreter, Engine::Default}) {
        std::mt19937_64 random(seed);
        VmOptions options;
        options.mode = Mode::Sandbox;
        options.engine = engine;
        options.fuel = 4096;
        options.services.random = [&random] { return random(); };
        auto vm = Vm::create(options);
        ASSERT_TRUE(vm);
        const auto loaded = vm->load(*object, "forge");
        ASSERT_TRUE(loaded) << loaded.error().to_string();
        size_t ended = 0, trapped = 0;
        for (unsigned i = 0; i < (is_long ? 1'000'000u : 3000u); ++i)
            (run(*loaded, true).ok() ? ended : trapped) += 1;
        EXPECT_GT(ended, 0u);
        EXPECT_GT(trapped, 0u);
    }
}

// The heap alone: what goes with a value, a chain of owners, a tree in order.
TEST(Objects, HeapReleasesWhatIsOwned) {
    auto heap = ObjectHeap::create(1 << 20);
    ASSERT_TRUE(heap);
    ObjectHeap& objects = **heap;
    auto layout = std::make_shared<ObjectLayout>();
    layout->size = 64;
    layout->fields = {{FieldKind::KptrRef, 8, 8, 1}};
    alignas(8) std::byte value[64] = {};
    std::byte* before = nullptr;
    std::byte* last = nullptr;
    // A chain: each object is kept by the one before it.
    for (int i = 0; i < 1000; ++i) {
        std::byte* object = objects.allocate(layout);
        ASSERT_NE(object, nullptr);
        std::byte* slot = last == nullptr ? value + 8 : last + 8;
        ASSERT_TRUE(objects.exchange(slot, false, object, before));
        EXPECT_EQ(before, nullptr);
        last = object;
    }
    EXPECT_EQ(objects.live(), 1000u);
    objects.clear(value, sizeof value);
    EXPECT_EQ(objects.live(), 0u);
    EXPECT_EQ(objects.held(value + 8, false), nullptr);
}

TEST(Objects, TreesKeepOrder) {
    auto heap = ObjectHeap::create(1 << 20);
    ASSERT_TRUE(heap);
    ObjectHeap& objects = **heap;
    auto layout = std::make_shared<ObjectLayout>();
    layout->size = 64;
    layout->fields = {{FieldKind::RbNode, 8, 32, 0}};
    alignas(8) std::byte root[16] = {};
    std::mt19937 random(7);
    const auto key_of = [](const std::byte* node) {
        uint32_t key = 0;
        std::memcpy(&key, node - 8, sizeof key);
        return key;
    };
    std::multiset<uint32_t> model;
    for (int step = 0; step < 4000; ++step) {
        if (random() % 3 != 0 || model.empty()) {
            std::byte* object = objects.allocate(layout);
            ASSERT_NE(object, nullptr);
            const uint32_t key = random() % 500;
            std::memcpy(object, &key, sizeof key);
            const std::byte* parent = nullptr;
            bool left = false;
            for (std::byte* at = objects.tree_top(root, false); at != nullptr;
                 at = objects.tree_child(root, false, at, left)) {
                parent = at;
                left = key < key_of(at);
            }
            ASSERT_EQ(objects.tree_link(root, false, object + 8, parent, left),
                      ObjectHeap::Linked::Yes);
            model.insert(key);
        } else {
            std::byte* first = objects.tree_first(root, false);
            if (random() % 2 != 0) first = objects.tree_top(root, false);
            ASSERT_NE(first, nullptr);
            const uint32_t key = key_of(first);
            ASSERT_TRUE(objects.tree_remove(root, false, first));
            objects.release(first - 8);
            model.erase(model.find(key));
        }
        std::byte* first = objects.tree_first(root, false);
        ASSERT_EQ(first == nullptr, model.empty());
        if (first != nullptr) {
            ASSERT_EQ(key_of(first), *model.begin());
        }
        ASSERT_EQ(objects.live(), model.size());
    }
    objects.clear(root, sizeof root);
    EXPECT_EQ(objects.live(), 0u);
}

}  // namespace
}  // namespace skep
