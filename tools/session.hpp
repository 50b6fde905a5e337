// One `skep run`: the Vm with its injected services, the program, its maps and its input.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <skep/vm.hpp>

#include "tools/btf_json.hpp"
#include "tools/events.hpp"
#include "tools/map_io.hpp"
#include "tools/replay.hpp"
#include "tools/run.hpp"

namespace skep::tool {

// What a run reports, for people and as JSON.
struct RunReport {
    std::string program;
    std::string object;
    const ProgType* type = nullptr;
    std::optional<Outcome> outcome;
    std::optional<Error> error;
    bool from_capture = false;
    uint64_t truncated = 0;
    uint64_t load_ns = 0;
    LoadedProgram loaded;
    std::vector<std::string> trace;
    uint64_t trace_dropped = 0;
    std::string seq;                                 // what an iterator program wrote
    std::vector<std::pair<std::string, Json>> maps;  // dumped ones
    Events events;                                   // records of ring buffers and perf arrays
    bool has_events = false;                         // there is such a map

    // The return value as wide as the type has it.
    uint64_t retval() const;
};

// Where iterator programs find their struct bpf_iter_meta.
inline constexpr uint64_t kIterMetaAddress = 0xffff'8881'0000'0000;

class Session final : MapTargets {
public:
    explicit Session(const RunOptions& options) : options_(options) {}

    // Everything up to the last run and the dumps. On an error, `exit` says of which kind it is.
    Result<void> execute(Exit& exit);
    RunReport report;

private:
    Result<void> make_vm();
    Result<void> load_object();
    Result<void> load_slots();
    Result<void> accept(Result<LoadedProgram> loaded);
    Result<void> fill_maps();
    Result<void> run();
    Result<void> run_packets();
    bool is_iterator() const;
    void run_due();
    Result<std::vector<BytesInput>> iteration();
    Result<std::shared_ptr<Map>> iterated_map(bool of_sockets) const;
    Result<std::vector<BytesInput>> elements(Map& map, const BytesInput& context) const;
    std::string_view iterator_target() const;
    Result<void> dump_maps();
    Result<void> open_events();

    Result<void> parse_clock();
    Result<Services::Task> parse_task() const;
    Result<std::vector<std::byte>> input() const;
    Result<std::vector<ContextEdit>> context_edits() const;
    Result<std::vector<std::byte>> context_bytes() const;
    Services services();
    ReplayOptions replay_options();
    void trace(std::string_view line);
    Error load_error(Error error);
    Result<std::shared_ptr<Map>> find_map(std::string_view name) const;

    Result<void> set_program(Map& array, uint32_t index, std::string_view name) override;
    Result<void> set_inner(Map& outer, std::span<const std::byte> key,
                           std::string_view name) override;
    uint32_t device(std::string_view name) override;
    std::string program_name(uint32_t id) const override;
    std::string map_name(uint32_t id) const override;
    std::string device_name(uint32_t number) const override;
    std::vector<Variable> variables(const MapDef& def) const override;
    std::string redirect_name(const RedirectTarget& target) const;

    const RunOptions& options_;
    std::optional<Vm> vm_;
    std::optional<Object> object_;
    std::vector<std::byte> raw_data_;
    uint32_t attach_type_ = 0;
    Exit failure_ = Exit::BadUsage;  // what an error means at this stage
    uint64_t now_ = 1'000'000'000;   // the clock that programs see
    bool real_clock_ = false;
    bool packet_clock_ = false;
    uint64_t random_ = 0;
    Services::Task task_;
    std::map<std::string, LoadedProgram, std::less<>> programs_;  // of program arrays
    std::mutex sockets_mutex_;
    std::map<uint64_t, SockContext> sockets_;  // by number in a socket map
    std::map<std::pair<int32_t, int32_t>, std::vector<std::byte>> socket_options_;
    std::string seq_;  // what an iterator program wrote so far
    // struct bpf_iter_meta of iterator programs: output, session, number.
    std::array<uint64_t, 3> iter_meta_ = {kIterMetaAddress + 0x1000, 1, 0};
    std::vector<std::string> devices_;  // number = index + kFirstDevice
};

}  // namespace skep::tool
