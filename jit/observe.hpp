// Native code that tells the outside about itself, where its host asked for it: names for profilers
// in /tmp/perf-PID.map, and an object with symbols for GDB's JIT interface.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace skep::jit {

// One function of generated code.
struct CodeSymbol {
    std::string name;
    uintptr_t address = 0;
    uint64_t size = 0;  // bytes
};

// Appends a line per symbol to the file that perf reads for this process. The file stays when the
// code is gone, as perf wants it. False (and errno) if it cannot be written, or is not a plain file
// of this user.
bool append_perf_map(std::span<const CodeSymbol> symbols) noexcept;
// That file's name.
std::string perf_map_name();

// An ELF object in memory with the symbols, known to a debugger from now until destruction.
class GdbObject {
public:
    explicit GdbObject(std::span<const CodeSymbol> symbols);
    ~GdbObject();
    GdbObject(const GdbObject&) = delete;
    GdbObject& operator=(const GdbObject&) = delete;

    std::span<const std::byte> file() const { return file_; }

private:
    struct Entry;
    std::vector<std::byte> file_;
    std::unique_ptr<Entry> entry_;
};

}  // namespace skep::jit
