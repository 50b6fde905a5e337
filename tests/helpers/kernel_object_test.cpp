// Synthetic kernel objects: laid out by a BTF, filled in per run, read by look-up; and the helpers
// that take kernel objects.
#include <gtest/gtest.h>
#include <string>

#include "helpers/kernel_world.hpp"
#include "tests/btf/build.hpp"
#include "tests/helpers/sandbox.hpp"
#include "vm/btf/btf.hpp"

namespace skep {
namespace {

using test::Sandbox;

constexpr uint32_t kPtr = 2, kArray = 3, kStruct = 4;

// A kernel whose task_struct looks like nothing that Linux ever had: what counts is the BTF.
class Kernel {
public:
    Kernel() {
        const uint32_t u32 = b_.add_int("unsigned int", 4);
        const uint32_t u64 = b_.add_int("unsigned long", 8);
        const uint32_t chr = b_.add_int("char", 1, true);
        const uint32_t comm = b_.add("", kArray, 0, 0, {chr, u32, 16});
        // Ids of structs that are only pointed to so far.
        const uint32_t first = b_.next();
        const uint32_t task = first + 4, cred = first + 5, kuid = first + 6, dentry = first + 7,
                       qstr = first + 8, mount = first + 9;
        const uint32_t task_ptr = b_.add("", kPtr, 0, task);
        const uint32_t cred_ptr = b_.add("", kPtr, 0, cred);
        const uint32_t dentry_ptr = b_.add("", kPtr, 0, dentry);
        const uint32_t mount_ptr = b_.add("", kPtr, 0, mount);
        add("task_struct", 96,
            {{"real_parent", task_ptr, 0},
             {"comm", comm, 8},
             {"tgid", u32, 24},
             {"pid", u32, 28},
             {"group_leader", task_ptr, 32},
             {"cred", cred_ptr, 40},
             {"cpu", u32, 48}});
        add("cred", 24, {{"gid", kuid, 4}, {"uid", kuid, 12}});
        add("kuid_t", 4, {{"val", u32, 0}});
        add("dentry", 48, {{"d_parent", dentry_ptr, 0}, {"d_name", qstr, 16}});
        add("qstr", 16, {{"len", u32, 0}, {"name", u64, 8}});
        add("vfsmount", 8, {{"mnt_root", dentry_ptr, 0}});
        add("path", 16, {{"mnt", mount_ptr, 0}, {"dentry", dentry_ptr, 8}});
        const uint32_t path = b_.next() - 1;
        add("file", 24, {{"f_path", path, 8}});
        add("mount", 16, {{"mnt", mount, 8}});
        add("inode", 16, {{"i_ino", u64, 8}});
    }
    std::shared_ptr<const KernelWorld> world() const {
        auto btf = Btf::parse(b_.bytes());
        if (!btf) {
            ADD_FAILURE() << btf.error().to_string();
            return nullptr;
        }
        return KernelWorld::create(*std::move(btf));
    }

private:
    struct Member {
        const char* name;
        uint32_t type, offset;
    };
    void add(const char* name, uint32_t size, std::vector<Member> members) {
        std::vector<uint32_t> extra;
        for (const Member& member : members)
            extra.insert(extra.end(), {b_.string(member.name), member.type, member.offset * 8});
        b_.add(name, kStruct, static_cast<uint32_t>(members.size()), size, std::move(extra));
    }
    test::BtfBuilder b_;
};

struct World : testing::Test {
    World() : world(Kernel().world()), box({storage_map(MapType::TaskStorage)}) {
        box.env.world = world.get();
        box.services.task = [this] { return task; };
    }
    ~World() override { delete[] box.env.world_block; }

    static MapDef storage_map(MapType type) {
        MapDef def = test::array_map(8, 0);
        def.type = type;
        def.flags = map_flags::kNoPrealloc;
        return def;
    }
    template <class T>
    T read(uint64_t address) {
        EXPECT_EQ(box.call("probe_read_kernel", box.stack_at(0), sizeof(T), address), 0u);
        return box.get<T>(0);
    }
    std::string text(uint64_t address) {
        EXPECT_GT(
            static_cast<int64_t>(box.call("probe_read_kernel_str", box.stack_at(0), 64, address)),
            0);
        return reinterpret_cast<const char*>(box.stack);
    }

    Services::Task task{.pid = 11, .tgid = 10, .uid = 1000, .gid = 100, .comm = "prog", .ppid = 5};
    std::shared_ptr<const KernelWorld> world;
    Sandbox box;
};

TEST_F(World, TheCurrentTaskIsWhatTheServicesSay) {
    const uint64_t current = box.call("get_current_task");
    EXPECT_EQ(current, box.call("get_current_task_btf"));
    EXPECT_GE(current, KernelWorld::kBase);
    EXPECT_EQ(read<uint32_t>(current + 28), 11u);
    EXPECT_EQ(read<uint32_t>(current + 24), 10u);
    EXPECT_EQ(text(current + 8), "prog");
    const uint64_t cred = read<uint64_t>(current + 40);
    EXPECT_EQ(read<uint32_t>(cred + 12), 1000u);
    EXPECT_EQ(read<uint32_t>(cred + 4), 100u);
    const uint64_t leader = read<uint64_t>(current + 32);
    EXPECT_NE(leader, current);
    EXPECT_EQ(read<uint32_t>(leader + 28), 10u);
    const uint64_t parent = read<uint64_t>(current);
    EXPECT_EQ(read<uint32_t>(parent + 24), 5u);
    EXPECT_EQ(text(parent + 8), "init");
    // The chain of parents ends in a task that is its own.
    const uint64_t idle = read<uint64_t>(parent);
    EXPECT_EQ(read<uint32_t>(idle + 28), 0u);
    EXPECT_EQ(read<uint64_t>(idle), idle);
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

TEST_F(World, TheNextRunSeesItsOwnTask) {
    const uint64_t address = box.call("get_current_task");
    EXPECT_EQ(read<uint32_t>(address + 28), 11u);
    task.pid = task.tgid = 77;
    EXPECT_EQ(read<uint32_t>(address + 28), 11u) << "a run's task does not change under it";
    box.env.world_filled = false;
    EXPECT_EQ(read<uint32_t>(address + 28), 77u);
    EXPECT_EQ(read<uint64_t>(address + 32), address) << "a leader leads itself";
}

TEST_F(World, NothingLiesBehindItsEnd) {
    const uint64_t end = KernelWorld::kBase + world->size();
    EXPECT_EQ(static_cast<int64_t>(box.call("probe_read_kernel", box.stack_at(0), 8, end)), -14);
    EXPECT_EQ(static_cast<int64_t>(box.call("probe_read_kernel", box.stack_at(0), 8, end - 4)),
              -14);
    EXPECT_EQ(static_cast<int64_t>(
                  box.call("probe_read_kernel", box.stack_at(0), 8, KernelWorld::kBase - 8)),
              -14);
}

TEST_F(World, StorageOfATaskIsFoundByItsPid) {
    const uint64_t task_address = box.call("get_current_task_btf");
    const uint64_t map = box.map_handle(0);
    EXPECT_EQ(box.call("task_storage_get", map, task_address, 0, 0), 0u) << "not made unasked";
    box.put<uint64_t>(64, 42);
    const uint64_t value = box.call("task_storage_get", map, task_address, box.stack_at(64), 1);
    EXPECT_NE(value, 0u);
    const uint32_t pid = 11;
    uint64_t stored = 0;
    EXPECT_EQ(box.maps[0]->host_lookup(reinterpret_cast<const std::byte*>(&pid),
                                       std::as_writable_bytes(std::span(&stored, 1)), 0),
              0);
    EXPECT_EQ(stored, 42u);
    EXPECT_EQ(box.call("task_storage_get", map, 0, 0, 1), 0u);
    EXPECT_EQ(box.call("task_storage_delete", map, task_address), 0u);
    EXPECT_EQ(static_cast<int64_t>(box.call("task_storage_delete", map, task_address)), -2);
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

TEST_F(World, NamesOfPathsArePutTogether) {
    const uint64_t path = world->file() + 8;
    EXPECT_EQ(box.call("d_path", path, box.stack_at(0), 64), 6u);
    EXPECT_STREQ(reinterpret_cast<const char*>(box.stack), "/skep");
    EXPECT_EQ(static_cast<int64_t>(box.call("d_path", path, box.stack_at(0), 5)), -36);
    EXPECT_EQ(box.get<uint8_t>(0), 0);
    box.services.path_name = [](uint64_t, std::span<char> name) -> int64_t {
        name[0] = 'x';
        return 1;
    };
    EXPECT_EQ(box.call("d_path", path, box.stack_at(0), 64), 2u);
    EXPECT_STREQ(reinterpret_cast<const char*>(box.stack), "x");
}

TEST_F(World, AnAddressOfTheProgramsOwnIsNoKernelObject) {
    box.call("task_storage_get", box.map_handle(0), box.stack_at(0), 0, 1);
    EXPECT_EQ(box.env.trap, TrapCode::BadArgument);
}

TEST(WithoutTypes, ThereIsNoTask) {
    Sandbox box;
    EXPECT_EQ(box.call("get_current_task"), 0u);
    box.services.current_task = 0xffff'8880'1234'0000;
    EXPECT_EQ(box.call("get_current_task"), 0xffff'8880'1234'0000u);
}

TEST(Seq, GoesToTheHost) {
    Sandbox box;
    std::string text;
    box.services.seq = [&](std::span<const std::byte> bytes) {
        text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    };
    constexpr uint64_t kFile = 0xffff'8881'0000'1000;
    box.put(0, std::array<char, 16>{"%d-%s\n"});
    box.put(32, std::array<uint64_t, 2>{7, box.stack_at(64)});
    box.put(64, std::array<char, 8>{"abc"});
    EXPECT_EQ(box.call("seq_printf", kFile, box.stack_at(0), 7, box.stack_at(32), 16), 0u);
    EXPECT_EQ(box.call("seq_write", kFile, box.stack_at(64), 2), 0u);
    EXPECT_EQ(text, "7-abc\nab");
    EXPECT_EQ(static_cast<int64_t>(
                  box.call("seq_printf", kFile, box.stack_at(0), 7, box.stack_at(32), 8)),
              -22)
        << "fewer values than conversions";
    EXPECT_EQ(box.env.trap, TrapCode::None);
}

TEST(KernelOnly, IsAskedOfTheHost) {
    Sandbox box;
    box.call("ima_file_hash", 0xffff'8881'0000'0000, box.stack_at(0), 8);
    EXPECT_EQ(box.env.trap, TrapCode::Unsupported);
    box.env.trap = TrapCode::None;
    box.services.helper = [&](const HelperCall& call) -> std::optional<int64_t> {
        if (call.helper != "bpf_ima_file_hash") return std::nullopt;
        EXPECT_EQ(call.out.size(), 8u);
        call.out[0] = std::byte{0xab};
        return 4;
    };
    box.put<uint64_t>(0, ~uint64_t{0});
    EXPECT_EQ(box.call("ima_file_hash", 0xffff'8881'0000'0000, box.stack_at(0), 8), 4u);
    EXPECT_EQ(box.get<uint64_t>(0), 0xabu);
    box.call("sys_close", 3);
    EXPECT_EQ(box.env.trap, TrapCode::Unsupported);
}

}  // namespace
}  // namespace skep
