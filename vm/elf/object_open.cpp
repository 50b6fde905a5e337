// Opening an object: its special sections, functions and programs (see object_impl.hpp).

#include <algorithm>
#include <cstdlib>

#include <skep/object.hpp>

#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/elf/object_impl.hpp"

namespace skep {
namespace {

constexpr size_t kMaxObjectBytes = size_t{64} << 20;
constexpr std::string_view kText = ".text";

// "xdp_filter" of "/x/xdp_filter.bpf.o", as libbpf names objects.
std::string base_name(std::string_view path) {
    if (const size_t slash = path.rfind('/'); slash != std::string_view::npos)
        path.remove_prefix(slash + 1);
    return std::string(path.substr(0, path.find('.')));
}

bool is_code(const elf::Section& s) {
    return s.type == elf::kShtProgbits && s.is_exec() && s.size != 0;
}

std::string_view without_mark(std::string_view section) {
    return section.starts_with('?') ? section.substr(1) : section;
}

Result<Object> open(std::string bytes, std::string label, const OpenOptions& options) {
    auto impl = std::make_shared<Object::Impl>();
    impl->label = std::move(label);
    impl->object_name = base_name(impl->label);
    impl->bytes = std::move(bytes);
    impl->options = options;
    // What the caller's span points to may be gone when a relocation needs it.
    if (!options.target_btf && !options.target_btf_bytes.empty()) {
        SKEP_TRY(impl->options.target_btf, load_btf(options.target_btf_bytes));
    }
    impl->options.target_btf_bytes = {};
    if (auto done = impl->open(); !done) {
        Error error = std::move(done).error();
        if (error.where.object.empty()) error.where.object = impl->label;
        return std::unexpected(std::move(error));
    }
    return ObjectAccess::make(std::move(impl));
}

}  // namespace

Result<Object> Object::open_file(const std::string& path, const OpenOptions& options) {
    SKEP_TRY(std::string bytes, os::read_file(path, kMaxObjectBytes));
    return open(std::move(bytes), path, options);
}

Result<Object> Object::open_memory(std::span<const std::byte> bytes, std::string name,
                                   const OpenOptions& options) {
    if (bytes.size() > kMaxObjectBytes)
        return fail(ErrorCode::LimitExceeded, "an object of " + std::to_string(bytes.size()) +
                                                  " bytes; at most " +
                                                  std::to_string(kMaxObjectBytes) + " are read");
    return open(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                std::move(name), options);
}

Where Object::Impl::where(std::string_view section, std::string_view program, int64_t slot) const {
    return {label, std::string(section), std::string(program), slot, {}, 0};
}

Result<void> Object::Impl::open() {
    SKEP_TRY(elf, elf::Elf::parse(std::as_bytes(std::span(bytes))));
    SKEP_CHECK(read_special_sections());
    sort_symbols();
    SKEP_CHECK(read_relocations());
    SKEP_CHECK(read_functions());
    SKEP_CHECK(read_programs());
    SKEP_CHECK(read_externs());
    SKEP_CHECK(read_maps());
    SKEP_CHECK(apply_kconfig());
    return {};
}

// --- sections with a meaning of their own
// -----------------------------------------------------------

namespace {

// Positions of a .BTF.ext part's sections, by ELF section index.
template <class Record>
std::vector<int32_t> by_section(const elf::Elf& elf,
                                const std::vector<BtfExtSection<Record>>& parts) {
    std::vector<int32_t> index(elf.sections().size(), -1);
    if (parts.empty()) return index;
    std::unordered_map<std::string_view, int32_t> names;
    for (size_t i = 0; i < parts.size(); ++i) names.emplace(parts[i].name, static_cast<int32_t>(i));
    for (const elf::Section& s : elf.sections()) {
        if (!is_code(s)) continue;
        if (const auto it = names.find(s.name); it != names.end()) index[s.index] = it->second;
    }
    return index;
}

}  // namespace

Result<void> Object::Impl::read_special_sections() {
    if (const elf::Section* s = elf.find_section("license")) {
        const ByteView data(s->data);
        const auto text = data.c_string(0);
        if (!text && !data.empty())
            return fail(ErrorCode::BadSection, "the licence does not end with a NUL",
                        where(s->name));
        license = text.value_or("");
    }
    if (const elf::Section* s = elf.find_section("version")) {
        version = ByteView(s->data).read<uint32_t>(0);
        if (!version || s->size != 4)
            return fail(ErrorCode::BadSection,
                        "a version of " + std::to_string(s->size) + " bytes; 4 are needed",
                        where(s->name));
    }
    if (const elf::Section* s = elf.find_section(".comment")) {
        // "GCC: (distribution) 12.2.0"
        const std::string_view text(reinterpret_cast<const char*>(s->data.data()), s->data.size());
        const size_t found = text.find("GCC:");
        from_gcc = found != std::string_view::npos;
        const size_t version_at = from_gcc ? text.find(") ", found) : found;
        if (version_at != std::string_view::npos)
            old_binutils = std::atoi(std::string(text.substr(version_at + 2, 3)).c_str()) < 14;
    }
    if (const elf::Section* s = elf.find_section(".BTF"); s != nullptr && !s->data.empty()) {
        auto parsed = Btf::parse(s->data);
        if (!parsed) {
            parsed.error().where = where(s->name);
            return std::unexpected(std::move(parsed).error());
        }
        btf = *std::move(parsed);
    }
    if (const elf::Section* s = elf.find_section(".BTF.ext");
        s != nullptr && btf && !s->data.empty()) {
        auto parsed = BtfExt::parse(s->data, *btf);
        if (!parsed) {
            parsed.error().where = where(s->name);
            return std::unexpected(std::move(parsed).error());
        }
        ext = *std::move(parsed);
    }
    line_section = by_section(elf, ext.lines);
    core_section = by_section(elf, ext.relocations);
    uint32_t base = 0;
    for (const auto& part : ext.relocations) {
        core_base.push_back(base);
        base += static_cast<uint32_t>(part.records.size());
    }
    data_map.assign(elf.sections().size(), -1);
    return {};
}

Result<void> Object::Impl::read_relocations() {
    relocations.resize(elf.sections().size());
    for (const elf::Section& s : elf.sections()) {
        if (s.type != elf::kShtRel && s.type != elf::kShtRela) continue;
        if (s.info >= elf.sections().size())
            return fail(ErrorCode::BadRelocation,
                        "relocations of section " + std::to_string(s.info) + " of " +
                            std::to_string(elf.sections().size()),
                        where(s.name));
        const elf::Section& target = elf.sections()[s.info];
        // Debug information and the like is never linked.
        if (!target.is_alloc()) continue;
        SKEP_TRY(auto list, elf.relocations(s));
        auto& all = relocations[s.info];
        all.insert(all.end(), list.begin(), list.end());
    }
    for (auto& list : relocations)
        std::stable_sort(list.begin(), list.end(),
                         [](const auto& a, const auto& b) { return a.offset < b.offset; });
    return {};
}

// --- functions
// --------------------------------------------------------------------------------------

void Object::Impl::sort_symbols() {
    for (const elf::Symbol& s : elf.symbols())
        if (s.section != 0 && s.section < elf.sections().size()) symbols.push_back(&s);
    std::stable_sort(symbols.begin(), symbols.end(), [](const auto* a, const auto* b) {
        return a->section != b->section ? a->section < b->section : a->name < b->name;
    });
}

std::span<const elf::Symbol* const> Object::Impl::symbols_of(uint32_t section) const {
    const auto begin = std::lower_bound(symbols.begin(), symbols.end(), section,
                                        [](const auto* p, uint32_t s) { return p->section < s; });
    const auto end = std::upper_bound(begin, symbols.end(), section,
                                      [](uint32_t s, const auto* p) { return s < p->section; });
    return {begin, end};
}

const elf::Symbol* Object::Impl::find_symbol(std::string_view symbol, uint32_t section) const {
    const auto all = symbols_of(section);
    const auto it = std::lower_bound(all.begin(), all.end(), symbol,
                                     [](const auto* p, std::string_view n) { return p->name < n; });
    return it != all.end() && (*it)->name == symbol ? *it : nullptr;
}

Result<void> Object::Impl::read_functions() {
    for (const elf::Section& s : elf.sections())
        if (is_code(s)) SKEP_CHECK(read_section_functions(s.index, symbols_of(s.index)));
    read_function_types();
    return {};
}

// Functions are FUNC symbols; old LLVM's have no type, so without any FUNC every global symbol is
// one, and a section without symbols is one as a whole.
Result<void> Object::Impl::read_section_functions(uint32_t section,
                                                  std::span<const elf::Symbol* const> all) {
    const elf::Section& s = elf.sections()[section];
    const bool typed = std::any_of(all.begin(), all.end(),
                                   [](const auto* p) { return p->type == elf::SymbolType::Func; });
    const auto bad = [&](std::string_view name, std::string_view what) {
        return fail(ErrorCode::BadSymbol,
                    "function '" + std::string(name) + "' " + std::string(what), where(s.name));
    };
    std::vector<const elf::Symbol*> chosen;
    for (const elf::Symbol* p : all) {
        const bool old = p->type == elf::SymbolType::NoType && p->bind != elf::Bind::Local;
        if (typed ? p->type == elf::SymbolType::Func : old) chosen.push_back(p);
    }
    // Of several at one place, the first of the symbol table stays the first.
    std::sort(chosen.begin(), chosen.end(), [](const auto* a, const auto* b) {
        return a->value != b->value ? a->value < b->value : a->index < b->index;
    });
    if (chosen.empty()) {
        if (s.size % 8 != 0) return bad(s.name, "is no whole number of 8-byte slots");
        functions.push_back(
            {s.name, section, 0, static_cast<uint32_t>(s.size / 8), true, 0, false});
        return {};
    }
    constexpr uint8_t kInternal = 1, kHidden = 2;  // STV_*
    for (const elf::Symbol* symbol : chosen) {
        const elf::Symbol& f = *symbol;
        uint64_t size = f.size;
        if (size == 0) {  // not said: up to the next one
            const auto next =
                std::upper_bound(chosen.begin(), chosen.end(), f.value,
                                 [](uint64_t value, const auto* p) { return value < p->value; });
            const uint64_t end = next != chosen.end() ? (*next)->value : s.size;
            if (end >= f.value) size = end - f.value;
        }
        const std::string_view name = f.name.empty() ? s.name : f.name;
        if (f.value % 8 != 0 || size % 8 != 0 || size == 0)
            return bad(name, "at byte " + std::to_string(f.value) + " of " + std::to_string(size) +
                                 " bytes is no whole number of 8-byte slots");
        if (f.value > s.size || size > s.size - f.value)
            return bad(name, "ends after its section's " + std::to_string(s.size) + " bytes");
        functions.push_back({name, section, static_cast<uint32_t>(f.value / 8),
                             static_cast<uint32_t>(size / 8), f.bind != elf::Bind::Local, 0,
                             f.visibility == kInternal || f.visibility == kHidden});
    }
    return {};
}

// FUNC ids from .BTF.ext; without it, by name.
void Object::Impl::read_function_types() {
    if (!btf) return;
    std::unordered_map<std::string_view, const BtfExtSection<BtfFuncInfo>*> parts;
    for (const auto& part : ext.funcs) parts.emplace(part.name, &part);
    for (ObjectCode& f : functions) {
        const auto it = parts.find(elf.sections()[f.section].name);
        if (it == parts.end()) continue;
        const auto& records = it->second->records;
        const auto record = std::lower_bound(
            records.begin(), records.end(), uint64_t{f.first} * 8,
            [](const BtfFuncInfo& r, uint64_t offset) { return r.offset < offset; });
        if (record != records.end() && record->offset == uint64_t{f.first} * 8)
            f.btf_func = record->type;
    }
}

int32_t Object::Impl::function_at(uint32_t section, uint64_t slot) const {
    const auto it =
        std::lower_bound(functions.begin(), functions.end(), std::pair(section, slot),
                         [](const ObjectCode& f, const std::pair<uint32_t, uint64_t>& k) {
                             return f.section != k.first ? f.section < k.first : f.first < k.second;
                         });
    if (it == functions.end() || it->section != section || it->first != slot) return -1;
    return static_cast<int32_t>(it - functions.begin());
}

// --- programs
// ---------------------------------------------------------------------------------------

// Entry points are the functions outside of .text, and a lone function inside of it, as in libbpf.
// A static function elsewhere, which libbpf refuses, is one too.
Result<void> Object::Impl::read_programs() {
    for (uint32_t i = 0; i < functions.size(); ++i) {
        const ObjectCode& f = functions[i];
        const std::string_view section = elf.sections()[f.section].name;
        if (section == kText && functions.size() > 1) {
            subprograms.push_back({f.name, section, f.count, f.is_global});
            continue;
        }
        ObjectProgram p;
        p.name = f.name;
        p.section = without_mark(section);
        p.autoload = !section.starts_with('?');
        p.insn_count = f.count;
        programs.push_back(p);
        program_function.push_back(i);
    }
    for (size_t i = 0; i < programs.size(); ++i) SKEP_CHECK(set_type(i, options.type));
    return {};
}

// With `type` empty, what the section name says.
Result<void> Object::Impl::set_type(size_t index, std::string_view type) {
    ObjectProgram& p = programs[index];
    const SectionType* row = find_section_type(p.section);
    if (!type.empty()) {
        const TypeChoice choice = parse_type(type);
        if (choice.type == nullptr) {
            std::string close;
            for (const std::string_view name : similar_types(type))
                close += (close.empty() ? "; close ones: " : ", ") + std::string(name);
            return fail(ErrorCode::UnknownProgramType,
                        "no program type or section name '" + std::string(type) + "'" + close);
        }
        p.type = choice.type;
        p.attach_type = choice.attach_type;
        // The section's own row still says sleepable and the like, if it is of this type.
        p.section_type = choice.section != nullptr               ? choice.section
                         : row != nullptr && row->type == p.type ? row
                                                                 : nullptr;
        if (choice.section == nullptr && p.section_type != nullptr)
            p.attach_type = row->attach_type;
    } else {
        p.section_type = row;
        p.type = row != nullptr ? row->type : nullptr;
        p.attach_type = row != nullptr ? row->attach_type : 0;
    }
    p.type_name = p.type != nullptr ? p.type->name : std::string_view();
    p.sleepable = p.section_type != nullptr && p.section_type->sleepable;
    p.attach_target = {};
    if (row != nullptr && p.section.size() > row->pattern.size() &&
        p.section[row->pattern.size()] == '/')
        p.attach_target = p.section.substr(row->pattern.size() + 1);
    return {};
}

}  // namespace skep
