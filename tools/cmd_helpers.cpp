// `skep helpers`: every helper of Linux by number, its prototype, who may call it, and whether it
// does its work here or is only known to the verifier.
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <skep/helper.hpp>

#include "helpers/kfunc.hpp"
#include "helpers/table.hpp"
#include "tools/btf_json.hpp"
#include "tools/commands.hpp"
#include "tools/text.hpp"

namespace skep::tool {
namespace {

struct Flag {
    uint32_t bit;
    const char* name;
};
constexpr Flag kFlags[] = {{helper_flag::kGplOnly, "gpl_only"},
                           {helper_flag::kPacketArgs, "packet_args"},
                           {helper_flag::kChangesPacket, "changes_packet"},
                           {helper_flag::kMaySleep, "may_sleep"},
                           {helper_flag::kAcquires, "acquires"}};

bool works_here(const Helper& helper) { return (helper.flags & helper_flag::kKernelOnly) == 0; }

std::vector<std::string> flags_of(const Helper& helper) {
    std::vector<std::string> names;
    for (const Flag& flag : kFlags) {
        if ((helper.flags & flag.bit) != 0) names.emplace_back(flag.name);
    }
    return names;
}

std::vector<std::string> types_of(const Helper& helper) {
    std::vector<std::string> names;
    for (const ProgType& type : prog_types()) {
        if (type.kind != ProgKind::Unspec && (helper.types & type_bit(type.kind)) != 0) {
            names.emplace_back(type.name);
        }
    }
    return names;
}

Json helpers_json() {
    Json list = Json::array();
    for (const Helper& helper : helpers()) {
        list.push_back({{"number", helper.id},
                        {"name", "bpf_" + std::string(helper.name)},
                        {"prototype", describe(helper)},
                        {"summary", helper.summary},
                        {"flags", flags_of(helper)},
                        {"types", types_of(helper)},
                        {"available", works_here(helper)}});
    }
    return list;
}

Table helpers_table() {
    using Align = Table::Align;
    Table table({"NUMBER", "HELPER", "HERE", "WHAT IT DOES"},
                {Align::Right, Align::Left, Align::Left, Align::Left});
    for (const Helper& helper : helpers()) {
        table.add({std::to_string(helper.id), describe(helper), works_here(helper) ? "yes" : "no",
                   std::string(helper.summary)});
    }
    return table;
}

// "u32 bpf_cpumask_first(const struct cpumask * cpumask)"
std::string describe_kfunc(const Kfunc& kfunc) {
    return std::string(kfunc.result) + " " + std::string(kfunc.name) + "(" +
           std::string(kfunc.parameters) + ")";
}

Json kfuncs_json() {
    Json list = Json::array();
    for (const Kfunc& kfunc : kfuncs()) {
        std::vector<std::string> types;
        for (const ProgType& type : prog_types()) {
            if (type.kind != ProgKind::Unspec && (kfunc.types & type.groups) != 0)
                types.emplace_back(type.name);
        }
        list.push_back({{"name", kfunc.name},
                        {"prototype", describe_kfunc(kfunc)},
                        {"types", types},
                        {"available", kfunc.run != nullptr}});
    }
    return list;
}

Table kfuncs_table() {
    using Align = Table::Align;
    Table table({"KERNEL FUNCTION", "HERE"}, {Align::Left, Align::Left});
    for (const Kfunc& kfunc : kfuncs())
        table.add({describe_kfunc(kfunc), kfunc.run != nullptr ? "yes" : "no"});
    return table;
}

void print_kfuncs(const std::string& format) {
    if (format == "json") {
        print(kfuncs_json().dump(2) + "\n");
    } else if (format == "markdown") {
        print(kfuncs_table().markdown());
    } else {
        print(kfuncs_table().text(Colour(stdout)));
    }
}

void print_helpers(const std::string& format) {
    if (format == "json") {
        print(helpers_json().dump(2) + "\n");
    } else if (format == "markdown") {
        print(helpers_table().markdown());
    } else {
        print(helpers_table().text(Colour(stdout)));
    }
}

}  // namespace

void add_helpers(CLI::App& app, Exit& exit) {
    auto* command = app.add_subcommand("helpers", "List the helpers that programs may call");
    auto format = std::make_shared<std::string>("text");
    command->add_option("--format", *format, "text, markdown or json")
        ->check(CLI::IsMember({"text", "markdown", "json"}))
        ->capture_default_str();
    auto functions = std::make_shared<bool>(false);
    command->add_flag("--kfuncs", *functions, "List the kernel functions (kfuncs) instead");
    command->footer(
        "A helper that is not HERE exists only inside a kernel: programs that call it load, and a\n"
        "run that reaches the call asks the host that embeds the library (Services::helper); "
        "where\n"
        "there is none, as in `skep run`, it ends with the trap `unsupported`. Kernel functions "
        "that "
        "are\n"
        "not HERE do the same; a host brings its own with Vm::add_kfunc.\n\n"
        "Examples:\n"
        "  skep helpers\n"
        "  skep helpers --kfuncs\n"
        "  skep helpers --format json | jq -r '.[] | select(.available).name'");
    command->callback([&exit, format, functions] {
        *functions ? print_kfuncs(*format) : print_helpers(*format);
        exit = Exit::Done;
    });
}

}  // namespace skep::tool
