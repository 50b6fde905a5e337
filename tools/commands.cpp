// The list of subcommands.
#include "tools/commands.hpp"

#include <CLI/CLI.hpp>

namespace skep::tool {

void add_commands(CLI::App&, Exit&) {}

}  // namespace skep::tool
