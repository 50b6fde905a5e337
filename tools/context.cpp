// Contexts from the command line; see context.hpp.
#include "tools/context.hpp"

#include <algorithm>
#include <cstring>

#include "tools/text.hpp"
#include "vm/base/try.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep::tool {
namespace {

constexpr uint32_t kMaxPadded = 64 * 1024;

// struct pt_regs of x86-64, in memory order; 8 bytes each.
constexpr std::string_view kRegisters[] = {"r15", "r14",     "r13", "r12", "bp",    "bx", "r11",
                                           "r10", "r9",      "r8",  "ax",  "cx",    "dx", "si",
                                           "di",  "orig_ax", "ip",  "cs",  "flags", "sp", "ss"};

std::string field_names(const CtxLayout& layout) {
    std::vector<std::string> names;
    for (const CtxField& field : layout.fields) {
        if (field.kind == CtxFieldKind::Scalar && !field.name.empty()) {
            names.emplace_back(field.name);
        }
    }
    return names.empty() ? "it has no named fields" : "there are " + list_of(names);
}

// The index of the 8-byte word that a name stands for.
Result<size_t> word_index(const CtxLayout& layout, const std::string& name) {
    if (layout.name == "pt_regs") {
        const auto found = std::find(std::begin(kRegisters), std::end(kRegisters), name);
        if (found != std::end(kRegisters)) return static_cast<size_t>(found - kRegisters);
    }
    if (layout.name == "tracepoint") {
        // System calls: the number follows the common header, then what sys_enter and sys_exit
        // have.
        constexpr size_t kNumber = 1, kFirst = 2;
        if (name == "id") return kNumber;
        if (name == "ret") return kFirst;
        if (name.starts_with("args[") && name.size() == 7 && name[5] >= '0' && name[5] <= '5' &&
            name[6] == ']')
            return kFirst + static_cast<size_t>(name[5] - '0');
    }
    if (name.starts_with("arg") && name.size() > 3) {
        SKEP_TRY(const uint64_t index, parse_number(name.substr(3), "--ctx"));
        if (index < kMaxPadded / 8) return static_cast<size_t>(index);
    }
    return fail(ErrorCode::InvalidArgument,
                "--ctx: '" + escaped(name) + "' is no field of " + std::string(layout.name) +
                    "; it is 8-byte words arg0, arg1, ..." +
                    (layout.name == "pt_regs"      ? " or the registers di, si, dx, ax, ip, sp ..."
                     : layout.name == "tracepoint" ? " or, of system calls, id, args[0] ..., ret"
                                                   : "") +
                    "; --ctx-hex gives it whole");
}

}  // namespace

Result<std::vector<ContextEdit>> read_context_edits(const ProgType& type,
                                                    std::span<const std::byte> hex,
                                                    const std::vector<std::string>& fields) {
    const CtxLayout& layout = *type.ctx;
    std::vector<ContextEdit> edits;
    if (hex.size() > layout.size) {
        return fail(ErrorCode::InvalidArgument, "--ctx-hex: " + std::to_string(hex.size()) +
                                                    " bytes, but " + std::string(layout.name) +
                                                    " has " + std::to_string(layout.size));
    }
    for (const CtxField& field : layout.fields) {
        if (field.kind != CtxFieldKind::Scalar || field.name.empty() || field.host_size == 0)
            continue;
        const uint32_t step = field.element != 0 ? field.element : field.size;
        for (uint32_t at = 0; at + step <= field.size && field.off + at + step <= hex.size() &&
                              step <= sizeof(uint64_t);
             at += step) {
            uint64_t value = 0;
            std::memcpy(&value, hex.data() + field.off + at, step);
            if (value == 0) continue;
            std::string name(field.name);
            if (field.element != 0) name += "[" + std::to_string(at / step) + "]";
            edits.emplace_back(std::move(name), value);
        }
    }
    std::vector<std::byte> scratch(layout.host_size);
    for (const std::string& text : fields) {
        SKEP_TRY(const auto pair, split_pair(text, "--ctx"));
        SKEP_TRY(const uint64_t value, parse_number(pair.second, "--ctx " + pair.first));
        if (!ctx_set(layout, scratch.data(), pair.first, value)) {
            return fail(ErrorCode::InvalidArgument, "--ctx: " + std::string(layout.name) +
                                                        " has no field '" + escaped(pair.first) +
                                                        "' to set; " + field_names(layout));
        }
        edits.emplace_back(pair.first, value);
    }
    return edits;
}

Result<std::vector<std::byte>> read_context_bytes(const ProgType& type,
                                                  std::span<const std::byte> data,
                                                  std::span<const std::byte> hex,
                                                  const std::vector<std::string>& fields,
                                                  const LoadedProgram& program) {
    const CtxLayout& layout = *type.ctx;
    if (!hex.empty() && !data.empty()) {
        return fail(ErrorCode::InvalidArgument,
                    "--ctx-hex and --data both give the context of type " + std::string(type.name) +
                        "; give one of them");
    }
    const auto given = hex.empty() ? data : hex;
    if (given.size() > layout.size) {
        return fail(ErrorCode::InvalidArgument, "the context of type " + std::string(type.name) +
                                                    " has at most " + std::to_string(layout.size) +
                                                    " bytes, not " + std::to_string(given.size()));
    }
    std::vector<std::byte> bytes(given.begin(), given.end());
    if (given.empty() && program) {
        const std::vector<uint64_t> objects = program.argument_objects();
        bytes.resize(objects.size() * sizeof(uint64_t));
        if (!objects.empty()) std::memcpy(bytes.data(), objects.data(), bytes.size());
    }
    if (type.kind != ProgKind::Raw && layout.size <= kMaxPadded) bytes.resize(layout.size);
    for (const std::string& text : fields) {
        SKEP_TRY(const auto pair, split_pair(text, "--ctx"));
        uint64_t value = 0;
        if (program) {
            value = pair.second == "task" ? program.task_address()
                                          : program.object_address(pair.second);
        }
        if (value == 0) {
            SKEP_TRY(value, parse_number(pair.second, "--ctx " + pair.first));
        }
        SKEP_TRY(const size_t word, word_index(layout, pair.first));
        if ((word + 1) * 8 > bytes.size()) {
            return fail(ErrorCode::InvalidArgument,
                        "--ctx: " + escaped(pair.first) + " lies behind the " +
                            std::to_string(bytes.size()) + " bytes of the context");
        }
        std::memcpy(bytes.data() + word * 8, &value, 8);
    }
    return bytes;
}

}  // namespace skep::tool
