// A Vm in sandbox mode, and programs from assembler text.
#pragma once

#include <array>
#include <cstring>
#include <gtest/gtest.h>
#include <string_view>
#include <vector>

#include <skep/vm.hpp>

#include "helpers/table.hpp"
#include "vm/isa/assemble.hpp"

namespace skep::test {

inline Vm make_vm(VmOptions options = {}) {
    options.mode = Mode::Sandbox;
    auto vm = Vm::create(std::move(options));
    if (!vm) {
        ADD_FAILURE() << vm.error().to_string();
        std::abort();
    }
    return *std::move(vm);
}

inline std::vector<uint64_t> slots_of(std::string_view text) {
    AssembleOptions options;
    options.helper = [](std::string_view name) -> std::optional<int32_t> {
        const Helper* helper = find_helper(name);
        if (helper == nullptr) return std::nullopt;
        return static_cast<int32_t>(helper->id);
    };
    auto raw = assemble(text, options);
    if (!raw) {
        ADD_FAILURE() << raw.error().to_string();
        return {};
    }
    std::vector<uint64_t> slots(raw->size());
    std::memcpy(slots.data(), raw->data(), slots.size() * sizeof(uint64_t));
    return slots;
}

inline LoadedProgram load(Vm& vm, std::string_view text, std::string_view type = "raw",
                          std::span<const MapDef> maps = {}) {
    auto program = vm.load_raw(slots_of(text), type, maps);
    if (!program) {
        ADD_FAILURE() << program.error().to_string() << "\n" << text;
        return {};
    }
    return *std::move(program);
}

inline RunResult run_bytes(const LoadedProgram& program, size_t size = 64) {
    std::vector<std::byte> memory(size);
    BytesContext context{memory.data(), memory.size()};
    return program.run(context);
}

inline MapDef map_def(std::string_view name, MapType type, uint32_t key, uint32_t value,
                      uint32_t entries) {
    MapDef def;
    def.name = name;
    def.type = type;
    def.key_size = key;
    def.value_size = value;
    def.max_entries = entries;
    return def;
}

// Whether this build makes program arrays.
inline bool has_program_arrays() {
    return create_map(map_def("probe", MapType::ProgArray, 4, 4, 1)).has_value();
}

// A packet with headroom, filled with 0, 1, 2 ...
struct TestPacket {
    std::array<std::byte, 512> bytes{};
    XdpContext xdp;
    SkbContext skb;

    explicit TestPacket(size_t length) {
        for (size_t i = 0; i < length; ++i) bytes[256 + i] = static_cast<std::byte>(i);
        xdp.packet = {bytes.data(), bytes.data() + 256, bytes.data() + 256,
                      bytes.data() + 256 + length, bytes.data() + bytes.size()};
        skb.packet = xdp.packet;
        skb.len = static_cast<uint32_t>(length);
    }
};

}  // namespace skep::test
