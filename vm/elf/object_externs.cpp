// Externs: undefined symbols that BTF describes. Those in .kconfig get a place in a read-only map;
// those in .ksyms stay references (kfuncs, kernel variables) for whoever binds the program.

#include <algorithm>

#include "vm/base/try.hpp"
#include "vm/elf/object_impl.hpp"

namespace skep {
namespace {

constexpr uint32_t kMaxKconfigBytes = 1u << 20;

struct BtfExtern {
    uint32_t id = 0;       // VAR or FUNC
    uint32_t datasec = 0;  // that lists it, 0 = none
};

std::unordered_map<std::string_view, BtfExtern> btf_externs(const Btf& btf) {
    std::unordered_map<std::string_view, BtfExtern> found;
    for (uint32_t id = 1; id < btf.type_count(); ++id) {
        const BtfType t = btf.type(id);
        if ((t.is(BtfKind::Var) || t.is(BtfKind::Func)) && t.linkage() == BtfLinkage::Extern)
            found.emplace(t.name(), BtfExtern{id, 0});
    }
    for (uint32_t id = 1; id < btf.type_count(); ++id) {
        const BtfType t = btf.type(id);
        if (!t.is(BtfKind::Datasec)) continue;
        for (uint32_t i = 0; i < t.count(); ++i) {
            const uint32_t member = t.section_var(i).type;
            const auto it = found.find(btf.type(member).name());
            if (it != found.end() && it->second.id == member) it->second.datasec = id;
        }
    }
    return found;
}

}  // namespace

const ObjectExternSymbol* Object::Impl::extern_of(uint32_t symbol) const {
    const int32_t index = symbol < extern_by_symbol.size() ? extern_by_symbol[symbol] : -1;
    return index < 0 ? nullptr : &externs[static_cast<size_t>(index)];
}

Result<void> Object::Impl::read_externs() {
    std::unordered_map<std::string_view, BtfExtern> described;
    bool searched = false;
    for (const elf::Symbol& s : elf.symbols()) {
        if (s.section != elf::kShnUndef || s.name.empty() ||
            (s.bind != elf::Bind::Global && s.bind != elf::Bind::Weak))
            continue;
        if (!searched && btf) described = btf_externs(*btf);
        searched = true;
        ObjectExternSymbol e{
            .what = ObjectExtern::What::Unknown, .name = s.name, .symbol = s.index};
        e.weak = s.bind == elf::Bind::Weak;
        if (const auto it = described.find(s.name); it != described.end()) {
            const BtfType t = btf->type(it->second.id);
            const std::string_view section = btf->type(it->second.datasec).name();
            e.type = t.type();
            if (t.is(BtfKind::Func)) {
                e.what = ObjectExtern::What::Kfunc;
            } else if (section == ".kconfig") {
                e.what = ObjectExtern::What::Kconfig;
                const auto size = btf->size_of(e.type);
                if (!size || *size == 0 || *size > kMaxKconfigBytes)
                    return fail(ErrorCode::BadSymbol,
                                "kernel configuration value '" + std::string(s.name) +
                                    "' has type '" + btf->type_name(e.type) +
                                    "', which has no usable size",
                                where(section));
                e.size = *size;
                e.align = btf->align_of(e.type).value_or(1);
            } else {
                e.what = ObjectExtern::What::Variable;
            }
        }
        externs.push_back(e);
    }
    // libbpf's order, which decides the offsets in the map: strictest alignment first.
    std::stable_sort(externs.begin(), externs.end(), [](const auto& a, const auto& b) {
        if (a.what != b.what) return a.what < b.what;
        if (a.what == ObjectExtern::What::Kconfig) {
            if (a.align != b.align) return a.align > b.align;
            if (a.size != b.size) return a.size < b.size;
        }
        return a.name < b.name;
    });
    extern_by_symbol.assign(externs.empty() ? 0 : elf.symbols().size(), -1);
    for (size_t i = 0; i < externs.size(); ++i)
        extern_by_symbol[externs[i].symbol] = static_cast<int32_t>(i);
    return {};
}

Result<void> Object::Impl::read_kconfig_map() {
    uint64_t end = 0;
    for (ObjectExternSymbol& e : externs) {
        if (e.what != ObjectExtern::What::Kconfig) continue;
        e.offset = static_cast<uint32_t>((end + e.align - 1) / e.align * e.align);
        end = uint64_t{e.offset} + e.size;
        if (end > kMaxKconfigBytes)
            return fail(ErrorCode::LimitExceeded, "kernel configuration values of more than 1 MiB",
                        where(".kconfig"));
    }
    if (end == 0) return {};
    MapDef def;
    def.name = ".kconfig";
    def.type = MapType::Array;
    def.key_size = 4;
    def.value_size = static_cast<uint32_t>(end);
    def.max_entries = 1;
    def.flags = map_flags::kRdonlyProg | map_flags::kMmapable;
    def.value_btf = btf->find(".kconfig", BtfKind::Datasec);
    def.btf = btf;
    def.frozen = true;
    def.contents.resize(end);
    kconfig_map = static_cast<uint32_t>(maps.size());
    add_map(std::move(def), {.origin = MapOrigin::Kconfig});
    return {};
}

}  // namespace skep
