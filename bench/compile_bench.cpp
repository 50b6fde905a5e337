// What compiling costs: generated programs of 100 to 900,000 instructions, branchy as compilers
// write them, in both forms, with seconds and bytes of code per instruction (`a64_bytes`: the same
// code for AArch64); and everything from no VM to a program that can run, of 100 instructions.
//
// The program is made of short blocks: loads from its memory and its frame, mixing in registers,
// stores, a compare and a branch over the next few blocks. It is linear: each block runs once.
#include <algorithm>
#include <benchmark/benchmark.h>
#include <cstring>

#include <skep/vm.hpp>

#include "jit/jit.hpp"
#include "vm/isa/codec.hpp"
#include "vm/prog/program.hpp"
#include "vm/run/lower.hpp"

namespace skep {
namespace {

constexpr uint32_t kMemory = 4096;

class BranchyProgram {
public:
    explicit BranchyProgram(size_t insns) {
        emit(0xbf, 6, 1, 0, 0);
        for (const uint8_t reg : {0, 2, 3, 4, 5, 7, 8, 9}) emit(0xb7, reg, 0, 0, next());
        for (int slot = 1; slot <= 8; ++slot) emit(0x7b, 10, 0, -8 * slot, 0);
        while (out_.size() + 16 < insns) block();
        out_.resize(std::min(out_.size(), insns - 2));
        for (const auto& [slot, target] : branches_) {
            const size_t end = std::min(target, out_.size());
            if (slot < out_.size()) out_[slot].off = static_cast<int16_t>(end - slot - 1);
        }
        while (out_.size() + 1 < insns) emit(0x0f, 0, 7, 0, 0);
        emit(0x95, 0, 0, 0, 0);
    }
    std::vector<RawInsn> slots() && { return std::move(out_); }

private:
    void emit(unsigned opcode, unsigned dst, unsigned src, int off, int32_t imm) {
        out_.push_back({static_cast<uint8_t>(opcode), static_cast<uint8_t>(dst | src << 4),
                        static_cast<int16_t>(off), imm});
    }
    int32_t next() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<int32_t>(state_ >> 33);
    }
    unsigned pick(unsigned n) { return static_cast<unsigned>(next()) % n; }
    uint8_t number() {
        constexpr uint8_t kNumbers[] = {0, 2, 3, 4, 5, 7, 8, 9};
        return kNumbers[pick(8)];
    }
    void block() {
        constexpr uint8_t kAlu[] = {0x0f, 0x1f, 0xaf, 0x4f, 0x5f, 0x0c, 0xac, 0x07, 0x57,
                                    0x27, 0x67, 0x77, 0x04, 0x54, 0xbf, 0xbc, 0xbf};
        constexpr uint8_t kLoads[] = {0x61, 0x69, 0x71, 0x79};
        constexpr uint8_t kBranches[] = {0x15, 0x25, 0x2d, 0x55, 0xa5, 0x1d, 0x16, 0x26, 0xc5};
        emit(kLoads[pick(4)], number(), 6, static_cast<int>(pick(kMemory - 8)), 0);
        if (pick(3) == 0) emit(0x79, number(), 10, -8 * static_cast<int>(1 + pick(8)), 0);
        for (unsigned n = 3 + pick(5); n > 0; --n) {
            const uint8_t op = kAlu[pick(sizeof(kAlu))];
            const bool shift = op == 0x67 || op == 0x77;
            const bool by_register = (op & kSourceReg) != 0;
            emit(op, number(), by_register ? number() : 0, 0,
                 by_register ? 0
                 : shift     ? static_cast<int32_t>(1 + pick(31))
                             : next() >> pick(31));
        }
        if (pick(3) == 0) emit(0x7b, 10, number(), -8 * static_cast<int>(1 + pick(8)), 0);
        if (pick(6) == 0) emit(0x63, 6, number(), static_cast<int>(pick(kMemory - 8)), 0);
        const uint8_t op = kBranches[pick(sizeof(kBranches))];
        const bool by_register = (op & kSourceReg) != 0;
        branches_.emplace_back(out_.size(), out_.size() + 1 + pick(24));
        emit(op, number(), by_register ? number() : 0, 0,
             by_register ? 0 : static_cast<int32_t>(pick(256)));
    }

    std::vector<RawInsn> out_;
    std::vector<std::pair<size_t, size_t>> branches_;  // slot, target
    uint64_t state_ = 88172645463325252u;
};

Result<std::shared_ptr<const Program>> make_program(size_t insns) {
    auto program =
        make_raw_program(BranchyProgram(insns).slots(), *find_prog_type(ProgKind::Raw), {});
    if (!program) return std::unexpected(program.error());
    program->raw_size = kMemory;
    return std::make_shared<const Program>(*std::move(program));
}

void compile(benchmark::State& state, Form form) {
    const auto insns = static_cast<size_t>(state.range(0));
    auto program = make_program(insns);
    if (!program) return state.SkipWithError(program.error().to_string().c_str());
    auto image = form == Form::Sandbox ? lower_checked(*program, nullptr, {})
                                       : lower_unchecked(*program, nullptr, {.fuel = false});
    auto arena = jit::CodeArena::create(size_t{128} << 20);
    if (!image || !arena) return state.SkipWithError("no image or no memory for code");
    size_t bytes = 0;
    for (auto _ : state) {
        auto code = jit::compile(**image, *arena);
        if (!code) return state.SkipWithError(code.error().to_string().c_str());
        bytes = (*code)->native_bytes();
    }
    const auto count = static_cast<double>(insns);
    state.counters["s/insn"] = benchmark::Counter(
        count, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
    state.counters["bytes/insn"] = static_cast<double>(bytes) / count;
    if (const auto listing = jit::assemble(**image, jit::Target::A64))
        state.counters["a64_bytes"] = static_cast<double>(listing->bytes.size()) / count;
}

// No VM -> a verified program that can run -> no VM.
void load_and_forget(benchmark::State& state, Mode mode) {
    const auto slots = BranchyProgram(static_cast<size_t>(state.range(0))).slots();
    std::vector<uint64_t> words(slots.size());
    std::memcpy(words.data(), slots.data(), slots.size() * sizeof(RawInsn));
    for (auto _ : state) {
        auto vm = Vm::create({.engine = skep::Engine::Jit, .mode = mode});
        if (!vm) return state.SkipWithError(vm.error().to_string().c_str());
        auto program = vm->load_raw(words, "raw", {}, true, kMemory);
        if (!program) return state.SkipWithError(program.error().to_string().c_str());
        benchmark::DoNotOptimize(program);
    }
}

BENCHMARK_CAPTURE(compile, verified, Form::Unchecked)
    ->Arg(100)
    ->Arg(1000)
    ->Arg(9000)
    ->Arg(100'000)
    ->Arg(900'000);
BENCHMARK_CAPTURE(compile, sandbox, Form::Sandbox)
    ->Arg(100)
    ->Arg(1000)
    ->Arg(9000)
    ->Arg(100'000)
    ->Arg(900'000);
BENCHMARK_CAPTURE(load_and_forget, verified, Mode::Verified)->Arg(100);
BENCHMARK_CAPTURE(load_and_forget, sandbox, Mode::Sandbox)->Arg(100);

}  // namespace
}  // namespace skep

BENCHMARK_MAIN();
