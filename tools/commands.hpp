// The subcommands. Each add_...() declares one, with its options, examples and action; the action
// stores the exit code: 0 done or accepted, 1 rejected or trapped, 2 bad usage or unreadable input.
#pragma once

#include <string>
#include <string_view>

#include <skep/error.hpp>

namespace CLI {
class App;
}

namespace skep::tool {

enum class Exit : int { Done = 0, Rejected = 1, BadUsage = 2 };

// Says what went wrong on stderr, with its place; the only way in which commands report errors.
Exit report(const Error& error, Exit exit);
void warn(const std::string& message);
void report_trap(const std::string& message);
// All of the text to stdout.
void print(std::string_view text);

void add_asm(CLI::App& app, Exit& exit);
void add_disasm(CLI::App& app, Exit& exit);
void add_helpers(CLI::App& app, Exit& exit);
void add_inspect(CLI::App& app, Exit& exit);
void add_maps(CLI::App& app, Exit& exit);
void add_run(CLI::App& app, Exit& exit);
void add_types(CLI::App& app, Exit& exit);
void add_verify(CLI::App& app, Exit& exit);

void add_commands(CLI::App& app, Exit& exit);

}  // namespace skep::tool
