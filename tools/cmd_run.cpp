// `skep run`: loads one program, runs it over its input and says what came out.
#include <memory>

#include <CLI/CLI.hpp>

#include "tools/commands.hpp"
#include "tools/run.hpp"
#include "tools/text.hpp"

namespace skep::tool {
namespace {

constexpr const char* kExamples =
    "One program runs once, N times, or over the packets of a capture. The clock that programs see "
    "is\n"
    "the packets', and random numbers come from a fixed seed, so that the same input gives the "
    "same\n"
    "output.\n\n"
    "Examples:\n"
    "  skep run filter.o --pcap traffic.pcap --out passed.pcapng\n"
    "  skep run filter.o --program xdp_filter --data packet.bin --json\n"
    "  skep run filter.o --set limit=100 --map allowed=hosts.json --dump-map counters --pcap "
    "in.pcap\n"
    "  skep run filter.o --pcap in.pcap --repeat 100\n"
    "  skep run --raw sum.bin --type raw --data-hex 0102030405060708";

void add_input_options(CLI::App& command, RunOptions& options) {
    auto* pcap = command.add_option("--pcap", options.pcap, "Run over the packets of a capture");
    command.add_option("--out", options.out, "pcapng file for the packets that go on")->needs(pcap);
    command.add_flag("--per-packet", options.per_packet, "Say what became of each packet")
        ->needs(pcap);
    command
        .add_option("--frame", options.frame,
                    "What packets look like: as `attach`ed, or as BPF_PROG_TEST_RUN has it")
        ->check(CLI::IsMember({"attach", "test_run"}))
        ->capture_default_str();
    auto* data = command.add_option("--data", options.data, "A file with the packet or memory");
    auto* hex = command.add_option("--data-hex", options.data_hex, "The same as hex digits");
    pcap->excludes(data)->excludes(hex);
    data->excludes(hex);
    command.add_option("--ctx-hex", options.context_hex,
                       "The context in UAPI layout, as hex digits");
    command
        .add_option("--ctx", options.context, "FIELD=VALUE: a field of the context (`skep types`)")
        ->allow_extra_args(false)
        ->take_all();
}

void add_environment_options(CLI::App& command, RunOptions& options) {
    command
        .add_option("--engine", options.engine, "jit or interp; default: jit where there is one")
        ->check(CLI::IsMember({"jit", "interp"}));
    command
        .add_option("--mode", options.mode, "verified, or sandbox: nothing is proven, all checked")
        ->check(CLI::IsMember({"verified", "sandbox"}));
    command.add_option("--policy", options.policy, "Rules of verification")
        ->check(CLI::IsMember({"linux", "extended", "strict", "hardened"}))
        ->capture_default_str();
    command.add_option("--fuel", options.fuel,
                       "Bound on taken jumps backward, calls and rounds of one run");
    command.add_option("--clock", options.clock, "pcap, real or fixed:NANOSECONDS");
    command.add_option("--seed", options.seed, "Seed of bpf_get_prandom_u32")
        ->capture_default_str();
    command.add_option("--cpus", options.cpus, "CPUs that programs and per-CPU maps see")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    command.add_option("--cpu", options.cpu, "The CPU to run on")->capture_default_str();
    command.add_option("--task", options.task, "pid=,tgid=,uid=,gid=,ppid=,comm=: who runs");
}

}  // namespace

void add_run(CLI::App& app, Exit& exit) {
    auto* command = app.add_subcommand("run", "Run a program on packets, bytes or a context");
    auto options = std::make_shared<RunOptions>();
    add_source_options(*command, options->source);
    add_input_options(*command, *options);
    add_environment_options(*command, *options);
    command->add_option("--repeat", options->repeat, "Run N times and measure")
        ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40));
    command->add_option("--iterate", options->iterate,
                        "The map whose elements an iterator program (iter/bpf_map_elem) goes "
                        "through; default: the first that can be");
    command->add_option("--dump-map", options->dump_maps, "Print a map's contents afterwards")
        ->allow_extra_args(false)
        ->take_all();
    command
        ->add_option(
            "--events", options->events,
            "MAP=FILE: keep the records of a ring buffer or perf event array; JSON if FILE "
            "ends in .json, else each with its length as 4 bytes before it")
        ->allow_extra_args(false)
        ->take_all();
    command->add_flag("--json", options->json, "Print one JSON object instead of text");
    command->footer(kExamples);
    command->callback([&exit, options] { exit = run_program(*options); });
}

}  // namespace skep::tool
