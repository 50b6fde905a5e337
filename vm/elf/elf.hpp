// ELF64 little-endian relocatable files: sections, symbols, relocations. Knows nothing of BPF's
// conventions; everything in the file is checked here once, so that what stands in these structs
// lies inside the file:
//   - a section's data, unless it is NOBITS, is inside, and sections do not share bytes;
//   - names end inside their string table; a symbol's section index exists or is a special one.
// Everything refers to the bytes that were given; they must outlive the Elf.
// Source: System V ABI, chapters 4 and 5 (ELF-64 object file format).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <skep/error.hpp>

#include "vm/base/bytes.hpp"

namespace skep::elf {

inline constexpr uint16_t kMachineNone = 0;  // LLVM before BPF had a number
inline constexpr uint16_t kMachineBpf = 247;

inline constexpr uint32_t kShtProgbits = 1, kShtSymtab = 2, kShtStrtab = 3, kShtRela = 4,
                          kShtNobits = 8, kShtRel = 9;
inline constexpr uint64_t kShfWrite = 1, kShfAlloc = 2, kShfExec = 4;
inline constexpr uint16_t kShnUndef = 0, kShnAbs = 0xfff1, kShnCommon = 0xfff2;

enum class Bind : uint8_t { Local = 0, Global = 1, Weak = 2, Other };
enum class SymbolType : uint8_t { NoType = 0, Object = 1, Func = 2, Section = 3, File = 4, Other };

struct Section {
    std::string_view name;
    uint32_t index = 0;
    uint32_t type = 0;
    uint64_t flags = 0;
    uint64_t size = 0;  // also of NOBITS sections, whose data is empty
    uint32_t link = 0, info = 0;
    uint64_t entry_size = 0;
    Bytes data;

    bool is_exec() const { return (flags & kShfExec) != 0; }
    bool is_alloc() const { return (flags & kShfAlloc) != 0; }
};

struct Symbol {
    std::string_view name;
    uint32_t index = 0;
    Bind bind{};
    SymbolType type{};
    uint8_t visibility = 0;
    uint16_t section = 0;  // index, or kShnUndef, kShnAbs, kShnCommon
    uint64_t value = 0, size = 0;
};

struct Relocation {
    uint64_t offset = 0;  // bytes into the section that it patches
    uint32_t type = 0;
    uint32_t symbol = 0;  // exists
    int64_t addend = 0;
    bool has_addend = false;  // RELA: `addend` counts, not what stands in the section
};

class Elf {
public:
    // Errors: bad_elf, not_bpf, big_endian.
    static Result<Elf> parse(Bytes bytes);
    // The named section of any 64-bit little-endian ELF file, whatever its machine and type.
    static Result<Bytes> extract(Bytes bytes, std::string_view section);

    const std::vector<Section>& sections() const { return sections_; }  // [0] is the empty one
    const std::vector<Symbol>& symbols() const { return symbols_; }
    const Section* find_section(std::string_view name) const;
    // The entries of a REL or RELA section. Errors: bad_relocation.
    Result<std::vector<Relocation>> relocations(const Section& section) const;

private:
    Result<void> read_sections(ByteView file, uint64_t table, uint32_t count, uint32_t names);
    Result<void> read_symbols();

    std::vector<Section> sections_;
    std::vector<Symbol> symbols_;
};

}  // namespace skep::elf
