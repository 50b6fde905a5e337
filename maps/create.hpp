// The makers of the map types. Each is called with a definition that check_map_def() accepted.
#pragma once

#include <memory>

#include <skep/map.hpp>

namespace skep {

Result<std::shared_ptr<Map>> make_array(MapDef def);
Result<std::shared_ptr<Map>> make_hash(MapDef def);

}  // namespace skep
