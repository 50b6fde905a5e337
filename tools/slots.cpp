// Reading of raw programs.
#include "tools/slots.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "vm/base/os.hpp"
#include "vm/base/try.hpp"

namespace skep::tool {

Result<std::string> read_input(const std::string& path, size_t limit) {
    if (path != "-") return os::read_file(path, limit);
    std::string text;
    char buffer[1 << 16];
    size_t count = 0;
    while ((count = std::fread(buffer, 1, sizeof buffer, stdin)) > 0) {
        if (text.size() + count > limit) {
            return fail(ErrorCode::LimitExceeded,
                        "standard input is longer than " + std::to_string(limit) + " bytes");
        }
        text.append(buffer, count);
    }
    if (std::ferror(stdin) != 0) {
        return fail(ErrorCode::Unreadable, "standard input cannot be read");
    }
    return text;
}

Result<void> write_output(const std::string& path, std::string_view bytes,
                          std::string_view option) {
    const auto failed = [&] {
        return fail(ErrorCode::Os, std::string(option) + ": cannot write: " + std::strerror(errno),
                    {.object = path});
    };
    std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "wb");
    if (file == nullptr) return failed();
    const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    const bool closed = (file == stdout ? std::fflush(file) : std::fclose(file)) == 0;
    if (!written || !closed) return failed();
    return {};
}

Result<std::vector<RawInsn>> read_slots(const std::string& path) {
    SKEP_TRY(const std::string bytes, read_input(path, size_t{kMaxInsns} * sizeof(RawInsn)));
    if (bytes.empty() || bytes.size() % sizeof(RawInsn) != 0) {
        return fail(bytes.empty() ? ErrorCode::EmptyProgram : ErrorCode::Truncated,
                    std::to_string(bytes.size()) +
                        " bytes are no raw program: it must be a whole number of 8-byte slots, at "
                        "least one (`skep asm` makes such files)",
                    {.object = path == "-" ? "standard input" : path});
    }
    std::vector<RawInsn> slots(bytes.size() / sizeof(RawInsn));
    std::memcpy(slots.data(), bytes.data(), bytes.size());
    return slots;
}

}  // namespace skep::tool
