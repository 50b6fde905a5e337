// Opening, configuring and selecting; see source.hpp.
#include "tools/source.hpp"

#include <algorithm>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "maps/map_types.hpp"
#include "tools/btf_json.hpp"
#include "tools/kernel_config.hpp"
#include "tools/map_io.hpp"
#include "tools/slots.hpp"
#include "tools/text.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/btf/btf.hpp"

namespace skep::tool {
namespace {

std::string quoted_list(std::vector<std::string> names) {
    for (std::string& name : names) name = "'" + escaped(name) + "'";
    return list_of(names);
}

Result<void> configure_globals(Object& object, const SourceOptions& options) {
    for (const std::string& text : options.globals) {
        SKEP_TRY(const auto pair, split_pair(text, "--set"));
        auto done = object.set_global(pair.first, pair.second);
        if (done) continue;
        Error error = std::move(done).error();
        error.message = "--set " + escaped(text) + ": " + error.message;
        if (error.code == ErrorCode::UnknownGlobal) {
            std::vector<std::string> names;
            for (const ObjectGlobal& global : object.globals()) names.emplace_back(global.name);
            error.message += names.empty() ? "; the object has none"
                                           : "; there are " + quoted_list(std::move(names));
        }
        return std::unexpected(std::move(error));
    }
    return {};
}

std::string map_names(const Object& object) {
    std::vector<std::string> names;
    for (const MapDef& def : object.maps()) names.push_back(def.name);
    return names.empty() ? "the object has no maps" : "there are " + quoted_list(std::move(names));
}

Result<void> configure_sizes(Object& object, const SourceOptions& options) {
    for (const std::string& text : options.map_sizes) {
        SKEP_TRY(const auto pair, split_pair(text, "--map-size"));
        SKEP_TRY(const uint64_t size, parse_number(pair.second, "--map-size"));
        if (!object.find_map(pair.first)) {
            return fail(ErrorCode::NotFound,
                        "--map-size: no map '" + escaped(pair.first) + "'; " + map_names(object));
        }
        if (size == 0 || size > UINT32_MAX) {
            return fail(ErrorCode::InvalidArgument,
                        "--map-size " + escaped(text) + ": entries go from 1 to 4294967295");
        }
        SKEP_CHECK(object.set_map_size(pair.first, static_cast<uint32_t>(size)));
    }
    return {};
}

Result<void> configure_contents(Object& object, const SourceOptions& options) {
    for (const std::string& text : options.maps) {
        SKEP_TRY(const auto pair, split_pair(text, "--map"));
        const auto index = object.find_map(pair.first);
        if (!index) {
            return fail(ErrorCode::NotFound,
                        "--map: no map '" + escaped(pair.first) + "'; " + map_names(object));
        }
        const MapDef& def = object.maps()[*index];
        if (!is_initial_contents(def, pair.second)) continue;
        SKEP_TRY(const std::vector<std::byte> bytes,
                 read_contents(def, pair.second, variables_of(object, def)));
        SKEP_CHECK(object.set_map_contents(def.name, bytes));
    }
    return {};
}

Error unknown_type(const std::string& name) {
    std::vector<std::string> close;
    for (std::string_view similar : similar_types(name)) close.emplace_back(similar);
    return {ErrorCode::UnknownProgramType,
            "--type: no program type or section is called '" + escaped(name) + "'" +
                (close.empty() ? "" : "; close are " + quoted_list(std::move(close))) +
                " (`skep types` lists all)",
            {}};
}

}  // namespace

void add_source_options(CLI::App& command, SourceOptions& options, bool configure) {
    command.add_option("OBJ", options.object, "An eBPF object file");
    command.add_option("--program", options.program,
                       "Function name, else section name, else index; needed if there are several");
    command.add_option("--raw", options.raw,
                       "Instead of OBJ: a file of 8-byte slots; - is standard input");
    const auto many = [&](const char* name, std::vector<std::string>& into, const char* help) {
        return command.add_option(name, into, help)->allow_extra_args(false)->take_all();
    };
    if (!configure) return;
    command.add_option("--type", options.type,
                       "Program type: as `skep types` has it, a UAPI name or a section name");
    command.add_option("--attach-type", options.attach_type, "Attach type, such as tcx_ingress");
    many("--map", options.maps, "NAME=FILE: contents; JSON if FILE ends in .json, else raw bytes");
    many("--map-size", options.map_sizes, "NAME=N: max_entries of a map");
    many("--set", options.globals, "GLOBAL=VALUE: a global variable, before loading");
    command.add_option("--kconfig", options.kconfig,
                       "A kernel configuration, for .kconfig externs; else the running kernel's");
    command.add_option("--btf", options.btf, "Types that CO-RE relocates against (BTF or ELF)");
    command.add_option("--license", options.license, "Raw programs: their licence")
        ->capture_default_str();
    many("--raw-map", options.raw_maps,
         "Raw programs: type=hash,key=8,value=48,entries=1[,flags=N][,inner=INDEX]"
         "[,spin_lock=OFF][,timer=OFF]; the n-th one is map n");
    command.add_option("--raw-size", options.raw_size,
                       "Raw programs of type raw: bytes behind r1 that are declared");
}

Result<void> check_source(const SourceOptions& options, bool type_needed) {
    if (options.object.empty() == options.raw.empty()) {
        return fail(ErrorCode::InvalidArgument,
                    options.raw.empty() ? "give an object file, or a raw program with --raw FILE"
                                        : "OBJ and --raw exclude each other; give one of them");
    }
    if (type_needed && !options.raw.empty() && options.type.empty()) {
        return fail(ErrorCode::InvalidArgument,
                    "--raw needs --type: raw slots do not say what type of program they are "
                    "(`skep types` lists the types; `--type raw` is plain memory)");
    }
    if (options.raw.empty() && !options.raw_maps.empty()) {
        return fail(ErrorCode::InvalidArgument, "--raw-map belongs to --raw; objects bring maps");
    }
    if (!options.raw.empty() && (!options.globals.empty() || !options.map_sizes.empty())) {
        return fail(ErrorCode::InvalidArgument,
                    "--set and --map-size belong to objects; a raw program has no names");
    }
    return {};
}

Result<TypeChoice> find_type(const std::string& name) {
    const TypeChoice choice = parse_type(name);
    if (choice.type == nullptr) return std::unexpected(unknown_type(name));
    return choice;
}

static bool reads_kernel_config(const Object& object) {
    const auto externs = object.externs();
    return std::ranges::any_of(externs, [](const ObjectExtern& e) {
        return e.what == ObjectExtern::What::Kconfig && !e.is_set;
    });
}

Result<Object> open_object(const SourceOptions& options) {
    OpenOptions open;
    open.target_btf_path = options.btf;
    if (!options.type.empty()) SKEP_CHECK(find_type(options.type));
    if (!options.kconfig.empty()) {
        SKEP_TRY(open.kconfig, read_kernel_config(options.kconfig));
    }
    SKEP_TRY(Object object, Object::open_file(options.object, open));
    if (options.kconfig.empty() && reads_kernel_config(object))
        SKEP_CHECK(object.set_kconfig(running_kernel_config()));
    SKEP_CHECK(configure_globals(object, options));
    SKEP_CHECK(configure_sizes(object, options));
    SKEP_CHECK(configure_contents(object, options));
    return object;
}

std::string program_key(const Object& object, size_t index) {
    const auto programs = object.programs();
    const auto name = programs[index].name;
    const auto same = std::count_if(programs.begin(), programs.end(),
                                    [&](const ObjectProgram& p) { return p.name == name; });
    return same == 1 ? std::string(name) : std::to_string(index);
}

Result<size_t> select_program(const Object& object, const std::string& name, bool packet) {
    const auto programs = object.programs();
    if (programs.empty()) {
        return fail(ErrorCode::NotFound,
                    "the object has no programs (`skep inspect` shows what "
                    "it has)",
                    {.object = std::string(object.name())});
    }
    if (!name.empty()) {
        if (const auto index = object.find_program(name)) return *index;
    } else if (programs.size() == 1) {
        return size_t{0};
    } else if (packet) {
        std::optional<size_t> only;
        unsigned found = 0;
        for (size_t i = 0; i < programs.size(); ++i) {
            if (programs[i].type == nullptr || !programs[i].type->packet) continue;
            only = i;
            ++found;
        }
        if (found == 1) return *only;
    }
    std::vector<std::string> names;
    for (const ObjectProgram& program : programs) {
        names.push_back(escaped(program.name) + " (" + escaped(program.section) + ")");
    }
    if (names.size() > 40) {
        const size_t more = names.size() - 40;
        names.resize(40);
        names.push_back(std::to_string(more) + " more");
    }
    return fail(ErrorCode::NotFound,
                (name.empty() ? "the object has " + std::to_string(programs.size()) +
                                    " programs; choose one with --program: "
                              : "--program: no program '" + escaped(name) + "'; there are ") +
                    list_of(names),
                {.object = std::string(object.name())});
}

Result<void> override_type(Object& object, size_t index, const SourceOptions& options) {
    const std::string key = program_key(object, index);
    if (!options.type.empty()) SKEP_CHECK(object.set_program_type(key, options.type));
    if (options.attach_type.empty()) return {};
    const auto number = find_attach_type(options.attach_type);
    if (!number) {
        return fail(ErrorCode::InvalidArgument,
                    "--attach-type: there is no '" + escaped(options.attach_type) +
                        "'; names are Linux's, such as cgroup_inet4_connect or tcx_ingress");
    }
    const ProgType* type = object.programs()[index].type;
    for (const SectionType& section : section_types()) {
        if (type == nullptr || section.type->kind != type->kind) continue;
        if (section.attach_type != *number) continue;
        return object.set_program_type(key, section.pattern);
    }
    return fail(ErrorCode::InvalidArgument,
                "--attach-type: programs of type " +
                    std::string(type == nullptr ? "unspec" : type->name) + " do not attach as " +
                    escaped(options.attach_type));
}

bool is_gpl_compatible(std::string_view license) {
    static constexpr std::string_view kNames[] = {
        "GPL",          "GPL v2",       "GPL and additional rights",
        "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"};
    return std::find(std::begin(kNames), std::end(kNames), license) != std::end(kNames);
}

Result<MapDef> parse_raw_map(const std::string& spec, const std::vector<MapDef>& before) {
    MapDef def;
    def.name = "map" + std::to_string(before.size());
    const std::string option = "--raw-map " + escaped(spec);
    for (size_t at = 0; at <= spec.size();) {
        const size_t comma = std::min(spec.find(',', at), spec.size());
        SKEP_TRY(const auto field, split_pair(spec.substr(at, comma - at), option));
        at = comma + 1;
        const auto& [name, text] = field;
        if (name == "type") {
            if (const MapTypeInfo* info = map_type_by_name(text)) {
                def.type = info->type;
                continue;
            }
        }
        SKEP_TRY(const uint64_t value, parse_number(text, option));
        if (name == "map_extra") {
            def.map_extra = value;
            continue;
        }
        if (value > UINT32_MAX) {
            return fail(ErrorCode::InvalidArgument, option + ": " + name + " has at most 32 bits");
        }
        const auto number = static_cast<uint32_t>(value);
        if (name == "type") {
            def.type = static_cast<MapType>(number);
        } else if (name == "key") {
            def.key_size = number;
        } else if (name == "value") {
            def.value_size = number;
        } else if (name == "entries") {
            def.max_entries = number;
        } else if (name == "flags") {
            def.flags = number;
        } else if (name == "spin_lock") {
            def.fields.push_back({FieldKind::SpinLock, number, 4, 0});
        } else if (name == "timer") {
            def.fields.push_back({FieldKind::Timer, number, 16, 0});
        } else if (name == "inner" && number < before.size()) {
            def.inner = std::make_shared<const MapDef>(before[number]);
        } else if (name == "inner") {
            return fail(ErrorCode::InvalidArgument,
                        option + ": inner is the number of an earlier --raw-map, from 0");
        } else {
            return fail(
                ErrorCode::InvalidArgument,
                option + ": '" + escaped(name) +
                    "' is none of type, key, value, entries, flags, map_extra, inner, spin_lock, "
                    "timer");
        }
    }
    // Where user space maps an arena, unless it is said.
    if (def.type == MapType::Arena && def.map_extra == 0) def.map_extra = kArenaStart;
    std::sort(def.fields.begin(), def.fields.end(),
              [](const SpecialField& a, const SpecialField& b) { return a.offset < b.offset; });
    return def;
}

Result<RawSource> open_raw(const SourceOptions& options) {
    RawSource raw;
    SKEP_TRY(raw.type, find_type(options.type));
    raw.type_name = options.type;
    if (!options.attach_type.empty()) {
        const auto number = find_attach_type(options.attach_type);
        for (const SectionType& section : section_types()) {
            if (!number || section.type != raw.type.type || section.attach_type != *number)
                continue;
            raw.type_name = section.pattern;
        }
        SKEP_TRY(raw.type, find_type(raw.type_name));
    }
    raw.gpl = is_gpl_compatible(options.license);
    for (const std::string& spec : options.raw_maps) {
        SKEP_TRY(MapDef def, parse_raw_map(spec, raw.maps));
        raw.maps.push_back(std::move(def));
    }
    SKEP_TRY(raw.slots, read_slots(options.raw));
    return raw;
}

}  // namespace skep::tool
