// The JSON forms that several commands share.
#include "tools/report_json.hpp"

#include <nlohmann/json.hpp>

namespace skep::tool {

Json error_json(const Error& error) {
    const Where& where = error.where;
    return {{"code", name_of(error.code)},
            {"insn", where.slot < 0 ? Json(nullptr) : Json(where.slot)},
            {"file", where.file.empty() ? Json(nullptr) : Json(where.file)},
            {"line", where.line == 0 ? Json(nullptr) : Json(where.line)},
            {"message", error.message}};
}

}  // namespace skep::tool
