// What `skep run` prints: one JSON object, or text for people.
#include "tools/run.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "tools/report_json.hpp"
#include "tools/session.hpp"
#include "tools/text.hpp"

namespace skep::tool {
namespace {

std::string hex_number(uint64_t value) {
    char text[32];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

const char* engine_name(Engine engine) { return engine == Engine::Jit ? "jit" : "interp"; }
const char* mode_name(Mode mode) { return mode == Mode::Sandbox ? "sandbox" : "verified"; }

// Every return value that has a name, with the name.
std::vector<std::pair<uint32_t, std::string_view>> named_verdicts(const ProgType& type) {
    std::vector<std::pair<uint32_t, std::string_view>> names;
    for (size_t i = 0; i < type.verdicts.size(); ++i) {
        if (!type.verdicts[i].empty()) names.emplace_back(i, type.verdicts[i]);
    }
    if (!type.verdict_unspec.empty()) names.emplace_back(~uint32_t{0}, type.verdict_unspec);
    return names;
}

struct Verdicts {
    std::vector<std::pair<std::string, uint64_t>> named;
    std::map<uint32_t, uint64_t> other;  // without a name, by value
};

Verdicts verdicts_of(const ProgType& type, const Outcome& outcome) {
    Verdicts verdicts;
    const auto names = named_verdicts(type);
    for (const auto& [value, name] : names) {
        verdicts.named.emplace_back(name, outcome.returned(value));
    }
    std::map<uint32_t, uint64_t> rest = outcome.others;
    for (uint32_t value = 0; value < outcome.low.size(); ++value) {
        if (outcome.low[value] != 0) rest[value] = outcome.low[value];
    }
    for (const auto& [value, name] : names) rest.erase(value);
    uint64_t unnamed = 0;
    for (const auto& [value, count] : rest) unnamed += count;
    if (!type.verdict_other.empty()) {
        verdicts.named.emplace_back(type.verdict_other, unnamed);
    } else {
        verdicts.other = std::move(rest);
        // A code that XDP does not have ends as XDP_ABORTED.
        if (type.kind == ProgKind::Xdp) verdicts.named[0].second += unnamed;
    }
    return verdicts;
}

double packets_per_second(const Outcome& outcome) {
    if (outcome.timed_ns == 0) return 0;
    return static_cast<double>(outcome.timed_runs) * 1e9 / static_cast<double>(outcome.timed_ns);
}

double ns_per_run(const Outcome& outcome) {
    if (outcome.timed_runs == 0) return 0;
    return static_cast<double>(outcome.timed_ns) / static_cast<double>(outcome.timed_runs);
}

// --- JSON
// -----------------------------------------------------------------------------------------

Json packets_json(const RunReport& report) {
    const Outcome& outcome = *report.outcome;
    const Verdicts verdicts = verdicts_of(*report.type, outcome);
    Json packets;
    packets["total"] = outcome.total;
    packets["trapped"] = outcome.trapped;
    for (const auto& [name, count] : verdicts.named) packets[name] = count;
    packets["other"] = Json::object();
    for (const auto& [value, count] : verdicts.other) {
        packets["other"][std::to_string(value)] = count;
    }
    return packets;
}

Json rows_json(const RunReport& report) {
    Json rows = Json::array();
    for (const PacketRow& row : report.outcome->rows) {
        const std::string_view name =
            row.trapped ? "trapped" : verdict_name(*report.type, row.retval);
        Json entry{{"n", row.number},
                   {"retval", row.trapped ? Json(nullptr) : Json(row.retval)},
                   {"verdict", name.empty() ? Json(nullptr) : Json(name)},
                   {"len", row.length}};
        if (row.truncated) entry["truncated"] = true;
        rows.push_back(std::move(entry));
    }
    return rows;
}

Json trap_json(const TrapInfo& trap) {
    return {{"code", name_of(trap.code)},
            {"slot", trap.slot},
            {"file", trap.file.empty() ? Json(nullptr) : Json(trap.file)},
            {"line", trap.line == 0 ? Json(nullptr) : Json(trap.line)},
            {"message", trap.message}};
}

double microseconds(uint64_t ns) { return static_cast<double>(ns) / 1e3; }

Json report_json(const RunOptions& options, const RunReport& report, const Error* error) {
    const bool ran = report.outcome.has_value();
    const bool value = ran && report.outcome->total > 0 && report.outcome->first.ok();
    const LoadTimes times = report.loaded ? report.loaded.times() : LoadTimes{};
    const bool sandbox =
        report.loaded ? report.loaded.mode() == Mode::Sandbox : options.mode == "sandbox";
    Json json;
    json["program"] = report.program.empty() ? Json(nullptr) : Json(report.program);
    json["engine"] = report.loaded ? Json(engine_name(report.loaded.engine())) : Json(nullptr);
    json["mode"] = sandbox ? "sandbox" : "verified";
    json["policy"] = options.policy;
    json["retval"] = value ? Json(report.retval()) : Json(nullptr);
    json["retval_hex"] = value ? Json(hex_number(report.retval())) : Json(nullptr);
    json["trap"] = ran && report.outcome->trap ? trap_json(*report.outcome->trap) : Json(nullptr);
    json["error"] = error != nullptr ? error_json(*error) : Json(nullptr);
    json["repeat"] = std::max<uint64_t>(options.repeat, 1);
    json["ns_per_run"] =
        ran && options.repeat != 0 ? Json(ns_per_run(*report.outcome)) : Json(nullptr);
    json["load_us"] = microseconds(report.load_ns);
    json["verify_us"] = microseconds(times.verify_ns);
    json["jit_us"] = microseconds(times.compile_ns);
    json["code_bytes"] = report.loaded ? report.loaded.code_bytes() : 0;
    json["data_out"] =
        ran && report.outcome->has_data ? Json(to_hex(report.outcome->first_data)) : Json(nullptr);
    json["packets"] = nullptr;
    json["packets_per_s"] = nullptr;
    if (ran && report.from_capture) {
        json["packets"] = packets_json(report);
        if (options.per_packet) json["packets"]["rows"] = rows_json(report);
        json["packets_per_s"] = packets_per_second(*report.outcome);
    }
    json["trace"] = report.trace;
    json["maps"] = Json::object();
    for (const auto& [name, contents] : report.maps) json["maps"][name] = contents;
    if (!report.seq.empty()) json["seq"] = report.seq;
    if (report.has_events) json["events"] = report.events.json();
    return json;
}

// --- text
// -----------------------------------------------------------------------------------------

std::string percent(uint64_t part, uint64_t whole) {
    char text[32];
    std::snprintf(
        text, sizeof text, "%.1f%%",
        whole == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole));
    return text;
}

void print_rows(const RunReport& report) {
    using Align = Table::Align;
    Table table({"PACKET", "VERDICT", "RETVAL", "LENGTH", ""},
                {Align::Right, Align::Left, Align::Right, Align::Right, Align::Left});
    for (const PacketRow& row : report.outcome->rows) {
        const std::string name(row.trapped ? "trapped" : verdict_name(*report.type, row.retval));
        table.add({std::to_string(row.number), name, row.trapped ? "" : std::to_string(row.retval),
                   std::to_string(row.length), row.truncated ? "truncated" : ""});
    }
    if (!table.empty()) print(table.text(Colour(stdout)) + "\n");
}

void print_packets(const RunReport& report) {
    using Align = Table::Align;
    const Outcome& outcome = *report.outcome;
    print(with_commas(outcome.total) + " packets, " +
          duration(static_cast<double>(outcome.timed_ns)) + ", " +
          rate(packets_per_second(outcome)) + "packets/s\n\n");
    Table table({"VERDICT", "PACKETS", "SHARE"}, {Align::Left, Align::Right, Align::Right});
    const Verdicts verdicts = verdicts_of(*report.type, outcome);
    for (const auto& [name, count] : verdicts.named) {
        if (count != 0) table.add({name, with_commas(count), percent(count, outcome.total)});
    }
    for (const auto& [value, count] : verdicts.other) {
        const bool xdp = report.type->kind == ProgKind::Xdp;
        table.add({(xdp ? "  of these " : "") + std::to_string(value), with_commas(count),
                   percent(count, outcome.total)});
    }
    if (outcome.trapped != 0) {
        table.add(
            {"trapped", with_commas(outcome.trapped), percent(outcome.trapped, outcome.total)});
    }
    print(table.text(Colour(stdout)));
}

void print_single(const RunOptions& options, const RunReport& report) {
    const Outcome& outcome = *report.outcome;
    if (outcome.first.ok()) {
        const std::string_view verdict = verdict_name(*report.type, report.retval());
        print("retval " + std::to_string(report.retval()) + " (" + hex_number(report.retval()) +
              ")" + (verdict.empty() ? "" : " " + std::string(verdict)) + "\n");
        if (outcome.has_data && !outcome.first_data.empty() && outcome.first_data.size() <= 256) {
            print("data_out " + to_hex(outcome.first_data) + "\n");
        }
    }
    if (options.repeat != 0) {
        print(with_commas(outcome.total) + " runs, " + duration(ns_per_run(outcome)) +
              " per run\n");
    }
}

void print_report(const RunOptions& options, const RunReport& report) {
    const Colour colour(stdout);
    print(std::string(colour.bold) + escaped(report.program) + colour.plain + " (" +
          std::string(report.type->name) + ") of " + escaped(report.object) + ", " +
          engine_name(report.loaded.engine()) + ", " + mode_name(report.loaded.mode()) + "\n");
    if (options.per_packet) print_rows(report);
    if (report.from_capture) {
        print_packets(report);
    } else {
        print_single(options, report);
    }
    // Control characters of the output are the program's, line ends its own.
    for (size_t at = 0; at < report.seq.size();) {
        const size_t end = std::min(report.seq.find('\n', at), report.seq.size());
        print(escaped(std::string_view(report.seq).substr(at, end - at)) + "\n");
        at = end + 1;
    }
    if (const std::string events = report.events.text(); !events.empty()) print("\n" + events);
    for (const auto& [name, contents] : report.maps) {
        print("\n" + std::string(colour.bold) + escaped(name) + colour.plain + "\n" +
              pretty(contents) + "\n");
    }
    if (!report.outcome->trap) return;
    const TrapInfo& trap = *report.outcome->trap;
    std::string place = "slot " + std::to_string(trap.slot);
    if (!trap.file.empty()) {
        place += ", " + escaped(trap.file) + ":" + std::to_string(trap.line);
    }
    report_trap("trap " + std::string(name_of(trap.code)) + " at " + place + ": " +
                escaped(trap.message));
}

}  // namespace

Exit run_program(const RunOptions& options) {
    Session session(options);
    Exit exit = Exit::Done;
    const auto done = session.execute(exit);
    const RunReport& report = session.report;
    if (options.json) {
        const Json json = report_json(options, report, done ? nullptr : &done.error());
        print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    } else if (done) {
        print_report(options, report);
    }
    if (report.truncated != 0) {
        warn(with_commas(report.truncated) +
             " packets are cut short in the capture; programs see what it holds");
    }
    if (report.trace_dropped != 0) {
        warn(with_commas(report.trace_dropped) + " more lines of bpf_printk were dropped");
    }
    return done ? exit : tool::report(done.error(), exit);
}

}  // namespace skep::tool
