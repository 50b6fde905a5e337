// Objects: what clang and gcc make of eBPF C, opened, configured, and linked program by program.
//
//     auto object = skep::Object::open_file("filter.o");
//     object->set_global("limit", 100);
//     auto program = object->link("filter");      // freezes the configuration
//
// An Object is a handle; copies refer to the same object. Opening and configuring is for one thread
// at a time; the accessors and link() may be called from any number of threads once configuring has
// ended. string_views and spans that an Object hands out live as long as any copy of its handle.
// The bytes of an object are not trusted: whatever is wrong with them is an Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <skep/error.hpp>
#include <skep/map.hpp>

namespace skep {

class Btf;
struct Program;  // vm/prog/program.hpp
struct ProgType;
struct SectionType;

struct OpenOptions {
    // The types that CO-RE relocations are resolved against: the first that is given of a parsed
    // Btf, the bytes of one (raw, or an ELF file with .BTF), or a file with such bytes.
    std::shared_ptr<const Btf> target_btf;
    std::span<const std::byte> target_btf_bytes;  // copied
    std::string target_btf_path;
    // Without any: whether the running kernel's types may be read. Happens only when a relocation
    // needs a target; the types used are named by Object::target_btf_name().
    bool allow_kernel_btf = true;
    // Text of a kernel configuration ("CONFIG_HZ=250"), for .kconfig externs.
    std::string kconfig;
    // Overrides what section names say, for every program: a program type's name, UAPI name or a
    // section name.
    std::string type;
};

// Views of what an object has, for tools and tests.
struct ObjectProgram {
    std::string_view name;           // of the function
    std::string_view section;        // without the leading '?'
    const ProgType* type = nullptr;  // null: the section name says nothing
    const SectionType* section_type = nullptr;
    std::string_view type_name;      // of `type`, or empty
    uint32_t attach_type = 0;        // UAPI number
    std::string_view attach_target;  // what follows the section type's name and '/'
    bool autoload = true;
    bool sleepable = false;
    uint32_t insn_count = 0;  // slots, without subprograms
};
struct ObjectFunction {
    std::string_view name, section;
    uint32_t insn_count = 0;
    bool is_global = false;
};
struct ObjectGlobal {
    std::string_view name;
    std::string_view section;  // also the name of its map
    std::string type;          // as C writes it; empty without BTF
    uint32_t type_id = 0;      // in btf()
    uint32_t offset = 0, size = 0;
    bool constant = false;  // .rodata, .kconfig
    bool is_static = false;
};
struct ObjectExtern {
    enum class What : uint8_t { Kconfig, Variable, Kfunc, Unknown };
    What what{};
    std::string_view name;
    std::string type;  // as C writes it
    bool weak = false;
    bool is_set = false;  // Kconfig: has a value
    std::string value;    // Kconfig: as text
};
struct ObjectRelocation {
    enum class What : uint8_t { Map, Data, Call, FunctionAddress, Extern, Core, Unknown };
    What what{};
    std::string_view section;  // that it patches
    uint32_t slot = 0;         // in the section; data sections: byte offset / 8
    uint32_t type = 0;         // R_BPF_*; of Core: the CO-RE kind
    std::string symbol;        // or, for Core, the type and the access ("struct sk_buff 0:3")
    int64_t addend = 0;
};

class Object {
public:
    // `name` is what messages call the bytes; its base name up to the first '.' is the object's.
    static Result<Object> open_file(const std::string& path, const OpenOptions& options = {});
    static Result<Object> open_memory(std::span<const std::byte> bytes, std::string name,
                                      const OpenOptions& options = {});

    // --- what is in it ---------------------------------------------------------------------------
    std::string_view name() const;     // "xdp_filter" of "/x/xdp_filter.bpf.o"
    std::string_view license() const;  // empty without a "license" section
    bool gpl_compatible() const;
    std::optional<uint32_t> version() const;
    std::shared_ptr<const Btf> btf() const;  // null without .BTF

    std::span<const ObjectProgram> programs() const;    // what can be linked, in libbpf's order
    std::span<const ObjectFunction> functions() const;  // subprograms
    const std::vector<MapDef>& maps() const;            // as configured so far, in libbpf's order
    std::vector<ObjectGlobal> globals() const;
    std::vector<ObjectExtern> externs() const;
    std::vector<ObjectRelocation> relocations() const;

    // By function name, else section name, else decimal index; "" is the only program.
    std::optional<size_t> find_program(std::string_view name) const;
    // By name; libbpf's "obj.bss" for ".bss" matches too.
    std::optional<size_t> find_map(std::string_view name) const;

    // Several lines about everything above.
    std::string dump() const;

    // --- configure: until the first link()
    // --------------------------------------------------------- Errors: frozen, unknown_global,
    // not_found, invalid_argument, bad_map_contents.

    // A global by its type: numbers, true/false, 'c', enumerators, text for char arrays, "{1, 2}"
    // for arrays, "hex:0a0b" for anything. `name` may go on: "config.ports[2]".
    Result<void> set_global(std::string_view name, std::string_view text);
    Result<void> set_global(std::string_view name, int64_t value);
    Result<void> set_global(std::string_view name, std::span<const std::byte> bytes);
    Result<void> set_map_size(std::string_view map, uint32_t max_entries);
    // The initial bytes of a data section's map, or of the single entry of an array.
    Result<void> set_map_contents(std::string_view map, std::span<const std::byte> bytes);
    // What the inner maps of a map of maps look like: like another map of this object.
    Result<void> set_inner_map(std::string_view outer, std::string_view inner);
    Result<void> set_inner_map(std::string_view outer, const MapDef& inner);
    // Values from the text of a kernel configuration, added to earlier ones.
    Result<void> set_kconfig(std::string_view text);
    Result<void> set_program_type(std::string_view program, std::string_view type);
    Result<void> set_autoload(std::string_view program, bool autoload);

    // --- link
    // -------------------------------------------------------------------------------------- The
    // program with every relocation applied and the subprograms that it reaches behind it. Freezes
    // the configuration. The definitions in Program::maps are the same objects for every program of
    // this Object. Errors name section, program and slot.
    Result<Program> link(size_t index) const;
    Result<Program> link(std::string_view program) const;

    // Whose types resolved CO-RE relocations so far: a path, "given", or empty if none were needed.
    std::string target_btf_name() const;
    // Those types; null if none were needed.
    std::shared_ptr<const Btf> target_btf() const;

    struct Impl;  // internal

private:
    friend struct ObjectAccess;
    explicit Object(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
    std::shared_ptr<Impl> impl_;
};

// The types in a file or in bytes: raw BTF, or an ELF file (vmlinux, a module, an object) with
// .BTF. Share one between objects by OpenOptions::target_btf: parsing a kernel's takes
// milliseconds.
Result<std::shared_ptr<const Btf>> load_btf(const std::string& path);
Result<std::shared_ptr<const Btf>> load_btf(std::span<const std::byte> bytes);

}  // namespace skep
