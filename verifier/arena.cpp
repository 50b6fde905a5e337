// Arenas: memory that programs share with user space, of which every 32-bit offset may be accessed.
//
// A pointer into an arena is whatever was cast to one: loads and stores take its low 32 bits and
// never leave the arena's reserved range, so nothing has to be proved about it.
#include "verifier/analyzer.hpp"

namespace skep::verifier {

bool Analyzer::check_arena(const MapDef& map) {
    if (arena_map_ != nullptr && arena_map_ != &map)
        return reject(ErrorCode::WrongMapType, "Only one arena per program: '%s' and '%s'",
                      arena_map_->name.c_str(), map.name.c_str());
    if (map.map_extra == 0)
        return reject(ErrorCode::WrongMapType,
                      "arena's user address must be set via map_extra or mmap()");
    arena_map_ = &map;
    return true;
}

bool Analyzer::step_addr_space_cast(const Insn& insn) {
    if (!read_reg(insn.src) || !write_reg(insn.dst)) return false;
    if (arena_map_ == nullptr)
        return reject(
            ErrorCode::NotAPointer,
            "addr_space_cast insn can only be used in a program that has an associated arena");
    const Cell& src = st().reg(insn.src);
    if (strict() && src.is_pointer() && src.type != CellType::Arena)
        return reject(ErrorCode::PointerLeak, "R%u is no pointer into the arena", insn.src);
    st().slot = slot_ + 1;
    const uint32_t spaces = static_cast<uint32_t>(insn.imm);
    set_reg(insn.dst, spaces == 1 ? pointer(CellType::Arena) : unknown());
    return true;
}

// Any arithmetic with a pointer into an arena gives one. False: none of the two is.
bool Analyzer::arena_alu(Cell& dst, const Cell& src) {
    const bool arena = dst.type == CellType::Arena || src.type == CellType::Arena;
    const auto other = [](const Cell& c) { return c.is_pointer() && c.type != CellType::Arena; };
    if (!arena || (strict() && (other(dst) || other(src)))) return false;
    dst = pointer(CellType::Arena);
    return true;
}

}  // namespace skep::verifier
