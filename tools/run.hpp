// `skep run` without its command line: RunOptions in, output and exit code out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/commands.hpp"
#include "tools/source.hpp"

namespace skep::tool {

struct RunOptions {
    SourceOptions source;
    std::string pcap, out, frame = "attach";
    bool per_packet = false;
    std::string data, data_hex, context_hex;
    std::vector<std::string> context;  // FIELD=VALUE
    std::string engine, mode, policy = "linux";
    uint64_t fuel = 0;
    std::string clock;  // empty: pcap with --pcap, else fixed
    uint64_t seed = 1;
    unsigned cpus = 8;
    unsigned cpu = 0;
    std::string task;
    uint64_t repeat = 0;  // 0: not given
    std::vector<std::string> dump_maps;
    std::string iterate;              // map that an iterator program goes through
    std::vector<std::string> events;  // MAP=FILE
    bool json = false;
};

Exit run_program(const RunOptions& options);

}  // namespace skep::tool
