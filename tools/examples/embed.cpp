// Runs an XDP program over one packet: embed OBJECT PROGRAM
#include <skep/vm.hpp>

#include <cstdio>
#include <vector>

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    auto object = skep::Object::open_file(argv[1]);
    if (!object) return std::puts(object.error().to_string().c_str()), 1;
    auto vm = skep::Vm::create({.mode = skep::Mode::Sandbox});
    auto program = vm->load(*object, argv[2]);  // links, checks, prepares
    if (!program) return std::puts(program.error().to_string().c_str()), 1;

    std::vector<std::byte> buffer(2048);  // headroom, packet, tailroom
    auto* packet = buffer.data() + 256;
    skep::XdpContext context{{buffer.data(), packet, packet, packet + 60, buffer.data() + 2048}};
    const skep::RunResult result = program->run(context);
    if (!result.ok()) return std::puts(program->describe(result).message.c_str()), 1;
    std::printf("verdict %u\n", static_cast<unsigned>(result.r0));
}
