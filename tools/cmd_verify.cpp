// `skep verify`: every program of an object through the verifier, and why the refused ones are.
#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "tools/btf_json.hpp"
#include "tools/commands.hpp"
#include "tools/report_json.hpp"
#include "tools/source.hpp"
#include "tools/text.hpp"
#include "verifier/verifier.hpp"
#include "vm/base/try.hpp"
#include "vm/prog/program.hpp"

namespace skep::tool {
namespace {

struct Options {
    SourceOptions source;
    std::string policy = "linux";
    bool all = false;
    unsigned log_level = 0;
    unsigned jobs = 1;
    bool json = false;
};

// One program and what became of it. Filled by one thread.
struct Item {
    std::string name, section, type;
    bool autoload = true;
    std::shared_ptr<const Program> program;  // null: it could not be linked
    Analysis analysis;
};

Policy policy_of(const std::string& name) {
    if (name == "extended") return Policy::Extended;
    if (name == "strict") return Policy::Strict;
    if (name == "hardened") return Policy::Hardened;
    return Policy::Linux;
}

// What Linux knows and Skep lacks is not the program's fault.
Verdict verdict_of(ErrorCode code) {
    switch (code) {
        case ErrorCode::BtfNeeded:
        case ErrorCode::UnsupportedMapType:
        case ErrorCode::UnsupportedHelper:
        case ErrorCode::UnsupportedKfunc: return Verdict::Unsupported;
        default: return Verdict::Rejected;
    }
}

void refuse(Item& item, Error error) {
    item.analysis.verdict = verdict_of(error.code);
    item.analysis.error = std::move(error);
}

void analyze_item(Item& item, const AnalyzeOptions& options) {
    if (item.program == nullptr) return;
    if (item.program->type->kind == ProgKind::Unspec) {
        std::string message = "the section name '" + item.section + "' says no program type";
        std::vector<std::string> close;
        for (std::string_view name : similar_sections(item.section)) close.emplace_back(name);
        if (!close.empty()) message += "; close section names are " + list_of(close);
        refuse(item, {ErrorCode::UnknownProgramType, message + "; --type gives it a type", {}});
        return;
    }
    item.analysis = analyze(*item.program, options);
}

void analyze_all(std::vector<Item>& items, const AnalyzeOptions& options, unsigned jobs) {
    std::atomic<size_t> next{0};
    const auto work = [&] {
        for (size_t i = next++; i < items.size(); i = next++) {
            try {
                analyze_item(items[i], options);
            } catch (const std::bad_alloc&) {
                refuse(items[i], {ErrorCode::OutOfMemory, "not enough memory to verify it", {}});
            }
        }
    };
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < std::min<size_t>(jobs, items.size()); ++i) threads.emplace_back(work);
    work();
}

// Typed kernel pointers need the kernel's types, and which kernel functions there are only they
// say. Where none were given and a program asks for them, the running kernel's serve. Returns their
// path if they were used.
std::string retry_with_kernel_types(std::vector<Item>& items, AnalyzeOptions options) {
    constexpr const char* kKernelTypes = "/sys/kernel/btf/vmlinux";
    const auto needs = [](const Item& item) {
        if (item.program == nullptr) return false;
        const ErrorCode code = item.analysis.error.code;
        return code == ErrorCode::BtfNeeded || code == ErrorCode::UnsupportedKfunc ||
               std::ranges::any_of(item.program->externs, [](const auto& slot) {
                   return slot.second.what == ExternRef::What::Kfunc || slot.second.weak;
               });
    };
    if (options.kernel_btf != nullptr || std::none_of(items.begin(), items.end(), needs)) return {};
    auto types = load_btf(kKernelTypes);
    if (!types) return {};
    options.kernel_btf = *std::move(types);
    for (Item& item : items)
        if (needs(item)) analyze_item(item, options);
    return kKernelTypes;
}

// The program that --program names, else every one that is loaded by itself.
Result<std::vector<size_t>> choose(const Object& object, const Options& options) {
    std::vector<size_t> chosen;
    if (!options.source.program.empty()) {
        SKEP_TRY(const size_t index, select_program(object, options.source.program, false));
        chosen.push_back(index);
        return chosen;
    }
    const auto programs = object.programs();
    for (size_t i = 0; i < programs.size(); ++i) {
        if (programs[i].autoload || options.all) chosen.push_back(i);
    }
    if (!chosen.empty()) return chosen;
    return fail(ErrorCode::NotFound,
                programs.empty() ? "the object has no programs"
                                 : "no program is autoloaded; --all takes every one",
                {.object = std::string(object.name())});
}

std::vector<Item> link_object(const Object& object, const std::vector<size_t>& chosen) {
    std::vector<Item> items;
    for (const size_t index : chosen) {
        const ObjectProgram& from = object.programs()[index];
        Item item;
        item.name = from.name;
        item.section = from.section;
        item.type = from.type_name;
        item.autoload = from.autoload;
        if (auto program = object.link(index)) {
            item.program = std::make_shared<const Program>(*std::move(program));
        } else {
            refuse(item, std::move(program).error());
        }
        items.push_back(std::move(item));
    }
    return items;
}

Result<Item> link_raw(const Options& options) {
    auto read = open_raw(options.source);
    if (!read) {
        // Bytes that are no program are judged like one: Linux refuses them too.
        const ErrorCode code = read.error().code;
        if (code != ErrorCode::EmptyProgram && code != ErrorCode::Truncated)
            return std::unexpected(std::move(read).error());
        Item item;
        item.name = "raw";
        refuse(item, std::move(read).error());
        return item;
    }
    RawSource raw = *std::move(read);
    std::vector<std::shared_ptr<const MapDef>> maps;
    for (MapDef& def : raw.maps) maps.push_back(std::make_shared<const MapDef>(std::move(def)));
    Item item;
    item.name = "raw";
    item.type = raw.type.type->name;
    auto program = make_raw_program(std::move(raw.slots), *raw.type.type, std::move(maps), raw.gpl);
    if (!program) {
        refuse(item, std::move(program).error());
        return item;
    }
    program->section_type = raw.type.section;
    program->attach_type = raw.type.attach_type;
    program->sleepable = raw.type.section != nullptr && raw.type.section->sleepable;
    program->raw_size = options.source.raw_size;
    const size_t slash = raw.type_name.find('/');
    if (raw.type.section != nullptr && !raw.type.section->exact && slash != std::string::npos) {
        program->section = raw.type_name;
        program->attach_target = raw.type_name.substr(slash + 1);
    }
    item.program = std::make_shared<const Program>(*std::move(program));
    return item;
}

// --- output
// ---------------------------------------------------------------------------------------

Json item_json(const Item& item, const Options& options) {
    const Analysis& analysis = item.analysis;
    Json json{{"section", item.section},
              {"name", item.name},
              {"type", item.type.empty() ? Json(nullptr) : Json(item.type)},
              {"autoload", item.autoload},
              {"verdict", name_of(analysis.verdict)},
              {"insns", item.program == nullptr ? 0 : item.program->insns.size()},
              {"processed", analysis.processed},
              {"states", analysis.states},
              {"time_us", static_cast<double>(analysis.time_ns) / 1e3},
              {"beyond_linux", analysis.beyond_linux},
              {"relaxations", analysis.relaxations},
              {"error", analysis.accepted() ? Json(nullptr) : error_json(analysis.error)}};
    if (options.log_level > 0) json["log"] = analysis.log;
    return json;
}

// Lines of a message, each behind the same margin.
std::string indented(std::string_view text, std::string_view margin) {
    std::string out;
    while (!text.empty()) {
        const size_t end = std::min(text.find('\n'), text.size());
        out += std::string(margin) + escaped(text.substr(0, end)) + "\n";
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

void print_refusal(const Item& item, const Colour& colour) {
    const Analysis& analysis = item.analysis;
    const Where& where = analysis.error.where;
    std::string out;
    if (where.slot >= 0) out += "  slot " + std::to_string(where.slot) + ":\n";
    out += indented(analysis.error.message, "  ");
    if (where.slot >= 0 && item.program != nullptr) {
        const SourceLine* line = item.program->line_of(static_cast<uint32_t>(where.slot));
        if (line != nullptr) {
            out += "  " + std::string(colour.cyan) + escaped(line->file) + ":" +
                   std::to_string(line->line) + colour.plain + "  " + escaped(line->text) + "\n";
        }
    }
    if (!analysis.path.empty()) out += "  the way there:\n";
    for (const PathStep& step : analysis.path) {
        out += "    slot " + std::to_string(step.slot) + ": " + escaped(step.text) +
               (step.taken ? ", taken\n" : ", not taken\n");
    }
    if (!analysis.hint.empty()) {
        out +=
            std::string(colour.yellow) + "  hint: " + colour.plain + escaped(analysis.hint) + "\n";
    }
    print(out);
}

void print_item(const Item& item, const Options& options) {
    const Colour colour(stdout);
    const Analysis& analysis = item.analysis;
    const char* tint = analysis.accepted()                        ? colour.green
                       : analysis.verdict == Verdict::Unsupported ? colour.yellow
                                                                  : colour.red;
    print(std::string(tint) + std::string(name_of(analysis.verdict)) + colour.plain + "  " +
          colour.bold + escaped(item.name) + colour.plain + " (" +
          (item.type.empty() ? "unknown type" : item.type) +
          (item.section.empty() ? "" : ", section " + escaped(item.section)) + "), " +
          with_commas(item.program == nullptr ? 0 : item.program->insns.size()) + " slots, " +
          with_commas(analysis.processed) + " processed, " +
          duration(static_cast<double>(analysis.time_ns)) + "\n");
    if (options.log_level > 0) print(indented(analysis.log, ""));
    if (!analysis.accepted()) print_refusal(item, colour);
    for (const std::string& limit : analysis.beyond_linux) {
        print("  beyond Linux: " + escaped(limit) + "\n");
    }
    for (const std::string& rule : analysis.relaxations) {
        print("  Linux would refuse: " + escaped(rule) + "\n");
    }
}

Result<Exit> verify(const Options& options) {
    SKEP_CHECK(check_source(options.source));
    AnalyzeOptions analyze_options;
    analyze_options.policy = policy_of(options.policy);
    analyze_options.log_level = options.log_level;
    analyze_options.facts = false;
    if (!options.source.btf.empty()) {
        SKEP_TRY(analyze_options.kernel_btf, load_btf(options.source.btf));
    }
    std::vector<Item> items;
    std::optional<Object> object;
    if (options.source.raw.empty()) {
        SKEP_TRY(object, open_object(options.source));
        SKEP_TRY(const auto chosen, choose(*object, options));
        for (const size_t index : chosen) {
            SKEP_CHECK(override_type(*object, index, options.source));
        }
        items = link_object(*object, chosen);
    } else {
        SKEP_TRY(Item item, link_raw(options));
        items.push_back(std::move(item));
    }
    analyze_all(items, analyze_options, options.jobs);
    const std::string kernel_types = retry_with_kernel_types(items, analyze_options);
    if (options.json) {
        std::string btf = object ? object->target_btf_name() : "";
        if (btf.empty()) btf = kernel_types;
        Json json{{"object", object ? options.source.object : options.source.raw},
                  {"btf", btf.empty() ? Json(nullptr) : Json(btf)},
                  {"programs", Json::array()}};
        for (const Item& item : items) json["programs"].push_back(item_json(item, options));
        print(json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    } else {
        for (const Item& item : items) print_item(item, options);
    }
    const bool accepted = std::all_of(items.begin(), items.end(),
                                      [](const Item& item) { return item.analysis.accepted(); });
    return accepted ? Exit::Done : Exit::Rejected;
}

}  // namespace

void add_verify(CLI::App& app, Exit& exit) {
    auto* command = app.add_subcommand("verify", "Say whether programs are safe, and if not, why");
    auto options = std::make_shared<Options>();
    add_source_options(*command, options->source);
    command->add_flag("--all", options->all, "Programs that are not autoloaded too");
    command->add_option("--policy", options->policy, "Rules of verification")
        ->check(CLI::IsMember({"linux", "extended", "strict", "hardened"}))
        ->capture_default_str();
    command->add_option("--log-level", options->log_level, "1: branches and calls, 2: every state")
        ->check(CLI::Range(0, 2));
    command->add_option("--jobs", options->jobs, "Programs to verify at once")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    command->add_flag("--json", options->json, "Print one JSON object instead of text");
    command->footer(
        "Examples:\n"
        "  skep verify filter.o\n"
        "  skep verify filter.o --program xdp_filter --log-level 2\n"
        "  skep verify filter.o --policy strict --json | jq '.programs[] | {name, verdict}'\n"
        "  skep verify --raw program.bin --type xdp");
    command->callback([&exit, options] {
        const auto done = verify(*options);
        if (done) {
            exit = *done;
            return;
        }
        if (options->json) print(Json{{"error", error_json(done.error())}}.dump(2) + "\n");
        exit = report(done.error(), Exit::BadUsage);
    });
}

}  // namespace skep::tool
