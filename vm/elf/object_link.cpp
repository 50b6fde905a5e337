// Linking: an entry function, with the subprograms that it reaches behind it in the order in which
// libbpf finds them (depth first, by instruction), every relocation applied, CO-RE included.
//
// The result is raw slots first: the decoder then checks them like any other raw program.

#include <algorithm>

#include "vm/base/try.hpp"
#include "vm/elf/object_impl.hpp"
#include "vm/isa/codec.hpp"

namespace skep {
namespace {

constexpr uint8_t kWideLoad = 0x18;  // BPF_LD | BPF_IMM | BPF_DW
constexpr uint8_t kCall = kClassJmp | kCodeCall;
constexpr uint8_t kPseudoCall = 1;

bool is_local_call(const RawInsn& i) { return i.opcode == kCall && i.src() == kPseudoCall; }
bool is_function_address(const RawInsn& i) {
    return i.opcode == kWideLoad && i.src() == static_cast<uint8_t>(PseudoImm::Func);
}
void set_src(RawInsn& insn, uint8_t src) {
    insn.regs = static_cast<uint8_t>((insn.regs & 0xf) | src << 4);
}

class Linker {
public:
    explicit Linker(const Object::Impl& object)
        : o_(object), place_of_(object.functions.size(), -1) {}

    Result<LinkedSlots> run(uint32_t entry) {
        SKEP_CHECK(append(entry));
        SKEP_CHECK(append_callees(0));
        SKEP_CHECK(append_exception_callback(entry));
        return std::move(out_);
    }

private:
    // The functions that the one at `first`, the last that was appended, reaches.
    Result<void> append_callees(uint32_t first_slot) {
        struct Frame {
            uint32_t slot, end;
        };
        std::vector<Frame> frames = {{first_slot, size()}};
        while (!frames.empty()) {
            Frame& top = frames.back();
            if (top.slot == top.end) {
                frames.pop_back();
                continue;
            }
            const uint32_t at = top.slot++;
            if (!is_local_call(out_.slots[at]) && !is_function_address(out_.slots[at])) continue;
            SKEP_TRY(const uint32_t callee, target_of(at));
            if (place_of_[callee] < 0) {
                const uint32_t first = size();
                SKEP_CHECK(append(callee));
                frames.push_back({first, size()});
            }
            out_.slots[at].imm = place_of_[callee] - static_cast<int32_t>(at) - 1;
        }
        return {};
    }

    // The function that a tag of the entry names, which nothing calls: libbpf puts it last.
    Result<void> append_exception_callback(uint32_t entry) {
        constexpr std::string_view kTag = "exception_callback:";
        const ObjectCode& f = o_.functions[entry];
        if (o_.btf == nullptr || f.btf_func == 0) return {};
        for (const BtfDeclTag& tag : o_.btf->decl_tags(f.btf_func)) {
            if (tag.component != -1 || !tag.value.starts_with(kTag)) continue;
            const std::string_view name = tag.value.substr(kTag.size());
            const auto wrong = [&](std::string_view what) {
                return bad(f, f.first,
                           "exception callback '" + std::string(name) + "' " + std::string(what),
                           ErrorCode::BadSymbol);
            };
            if (out_.exception_callback >= 0) return wrong("is the second one of the program");
            const auto found = std::ranges::find_if(o_.functions, [&](const ObjectCode& code) {
                return code.name == name && is_global(code);
            });
            if (found == o_.functions.end()) return wrong("is no global function");
            const auto index = static_cast<uint32_t>(found - o_.functions.begin());
            if (place_of_[index] < 0) {
                const uint32_t first = size();
                SKEP_CHECK(append(index));
                SKEP_CHECK(append_callees(first));
            }
            for (size_t i = 0; i < source_.size(); ++i)
                if (source_[i] == index) out_.exception_callback = static_cast<int32_t>(i);
        }
        return {};
    }

    uint32_t size() const { return static_cast<uint32_t>(out_.slots.size()); }
    const ObjectCode& code_at(uint32_t slot) const {  // the function that `slot` was copied from
        const auto it =
            std::upper_bound(out_.subprograms.begin(), out_.subprograms.end(), slot,
                             [](uint32_t s, const Subprogram& p) { return s < p.first; });
        return o_.functions[source_[static_cast<size_t>(it - out_.subprograms.begin()) - 1]];
    }
    const elf::Section& section_of(const ObjectCode& f) const {
        return o_.elf.sections()[f.section];
    }
    std::unexpected<Error> bad(const ObjectCode& f, uint32_t slot_in_section, std::string message,
                               ErrorCode code = ErrorCode::BadRelocation) const {
        return fail(code, std::move(message),
                    o_.where(section_of(f).name, f.name, int64_t{slot_in_section} - f.first));
    }

    // Copies a function behind what is there and applies what concerns it alone.
    Result<void> append(uint32_t index) {
        const ObjectCode& f = o_.functions[index];
        const uint32_t first = size();
        if (f.count > kMaxInsns - first)
            return bad(f, f.first,
                       "the program and its subprograms have more than " +
                           std::to_string(kMaxInsns) + " slots",
                       ErrorCode::LimitExceeded);
        place_of_[index] = static_cast<int32_t>(first);
        source_.push_back(index);
        out_.subprograms.push_back({std::string(f.name), first, f.count, f.btf_func, is_global(f)});
        out_.slots.resize(first + f.count);
        const Bytes data = section_of(f).data.subspan(size_t{f.first} * 8, size_t{f.count} * 8);
        std::memcpy(out_.slots.data() + first, data.data(), data.size());
        targets_.resize(size(), -1);
        SKEP_CHECK(apply_relocations(f, first));
        SKEP_CHECK(apply_core(f, first));
        append_lines(f, first);
        return {};
    }

    // BTF knows better than the symbol: linkers make hidden functions static.
    bool is_global(const ObjectCode& f) const {
        if (f.btf_func != 0 && !o_.from_gcc)
            return !f.hidden && o_.btf->type(f.btf_func).linkage() != BtfLinkage::Static;
        return !f.hidden && f.is_global;
    }

    Result<void> apply_relocations(const ObjectCode& f, uint32_t first) {
        const auto& list = o_.relocations[f.section];
        const uint64_t begin = uint64_t{f.first} * 8, end = begin + uint64_t{f.count} * 8;
        auto it =
            std::lower_bound(list.begin(), list.end(), begin,
                             [](const elf::Relocation& r, uint64_t o) { return r.offset < o; });
        for (; it != list.end() && it->offset < end; ++it) SKEP_CHECK(apply(f, first, *it));
        return {};
    }

    Result<void> apply(const ObjectCode& f, uint32_t first, const elf::Relocation& r) {
        const elf::Symbol& symbol = o_.elf.symbols()[r.symbol];
        const uint32_t in_section = static_cast<uint32_t>(r.offset / 8);
        const uint32_t at = first + in_section - f.first;
        const std::string name = symbol.name.empty() && symbol.section < o_.relocations.size()
                                     ? std::string(o_.elf.sections()[symbol.section].name)
                                     : std::string(symbol.name);
        const auto error = [&](std::string_view what, ErrorCode code = ErrorCode::BadRelocation) {
            return bad(f, in_section, "'" + name + "' " + std::string(what), code);
        };
        if (r.offset % 8 != 0) return error("relocates the middle of an instruction");
        RawInsn& insn = out_.slots[at];
        const bool wide = insn.opcode == kWideLoad;
        if (wide && at + 1 >= size()) return error("relocates an instruction that is cut off");
        if (!wide && insn.opcode != kCall)
            return error("relocates an instruction with opcode " + std::to_string(insn.opcode) +
                         "; only 64-bit immediate loads and calls can be");
        if (symbol.section == elf::kShnUndef) return apply_extern(f, in_section, at, r, name);
        if (symbol.section >= o_.relocations.size())
            return error("is absolute or common; compile with -fno-common");
        if (!wide) return apply_call(f, in_section, at, r, symbol);
        const int64_t addend = r.has_addend ? r.addend : insn.imm;
        const elf::Section& target = o_.elf.sections()[symbol.section];
        const bool included = o_.old_binutils && symbol.type != elf::SymbolType::Section;
        const uint64_t offset = (included ? 0 : symbol.value) + static_cast<uint64_t>(addend);
        if (target.is_exec()) {
            set_src(insn, static_cast<uint8_t>(PseudoImm::Func));
            const int32_t callee = offset % 8 == 0 ? o_.function_at(target.index, offset / 8) : -1;
            if (callee < 0) return error("plus " + std::to_string(addend) + " is no function");
            targets_[at] = callee;
            return {};
        }
        if (const int32_t map = o_.data_map[target.index]; map >= 0) {
            set_src(insn, static_cast<uint8_t>(PseudoImm::MapValue));
            insn.imm = map;
            out_.slots[at + 1].imm = static_cast<int32_t>(offset);
            return {};
        }
        if (const int32_t map = o_.map_at(target.index, offset); map >= 0) {
            set_src(insn, static_cast<uint8_t>(PseudoImm::MapFd));
            insn.imm = map;
            out_.slots[at + 1].imm = 0;
            return {};
        }
        return error("in section '" + std::string(target.name) +
                         "' is neither a map, nor data, nor a function",
                     ErrorCode::BadSymbol);
    }

    Result<void> apply_call(const ObjectCode& f, uint32_t in_section, uint32_t at,
                            const elf::Relocation& r, const elf::Symbol& symbol) {
        RawInsn& insn = out_.slots[at];
        if (insn.src() != kPseudoCall)
            return bad(f, in_section,
                       "'" + std::string(symbol.name) + "' relocates a call that is not local");
        const int64_t imm = r.has_addend ? r.addend : insn.imm;
        const bool section = symbol.type == elf::SymbolType::Section;
        uint64_t slot = symbol.value / 8;
        // imm is the addend, minus 1, in slots; binutils counted bytes, and included the value.
        if (!o_.old_binutils)
            slot += static_cast<uint64_t>(imm) + 1;
        else if (section)
            slot += (static_cast<uint64_t>(imm) + 1) / 8;
        const int32_t callee = o_.function_at(symbol.section, slot);
        if (callee < 0)
            return bad(f, in_section,
                       "calls '" + std::string(symbol.name) + "' " + std::to_string(imm) +
                           ", where no function starts");
        targets_[at] = callee;
        return {};
    }

    Result<void> apply_extern(const ObjectCode& f, uint32_t in_section, uint32_t at,
                              const elf::Relocation& r, const std::string& name) {
        RawInsn& insn = out_.slots[at];
        const bool wide = insn.opcode == kWideLoad;
        const ObjectExternSymbol* e = o_.extern_of(r.symbol);
        const auto unresolved = [&](std::string_view what) {
            return bad(f, in_section, "extern '" + name + "' " + std::string(what),
                       ErrorCode::UnresolvedSymbol);
        };
        if (e == nullptr) return unresolved("is not defined");
        if (e->what == ObjectExtern::What::Kconfig) {
            if (!wide) return unresolved("is a configuration value, but called");
            if (!e->is_set && !e->weak)
                return bad(
                    f, in_section,
                    "the kernel configuration does not say '" + name + "', which the program reads",
                    ErrorCode::KconfigMissing);
            set_src(insn, static_cast<uint8_t>(PseudoImm::MapValue));
            insn.imm = static_cast<int32_t>(*o_.kconfig_map);
            out_.slots[at + 1].imm = static_cast<int32_t>(e->offset);
            return {};
        }
        ExternRef ref{ExternRef::What::Kfunc, name, e->weak, e->type};
        if (!wide) {
            if (e->what == ObjectExtern::What::Variable)
                return unresolved("is a variable, but called");
            set_src(insn, static_cast<uint8_t>(PseudoCall::Kfunc));
            insn.imm = 0;
            insn.off = 0;
        } else {
            if (e->what == ObjectExtern::What::Unknown && !e->weak)
                return unresolved("is not defined, and no BTF describes it");
            // Typed ones are loaded by type; those declared void are plain addresses.
            const bool typed = e->type != 0 && o_.btf->resolve(e->type) != 0;
            set_src(insn, static_cast<uint8_t>(typed ? PseudoImm::BtfId : PseudoImm::Value));
            insn.imm = 0;
            out_.slots[at + 1].imm = 0;
            ref.what = ExternRef::What::Variable;
        }
        out_.externs.emplace(at, std::move(ref));
        return {};
    }

    // What a local call or function address at a slot refers to.
    Result<uint32_t> target_of(uint32_t at) const {
        if (targets_[at] >= 0) return static_cast<uint32_t>(targets_[at]);
        // No relocation: relative to where the instruction was in its section.
        const ObjectCode& f = code_at(at);
        const uint32_t placed = static_cast<uint32_t>(place_of_[&f - o_.functions.data()]);
        const uint32_t in_section = at - placed + f.first;
        const int64_t slot = int64_t{in_section} + out_.slots[at].imm + 1;
        const int32_t callee =
            slot < 0 ? -1 : o_.function_at(f.section, static_cast<uint64_t>(slot));
        if (callee < 0)
            return bad(
                f, in_section,
                "calls slot " + std::to_string(slot) + " of the section, where no function starts",
                ErrorCode::BadJump);
        return static_cast<uint32_t>(callee);
    }

    Result<void> apply_core(const ObjectCode& f, uint32_t first) {
        const int32_t part = o_.core_section[f.section];
        if (part < 0) return {};
        const auto& records = o_.ext.relocations[static_cast<size_t>(part)].records;
        const uint64_t begin = uint64_t{f.first} * 8, end = begin + uint64_t{f.count} * 8;
        auto it =
            std::lower_bound(records.begin(), records.end(), begin,
                             [](const CoreRelocation& r, uint64_t o) { return r.offset < o; });
        for (; it != records.end() && it->offset < end; ++it) {
            const uint32_t in_section = it->offset / 8;
            const uint32_t at = first + in_section - f.first;
            if (it->offset % 8 != 0)
                return bad(f, in_section, "CO-RE relocates the middle of an instruction",
                           ErrorCode::BadBtfExt);
            const CoreResult& result =
                o_.core_result(part, static_cast<size_t>(it - records.begin()));
            if (!result) return bad(f, in_section, result.error().message, result.error().code);
            auto poisoned = core::patch(out_.slots, at, *result);
            if (!poisoned)
                return bad(f, in_section, poisoned.error().message, poisoned.error().code);
            if (*poisoned) out_.poisoned.emplace(at, result->what);
        }
        return {};
    }

    void append_lines(const ObjectCode& f, uint32_t first) {
        const int32_t part = o_.line_section[f.section];
        if (part < 0) return;
        const auto& records = o_.ext.lines[static_cast<size_t>(part)].records;
        const uint64_t begin = uint64_t{f.first} * 8, end = begin + uint64_t{f.count} * 8;
        auto it = std::lower_bound(records.begin(), records.end(), begin,
                                   [](const BtfLineInfo& r, uint64_t o) { return r.offset < o; });
        for (; it != records.end() && it->offset < end; ++it)
            out_.lines.push_back(
                {first + it->offset / 8 - f.first, it->line, it->column, it->file, it->text});
    }

    const Object::Impl& o_;
    LinkedSlots out_;
    std::vector<int32_t> place_of_;  // by function: its first slot, -1 = not linked
    std::vector<uint32_t> source_;   // by subprogram: its function
    std::vector<int32_t> targets_;   // by slot: the function that a relocation names, or -1
};

bool is_gpl(std::string_view license) {
    for (const std::string_view known : {"GPL", "GPL v2", "GPL and additional rights",
                                         "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"})
        if (license == known) return true;
    return false;
}

}  // namespace

Result<LinkedSlots> link_slots(const Object::Impl& object, size_t program) {
    return Linker(object).run(object.program_function[program]);
}

void Object::Impl::freeze() const {
    std::call_once(freeze_once, [this] {
        const_cast<Impl*>(this)->frozen = true;
        frozen_maps.reserve(maps.size());
        for (const MapDef& def : maps) frozen_maps.push_back(std::make_shared<const MapDef>(def));
    });
}

Result<std::shared_ptr<const Btf>> Object::Impl::target_btf() const {
    const auto named = [this](std::string_view name) {
        const std::lock_guard lock(target_mutex);
        target_name = std::string(name);
    };
    if (options.target_btf) {
        named("given");
        return options.target_btf;
    }
    std::string path = options.target_btf_path;
    if (path.empty() && options.allow_kernel_btf) path = "/sys/kernel/btf/vmlinux";
    if (path.empty()) return std::shared_ptr<const Btf>();
    auto loaded = load_btf(path);
    if (!loaded) {
        return fail(ErrorCode::BtfNeeded, "CO-RE needs the BTF of a target, and " + path +
                                              " cannot be used: " + loaded.error().message);
    }
    named(path);
    return loaded;
}

// All relocations of the object at once, in file order, as their outcome may depend on it.
const CoreResult& Object::Impl::core_result(int32_t section, size_t record) const {
    std::call_once(core_once, [this] {
        bool needs_target = false;
        for (const auto& part : ext.relocations)
            for (const CoreRelocation& r : part.records)
                needs_target |= r.kind != CoreKind::TypeIdLocal;
        Result<std::shared_ptr<const Btf>> target = std::shared_ptr<const Btf>();
        if (needs_target) target = target_btf();
        if (target) {
            const std::lock_guard lock(target_mutex);
            target_used = *target;
        }
        core::Resolver resolver(*btf, target ? target->get() : nullptr);
        for (const auto& part : ext.relocations) {
            for (const CoreRelocation& r : part.records) {
                if (!target && r.kind != CoreKind::TypeIdLocal)
                    core_results.push_back(std::unexpected(target.error()));
                else
                    core_results.push_back(resolver.resolve(r));
            }
        }
    });
    return core_results[core_base[static_cast<size_t>(section)] + record];
}

bool Object::gpl_compatible() const { return is_gpl(impl_->license); }

Result<Program> Object::link(size_t index) const {
    const Impl& o = *impl_;
    if (index >= o.programs.size())
        return fail(ErrorCode::NotFound,
                    "program " + std::to_string(index) + " of " + std::to_string(o.programs.size()),
                    o.where({}));
    const ObjectProgram& p = o.programs[index];
    if (p.type == nullptr) {
        std::string close;
        for (const std::string_view name : similar_sections(p.section))
            close += (close.empty() ? "; close ones: " : ", ") + std::string(name);
        return fail(ErrorCode::UnknownProgramType,
                    "section '" + std::string(p.section) + "' does not say a program type" + close,
                    o.where(p.section, p.name));
    }
    o.freeze();
    SKEP_TRY(LinkedSlots linked, link_slots(o, index));
    auto insns = decode(linked.slots);
    Program program;
    program.name = std::string(p.name);
    program.section = std::string(p.section);
    program.type = p.type;
    program.section_type = p.section_type;
    program.attach_type = p.attach_type;
    program.attach_target = std::string(p.attach_target);
    program.autoload = p.autoload;
    program.sleepable = p.sleepable;
    program.gpl_compatible = gpl_compatible();
    program.subprograms = std::move(linked.subprograms);
    program.exception_callback = linked.exception_callback;
    program.maps = o.frozen_maps;
    program.externs = std::move(linked.externs);
    program.poisoned = std::move(linked.poisoned);
    program.lines = std::move(linked.lines);
    program.btf = o.btf;
    if (!insns) {
        Error error = std::move(insns).error();
        if (error.where.slot >= 0) {
            const Where place = program.where(static_cast<uint32_t>(error.where.slot));
            error.where.file = place.file;
            error.where.line = place.line;
        }
        error.where.object = o.label;
        error.where.section = std::string(p.section);
        error.where.program = program.name;
        return std::unexpected(std::move(error));
    }
    program.insns = *std::move(insns);
    return program;
}

Result<Program> Object::link(std::string_view program) const {
    const auto index = find_program(program);
    if (!index)
        return fail(ErrorCode::NotFound,
                    program.empty() ? "the object has " + std::to_string(impl_->programs.size()) +
                                          " programs; say which"
                                    : "no program '" + std::string(program) + "'",
                    impl_->where({}));
    return link(*index);
}

}  // namespace skep
