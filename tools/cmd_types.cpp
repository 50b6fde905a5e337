// `skep types`: program types, the sections that name them, and their contexts.
#include <algorithm>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/btf_json.hpp"
#include "tools/commands.hpp"
#include "tools/text.hpp"
#include "vm/prog/prog_type.hpp"

namespace skep::tool {
namespace {

std::vector<std::string> sections_of(const ProgType& type) {
    std::vector<std::string> names;
    for (const SectionType& section : section_types()) {
        if (section.type->kind == type.kind) names.emplace_back(section.pattern);
    }
    // The plain names first; they are what people look for.
    std::stable_sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
        return a.size() < b.size();
    });
    return names;
}

std::vector<std::string> verdicts_of(const ProgType& type) {
    std::vector<std::string> names;
    for (size_t i = 0; i < type.verdicts.size(); ++i) {
        if (!type.verdicts[i].empty()) {
            names.push_back(std::to_string(i) + " " + std::string(type.verdicts[i]));
        }
    }
    if (!type.verdict_unspec.empty()) names.push_back("-1 " + std::string(type.verdict_unspec));
    if (!type.verdict_other.empty()) names.push_back("else " + std::string(type.verdict_other));
    return names;
}

std::string joined(const std::vector<std::string>& names, size_t at_most) {
    std::string text;
    for (size_t i = 0; i < names.size() && i < at_most; ++i) text += (i > 0 ? ", " : "") + names[i];
    if (names.size() > at_most) text += ", ... (" + std::to_string(names.size()) + ")";
    return text;
}

std::string_view kind_name(CtxFieldKind kind) {
    switch (kind) {
        case CtxFieldKind::Scalar: return "scalar";
        case CtxFieldKind::PacketStart: return "packet_start";
        case CtxFieldKind::PacketEnd: return "packet_end";
        case CtxFieldKind::PacketMeta: return "packet_meta";
        case CtxFieldKind::SocketPtr: return "socket";
        case CtxFieldKind::SockCommonPtr: return "sock_common";
        case CtxFieldKind::FlowKeysPtr: return "flow_keys";
        case CtxFieldKind::BufferPtr: return "buffer";
        case CtxFieldKind::BufferEndPtr: return "buffer_end";
        case CtxFieldKind::BtfPtr: return "btf";
    }
    return "";
}

Json types_json() {
    Json list = Json::array();
    for (const ProgType& type : prog_types()) {
        Json row;
        row["name"] = type.name;
        row["uapi_name"] = type.uapi_name;
        row["number"] =
            type.kind == ProgKind::Raw ? Json(nullptr) : Json(static_cast<uint32_t>(type.kind));
        row["packet"] = type.packet;
        row["packet_writable"] = type.packet_writable;
        row["context"] = type.ctx->name;
        row["context_size"] = type.ctx->size;
        row["fields"] = Json::array();
        for (const CtxField& field : type.ctx->fields) {
            if (field.name.empty()) continue;
            row["fields"].push_back({{"name", field.name},
                                     {"offset", field.off},
                                     {"size", field.size},
                                     {"kind", kind_name(field.kind)},
                                     {"readable", field.readable},
                                     {"writable", field.writable}});
        }
        row["verdicts"] = Json::object();
        for (size_t i = 0; i < type.verdicts.size(); ++i) {
            if (!type.verdicts[i].empty()) row["verdicts"][std::to_string(i)] = type.verdicts[i];
        }
        if (!type.verdict_unspec.empty()) row["verdicts"]["-1"] = type.verdict_unspec;
        if (!type.verdict_other.empty()) row["verdicts"]["else"] = type.verdict_other;
        row["sections"] = sections_of(type);
        list.push_back(std::move(row));
    }
    return list;
}

Table types_table(bool all) {
    using Align = Table::Align;
    Table table({"TYPE", "CONTEXT", "PACKET", "RETURNS", "SECTIONS"},
                {Align::Left, Align::Left, Align::Left, Align::Left, Align::Left});
    for (const ProgType& type : prog_types()) {
        const std::string packet = !type.packet           ? ""
                                   : type.packet_writable ? "read, write"
                                                          : "read";
        table.add({std::string(type.name), std::string(type.ctx->name), packet,
                   joined(verdicts_of(type), all ? 64 : 5),
                   joined(sections_of(type), all ? 256 : 4)});
    }
    return table;
}

void print_types(const std::string& format) {
    if (format == "json") {
        print(types_json().dump(2) + "\n");
    } else if (format == "markdown") {
        print(types_table(true).markdown());
    } else {
        print(types_table(false).text(Colour(stdout)));
    }
}

}  // namespace

void add_types(CLI::App& app, Exit& exit) {
    auto* command =
        app.add_subcommand("types", "List the program types, their contexts and sections");
    auto format = std::make_shared<std::string>("text");
    command->add_option("--format", *format, "text, markdown or json")
        ->check(CLI::IsMember({"text", "markdown", "json"}))
        ->capture_default_str();
    command->footer(
        "Examples:\n"
        "  skep types\n"
        "  skep types --format json | jq '.[] | select(.name == \"xdp\").fields'");
    command->callback([&exit, format] {
        print_types(*format);
        exit = Exit::Done;
    });
}

}  // namespace skep::tool
