// The object that tests and fuzz targets start from (see build.hpp).

#include "tests/elf/build.hpp"

namespace skep::test {
namespace {

std::string words(const std::vector<uint32_t>& list) {
    return {reinterpret_cast<const char*>(list.data()), list.size() * 4};
}

// The type of `int (*name)[n]`.
uint32_t number(BtfBuilder& b, uint32_t i, uint32_t n) {
    return b.add("", 2, 0, b.add("", 3, 0, 0, {i, i, n}));
}

}  // namespace

std::string example_object() {
    ElfBuilder elf;
    const uint16_t text = elf.code(".text", {mov(0, 7), kExitInsn});
    const uint16_t xdp = elf.code("xdp", {wide(1, 0),
                                          {},
                                          wide(2, 4),
                                          {},
                                          mov(3, 4),
                                          local_call(-1),
                                          local_call(-1),
                                          {0x61, 0x11, 4, 0},
                                          kExitInsn});
    const uint16_t tail = elf.code("2/7", {wide(2, 0), {}, mov(0, 1), kExitInsn});
    const uint16_t data = elf.section(".data", 1, 3, std::string(16, '\1'));
    const uint16_t bss = elf.zeros(".bss", 64);
    const uint16_t maps = elf.section(".maps", 1, 3, std::string(32, '\0'));
    const uint16_t old = elf.section("maps", 1, 3, words({3, 4, 4, 8, 0, 2, 0, 0, 0xffffffff}));
    elf.section("license", 1, 3, std::string("GPL\0", 4));

    BtfBuilder b;
    const uint32_t i = b.add_int("int", 4, true), u = b.add_int("u64", 8);
    const uint32_t type = number(b, i, 1), entries = number(b, i, 16);
    const uint32_t key = b.add("", 2, 0, i), value = b.add("", 2, 0, u);
    const uint32_t def = b.add("", 4, 4, 32,
                               {b.string("type"), type, 0, b.string("max_entries"), entries, 64,
                                b.string("key"), key, 128, b.string("value"), value, 192});
    const uint32_t map = b.add("flows", 14, 0, def, {1});
    b.add(".maps", 15, 1, 0, {map, 0, 32});
    const uint32_t global = b.add("counter", 14, 0, u, {1});
    b.add(".data", 15, 1, 0, {global, 0, 8});
    const uint32_t proto = b.add("", 13, 1, i, {b.string("ctx"), value});
    const uint32_t func = b.add("filter", 12, 1, proto);
    const uint32_t s = b.add("packet", 4, 2, 8, {b.string("a"), i, 0, b.string("b"), i, 32});
    const uint32_t section = b.string("xdp"), file = b.string("a.c"), line = b.string("return x;");
    const uint32_t access = b.string("0:1");
    elf.section(".BTF", 1, 0, b.bytes());
    elf.section(
        ".BTF.ext", 1, 0,
        words({0x0001eb9f, 32,      0, 20, 20,   44,     64,      28,                       //
               8,          section, 1, 0,  func,                                            //
               16,         section, 2, 0,  file, line,   1 << 10, 40, file, line, 2 << 10,  //
               16,         section, 1, 56, s,    access, 0}));

    const uint32_t flows = elf.symbol({"flows", 1, 1, maps, 0, 32});
    const uint32_t jumps = elf.symbol({"jumps", 1, 1, old, 0, 36});
    const uint32_t counter = elf.symbol({"counter", 1, 1, data, 8, 8});
    const uint32_t data_start = elf.symbol({"", 0, 3, data, 0, 0});
    const uint32_t text_start = elf.symbol({"", 0, 3, text, 0, 0});
    const uint32_t sub = elf.function("sub", text, 0, 2, false);
    elf.function("filter", xdp, 0, 9);
    elf.function("tail", tail, 0, 4);
    elf.symbol({"zeros", 1, 1, bss, 8, 8});
    elf.relocation(xdp, 0, 1, flows);
    elf.relocation(xdp, 16, 1, data_start);
    elf.relocation(xdp, 40, 10, text_start);
    elf.relocation(xdp, 48, 10, sub);
    elf.relocation(tail, 0, 1, jumps);
    elf.relocation_with_addend(tail, 0, 1, jumps, 0);
    (void)counter;
    return elf.bytes();
}

}  // namespace skep::test
