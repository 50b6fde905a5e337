// ELF bytes: whatever opens tells about itself, is configured and links without harm; what does not
// says why. CO-RE relocations are resolved against the object's own types.
#include <skep/object.hpp>

#include "tests/elf/build.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "vm/btf/btf.hpp"
#include "vm/prog/program.hpp"

namespace skep::test {
namespace {

constexpr size_t kMaxBytes = 64 << 10;
constexpr size_t kMaxPrograms = 8;

void check_program(const Object& object, size_t index) {
    const auto program = object.link(index);
    if (!program) {
        require(!program.error().message.empty(), "a refusal says what is wrong");
        return;
    }
    const size_t count = program->insns.size();
    require(program->type != nullptr && !program->subprograms.empty(), "a program is complete");
    require(program->subprograms[0].first == 0, "the entry comes first");
    for (const auto& [slot, ref] : program->externs) require(slot < count, "externs have a slot");
    for (uint32_t slot = 0; slot < count; ++slot) {
        const Insn& insn = program->insns[slot];
        if (insn.kind == Kind::CallLocal)
            require(program->subprogram_of(static_cast<uint32_t>(insn.target)).first ==
                        static_cast<uint32_t>(insn.target),
                    "calls go to the start of a subprogram");
        if (insn.kind == Kind::Imm64 && insn.pseudo_imm() == PseudoImm::MapFd)
            require(static_cast<uint32_t>(insn.imm) < program->maps.size(), "maps exist");
        (void)program->where(slot);
    }
}

void check_fields(const MapDef& map) {
    for (const SpecialField& f : map.fields)
        require(uint64_t{f.offset} + f.size <= map.value_size, "special fields lie in the value");
}

}  // namespace

void fuzz_seeds(const SeedSink& sink) {
    const std::string example = example_object();
    sink({reinterpret_cast<const uint8_t*>(example.data()), example.size()});
}

}  // namespace skep::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skep;
    if (size > test::kMaxBytes) return 0;
    const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
    OpenOptions options;
    options.allow_kernel_btf = false;
    options.kconfig = "CONFIG_A=y\nCONFIG_B=12\n";
    auto object = Object::open_memory(bytes, "fuzz.o", options);
    if (!object) {
        test::require(!object.error().message.empty(), "a refusal says what is wrong");
        return 0;
    }
    options.target_btf = object->btf();
    object = Object::open_memory(bytes, "fuzz.o", options);
    test::require(object.has_value(), "opening is deterministic");
    test::require(!object->dump().empty(), "an object tells about itself");
    const auto globals = object->globals();
    for (size_t i = 0; i < globals.size() && i < 8; ++i)
        (void)object->set_global(globals[i].name, "1");
    for (const MapDef& map : object->maps()) test::check_fields(map);
    for (size_t i = 0; i < object->programs().size() && i < test::kMaxPrograms; ++i)
        test::check_program(*object, i);
    return 0;
}
