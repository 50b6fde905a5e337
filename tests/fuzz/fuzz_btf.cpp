// BTF bytes: whatever parses answers every question about every type; split BTF, .BTF.ext and CO-RE
// comparisons of its types included. The first two bytes split the input into BTF and .BTF.ext.
#include <cstring>

#include "tests/elf/build.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "vm/btf/btf.hpp"
#include "vm/btf/btf_ext.hpp"
#include "vm/elf/core.hpp"
#include "vm/elf/elf.hpp"

namespace skep::test {
namespace {

constexpr uint32_t kMaxTypes = 64;  // asked about one by one

void ask(const Btf& btf, uint32_t id) {
    const BtfType t = btf.type(id);
    const uint32_t resolved = btf.resolve(id);
    require(!btf.type(resolved).is_modifier(), "resolving ends at no modifier");
    const auto size = btf.size_of(id);
    (void)btf.align_of(id);
    require(btf.type_name(id).size() < 65536, "names are bounded");
    (void)btf.type_tags(id);
    (void)btf.decl_tags(id);
    if (!t.name().empty()) (void)btf.find(t.name(), t.kind());
    for (uint32_t offset = 0; offset < 20; offset += 3) {
        const auto field = btf.field_at(id, offset);
        if (field) require(uint64_t{field->offset} + field->size <= *size, "fields lie inside");
    }
    if (t.is_composite())
        for (uint32_t i = 0; i < t.count(); ++i) (void)btf.find_member(id, t.member(i).name);
}

void compare(const Btf& btf, uint32_t count) {
    for (uint32_t a = 0; a < count; a += 3) {
        for (uint32_t b = 0; b < count; b += 5) {
            (void)core::types_compatible(btf, a, btf, b);
            (void)core::types_match(btf, a, btf, b);
        }
        require(!btf.type(a).is(BtfKind::Struct) || core::types_compatible(btf, a, btf, a),
                "a struct is compatible with itself");
    }
}

void relocate(const Btf& btf, Bytes bytes) {
    const auto ext = BtfExt::parse(bytes, btf);
    if (!ext) return;
    core::Resolver resolver(btf, &btf);
    for (const auto& section : ext->relocations) {
        for (const CoreRelocation& relocation : section.records) {
            const auto resolution = resolver.resolve(relocation);
            if (!resolution) continue;
            std::vector<RawInsn> slots = {{0x61, 0x12, 4, 0}, {}};
            (void)core::patch(slots, 0, *resolution);
        }
    }
}

}  // namespace

void fuzz_seeds(const SeedSink& sink) {
    const std::string example = example_object();
    const auto elf = elf::Elf::parse(std::as_bytes(std::span(example)));
    if (!elf) return;
    const Bytes btf = elf->find_section(".BTF")->data, ext = elf->find_section(".BTF.ext")->data;
    std::vector<uint8_t> seed(2 + btf.size() + ext.size());
    const uint16_t split = static_cast<uint16_t>(btf.size());
    std::memcpy(seed.data(), &split, 2);
    std::memcpy(seed.data() + 2, btf.data(), btf.size());
    std::memcpy(seed.data() + 2 + btf.size(), ext.data(), ext.size());
    sink(seed);
}

}  // namespace skep::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skep;
    if (size < 2) return 0;
    uint16_t split = 0;
    std::memcpy(&split, data, 2);
    const std::span all(reinterpret_cast<const std::byte*>(data + 2), size - 2);
    const std::span first = all.first(std::min<size_t>(split, all.size()));
    const std::span rest = all.subspan(first.size());
    const auto btf = Btf::parse(first);
    if (!btf) {
        test::require(!btf.error().message.empty(), "a refusal says what is wrong");
        return 0;
    }
    const uint32_t count = std::min((*btf)->type_count(), test::kMaxTypes);
    for (uint32_t id = 0; id < count; ++id) test::ask(**btf, id);
    if (const auto half = Btf::parse(rest, *btf))
        for (uint32_t id = 0; id < (*half)->type_count() && id < test::kMaxTypes; ++id)
            test::ask(**half, id);
    test::compare(**btf, count);
    test::relocate(**btf, rest);
    return 0;
}
