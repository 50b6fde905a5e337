// The list of subcommands, and how they talk.
#include "tools/commands.hpp"

#include <cstdio>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>

namespace skep::tool {

Exit report(const Error& error, Exit exit) {
    spdlog::error("{}", error.to_string());
    return exit;
}

void warn(const std::string& message) { spdlog::warn("{}", message); }

void report_trap(const std::string& message) { spdlog::error("{}", message); }

void print(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void add_commands(CLI::App& app, Exit& exit) {
    add_run(app, exit);
    add_verify(app, exit);
    add_inspect(app, exit);
    add_disasm(app, exit);
    add_asm(app, exit);
    add_helpers(app, exit);
    add_maps(app, exit);
    add_types(app, exit);
}

}  // namespace skep::tool
