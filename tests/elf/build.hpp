// Builds ELF objects by hand, so that tests can say exactly what is in them, also what is wrong.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tests/btf/build.hpp"
#include "vm/isa/insn.hpp"

namespace skep::test {

class ElfBuilder {
public:
    static constexpr uint32_t kProgbits = 1, kNobits = 8, kRel = 9, kRela = 4;
    static constexpr uint64_t kAlloc = 2, kExec = 4;

    struct SectionSpec {
        std::string name;
        uint32_t type = 0;
        uint64_t flags = 0;
        std::string data;
        uint64_t size = 0;  // NOBITS only
        uint32_t link = 0, info = 0;
        uint64_t entry_size = 0;
    };
    struct SymbolSpec {
        std::string name;
        uint8_t bind = 1, type = 0;
        uint16_t section = 0;
        uint64_t value = 0, size = 0;
    };

    uint8_t data_order = 1;
    uint16_t machine = 247, file_type = 1;

    // Returns the index. Symbols, their names and the section names follow behind these.
    uint16_t section(std::string name, uint32_t type, uint64_t flags, std::string data) {
        sections_.push_back({std::move(name), type, flags, std::move(data)});
        return static_cast<uint16_t>(sections_.size());
    }
    uint16_t code(std::string name, const std::vector<RawInsn>& slots) {
        return section(std::move(name), kProgbits, kAlloc | kExec, as_bytes(slots));
    }
    uint16_t zeros(std::string name, uint64_t size) {
        const uint16_t index = section(std::move(name), kNobits, kAlloc, {});
        sections_.back().size = size;
        return index;
    }
    uint32_t symbol(SymbolSpec spec) {
        symbols_.push_back(std::move(spec));
        return static_cast<uint32_t>(symbols_.size());
    }
    uint32_t function(std::string name, uint16_t section, uint64_t first, uint64_t slots,
                      bool is_global = true) {
        return symbol(
            {std::move(name), static_cast<uint8_t>(is_global), 2, section, first * 8, slots * 8});
    }
    void relocation(uint16_t target, uint64_t offset, uint32_t type, uint32_t symbol) {
        const uint64_t words[2] = {offset, uint64_t{symbol} << 32 | type};
        relocations(target, kRel, 16).append(reinterpret_cast<const char*>(words), 16);
    }
    void relocation_with_addend(uint16_t target, uint64_t offset, uint32_t type, uint32_t symbol,
                                int64_t addend) {
        const uint64_t words[3] = {offset, uint64_t{symbol} << 32 | type,
                                   static_cast<uint64_t>(addend)};
        relocations(target, kRela, 24).append(reinterpret_cast<const char*>(words), 24);
    }
    SectionSpec& at(uint16_t index) { return sections_[index - 1]; }

    std::string bytes() const {
        std::vector<SectionSpec> all = sections_;
        const uint32_t symtab = static_cast<uint32_t>(all.size()) + 1;
        std::string strings(1, '\0'), table(24, '\0');
        for (const SymbolSpec& s : symbols_) {
            put<uint32_t>(table, s.name.empty() ? 0 : static_cast<uint32_t>(strings.size()));
            put<uint8_t>(table, static_cast<uint8_t>(s.bind << 4 | s.type));
            put<uint8_t>(table, 0);
            put<uint16_t>(table, s.section);
            put<uint64_t>(table, s.value);
            put<uint64_t>(table, s.size);
            if (!s.name.empty()) strings += s.name + '\0';
        }
        all.push_back({".symtab", 2, 0, table, 0, symtab + 1, 1, 24});
        all.push_back({".strtab", 3, 0, strings});
        for (SectionSpec& s : all)
            if (s.type == kRel || s.type == kRela) s.link = symtab;
        return layout(std::move(all));
    }

    static std::string as_bytes(const std::vector<RawInsn>& slots) {
        return {reinterpret_cast<const char*>(slots.data()), slots.size() * sizeof(RawInsn)};
    }

private:
    template <class T>
    static void put(std::string& out, T value) {
        out.append(reinterpret_cast<const char*>(&value), sizeof value);
    }

    std::string& relocations(uint16_t target, uint32_t type, uint64_t entry_size) {
        for (SectionSpec& s : sections_)
            if (s.type == type && s.info == target) return s.data;
        sections_.push_back({".rel" + at(target).name, type, 0, {}, 0, 0, target, entry_size});
        return sections_.back().data;
    }

    std::string layout(std::vector<SectionSpec> all) const {
        all.push_back({".shstrtab", 3, 0, {}});
        std::string names(1, '\0');
        std::vector<uint32_t> name_at;
        for (const SectionSpec& s : all) {
            name_at.push_back(static_cast<uint32_t>(names.size()));
            names += s.name + '\0';
        }
        all.back().data = names;
        std::string body, headers(64, '\0');
        for (size_t i = 0; i < all.size(); ++i) {
            const SectionSpec& s = all[i];
            body.resize((body.size() + 7) / 8 * 8);
            for (const uint32_t word : {name_at[i], s.type}) put(headers, word);
            for (const uint64_t word : {s.flags, uint64_t{0}, 64 + body.size(),
                                        s.type == kNobits ? s.size : s.data.size()})
                put(headers, word);
            for (const uint32_t word : {s.link, s.info}) put(headers, word);
            for (const uint64_t word : {uint64_t{8}, s.entry_size}) put(headers, word);
            body += s.data;
        }
        body.resize((body.size() + 7) / 8 * 8);
        std::string out(
            "\x7f"
            "ELF\x02",
            5);
        put(out, data_order);
        put<uint8_t>(out, 1);
        out.resize(16);
        put<uint16_t>(out, file_type);
        put<uint16_t>(out, machine);
        put<uint32_t>(out, 1);
        put<uint64_t>(out, 0);
        put<uint64_t>(out, 0);
        put<uint64_t>(out, 64 + body.size());
        put<uint32_t>(out, 0);
        for (const uint16_t half :
             {64, 0, 0, 64, static_cast<int>(all.size() + 1), static_cast<int>(all.size())})
            put(out, half);
        return out + body + headers;
    }

    std::vector<SectionSpec> sections_;
    std::vector<SymbolSpec> symbols_;
};

// Instructions that the tests use.
inline constexpr RawInsn kExitInsn{0x95, 0, 0, 0};
inline constexpr RawInsn mov(uint8_t reg, int32_t value) { return {0xb7, reg, 0, value}; }
inline constexpr RawInsn local_call(int32_t imm) { return {0x85, 0x10, 0, imm}; }
inline constexpr RawInsn wide(uint8_t reg, int32_t imm) { return {0x18, reg, 0, imm}; }

// An object with a bit of everything: programs, a subprogram, maps by BTF and old ones, data,
// CO-RE, lines. What it says is checked by the tests; the fuzz targets start from it.
std::string example_object();

}  // namespace skep::test
