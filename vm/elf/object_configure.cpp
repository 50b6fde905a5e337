// Configuring: what may change between open and the first link(). Globals are found by name and
// BTF, their text is read by their type.

#include <algorithm>
#include <charconv>
#include <cstring>

#include "vm/base/try.hpp"
#include "vm/elf/object_impl.hpp"
#include "vm/elf/value_text.hpp"

namespace skep {
namespace {

// What programs are told of their kernel unless the configuration says otherwise: Linux 6.18.
constexpr std::string_view kKernelVersion = "398848";  // 6 << 16 | 18 << 8

}  // namespace

Result<void> Object::Impl::check_not_frozen() const {
    if (!frozen) return {};
    return fail(ErrorCode::Frozen, "the object was linked; configure it before", where({}));
}

// "name", "name.member", "name[2].member".
Result<Object::Impl::Global> Object::Impl::find_global(std::string_view path) {
    const std::string_view root = path.substr(0, path.find_first_of(".["));
    Global global;
    bool found = false;
    for_each_global([&](const ObjectGlobal& g, uint32_t map) {
        if (found || g.name != root) return;
        found = true;
        global = {map, g.type_id, g.offset, g.size, nullptr};
    });
    for (ObjectExternSymbol& e : externs) {
        if (found || e.what != ObjectExtern::What::Kconfig || e.name != root) continue;
        found = true;
        global = {*kconfig_map, e.type, e.offset, e.size, &e};
    }
    if (!found)
        return fail(ErrorCode::UnknownGlobal, "no global variable '" + std::string(root) + "'",
                    where({}));
    if (path.size() == root.size()) return global;
    if (global.type == 0)
        return fail(ErrorCode::UnknownGlobal,
                    "'" + std::string(root) + "' has no BTF type, so '" + std::string(path) +
                        "' cannot be found",
                    where({}));
    auto part = find_part(*btf, global.type, path.substr(root.size()));
    if (!part) {
        part.error().where = where({});
        return std::unexpected(std::move(part).error());
    }
    if (part->offset + uint64_t{part->size} > global.size)
        return fail(ErrorCode::UnknownGlobal,
                    "'" + std::string(path) + "' lies outside of '" + std::string(root) + "'",
                    where({}));
    global.offset += part->offset;
    global.size = part->size;
    global.type = part->type;
    return global;
}

Result<void> Object::Impl::store_global(const Global& global, std::span<const std::byte> value) {
    if (value.size() != global.size)
        return fail(ErrorCode::InvalidArgument,
                    "a value of " + std::to_string(value.size()) + " bytes for a variable of " +
                        std::to_string(global.size),
                    where({}));
    MapDef& map = maps[global.map];
    if (map.contents.size() < map.value_size) map.contents.resize(map.value_size);
    std::memcpy(map.contents.data() + global.offset, value.data(), value.size());
    if (global.external != nullptr) global.external->is_set = true;
    return {};
}

Result<void> Object::set_global(std::string_view name, std::string_view text) {
    SKEP_CHECK(impl_->check_not_frozen());
    SKEP_TRY(const Impl::Global global, impl_->find_global(name));
    auto value = value_from_text(impl_->btf.get(), global.type, global.size, text);
    if (!value) {
        value.error().message = "'" + std::string(name) + "': " + value.error().message;
        value.error().where = impl_->where({});
        return std::unexpected(std::move(value).error());
    }
    SKEP_CHECK(impl_->store_global(global, *value));
    if (global.external != nullptr) impl_->kconfig[std::string(name)] = std::string(text);
    return {};
}

Result<void> Object::set_global(std::string_view name, int64_t value) {
    return set_global(name, std::string_view(std::to_string(value)));
}

Result<void> Object::set_global(std::string_view name, std::span<const std::byte> bytes) {
    SKEP_CHECK(impl_->check_not_frozen());
    SKEP_TRY(const Impl::Global global, impl_->find_global(name));
    return impl_->store_global(global, bytes);
}

namespace {

Result<size_t> map_named(const Object& object, std::string_view name) {
    if (const auto index = object.find_map(name)) return *index;
    return fail(ErrorCode::NotFound, "no map '" + std::string(name) + "' in the object");
}

}  // namespace

Result<void> Object::set_map_size(std::string_view map, uint32_t max_entries) {
    SKEP_CHECK(impl_->check_not_frozen());
    SKEP_TRY(const size_t index, map_named(*this, map));
    const MapOrigin origin = impl_->places[index].origin;
    if (origin != MapOrigin::Btf && origin != MapOrigin::Legacy)
        return fail(
            ErrorCode::InvalidArgument,
            "map '" + std::string(map) + "' holds a data section; its size is the section's",
            impl_->where({}));
    impl_->maps[index].max_entries = ring_bytes(impl_->maps[index].type, max_entries);
    return {};
}

Result<void> Object::set_map_contents(std::string_view map, std::span<const std::byte> bytes) {
    SKEP_CHECK(impl_->check_not_frozen());
    SKEP_TRY(const size_t index, map_named(*this, map));
    MapDef& def = impl_->maps[index];
    if (bytes.size() > def.value_size)
        return fail(ErrorCode::BadMapContents,
                    std::to_string(bytes.size()) + " bytes for map '" + def.name +
                        "', whose value has " + std::to_string(def.value_size),
                    impl_->where({}));
    if (def.max_entries != 1)
        return fail(ErrorCode::BadMapContents,
                    "map '" + def.name + "' has " + std::to_string(def.max_entries) +
                        " entries; only maps of one take raw bytes",
                    impl_->where({}));
    def.contents.assign(bytes.begin(), bytes.end());
    def.contents.resize(def.value_size);
    if (impl_->kconfig_map == index)
        for (ObjectExternSymbol& e : impl_->externs)
            if (e.what == ObjectExtern::What::Kconfig) e.is_set = true;
    return {};
}

Result<void> Object::set_inner_map(std::string_view outer, std::string_view inner) {
    SKEP_TRY(const size_t index, map_named(*this, inner));
    return set_inner_map(outer, impl_->maps[index]);
}

Result<void> Object::set_inner_map(std::string_view outer, const MapDef& inner) {
    SKEP_CHECK(impl_->check_not_frozen());
    SKEP_TRY(const size_t index, map_named(*this, outer));
    MapDef& def = impl_->maps[index];
    if (def.type != MapType::ArrayOfMaps && def.type != MapType::HashOfMaps)
        return fail(ErrorCode::InvalidArgument, "map '" + def.name + "' does not hold maps",
                    impl_->where({}));
    def.inner = std::make_shared<const MapDef>(inner);
    return {};
}

Result<void> Object::set_kconfig(std::string_view text) {
    SKEP_CHECK(impl_->check_not_frozen());
    impl_->options.kconfig += "\n" + std::string(text);
    return impl_->apply_kconfig();
}

Result<void> Object::set_program_type(std::string_view program, std::string_view type) {
    SKEP_CHECK(impl_->check_not_frozen());
    const auto index = find_program(program);
    if (!index)
        return fail(ErrorCode::NotFound, "no program '" + std::string(program) + "'",
                    impl_->where({}));
    return impl_->set_type(*index, type);
}

Result<void> Object::set_autoload(std::string_view program, bool autoload) {
    SKEP_CHECK(impl_->check_not_frozen());
    const auto index = find_program(program);
    if (!index)
        return fail(ErrorCode::NotFound, "no program '" + std::string(program) + "'",
                    impl_->where({}));
    impl_->programs[*index].autoload = autoload;
    return {};
}

// --- kernel configuration
// -------------------------------------------------------------------------

namespace {

// y, m, n as enum libbpf_tristate, bool or char have them.
std::optional<int> tristate(std::string_view text) {
    if (text == "y") return 1;
    if (text == "m") return 2;
    if (text == "n") return 0;
    return std::nullopt;
}

bool is_char_array(const Btf& btf, const BtfType& t) {
    if (!t.is(BtfKind::Array)) return false;
    const BtfType element = btf.resolved(t.array().element);
    return element.is(BtfKind::Int) && element.size() == 1;
}

// One line's value for an extern of the given type. Errors: kconfig_missing, for what cannot be.
Result<std::vector<std::byte>> kconfig_value(const Btf& btf, const ObjectExternSymbol& e,
                                             std::string_view text) {
    const BtfType t = btf.resolved(e.type);
    const auto bad = [&](std::string_view what) {
        return fail(ErrorCode::KconfigMissing, "configuration value '" + std::string(e.name) + "=" +
                                                   std::string(text) + "' " + std::string(what) +
                                                   " type '" + btf.type_name(e.type) + "'");
    };
    std::vector<std::byte> out(e.size);
    const auto store = [&](uint64_t value) {
        std::memcpy(out.data(), &value, std::min(out.size(), size_t{8}));
    };
    const bool is_tristate = t.is_any_enum() && t.name() == "libbpf_tristate";
    const bool is_bool = t.is(BtfKind::Int) && t.int_info().is_bool;
    if (const auto state = tristate(text)) {
        if (is_bool && *state == 2) return bad("does not fit");
        if (is_bool || is_tristate) {
            store(static_cast<uint64_t>(*state));
        } else if (t.is(BtfKind::Int) && t.size() == 1) {
            out[0] = static_cast<std::byte>(text[0]);
        } else {
            return bad("does not fit");
        }
        return out;
    }
    if (text.starts_with('"')) {
        if (!is_char_array(btf, t) || text.size() < 2 || !text.ends_with('"'))
            return bad("does not fit");
        const std::string_view body = text.substr(1, text.size() - 2);
        // As libbpf: cut to fit, always with a NUL.
        const size_t length = std::min(body.size(), out.size() - 1);
        std::memcpy(out.data(), body.data(), length);
        return out;
    }
    if (!t.is(BtfKind::Int) && !t.is_any_enum()) return bad("does not fit");
    if (is_bool) return bad("is no y or n for");
    auto value = value_from_text(&btf, e.type, e.size, text);
    if (!value) return bad("does not fit");
    return value;
}

}  // namespace

// Reads NAME=VALUE lines for the externs that the object has; later lines win.
Result<void> Object::Impl::apply_kconfig() {
    if (!kconfig_map) return {};
    kconfig.try_emplace("LINUX_KERNEL_VERSION", kKernelVersion);
    kconfig.try_emplace("LINUX_HAS_BPF_COOKIE", "1");
    kconfig.try_emplace("LINUX_HAS_SYSCALL_WRAPPER", "1");
    std::string_view rest = options.kconfig;
    while (!rest.empty()) {
        std::string_view line = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), line.size() + 1));
        while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
        const size_t equals = line.find('=');
        if (line.starts_with('#') || equals == std::string_view::npos) continue;
        const std::string_view key = line.substr(0, equals);
        for (const ObjectExternSymbol& e : externs)
            if (e.what == ObjectExtern::What::Kconfig && e.name == key)
                kconfig[std::string(key)] = std::string(line.substr(equals + 1));
    }
    for (ObjectExternSymbol& e : externs) {
        if (e.what != ObjectExtern::What::Kconfig) continue;
        const auto it = kconfig.find(std::string(e.name));
        if (it == kconfig.end()) continue;
        const bool numeric_flag = e.name.starts_with("LINUX_HAS_");
        auto value = kconfig_value(*btf, e,
                                   numeric_flag && btf->resolved(e.type).is(BtfKind::Int) &&
                                           btf->resolved(e.type).int_info().is_bool
                                       ? (it->second == "0" ? "n" : "y")
                                       : std::string_view(it->second));
        if (!value) {
            value.error().where = where(".kconfig");
            return std::unexpected(std::move(value).error());
        }
        SKEP_CHECK(store_global({*kconfig_map, e.type, e.offset, e.size, &e}, *value));
    }
    return {};
}

}  // namespace skep
