// Every program of the collected objects that is accepted runs on some input: a small packet, or a
// context of zeroes, or the synthetic objects that its arguments are. On every engine, verified and
// in a sandbox, it ends, with the same result; what does not is listed, with the reason.
//
// SKEP_CORPUS names another folder than the build's, such as the one of `tests/corpus.py --long`.
#include <cstring>
#include <gtest/gtest.h>
#include <map>
#include <optional>

#include <skep/vm.hpp>

#include "helpers/table.hpp"
#include "tests/elf/corpus.hpp"
#include "tests/support/ways.hpp"
#include "tools/replay.hpp"
#include "vm/isa/insn.hpp"
#include "vm/prog/program.hpp"

namespace skep {
namespace {

// Calls that only a kernel can answer: `Services::helper` and Vm::add_kfunc are where a host does.
const std::map<std::string, const char*, std::less<>> kKernelOnly = {
    {"bpf_lwt_seg6_action", "routes a packet"},
    {"bpf_rc_repeat", "reports remote-control keys to an input device"},
    {"bpf_rc_keydown", "reports remote-control keys to an input device"},
    {"bpf_rc_pointer_rel", "reports remote-control keys to an input device"},
    {"bpf_tcp_send_ack", "sends on a kernel's socket"},
    {"bpf_bprm_opts_set", "changes a program that is being executed"},
    {"bpf_ima_inode_hash", "the kernel's measurements"},
    {"bpf_ima_file_hash", "the kernel's measurements"},
    {"bpf_sys_bpf", "the bpf(2) system call"},
    {"bpf_btf_find_by_name_kind", "the bpf(2) system call"},
    {"bpf_sys_close", "a system call"},
};

OpenOptions options() {
    OpenOptions o;
    static const auto btf = load_btf("/sys/kernel/btf/vmlinux");
    if (btf) o.target_btf = *btf;
    o.kconfig = test::kKconfig;
    return o;
}

using test::kWays;
using test::Way;

VmOptions vm_options(const Way& way) {
    VmOptions vm;
    vm.policy = Policy::Linux;
    vm.engine = way.engine;
    vm.mode = way.mode;
    // The same for every way.
    vm.services.ktime_ns = vm.services.boot_ns = vm.services.coarse_ns =
        vm.services.tai_ns = [] { return uint64_t{1'000'000'000}; };
    vm.services.random = [] { return uint64_t{7}; };
    vm.services.syncookie_secret[0] = 1;
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
    tool::BytesInput input{
        .bytes = std::vector<std::byte>(std::min<size_t>(info.type->ctx->size, kMost))};
    // As much of a buffer, an element's key or value, as any program here asks for.
    std::vector<std::byte>& context = input.bytes;
    input.key.resize(kMost);
    input.value.resize(kMost);
    const std::vector<uint64_t> objects = program.argument_objects();
    if (!objects.empty())
        std::memcpy(context.data(), objects.data(), objects.size() * sizeof(uint64_t));
    return tool::replay_bytes(program, std::span(&input, 1), replay);
}

// The helper or kernel function that a run stopped at.
std::string callee(const Object& object, size_t index, uint32_t slot) {
    const auto linked = object.link(index);
    if (!linked || slot >= linked->insns.size()) return "";
    if (const auto found = linked->externs.find(slot); found != linked->externs.end())
        return found->second.name;
    const Insn& insn = linked->insns[slot];
    const Helper* helper =
        insn.kind == Kind::Call ? find_helper(static_cast<uint32_t>(insn.imm)) : nullptr;
    return helper != nullptr ? "bpf_" + std::string(helper->name) : "";
}

struct Survey {
    unsigned programs = 0, runs = 0, ended = 0;
    std::map<std::string, unsigned> exceptions;  // by what stopped the run
};

// What the program `index` ends with in one way: a result, or a trap's name. Nothing: it is
// refused.
std::optional<std::string> end_of(const Object& object, size_t index, const Way& way,
                                  Survey& survey) {
    auto vm = Vm::create(vm_options(way));
    if (!vm) return std::nullopt;
    auto program = vm->load(object, std::to_string(index));
    if (!program) {
        EXPECT_EQ(way.mode, Mode::Verified) << object.name() << ": " << program.error().to_string();
        return std::nullopt;
    }
    ++survey.runs;
    const tool::Outcome outcome = run(*program, object.programs()[index]);
    if (!outcome.trap) {
        ++survey.ended;
        return std::to_string(outcome.first.r0);
    }
    std::string trap(name_of(outcome.trap->code));
    const std::string call = callee(object, index, outcome.trap->slot);
    const bool listed = outcome.trap->code == TrapCode::Unsupported && kKernelOnly.contains(call);
    EXPECT_TRUE(listed) << object.name() << ", " << way.name << ": " << outcome.trap->message
                        << (call.empty() ? "" : ", calling " + call);
    ++survey.exceptions[listed ? trap + ": " + call + ", " + kKernelOnly.find(call)->second : trap];
    return trap;
}

void survey_program(const Object& object, size_t index, Survey& survey) {
    const ObjectProgram info = object.programs()[index];
    if (info.type == nullptr) return;
    std::optional<std::string> first;
    for (const Way& way : kWays) {
        const auto end = end_of(object, index, way, survey);
        if (!end) return;
        if (!first) {
            ++survey.programs;
            first = end;
        }
        EXPECT_EQ(*end, *first) << object.name() << ", " << info.name << ", " << way.name;
    }
}

TEST(Material, AcceptedProgramsRunInEveryWay) {
    const auto files = test::corpus(SKEP_CORPUS);
    if (files.empty()) GTEST_SKIP() << "no eBPF objects on this machine";
    Survey survey;
    for (const std::string& file : files) {
        auto object = Object::open_file(file, options());
        if (!object) continue;
        give_sizes(*object);
        for (size_t i = 0; i < object->programs().size(); ++i) survey_program(*object, i, survey);
    }
    std::printf("%u programs, %u runs, %u to their end\n", survey.programs, survey.runs,
                survey.ended);
    for (const auto& [what, count] : survey.exceptions)
        std::printf("  %u not: %s\n", count, what.c_str());
    EXPECT_GT(survey.programs, 0u);
}

}  // namespace
}  // namespace skep
