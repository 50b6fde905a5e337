// What run, verify, inspect and disasm share: which program, how it is configured, which maps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <skep/map.hpp>
#include <skep/object.hpp>

#include "tools/commands.hpp"
#include "vm/isa/insn.hpp"
#include "vm/prog/prog_type.hpp"

namespace skep::tool {

struct SourceOptions {
    std::string object;  // path; exclusive with `raw`
    std::string raw;
    std::string program, type, attach_type;
    std::string license = "GPL";
    std::string btf, kconfig;
    std::vector<std::string> maps, map_sizes, globals;  // NAME=..., as given
    std::vector<std::string> raw_maps;
    uint32_t raw_size = 0;
};

// The options that choose and configure; `raw` adds those of raw programs.
void add_source_options(CLI::App& command, SourceOptions& options, bool configure = true);
// Exactly one of OBJ and --raw must be given, and --raw needs --type.
Result<void> check_source(const SourceOptions& options, bool type_needed = true);

// Opens the object and applies --type, --kconfig, --set, --map-size and those --map that give the
// bytes of a data section. The rest of --map waits for the maps to exist (map_io.hpp).
Result<Object> open_object(const SourceOptions& options);

// The program that --program names; without it the only one, or the only one with a packet if
// `packet`. The error lists what there is.
Result<size_t> select_program(const Object& object, const std::string& name, bool packet);
// What Vm::load and Object::link find the program by: its name, or its index if that is not unique.
std::string program_key(const Object& object, size_t index);

// Applies --type and --attach-type to one program.
Result<void> override_type(Object& object, size_t index, const SourceOptions& options);
// A program type by any of its names; the error lists close matches.
Result<TypeChoice> find_type(const std::string& name);

struct RawSource {
    std::vector<RawInsn> slots;
    std::vector<MapDef> maps;
    TypeChoice type;
    std::string type_name;  // what Vm::load_raw is given
    bool gpl = true;
};
Result<RawSource> open_raw(const SourceOptions& options);
// "type=hash,key=8,value=48,entries=1[,flags=N][,inner=INDEX][,spin_lock=OFF][,timer=OFF]"
Result<MapDef> parse_raw_map(const std::string& spec, const std::vector<MapDef>& before);

// The licences that Linux counts as compatible with the GPL.
bool is_gpl_compatible(std::string_view license);

}  // namespace skep::tool
