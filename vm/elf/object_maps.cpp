// Maps of an object, in libbpf's order: .maps, legacy maps, data sections, .kconfig, struct_ops.

#include <algorithm>
#include <bit>

#include "maps/map_types.hpp"
#include "vm/base/try.hpp"
#include "vm/elf/object_impl.hpp"

namespace skep {
namespace {

constexpr uint64_t kMaxDataBytes = uint64_t{1} << 30;  // of one data section
constexpr size_t kMaxMaps = 4096;
constexpr uint32_t kMaxStructOpsMembers = 256;  // sched_ext's, the largest, has about 40
constexpr uint32_t kLinkFlag = 1u << 13;        // BPF_F_LINK, of struct_ops maps

bool is_legacy_section(std::string_view name) {
    return name == "maps" || name.starts_with("maps/");
}

// A section whose bytes are one map value; constant ones are .rodata.
bool is_data_section(const elf::Section& s) {
    const auto named = [&](std::string_view base) {
        return s.name == base || (s.name.starts_with(base) && s.name.size() > base.size() &&
                                  s.name[base.size()] == '.');
    };
    if (s.type == elf::kShtNobits) return named(".bss");
    return s.type == elf::kShtProgbits && !s.is_exec() && (named(".data") || named(".rodata"));
}

bool is_struct_ops_section(std::string_view name) {
    if (name.starts_with('?')) name.remove_prefix(1);
    return name == ".struct_ops" || name == ".struct_ops.link";
}

}  // namespace

void Object::Impl::add_map(MapDef def, MapPlace place) {
    maps.push_back(std::move(def));
    places.push_back(place);
}

BtfType Object::Impl::find_datasec(std::string_view name) const {
    for (const uint32_t id : datasecs)
        if (btf->type(id).name() == name) return btf->type(id);
    return BtfType();
}

// clang leaves the offsets of globals to relocations, which name them; those of statics it writes.
// gcc writes none.
uint64_t Object::Impl::variable_offset(const BtfSectionVar& var, const BtfType& datasec,
                                       const elf::Section& section) const {
    const BtfType v = btf->type(var.type);
    const bool finished = datasec.size() != 0;  // by a linker
    if (finished || (v.linkage() == BtfLinkage::Static && !from_gcc)) return var.offset;
    const elf::Symbol* symbol = find_symbol(v.name(), section.index);
    return symbol != nullptr ? symbol->value : var.offset;
}

int32_t Object::Impl::map_at(uint32_t section, uint64_t offset) const {
    for (size_t i = 0; i < places.size(); ++i) {
        const MapPlace& p = places[i];
        const bool defines = p.origin == MapOrigin::Btf || p.origin == MapOrigin::Legacy;
        if (defines && p.section == section && p.offset == offset) return static_cast<int32_t>(i);
    }
    return -1;
}

Result<void> Object::Impl::read_maps() {
    if (btf)
        for (uint32_t id = 1; id < btf->type_count(); ++id)
            if (btf->type(id).is(BtfKind::Datasec)) datasecs.push_back(id);
    SKEP_CHECK(read_btf_maps());
    SKEP_CHECK(read_legacy_maps());
    SKEP_CHECK(read_data_maps());
    SKEP_CHECK(read_kconfig_map());
    SKEP_CHECK(read_struct_ops());
    if (maps.size() > kMaxMaps)
        return fail(ErrorCode::LimitExceeded, std::to_string(maps.size()) + " maps; at most " +
                                                  std::to_string(kMaxMaps) + " are made");
    SKEP_CHECK(wire_legacy_maps());
    return read_map_entries();
}

// --- BTF-defined maps
// -------------------------------------------------------------------------------

namespace {

// One member of a map definition: `int (*name)[N]` holds a number, `T *name` a type, `T *name[]`
// initial entries, and an enum with one enumerator a 64-bit number. The first BTF-defined maps
// (Linux 5.2) had numbers as initialised integers: their values are in the section.
struct DefinitionReader {
    const Btf& btf;
    std::string_view map;
    ByteView initial;  // of the definition's variable; empty for inner maps

    std::unexpected<Error> bad(std::string message) const {
        return fail(ErrorCode::BadMapDef, "map '" + std::string(map) + "': " + std::move(message));
    }

    Result<uint32_t> number(const BtfMember& m) const {
        const BtfType pointer = btf.resolved(m.type);
        if (pointer.is(BtfKind::Int) && pointer.size() == 4)
            if (const auto number = initial.read<uint32_t>(m.offset())) return *number;
        const BtfType array = pointer.is(BtfKind::Ptr) ? btf.resolved(pointer.type()) : BtfType();
        if (!array.is(BtfKind::Array))
            return bad("'" + std::string(m.name) + "' is of type '" + btf.type_name(m.type) +
                       "', where a pointer to an array says the number");
        return array.array().count;
    }

    Result<uint64_t> wide_number(const BtfMember& m) const {
        const BtfType t = btf.resolved(m.type);
        if (!t.is_any_enum()) {
            SKEP_TRY(const uint32_t value, number(m));
            return value;
        }
        if (t.count() != 1) return bad("'" + std::string(m.name) + "' is not one enumerator");
        return t.enumerator(0).value;
    }

    // Key and value: the type pointed to, and its size, which an earlier member may have said.
    Result<void> type(const BtfMember& m, uint32_t& id, uint32_t& size) const {
        const BtfType pointer = btf.resolved(m.type);
        if (!pointer.is(BtfKind::Ptr))
            return bad("'" + std::string(m.name) + "' is no pointer to a type");
        const auto bytes = btf.size_of(pointer.type());
        if (!bytes) return bad("type '" + btf.type_name(pointer.type()) + "' has no size");
        if (size != 0 && size != *bytes)
            return bad("'" + std::string(m.name) + "_size' is " + std::to_string(size) +
                       ", its type has " + std::to_string(*bytes) + " bytes");
        size = *bytes;
        id = pointer.type();
        return {};
    }

    Result<void> size(const BtfMember& m, uint32_t& out) const {
        SKEP_TRY(const uint32_t value, number(m));
        if (out != 0 && out != value)
            return bad("'" + std::string(m.name) + "' is " + std::to_string(value) +
                       ", its type has " + std::to_string(out) + " bytes");
        out = value;
        return {};
    }
};

// What Linux refuses to make with special fields, libbpf makes without a type: then the values are
// plain bytes.
void set_fields(MapDef& def, Result<std::vector<SpecialField>> found) {
    if (!found) return;
    def.fields = *std::move(found);
    if (!check_map_fields(def)) def.fields.clear();
}

bool holds_maps(MapType type) {
    return type == MapType::ArrayOfMaps || type == MapType::HashOfMaps;
}

}  // namespace

// Ring buffers are whole pages, and a power of two of them: libbpf rounds up.
uint32_t ring_bytes(MapType type, uint32_t bytes) {
    constexpr uint32_t kPage = 4096, kLargest = 1u << 31;
    if (type != MapType::Ringbuf && type != MapType::UserRingbuf) return bytes;
    if (bytes == 0 || bytes > kLargest) return bytes;
    return std::max(std::bit_ceil(bytes), kPage);
}

Result<MapDef> Object::Impl::parse_map_def(std::string map_name, uint32_t struct_id,
                                           MapPlace& place) const {
    MapDef def;
    def.name = std::move(map_name);
    ByteView initial;
    if (place.section != 0)
        initial = ByteView(elf.sections()[place.section].data)
                      .sub(place.offset, place.size)
                      .value_or(ByteView());
    const DefinitionReader read{*btf, def.name, initial};
    const BtfType t = btf->type(struct_id);
    uint32_t number = 0;
    for (uint32_t i = 0; i < t.count(); ++i) {
        const BtfMember m = t.member(i);
        if (m.name == "type") {
            SKEP_TRY(number, read.number(m));
            def.type = static_cast<MapType>(number);
        } else if (m.name == "max_entries") {
            SKEP_TRY(def.max_entries, read.number(m));
        } else if (m.name == "map_flags") {
            SKEP_TRY(def.flags, read.number(m));
        } else if (m.name == "numa_node") {
            SKEP_TRY(def.numa_node, read.number(m));
        } else if (m.name == "key_size") {
            SKEP_CHECK(read.size(m, def.key_size));
        } else if (m.name == "value_size") {
            SKEP_CHECK(read.size(m, def.value_size));
        } else if (m.name == "key") {
            SKEP_CHECK(read.type(m, def.key_btf, def.key_size));
        } else if (m.name == "value") {
            SKEP_CHECK(read.type(m, def.value_btf, def.value_size));
        } else if (m.name == "map_extra") {
            SKEP_TRY(def.map_extra, read.wide_number(m));
        } else if (m.name == "pinning") {
            SKEP_TRY(number, read.number(m));
            if (number > 1) return read.bad("unknown pinning " + std::to_string(number));
            def.pin_by_name = number == 1;
        } else if (m.name == "values") {
            const BtfType array = btf->resolved(m.type);
            const BtfType pointer =
                array.is(BtfKind::Array) ? btf->resolved(array.array().element) : BtfType();
            if (!pointer.is(BtfKind::Ptr))
                return read.bad("'values' is of type '" + btf->type_name(m.type) +
                                "', where an array of pointers is needed");
            place.values_offset = m.offset();
            const BtfType target = btf->resolved(pointer.type());
            // A map's shape inside a map's shape inside ... ends here: Linux has one level.
            if (target.is(BtfKind::Struct) && place.struct_id == 0) {
                MapPlace inner_place{.struct_id = target.id()};
                SKEP_TRY(MapDef inner,
                         parse_map_def(def.name + ".inner", target.id(), inner_place));
                def.inner = std::make_shared<const MapDef>(std::move(inner));
            }
        }
        // Other members mean nothing here; newer libbpf may know them.
    }
    if (def.type == MapType::Unspec) return read.bad("its type is not said");
    // Linux stores a file descriptor or id: 4 bytes, whatever the declared value.
    if ((holds_maps(def.type) || def.type == MapType::ProgArray) && def.value_size == 0)
        def.value_size = 4;
    if (holds_maps(def.type) && def.key_size == 0) def.key_size = 4;
    def.max_entries = ring_bytes(def.type, def.max_entries);
    // libbpf maps an arena wherever there is room, before programs are loaded.
    if (def.type == MapType::Arena && def.map_extra == 0) def.map_extra = kArenaStart;
    if (def.key_btf != 0 || def.value_btf != 0) def.btf = btf;
    if (def.value_btf != 0) set_fields(def, special_fields(*btf, def.value_btf));
    return def;
}

Result<void> Object::Impl::read_btf_maps() {
    const elf::Section* section = elf.find_section(".maps");
    if (section == nullptr || section->size == 0) return {};
    const BtfType datasec = btf ? find_datasec(".maps") : BtfType();
    if (!datasec.is(BtfKind::Datasec))
        return fail(ErrorCode::BadBtf,
                    "the section has maps, but no BTF describes them (was the "
                    "object compiled without -g?)",
                    where(".maps"));
    for (uint32_t i = 0; i < datasec.count(); ++i)
        SKEP_CHECK(read_btf_map(datasec.section_var(i), *section));
    return {};
}

Result<void> Object::Impl::read_btf_map(const BtfSectionVar& var, const elf::Section& section) {
    const BtfType v = btf->type(var.type);
    const auto bad = [&](std::string_view what) {
        return fail(ErrorCode::BadMapDef,
                    "map '" + std::string(v.name()) + "' " + std::string(what),
                    where(section.name));
    };
    if (!v.is(BtfKind::Var) || v.name().empty()) return bad("is no variable");
    const BtfType t = btf->resolved(v.type());
    if (!t.is(BtfKind::Struct)) return bad("is no struct");
    if (v.linkage() == BtfLinkage::Extern) return bad("is extern; link the objects first");
    const BtfType datasec = find_datasec(section.name);
    MapPlace place{.origin = MapOrigin::Btf, .section = section.index};
    place.offset = variable_offset(var, datasec, section);
    place.size = std::max(var.size, t.size());
    if (place.offset > section.size || place.size > section.size - place.offset)
        return bad("ends after its section");
    auto def = parse_map_def(std::string(v.name()), t.id(), place);
    if (!def) {
        def.error().where = where(section.name);
        return std::unexpected(std::move(def).error());
    }
    place.struct_id = t.id();
    add_map(*std::move(def), place);
    return {};
}

// --- legacy maps
// ------------------------------------------------------------------------------------

// struct bpf_map_def {type, key_size, value_size, max_entries, map_flags, [inner_map_idx,
// numa_node]} of libbpf and the kernel's samples, or iproute2's struct bpf_elf_map {..., flags, id,
// pinning, [inner_id, inner_idx]}. The two agree up to the flags. 36 bytes are iproute2's; 28 may
// be either, where the programs' sections ("3/0") or the map's BTF type tell.
Result<void> Object::Impl::read_legacy_maps() {
    const bool slots_in_names = std::any_of(programs.begin(), programs.end(), [](const auto& p) {
        return !p.section.empty() && p.section[0] >= '0' && p.section[0] <= '9';
    });
    for (const elf::Section& s : elf.sections()) {
        if (s.type != elf::kShtProgbits || !is_legacy_section(s.name) || s.is_exec()) continue;
        std::vector<const elf::Symbol*> chosen;
        for (const elf::Symbol* symbol : symbols_of(s.index))
            if (symbol->type != elf::SymbolType::Section && symbol->type != elf::SymbolType::File)
                chosen.push_back(symbol);
        std::stable_sort(chosen.begin(), chosen.end(),
                         [](const auto* a, const auto* b) { return a->value < b->value; });
        for (size_t i = 0; i < chosen.size(); ++i) {
            const elf::Symbol& symbol = *chosen[i];
            const uint64_t end = i + 1 < chosen.size() ? chosen[i + 1]->value : s.size;
            const uint64_t size =
                symbol.size != 0 ? symbol.size : end - std::min(end, symbol.value);
            const auto data = ByteView(s.data).sub(symbol.value, size);
            if (!data || size < 20)
                return fail(ErrorCode::BadMapDef,
                            "map '" + std::string(symbol.name) + "' of " + std::to_string(size) +
                                " bytes; at least 20 inside of the section are "
                                "needed",
                            where(s.name));
            MapDef def;
            def.name = std::string(symbol.name);
            def.type = static_cast<MapType>(*data->read<uint32_t>(0));
            def.key_size = *data->read<uint32_t>(4);
            def.value_size = *data->read<uint32_t>(8);
            def.max_entries = *data->read<uint32_t>(12);
            def.flags = *data->read<uint32_t>(16);
            if (def.type == MapType::Unspec)
                return fail(ErrorCode::BadMapDef, "map '" + def.name + "' has type 0",
                            where(s.name));
            MapPlace place{.origin = MapOrigin::Legacy, .section = s.index};
            place.offset = symbol.value;
            place.size = size;
            const bool iproute2 = size >= 36 || (size >= 28 && slots_in_names);
            if (iproute2) {
                place.id = *data->read<uint32_t>(20);
                def.pin_by_name = *data->read<uint32_t>(24) != 0;
                place.inner_id = data->read<uint32_t>(28).value_or(0);
                place.inner_slot = data->read<int32_t>(32).value_or(-1);
            } else if (size >= 28) {
                place.inner_id = *data->read<uint32_t>(20);  // index of the inner map
                def.numa_node = *data->read<uint32_t>(24);
            }
            add_map(std::move(def), place);
        }
    }
    return {};
}

namespace {

// "3/7", "0x3/7": iproute2's map id and slot.
struct TailSection {
    uint64_t id = 0, slot = 0;
};
std::optional<uint64_t> parse_number(std::string_view& text) {
    unsigned base = 10;
    if (text.starts_with("0x") || text.starts_with("0X")) {
        base = 16;
        text.remove_prefix(2);
    }
    uint64_t value = 0;
    size_t digits = 0;
    while (digits < text.size() && digits < 10) {
        const char c = text[digits];
        const unsigned digit = c >= '0' && c <= '9'   ? unsigned(c - '0')
                               : c >= 'a' && c <= 'f' ? unsigned(c - 'a') + 10
                               : c >= 'A' && c <= 'F' ? unsigned(c - 'A') + 10
                                                      : 99;
        if (digit >= base) break;
        value = value * base + digit;
        ++digits;
    }
    if (digits == 0) return std::nullopt;
    text.remove_prefix(digits);
    return value;
}
std::optional<TailSection> parse_tail_section(std::string_view name) {
    const auto id = parse_number(name);
    if (!id || !name.starts_with('/')) return std::nullopt;
    name.remove_prefix(1);
    const auto slot = parse_number(name);
    if (!slot || !name.empty() || *slot > UINT32_MAX) return std::nullopt;
    return TailSection{*id, *slot};
}

}  // namespace

// What legacy definitions say about each other: inner maps, and programs' slots in program arrays.
Result<void> Object::Impl::wire_legacy_maps() {
    const auto legacy = [&](size_t i) { return places[i].origin == MapOrigin::Legacy; };
    for (size_t outer = 0; outer < maps.size(); ++outer) {
        if (!legacy(outer) || !holds_maps(maps[outer].type)) continue;
        const MapPlace& place = places[outer];
        for (size_t i = 0; i < maps.size(); ++i) {
            const bool by_id = place.id >= 0;
            const bool is_inner = legacy(i) && i != outer &&
                                  (by_id ? places[i].id == place.inner_id
                                         : static_cast<int64_t>(i) == place.inner_id);
            if (!is_inner) continue;
            if (!maps[outer].inner) maps[outer].inner = std::make_shared<const MapDef>(maps[i]);
            if (by_id && places[i].inner_slot >= 0)
                maps[outer].init.push_back(
                    {static_cast<uint32_t>(places[i].inner_slot), maps[i].name});
        }
    }
    for (size_t p = 0; p < programs.size(); ++p) {
        const auto tail = parse_tail_section(programs[p].section);
        if (!tail) continue;
        for (size_t i = 0; i < maps.size(); ++i) {
            if (!legacy(i) || maps[i].type != MapType::ProgArray) continue;
            if (places[i].id != static_cast<int64_t>(tail->id)) continue;
            maps[i].init.push_back(
                {static_cast<uint32_t>(tail->slot), std::string(programs[p].name)});
            // Only tc's loader has this convention.
            if (programs[p].type == nullptr) SKEP_CHECK(set_type(p, "sched_cls"));
        }
    }
    return {};
}

// --- data sections
// ----------------------------------------------------------------------------------

Result<void> Object::Impl::read_data_maps() {
    std::vector<const elf::Section*> chosen;
    for (const elf::Section& s : elf.sections()) {
        if (!is_data_section(s) || s.size == 0) continue;
        if (s.size > kMaxDataBytes)
            return fail(ErrorCode::LimitExceeded,
                        std::to_string(s.size) + " bytes of data; at most " +
                            std::to_string(kMaxDataBytes) + " are kept",
                        where(s.name));
        chosen.push_back(&s);
    }
    for (const elf::Section* s : chosen) {
        MapDef def;
        def.name = std::string(s->name);
        def.type = MapType::Array;
        def.key_size = 4;
        def.value_size = static_cast<uint32_t>(s->size);
        def.max_entries = 1;
        def.frozen = s->name.starts_with(".rodata");
        if (def.frozen) def.flags |= map_flags::kRdonlyProg;
        def.contents.assign(s->data.begin(), s->data.end());  // none for .bss: zero
        std::vector<PlacedVariable> variables;
        const BtfType datasec = btf ? find_datasec(s->name) : BtfType();
        if (datasec.is(BtfKind::Datasec)) {
            def.btf = btf;
            def.value_btf = datasec.id();
            bool any_global = false;
            for (uint32_t i = 0; i < datasec.count(); ++i) {
                const BtfSectionVar v = datasec.section_var(i);
                const BtfType var = btf->type(v.type);
                if (!var.is(BtfKind::Var)) continue;
                any_global |= var.linkage() != BtfLinkage::Static;
                variables.push_back({var.type(), v.type, variable_offset(v, datasec, *s)});
            }
            // As libbpf: what a skeleton can reach is mapped into its process.
            if (any_global) def.flags |= map_flags::kMmapable;
            set_fields(def, special_fields(*btf, variables));
        }
        data_map[s->index] = static_cast<int32_t>(maps.size());
        add_map(std::move(def), {.origin = MapOrigin::Data, .section = s->index, .size = s->size});
    }
    // Globals in the arena's address space are initial contents of the one arena map.
    if (const elf::Section* s = elf.find_section(".addr_space.1"); s != nullptr && s->size != 0) {
        for (size_t i = 0; i < maps.size(); ++i) {
            if (maps[i].type != MapType::Arena) continue;
            maps[i].contents.assign(s->data.begin(), s->data.end());
            data_map[s->index] = static_cast<int32_t>(i);
            break;
        }
    }
    return {};
}

// --- struct_ops
// -------------------------------------------------------------------------------------

Result<void> Object::Impl::read_struct_ops() {
    for (const elf::Section& s : elf.sections()) {
        if (!is_struct_ops_section(s.name) || s.size == 0) continue;
        const BtfType datasec = btf ? find_datasec(s.name) : BtfType();
        if (!datasec.is(BtfKind::Datasec))
            return fail(ErrorCode::BadBtf, "no BTF describes the section", where(s.name));
        for (uint32_t i = 0; i < datasec.count(); ++i) {
            const BtfSectionVar sv = datasec.section_var(i);
            const BtfType var = btf->type(sv.type);
            const BtfType t = var.is(BtfKind::Var) ? btf->resolved(var.type()) : BtfType();
            const uint64_t offset = var.is(BtfKind::Var) ? variable_offset(sv, datasec, s) : 0;
            const auto data = ByteView(s.data).sub(offset, t.size());
            if (!t.is(BtfKind::Struct) || !data)
                return fail(ErrorCode::BadMapDef,
                            "'" + std::string(var.name()) + "' is no struct inside of the section",
                            where(s.name));
            MapDef def;
            def.name = std::string(var.name());
            def.type = MapType::StructOps;
            def.key_size = 4;
            def.value_size = t.size();
            def.max_entries = 1;
            def.flags = s.name.ends_with(".link") ? kLinkFlag : 0;
            def.value_btf = t.id();
            def.btf = btf;
            def.contents.assign(data->bytes().begin(), data->bytes().end());
            add_map(std::move(def), {.origin = MapOrigin::StructOps,
                                     .section = s.index,
                                     .offset = offset,
                                     .size = t.size(),
                                     .struct_id = t.id()});
        }
    }
    return {};
}

// --- initial entries
// --------------------------------------------------------------------------------

// Pointers in the definitions of maps of maps, program arrays and struct_ops, by relocation.
Result<void> Object::Impl::read_map_entries() {
    for (size_t i = 0; i < maps.size(); ++i) {
        const MapPlace& place = places[i];
        if (place.origin == MapOrigin::StructOps ||
            (place.origin == MapOrigin::Btf && place.values_offset != 0))
            SKEP_CHECK(read_btf_entries(i));
    }
    return {};
}

Result<void> Object::Impl::read_btf_entries(size_t index) {
    MapDef& def = maps[index];
    const MapPlace& place = places[index];
    const elf::Section& section = elf.sections()[place.section];
    const auto& list = relocations[place.section];
    auto it = std::lower_bound(list.begin(), list.end(), place.offset,
                               [](const elf::Relocation& r, uint64_t o) { return r.offset < o; });
    for (; it != list.end() && it->offset < place.offset + place.size; ++it) {
        const elf::Symbol& symbol = elf.symbols()[it->symbol];
        const auto bad = [&](std::string_view what) {
            return fail(ErrorCode::BadRelocation,
                        "map '" + def.name + "', byte " +
                            std::to_string(it->offset - place.offset) + ": '" +
                            std::string(symbol.name) + "' " + std::string(what),
                        where(section.name));
        };
        const uint64_t at = it->offset - place.offset;
        if (at < place.values_offset || (at - place.values_offset) % 8 != 0)
            return bad("is not at a pointer of its initial entries");
        const uint64_t slot = (at - place.values_offset) / 8;
        // In-place addend: section symbols of static maps and functions.
        const uint64_t addend = it->has_addend
                                    ? static_cast<uint64_t>(it->addend)
                                    : ByteView(section.data).read<uint64_t>(it->offset).value_or(0);
        const bool included = old_binutils && symbol.type != elf::SymbolType::Section;
        const uint64_t target = (included ? 0 : symbol.value) + addend;
        std::string name;
        int32_t function = -1;
        if (symbol.section < relocations.size() && symbol.section != 0) {
            if (const int32_t map = map_at(symbol.section, target);
                map >= 0 && holds_maps(def.type)) {
                name = maps[static_cast<size_t>(map)].name;
            } else if (function = function_at(symbol.section, target / 8);
                       function >= 0 && !holds_maps(def.type)) {
                name = std::string(functions[static_cast<size_t>(function)].name);
            }
        }
        if (name.empty())
            return bad(holds_maps(def.type) ? "is not a map of this object"
                                            : "is not a program of this object");
        if (place.origin == MapOrigin::StructOps && function >= 0)
            set_struct_ops_member(place.struct_id, at, static_cast<uint32_t>(function));
        def.init.push_back({static_cast<uint32_t>(slot), std::move(name)});
    }
    return {};
}

// As libbpf: the attach type of a struct_ops program is the index of the member that it implements.
// Its attach target here: the struct and the member.
void Object::Impl::set_struct_ops_member(uint32_t struct_id, uint64_t offset, uint32_t function) {
    const auto it = std::lower_bound(program_function.begin(), program_function.end(), function);
    if (it == program_function.end() || *it != function) return;
    ObjectProgram& program = programs[static_cast<size_t>(it - program_function.begin())];
    const BtfType t = btf->type(struct_id);
    for (uint32_t i = 0; i < t.count() && i < kMaxStructOpsMembers; ++i) {
        if (uint64_t{t.member(i).bit_offset} != offset * 8) continue;
        program.attach_type = i;
        ops_members.push_back(std::string(t.name()) + "/" + std::string(t.member(i).name));
        program.attach_target = ops_members.back();
    }
}

}  // namespace skep
