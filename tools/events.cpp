// Draining record maps; see events.hpp.
#include "tools/events.hpp"

#include <cstring>

#include <nlohmann/json.hpp>

#include "tools/slots.hpp"
#include "tools/text.hpp"
#include "vm/base/try.hpp"
#include "vm/btf/btf.hpp"

namespace skep::tool {
namespace {

constexpr uint64_t kBytesPerCpu = 1u << 20;
constexpr size_t kMaxKept = size_t{1} << 30;  // bytes of one file

// The type of a map's records: what the map says of its values, else a `struct event` of the
// record's size, as libbpf's tools call it. 0: not known.
uint32_t record_type(const Map& map, const Btf* types, size_t size) {
    const MapDef& def = map.def();
    if (def.btf != nullptr && def.value_btf != 0 && def.btf->size_of(def.value_btf) == size)
        return def.value_btf;
    if (types == nullptr) return 0;
    const uint32_t event = types->find("event", BtfKind::Struct);
    return event != 0 && types->size_of(event) == size ? event : 0;
}

}  // namespace

struct Events::Source {
    std::shared_ptr<Map> map;
    std::shared_ptr<const Btf> types;
    std::string path;
    std::string bytes;  // for the file
    Json list;          // for the file, if it is JSON
    uint64_t count = 0, lost = 0;
    Json shown;

    Json decode(std::span<const std::byte> record) const {
        const uint32_t type = record_type(*map, types.get(), record.size());
        if (type == 0) return to_hex(record);
        const MapDef& def = map->def();
        const bool own = type == def.value_btf && def.btf != nullptr;
        return to_json(own ? def.btf.get() : types.get(), type, record);
    }
};

Events::Events() = default;
Events::~Events() = default;

bool Events::takes_records(const Map& map) {
    return map.def().type == MapType::Ringbuf || map.def().type == MapType::PerfEventArray;
}

Result<void> Events::add(std::shared_ptr<Map> map, std::shared_ptr<const Btf> types,
                         std::string path) {
    if (!takes_records(*map)) {
        return fail(ErrorCode::InvalidArgument,
                    "--events: map " + escaped(map->def().name) + " takes no records");
    }
    for (auto& source : sources_) {
        if (source->map != map) continue;
        source->path = std::move(path);
        return {};
    }
    // Without a buffer, bpf_perf_event_output finds nobody who listens.
    if (map->def().type == MapType::PerfEventArray) map->open_events(kBytesPerCpu);
    auto source = std::make_unique<Source>();
    source->map = std::move(map);
    source->types = std::move(types);
    source->path = std::move(path);
    source->list = source->shown = Json::array();
    sources_.push_back(std::move(source));
    return {};
}

bool Events::take(void* context, const MapEvent& event) {
    Source& source = *static_cast<Source*>(context);
    ++source.count;
    source.lost += event.lost;
    const bool json = source.path.ends_with(".json");
    if (source.count > kMaxShown && source.path.empty()) return true;
    if (source.count <= kMaxShown) source.shown.push_back(source.decode(event.data));
    if (json) {
        source.list.push_back(source.decode(event.data));
    } else if (!source.path.empty() && source.bytes.size() < kMaxKept) {
        const auto size = static_cast<uint32_t>(event.data.size());
        source.bytes.append(reinterpret_cast<const char*>(&size), sizeof size);
        source.bytes.append(reinterpret_cast<const char*>(event.data.data()), size);
    }
    return true;
}

void Events::drain() {
    for (auto& source : sources_) source->map->consume(&take, source.get(), UINT64_MAX);
}

Result<void> Events::finish() {
    drain();
    for (auto& source : sources_) {
        if (source->path.empty()) continue;
        const bool json = source->path.ends_with(".json");
        const std::string text =
            json ? source->list.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                 : std::move(source->bytes);
        SKEP_CHECK(write_output(source->path, text, "--events"));
    }
    return {};
}

Json Events::json() const {
    Json all = Json::object();
    for (const auto& source : sources_) {
        all[source->map->def().name] = {
            {"count", source->count}, {"lost", source->lost}, {"records", source->shown}};
    }
    return all;
}

std::string Events::text() const {
    std::string out;
    for (const auto& source : sources_) {
        if (source->count == 0) continue;
        out += escaped(source->map->def().name) + ": " + with_commas(source->count) +
               (source->count == 1 ? " record" : " records");
        if (source->lost != 0) out += ", " + with_commas(source->lost) + " lost";
        out += "\n";
        for (const Json& record : source->shown) out += "  " + pretty(record, 2) + "\n";
        if (source->count > kMaxShown)
            out += "  (the first " + with_commas(kMaxShown) + " of them)\n";
    }
    return out;
}

}  // namespace skep::tool
