// Contents of maps: from files into maps, from maps to JSON.
//
//   [{"key": ..., "value": ...}, ...]     keys and values as btf_json.hpp shapes them
//   per-CPU maps       one value for all CPUs, or an array by CPU
//   program arrays     {"prog": NAME}      maps of maps      {"map": NAME}
//   redirect maps      {"dev": NAME}       (a number is taken as it is)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <skep/error.hpp>
#include <skep/map.hpp>
#include <skep/object.hpp>

#include "tools/btf_json.hpp"

namespace skep::tool {

// What names in map contents refer to; the run command knows.
class MapTargets {
public:
    virtual ~MapTargets() = default;
    virtual Result<void> set_program(Map& array, uint32_t index, std::string_view name) = 0;
    virtual Result<void> set_inner(Map& outer, std::span<const std::byte> key,
                                   std::string_view name) = 0;
    // The interface number of a name, given out on first use.
    virtual uint32_t device(std::string_view name) = 0;
    // Names of what a map holds; empty if not known.
    virtual std::string program_name(uint32_t id) const = 0;
    virtual std::string map_name(uint32_t id) const = 0;
    virtual std::string device_name(uint32_t number) const = 0;
    // The variables of a data section's map; empty for other maps.
    virtual std::vector<Variable> variables(const MapDef& def) const = 0;
};

// True if `path` gives the bytes that the map has before anything is loaded: those of a data
// section, or raw bytes of a single-entry array.
bool is_initial_contents(const MapDef& def, const std::string& path);
// Those bytes. JSON changes only the variables that it names.
Result<std::vector<std::byte>> read_contents(const MapDef& def, const std::string& path,
                                             const std::vector<Variable>& variables);
// The variables of an object that lie in the map's section.
std::vector<Variable> variables_of(const Object& object, const MapDef& def);

Result<void> load_map(Map& map, const std::string& path, MapTargets& targets);
Result<Json> dump_map(Map& map, const MapTargets& targets);

}  // namespace skep::tool
