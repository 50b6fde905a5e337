// `skep maps`: the map types, what a definition may say and what can be done with them.
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "maps/map_types.hpp"
#include "tools/btf_json.hpp"
#include "tools/commands.hpp"
#include "tools/text.hpp"

namespace skep::tool {
namespace {

struct Operation {
    uint32_t bit;
    const char* name;
};
constexpr Operation kProgramOps[] = {{map_ops::kLookup, "lookup"},
                                     {map_ops::kUpdate, "update"},
                                     {map_ops::kErase, "delete"},
                                     {map_ops::kPush, "push"},
                                     {map_ops::kPop, "pop"},
                                     {map_ops::kPeek, "peek"},
                                     {map_ops::kPercpu, "lookup_percpu"},
                                     {map_ops::kForEach, "for_each"},
                                     {map_ops::kLookupMap, "lookup_map"},
                                     {map_ops::kTailCall, "tail_call"},
                                     {map_ops::kRedirect, "redirect"},
                                     {map_ops::kOutput, "output"},
                                     {map_ops::kReserve, "reserve"},
                                     {map_ops::kDrain, "drain"},
                                     {map_ops::kStackId, "get_stackid"},
                                     {map_ops::kStorage, "storage"},
                                     {map_ops::kLocalStorage, "local_storage"},
                                     {map_ops::kUnderCgroup, "under_cgroup"},
                                     {map_ops::kDirectValue, "direct_value"}};
constexpr Operation kHostOps[] = {{map_ops::kHostLookup, "lookup"},
                                  {map_ops::kHostUpdate, "update"},
                                  {map_ops::kHostErase, "delete"},
                                  {map_ops::kNextKey, "next_key"},
                                  {map_ops::kBatch, "batch"}};

std::vector<std::string> operations(const MapTypeInfo& info, std::span<const Operation> all) {
    std::vector<std::string> names;
    for (const Operation& op : all) {
        if (info.has(op.bit)) names.emplace_back(op.name);
    }
    return names;
}

const char* key_text(MapKeyRule rule) {
    switch (rule) {
        case MapKeyRule::None: return "none";
        case MapKeyRule::U32: return "4 bytes";
        case MapKeyRule::Any: return "any";
        case MapKeyRule::Lpm: return "prefix length and data";
        case MapKeyRule::Object: return "object";
        case MapKeyRule::Storage: return "cgroup storage key";
    }
    return "";
}

const char* value_text(MapValueRule rule) {
    switch (rule) {
        case MapValueRule::None: return "none";
        case MapValueRule::U32: return "4 bytes";
        case MapValueRule::U32orU64: return "4 or 8 bytes";
        case MapValueRule::Any: return "any";
        case MapValueRule::Percpu: return "any, one per CPU";
        case MapValueRule::Dev: return "4 or 8 bytes";
        case MapValueRule::Stack: return "8 bytes per frame";
    }
    return "";
}

bool can_be_made(const MapTypeInfo& info) { return info.state == MapState::Here; }

Json maps_json() {
    Json list = Json::array();
    for (const MapTypeInfo& info : map_types()) {
        list.push_back({{"name", info.name},
                        {"number", static_cast<uint32_t>(info.type)},
                        {"key", key_text(info.key)},
                        {"value", value_text(info.value)},
                        {"flags", info.flags},
                        {"program", operations(info, kProgramOps)},
                        {"host", operations(info, kHostOps)},
                        {"available", can_be_made(info)}});
    }
    return list;
}

std::string joined(const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
    return text;
}

Table maps_table() {
    using Align = Table::Align;
    Table table({"MAP TYPE", "NUMBER", "KEY", "VALUE", "PROGRAMS", "HERE"},
                {Align::Left, Align::Right, Align::Left, Align::Left, Align::Left, Align::Left});
    for (const MapTypeInfo& info : map_types()) {
        table.add({std::string(info.name), std::to_string(static_cast<uint32_t>(info.type)),
                   key_text(info.key), value_text(info.value),
                   joined(operations(info, kProgramOps)), can_be_made(info) ? "yes" : "no"});
    }
    return table;
}

void print_maps(const std::string& format) {
    if (format == "json") {
        print(maps_json().dump(2) + "\n");
    } else if (format == "markdown") {
        print(maps_table().markdown());
    } else {
        print(maps_table().text(Colour(stdout)));
    }
}

}  // namespace

void add_maps(CLI::App& app, Exit& exit) {
    auto* command = app.add_subcommand("maps", "List the map types and what can be done with them");
    auto format = std::make_shared<std::string>("text");
    command->add_option("--format", *format, "text, markdown or json")
        ->check(CLI::IsMember({"text", "markdown", "json"}))
        ->capture_default_str();
    command->footer(
        "Examples:\n"
        "  skep maps\n"
        "  skep maps --format markdown");
    command->callback([&exit, format] {
        print_maps(*format);
        exit = Exit::Done;
    });
}

}  // namespace skep::tool
