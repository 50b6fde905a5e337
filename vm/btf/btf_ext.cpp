// Parsing of .BTF.ext (see btf_ext.hpp): one walk for the three kinds of records.

#include "vm/btf/btf_ext.hpp"

#include <algorithm>
#include <optional>

#include "vm/base/try.hpp"

namespace skep {
namespace {

std::unexpected<Error> bad(std::string_view what) {
    return fail(ErrorCode::BadBtfExt, ".BTF.ext: " + std::string(what));
}

Result<std::string_view> string_of(const Btf& btf, uint32_t offset, std::string_view what) {
    const auto text = btf.string(offset);
    if (!text)
        return bad("the " + std::string(what) + " at string offset " + std::to_string(offset) +
                   " lies outside of the BTF's strings");
    return *text;
}

Result<BtfFuncInfo> read_record(ByteView record, const Btf& btf, BtfFuncInfo*) {
    const BtfFuncInfo info{*record.read<uint32_t>(0), *record.read<uint32_t>(4)};
    if (!btf.has(info.type) || !btf.type(info.type).is(BtfKind::Func))
        return bad("function record with type " + std::to_string(info.type) +
                   ", which is not a function");
    return info;
}

Result<BtfLineInfo> read_record(ByteView record, const Btf& btf, BtfLineInfo*) {
    BtfLineInfo info{.offset = *record.read<uint32_t>(0)};
    SKEP_TRY(info.file, string_of(btf, *record.read<uint32_t>(4), "file name"));
    SKEP_TRY(info.text, string_of(btf, *record.read<uint32_t>(8), "source line"));
    const uint32_t place = *record.read<uint32_t>(12);
    info.line = place >> 10;
    info.column = place & 0x3ff;
    return info;
}

Result<CoreRelocation> read_record(ByteView record, const Btf& btf, CoreRelocation*) {
    CoreRelocation relo{.offset = *record.read<uint32_t>(0), .type = *record.read<uint32_t>(4)};
    if (!btf.has(relo.type))
        return bad("CO-RE record with type " + std::to_string(relo.type) + " of " +
                   std::to_string(btf.type_count()));
    SKEP_TRY(relo.access, string_of(btf, *record.read<uint32_t>(8), "access string"));
    const uint32_t kind = *record.read<uint32_t>(12);
    if (kind >= kCoreKinds)
        return bad("CO-RE record of kind " + std::to_string(kind) + "; 0..12 are known");
    relo.kind = static_cast<CoreKind>(kind);
    return relo;
}

// A subsection: the record size, then per ELF section its name, the count and the records.
template <class Record>
Result<std::vector<BtfExtSection<Record>>> read_part(std::optional<ByteView> part,
                                                     std::string_view what, uint32_t min_size,
                                                     const Btf& btf) {
    std::vector<BtfExtSection<Record>> sections;
    if (!part) return bad(std::string(what) + " lie outside of the section");
    if (part->empty()) return sections;
    const auto size = part->read<uint32_t>(0);
    if (!size || *size < min_size || *size % 4 != 0)
        return bad(std::string(what) + ": records of " + std::to_string(size.value_or(0)) +
                   " bytes; at least " + std::to_string(min_size) + " are needed");
    uint64_t at = 4;
    while (at < part->size()) {
        const auto name = part->read<uint32_t>(at), count = part->read<uint32_t>(at + 4);
        if (!name || !count) return bad(std::string(what) + " end in the middle of a header");
        at += 8;
        const auto records = part->sub(at, uint64_t{*count} * *size);
        if (!records || *count == 0)
            return bad(std::string(what) + ": a list of " + std::to_string(*count) + " records");
        at += records->size();
        BtfExtSection<Record> section;
        SKEP_TRY(section.name, string_of(btf, *name, "section name"));
        section.records.reserve(*count);
        for (uint32_t i = 0; i < *count; ++i) {
            SKEP_TRY(Record record, read_record(*records->sub(uint64_t{i} * *size, *size), btf,
                                                static_cast<Record*>(nullptr)));
            section.records.push_back(record);
        }
        const auto by_offset = [](const Record& a, const Record& b) { return a.offset < b.offset; };
        if (!std::is_sorted(section.records.begin(), section.records.end(), by_offset))
            std::stable_sort(section.records.begin(), section.records.end(), by_offset);
        sections.push_back(std::move(section));
    }
    return sections;
}

}  // namespace

Result<BtfExt> BtfExt::parse(Bytes bytes, const Btf& btf) {
    const ByteView view(bytes);
    const auto magic = view.read<uint16_t>(0);
    const auto version = view.read<uint8_t>(2);
    const auto header = view.read<uint32_t>(4);
    if (!magic || !version || !header) return bad("shorter than its header");
    if (*magic == 0x9feb) return fail(ErrorCode::BigEndian, "big-endian .BTF.ext");
    if (*magic != 0xeb9f) return bad("without its magic 0xeb9f");
    if (*version != 1) return bad("version " + std::to_string(*version) + "; only 1 is known");
    // 24 bytes in the first compilers, 32 since there are CO-RE records.
    if (*header < 24 || *header > view.size())
        return bad("a header of " + std::to_string(*header) + " bytes");
    const auto part = [&](uint32_t field) -> std::optional<ByteView> {
        if (field + 8 > *header) return ByteView();
        const auto off = view.read<uint32_t>(field), len = view.read<uint32_t>(field + 4);
        if (!off || !len) return std::nullopt;
        if (*len == 0) return ByteView();
        return view.sub(uint64_t{*header} + *off, *len);
    };
    BtfExt ext;
    SKEP_TRY(ext.funcs, read_part<BtfFuncInfo>(part(8), "function records", 8, btf));
    SKEP_TRY(ext.lines, read_part<BtfLineInfo>(part(16), "line records", 16, btf));
    SKEP_TRY(ext.relocations, read_part<CoreRelocation>(part(24), "CO-RE records", 16, btf));
    return ext;
}

}  // namespace skep
