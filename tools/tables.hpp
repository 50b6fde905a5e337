// `skep helpers`, `skep maps` and `skep types`: what Skep knows, from the tables it works by.
#pragma once

#include "tools/commands.hpp"

namespace skep::tool {

void add_maps(CLI::App& app, Exit& exit);
void add_types(CLI::App& app, Exit& exit);
void add_helpers(CLI::App& app, Exit& exit);

}  // namespace skep::tool
