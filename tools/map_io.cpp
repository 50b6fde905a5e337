// The two directions between maps and files; see map_io.hpp. Everything goes through the host side
// of Map, so the map's own rules decide what is allowed.
#include "tools/map_io.hpp"

#include <algorithm>
#include <cstring>

#include <nlohmann/json.hpp>

#include "maps/map_types.hpp"
#include "tools/text.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/btf/btf.hpp"

namespace skep::tool {
namespace {

constexpr long kNoEntry = -2;
constexpr uint64_t kMaxDumped = 4u << 20;  // entries

bool is_json_path(const std::string& path) { return path.ends_with(".json"); }

const MapTypeInfo* info_of(const MapDef& def) { return map_type_info(def.type); }

bool is_percpu(const MapDef& def) {
    return def.type == MapType::PercpuArray || def.type == MapType::PercpuHash ||
           def.type == MapType::LruPercpuHash || def.type == MapType::PercpuCgroupStorage;
}

bool is_redirect(const MapDef& def) {
    return def.type == MapType::Devmap || def.type == MapType::DevmapHash;
}

bool holds_maps(const MapDef& def) {
    return def.type == MapType::ArrayOfMaps || def.type == MapType::HashOfMaps;
}

Error with_map(Error error, const MapDef& def, const std::string& what) {
    error.message =
        "map " + escaped(def.name) + (what.empty() ? "" : ", " + what) + ": " + error.message;
    return error;
}

std::string errno_text(long status) {
    return std::string(std::strerror(static_cast<int>(-status)));
}

uint32_t first_u32(std::span<const std::byte> bytes) {
    uint32_t value = 0;
    std::memcpy(&value, bytes.data(), std::min<size_t>(4, bytes.size()));
    return value;
}

// --- loading ------------------------------------------------------------------------------------

// One copy of the value, which may be {"dev": NAME}.
Result<void> read_value(const MapDef& def, const Json& json, std::span<std::byte> out,
                        MapTargets& targets) {
    if (is_redirect(def) && json.is_object() && json.contains("dev") && json["dev"].is_string()) {
        const uint32_t number = targets.device(json["dev"].get<std::string>());
        std::memcpy(out.data(), &number, std::min<size_t>(4, out.size()));
        return {};
    }
    if (is_redirect(def) && json.is_number() && out.size() > 4) {
        return from_json(nullptr, 0, json, out.first(4));
    }
    return from_json(def.btf.get(), def.value_btf, json, out);
}

Result<std::vector<std::byte>> host_value(Map& map, const Json& json, MapTargets& targets) {
    const MapDef& def = map.def();
    std::vector<std::byte> value(map.host_value_size());
    if (!is_percpu(def)) {
        SKEP_CHECK(read_value(def, json, std::span(value).first(def.value_size), targets));
        return value;
    }
    const size_t stride = (size_t{def.value_size} + 7) / 8 * 8;
    const size_t cpus = stride == 0 ? 0 : value.size() / stride;
    // An array is one value per CPU, unless values are arrays themselves.
    const bool by_cpu = json.is_array() && (!is_array_shaped(def.btf.get(), def.value_btf) ||
                                            (!json.empty() && json[0].is_array()));
    if (by_cpu && json.size() > cpus) {
        return fail(ErrorCode::BadMapContents,
                    std::to_string(json.size()) + " per-CPU values, but there are " +
                        std::to_string(cpus) + " CPUs (--cpus changes that)");
    }
    for (size_t cpu = 0; cpu < cpus; ++cpu) {
        if (by_cpu && cpu >= json.size()) break;
        SKEP_CHECK(read_value(def, by_cpu ? json[cpu] : json,
                              std::span(value).subspan(cpu * stride, def.value_size), targets));
    }
    return value;
}

Result<void> load_entry(Map& map, const Json& entry, MapTargets& targets) {
    const MapDef& def = map.def();
    if (!entry.is_object() || !entry.contains("value") ||
        (def.key_size != 0 && !entry.contains("key"))) {
        return fail(ErrorCode::BadMapContents, "needs the form {\"key\": ..., \"value\": ...}");
    }
    std::vector<std::byte> key(def.key_size);
    if (def.key_size != 0) {
        SKEP_CHECK(from_json(def.btf.get(), def.key_btf, entry["key"], key));
    }
    const Json& json = entry["value"];
    const auto name_in = [&](const char* member) {
        return json.is_object() && json.contains(member) && json[member].is_string();
    };
    if (def.type == MapType::ProgArray) {
        if (!name_in("prog")) return fail(ErrorCode::BadMapContents, "needs {\"prog\": NAME}");
        return targets.set_program(map, first_u32(key), json["prog"].get<std::string>());
    }
    if (holds_maps(def)) {
        if (!name_in("map")) return fail(ErrorCode::BadMapContents, "needs {\"map\": NAME}");
        return targets.set_inner(map, key, json["map"].get<std::string>());
    }
    SKEP_TRY(const std::vector<std::byte> value, host_value(map, json, targets));
    const long status = def.key_size == 0 ? map.push(value.data(), 0, {})
                                          : map.host_update(key.data(), value, map_flags::kAny);
    if (status != 0) {
        return fail(ErrorCode::BadMapContents, "the map refuses it: " + errno_text(status));
    }
    return {};
}

// --- dumping ------------------------------------------------------------------------------------

Json value_json(const Map& map, std::span<const std::byte> value, const MapTargets& targets) {
    const MapDef& def = map.def();
    if (const auto variables = targets.variables(def); !variables.empty()) {
        return section_to_json(def.btf.get(), variables, value);
    }
    const auto named = [&](const char* member, std::string name) {
        return name.empty() ? Json{{member, first_u32(value)}} : Json{{member, std::move(name)}};
    };
    if (def.type == MapType::ProgArray)
        return named("prog", targets.program_name(first_u32(value)));
    if (holds_maps(def)) return named("map", targets.map_name(first_u32(value)));
    if (is_redirect(def)) return named("dev", targets.device_name(first_u32(value)));
    if (!is_percpu(def)) {
        return to_json(def.btf.get(), def.value_btf, value.first(def.value_size));
    }
    const size_t stride = (size_t{def.value_size} + 7) / 8 * 8;
    Json list = Json::array();
    for (size_t off = 0; stride != 0 && off + stride <= value.size(); off += stride) {
        list.push_back(to_json(def.btf.get(), def.value_btf, value.subspan(off, def.value_size)));
    }
    return list;
}

}  // namespace

bool is_initial_contents(const MapDef& def, const std::string& path) {
    const bool data_section = def.name.starts_with('.') || !def.contents.empty();
    return def.type == MapType::Array && def.max_entries == 1 &&
           (data_section || !is_json_path(path));
}

std::vector<Variable> variables_of(const Object& object, const MapDef& def) {
    std::vector<Variable> variables;
    for (const ObjectGlobal& global : object.globals()) {
        if (global.section != def.name) continue;
        variables.push_back({std::string(global.name), global.type_id, global.offset, global.size});
    }
    return variables;
}

Result<std::vector<std::byte>> read_contents(const MapDef& def, const std::string& path,
                                             const std::vector<Variable>& variables) {
    std::vector<std::byte> bytes = def.contents;
    bytes.resize(def.value_size);
    if (!is_json_path(path)) {
        SKEP_TRY(const std::string text, os::read_file(path));
        if (text.size() > def.value_size) {
            return fail(ErrorCode::BadMapContents,
                        "--map: map " + escaped(def.name) + " has " +
                            std::to_string(def.value_size) + " bytes, the file " +
                            std::to_string(text.size()),
                        {.object = path});
        }
        std::memcpy(bytes.data(), text.data(), text.size());
        return bytes;
    }
    SKEP_TRY(Json json, parse_json_file(path));
    // As --dump-map writes it, or the value alone.
    if (json.is_array() && json.size() == 1 && json[0].is_object() && json[0].contains("value")) {
        Json value = json[0]["value"];
        json = std::move(value);
    }
    auto done = variables.empty() ? from_json(def.btf.get(), def.value_btf, json, bytes)
                                  : section_from_json(def.btf.get(), variables, json, bytes);
    if (!done) {
        Error error = with_map(std::move(done).error(), def, "");
        error.where.object = path;
        return std::unexpected(std::move(error));
    }
    return bytes;
}

Result<void> load_map(Map& map, const std::string& path, MapTargets& targets) {
    const MapDef& def = map.def();
    if (!is_json_path(path)) {
        return fail(ErrorCode::BadMapContents,
                    "--map: map " + escaped(def.name) +
                        " has many entries; its contents are JSON, in a file that ends in .json",
                    {.object = path});
    }
    SKEP_TRY(const Json json, parse_json_file(path));
    if (!json.is_array()) {
        return fail(ErrorCode::BadMapContents,
                    "--map: the file holds no list [{\"key\": ..., \"value\": ...}, ...]",
                    {.object = path});
    }
    for (size_t i = 0; i < json.size(); ++i) {
        auto done = load_entry(map, json[i], targets);
        if (done) continue;
        Error error = with_map(std::move(done).error(), def, "entry " + std::to_string(i));
        error.message = "--map: " + error.message;
        error.where.object = path;
        return std::unexpected(std::move(error));
    }
    return {};
}

namespace {

// Queues and stacks can only be taken from; this is the last that is done with them. The order is
// the one in which --map would put the entries back.
Json dump_list(Map& map, const MapTargets& targets) {
    const MapDef& def = map.def();
    Json list = Json::array();
    if (def.type != MapType::Queue && def.type != MapType::Stack) return list;
    std::vector<std::byte> value(def.value_size);
    while (map.host_pop(value) == 0) list.push_back({{"value", value_json(map, value, targets)}});
    if (def.type == MapType::Stack) std::reverse(list.begin(), list.end());
    return list;
}

}  // namespace

Result<Json> dump_map(Map& map, const MapTargets& targets) {
    const MapDef& def = map.def();
    if (def.key_size == 0) return dump_list(map, targets);
    std::vector<std::pair<std::vector<std::byte>, Json>> entries;
    std::vector<std::byte> key(def.key_size), next(def.key_size);
    std::vector<std::byte> value(map.host_value_size());
    long status = map.next_key(nullptr, next.data());
    for (uint64_t count = 0; status == 0; ++count) {
        if (count >= kMaxDumped) {
            return fail(ErrorCode::LimitExceeded,
                        "--dump-map: map " + escaped(def.name) + " has more than 4194304 entries");
        }
        key.swap(next);
        // An empty slot of an array of handles has no value.
        if (map.host_lookup(key.data(), value, 0) == 0) {
            entries.emplace_back(key, value_json(map, value, targets));
        }
        status = map.next_key(key.data(), next.data());
    }
    if (status != kNoEntry && info_of(def) != nullptr && info_of(def)->has(map_ops::kNextKey)) {
        return fail(ErrorCode::BadMapContents, "--dump-map: map " + escaped(def.name) +
                                                   " cannot be read: " + errno_text(status));
    }
    // Hash maps walk in the order of a seed of their own; a dump is the same every time.
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        return std::lexicographical_compare(a.first.rbegin(), a.first.rend(), b.first.rbegin(),
                                            b.first.rend());
    });
    Json list = Json::array();
    for (auto& [bytes, json] : entries) {
        list.push_back(
            {{"key", to_json(def.btf.get(), def.key_btf, bytes)}, {"value", std::move(json)}});
    }
    return list;
}

}  // namespace skep::tool
