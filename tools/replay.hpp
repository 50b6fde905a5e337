// Running one program over inputs: captured packets, one packet, bytes, or a context struct.
//
// Runs go in batches: first every input of the batch is laid out afresh, then one timer is started,
// the batch runs, the timer is read, and the results are looked at. So what is measured is the
// program and nothing of the tool, and no run sees what an earlier one did to its input.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <skep/vm.hpp>

#include "tools/capture.hpp"
#include "tools/packet.hpp"
#include "vm/prog/prog_type.hpp"

namespace skep::tool {

// A field of the context and the number it gets.
using ContextEdit = std::pair<std::string, uint64_t>;

struct ReplayOptions {
    const ProgType* type = nullptr;
    uint32_t attach_type = 0;
    Framing framing = Framing::Attach;
    uint64_t runs = 1;     // of the whole input
    uint64_t untimed = 0;  // of those, the first ones
    bool per_packet = false;
    bool progress = false;
    CaptureWriter* out = nullptr;
    uint64_t* clock = nullptr;  // set to each packet's time before its run; null: left alone
    Vm* timers = nullptr;       // whose timers fire as the clock goes on; null: none
    std::vector<ContextEdit> edits;
    std::function<void()> after_batch;  // untimed
    // Names the target of a redirect for the comments in `out`.
    std::function<std::string(const RedirectTarget&)> redirect_name;
};

// A context of bytes, and what it leads to: for iterators over maps and their elements.
struct BytesInput {
    std::vector<std::byte> bytes;
    Map* map = nullptr;
    std::vector<std::byte> key, value;  // an element of `map`; empty: none
};

struct PacketRow {
    uint64_t number = 0;
    uint64_t retval = 0;
    uint32_t length = 0;
    bool trapped = false;
    bool truncated = false;
};

struct Outcome {
    uint64_t total = 0;
    uint64_t trapped = 0;
    uint64_t timers_fired = 0;
    std::array<uint64_t, 16> low{};       // by return value
    std::map<uint32_t, uint64_t> others;  // the rest
    uint64_t timed_ns = 0;
    uint64_t timed_runs = 0;
    RunResult first;  // of run 1
    std::vector<std::byte> first_data;
    bool has_data = false;
    std::optional<TrapInfo> trap;  // the first one
    std::vector<PacketRow> rows;

    void count(uint32_t retval);
    // The number of runs that returned `retval`.
    uint64_t returned(uint32_t retval) const;
};

// A packet program over every frame of the capture.
Outcome replay_packets(const LoadedProgram& program, const Capture& capture,
                       const ReplayOptions& options);
// Programs whose context is bytes (tracing, raw): each run of the input is one run per context;
// they are at least one, and of the same size. What a program changes of an element goes into the
// map, but for copies per CPU.
Outcome replay_bytes(const LoadedProgram& program, std::span<const BytesInput> contexts,
                     const ReplayOptions& options);
// Programs of the other types; `data` is behind the context's buffer pointers, if it has any.
Outcome replay_context(const LoadedProgram& program, std::span<const std::byte> data,
                       const ReplayOptions& options);

// How people and JSON call a return value; empty if it has no name. XDP's unknown codes have none.
std::string_view verdict_name(const ProgType& type, uint64_t retval);

}  // namespace skep::tool
