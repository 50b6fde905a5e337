// skep: the command. Parses the command line, runs one subcommand, and turns whatever went wrong
// into a message that says what to do and an exit code (commands.hpp).
#include <cstdlib>
#include <new>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>

#include "tools/commands.hpp"
#include "tools/text.hpp"

namespace skep::tool {

namespace {

void set_up_log() {
    // stderr is only for people: warnings and errors, coloured on a terminal.
    auto logger = std::make_shared<spdlog::logger>(
        "skep",
        std::make_shared<spdlog::sinks::stderr_color_sink_st>(
            Colour(stderr).bold[0] != 0 ? spdlog::color_mode::always : spdlog::color_mode::never));
    logger->set_pattern("skep: %^%l%$: %v");
    spdlog::set_default_logger(std::move(logger));
}

bool has_command(const CLI::App& app, std::string_view name) {
    for (const auto* sub : app.get_subcommands({})) {
        if (sub->get_name() == name) return true;
    }
    return false;
}

Exit unknown_command(const CLI::App& app, const char* name) {
    std::vector<std::string> names;
    for (const auto* sub : app.get_subcommands({})) names.push_back(sub->get_name());
    spdlog::error("there is no command '{}'; there are {}", escaped(name), list_of(names));
    return Exit::BadUsage;
}

int main(int argc, char** argv) {
    set_up_log();
    CLI::App app{"Runs, inspects and checks eBPF programs in user space.", "skep"};
    app.set_version_flag("--version", "skep " SKEP_VERSION);
    app.require_subcommand(1);
    app.footer("`skep COMMAND --help` explains a command and gives examples.");
    Exit exit = Exit::Done;
    add_commands(app, exit);
    if (argc > 1 && argv[1][0] != '-' && !has_command(app, argv[1])) {
        return static_cast<int>(unknown_command(app, argv[1]));
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& success) {
        app.exit(success, std::cout, std::cerr);  // help or version
        return static_cast<int>(Exit::Done);
    } catch (const CLI::ParseError& error) {
        std::string command = "skep";
        for (const auto* sub : app.get_subcommands()) command += " " + sub->get_name();
        spdlog::error("{}; `{} --help` explains", error.what(), command);
        return static_cast<int>(Exit::BadUsage);
    }
    return static_cast<int>(exit);
}

}  // namespace
}  // namespace skep::tool

int main(int argc, char** argv) {
    try {
        return skep::tool::main(argc, argv);
    } catch (const std::bad_alloc&) {
        std::fputs("skep: error: not enough memory for this input\n", stderr);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "skep: error: a defect in skep: %s\n", error.what());
    }
    return static_cast<int>(skep::tool::Exit::BadUsage);
}
