// Maps in a named shared-memory segment, which several processes use at once.
//
//   auto map = skep::create_shared_map("counters", def);          // one process
//   auto same = skep::open_shared_map("counters");                // the others
//   vm->use_map("counters", *same);                               // for programs
//
// A segment is a POSIX shared memory object named "/skep.NAME", mode 0600. Types: array, hash,
// their per-CPU forms, and the ring buffer; no special fields in values.
//
// Every process that attaches gets CPU slots of its own: per-CPU values have a copy for each slot
// of each process that may attach, and that is what host_lookup and host_update exchange. Whatever
// another process writes into the segment, operations stay inside it and end: at worst they give
// wrong entries or -EBUSY. What a process held when it died (the lock, looked-up values, records
// that it was writing) is recovered by the next one that needs it. Who may open the segment may
// also cut it short, which ends the processes that use it: give it only to processes that you trust
// that far.
#pragma once

#include <memory>
#include <string_view>

#include <skep/error.hpp>
#include <skep/map.hpp>

namespace skep {

inline constexpr unsigned kMaxSharingProcesses = 64;

// Makes the segment and the map in it, for at most `processes` attachments at a time (1 to
// kMaxSharingProcesses); this is the first. `name`: letters, digits, '.', '_' and '-'.
// Errors: invalid_argument, bad_map_def, unsupported_map_type, os (the name is taken, too).
Result<std::shared_ptr<Map>> create_shared_map(std::string_view name, MapDef def,
                                               unsigned processes = 8);

// Attaches to the map in a segment. Errors: not_found, os; bad_map_def for a segment that is none
// of this version's or damaged; limit_exceeded if as many processes are attached as may be.
Result<std::shared_ptr<Map>> open_shared_map(std::string_view name);

// Removes the name; the memory goes with the last process that uses it. Errors: not_found, os.
Result<void> remove_shared_map(std::string_view name);

}  // namespace skep
