// The C interface over Vm, Object and Map. Every entry point turns what may be thrown into an
// error.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <skep/skep.h>
#include <skep/vm.hpp>

using skep::Error;
using skep::ErrorCode;
using skep::Result;

struct skep_error {
    Error error;
    std::string name, text;
};
// Names are kept so that what is returned has a NUL and lives as long as the handle.
struct skep_object {
    skep::Object object;
    std::vector<std::string> names, sections, types, maps;
};
struct skep_vm {
    skep::Vm vm;
};
struct skep_program {
    skep::LoadedProgram program;
    std::string name;
};
struct skep_map {
    std::shared_ptr<skep::Map> map;
};

namespace {

constexpr int kEnomem = -12, kEinval = -22;

void report(skep_error** out, Error error) noexcept {
    if (out == nullptr) return;
    *out = nullptr;
    try {
        auto made = std::make_unique<skep_error>();
        made->name = name_of(error.code);
        made->text = error.to_string();
        made->error = std::move(error);
        *out = made.release();
    } catch (...) {
        // No memory for the report: the caller sees a failure without one.
    }
}

// Runs `f`, which returns a Result of what the function returns; `failed` is returned on an error.
template <class T, class F>
T guarded(skep_error** error, T failed, F f) noexcept {
    try {
        Result<T> result = f();
        if (result) return *std::move(result);
        report(error, std::move(result).error());
    } catch (const std::bad_alloc&) {
        report(error, {ErrorCode::OutOfMemory, {}, {}});
    } catch (...) {
        report(error, {ErrorCode::Internal, {}, {}});
    }
    return failed;
}

// The same for functions that return 0 or -1.
template <class F>
int status(skep_error** error, F f) noexcept {
    return guarded<int>(error, -1, [&]() -> Result<int> {
        Result<void> done = f();
        if (!done) return std::unexpected(std::move(done).error());
        return 0;
    });
}

std::unexpected<Error> missing(const char* what) {
    return skep::fail(ErrorCode::InvalidArgument, std::string(what) + " is NULL");
}

std::string_view text_or_empty(const char* text) {
    return text != nullptr ? std::string_view(text) : std::string_view();
}

const char* at(const std::vector<std::string>& list, size_t index) {
    return index < list.size() ? list[index].c_str() : nullptr;
}

void name_types(skep_object& object) {
    object.types.clear();
    for (const skep::ObjectProgram& program : object.object.programs())
        object.types.emplace_back(program.type_name);
}

Result<skep_object*> opened(Result<skep::Object> object) {
    if (!object) return std::unexpected(std::move(object).error());
    auto made = std::make_unique<skep_object>(*std::move(object));
    for (const skep::ObjectProgram& program : made->object.programs()) {
        made->names.emplace_back(program.name);
        made->sections.emplace_back(program.section);
    }
    name_types(*made);
    for (const skep::MapDef& map : made->object.maps()) made->maps.push_back(map.name);
    return made.release();
}

skep::OpenOptions open_options(const char* btf_path) {
    skep::OpenOptions options;
    options.target_btf_path = text_or_empty(btf_path);
    return options;
}

skep::Services services_of(const skep_vm_options& options) {
    skep::Services services;
    void* const user = options.user;
    if (options.ktime_ns != nullptr) {
        services.ktime_ns = services.boot_ns =
            services.coarse_ns = [f = options.ktime_ns, user] { return f(user); };
    }
    if (options.random != nullptr) services.random = [f = options.random, user] { return f(user); };
    if (options.task != nullptr) {
        services.task = [f = options.task, user] {
            skep::Services::Task task;
            skep_task given = {task.pid, task.tgid, task.uid, task.gid, task.ppid, {}};
            std::memcpy(given.comm, task.comm, sizeof given.comm);
            f(user, &given);
            task = {given.pid, given.tgid, given.uid, given.gid, {}, given.ppid};
            std::memcpy(task.comm, given.comm, sizeof task.comm);
            task.comm[sizeof task.comm - 1] = 0;
            return task;
        };
    }
    if (options.trace != nullptr) {
        services.trace = [f = options.trace, user](std::string_view line) {
            f(user, line.data(), line.size());
        };
    }
    return services;
}

// What the caller's struct has of ours; the rest keeps its default.
skep_vm_options complete(const skep_vm_options* given) {
    skep_vm_options options;
    skep_vm_options_init(&options);
    if (given != nullptr)
        std::memcpy(static_cast<void*>(&options), given, std::min(given->size, sizeof options));
    return options;
}

Result<skep::VmOptions> vm_options(const skep_vm_options& given) {
    skep::VmOptions options;
    if (given.engine < 0 || given.engine > SKEP_ENGINE_JIT || given.mode < 0 ||
        given.mode > SKEP_MODE_SANDBOX || given.policy < 0 || given.policy > SKEP_POLICY_HARDENED)
        return skep::fail(ErrorCode::InvalidArgument, "engine, mode or policy has no such number");
    options.engine = static_cast<skep::Engine>(given.engine);
    options.mode = static_cast<skep::Mode>(given.mode);
    options.policy = static_cast<skep::Policy>(given.policy);
    options.fuel = given.fuel;
    if (given.map_bytes != 0) options.map_bytes = given.map_bytes;
    options.user = given.user;
    options.services = services_of(given);
    if (given.kernel_btf_path != nullptr) {
        options.kernel_btf = [path = std::string(given.kernel_btf_path)] {
            auto types = skep::load_btf(path);
            return types ? *std::move(types) : nullptr;
        };
    }
    return options;
}

Result<skep_program*> loaded(Result<skep::LoadedProgram> program) {
    if (!program) return std::unexpected(std::move(program).error());
    std::string name(program->name());
    return std::make_unique<skep_program>(*std::move(program), std::move(name)).release();
}

// --- helpers
// ---------------------------------------------------------------------------------------

Result<skep::ArgSpec> arg_spec(int kind) {
    using skep::ArgKind;
    namespace flag = skep::arg_flag;
    switch (kind) {
        case SKEP_ARG_VALUE: return skep::ArgSpec{ArgKind::Anything};
        case SKEP_ARG_READ: return skep::ArgSpec{ArgKind::Memory};
        case SKEP_ARG_READ_OR_NULL: return skep::ArgSpec{ArgKind::Memory, flag::kNullable};
        case SKEP_ARG_WRITE: return skep::ArgSpec{ArgKind::Memory, flag::kWrite | flag::kUninit};
        case SKEP_ARG_SIZE: return skep::ArgSpec{ArgKind::Size};
        case SKEP_ARG_SIZE_OR_ZERO: return skep::ArgSpec{ArgKind::Size, flag::kZeroAllowed};
        case SKEP_ARG_CONTEXT: return skep::ArgSpec{ArgKind::Ctx};
        case SKEP_ARG_STRING: return skep::ArgSpec{ArgKind::ConstString};
        default:
            return skep::fail(ErrorCode::InvalidArgument,
                              "a helper's argument has the unknown kind " + std::to_string(kind));
    }
}

Result<skep::HelperProto> prototype(const skep_helper& helper) {
    skep::HelperProto proto;
    if (helper.returns != SKEP_RETURNS_NUMBER && helper.returns != SKEP_RETURNS_NOTHING)
        return skep::fail(ErrorCode::InvalidArgument, "a helper returns a number or nothing");
    proto.ret =
        helper.returns == SKEP_RETURNS_NOTHING ? skep::RetKind::Void : skep::RetKind::Scalar;
    bool size_due = false;
    for (const int kind : helper.args) {
        if (kind == SKEP_ARG_NONE) break;
        auto spec = arg_spec(kind);
        if (!spec) return std::unexpected(std::move(spec).error());
        const bool is_size = spec->kind == skep::ArgKind::Size;
        if (is_size != size_due)
            return skep::fail(ErrorCode::InvalidArgument,
                              "a helper's memory argument is followed by its size, and only it is");
        size_due = spec->kind == skep::ArgKind::Memory;
        proto.args[proto.count++] = *spec;
    }
    if (size_due)
        return skep::fail(ErrorCode::InvalidArgument, "a helper's last argument lacks its size");
    return proto;
}

// --- contexts
// --------------------------------------------------------------------------------------

skep::PacketBuffer packet_in(const skep_packet& packet) {
    const auto bytes = [](uint8_t* p) { return reinterpret_cast<std::byte*>(p); };
    return {bytes(packet.head), bytes(packet.data_meta), bytes(packet.data), bytes(packet.data_end),
            bytes(packet.hard_end)};
}
void packet_out(const skep::PacketBuffer& from, skep_packet& to) {
    const auto bytes = [](std::byte* p) { return reinterpret_cast<uint8_t*>(p); };
    to = {bytes(from.head), bytes(from.data_meta), bytes(from.data), bytes(from.data_end),
          bytes(from.hard_end)};
}

// Fields that both structs have, by the same name.
#define SKEP_SKB_FIELDS(X)                                                                     \
    X(len)                                                                                     \
    X(pkt_type) X(mark) X(queue_mapping) X(protocol) X(vlan_present) X(vlan_tci) X(vlan_proto) \
        X(priority) X(ingress_ifindex) X(ifindex) X(tc_index) X(hash) X(tc_classid) X(napi_id) \
            X(tstamp) X(wire_len) X(gso_segs) X(gso_size)

skep::SkbContext skb_in(const skep_skb& skb) {
    skep::SkbContext context;
    context.packet = packet_in(skb.packet);
#define SKEP_COPY(field) context.field = skb.field;
    SKEP_SKB_FIELDS(SKEP_COPY)
#undef SKEP_COPY
    std::copy(std::begin(skb.cb), std::end(skb.cb), context.cb);
    return context;
}
void skb_out(const skep::SkbContext& context, skep_skb& skb) {
    packet_out(context.packet, skb.packet);
#define SKEP_COPY(field) skb.field = context.field;
    SKEP_SKB_FIELDS(SKEP_COPY)
#undef SKEP_COPY
    std::copy(std::begin(context.cb), std::end(context.cb), skb.cb);
}

skep_result result_of(const skep::RunResult& result) {
    return {result.r0, static_cast<int>(result.trap), result.slot, result.program};
}

skep_result bad_argument() { return {0, static_cast<int>(skep::TrapCode::BadArgument), 0, 0}; }

void redirect_out(const skep::RedirectTarget& target, skep_redirect* redirect) {
    if (redirect == nullptr) return;
    *redirect = {target.map != nullptr ? 1 : 0, target.key, target.flags};
}

const std::byte* bytes_of(const void* memory) { return static_cast<const std::byte*>(memory); }

}  // namespace

extern "C" {

int skep_abi_version(void) { return SKEP_ABI_VERSION; }

void skep_error_free(skep_error* error) { delete error; }
int skep_error_code(const skep_error* error) {
    return error != nullptr ? static_cast<int>(error->error.code) : 0;
}
const char* skep_error_name(const skep_error* error) {
    return error != nullptr ? error->name.c_str() : "none";
}
const char* skep_error_message(const skep_error* error) {
    return error != nullptr ? error->error.message.c_str() : "";
}
const char* skep_error_text(const skep_error* error) {
    return error != nullptr ? error->text.c_str() : "";
}
int64_t skep_error_slot(const skep_error* error) {
    return error != nullptr ? error->error.where.slot : -1;
}
const char* skep_error_file(const skep_error* error) {
    return error != nullptr ? error->error.where.file.c_str() : "";
}
uint32_t skep_error_line(const skep_error* error) {
    return error != nullptr ? error->error.where.line : 0;
}

skep_object* skep_object_open_file(const char* path, const char* btf_path, skep_error** error) {
    return guarded<skep_object*>(error, nullptr, [&]() -> Result<skep_object*> {
        if (path == nullptr) return missing("the path");
        return opened(skep::Object::open_file(path, open_options(btf_path)));
    });
}
skep_object* skep_object_open(const void* bytes, size_t size, const char* name,
                              const char* btf_path, skep_error** error) {
    return guarded<skep_object*>(error, nullptr, [&]() -> Result<skep_object*> {
        if (bytes == nullptr) return missing("the object's memory");
        return opened(skep::Object::open_memory(
            {bytes_of(bytes), size}, std::string(text_or_empty(name)), open_options(btf_path)));
    });
}
void skep_object_free(skep_object* object) { delete object; }

size_t skep_object_program_count(const skep_object* object) {
    return object != nullptr ? object->names.size() : 0;
}
const char* skep_object_program_name(const skep_object* object, size_t index) {
    return object != nullptr ? at(object->names, index) : nullptr;
}
const char* skep_object_program_section(const skep_object* object, size_t index) {
    return object != nullptr ? at(object->sections, index) : nullptr;
}
const char* skep_object_program_type(const skep_object* object, size_t index) {
    return object != nullptr ? at(object->types, index) : nullptr;
}
size_t skep_object_map_count(const skep_object* object) {
    return object != nullptr ? object->maps.size() : 0;
}
const char* skep_object_map_name(const skep_object* object, size_t index) {
    return object != nullptr ? at(object->maps, index) : nullptr;
}

int skep_object_set_global(skep_object* object, const char* name, const char* value,
                           skep_error** error) {
    return status(error, [&]() -> Result<void> {
        if (object == nullptr || name == nullptr || value == nullptr) return missing("an argument");
        return object->object.set_global(name, std::string_view(value));
    });
}
int skep_object_set_map_size(skep_object* object, const char* map, uint32_t max_entries,
                             skep_error** error) {
    return status(error, [&]() -> Result<void> {
        if (object == nullptr || map == nullptr) return missing("an argument");
        return object->object.set_map_size(map, max_entries);
    });
}
int skep_object_set_map_contents(skep_object* object, const char* map, const void* bytes,
                                 size_t size, skep_error** error) {
    return status(error, [&]() -> Result<void> {
        if (object == nullptr || map == nullptr || bytes == nullptr) return missing("an argument");
        return object->object.set_map_contents(map, {bytes_of(bytes), size});
    });
}
int skep_object_set_program_type(skep_object* object, const char* program, const char* type,
                                 skep_error** error) {
    return status(error, [&]() -> Result<void> {
        if (object == nullptr || program == nullptr || type == nullptr)
            return missing("an argument");
        auto done = object->object.set_program_type(program, type);
        if (done) name_types(*object);
        return done;
    });
}

void skep_vm_options_init(skep_vm_options* options) {
    if (options == nullptr) return;
    *options = skep_vm_options{};
    options->size = sizeof *options;
    options->policy = SKEP_POLICY_STRICT;
}

skep_vm* skep_vm_create(const skep_vm_options* options, skep_error** error) {
    return guarded<skep_vm*>(error, nullptr, [&]() -> Result<skep_vm*> {
        auto given = vm_options(complete(options));
        if (!given) return std::unexpected(std::move(given).error());
        auto vm = skep::Vm::create(*std::move(given));
        if (!vm) return std::unexpected(std::move(vm).error());
        return std::make_unique<skep_vm>(*std::move(vm)).release();
    });
}
void skep_vm_free(skep_vm* vm) { delete vm; }

int skep_vm_add_helper(skep_vm* vm, const skep_helper* helper, skep_error** error) {
    return status(error, [&]() -> Result<void> {
        if (vm == nullptr || helper == nullptr || helper->name == nullptr)
            return missing("an argument");
        auto proto = prototype(*helper);
        if (!proto) return std::unexpected(std::move(proto).error());
        skep::Helper made;
        made.id = helper->id;
        made.name = helper->name;
        made.proto = *proto;
        // A run is the environment that every helper gets.
        made.thunk = reinterpret_cast<skep::HelperThunk>(helper->function);
        return vm->vm.add(made);
    });
}

void* skep_run_user(skep_run* run) {
    return skep::helper_user(*reinterpret_cast<skep::HelperEnv*>(run));
}
unsigned skep_run_cpu(skep_run* run) {
    return skep::helper_cpu(*reinterpret_cast<skep::HelperEnv*>(run));
}
int skep_run_charge(skep_run* run, uint64_t units) {
    return skep::helper_charge(*reinterpret_cast<skep::HelperEnv*>(run), units) ? 1 : 0;
}
void skep_run_fail(skep_run* run) {
    skep::helper_fail(*reinterpret_cast<skep::HelperEnv*>(run), skep::TrapCode::HostException);
}

skep_program* skep_vm_load(skep_vm* vm, const skep_object* object, const char* program,
                           skep_error** error) {
    return guarded<skep_program*>(error, nullptr, [&]() -> Result<skep_program*> {
        if (vm == nullptr || object == nullptr) return missing("vm or object");
        return loaded(vm->vm.load(object->object, text_or_empty(program)));
    });
}
skep_program* skep_vm_load_raw(skep_vm* vm, const uint64_t* slots, size_t count, const char* type,
                               uint32_t raw_size, skep_error** error) {
    return guarded<skep_program*>(error, nullptr, [&]() -> Result<skep_program*> {
        if (vm == nullptr || slots == nullptr || type == nullptr) return missing("an argument");
        return loaded(vm->vm.load_raw({slots, count}, type, {}, true, raw_size));
    });
}
void skep_program_free(skep_program* program) { delete program; }
const char* skep_program_name(const skep_program* program) {
    return program != nullptr ? program->name.c_str() : "";
}
int skep_program_engine(const skep_program* program) {
    return program != nullptr ? static_cast<int>(program->program.engine()) : SKEP_ENGINE_DEFAULT;
}

const char* skep_trap_name(int trap) {
    switch (static_cast<skep::TrapCode>(trap)) {
#define SKEP_TRAP(number, Name, stable_name, text) \
    case skep::TrapCode::Name: return #stable_name;
#include <skep/traps.def>
#undef SKEP_TRAP
        case skep::TrapCode::None: break;
    }
    return trap == 0 ? "none" : "unknown";
}

size_t skep_program_describe(const skep_program* program, const skep_result* result, char* text,
                             size_t size) {
    try {
        if (program == nullptr || result == nullptr) return 0;
        const skep::RunResult run{result->r0, static_cast<skep::TrapCode>(result->trap),
                                  result->slot, result->program};
        const std::string message = program->program.describe(run).message;
        if (text != nullptr && size != 0) {
            const size_t kept = std::min(message.size(), size - 1);
            std::memcpy(text, message.data(), kept);
            text[kept] = 0;
        }
        return message.size();
    } catch (...) {
        return 0;
    }
}

skep_result skep_program_run_xdp(const skep_program* program, skep_xdp* context,
                                 skep_redirect* redirect) {
    if (program == nullptr || context == nullptr) return bad_argument();
    skep::XdpContext xdp{packet_in(context->packet), context->ingress_ifindex,
                         context->rx_queue_index, context->egress_ifindex};
    skep::RedirectTarget target;
    const skep::RunResult result =
        program->program.run(xdp, redirect != nullptr ? &target : nullptr);
    packet_out(xdp.packet, context->packet);
    redirect_out(target, redirect);
    return result_of(result);
}
skep_result skep_program_run_skb(const skep_program* program, skep_skb* context,
                                 skep_redirect* redirect) {
    if (program == nullptr || context == nullptr) return bad_argument();
    skep::SkbContext skb = skb_in(*context);
    skep::RedirectTarget target;
    const skep::RunResult result =
        program->program.run(skb, redirect != nullptr ? &target : nullptr);
    skb_out(skb, *context);
    redirect_out(target, redirect);
    return result_of(result);
}
skep_result skep_program_run_bytes(const skep_program* program, void* data, size_t size) {
    if (program == nullptr) return bad_argument();
    skep::BytesContext context{static_cast<std::byte*>(data), size};
    return result_of(program->program.run(context));
}
void skep_program_interrupt(const skep_program* program) {
    if (program != nullptr) program->program.interrupt();
}
void skep_program_clear_interrupt(const skep_program* program) {
    if (program != nullptr) program->program.clear_interrupt();
}

skep_map* skep_vm_map(const skep_vm* vm, const char* name) {
    if (vm == nullptr || name == nullptr) return nullptr;
    try {
        auto map = vm->vm.map(name);
        return map != nullptr ? new skep_map{std::move(map)} : nullptr;
    } catch (...) {
        return nullptr;
    }
}
void skep_map_free(skep_map* map) { delete map; }
const char* skep_map_name(const skep_map* map) {
    return map != nullptr ? map->map->def().name.c_str() : "";
}
uint32_t skep_map_type(const skep_map* map) {
    return map != nullptr ? static_cast<uint32_t>(map->map->def().type) : 0;
}
uint32_t skep_map_key_size(const skep_map* map) {
    return map != nullptr ? map->map->def().key_size : 0;
}
uint32_t skep_map_value_size(const skep_map* map) {
    return map != nullptr ? map->map->def().value_size : 0;
}
uint64_t skep_map_entry_size(const skep_map* map) {
    return map != nullptr ? map->map->host_value_size() : 0;
}
uint32_t skep_map_max_entries(const skep_map* map) {
    return map != nullptr ? map->map->def().max_entries : 0;
}

int skep_map_lookup(skep_map* map, const void* key, void* value, size_t size) {
    if (map == nullptr || key == nullptr || value == nullptr) return kEinval;
    if (size < map->map->host_value_size()) return kEinval;
    return static_cast<int>(
        map->map->host_lookup(bytes_of(key), {static_cast<std::byte*>(value), size}, 0));
}
int skep_map_update(skep_map* map, const void* key, const void* value, size_t size,
                    uint64_t flags) {
    if (map == nullptr || key == nullptr || value == nullptr) return kEinval;
    if (size < map->map->host_value_size()) return kEinval;
    return static_cast<int>(map->map->host_update(bytes_of(key), {bytes_of(value), size}, flags));
}
int skep_map_delete(skep_map* map, const void* key) {
    if (map == nullptr || key == nullptr) return kEinval;
    return static_cast<int>(map->map->host_erase(bytes_of(key)));
}
int skep_map_next_key(skep_map* map, const void* key, void* next) {
    if (map == nullptr || next == nullptr) return kEinval;
    return static_cast<int>(map->map->next_key(bytes_of(key), static_cast<std::byte*>(next)));
}
int skep_map_push(skep_map* map, const void* value, size_t size) {
    if (map == nullptr || value == nullptr || size < map->map->def().value_size) return kEinval;
    return static_cast<int>(map->map->push(bytes_of(value), 0, {}));
}
int skep_map_pop(skep_map* map, void* value, size_t size) {
    if (map == nullptr || value == nullptr || size < map->map->def().value_size) return kEinval;
    return static_cast<int>(map->map->host_pop({static_cast<std::byte*>(value), size}));
}
int skep_vm_set_program(skep_vm* vm, skep_map* prog_array, uint32_t index,
                        const skep_program* program, skep_error** error) {
    return status(error, [&]() -> Result<void> {
        if (vm == nullptr || prog_array == nullptr || program == nullptr)
            return missing("an argument");
        return vm->vm.set_program(*prog_array->map, index, program->program);
    });
}
int skep_vm_set_inner_map(skep_vm* vm, skep_map* outer, const void* key, skep_map* inner,
                          skep_error** error) {
    return status(error, [&]() -> Result<void> {
        if (vm == nullptr || outer == nullptr || key == nullptr || inner == nullptr)
            return missing("an argument");
        return vm->vm.set_inner_map(*outer->map, {bytes_of(key), outer->map->def().key_size},
                                    inner->map);
    });
}

long skep_map_consume(skep_map* map, skep_consume consume, void* user, uint64_t limit) {
    if (map == nullptr || consume == nullptr) return kEinval;
    struct Consumer {
        skep_consume function;
        void* user;
    } consumer{consume, user};
    try {
        return map->map->consume(
            [](void* context, const skep::MapEvent& event) {
                const auto& to = *static_cast<Consumer*>(context);
                return to.function(to.user, event.cpu, event.data.data(), event.data.size(),
                                   event.lost) != 0;
            },
            &consumer, limit);
    } catch (...) {
        return kEnomem;
    }
}
int skep_map_open_events(skep_map* map, uint64_t bytes_per_cpu) {
    return map != nullptr ? static_cast<int>(map->map->open_events(bytes_per_cpu)) : kEinval;
}
int skep_map_event_fd(skep_map* map) { return map != nullptr ? map->map->event_fd() : kEinval; }

}  // extern "C"
