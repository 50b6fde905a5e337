// `skep inspect`: what an object has, and what can be configured before it is loaded.
#include <array>
#include <memory>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "maps/map_types.hpp"
#include "tools/btf_json.hpp"
#include "tools/commands.hpp"
#include "tools/source.hpp"
#include "tools/text.hpp"
#include "vm/base/try.hpp"
#include "vm/btf/btf.hpp"

namespace skep::tool {
namespace {

struct Options {
    SourceOptions source;
    bool json = false;
};

std::string map_type_text(const MapDef& def) {
    const MapTypeInfo* info = map_type_info(def.type);
    return info == nullptr ? std::to_string(static_cast<uint32_t>(def.type))
                           : std::string(info->name);
}

std::string_view what_text(ObjectExtern::What what) {
    switch (what) {
        case ObjectExtern::What::Kconfig: return "kconfig";
        case ObjectExtern::What::Variable: return "variable";
        case ObjectExtern::What::Kfunc: return "kfunc";
        case ObjectExtern::What::Unknown: return "unknown";
    }
    return "";
}

std::string_view what_text(ObjectRelocation::What what) {
    switch (what) {
        case ObjectRelocation::What::Map: return "map";
        case ObjectRelocation::What::Data: return "data";
        case ObjectRelocation::What::Call: return "call";
        case ObjectRelocation::What::FunctionAddress: return "function_address";
        case ObjectRelocation::What::Extern: return "extern";
        case ObjectRelocation::What::Core: return "core";
        case ObjectRelocation::What::Unknown: return "unknown";
    }
    return "";
}

std::string type_text(const MapDef& def, uint32_t type, uint32_t size) {
    if (def.btf != nullptr && type != 0) return def.btf->type_name(type);
    return size == 0 ? "" : std::to_string(size) + " bytes";
}

std::array<uint32_t, kBtfKinds> count_kinds(const Btf& btf) {
    std::array<uint32_t, kBtfKinds> counts{};
    for (uint32_t id = 1; id < btf.type_count(); ++id) {
        ++counts[static_cast<size_t>(btf.type(id).kind())];
    }
    return counts;
}

// --- JSON
// -----------------------------------------------------------------------------------------

Json or_null(std::string_view text) { return text.empty() ? Json(nullptr) : Json(text); }

Json map_json(const MapDef& def) {
    Json json{{"name", def.name},
              {"type", map_type_text(def)},
              {"key_size", def.key_size},
              {"value_size", def.value_size},
              {"max_entries", def.max_entries},
              {"flags", def.flags},
              {"key_type", or_null(def.key_btf == 0 ? "" : type_text(def, def.key_btf, 0))},
              {"value_type", or_null(def.value_btf == 0 ? "" : type_text(def, def.value_btf, 0))},
              {"frozen", def.frozen},
              {"pin_by_name", def.pin_by_name}};
    json["inner"] = def.inner == nullptr ? Json(nullptr) : map_json(*def.inner);
    json["init"] = Json::array();
    for (const MapInit& init : def.init) {
        json["init"].push_back({{"index", init.index}, {"target", init.target}});
    }
    return json;
}

Json btf_json(const std::shared_ptr<const Btf>& btf) {
    if (btf == nullptr) return nullptr;
    Json kinds = Json::object();
    const auto counts = count_kinds(*btf);
    for (size_t kind = 1; kind < counts.size(); ++kind) {
        if (counts[kind] != 0) {
            kinds[std::string(name_of(static_cast<BtfKind>(kind)))] = counts[kind];
        }
    }
    return {{"types", btf->type_count()}, {"kinds", std::move(kinds)}};
}

Json inspect_json(const Object& object) {
    Json json;
    json["object"] = object.name();
    json["license"] = or_null(object.license());
    json["gpl_compatible"] = object.gpl_compatible();
    json["programs"] = Json::array();
    for (const ObjectProgram& p : object.programs()) {
        json["programs"].push_back({{"name", p.name},
                                    {"section", p.section},
                                    {"type", or_null(p.type_name)},
                                    {"attach_type", p.attach_type},
                                    {"attach_target", or_null(p.attach_target)},
                                    {"autoload", p.autoload},
                                    {"sleepable", p.sleepable},
                                    {"insns", p.insn_count}});
    }
    json["functions"] = Json::array();
    for (const ObjectFunction& f : object.functions()) {
        json["functions"].push_back({{"name", f.name},
                                     {"section", f.section},
                                     {"global", f.is_global},
                                     {"insns", f.insn_count}});
    }
    json["maps"] = Json::array();
    for (const MapDef& def : object.maps()) json["maps"].push_back(map_json(def));
    json["globals"] = Json::array();
    for (const ObjectGlobal& g : object.globals()) {
        json["globals"].push_back({{"name", g.name},
                                   {"section", g.section},
                                   {"type", or_null(g.type)},
                                   {"offset", g.offset},
                                   {"size", g.size},
                                   {"constant", g.constant},
                                   {"static", g.is_static}});
    }
    json["externs"] = Json::array();
    for (const ObjectExtern& e : object.externs()) {
        json["externs"].push_back({{"kind", what_text(e.what)},
                                   {"name", e.name},
                                   {"type", or_null(e.type)},
                                   {"weak", e.weak},
                                   {"value", e.is_set ? Json(e.value) : Json(nullptr)}});
    }
    json["relocations"] = Json::array();
    for (const ObjectRelocation& r : object.relocations()) {
        json["relocations"].push_back({{"kind", what_text(r.what)},
                                       {"section", r.section},
                                       {"slot", r.slot},
                                       {"type", r.type},
                                       {"symbol", r.symbol},
                                       {"addend", r.addend}});
    }
    json["btf"] = btf_json(object.btf());
    return json;
}

// --- text
// -----------------------------------------------------------------------------------------

using Align = Table::Align;

void print_section(const std::string& title, const Table& table) {
    if (table.empty()) return;
    const Colour colour(stdout);
    print("\n" + std::string(colour.cyan) + title + colour.plain + "\n" + table.text(colour));
}

void print_programs(const Object& object) {
    Table programs({"PROGRAM", "SECTION", "TYPE", "SLOTS", ""},
                   {Align::Left, Align::Left, Align::Left, Align::Right, Align::Left});
    for (const ObjectProgram& p : object.programs()) {
        std::string notes = p.autoload ? "" : "not autoloaded";
        if (p.sleepable) notes += notes.empty() ? "sleepable" : ", sleepable";
        programs.add({escaped(p.name), escaped(p.section),
                      p.type == nullptr ? "unknown" : std::string(p.type_name),
                      std::to_string(p.insn_count), notes});
    }
    print_section("Programs", programs);
    Table functions({"FUNCTION", "SECTION", "SLOTS", ""},
                    {Align::Left, Align::Left, Align::Right, Align::Left});
    for (const ObjectFunction& f : object.functions()) {
        functions.add({escaped(f.name), escaped(f.section), std::to_string(f.insn_count),
                       f.is_global ? "global" : "static"});
    }
    print_section("Functions", functions);
}

void print_maps(const Object& object) {
    Table maps({"MAP", "TYPE", "KEY", "VALUE", "ENTRIES"},
               {Align::Left, Align::Left, Align::Left, Align::Left, Align::Right});
    for (const MapDef& def : object.maps()) {
        maps.add({escaped(def.name), map_type_text(def),
                  escaped(type_text(def, def.key_btf, def.key_size)),
                  def.name.starts_with('.')
                      ? std::to_string(def.value_size) + " bytes"
                      : escaped(type_text(def, def.value_btf, def.value_size)),
                  with_commas(def.max_entries)});
    }
    print_section("Maps (--map, --map-size, --dump-map)", maps);
}

void print_configuration(const Object& object) {
    Table globals({"GLOBAL", "TYPE", "SECTION", "BYTES"},
                  {Align::Left, Align::Left, Align::Left, Align::Right});
    for (const ObjectGlobal& g : object.globals()) {
        globals.add({escaped(g.name), escaped(g.type), escaped(g.section), std::to_string(g.size)});
    }
    print_section("Globals (--set)", globals);
    Table externs({"EXTERN", "KIND", "TYPE", "VALUE"},
                  {Align::Left, Align::Left, Align::Left, Align::Left});
    for (const ObjectExtern& e : object.externs()) {
        externs.add({escaped(e.name), std::string(what_text(e.what)) + (e.weak ? ", weak" : ""),
                     escaped(e.type), e.is_set ? escaped(e.value) : ""});
    }
    print_section("Externs (--kconfig, --btf)", externs);
}

void print_relocations(const Object& object) {
    std::map<std::string_view, uint64_t> kinds;
    for (const ObjectRelocation& r : object.relocations()) ++kinds[what_text(r.what)];
    Table table({"RELOCATIONS", "COUNT"}, {Align::Left, Align::Right});
    for (const auto& [kind, count] : kinds) table.add({std::string(kind), with_commas(count)});
    print_section("Relocations (--json lists them)", table);
}

void print_object(const Object& object) {
    const Colour colour(stdout);
    std::string head = std::string(colour.bold) + escaped(object.name()) + colour.plain;
    head += object.license().empty() ? ", no licence" : ", licence " + escaped(object.license());
    if (const auto btf = object.btf()) head += ", " + with_commas(btf->type_count()) + " BTF types";
    print(head + "\n");
    print_programs(object);
    print_maps(object);
    print_configuration(object);
    print_relocations(object);
}

Result<void> inspect(const Options& options) {
    SKEP_CHECK(check_source(options.source, false));
    if (!options.source.raw.empty()) {
        return fail(ErrorCode::InvalidArgument,
                    "inspect reads objects; `skep disasm --raw` shows raw programs");
    }
    SKEP_TRY(const Object object, open_object(options.source));
    if (options.json) {
        print(inspect_json(object).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    } else {
        print_object(object);
    }
    return {};
}

}  // namespace

void add_inspect(CLI::App& app, Exit& exit) {
    auto* command = app.add_subcommand("inspect", "Show what an object has and what can be set");
    auto options = std::make_shared<Options>();
    command->add_option("OBJ", options->source.object, "An eBPF object file")->required();
    command->add_flag("--json", options->json, "Print one JSON object instead of text");
    command->footer(
        "Examples:\n"
        "  skep inspect filter.o\n"
        "  skep inspect filter.o --json | jq '.maps[].name'");
    command->callback([&exit, options] {
        const auto done = inspect(*options);
        exit = done ? Exit::Done : report(done.error(), Exit::BadUsage);
    });
}

}  // namespace skep::tool
