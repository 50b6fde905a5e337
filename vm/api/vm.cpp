// Vm and LoadedProgram: the public face. Everything that may fail is an Error; nothing is thrown.
#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include <skep/vm.hpp>

#include "helpers/kernel_world.hpp"
#include "vm/api/vm_state.hpp"
#include "vm/base/try.hpp"
#include "vm/prog/attach_proto.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep {

namespace {

// Runs `f`; an exception that escapes it becomes an Error.
template <class F>
auto guarded(F f) noexcept -> decltype(f()) {
    try {
        return f();
    } catch (const std::bad_alloc&) {
        return fail(ErrorCode::OutOfMemory, {});
    } catch (...) {
        return fail(ErrorCode::Internal, {});
    }
}

Error in_object(Error error, std::string_view object) {
    if (error.where.object.empty()) error.where.object = object;
    return error;
}

}  // namespace

Vm::Vm(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Vm::Vm(Vm&&) noexcept = default;
Vm& Vm::operator=(Vm&&) noexcept = default;
Vm::~Vm() = default;

Result<Vm> Vm::create(VmOptions options) {
    return guarded([&]() -> Result<Vm> {
#ifndef SKEP_HAS_JIT
        if (options.engine == Engine::Jit)
            return fail(ErrorCode::NoJit,
                        "this build has no native-code engine; use engine interpreter");
#endif
        auto impl = std::make_unique<Impl>();
        impl->state = std::make_shared<VmState>(std::move(options));
        return Vm(std::move(impl));
    });
}

Result<void> Vm::add(const Helper& helper) {
    return guarded([&]() -> Result<void> {
        if (helper.id < kFirstHostHelper)
            return fail(ErrorCode::InvalidArgument,
                        "helper number " + std::to_string(helper.id) +
                            " belongs to Linux; hosts use numbers from " +
                            std::to_string(kFirstHostHelper) + " on");
        if (helper.thunk == nullptr)
            return fail(ErrorCode::InvalidArgument, "a helper needs a function");
        VmState& state = *impl_->state;
        const std::lock_guard lock(state.mutex);
        if (state.host_helper(helper.id) != nullptr)
            return fail(ErrorCode::InvalidArgument,
                        "helper " + std::to_string(helper.id) + " is registered already");
        auto held = std::make_unique<VmState::HostHelper>(helper, std::string(helper.name),
                                                          std::string(helper.summary));
        held->helper.name = held->name;
        held->helper.summary = held->summary;
        state.helpers.push_back(std::move(held));
        return {};
    });
}

Result<void> Vm::add_kfunc(const Helper& function) {
    return guarded([&]() -> Result<void> {
        if (function.name.empty() || function.thunk == nullptr)
            return fail(ErrorCode::InvalidArgument,
                        "a kernel function needs a name and a function");
        VmState& state = *impl_->state;
        const std::lock_guard lock(state.mutex);
        if (state.host_kfunc(function.name) != nullptr)
            return fail(ErrorCode::InvalidArgument,
                        "kernel function " + std::string(function.name) + " is registered already");
        auto held = std::make_unique<VmState::HostHelper>(function, std::string(function.name),
                                                          std::string(function.summary));
        held->helper.id = 0;
        held->helper.name = held->name;
        held->helper.summary = held->summary;
        state.kfuncs.push_back(std::move(held));
        return {};
    });
}

Result<LoadedProgram> Vm::load(const Object& object, std::string_view program) {
    return guarded([&]() -> Result<LoadedProgram> {
        const std::lock_guard lock(impl_->state->mutex);
        auto body = Loader(*impl_->state).load(object, program);
        if (!body) return std::unexpected(in_object(std::move(body).error(), object.name()));
        LoadedProgram loaded;
        loaded.impl_ = std::make_shared<LoadedProgram::Impl>(impl_->state, *std::move(body));
        return loaded;
    });
}

Result<LoadedProgram> Vm::load_raw(std::span<const uint64_t> slots, std::string_view type,
                                   std::span<const MapDef> maps, bool gpl, uint32_t raw_size) {
    return guarded([&]() -> Result<LoadedProgram> {
        const TypeChoice choice = parse_type(type);
        if (choice.type == nullptr)
            return fail(ErrorCode::UnknownProgramType,
                        "`" + std::string(type) + "` is no program type");
        std::vector<RawInsn> insns(slots.size());
        if (!slots.empty())
            std::memcpy(static_cast<void*>(insns.data()), slots.data(), slots.size_bytes());
        std::vector<std::shared_ptr<const MapDef>> defs;
        for (const MapDef& def : maps) defs.push_back(std::make_shared<const MapDef>(def));
        SKEP_TRY(Program program,
                 make_raw_program(std::move(insns), *choice.type, std::move(defs), gpl));
        program.section_type = choice.section;
        program.attach_type = choice.attach_type;
        program.sleepable = choice.section != nullptr && choice.section->sleepable;
        program.raw_size = raw_size;
        const std::lock_guard lock(impl_->state->mutex);
        LoadedProgram loaded;
        SKEP_TRY(auto body,
                 Loader(*impl_->state)
                     .load_program(std::make_shared<const Program>(std::move(program)), "raw"));
        loaded.impl_ = std::make_shared<LoadedProgram::Impl>(impl_->state, std::move(body));
        return loaded;
    });
}

std::shared_ptr<Map> Vm::map(std::string_view name) const {
    const std::lock_guard lock(impl_->state->mutex);
    for (const auto& map : impl_->state->maps) {
        if (map->def().name == name) return map;
    }
    return nullptr;
}

Result<void> Vm::use_map(std::string_view name, std::shared_ptr<Map> map) {
    return guarded([&]() -> Result<void> {
        if (map == nullptr) return fail(ErrorCode::InvalidArgument, "there is no map to use");
        VmState& state = *impl_->state;
        const std::lock_guard lock(state.mutex);
        state.lent[std::string(name)] = map;
        if (std::ranges::find(state.maps, map) == state.maps.end())
            state.maps.push_back(std::move(map));
        return {};
    });
}

MapMemory Vm::memory() const {
    MapMemory sum;
    const std::lock_guard lock(impl_->state->mutex);
    for (const auto& map : impl_->state->maps) {
        const MapMemory one = map->memory();
        sum.values += one.values;
        sum.metadata += one.metadata;
        sum.deferred += one.deferred;
    }
    return sum;
}

Result<TimerRuns> Vm::run_timers(uint64_t now_ns) {
    return guarded([&]() -> Result<TimerRuns> { return impl_->state->run_timers(now_ns); });
}

std::optional<uint64_t> Vm::next_timer() const { return impl_->state->timers->next(); }

std::vector<std::shared_ptr<Map>> Vm::maps() const {
    const std::lock_guard lock(impl_->state->mutex);
    return impl_->state->maps;
}

Result<void> Vm::set_program(Map& prog_array, uint32_t index, const LoadedProgram& program) {
    return guarded([&]() -> Result<void> {
        const MapDef& def = prog_array.def();
        if (def.type != MapType::ProgArray)
            return fail(ErrorCode::InvalidArgument, "map " + def.name + " is no program array");
        if (!program || program.impl_->state != impl_->state)
            return fail(ErrorCode::InvalidArgument, "the program was not loaded into this Vm");
        const auto* key = reinterpret_cast<const std::byte*>(&index);
        const long error = prog_array.set_executable(key, program.impl_->body, map_flags::kAny);
        if (error == 0) return {};
        return fail(ErrorCode::BadMapContents,
                    "index " + std::to_string(index) + " of map " + def.name + " with " +
                        std::to_string(def.max_entries) + " entries cannot be set (errno " +
                        std::to_string(-error) + ")");
    });
}

Result<void> Vm::set_inner_map(Map& outer, std::span<const std::byte> key,
                               std::shared_ptr<Map> inner) {
    return guarded([&]() -> Result<void> {
        const MapDef& def = outer.def();
        if (inner == nullptr || key.size() != def.key_size)
            return fail(ErrorCode::InvalidArgument,
                        "a key of " + std::to_string(key.size()) + " bytes; map " + def.name +
                            " has keys of " + std::to_string(def.key_size) + " bytes");
        const long error = outer.set_map(key.data(), std::move(inner), map_flags::kAny);
        if (error == 0) return {};
        return fail(ErrorCode::BadMapContents, "map " + def.name + " cannot hold that map (errno " +
                                                   std::to_string(-error) + ")");
    });
}

std::string_view LoadedProgram::name() const noexcept { return impl_->body->source->name; }
uint32_t LoadedProgram::id() const noexcept { return impl_->body->number; }
Engine LoadedProgram::engine() const noexcept { return impl_->body->engine; }
Mode LoadedProgram::mode() const noexcept { return impl_->body->mode; }
uint64_t LoadedProgram::code_bytes() const noexcept { return impl_->body->code->native_bytes(); }
uint64_t LoadedProgram::task_address() const noexcept {
    return impl_->body->world != nullptr ? impl_->body->world->task() : 0;
}
uint64_t LoadedProgram::object_address(std::string_view type) const noexcept {
    return impl_->body->world != nullptr ? impl_->body->world->object(type) : 0;
}
std::vector<uint64_t> LoadedProgram::argument_objects() const {
    constexpr uint32_t kWords = 12;
    const ProgramBody& body = *impl_->body;
    std::vector<uint64_t> words(body.source->type->ctx == &kBtfCtx ? kWords : 0);
    if (body.world == nullptr) return words;
    for (uint32_t i = 0; i < words.size(); ++i) {
        bool maybe = false;
        const auto target = argument_target(*body.source, body.world->btf(), i, maybe);
        if (!target || maybe) continue;
        const uint64_t known = body.world->object(target->name());
        words[i] = known != 0 ? known : body.world->blank(i);
    }
    return words;
}
LoadTimes LoadedProgram::times() const noexcept { return impl_->body->times; }

uint32_t LoadedProgram::slot_at(const void* pc) const noexcept {
    return impl_->body->code->slot_at(pc);
}

TrapInfo LoadedProgram::describe(const RunResult& result) const {
    TrapInfo info;
    info.code = result.trap;
    info.slot = result.slot;
    if (result.ok()) return info;
    std::shared_ptr<const ProgramBody> body = impl_->body;
    if (result.program != body->number) body = impl_->state->program(result.program);
    info.message = text_of(result.trap);
    if (body == nullptr) return info;
    const Program& program = *body->source;
    if (const auto reason = program.poisoned.find(result.slot);
        result.trap == TrapCode::Poisoned && reason != program.poisoned.end())
        info.message += ": " + reason->second;
    const Where where = program.where(result.slot);
    info.file = where.file;
    info.line = where.line;
    info.message += " (program " + program.name + ", slot " + std::to_string(result.slot);
    if (where.line != 0) info.message += ", " + where.file + ":" + std::to_string(where.line);
    info.message += ")";
    return info;
}

void LoadedProgram::interrupt() const noexcept { impl_->body->interrupted.store(1); }
void LoadedProgram::clear_interrupt() const noexcept { impl_->body->interrupted.store(0); }

}  // namespace skep
