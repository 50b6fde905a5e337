// Host-side contexts: what a host fills in before a run, and what programs read through the
// context tables (vm/prog/ctx_tables.cpp). Plain structs; pointers are borrowed for the run.
#pragma once

#include <skep/context.hpp>
