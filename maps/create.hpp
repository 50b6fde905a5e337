// The makers of the map types. Each is called with a definition that check_map_def() accepted.
#pragma once

#include <memory>

#include <skep/map.hpp>

namespace skep {

Result<std::shared_ptr<Map>> make_array(MapDef def);
Result<std::shared_ptr<Map>> make_hash(MapDef def);
Result<std::shared_ptr<Map>> make_handles(MapDef def);
Result<std::shared_ptr<Map>> make_lpm_trie(MapDef def);
Result<std::shared_ptr<Map>> make_queue(MapDef def);
Result<std::shared_ptr<Map>> make_bloom_filter(MapDef def);
Result<std::shared_ptr<Map>> make_ring_buffer(MapDef def);
Result<std::shared_ptr<Map>> make_user_ring_buffer(MapDef def);
Result<std::shared_ptr<Map>> make_perf_event_array(MapDef def);
Result<std::shared_ptr<Map>> make_stack_trace(MapDef def);
Result<std::shared_ptr<Map>> make_targets(MapDef def);
Result<std::shared_ptr<Map>> make_storage(MapDef def);
Result<std::shared_ptr<Map>> make_arena(MapDef def);

// The usual way to make one: construct, then init().
template <class T, class... Args>
Result<std::shared_ptr<Map>> made(MapDef def, Args... args) {
    auto map = std::make_shared<T>(std::move(def), args...);
    if (auto good = map->init(); !good) return std::unexpected(std::move(good).error());
    return map;
}

}  // namespace skep
