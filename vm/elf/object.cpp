// What an Object tells about itself: accessors and dump().

#include <algorithm>

#include <skep/object.hpp>

#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/elf/object_impl.hpp"

namespace skep {

std::string_view Object::name() const { return impl_->object_name; }
std::string_view Object::license() const { return impl_->license; }
std::optional<uint32_t> Object::version() const { return impl_->version; }
std::shared_ptr<const Btf> Object::btf() const { return impl_->btf; }
std::span<const ObjectProgram> Object::programs() const { return impl_->programs; }
std::span<const ObjectFunction> Object::functions() const { return impl_->subprograms; }
const std::vector<MapDef>& Object::maps() const { return impl_->maps; }

std::string Object::target_btf_name() const {
    const std::lock_guard lock(impl_->target_mutex);
    return impl_->target_name;
}
std::shared_ptr<const Btf> Object::target_btf() const {
    const std::lock_guard lock(impl_->target_mutex);
    return impl_->target_used;
}

std::vector<ObjectGlobal> Object::globals() const {
    std::vector<ObjectGlobal> list;
    const Btf* btf = impl_->btf.get();
    const auto add = [&](ObjectGlobal g, uint32_t) {
        if (btf != nullptr && g.type_id != 0) g.type = btf->type_name(g.type_id);
        list.push_back(std::move(g));
    };
    impl_->for_each_global(add);
    for (const ObjectExternSymbol& e : impl_->externs)
        if (e.what == ObjectExtern::What::Kconfig)
            add({e.name, ".kconfig", {}, e.type, e.offset, e.size, true, false}, 0);
    return list;
}

std::vector<ObjectExtern> Object::externs() const {
    std::vector<ObjectExtern> list;
    for (const ObjectExternSymbol& e : impl_->externs) {
        ObjectExtern out{e.what, e.name, {}, e.weak, e.is_set, {}};
        if (e.type != 0) out.type = impl_->btf->type_name(e.type);
        if (e.is_set) {
            const auto it = impl_->kconfig.find(std::string(e.name));
            if (it != impl_->kconfig.end()) out.value = it->second;
        }
        list.push_back(std::move(out));
    }
    return list;
}

namespace {

using What = ObjectRelocation::What;

What kind_of(const Object::Impl& o, const elf::Relocation& r, bool patches_code) {
    const elf::Symbol& symbol = o.elf.symbols()[r.symbol];
    if (symbol.section == elf::kShnUndef) return What::Extern;
    if (symbol.section >= o.elf.sections().size()) return What::Unknown;
    const elf::Section& target = o.elf.sections()[symbol.section];
    if (target.is_exec()) return r.type == 10 && patches_code ? What::Call : What::FunctionAddress;
    if (o.data_map[target.index] >= 0) return What::Data;
    return o.map_at(target.index, symbol.value) >= 0 ? What::Map : What::Unknown;
}

}  // namespace

std::vector<ObjectRelocation> Object::relocations() const {
    std::vector<ObjectRelocation> list;
    const Impl& o = *impl_;
    for (const elf::Section& s : o.elf.sections()) {
        for (const elf::Relocation& r : o.relocations[s.index]) {
            const elf::Symbol& symbol = o.elf.symbols()[r.symbol];
            std::string name(symbol.name);
            if (name.empty() && symbol.section < o.elf.sections().size())
                name = std::string(o.elf.sections()[symbol.section].name);
            int64_t addend = r.addend;
            if (!r.has_addend && s.is_exec())
                addend = ByteView(s.data).read<int32_t>(r.offset + 4).value_or(0);
            list.push_back({kind_of(o, r, s.is_exec()), s.name, static_cast<uint32_t>(r.offset / 8),
                            r.type, std::move(name), addend});
        }
        const int32_t part = o.core_section[s.index];
        if (part < 0) continue;
        for (const CoreRelocation& r : o.ext.relocations[static_cast<size_t>(part)].records)
            list.push_back({What::Core, s.name, r.offset / 8, static_cast<uint32_t>(r.kind),
                            o.btf->type_name(r.type) + " " + std::string(r.access), 0});
    }
    return list;
}

std::optional<size_t> Object::find_program(std::string_view program) const {
    const auto& list = impl_->programs;
    if (program.empty()) return list.size() == 1 ? std::optional<size_t>(0) : std::nullopt;
    for (size_t i = 0; i < list.size(); ++i)
        if (list[i].name == program) return i;
    for (size_t i = 0; i < list.size(); ++i)
        if (list[i].section == program) return i;
    size_t index = 0;
    for (const char c : program) {
        if (c < '0' || c > '9' || index > list.size()) return std::nullopt;
        index = index * 10 + static_cast<size_t>(c - '0');
    }
    return index < list.size() ? std::optional(index) : std::nullopt;
}

std::optional<size_t> Object::find_map(std::string_view map) const {
    const auto& list = impl_->maps;
    for (size_t i = 0; i < list.size(); ++i)
        if (list[i].name == map) return i;
    // libbpf shows ".bss" as the object's name, cut to fit, and the section.
    const size_t dot = map.find('.');
    if (dot == 0 || dot == std::string_view::npos) return std::nullopt;
    if (!std::string_view(impl_->object_name).starts_with(map.substr(0, dot))) return std::nullopt;
    for (size_t i = 0; i < list.size(); ++i)
        if (list[i].name == map.substr(dot)) return i;
    return std::nullopt;
}

namespace {

std::string_view name_of(What what) {
    switch (what) {
        case What::Map: return "map";
        case What::Data: return "data";
        case What::Call: return "call";
        case What::FunctionAddress: return "function address";
        case What::Extern: return "extern";
        case What::Core: return "CO-RE";
        case What::Unknown: return "unknown";
    }
    return "unknown";
}

std::string_view name_of(ObjectExtern::What what) {
    switch (what) {
        case ObjectExtern::What::Kconfig: return "kconfig";
        case ObjectExtern::What::Variable: return "variable";
        case ObjectExtern::What::Kfunc: return "kfunc";
        case ObjectExtern::What::Unknown: return "undefined";
    }
    return "undefined";
}

// Text from the object may hold anything.
std::string escaped(std::string_view text) {
    constexpr char kHex[] = "0123456789abcdef";
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f) {
            out += c;
        } else {
            out += "\\x";
            out += kHex[byte >> 4];
            out += kHex[byte & 15];
        }
    }
    return out;
}

void dump_maps(const std::vector<MapDef>& maps, std::string& out) {
    for (const MapDef& m : maps) {
        out += "map " + escaped(m.name) + ": type " +
               std::to_string(static_cast<uint32_t>(m.type)) + ", key " +
               std::to_string(m.key_size) + ", value " + std::to_string(m.value_size) +
               ", entries " + std::to_string(m.max_entries) + ", flags " + std::to_string(m.flags);
        if (m.frozen) out += ", constant";
        if (m.pin_by_name) out += ", pinned by name";
        if (m.inner) out += ", inner " + escaped(m.inner->name);
        out += '\n';
        for (const MapInit& init : m.init)
            out += "  [" + std::to_string(init.index) + "] = " + escaped(init.target) + "\n";
    }
}

}  // namespace

std::string Object::dump() const {
    std::string out = "object " + escaped(name()) + ": licence \"" + escaped(license()) + "\"\n";
    for (const ObjectProgram& p : programs()) {
        out += "program " + escaped(p.name) + ": section " + escaped(p.section) + ", type " +
               (p.type != nullptr ? std::string(p.type_name) : "unknown") + ", " +
               std::to_string(p.insn_count) + " slots";
        if (!p.autoload) out += ", not autoloaded";
        if (p.sleepable) out += ", sleepable";
        out += '\n';
    }
    for (const ObjectFunction& f : functions())
        out += "function " + escaped(f.name) + ": " + std::to_string(f.insn_count) + " slots" +
               (f.is_global ? ", global\n" : "\n");
    dump_maps(maps(), out);
    for (const ObjectGlobal& g : globals())
        out += "global " + escaped(g.name) + ": " + escaped(g.type) + " at " + escaped(g.section) +
               "+" + std::to_string(g.offset) + ", " + std::to_string(g.size) + " bytes\n";
    for (const ObjectExtern& e : externs())
        out += "extern " + escaped(e.name) + ": " + std::string(name_of(e.what)) + " " +
               escaped(e.type) + (e.weak ? ", weak" : "") +
               (e.is_set ? " = " + escaped(e.value) : "") + "\n";
    for (const ObjectRelocation& r : relocations())
        out += "relocation " + escaped(r.section) + "+" + std::to_string(r.slot) + ": " +
               std::string(name_of(r.what)) + " " + escaped(r.symbol) +
               (r.addend != 0 ? " addend " + std::to_string(r.addend) : "") + "\n";
    return out;
}

Result<std::shared_ptr<const Btf>> load_elf_btf(Bytes bytes) {
    SKEP_TRY(const Bytes section, elf::Elf::extract(bytes, ".BTF"));
    return Btf::parse(section);
}

namespace {

bool is_elf(Bytes bytes) {
    constexpr uint32_t kElfMagic = 0x464c457f;
    return ByteView(bytes).read<uint32_t>(0) == kElfMagic;
}

}  // namespace

Result<std::shared_ptr<const Btf>> load_btf(std::span<const std::byte> bytes) {
    return is_elf(bytes) ? load_elf_btf(bytes) : Btf::parse(bytes);
}

Result<std::shared_ptr<const Btf>> load_btf(const std::string& path) {
    auto bytes = os::read_file(path);
    if (!bytes) return std::unexpected(std::move(bytes).error());
    const Bytes view = std::as_bytes(std::span(*bytes));
    return is_elf(view) ? load_elf_btf(view) : Btf::parse(*std::move(bytes));
}

}  // namespace skep
