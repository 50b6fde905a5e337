// Instruction bytes: whatever decodes is encoded and printed and assembled again to the same bytes,
// and runs in the reference interpreter to a defined end.
#include <algorithm>
#include <cstring>

#include "tests/fuzz/fuzz.hpp"
#include "tests/support/generate.hpp"
#include "tests/support/reference.hpp"
#include "vm/isa/assemble.hpp"
#include "vm/isa/codec.hpp"
#include "vm/isa/disasm.hpp"

namespace skep::test {
namespace {

constexpr size_t kMaxSlots = 512;
constexpr uint64_t kFuel = 200;

void check(std::span<const RawInsn> slots) {
    const auto insns = decode(slots);
    if (!insns) {
        require(insns.error().code != ErrorCode::None && !insns.error().message.empty(),
                "a refusal says what is wrong");
        return;
    }
    for (uint32_t i = 0; i < slots.size(); ++i) {
        require(encode((*insns)[i], i) == slots[i], "encode is the inverse of decode");
    }
    const std::string text = disassemble(*insns);
    const auto again = assemble(text);
    require(again.has_value(), "a listing assembles", text);
    require(std::ranges::equal(*again, slots), "assemble is the inverse of disassemble", text);
    std::vector<uint8_t> memory(256, 0x5a);
    const ReferenceResult result = run_raw(*insns, memory, kFuel);
    require(result.fuel_used <= kFuel, "fuel bounds a run", text);
    require(result.trap == TrapCode::None || result.slot <= slots.size(), "a trap names a slot",
            text);
}

}  // namespace

void fuzz_seeds(const SeedSink& sink) {
    for (uint64_t seed = 1; seed <= 100; ++seed) {
        const Generated program = generate(seed, {.wild = seed % 2 == 0, .statements = 12});
        sink({reinterpret_cast<const uint8_t*>(program.slots.data()),
              program.slots.size() * sizeof(RawInsn)});
    }
}

}  // namespace skep::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skep;
    std::vector<RawInsn> slots(std::min(size / sizeof(RawInsn), test::kMaxSlots));
    if (!slots.empty()) std::memcpy(slots.data(), data, slots.size() * sizeof(RawInsn));
    test::check(slots);
    return 0;
}
