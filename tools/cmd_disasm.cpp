// `skep disasm`: programs as text, with the C lines that they come from.
#include <memory>

#include <CLI/CLI.hpp>

#include "tools/commands.hpp"
#include "tools/slots.hpp"
#include "tools/text.hpp"
#include "vm/base/try.hpp"
#include "vm/isa/codec.hpp"
#include "vm/isa/disasm.hpp"

namespace skep::tool {
namespace {

struct Options {
    std::string object, raw, program, arch;
    bool native = false;
};

Result<void> disassemble_raw(const Options& options) {
    SKEP_TRY(const std::vector<RawInsn> slots, read_slots(options.raw));
    SKEP_TRY(const std::vector<Insn> insns, decode(slots));
    print(disassemble(insns));
    return {};
}

}  // namespace

void add_disasm(CLI::App& app, Exit& exit) {
    auto* command = app.add_subcommand("disasm", "Show a program's instructions beside its source");
    auto options = std::make_shared<Options>();
    command->add_option("--raw", options->raw, "A file of 8-byte slots; - is standard input");
    command->footer(
        "Examples:\n"
        "  skep disasm --raw program.bin\n"
        "  printf 'r0 = 7\\nexit\\n' | skep asm - -o - | skep disasm --raw -");
    command->callback([&exit, options] {
        const auto done = disassemble_raw(*options);
        exit = done ? Exit::Done : report(done.error(), Exit::BadUsage);
    });
}

}  // namespace skep::tool
