// Assembler text: either an Error with a line, or slots; what of them decodes is printed and
// assembled again to the same slots.
#include <string>

#include "tests/fuzz/fuzz.hpp"
#include "tests/support/generate.hpp"
#include "vm/isa/assemble.hpp"
#include "vm/isa/codec.hpp"
#include "vm/isa/disasm.hpp"

namespace skep::test {

void fuzz_seeds(const SeedSink& sink) {
    const auto give = [&sink](const std::string& text) {
        sink({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    };
    for (uint64_t seed = 1; seed <= 50; ++seed) {
        give(disassemble(decode(generate(seed, {.statements = 8}).slots).value()));
    }
    give(
        "start: add64 r0, r1\nmov32 r0, 5\nlddw r1, 0x1122334455667788\nldxw r0, [r1+4]\n"
        "ldxsh r0, [r1]\nstxdw [r10-8], r1\nstw [r1], 5\njne32 r1, r2, start\nja32 end\n"
        "lock fetch_add [r1+8], r2\nlock cmpxchg32 [r1], r2\nneg r0\nbe16 r0\nmovsx864 r1, r2\n"
        "call local start\nldabsb 3\nldindh r1, 3 ; comment\n/* more */ end: exit // done\n");
}

}  // namespace skep::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skep;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto slots = assemble(text);
    if (!slots) {
        test::require(slots.error().where.line > 0 && !slots.error().message.empty(),
                      "an error has a line and a message");
        return 0;
    }
    const auto insns = decode(*slots);
    if (!insns) return 0;
    const std::string listing = disassemble(*insns);
    const auto again = assemble(listing);
    test::require(again.has_value() && *again == *slots, "assemble is the inverse of disassemble",
                  listing);
    return 0;
}
