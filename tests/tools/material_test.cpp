// Every program of the collected objects that is accepted runs on some input: a small packet, or a
// context of zeroes. None ends with the trap `unsupported`, but those that are listed.
//
// SKEP_CORPUS names another folder than the build's, such as the one of `tests/corpus.py --long`.
#include <gtest/gtest.h>
#include <map>
#include <set>

#include <skep/vm.hpp>

#include "tests/elf/corpus.hpp"
#include "tools/replay.hpp"
#include "vm/isa/insn.hpp"
#include "vm/prog/program.hpp"

namespace skep {
namespace {

// Calls that only a kernel can answer, by helper number.
const std::set<int64_t> kKernelOnly = {
    76,                  // lwt_seg6_action: routes a packet
    77,  78,  92,        // rc_*: reports remote-control keys to an input device
    116,                 // tcp_send_ack
    159,                 // bprm_opts_set
    161, 193,            // ima_*: the kernel's measurements
    162,                 // sock_from_file
    166, 167, 168,       // sys_bpf, btf_find_by_name_kind, sys_close
    169, 170, 171, 172,  // bpf_timer_*: no wheel yet
};

OpenOptions options() {
    OpenOptions o;
    static const auto btf = load_btf("/sys/kernel/btf/vmlinux");
    if (btf) o.target_btf = *btf;
    o.kconfig = test::kKconfig;
    return o;
}

VmOptions vm_options() {
    VmOptions vm;
    vm.policy = Policy::Linux;
    vm.engine = Engine::Interpreter;
    vm.fuel = 1 << 20;
    vm.kernel_btf = [] { return options().target_btf; };
    return vm;
}

void give_sizes(Object& object) {
    constexpr uint32_t kPage = 4096, kCpus = 8;
    std::vector<std::pair<std::string, uint32_t>> sizes;
    for (const MapDef& def : object.maps()) {
        if (def.max_entries != 0) continue;
        if (def.type == MapType::Ringbuf) sizes.emplace_back(def.name, kPage);
        if (def.type == MapType::PerfEventArray) sizes.emplace_back(def.name, kCpus);
        if (def.type == MapType::Hash || def.type == MapType::Array)
            sizes.emplace_back(def.name, kCpus);
    }
    for (const auto& [name, size] : sizes) (void)object.set_map_size(name, size);
}

tool::Outcome run(const LoadedProgram& program, const ObjectProgram& info) {
    tool::ReplayOptions replay;
    replay.type = info.type;
    replay.attach_type = info.attach_type;
    if (info.type->packet) {
        constexpr uint32_t kLength = 96;
        tool::Capture capture;
        capture.bytes.resize(kLength);
        capture.bytes[12] = std::byte{8};  // IPv4, UDP
        capture.bytes[14] = std::byte{0x45};
        capture.bytes[17] = std::byte{kLength - 14};
        capture.bytes[23] = std::byte{17};
        capture.frames.push_back({.length = kLength, .wire_length = kLength});
        return tool::replay_packets(program, capture, replay);
    }
    if (!info.type->ctx->is_bytes) return tool::replay_context(program, {}, replay);
    constexpr size_t kMost = 4096;
    const std::vector<std::byte> context(std::min<size_t>(info.type->ctx->size, kMost));
    return tool::replay_bytes(program, std::span(&context, 1), replay);
}

TEST(Material, AcceptedProgramsRun) {
    const auto files = test::corpus(SKEP_CORPUS);
    if (files.empty()) GTEST_SKIP() << "no eBPF objects on this machine";
    unsigned loaded = 0, ended = 0;
    std::map<std::string, unsigned> traps;
    for (const std::string& file : files) {
        auto object = Object::open_file(file, options());
        if (!object) continue;
        give_sizes(*object);
        for (size_t i = 0; i < object->programs().size(); ++i) {
            const ObjectProgram info = object->programs()[i];
            if (info.type == nullptr) continue;
            auto vm = Vm::create(vm_options());
            ASSERT_TRUE(vm) << vm.error().to_string();
            auto program = vm->load(*object, std::to_string(i));
            if (!program) continue;
            ++loaded;
            const tool::Outcome outcome = run(*program, info);
            if (!outcome.trap) {
                ++ended;
                continue;
            }
            ++traps[std::string(name_of(outcome.trap->code))];
            if (outcome.trap->code != TrapCode::Unsupported) continue;
            const auto linked = object->link(i);
            ASSERT_TRUE(linked);
            const Insn& insn = linked->insns[outcome.trap->slot];
            const bool known = insn.kind == Kind::Call && kKernelOnly.contains(insn.imm);
            std::printf("  %s: %s\n", file.c_str(), outcome.trap->message.c_str());
            EXPECT_TRUE(known) << file << ": " << outcome.trap->message << ", operand " << insn.imm;
        }
    }
    std::printf("%u programs ran, %u to their end\n", loaded, ended);
    for (const auto& [name, count] : traps) std::printf("  %u trapped: %s\n", count, name.c_str());
    EXPECT_GT(loaded, 0u);
}

}  // namespace
}  // namespace skep
