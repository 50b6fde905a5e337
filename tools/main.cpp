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

Exit report(const Error& error, Exit exit) {
    spdlog::error("{}", error.to_string());
    return exit;
}

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

int main(int argc, char** argv) {
    set_up_log();
    CLI::App app{"Runs, inspects and checks eBPF programs in user space.", "skep"};
    app.set_version_flag("--version", "skep " SKEP_VERSION);
    app.require_subcommand(1);
    app.footer("`skep COMMAND --help` explains a command and gives examples.");
    Exit exit = Exit::Done;
    add_commands(app, exit);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        // Help and version come here too, with exit code 0.
        if (app.exit(error, std::cout, std::cerr) != 0) return static_cast<int>(Exit::BadUsage);
        return static_cast<int>(Exit::Done);
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
