// libbpf as the oracle: of the same object, the same programs, the same maps and, where bpf(2) is
// allowed, the same relocated instructions.
//
// Instructions are compared after bpf_object__load() has relocated them; a handler for every
// section then makes the load end before the first program reaches the kernel's verifier.

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <map>
#include <set>
#include <unistd.h>

#include <skep/object.hpp>

#include "tests/elf/corpus.hpp"
#include "vm/elf/object_impl.hpp"

namespace skep {
namespace {

int stop_loading(struct bpf_program*, struct bpf_prog_load_opts*, long) { return -ECANCELED; }

struct ObjectCloser {
    void operator()(bpf_object* object) const { bpf_object__close(object); }
};
using OracleObject = std::unique_ptr<bpf_object, ObjectCloser>;

OracleObject open_oracle(const std::string& file, int& error) {
    LIBBPF_OPTS(bpf_object_open_opts, opts, .kconfig = test::kKconfig);
    bpf_object* object = bpf_object__open_file(file.c_str(), &opts);
    error = static_cast<int>(libbpf_get_error(object));
    return OracleObject(error != 0 ? nullptr : object);
}

OpenOptions options() {
    OpenOptions o;
    static const auto btf = load_btf("/sys/kernel/btf/vmlinux");
    if (btf) o.target_btf = *btf;
    o.kconfig = test::kKconfig;
    return o;
}

// libbpf gives data sections the object's name, cut to fit in 15 bytes.
std::string short_name(const char* oracle_name) {
    const char* dot = std::strchr(oracle_name, '.');
    return dot != nullptr ? dot : oracle_name;
}

void compare_programs(const Object& object, bpf_object* oracle, const std::string& file) {
    size_t i = 0;
    bpf_program* p = nullptr;
    for (p = bpf_object__next_program(oracle, nullptr); p != nullptr;
         p = bpf_object__next_program(oracle, p), ++i) {
        ASSERT_LT(i, object.programs().size()) << file;
        const ObjectProgram& mine = object.programs()[i];
        EXPECT_EQ(mine.name, bpf_program__name(p)) << file;
        EXPECT_EQ(mine.section, bpf_program__section_name(p)) << file;
        EXPECT_EQ(mine.autoload, bpf_program__autoload(p)) << file;
        EXPECT_EQ(mine.insn_count, bpf_program__insn_cnt(p)) << file << ": " << mine.name;
        const uint32_t type = bpf_program__type(p);
        // libbpf 1.1 does not know the sections of later kernels, nor those from before 1.0.
        if (type == BPF_PROG_TYPE_UNSPEC) continue;
        ASSERT_NE(mine.type, nullptr) << file << ": " << mine.section;
        EXPECT_EQ(static_cast<uint32_t>(mine.type->kind), type) << file << ": " << mine.section;
        EXPECT_EQ(mine.attach_type, bpf_program__expected_attach_type(p))
            << file << ": " << mine.section;
    }
    EXPECT_EQ(i, object.programs().size()) << file;
}

void compare_maps(const Object& object, bpf_object* oracle, const std::string& file) {
    size_t i = 0;
    bpf_map* m = nullptr;
    bpf_object__for_each_map(m, oracle) {
        ASSERT_LT(i, object.maps().size()) << file << ": " << bpf_map__name(m);
        const MapDef& mine = object.maps()[i++];
        EXPECT_EQ(short_name(mine.name.c_str()), short_name(bpf_map__name(m))) << file;
        EXPECT_EQ(static_cast<uint32_t>(mine.type), bpf_map__type(m)) << file << ": " << mine.name;
        EXPECT_EQ(mine.key_size, bpf_map__key_size(m)) << file << ": " << mine.name;
        EXPECT_EQ(mine.value_size, bpf_map__value_size(m)) << file << ": " << mine.name;
        EXPECT_EQ(mine.max_entries, bpf_map__max_entries(m)) << file << ": " << mine.name;
        EXPECT_EQ(mine.flags, bpf_map__map_flags(m)) << file << ": " << mine.name;
        EXPECT_EQ(mine.map_extra, bpf_map__map_extra(m)) << file << ": " << mine.name;
        size_t size = 0;
        const void* value = bpf_map__initial_value(m, &size);
        if (value == nullptr || mine.name == ".kconfig" || mine.type == MapType::StructOps)
            continue;
        std::vector<std::byte> contents = mine.contents;
        contents.resize(mine.value_size);
        EXPECT_EQ(std::memcmp(value, contents.data(), contents.size()), 0)
            << file << ": contents of " << mine.name;
    }
    EXPECT_EQ(i, object.maps().size()) << file;
}

TEST(Libbpf, MakesTheSameProgramsAndMaps) {
    libbpf_set_print(nullptr);
    const auto files = test::corpus(SKEP_CORPUS);
    unsigned compared = 0;
    std::vector<std::string> refused;
    for (const std::string& file : files) {
        int error = 0;
        const OracleObject oracle = open_oracle(file, error);
        auto object = Object::open_file(file, options());
        if (!oracle) {
            if (object) refused.push_back(file);
            continue;
        }
        if (!object) {
            ADD_FAILURE() << object.error().to_string();
            continue;
        }
        ++compared;
        compare_programs(*object, oracle.get(), file);
        compare_maps(*object, oracle.get(), file);
    }
    if (files.empty()) GTEST_SKIP() << "no eBPF objects on this machine";
    std::printf("%u objects compared; libbpf refuses %zu that open here:\n", compared,
                refused.size());
    for (const std::string& file : refused) std::printf("  %s\n", file.c_str());
}

// Which map an instruction names: libbpf's file descriptors against our indices.
class MapPairs {
public:
    bool agree(int32_t fd, int32_t index) {
        const bool a = by_fd_.emplace(fd, index).first->second == index;
        const bool b = by_index_.emplace(index, fd).first->second == fd;
        return a && b;
    }

private:
    std::map<int32_t, int32_t> by_fd_, by_index_;
};

// "" or what differs.
std::string difference(const LinkedSlots& mine, const bpf_insn* theirs, size_t count,
                       MapPairs& maps) {
    if (mine.slots.size() != count)
        return std::to_string(mine.slots.size()) + " slots, libbpf has " + std::to_string(count);
    for (size_t i = 0; i < count; ++i) {
        RawInsn other;
        std::memcpy(static_cast<void*>(&other), theirs + i, sizeof other);
        const RawInsn& insn = mine.slots[i];
        if (insn == other) continue;
        const auto slot = static_cast<uint32_t>(i);
        // The addresses and ids of externs are the kernel's; only their places can be compared.
        if (mine.externs.contains(slot) || (i > 0 && mine.externs.contains(slot - 1))) continue;
        const bool map = insn.opcode == 0x18 && (insn.src() == 1 || insn.src() == 2);
        if (map && insn.regs == other.regs && maps.agree(other.imm, insn.imm)) continue;
        char text[160];
        std::snprintf(text, sizeof text, "slot %zu: %02x %02x %d %d, libbpf has %02x %02x %d %d", i,
                      insn.opcode, insn.regs, insn.off, insn.imm, other.opcode, other.regs,
                      other.off, other.imm);
        return text;
    }
    return {};
}

// Registers the handler for every section name of the object.
std::vector<int> intercept(bpf_object* object) {
    std::set<std::string> sections;
    bpf_program* p = nullptr;
    bpf_object__for_each_program(p, object) sections.insert(bpf_program__section_name(p));
    std::vector<int> handlers;
    LIBBPF_OPTS(libbpf_prog_handler_opts, opts, .prog_prepare_load_fn = stop_loading);
    for (const std::string& s : sections) {
        const int id = libbpf_register_prog_handler(s.c_str(), BPF_PROG_TYPE_SOCKET_FILTER,
                                                    static_cast<bpf_attach_type>(0), &opts);
        if (id >= 0) handlers.push_back(id);
    }
    return handlers;
}

TEST(Libbpf, RelocatesToTheSameInstructions) {
    if (geteuid() != 0) GTEST_SKIP() << "bpf(2) needs root";
    LIBBPF_OPTS(bpf_map_create_opts, create);
    const int probe = bpf_map_create(BPF_MAP_TYPE_ARRAY, "probe", 4, 4, 1, &create);
    if (probe < 0) GTEST_SKIP() << "bpf(2) is not allowed here";
    close(probe);
    libbpf_set_print(nullptr);
    // Stays registered: libbpf 1.1 frees its list twice when the last handler goes.
    ASSERT_GE(libbpf_register_prog_handler("skep_keeps_one", BPF_PROG_TYPE_XDP,
                                           static_cast<bpf_attach_type>(0), nullptr),
              0);
    unsigned objects = 0, programs = 0, poisoned = 0;
    std::vector<std::string> skipped;
    for (const std::string& file : test::corpus(SKEP_CORPUS)) {
        int error = 0;
        // libbpf adds the symbol's value to what binutils before 2.41 leaves in the instruction,
        // which has it already, and so reads beside the variable.
        if (file.ends_with(".gcc.o")) continue;
        OracleObject names = open_oracle(file, error);
        if (!names) continue;
        const std::vector<int> handlers = intercept(names.get());
        const OracleObject oracle = open_oracle(file, error);
        if (oracle) {
            bpf_map* m = nullptr;
            bpf_object__for_each_map(m, oracle.get()) {
                bpf_map__set_pin_path(m, nullptr);
                if (bpf_map__max_entries(m) == 0 && bpf_map__type(m) != BPF_MAP_TYPE_SK_STORAGE)
                    bpf_map__set_max_entries(m, 4096);
            }
            bpf_program* p = nullptr;
            bpf_object__for_each_program(p, oracle.get()) bpf_program__set_autoload(p, true);
            error = bpf_object__load(oracle.get());
            auto object = Object::open_file(file, options());
            if (!object) {
                ADD_FAILURE() << object.error().to_string();
                error = -ENOEXEC;
            }
            size_t i = 0;
            if (error != -ECANCELED) {
                skipped.push_back(file + ": " + std::strerror(-error));
            } else {
                ++objects;
                MapPairs maps;
                bpf_object__for_each_program(p, oracle.get()) {
                    auto mine = link_slots(ObjectAccess::impl(*object), i++);
                    if (!mine) {
                        ADD_FAILURE() << mine.error().to_string();
                        continue;
                    }
                    ++programs;
                    poisoned += !mine->poisoned.empty();
                    EXPECT_EQ(
                        difference(*mine, bpf_program__insns(p), bpf_program__insn_cnt(p), maps),
                        "")
                        << file << ": " << bpf_program__name(p);
                }
            }
        }
        for (const int id : handlers) libbpf_unregister_prog_handler(id);
    }
    std::printf(
        "%u objects, %u programs compared, %u of them with poisoned instructions; "
        "libbpf does not load %zu objects here:\n",
        objects, programs, poisoned, skipped.size());
    for (const std::string& s : skipped) std::printf("  %s\n", s.c_str());
}

}  // namespace
}  // namespace skep
