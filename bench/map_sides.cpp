#include "bench/map_sides.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <sys/mman.h>

#include <skep/vm.hpp>

#include "tests/support/kernel_bpf.hpp"
#include "vm/base/try.hpp"
#include "vm/isa/assemble.hpp"

namespace skep::bench {
namespace {

std::vector<std::byte> key_bytes(const MapShape& shape, uint32_t n) {
    std::vector<std::byte> key(std::max<size_t>(shape.key_size, sizeof(n)));
    std::memcpy(key.data(), &n, sizeof(n));
    return key;
}

std::unexpected<Error> refused(const char* what) {
    return fail(ErrorCode::Os, std::string(what) + ": " + std::strerror(errno));
}

class KernelSide final : public MapSide {
public:
    ~KernelSide() override {
        if (consumer_ != nullptr) ::munmap(consumer_, kPage);
        if (producer_ != nullptr) ::munmap(producer_, kPage);
        if (map_ >= 0) ::close(map_);
    }

    Result<void> init(const MapShape& shape) {
        SKEP_TRY(std::vector<RawInsn> insns, assemble(program_text(shape)));
        if (shape.has_map()) {
            const MapDef def = map_def(shape);
            bpf_attr attr{};
            attr.map_type = static_cast<uint32_t>(def.type);
            attr.key_size = def.key_size;
            attr.value_size = def.value_size;
            attr.max_entries = def.max_entries;
            attr.map_flags = def.flags;
            map_ = static_cast<int>(test::bpf(BPF_MAP_CREATE, &attr, sizeof(attr)));
            if (map_ < 0) return refused("BPF_MAP_CREATE");
            for (RawInsn& insn : insns) {
                if (insn.opcode == 0x18 && insn.src() == BPF_PSEUDO_MAP_FD) insn.imm = map_;
            }
        }
        if (is_filled(shape)) SKEP_CHECK(fill(shape));
        if (shape.is_ring()) SKEP_CHECK(map_ring());
        program_ = std::make_unique<test::KernelProgram>(BPF_PROG_TYPE_XDP, insns);
        if (program_->fd >= 0) return {};
        errno = program_->error;
        return refused("BPF_PROG_LOAD");
    }

    bool run(uint32_t times) override {
        std::array<std::byte, kPacketBytes> packet{};
        bpf_attr attr{};
        attr.test.prog_fd = static_cast<uint32_t>(program_->fd);
        attr.test.data_in = reinterpret_cast<uintptr_t>(packet.data());
        attr.test.data_size_in = kPacketBytes;
        attr.test.repeat = times;
        return test::bpf(BPF_PROG_TEST_RUN, &attr, sizeof(attr)) == 0 && attr.test.retval == 2;
    }

    void empty_ring() override {
        if (consumer_ == nullptr) return;
        const uint64_t produced = __atomic_load_n(producer_, __ATOMIC_ACQUIRE);
        __atomic_store_n(consumer_, produced, __ATOMIC_RELEASE);
    }

private:
    static constexpr size_t kPage = 4096;

    Result<void> fill(const MapShape& shape) const {
        std::vector<std::byte> value(8 * 4096);  // all CPUs' copies
        for (uint32_t n = 0; n < kMapEntries; ++n) {
            const auto key = key_bytes(shape, n);
            bpf_attr attr{};
            attr.map_fd = static_cast<uint32_t>(map_);
            attr.key = reinterpret_cast<uintptr_t>(key.data());
            attr.value = reinterpret_cast<uintptr_t>(value.data());
            if (test::bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr)) != 0)
                return refused("BPF_MAP_UPDATE_ELEM");
        }
        return {};
    }

    Result<void> map_ring() {
        void* consumer = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, map_, 0);
        void* producer = ::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, map_, kPage);
        if (consumer == MAP_FAILED || producer == MAP_FAILED) return refused("mmap of a ring");
        consumer_ = static_cast<uint64_t*>(consumer);
        producer_ = static_cast<uint64_t*>(producer);
        return {};
    }

    int map_ = -1;
    uint64_t* consumer_ = nullptr;
    uint64_t* producer_ = nullptr;
    std::unique_ptr<test::KernelProgram> program_;
};

class SkepSide final : public MapSide {
public:
    explicit SkepSide(Vm vm) : vm_(std::move(vm)) {}

    Result<void> init(const MapShape& shape) {
        SKEP_TRY(const std::vector<RawInsn> insns, assemble(program_text(shape)));
        std::vector<uint64_t> slots(insns.size());
        std::memcpy(slots.data(), insns.data(), slots.size() * sizeof(uint64_t));
        std::vector<MapDef> defs;
        if (shape.has_map()) defs.push_back(map_def(shape));
        SKEP_TRY(program_, vm_.load_raw(slots, "xdp", defs));
        if (!shape.has_map()) return {};
        map_ = vm_.map(shape.name);
        if (!is_filled(shape)) return {};
        const std::vector<std::byte> value(map_->host_value_size());
        for (uint32_t n = 0; n < kMapEntries; ++n) {
            const auto key = key_bytes(shape, n);
            if (map_->host_update(key.data(), value, map_flags::kAny) != 0)
                return fail(ErrorCode::Internal, "the map does not take its entries");
        }
        return {};
    }

    bool run(uint32_t times) override {
        std::array<std::byte, kPacketBytes> bytes{};
        XdpContext context;
        context.packet = {bytes.data(), bytes.data(), bytes.data(), bytes.data() + bytes.size(),
                          bytes.data() + bytes.size()};
        for (uint32_t i = 0; i < times; ++i) {
            const RunResult result = program_.run(context);
            if (!result.ok() || result.r0 != 2) return false;
        }
        return true;
    }

    void empty_ring() override {
        if (map_ == nullptr) return;
        const auto ignore = [](void*, const MapEvent&) { return true; };
        map_->consume(ignore, nullptr, UINT64_MAX);
    }

private:
    Vm vm_;
    LoadedProgram program_;
    std::shared_ptr<Map> map_;
};

}  // namespace

Result<std::unique_ptr<MapSide>> kernel_side(const MapShape& shape) {
    auto side = std::make_unique<KernelSide>();
    SKEP_CHECK(side->init(shape));
    return side;
}

Result<std::unique_ptr<MapSide>> skep_side(const MapShape& shape) {
    VmOptions options;
    options.policy = Policy::Linux;
    SKEP_TRY(Vm vm, Vm::create(std::move(options)));
    auto side = std::make_unique<SkepSide>(std::move(vm));
    SKEP_CHECK(side->init(shape));
    return side;
}

}  // namespace skep::bench
