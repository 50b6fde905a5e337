// Programs of any type through the verifier under every policy: it ends within its budgets, a
// refusal says why, what the kernel's rules grant `extended` grants too, and what is accepted runs
// without a trap.
//
// Input: a byte for the program type, a byte of flags, then slots. Maps 0 to 3 are an array, a hash
// table, a program array and a ring buffer.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "tests/fuzz/fuzz.hpp"
#include "tests/support/generate.hpp"
#include "tests/support/reference.hpp"
#include "verifier/verifier.hpp"
#include "vm/isa/assemble.hpp"
#include "vm/isa/codec.hpp"
#include "vm/isa/disasm.hpp"
#include "vm/prog/program.hpp"

namespace skep::test {
namespace {

constexpr size_t kMaxSlots = 512;
constexpr uint32_t kMemory = 256;
constexpr uint64_t kFuel = 100'000;
constexpr uint8_t kNotGpl = 1, kSleepable = 2;  // flags

const std::vector<std::shared_ptr<const MapDef>>& maps() {
    static const auto all = [] {
        const auto make = [](MapType type, uint32_t key, uint32_t value, uint32_t entries) {
            MapDef map;
            map.type = type;
            map.key_size = key;
            map.value_size = value;
            map.max_entries = entries;
            return std::make_shared<const MapDef>(map);
        };
        return std::vector{make(MapType::Array, 4, 64, 4), make(MapType::Hash, 8, 48, 16),
                           make(MapType::ProgArray, 4, 4, 2), make(MapType::Ringbuf, 0, 0, 4096)};
    }();
    return all;
}

bool is_budget(ErrorCode code) {
    return code == ErrorCode::TooComplex || code == ErrorCode::TooManyStates ||
           code == ErrorCode::AnalysisMemory || code == ErrorCode::AnalysisTime;
}

// Programs of type raw can be run by the reference interpreter, which knows neither maps nor
// helpers.
bool can_run(const Program& program) {
    return program.type->kind == ProgKind::Raw &&
           std::ranges::none_of(program.insns, [](const Insn& insn) {
               return insn.kind == Kind::Call ||
                      (insn.kind == Kind::Imm64 && insn.pseudo_imm() != PseudoImm::Value);
           });
}

void run(const Program& program, std::span<const RawInsn> slots, const std::string& text) {
    for (const uint8_t fill : {uint8_t{0}, uint8_t{0x5a}, uint8_t{0xff}}) {
        std::vector<uint8_t> memory(program.raw_size, fill);
        const ReferenceResult result = run_raw(decode(slots).value(), memory, kFuel);
        require(result.trap == TrapCode::None || result.trap == TrapCode::Fuel,
                "what is accepted does not trap", text);
    }
}

void check(const ProgType& type, uint8_t flags, std::span<const RawInsn> slots) {
    auto program = make_raw_program({slots.begin(), slots.end()}, type, maps(), !(flags & kNotGpl));
    if (!program) {
        require(!program.error().message.empty(), "a refusal says what is wrong");
        return;
    }
    program->sleepable = (flags & kSleepable) != 0;
    if (type.kind == ProgKind::Raw) program->raw_size = kMemory;
    const std::string text = std::string(type.name) + "\n" + disassemble(*decode(slots));
    Analysis linux_analysis;
    for (const Policy policy :
         {Policy::Linux, Policy::Extended, Policy::Strict, Policy::Hardened}) {
        AnalyzeOptions options;
        options.policy = policy;
        options.budgets = {.insns = 20'000, .states = 5'000, .memory_bytes = 64u << 20};
        options.log_level = flags >> 2 & 3;
        options.budgets.log_bytes = 4096;
        const Analysis analysis = analyze(*program, options);
        require(analysis.processed <= options.budgets.insns + 1024, "a budget ends it", text);
        require(analysis.log.size() <= options.budgets.log_bytes + 1024, "the log is cut", text);
        if (!analysis.accepted()) {
            require(analysis.error.code != ErrorCode::None && !analysis.error.message.empty(),
                    "a refusal says why", text);
            require(!analysis.facts.complete, "a refused program has no facts", text);
        }
        if (policy == Policy::Linux) linux_analysis = analysis;
        if (policy == Policy::Extended && linux_analysis.accepted())
            require(analysis.accepted() || is_budget(analysis.error.code),
                    "extended grants what linux does", text + analysis.error.to_string());
        if (analysis.accepted() && can_run(*program)) run(*program, slots, text);
    }
}

constexpr std::array<const char*, 8> kTexts = {
    // xdp: a header behind a check
    "r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = r2\nr4 += 14\nif r4 > r3 goto +1\n"
    "r0 = *(u8 *)(r2 + 13)\nr0 = 2\nexit\n",
    // a value of an array
    "r7 = *(u32 *)(r1 + 0)\n*(u32 *)(r10 - 4) = r7\nr2 = r10\nr2 += -4\nr1 = map[0] ll\n"
    "call 1\nif r0 == 0 goto +3\nr7 &= 63\nr0 += r7\nr0 = *(u8 *)(r0 + 0)\nr0 = 0\nexit\n",
    // a record of a ring buffer
    "r1 = map[3] ll\nr2 = 16\nr3 = 0\ncall 131\nif r0 == 0 goto +4\n*(u64 *)(r0 + 8) = 1\n"
    "r1 = r0\nr2 = 0\ncall 132\nr0 = 0\nexit\n",
    // a tail call
    "r2 = map[2] ll\nr3 = 1\ncall 12\nr0 = 0\nexit\n",
    // a subprogram
    "r1 = 5\ncall +2\nr0 += 1\nexit\nr0 = r1\nr0 *= 3\nexit\n",
    // loops
    "r1 = 0\nr2 = r10\nr2 += -64\nr3 = r2\nr3 += r1\n*(u8 *)(r3 + 0) = 0\nr1 += 1\n"
    "if r1 < 64 goto -5\nr0 = 0\nexit\n",
    // an order of two numbers
    "r7 = *(u8 *)(r1 + 0)\nr8 = *(u64 *)(r1 + 8)\nif r8 > r7 goto +4\nr8 &= 127\nr1 += r8\n"
    "r0 = *(u8 *)(r1 + 0)\nexit\nr0 = 0\nexit\n",
    // spills, and half of one
    "r6 = *(u64 *)(r1 + 0)\n*(u64 *)(r10 - 8) = r6\nr7 = *(u32 *)(r10 - 4)\n"
    "r8 = *(u64 *)(r10 - 8)\nif r8 > 100 goto +2\nr1 += r8\nr0 = *(u8 *)(r1 + 0)\nr0 = 0\nexit\n",
};

}  // namespace

void fuzz_seeds(const SeedSink& sink) {
    const auto give = [&](ProgKind kind, uint8_t flags, std::span<const RawInsn> slots) {
        const auto types = prog_types();
        size_t index = 0;
        while (index < types.size() && types[index].kind != kind) ++index;
        std::vector<uint8_t> input{static_cast<uint8_t>(index), flags};
        const auto* bytes = reinterpret_cast<const uint8_t*>(slots.data());
        input.insert(input.end(), bytes, bytes + slots.size_bytes());
        sink(input);
    };
    for (uint64_t seed = 1; seed <= 60; ++seed) {
        const Generated program = generate(seed, {.wild = seed % 2 == 0, .statements = 12});
        give(ProgKind::Raw, 0, program.slots);
    }
    constexpr ProgKind kKinds[] = {ProgKind::Raw, ProgKind::Xdp, ProgKind::SocketFilter,
                                   ProgKind::SchedCls, ProgKind::Kprobe};
    for (const char* text : kTexts) {
        const auto slots = assemble(text);
        require(slots.has_value(), "seeds assemble", text);
        uint8_t flags = 0;
        for (const ProgKind kind : kKinds) give(kind, flags++ * 4, *slots);
    }
}

}  // namespace skep::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skep;
    if (size < 2) return 0;
    const auto types = prog_types();
    std::vector<RawInsn> slots(std::min((size - 2) / sizeof(RawInsn), test::kMaxSlots));
    if (!slots.empty()) std::memcpy(slots.data(), data + 2, slots.size() * sizeof(RawInsn));
    test::check(types[data[0] % types.size()], data[1], slots);
    return 0;
}
