#include "tests/support/kernel.hpp"

#include <cerrno>
#include <cstring>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utility>

namespace skep::test {
namespace {

class Fd {
public:
    explicit Fd(long number) : number_(static_cast<int>(number)) {}
    Fd(Fd&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    ~Fd() {
        if (number_ >= 0) close(number_);
    }
    int get() const { return number_; }
    bool ok() const { return number_ >= 0; }

private:
    int number_;
};

long bpf(int command, bpf_attr& attr) { return syscall(SYS_bpf, command, &attr, sizeof(attr)); }

uint64_t pointer(const void* p) { return reinterpret_cast<uintptr_t>(p); }

Fd load(uint32_t type, std::span<const RawInsn> slots, std::string* log) {
    bpf_attr attr{};
    attr.prog_type = type;
    attr.insns = pointer(slots.data());
    attr.insn_cnt = static_cast<uint32_t>(slots.size());
    attr.license = pointer("GPL");
    Fd fd(bpf(BPF_PROG_LOAD, attr));
    if (fd.ok() || log == nullptr) return fd;
    // A second time with a log; it costs more than the load.
    std::vector<char> text(1 << 20);
    attr.log_buf = pointer(text.data());
    attr.log_size = static_cast<uint32_t>(text.size());
    attr.log_level = 1;
    Fd again(bpf(BPF_PROG_LOAD, attr));
    *log = std::string(text.data()) + std::strerror(errno);
    return again;
}

Fd create_array(uint32_t value_size) {
    bpf_attr attr{};
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = 4;
    attr.value_size = value_size;
    attr.max_entries = 1;
    return Fd(bpf(BPF_MAP_CREATE, attr));
}

bool element(int command, const Fd& map, void* value) {
    const uint32_t key = 0;
    bpf_attr attr{};
    attr.map_fd = static_cast<uint32_t>(map.get());
    attr.key = pointer(&key);
    attr.value = pointer(value);
    return bpf(command, attr) == 0;
}

}  // namespace

std::optional<std::string> Kernel::unavailable() {
    const RawInsn slots[] = {{0xb7, 0, 0, 0}, {0x95, 0, 0, 0}};
    const Fd fd = load(BPF_PROG_TYPE_XDP, slots, nullptr);
    if (fd.ok()) return std::nullopt;
    return std::string("bpf(2) refuses to load a program: ") + std::strerror(errno);
}

Kernel::Run Kernel::run(std::span<const RawInsn> slots, std::span<const uint8_t> memory) {
    Run run;
    const Fd map = create_array(static_cast<uint32_t>(memory.empty() ? 8 : memory.size()));
    if (!map.ok()) {
        run.log = std::string("no map: ") + std::strerror(errno);
        return run;
    }
    std::vector<RawInsn> program;
    if (memory.empty()) {
        program = {{0xb7, 1, 0, 0}, {0xb7, 2, 0, 0}};
    } else {
        program = {{0x18, 1 | BPF_PSEUDO_MAP_VALUE << 4, 0, map.get()},
                   {0, 0, 0, 0},
                   {0xb7, 2, 0, static_cast<int32_t>(memory.size())}};
    }
    program.insert(program.end(), slots.begin(), slots.end());
    const Fd fd = load(BPF_PROG_TYPE_XDP, program, &run.log);
    if (!fd.ok()) return run;
    run.accepted = true;
    run.memory.assign(memory.begin(), memory.end());
    if (!memory.empty()) element(BPF_MAP_UPDATE_ELEM, map, run.memory.data());
    const std::vector<uint8_t> packet(64);
    bpf_attr attr{};
    attr.test.prog_fd = static_cast<uint32_t>(fd.get());
    attr.test.data_in = pointer(packet.data());
    attr.test.data_size_in = static_cast<uint32_t>(packet.size());
    if (bpf(BPF_PROG_TEST_RUN, attr) != 0) {
        run.accepted = false;
        run.log = std::string("test run: ") + std::strerror(errno);
        return run;
    }
    run.r0 = attr.test.retval;
    if (!memory.empty()) element(BPF_MAP_LOOKUP_ELEM, map, run.memory.data());
    return run;
}

bool Kernel::loads(std::span<const RawInsn> slots, uint32_t type, std::string* log,
                   std::span<const std::shared_ptr<const MapDef>> maps) {
    std::vector<Fd> fds;
    for (const auto& def : maps) {
        bpf_attr attr{};
        attr.map_type = static_cast<uint32_t>(def->type);
        attr.key_size = def->key_size;
        attr.value_size = def->value_size;
        attr.max_entries = def->max_entries;
        attr.map_flags = def->flags;
        fds.emplace_back(bpf(BPF_MAP_CREATE, attr));
    }
    std::vector<RawInsn> program(slots.begin(), slots.end());
    for (size_t i = 0; i < program.size(); ++i) {
        if (program[i].opcode != 0x18) continue;
        const uint8_t what = program[i].src();
        const auto map = static_cast<size_t>(program[i].imm);
        if ((what == BPF_PSEUDO_MAP_FD || what == BPF_PSEUDO_MAP_VALUE) && map < fds.size()) {
            program[i].imm = fds[map].get();
        }
        ++i;
    }
    return load(type, program, log).ok();
}

}  // namespace skep::test
