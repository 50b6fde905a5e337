#include "tests/verifier/function_types.hpp"

#include <set>

#include "tests/btf/build.hpp"

namespace skep::test {

bool names_callbacks(std::span<const RawInsn> slots) {
    for (size_t i = 0; i + 1 < slots.size(); ++i)
        if (slots[i].opcode == 0x18 && slots[i].src() == 4) return true;
    return false;
}

FunctionTypes describe_functions(std::span<const RawInsn> slots) {
    std::set<uint32_t> starts{0};
    for (size_t i = 0; i < slots.size(); ++i) {
        const bool call = slots[i].opcode == 0x85 && slots[i].src() == 1;
        const bool address = slots[i].opcode == 0x18 && slots[i].src() == 4;
        if (call || address)
            starts.insert(static_cast<uint32_t>(i + 1) + static_cast<uint32_t>(slots[i].imm));
        if (slots[i].opcode == 0x18) ++i;
    }
    FunctionTypes out;
    BtfBuilder b;
    const uint32_t number = b.add_int("int", 4, true);
    const uint32_t proto = b.add("", 13, 0, number);
    for (const uint32_t slot : starts)
        out.rows.push_back({slot, b.add("f" + std::to_string(slot), 12, 0, proto)});
    out.btf = b.bytes();
    return out;
}

}  // namespace skep::test
