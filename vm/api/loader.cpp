// Loading: an object's maps are made once, the program is linked, lowered and compiled, and the
// initial entries of maps of maps and program arrays are wired.
#include <algorithm>
#include <array>
#include <utility>

#include "helpers/kfunc.hpp"
#include "helpers/table.hpp"
#include "maps/object_heap.hpp"
#include "vm/api/vm_state.hpp"
#include "vm/base/os.hpp"
#include "vm/base/try.hpp"
#include "vm/btf/special_fields.hpp"
#include "vm/prog/ctx_layouts.hpp"
#include "vm/run/threaded.hpp"

namespace skep {

namespace {

// Stands for a map of the object that this program does not use and that cannot be made here.
class AbsentMap final : public Map {
public:
    explicit AbsentMap(MapDef def) : Map(std::move(def)) {}
    MapMemory memory() const noexcept override { return {}; }
};

bool same_shape(const MapDef& a, const MapDef& b) {
    return a.type == b.type && a.key_size == b.key_size && a.value_size == b.value_size &&
           a.max_entries == b.max_entries && a.flags == b.flags && a.fields == b.fields;
}

std::vector<bool> used_maps(const Program& program) {
    std::vector<bool> used(program.maps.size());
    for (const Insn& insn : program.insns) {
        if (insn.kind != Kind::Imm64) continue;
        const PseudoImm pseudo = insn.pseudo_imm();
        if (pseudo == PseudoImm::Value || pseudo == PseudoImm::BtfId || pseudo == PseudoImm::Func)
            continue;
        const auto index = static_cast<uint32_t>(insn.imm);
        if (index < used.size()) used[index] = true;
    }
    return used;
}

// Whether the program gets at kernel objects: those of its context or the current task.
bool names_kernel_objects(const Program& program) {
    // get_current_task, get_current_task_btf, snprintf_btf, seq_printf_btf, skc_to_*.
    static constexpr int64_t kCalls[] = {35, 158, 149, 150, 136, 137, 138, 139, 140, 178};
    if (program.type->ctx == &kBtfCtx) return true;
    for (const auto& [slot, external] : program.externs) {
        const Kfunc* kfunc = find_kfunc(essential_name(external.name));
        if (kfunc != nullptr && names_kernel_objects(*kfunc)) return true;
    }
    return std::any_of(program.insns.begin(), program.insns.end(), [](const Insn& insn) {
        if (insn.kind == Kind::Imm64) return insn.pseudo_imm() == PseudoImm::BtfId;
        return insn.kind == Kind::Call && insn.pseudo_call() == PseudoCall::Helper &&
               std::ranges::find(kCalls, insn.imm) != std::end(kCalls);
    });
}

// Whether it may read what the kernel knows of a map, through the map's own address: a load from a
// register that such an address was last moved to, as the code lies.
bool reads_map_objects(const Program& program) {
    std::array<bool, 16> holds_map{};
    for (const Insn& insn : program.insns) {
        bool& target = holds_map[insn.dst & 15u];
        switch (insn.kind) {
            case Kind::Imm64:
                target =
                    insn.pseudo_imm() == PseudoImm::MapFd || insn.pseudo_imm() == PseudoImm::MapIdx;
                break;
            case Kind::Load:
                if (holds_map[insn.src & 15u]) return true;
                target = false;
                break;
            case Kind::Alu:
                target = insn.alu() == AluOp::Mov && !insn.is_imm && holds_map[insn.src & 15u];
                break;
            default: break;
        }
    }
    return false;
}

// Whether the proof found loads through typed kernel pointers.
bool loads_kernel_objects(const Image& image) {
    return std::any_of(image.slots.begin(), image.slots.end(),
                       [](const ImageSlot& slot) { return slot.memory == Memory::Btf; });
}

// Whether it calls what allocates objects, moves them, or looks for them.
bool uses_objects(const Program& program) {
    constexpr int64_t kKptrXchg = 194;
    for (const Insn& insn : program.insns)
        if (insn.kind == Kind::Call && insn.pseudo_call() == PseudoCall::Helper &&
            insn.imm == kKptrXchg)
            return true;
    for (const auto& [slot, external] : program.externs) {
        const Kfunc* kfunc = find_kfunc(essential_name(external.name));
        if (kfunc != nullptr && makes_objects(*kfunc)) return true;
    }
    for (const auto& map : program.maps)
        if (std::ranges::any_of(map->fields, [](const SpecialField& f) { return is_kptr(f.kind); }))
            return true;
    return false;
}

ContextKind context_kind(const CtxLayout* layout) {
    if (layout->is_bytes) return ContextKind::Bytes;
    if (layout == &kXdpCtx) return ContextKind::Xdp;
    for (const CtxLayout* skb :
         {&kSocketFilterCtx, &kTcCtx, &kCgroupSkbCtx, &kLwtCtx, &kSkSkbCtx, &kFlowDissectorCtx}) {
        if (layout == skb) return ContextKind::Skb;
    }
    return ContextKind::Other;
}

// Where the host struct keeps its PacketBuffer, or -1.
int32_t packet_offset(const CtxLayout& layout) {
    if (&layout == &kXdpCtx) return offsetof(XdpContext, packet);
    if (context_kind(&layout) == ContextKind::Skb) return offsetof(SkbContext, packet);
    for (const CtxField& field : layout.fields) {
        if (field.kind == CtxFieldKind::PacketStart && field.host_size == sizeof(void*))
            return static_cast<int32_t>(field.host_off - offsetof(PacketBuffer, data));
    }
    return -1;
}

}  // namespace

Result<std::shared_ptr<const ProgramBody>> Loader::load(const Object& object,
                                                        std::string_view program) {
    SKEP_TRY(Program linked, object.link(program));
    types_ = object.target_btf();
    SKEP_TRY(auto body, load_program(std::make_shared<const Program>(std::move(linked)),
                                     std::string(object.name())));
    SKEP_CHECK(wire_programs(object, body));
    return body;
}

Result<std::shared_ptr<const ProgramBody>> Loader::load_program(
    std::shared_ptr<const Program> program, std::string object) {
    auto body = std::make_shared<ProgramBody>();
    body->source = std::move(program);
    body->object = std::move(object);
    body->context = context_kind(body->source->type->ctx);
    body->packet_offset = packet_offset(*body->source->type->ctx);
    body->number = state_.next_program;
    if (state_.options.fuel != 0) body->fuel = state_.options.fuel;

    Binding binding;
    binding.hardened = state_.options.policy == Policy::Hardened;
    SKEP_TRY(binding.maps, bind_maps(*body->source));
    SKEP_CHECK(wire_inner_maps());
    SKEP_TRY(binding.objects, objects_for(*body->source, binding.maps));
    binding.helper = [this, type = body->source->type](uint32_t id) -> const Helper* {
        const Helper* own = state_.host_helper(id);
        return own != nullptr ? own : find_helper(id, *type);
    };
    binding.host_kfunc = [this](std::string_view name) { return state_.host_kfunc(name); };
    SKEP_TRY(body->owned_image, bind(*body, std::move(binding)));
    if (types_ != nullptr &&
        (names_kernel_objects(*body->source) || loads_kernel_objects(*body->owned_image) ||
         reads_map_objects(*body->source)))
        body->world = state_.world_of(types_);
    body->owned_image->program_id = body->number;
    SKEP_TRY(body->owned_code, compile(*body));
    body->owned_image->code = body->owned_code.get();
    body->image = body->owned_image.get();
    body->code = body->owned_code.get();
    ++state_.next_program;
    state_.programs[body->number] = body;
    return body;
}

// The image in the form that the Vm's mode asks for.
Result<std::shared_ptr<Image>> Loader::bind(ProgramBody& body, Binding binding) {
    body.mode = state_.options.mode;
    if (types_ == nullptr && names_kernel_objects(*body.source)) types_ = state_.system_types();
    binding.symbol = state_.options.services.symbol;
    if (body.mode == Mode::Sandbox) {
        binding.kernel_btf = types_;
        const uint64_t start = os::monotonic_ns();
        SKEP_TRY(auto image, lower_checked(body.source, nullptr, std::move(binding)));
        body.times.lower_ns = os::monotonic_ns() - start;
        return image;
    }
    AnalyzeOptions options;
    options.policy = state_.options.policy;
    options.kernel_btf = types_;
    options.host_helper = [this](uint32_t number) { return state_.host_helper(number); };
    options.host_kfunc = binding.host_kfunc;
    Analysis analysis;
    const uint64_t start = os::monotonic_ns();
    VerifiedProgram verified = analyze(body.source, options, analysis);
    if (!verified && analysis.error.code == ErrorCode::BtfNeeded && types_ == nullptr &&
        state_.system_types() != nullptr) {
        options.kernel_btf = types_ = state_.system_types();
        analysis = {};
        verified = analyze(body.source, options, analysis);
    }
    const uint64_t middle = os::monotonic_ns();
    body.times.verify_ns = middle - start;
    if (!verified) return std::unexpected(std::move(analysis.error));
    // Fuel costs; it is left out where the proof bounds a run well enough.
    binding.fuel = state_.options.fuel != 0 || verified.facts().worst_case_fuel > kDefaultFuel;
    binding.kernel_btf = types_;
    SKEP_TRY(auto image, lower(verified, std::move(binding)));
    body.times.lower_ns = os::monotonic_ns() - middle;
    return image;
}

Result<std::shared_ptr<const Code>> Loader::compile(ProgramBody& body) {
    const uint64_t start = os::monotonic_ns();
    std::shared_ptr<const Code> code;
#ifdef SKEP_HAS_JIT
    if (state_.options.engine != Engine::Interpreter) {
        auto native = state_.native_code(*body.owned_image);
        // Where native code is refused, the interpreter takes over, and engine() says so.
        if (!native &&
            (state_.options.engine == Engine::Jit || native.error().code != ErrorCode::NoJit))
            return std::unexpected(std::move(native).error());
        if (native) {
            code = *std::move(native);
            body.engine = Engine::Jit;
        }
    }
#endif
    if (code == nullptr) {
        SKEP_TRY(auto threaded, ThreadedCode::build(*body.owned_image));
        code = std::move(threaded);
        body.engine = Engine::Interpreter;
    }
    body.times.compile_ns = os::monotonic_ns() - start;
    return code;
}

Result<std::vector<std::shared_ptr<Map>>> Loader::bind_maps(const Program& program) {
    const std::vector<bool> used = used_maps(program);
    std::vector<std::shared_ptr<Map>> maps;
    for (size_t i = 0; i < program.maps.size(); ++i) {
        auto map = map_for(program.maps[i]);
        if (!map && used[i]) {
            Error error = std::move(map).error();
            error.where.program = program.name;
            if (error.where.section.empty()) error.where.section = program.section;
            return std::unexpected(std::move(error));
        }
        maps.push_back(map ? *std::move(map) : std::make_shared<AbsentMap>(*program.maps[i]));
        for (Pending& pending : programs_) {
            if (pending.map == maps.back() && used[i]) pending.used = true;
        }
    }
    return maps;
}

// The Vm's objects, if the program works on such; the maps whose values may own them know it then.
Result<std::shared_ptr<ObjectHeap>> Loader::objects_for(
    const Program& program, const std::vector<std::shared_ptr<Map>>& maps) {
    if (!uses_objects(program)) return nullptr;
    if (state_.objects == nullptr) {
        SKEP_TRY(state_.objects, ObjectHeap::create());
    }
    for (const auto& map : maps) {
        const bool owns = std::ranges::any_of(map->def().fields, [](const SpecialField& f) {
            return is_kptr(f.kind) || is_graph_root(f.kind);
        });
        const bool any = state_.options.mode == Mode::Sandbox && map->values().base != nullptr;
        if ((owns || any) && !keep_objects(*map, state_.objects) && owns)
            return fail(ErrorCode::InvalidArgument,
                        "map " + map->def().name + " holds objects of another Vm's programs");
    }
    return state_.objects;
}

Result<std::shared_ptr<Map>> Loader::map_for(const std::shared_ptr<const MapDef>& def) {
    if (const auto known = state_.map_of_def.find(def.get()); known != state_.map_of_def.end())
        return known->second;
    std::shared_ptr<Map> map;
    if (const auto lent = state_.lent.find(def->name); lent != state_.lent.end()) {
        map = lent->second;
        if (!same_shape(map->def(), *def))
            return fail(ErrorCode::BadMapDef, "map " + def->name +
                                                  " is to be one that the host gave, which has "
                                                  "another shape");
    } else if (def->pin_by_name) {
        if (const auto pinned = state_.pinned.find(def->name); pinned != state_.pinned.end()) {
            map = pinned->second;
            if (!same_shape(map->def(), *def))
                return fail(ErrorCode::BadMapDef,
                            "map " + def->name +
                                " is pinned by name, but a map of that name and another shape "
                                "exists in this Vm");
        }
    }
    if (map == nullptr) {
        SKEP_TRY(map, create_map(*def));
        SKEP_CHECK(account(*map));
        if (def->frozen) map->freeze();
        if (def->pin_by_name) state_.pinned.emplace(def->name, map);
        state_.maps.push_back(map);
        for (const MapInit& init : def->init) {
            auto& list = def->type == MapType::ProgArray ? programs_ : inner_maps_;
            list.push_back({map, init, false});
        }
    }
    state_.defs.push_back(def);
    state_.map_of_def.emplace(def.get(), map);
    return map;
}

Result<void> Loader::account(const Map& map) {
    // Memory that is taken on demand counts in full.
    const MapMemory memory = map.memory();
    const uint64_t bytes = std::max(memory.values, map.values().size) + memory.metadata;
    if (bytes > state_.options.map_bytes - state_.map_bytes)
        return fail(ErrorCode::LimitExceeded,
                    "map " + map.def().name + " needs " + std::to_string(bytes) + " bytes; " +
                        std::to_string(state_.options.map_bytes - state_.map_bytes) + " of " +
                        std::to_string(state_.options.map_bytes) + " are left (map_bytes)");
    state_.map_bytes += bytes;
    return {};
}

Result<void> Loader::wire_inner_maps() {
    for (const Pending& pending : std::exchange(inner_maps_, {})) {
        // The newest map of that name: the one of the object that is being loaded.
        const auto inner =
            std::find_if(state_.maps.rbegin(), state_.maps.rend(),
                         [&](const auto& m) { return m->def().name == pending.init.target; });
        const MapDef& outer = pending.map->def();
        if (inner == state_.maps.rend())
            return fail(ErrorCode::BadMapDef, "map " + outer.name + " names " +
                                                  pending.init.target +
                                                  " as an inner map, which does not exist");
        const auto* key = reinterpret_cast<const std::byte*>(&pending.init.index);
        if (const long error = pending.map->set_map(key, *inner, map_flags::kAny); error != 0)
            return fail(ErrorCode::BadMapContents, "map " + outer.name + " cannot hold " +
                                                       pending.init.target + " at index " +
                                                       std::to_string(pending.init.index) +
                                                       " (errno " + std::to_string(-error) + ")");
    }
    return {};
}

// A program that a program array names. Its maps exist by now, so that nothing more is to be wired.
Result<std::shared_ptr<const ProgramBody>> Loader::load_target(const Object& object,
                                                               std::string_view name,
                                                               const std::string& label) {
    SKEP_TRY(Program program, object.link(name));
    types_ = object.target_btf();
    return load_program(std::make_shared<const Program>(std::move(program)), label);
}

Result<void> Loader::wire_programs(const Object& object,
                                   const std::shared_ptr<const ProgramBody>& loaded) {
    for (const Pending& pending : std::exchange(programs_, {})) {
        std::shared_ptr<const ProgramBody> target = loaded;
        if (pending.init.target != loaded->source->name) {
            auto other = load_target(object, pending.init.target, loaded->object);
            if (!other && !pending.used) continue;
            if (!other) return std::unexpected(std::move(other).error());
            target = *std::move(other);
        }
        const auto* key = reinterpret_cast<const std::byte*>(&pending.init.index);
        if (const long error = pending.map->set_executable(key, target, map_flags::kAny);
            error != 0 && pending.used)
            return fail(ErrorCode::BadMapContents, "program array " + pending.map->def().name +
                                                       " cannot hold " + pending.init.target +
                                                       " at index " +
                                                       std::to_string(pending.init.index) +
                                                       " (errno " + std::to_string(-error) + ")");
    }
    return {};
}

}  // namespace skep
