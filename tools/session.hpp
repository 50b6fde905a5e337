// One `skep run`: the Vm with its injected services, the program, its maps and its input.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <skep/vm.hpp>

#include "tools/btf_json.hpp"
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
    std::vector<std::pair<std::string, Json>> maps;  // dumped ones

    // The return value as wide as the type has it.
    uint64_t retval() const;
};

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
    Result<void> dump_maps();

    Result<void> parse_clock();
    Result<Services::Task> parse_task() const;
    Result<std::vector<std::byte>> input() const;
    Result<std::vector<ContextEdit>> context_edits() const;
    Result<std::vector<std::byte>> context_bytes() const;
    Services services();
    ReplayOptions replay_options() const;
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
    std::vector<std::string> devices_;                            // number = index + kFirstDevice
};

}  // namespace skep::tool
