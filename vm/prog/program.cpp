// Programs: places in them, and programs made of raw slots (see program.hpp).

#include "vm/prog/program.hpp"

#include <algorithm>

#include "vm/base/try.hpp"
#include "vm/isa/codec.hpp"

namespace skep {
namespace {

std::unexpected<Error> bad(ErrorCode code, uint32_t slot, std::string message) {
    return fail(code, std::move(message), {.slot = slot});
}

// The slot that a call or function address refers to, or -1 for other instructions.
int32_t callee_of(const Insn& insn) {
    const bool function = insn.kind == Kind::CallLocal ||
                          (insn.kind == Kind::Imm64 && insn.pseudo_imm() == PseudoImm::Func);
    return function ? insn.target : -1;
}

// Maps are indices here, in the wire's place for file descriptors.
Result<void> check_maps(const std::vector<Insn>& insns, size_t maps) {
    for (uint32_t slot = 0; slot < insns.size(); ++slot) {
        const Insn& insn = insns[slot];
        if (insn.kind != Kind::Imm64) continue;
        const PseudoImm what = insn.pseudo_imm();
        const bool map = what == PseudoImm::MapFd || what == PseudoImm::MapValue ||
                         what == PseudoImm::MapIdx || what == PseudoImm::MapIdxValue;
        const uint32_t index = static_cast<uint32_t>(insn.imm);
        if (map && index >= maps)
            return bad(ErrorCode::InvalidArgument, slot,
                       "map " + std::to_string(index) + " of " + std::to_string(maps));
    }
    return {};
}

}  // namespace

const SourceLine* Program::line_of(uint32_t slot) const {
    auto it = std::upper_bound(lines.begin(), lines.end(), slot,
                               [](uint32_t s, const SourceLine& l) { return s < l.slot; });
    if (it == lines.begin()) return nullptr;
    --it;
    // A line ends with its function, whose neighbour may have none.
    return slot < insns.size() && it->slot < subprogram_of(slot).first ? nullptr : &*it;
}

const Subprogram& Program::subprogram_of(uint32_t slot) const {
    auto it = std::upper_bound(subprograms.begin(), subprograms.end(), slot,
                               [](uint32_t s, const Subprogram& p) { return s < p.first; });
    return it == subprograms.begin() ? subprograms.front() : *std::prev(it);
}

Where Program::where(uint32_t slot) const {
    Where where{.section = section, .program = name, .slot = slot};
    if (const SourceLine* line = line_of(slot)) {
        where.file = std::string(line->file);
        where.line = line->line;
    }
    return where;
}

Result<Program> make_raw_program(std::vector<RawInsn> slots, const ProgType& type,
                                 std::vector<std::shared_ptr<const MapDef>> maps,
                                 bool gpl_compatible) {
    Program program;
    SKEP_TRY(program.insns, decode(slots));
    SKEP_CHECK(check_maps(program.insns, maps.size()));
    const uint32_t count = static_cast<uint32_t>(program.insns.size());
    std::vector<uint32_t> starts = {0};
    for (uint32_t slot = 0; slot < count; ++slot) {
        const int32_t callee = callee_of(program.insns[slot]);
        if (callee > 0 && static_cast<uint32_t>(callee) < count)
            starts.push_back(static_cast<uint32_t>(callee));
    }
    std::sort(starts.begin(), starts.end());
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    for (size_t i = 0; i < starts.size(); ++i) {
        const uint32_t end = i + 1 < starts.size() ? starts[i + 1] : count;
        program.subprograms.push_back({i == 0 ? "main" : "sub_" + std::to_string(starts[i]),
                                       starts[i], end - starts[i], 0, false});
    }
    program.name = "main";
    program.type = &type;
    program.gpl_compatible = gpl_compatible;
    program.maps = std::move(maps);
    return program;
}

}  // namespace skep
