// .BTF.ext: which function, source line and CO-RE relocation belongs to which instruction of an ELF
// section. Strings and types refer to the object's BTF; record sizes may grow in newer compilers,
// what follows the known fields is skipped. Offsets are checked against the BTF here; against the
// sections by whoever links.
// Source: Documentation/bpf/btf.rst, "BTF.ext section".
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <skep/error.hpp>

#include "vm/base/bytes.hpp"
#include "vm/btf/btf.hpp"

namespace skep {

struct BtfFuncInfo {
    uint32_t offset = 0;  // bytes from the start of the ELF section, a multiple of 8
    uint32_t type = 0;    // a FUNC
};
struct BtfLineInfo {
    uint32_t offset = 0;
    uint32_t line = 0, column = 0;
    std::string_view file, text;
};

// What a CO-RE relocation asks for; numbers of the wire format.
enum class CoreKind : uint32_t {
    FieldByteOffset = 0,
    FieldByteSize = 1,
    FieldExists = 2,
    FieldSigned = 3,
    FieldLshiftU64 = 4,
    FieldRshiftU64 = 5,
    TypeIdLocal = 6,
    TypeIdTarget = 7,
    TypeExists = 8,
    TypeSize = 9,
    EnumvalExists = 10,
    EnumvalValue = 11,
    TypeMatches = 12,
};
inline constexpr uint32_t kCoreKinds = 13;

struct CoreRelocation {
    uint32_t offset = 0;
    uint32_t type = 0;        // local root type
    std::string_view access;  // "0:1:2", see core.hpp
    CoreKind kind{};
};

template <class Record>
struct BtfExtSection {
    std::string_view name;        // of the ELF section
    std::vector<Record> records;  // sorted by offset, equal ones in file order
};

struct BtfExt {
    std::vector<BtfExtSection<BtfFuncInfo>> funcs;
    std::vector<BtfExtSection<BtfLineInfo>> lines;
    std::vector<BtfExtSection<CoreRelocation>> relocations;

    // Errors: bad_btf_ext, big_endian. The string_views live as long as `btf`.
    static Result<BtfExt> parse(Bytes bytes, const Btf& btf);
};

}  // namespace skep
