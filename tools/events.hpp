// Records that programs write to ring buffers and perf event arrays, as a consumer in user space
// takes them: counted, printed in the shape of their BTF type where it is known, kept in a file
// where asked (--events MAP=FILE).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <skep/map.hpp>

#include "tools/btf_json.hpp"

namespace skep::tool {

class Events {
public:
    Events();
    ~Events();
    // Makes `map` one that is drained, if it takes records; `types` may be null. `path`: where its
    // records go, empty = nowhere. A file that ends in .json gets a list of decoded records, any
    // other the bytes of each behind their number as 4 bytes, little-endian.
    Result<void> add(std::shared_ptr<Map> map, std::shared_ptr<const Btf> types, std::string path);
    static bool takes_records(const Map& map);

    // Takes what the maps hold. Called between runs.
    void drain();
    // Closes the files.
    Result<void> finish();

    // By map: {"count", "lost", "records": [...]}; the first kMaxShown records are shown.
    Json json() const;
    std::string text() const;

private:
    static constexpr uint64_t kMaxShown = 1000;
    struct Source;
    static bool take(void* source, const MapEvent& event);

    std::vector<std::unique_ptr<Source>> sources_;
};

}  // namespace skep::tool
