// What an Object holds. Internal to vm/elf.
//
// Opening goes through these steps, each in a file of its own, all filling one Impl:
//   object_open.cpp     sections, functions and programs
//   object_externs.cpp  undefined symbols: .kconfig and .ksyms
//   object_maps.cpp     .maps, legacy maps, data sections, struct_ops; initial entries
// then object_configure.cpp changes it, and object_link.cpp reads it. Ranges that later steps use
// (a function inside its section, a variable inside its data) are checked where they are made.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <skep/object.hpp>

#include "vm/btf/btf.hpp"
#include "vm/btf/btf_ext.hpp"
#include "vm/btf/special_fields.hpp"
#include "vm/elf/core.hpp"
#include "vm/elf/elf.hpp"
#include "vm/prog/program.hpp"

namespace skep {

// A function: a range of slots of an executable section. Sorted by section, then first slot.
struct ObjectCode {
    std::string_view name;
    uint32_t section = 0;  // ELF index
    uint32_t first = 0;    // slot in the section
    uint32_t count = 0;
    bool is_global = false;
    uint32_t btf_func = 0;  // FUNC, 0 = none
    bool hidden = false;    // its symbol is: libbpf makes such a function static
};

enum class MapOrigin : uint8_t { Btf, Legacy, Data, Kconfig, StructOps };

// Where a map of Impl::maps (same index) comes from.
struct MapPlace {
    MapOrigin origin{};
    uint32_t section = 0;        // ELF index, 0 for .kconfig
    uint64_t offset = 0;         // in the section
    uint64_t size = 0;           // bytes there
    uint32_t values_offset = 0;  // Btf: where initial entries start, 0 = has none
    uint32_t struct_id = 0;      // Btf, StructOps: the type of the definition
    // iproute2's bpf_elf_map: id, and the inner map's id and place; -1 = not said.
    int64_t id = -1, inner_id = -1, inner_slot = -1;
};

struct ObjectExternSymbol {
    ObjectExtern::What what{};
    std::string_view name;
    uint32_t symbol = 0;
    uint32_t type = 0;  // Kconfig, Variable: the variable's type; Kfunc: its FUNC_PROTO
    bool weak = false;
    // Kconfig only.
    uint32_t size = 0, align = 1;
    uint32_t offset = 0;  // in the .kconfig map
    bool is_set = false;
};

// What a resolved CO-RE relocation comes to, or why it fails.
using CoreResult = Result<core::Resolution>;

struct Object::Impl {
    std::string label;  // of messages: the path or the caller's name
    std::string object_name;
    std::string bytes;
    elf::Elf elf;
    OpenOptions options;
    bool from_gcc = false;  // leaves all offsets of variables to symbols
    // binutils before 2.41 leaves the symbol's value in the place of the addend, and -1 more in
    // calls, which it counts in bytes.
    bool old_binutils = false;

    std::shared_ptr<const Btf> btf;
    BtfExt ext;
    std::string_view license;
    std::optional<uint32_t> version;

    // Symbols of real sections, by section, then name: what is looked up for each variable or
    // section must not walk all symbols of a file that has as many of both as fit.
    std::vector<const elf::Symbol*> symbols;
    std::vector<int32_t> extern_by_symbol;  // index into externs, -1 = none

    std::vector<ObjectCode> functions;
    std::vector<ObjectProgram> programs;
    std::vector<uint32_t> program_function;  // index into functions, by program
    std::vector<ObjectFunction> subprograms;

    std::vector<MapDef> maps;
    std::vector<MapPlace> places;
    std::vector<ObjectExternSymbol> externs;
    std::optional<uint32_t> kconfig_map;
    std::unordered_map<std::string, std::string> kconfig;

    std::vector<uint32_t> datasecs;       // BTF ids
    std::deque<std::string> ops_members;  // "ops/member" of programs' attach targets

    // By ELF section index; executable and data sections with relocations, sorted by offset.
    std::vector<std::vector<elf::Relocation>> relocations;
    // By ELF section index: position in ext.lines / ext.relocations, or -1.
    std::vector<int32_t> line_section, core_section;
    std::vector<uint32_t> core_base;  // by position: index of its first record in core_results
    std::vector<int32_t> data_map;    // by ELF section index: the map that holds its data, or -1

    // Made at the first link() and the first relocation that needs it.
    std::atomic<bool> frozen{false};
    mutable std::once_flag freeze_once, core_once;
    mutable std::vector<std::shared_ptr<const MapDef>> frozen_maps;
    mutable std::vector<CoreResult> core_results;
    mutable std::mutex target_mutex;
    mutable std::string target_name;
    mutable std::shared_ptr<const Btf> target_used;

    // --- opening ---
    Result<void> open();
    Result<void> read_special_sections();
    void sort_symbols();
    Result<void> read_relocations();
    Result<void> read_functions();
    Result<void> read_section_functions(uint32_t section,
                                        std::span<const elf::Symbol* const> symbols);
    void read_function_types();
    Result<void> read_programs();
    Result<void> read_externs();
    Result<void> read_maps();
    Result<void> read_btf_maps();
    Result<void> read_btf_map(const BtfSectionVar& var, const elf::Section& section);
    Result<void> read_legacy_maps();
    Result<void> read_data_maps();
    Result<void> read_kconfig_map();
    Result<void> read_struct_ops();
    Result<void> read_map_entries();
    Result<void> wire_legacy_maps();
    void add_map(MapDef def, MapPlace place);
    Result<MapDef> parse_map_def(std::string name, uint32_t struct_id, MapPlace& place) const;
    Result<void> read_btf_entries(size_t map);
    void set_struct_ops_member(uint32_t struct_id, uint64_t offset, uint32_t function);
    BtfType find_datasec(std::string_view name) const;  // void if there is none

    // --- looking up ---
    // Where a variable of a section lies, by its symbol where BTF does not know.
    uint64_t variable_offset(const BtfSectionVar& var, const BtfType& datasec,
                             const elf::Section& section) const;
    std::span<const elf::Symbol* const> symbols_of(uint32_t section) const;
    const elf::Symbol* find_symbol(std::string_view name, uint32_t section) const;
    // The function that starts at / contains a slot of a section; -1 = none.
    int32_t function_at(uint32_t section, uint64_t slot) const;
    int32_t map_at(uint32_t section, uint64_t offset) const;
    const ObjectExternSymbol* extern_of(uint32_t symbol) const;
    Where where(std::string_view section, std::string_view program = {}, int64_t slot = -1) const;

    // --- configuring ---
    Result<void> check_not_frozen() const;
    struct Global {
        uint32_t map = 0;
        uint32_t type = 0;  // 0 = no BTF
        uint32_t offset = 0, size = 0;
        ObjectExternSymbol* external = nullptr;
    };
    Result<Global> find_global(std::string_view path);
    Result<void> store_global(const Global& global, std::span<const std::byte> bytes);
    Result<void> apply_kconfig();
    Result<void> set_type(size_t program, std::string_view type);
    template <class F>
    void for_each_global(F&& f) const;  // f(ObjectGlobal&&, map index)

    // --- linking ---
    void freeze() const;
    const CoreResult& core_result(int32_t section, size_t record) const;
    Result<std::shared_ptr<const Btf>> target_btf() const;
};

// The size that a ring buffer gets when `bytes` are asked for; other maps: `bytes`.
uint32_t ring_bytes(MapType type, uint32_t bytes);

// A linked program before decoding: what tests compare with libbpf's.
struct LinkedSlots {
    std::vector<RawInsn> slots;
    std::vector<Subprogram> subprograms;
    std::vector<SourceLine> lines;
    std::map<uint32_t, ExternRef> externs;
    std::map<uint32_t, std::string> poisoned;
    int32_t exception_callback = -1;  // index into subprograms
};
Result<LinkedSlots> link_slots(const Object::Impl& object, size_t program);

// The .BTF of any ELF file (vmlinux and modules are no BPF objects).
Result<std::shared_ptr<const Btf>> load_elf_btf(Bytes bytes);

// Internal access to a handle's Impl.
struct ObjectAccess {
    static Object make(std::shared_ptr<Object::Impl> impl) { return Object(std::move(impl)); }
    static Object::Impl& impl(const Object& object) { return *object.impl_; }
};

template <class F>
void Object::Impl::for_each_global(F&& f) const {
    for (uint32_t m = 0; m < maps.size(); ++m) {
        const MapPlace& place = places[m];
        if (place.origin != MapOrigin::Data) continue;
        const elf::Section& section = elf.sections()[place.section];
        const bool constant = maps[m].frozen;
        const BtfType datasec = btf ? btf->type(maps[m].value_btf) : BtfType();
        if (datasec.is(BtfKind::Datasec)) {
            for (uint32_t i = 0; i < datasec.count(); ++i) {
                const BtfSectionVar sv = datasec.section_var(i);
                const BtfType var = btf->type(sv.type);
                if (!var.is(BtfKind::Var)) continue;
                const uint64_t offset = variable_offset(sv, datasec, section);
                const uint64_t size = std::max(sv.size, btf->size_of(var.type()).value_or(0));
                if (offset > section.size || size > section.size - offset) continue;
                f(ObjectGlobal{var.name(),
                               section.name,
                               {},
                               var.type(),
                               static_cast<uint32_t>(offset),
                               static_cast<uint32_t>(size),
                               constant,
                               var.linkage() == BtfLinkage::Static},
                  m);
            }
            continue;
        }
        for (const elf::Symbol* symbol : symbols_of(place.section)) {
            const elf::Symbol& s = *symbol;
            if (s.type != elf::SymbolType::Object) continue;
            if (s.value > section.size || s.size > section.size - s.value) continue;
            f(ObjectGlobal{s.name,
                           section.name,
                           {},
                           0,
                           static_cast<uint32_t>(s.value),
                           static_cast<uint32_t>(s.size),
                           constant,
                           s.bind == elf::Bind::Local},
              m);
        }
    }
}

}  // namespace skep
