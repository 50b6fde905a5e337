// `skep asm`: assembler text to raw slots.
#include <memory>

#include <CLI/CLI.hpp>

#include "helpers/table.hpp"
#include "tools/commands.hpp"
#include "tools/slots.hpp"
#include "vm/base/try.hpp"
#include "vm/isa/assemble.hpp"
#include "vm/isa/codec.hpp"

namespace skep::tool {
namespace {

constexpr size_t kMaxText = size_t{256} << 20;

std::optional<int32_t> helper_number(std::string_view name) {
    const Helper* helper = find_helper(name);
    if (helper == nullptr) return std::nullopt;
    return static_cast<int32_t>(helper->id);
}

Result<void> assemble_file(const std::string& in, const std::string& out) {
    SKEP_TRY(const std::string text, read_input(in, kMaxText));
    auto slots = assemble(text, {.helper = helper_number});
    if (!slots) {
        Error error = std::move(slots).error();
        error.where.file = in == "-" ? "standard input" : in;
        return std::unexpected(std::move(error));
    }
    SKEP_CHECK(decode(*slots));
    return write_output(
        out, {reinterpret_cast<const char*>(slots->data()), slots->size() * sizeof(RawInsn)}, "-o");
}

}  // namespace

void add_asm(CLI::App& app, Exit& exit) {
    auto* command = app.add_subcommand("asm", "Assemble text to a raw program of 8-byte slots");
    struct Options {
        std::string in, out;
    };
    auto options = std::make_shared<Options>();
    command->add_option("FILE", options->in, "Assembler text; - is standard input")->required();
    command->add_option("-o", options->out, "Where the slots go; - is standard output")->required();
    command->footer(
        "Both dialects are read, one statement a line: `r0 += r1` and `add64 r0, r1`,\n"
        "`if r1 > 5 goto out` and `jgt r1, 5, out`; labels end in a colon, comments start with # "
        "or //.\n\n"
        "Examples:\n"
        "  skep asm twice.s -o twice.bin && skep run --raw twice.bin --type raw --data-hex 2a\n"
        "  printf 'r0 = 7\\nexit\\n' | skep asm - -o - | skep run --raw - --type raw");
    command->callback([&exit, options] {
        const auto done = assemble_file(options->in, options->out);
        exit = done ? Exit::Done : report(done.error(), Exit::BadUsage);
    });
}

}  // namespace skep::tool
