#include <skep/error.hpp>

namespace skep {

std::string_view name_of(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::None: return "none";
#define SKEP_ERROR(number, Name, stable_name, text) \
    case ErrorCode::Name: return #stable_name;
#include <skep/errors.def>
#undef SKEP_ERROR
    }
    return "unknown";
}

std::string_view text_of(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::None: return "no error";
#define SKEP_ERROR(number, Name, stable_name, text) \
    case ErrorCode::Name: return text;
#include <skep/errors.def>
#undef SKEP_ERROR
    }
    return "unknown error";
}

std::string_view name_of(TrapCode code) noexcept {
    switch (code) {
        case TrapCode::None: return "none";
#define SKEP_TRAP(number, Name, stable_name, text) \
    case TrapCode::Name: return #stable_name;
#include <skep/traps.def>
#undef SKEP_TRAP
    }
    return "unknown";
}

std::string_view text_of(TrapCode code) noexcept {
    switch (code) {
        case TrapCode::None: return "no trap";
#define SKEP_TRAP(number, Name, stable_name, text) \
    case TrapCode::Name: return text;
#include <skep/traps.def>
#undef SKEP_TRAP
    }
    return "unknown trap";
}

std::string Error::to_string() const {
    std::string out;
    const auto part = [&out](std::string_view label, std::string_view value) {
        if (value.empty()) return;
        out.append(label).append(value).append(": ");
    };
    part("", where.object);
    part("section ", where.section);
    part("program ", where.program);
    if (where.slot >= 0) part("slot ", std::to_string(where.slot));
    out += message.empty() ? std::string(text_of(code)) : message;
    if (!where.file.empty()) {
        out.append(" (").append(where.file);
        if (where.line != 0) out.append(":").append(std::to_string(where.line));
        out.append(")");
    }
    return out;
}

}  // namespace skep
