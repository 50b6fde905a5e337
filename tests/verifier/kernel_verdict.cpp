#include "tests/verifier/kernel_verdict.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "tests/btf/build.hpp"
#include "tests/support/kernel_bpf.hpp"
#include "vm/base/os.hpp"
#include "vm/btf/btf.hpp"

namespace skep::test {
namespace {

struct Fd {
    explicit Fd(int n) : number(n) {}
    Fd(const Fd&) = delete;
    Fd& operator=(const Fd&) = delete;
    ~Fd() {
        if (number >= 0) close(number);
    }
    int number;
};

// A struct of the value's size whose words are numbers, but for the special fields.
struct ValueType {
    std::string bytes;
    uint32_t key = 0, value = 0;
};
ValueType value_type(const MapDef& map) {
    BtfBuilder b;
    const uint32_t u32 = b.add_int("u32", 4);
    const uint32_t u64 = b.add_int("u64", 8);
    const uint32_t lock = b.add("bpf_spin_lock", 4, 1, 4, {b.string("val"), u32, 0});
    const uint32_t timer =
        b.add("bpf_timer", 4, 2, 16, {b.string("a"), u64, 0, b.string("b"), u64, 64});
    const uint32_t res = b.add("bpf_res_spin_lock", 4, 1, 4, {b.string("val"), u32, 0});
    const uint32_t wq = b.add("bpf_wq", 4, 2, 16, {b.string("a"), u64, 0, b.string("b"), u64, 64});
    const uint32_t work = b.add("bpf_task_work", 4, 1, 8, {b.string("a"), u64, 0});
    struct Special {
        FieldKind kind;
        uint32_t type, size;
    };
    const Special specials[] = {{FieldKind::SpinLock, lock, 4},
                                {FieldKind::Timer, timer, 16},
                                {FieldKind::ResSpinLock, res, 4},
                                {FieldKind::Workqueue, wq, 16},
                                {FieldKind::TaskWork, work, 8}};
    std::vector<uint32_t> members;
    uint32_t count = 0;
    for (uint32_t at = 0; at + 4 <= map.value_size;) {
        Special here{FieldKind::SpinLock, u32, 4};
        for (const SpecialField& f : map.fields)
            for (const Special& special : specials)
                if (f.offset == at && f.kind == special.kind) here = special;
        members.insert(members.end(), {b.string("m" + std::to_string(at)), here.type, at * 8});
        ++count;
        at += here.size;
    }
    ValueType out;
    out.value = b.add("value", 4, count, map.value_size, members);
    out.key = u32;
    out.bytes = b.bytes();
    return out;
}

int load_btf_bytes(const std::string& bytes) {
    union bpf_attr attr;
    std::memset(&attr, 0, sizeof attr);
    attr.btf = reinterpret_cast<uintptr_t>(bytes.data());
    attr.btf_size = static_cast<uint32_t>(bytes.size());
    return static_cast<int>(bpf(BPF_BTF_LOAD, &attr, sizeof attr));
}

int create(const MapDef& map) {
    union bpf_attr attr;
    std::memset(&attr, 0, sizeof attr);
    attr.map_type = static_cast<uint32_t>(map.type);
    attr.key_size = map.key_size;
    attr.value_size = map.value_size;
    attr.max_entries = map.max_entries;
    attr.map_flags = map.flags;
    attr.map_extra = map.map_extra;
    Fd btf(-1), inner(-1);
    if (map.inner != nullptr) {
        inner.number = create(*map.inner);
        if (inner.number < 0) return -1;
        attr.inner_map_fd = static_cast<uint32_t>(inner.number);
    }
    if (!map.fields.empty()) {
        const ValueType type = value_type(map);
        btf.number = load_btf_bytes(type.bytes);
        if (btf.number < 0) return -1;
        attr.btf_fd = static_cast<uint32_t>(btf.number);
        attr.btf_key_type_id = type.key;
        attr.btf_value_type_id = type.value;
    }
    return static_cast<int>(bpf(BPF_MAP_CREATE, &attr, sizeof attr));
}

// The kernel's own types, or null.
const Btf* kernel_types() {
    static const auto types = [] {
        auto bytes = os::read_file("/sys/kernel/btf/vmlinux");
        return bytes ? Btf::parse(*std::move(bytes)) : std::unexpected(bytes.error());
    }();
    return types ? types->get() : nullptr;
}
uint32_t attach_id(const ProgType& type, const std::string& target) {
    const Btf* btf = kernel_types();
    if (btf == nullptr || target.empty()) return 0;
    if (type.kind == ProgKind::Tracing) {
        const uint32_t tracepoint = btf->find("btf_trace_" + target, BtfKind::Typedef);
        if (tracepoint != 0) return tracepoint;
        const uint32_t iterator = btf->find("bpf_iter_" + target, BtfKind::Func);
        if (iterator != 0) return iterator;
    }
    return btf->find(target, BtfKind::Func);
}

}  // namespace

std::optional<KernelVerdict> kernel_verdict(std::span<const RawInsn> slots, const ProgType& type,
                                            uint32_t attach_type, std::span<const MapDef> maps,
                                            bool gpl, bool sleepable,
                                            const std::string& attach_target,
                                            const FunctionTypes* functions) {
    static const bool available = kernel_available();
    if (!available || type.kind == ProgKind::Raw) return std::nullopt;
    std::vector<std::unique_ptr<Fd>> fds;
    for (const MapDef& map : maps) {
        fds.push_back(std::make_unique<Fd>(create(map)));
        if (fds.back()->number < 0) return std::nullopt;
    }
    std::vector<RawInsn> insns(slots.begin(), slots.end());
    for (size_t i = 0; i < insns.size(); ++i) {
        if (insns[i].opcode != 0x18) continue;
        const uint8_t src = insns[i].src();
        if ((src == 1 || src == 2) && static_cast<uint32_t>(insns[i].imm) < fds.size())
            insns[i].imm = fds[static_cast<uint32_t>(insns[i].imm)]->number;
        ++i;
    }
    KernelVerdict verdict;
    std::string log(1 << 18, '\0');
    LoadAttr attr;
    attr.prog_type = static_cast<uint32_t>(type.kind);
    attr.insn_count = static_cast<uint32_t>(insns.size());
    attr.insns = reinterpret_cast<uintptr_t>(insns.data());
    attr.license = reinterpret_cast<uintptr_t>(gpl ? "GPL" : "none");
    attr.attach_type = attach_type;
    attr.prog_flags = sleepable ? 1u << 4 : 0;
    attr.log_level = 4 | 1;
    attr.log_size = static_cast<uint32_t>(log.size());
    attr.log_buf = reinterpret_cast<uintptr_t>(log.data());
    Fd functions_btf(-1);
    if (functions != nullptr) {
        functions_btf.number = load_btf_bytes(functions->btf);
        attr.btf_fd = static_cast<uint32_t>(functions_btf.number);
        attr.func_info_size = sizeof(FunctionTypes::Row);
        attr.func_info = reinterpret_cast<uintptr_t>(functions->rows.data());
        attr.func_info_count = static_cast<uint32_t>(functions->rows.size());
    }
    attr.attach_btf_id = attach_id(type, attach_target);
    int fd = static_cast<int>(bpf(BPF_PROG_LOAD, &attr, sizeof attr));
    const int first_error = errno;
    if (fd < 0 && first_error == ENOSPC) {
        attr.log_level = 4;
        fd = static_cast<int>(bpf(BPF_PROG_LOAD, &attr, sizeof attr));
    }
    const Fd program(fd);
    verdict.accepted = fd >= 0;
    verdict.error = fd >= 0 ? 0 : errno;
    log.resize(strnlen(log.data(), log.size()));
    // Refused before anything was looked at: this machine does not let such programs in.
    if (verdict.error == EPERM && log.empty()) return std::nullopt;
    if (const size_t at = log.find("processed "); at != std::string::npos)
        verdict.processed = std::strtoull(log.c_str() + at + 10, nullptr, 10);
    if (const size_t at = log.find("verification time "); at != std::string::npos)
        verdict.verify_us = std::strtoull(log.c_str() + at + 18, nullptr, 10);
    verdict.log = std::move(log);
    return verdict;
}

}  // namespace skep::test
