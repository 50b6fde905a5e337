// Errors as values: what went wrong, where, and what was allowed instead.
//
// Nothing in the library throws across its API, aborts or prints; every rejected input is an Error.
// All types here are plain values, safe to copy and move between threads.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace skep {

enum class ErrorCode : uint16_t {
    None = 0,
#define SKEP_ERROR(number, Name, stable_name, text) Name = number,
#include <skep/errors.def>
#undef SKEP_ERROR
};

// The stable name ("bad_elf") that JSON output uses; "none" for ErrorCode::None.
std::string_view name_of(ErrorCode code) noexcept;
// One line for people.
std::string_view text_of(ErrorCode code) noexcept;

// Where an error was found. Empty strings and negative numbers mean "not known".
struct Where {
    std::string object;   // file name, or what the caller named the buffer
    std::string section;  // ELF section
    std::string program;  // program or subprogram
    int64_t slot = -1;    // instruction index = 8-byte slot of the program
    std::string file;     // source file, from line information; never opened
    uint32_t line = 0;    // source line, 0 = unknown

    bool operator==(const Where&) const = default;
};

struct [[nodiscard]] Error {
    ErrorCode code = ErrorCode::None;
    std::string message;  // what was found, what was allowed; no place, no newline at the end
    Where where;

    // "object: section xdp: program f: slot 7: message (file.c:12)": the parts that are known.
    std::string to_string() const;
};

// A value or an Error.
template <class T>
using Result = std::expected<T, Error>;

// Shorthand for a failing Result.
inline std::unexpected<Error> fail(ErrorCode code, std::string message, Where where = {}) {
    return std::unexpected<Error>(Error{code, std::move(message), std::move(where)});
}

enum class TrapCode : uint8_t {
    None = 0,
#define SKEP_TRAP(number, Name, stable_name, text) Name = number,
#include <skep/traps.def>
#undef SKEP_TRAP
};

std::string_view name_of(TrapCode code) noexcept;
std::string_view text_of(TrapCode code) noexcept;

}  // namespace skep
