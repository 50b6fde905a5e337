// `skep disasm`: programs as text, with the C lines that they come from.
#include <memory>

#include <CLI/CLI.hpp>

#include "helpers/table.hpp"
#include "tools/commands.hpp"
#include "tools/native_listing.hpp"
#include "tools/slots.hpp"
#include "tools/source.hpp"
#include "tools/text.hpp"
#include "vm/base/try.hpp"
#include "vm/isa/codec.hpp"
#include "vm/isa/disasm.hpp"
#include "vm/prog/program.hpp"

namespace skep::tool {
namespace {

struct Options {
    SourceOptions source;
    std::string arch;
    bool native = false;
};

std::string helper_name(int32_t number) {
    const Helper* helper = find_helper(static_cast<uint32_t>(number));
    return helper == nullptr ? "" : "bpf_" + std::string(helper->name);
}

bool wants_native(const Options& options) { return options.native || !options.arch.empty(); }

// The instruction, with what its operand refers to in the object as a comment.
std::string annotated(const Program& program, uint32_t slot, const DisasmNames& names) {
    std::string text = disassemble(program.insns[slot], slot, names);
    if (const auto found = program.externs.find(slot); found != program.externs.end()) {
        text += "  // " + escaped(found->second.name);
    }
    if (const auto found = program.poisoned.find(slot); found != program.poisoned.end()) {
        text += "  // no CO-RE target: " + escaped(found->second);
    }
    return text;
}

// Line information has one record per expression; one line of C is shown once in a row.
bool same_line(const SourceLine* a, const SourceLine* b) {
    return a != nullptr && b != nullptr && a->line == b->line && a->file == b->file;
}

void append_native(std::string& out, const std::vector<std::string>& lines, const Colour& colour) {
    for (const std::string& line : lines)
        out += std::string(colour.cyan) + "            " + line + colour.plain + "\n";
}

// What lies behind the functions: refused accesses, traps, exits.
void append_behind(std::string& out, const NativeListing& native, const Colour& colour) {
    if (native.behind.empty()) return;
    out += "\n" + std::string(colour.bold) + "out of line:" + colour.plain + "\n";
    for (const auto& [slot, lines] : native.behind) {
        out += "  of slot " + std::to_string(slot) + ":\n";
        append_native(out, lines, colour);
    }
}

Result<void> print_program(const std::shared_ptr<const Program>& shared, const Options& options) {
    const Program& program = *shared;
    const Colour colour(stdout);
    NativeListing native;
    if (wants_native(options)) {
        SKEP_TRY(native, list_native(shared, options.arch));
    }
    DisasmNames names;
    names.helper = helper_name;
    names.function = [&](uint32_t slot) {
        return slot < program.insns.size() ? escaped(program.subprogram_of(slot).name)
                                           : std::string();
    };
    names.map = [&](uint32_t map) {
        return map < program.maps.size() ? escaped(program.maps[map]->name) : std::string();
    };
    std::string out = std::string(colour.bold) + escaped(program.name) + colour.plain + " (" +
                      std::string(program.type == nullptr ? "unspec" : program.type->name) +
                      ", section " + escaped(program.section) + ", " +
                      std::to_string(program.insns.size()) + " slots";
    if (wants_native(options))
        out += ", " + std::to_string(native.bytes) + " bytes of native code, " +
               (native.verified ? "verified" : "sandboxed");
    out += ")\n";
    append_native(out, native.entry, colour);
    const SourceLine* shown = nullptr;
    for (uint32_t slot = 0; slot < program.insns.size(); ++slot) {
        if (program.insns[slot].kind == Kind::Imm64High) continue;
        const Subprogram& sub = program.subprogram_of(slot);
        if (sub.first == slot && slot != 0) {
            out += "\n" + std::string(colour.bold) + escaped(sub.name) + colour.plain + ":\n";
        }
        const SourceLine* line = program.line_of(slot);
        if (line != nullptr && !line->text.empty() && !same_line(line, shown)) {
            out += std::string(colour.dim) + "; " + escaped(line->text) + "  (" +
                   escaped(line->file) + ":" + std::to_string(line->line) + ")" + colour.plain +
                   "\n";
        }
        shown = line;
        char number[16];
        std::snprintf(number, sizeof number, "%6u: ", slot);
        out += number + annotated(program, slot, names) + "\n";
        if (slot < native.slots.size()) append_native(out, native.slots[slot], colour);
    }
    append_behind(out, native, colour);
    print(out);
    return {};
}

Result<void> disassemble_raw(const Options& options) {
    SKEP_TRY(const std::vector<RawInsn> slots, read_slots(options.source.raw));
    if (wants_native(options)) {
        SKEP_TRY(Program program, make_raw_program(slots, *find_prog_type(ProgKind::Raw), {}));
        program.name = "raw";
        return print_program(std::make_shared<const Program>(std::move(program)), options);
    }
    SKEP_TRY(const std::vector<Insn> insns, decode(slots));
    print(disassemble(insns, {.helper = helper_name}));
    return {};
}

Result<void> disassemble_object(const Options& options) {
    SKEP_TRY(const Object object, open_object(options.source));
    std::vector<size_t> chosen;
    if (options.source.program.empty()) {
        for (size_t i = 0; i < object.programs().size(); ++i) chosen.push_back(i);
    }
    if (chosen.empty()) {
        SKEP_TRY(const size_t index, select_program(object, options.source.program, false));
        chosen.push_back(index);
    }
    for (size_t i = 0; i < chosen.size(); ++i) {
        SKEP_TRY(Program program, object.link(chosen[i]));
        if (i > 0) print("\n");
        SKEP_CHECK(print_program(std::make_shared<const Program>(std::move(program)), options));
    }
    return {};
}

Result<void> disassemble(const Options& options) {
    SKEP_CHECK(check_source(options.source, false));
    return options.source.raw.empty() ? disassemble_object(options) : disassemble_raw(options);
}

}  // namespace

void add_disasm(CLI::App& app, Exit& exit) {
    auto* command = app.add_subcommand("disasm", "Show a program's instructions beside its source");
    auto options = std::make_shared<Options>();
    add_source_options(*command, options->source, false);
    command->add_option("--btf", options->source.btf, "Types that CO-RE relocates against");
    command->add_flag("--native", options->native, "Show the native code too");
    command->add_option("--arch", options->arch, "x86-64 or arm64, with --native")
        ->check(CLI::IsMember({"x86-64", "arm64"}));
    command->footer(
        "Slot numbers are those of llvm-objdump and of every message of skep.\n\n"
        "Examples:\n"
        "  skep disasm filter.o\n"
        "  skep disasm filter.o --program xdp_filter\n"
        "  skep disasm filter.o --native --arch arm64\n"
        "  printf 'r0 = 7\\nexit\\n' | skep asm - -o - | skep disasm --raw -");
    command->callback([&exit, options] {
        const auto done = disassemble(*options);
        exit = done ? Exit::Done : report(done.error(), Exit::BadUsage);
    });
}

}  // namespace skep::tool
