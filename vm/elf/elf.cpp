// Reading of ELF64 relocatable files (see elf.hpp).

#include "vm/elf/elf.hpp"

#include <string>

#include "vm/base/try.hpp"

namespace skep::elf {
namespace {

// The wire structs, as the System V ABI lays them out; all fields naturally aligned.
struct FileHeader {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, program_headers, section_headers;
    uint32_t flags;
    uint16_t header_size, program_header_size, program_header_count;
    uint16_t section_header_size, section_header_count, name_section;
};
static_assert(sizeof(FileHeader) == 64);

struct SectionHeader {
    uint32_t name, type;
    uint64_t flags, address, offset, size;
    uint32_t link, info;
    uint64_t alignment, entry_size;
};
static_assert(sizeof(SectionHeader) == 64);

struct SymbolRecord {
    uint32_t name;
    uint8_t info, other;
    uint16_t section;
    uint64_t value, size;
};
static_assert(sizeof(SymbolRecord) == 24);

constexpr uint64_t kRelBytes = 16, kRelaBytes = 24;
constexpr uint16_t kTypeRelocatable = 1;
constexpr uint16_t kFirstReservedSection = 0xff00, kExtendedIndex = 0xffff;

std::unexpected<Error> bad(std::string message, std::string_view section = {}) {
    return fail(ErrorCode::BadElf, std::move(message), {.section = std::string(section)});
}

Result<FileHeader> read_header(ByteView file) {
    const auto magic = file.read<uint32_t>(0);
    if (!magic || *magic != 0x464c457f) return bad("no ELF magic at its start");
    const auto file_class = file.read<uint8_t>(4), order = file.read<uint8_t>(5);
    if (file_class != 2) return bad("not a 64-bit ELF file");
    if (order == 2)
        return fail(
            ErrorCode::BigEndian,
            "the object is big-endian (bpfeb); only little-endian ones (-target bpfel) run");
    if (order != 1) return bad("unknown byte order " + std::to_string(order.value_or(0)));
    const auto header = file.read<FileHeader>(0);
    if (!header) return bad("shorter than the ELF header of 64 bytes");
    if (header->section_headers == 0) return bad("no section headers");
    if (header->section_header_size != sizeof(SectionHeader))
        return bad("section headers of " + std::to_string(header->section_header_size) +
                   " bytes; 64 are needed");
    return *header;
}

Result<void> check_bpf(const FileHeader& header) {
    if (header.machine != kMachineBpf && header.machine != kMachineNone)
        return fail(ErrorCode::NotBpf, "an ELF file for machine " + std::to_string(header.machine) +
                                           "; 247 (BPF) is needed");
    if (header.type != kTypeRelocatable)
        return bad("ELF type " + std::to_string(header.type) + "; 1 (relocatable) is needed");
    return {};
}

}  // namespace

Result<Elf> Elf::parse(Bytes bytes) {
    const ByteView file(bytes);
    SKEP_TRY(const FileHeader header, read_header(file));
    SKEP_CHECK(check_bpf(header));
    Elf elf;
    SKEP_CHECK(elf.read_sections(file, header.section_headers, header.section_header_count,
                                 header.name_section));
    SKEP_CHECK(elf.read_symbols());
    return elf;
}

Result<Bytes> Elf::extract(Bytes bytes, std::string_view section) {
    const ByteView file(bytes);
    SKEP_TRY(const FileHeader header, read_header(file));
    Elf elf;
    SKEP_CHECK(elf.read_sections(file, header.section_headers, header.section_header_count,
                                 header.name_section));
    const Section* found = elf.find_section(section);
    if (found == nullptr)
        return fail(ErrorCode::NotFound,
                    "the ELF file has no section '" + std::string(section) + "'");
    return found->data;
}

Result<void> Elf::read_sections(ByteView file, uint64_t table, uint32_t count, uint32_t names) {
    // Section 0 holds the count and the name table's index where they do not fit in 16 bits.
    const auto first = file.read<SectionHeader>(table);
    if (!first) return bad("the section headers lie outside of the file");
    const uint64_t all = count != 0 ? count : first->size;
    if (names == kExtendedIndex) names = first->link;
    if (all == 0 || all >= kFirstReservedSection ||
        !file.contains(table, all * sizeof(SectionHeader)))
        return bad(std::to_string(all) + " section headers do not fit in the file");
    count = static_cast<uint32_t>(all);
    const auto header_at = [&](uint32_t i) {
        return *file.read<SectionHeader>(table + uint64_t{i} * sizeof(SectionHeader));
    };
    if (names >= count)
        return bad("section name table " + std::to_string(names) + " of " + std::to_string(count) +
                   " sections");
    const SectionHeader name_header = header_at(names);
    const auto name_table = file.sub(name_header.offset, name_header.size);
    if (!name_table || name_header.type != kShtStrtab)
        return bad("the section name table is not a string table inside of the file");
    sections_.resize(count);
    uint64_t bytes_used = 0;
    for (uint32_t i = 1; i < count; ++i) {
        const SectionHeader h = header_at(i);
        const auto name = name_table->c_string(h.name);
        if (!name)
            return bad("section " + std::to_string(i) + ": its name lies outside of the table");
        Section& section = sections_[i];
        section = {*name, i, h.type, h.flags, h.size, h.link, h.info, h.entry_size, {}};
        if (h.type == kShtNobits || h.type == 0) continue;
        const auto data = file.sub(h.offset, h.size);
        if (!data)
            return bad("its " + std::to_string(h.size) + " bytes at " + std::to_string(h.offset) +
                           " lie outside of the file's " + std::to_string(file.size()),
                       *name);
        // Sections that share bytes would let a small file describe unlimited work.
        bytes_used += h.size;
        if (bytes_used > file.size()) return bad("sections overlap", *name);
        section.data = data->bytes();
    }
    return {};
}

Result<void> Elf::read_symbols() {
    const Section* table = nullptr;
    for (const Section& s : sections_) {
        if (s.type != kShtSymtab) continue;
        if (table != nullptr) return bad("a second symbol table", s.name);
        table = &s;
    }
    if (table == nullptr) return {};
    if (table->entry_size != sizeof(SymbolRecord) || table->size % sizeof(SymbolRecord) != 0)
        return bad("symbols of " + std::to_string(table->entry_size) + " bytes; 24 are needed",
                   table->name);
    if (table->link >= sections_.size() || sections_[table->link].type != kShtStrtab)
        return bad("the symbols' names are in section " + std::to_string(table->link) +
                       ", which is not a string table",
                   table->name);
    const ByteView records(table->data), names(sections_[table->link].data);
    symbols_.reserve(table->size / sizeof(SymbolRecord));
    for (uint64_t at = 0; at < table->size; at += sizeof(SymbolRecord)) {
        const SymbolRecord r = *records.read<SymbolRecord>(at);
        const uint32_t index = static_cast<uint32_t>(symbols_.size());
        const auto name = r.name == 0 ? std::string_view() : names.c_string(r.name);
        if (!name)
            return bad("symbol " + std::to_string(index) + ": its name lies outside of the names");
        const bool special = r.section == kShnAbs || r.section == kShnCommon;
        if (r.section >= sections_.size() && !special)
            return fail(ErrorCode::BadSymbol, "symbol '" + std::string(*name) + "' is in section " +
                                                  std::to_string(r.section) + " of " +
                                                  std::to_string(sections_.size()));
        const uint8_t bind = r.info >> 4, type = r.info & 0xf;
        symbols_.push_back({*name, index, bind <= 2 ? static_cast<Bind>(bind) : Bind::Other,
                            type <= 4 ? static_cast<SymbolType>(type) : SymbolType::Other,
                            static_cast<uint8_t>(r.other & 3), r.section, r.value, r.size});
    }
    return {};
}

const Section* Elf::find_section(std::string_view name) const {
    for (const Section& s : sections_)
        if (s.name == name && s.type != 0) return &s;
    return nullptr;
}

Result<std::vector<Relocation>> Elf::relocations(const Section& section) const {
    const bool rela = section.type == kShtRela;
    const uint64_t each = rela ? kRelaBytes : kRelBytes;
    const auto error = [&](std::string message) {
        return fail(ErrorCode::BadRelocation, std::move(message),
                    {.section = std::string(section.name)});
    };
    if ((section.entry_size != 0 && section.entry_size != each) || section.size % each != 0)
        return error("relocations of " + std::to_string(section.entry_size) + " bytes; " +
                     std::to_string(each) + " are needed");
    const ByteView view(section.data);
    std::vector<Relocation> list;
    list.reserve(section.size / each);
    for (uint64_t at = 0; at < section.size; at += each) {
        const uint64_t info = *view.read<uint64_t>(at + 8);
        Relocation r{*view.read<uint64_t>(at), static_cast<uint32_t>(info),
                     static_cast<uint32_t>(info >> 32), 0, rela};
        if (rela) r.addend = *view.read<int64_t>(at + 16);
        if (r.symbol >= symbols_.size())
            return error("relocation " + std::to_string(at / each) + " names symbol " +
                         std::to_string(r.symbol) + " of " + std::to_string(symbols_.size()));
        list.push_back(r);
    }
    return list;
}

}  // namespace skep::elf
