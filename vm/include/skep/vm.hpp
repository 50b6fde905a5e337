// Vm: maps, helpers and loaded programs of one tenant; LoadedProgram: a program ready to run.
//
//   auto object = skep::Object::open_file("filter.o");
//   auto vm = skep::Vm::create();
//   auto program = vm->load(*object, "xdp_filter");
//   skep::XdpContext context{...};
//   skep::RunResult result = program->run(context);
//
// Thread-safety: load is exclusive per Vm; run is const and may be called from any number of
// threads at once; maps are concurrent. Handles are reference-counted and cheap to copy: whatever a
// handle needs lives as long as the handle.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <skep/context.hpp>
#include <skep/error.hpp>
#include <skep/helper.hpp>
#include <skep/map.hpp>
#include <skep/object.hpp>
#include <skep/policy.hpp>
#include <skep/services.hpp>

namespace skep {

enum class Engine : uint8_t {
    Default,
    Interpreter,
    Jit
};  // Default: Jit if built, else Interpreter
enum class Mode : uint8_t { Verified, Sandbox };

struct VmOptions {
    Engine engine = Engine::Default;
    Mode mode = Mode::Verified;
    Policy policy = Policy::Strict;
    // Fuel units per run (DESIGN: one per taken backward jump, call, tail call, callback round).
    // 0: the default, 2^26 in a sandbox, and only where it can be exceeded when verified.
    uint64_t fuel = 0;
    uint64_t map_bytes = uint64_t{1} << 34;  // bound on memory reserved for maps of the Vm
    Services services;
    // The types of the system that programs look into (load_btf of skep/object.hpp), asked at most
    // once, by the first program that needs them: typed pointers, bpf_get_current_task. CO-RE's
    // target, where an object was relocated against one, comes first. Empty or null: such programs
    // are refused with btf_needed, or see no task.
    std::function<std::shared_ptr<const Btf>()> kernel_btf;
    void* user = nullptr;  // handed to the host's own helpers
    // Native code tells about itself: `perf_map` appends a line per program and subprogram to
    // /tmp/perf-PID.map, where perf and other profilers look for names of generated code;
    // `gdb_jit` registers an object with the same symbols through GDB's JIT interface. Failing to
    // do so is no error.
    bool perf_map = false;
    bool gdb_jit = false;
};

// How a run ended. r0 is meaningful only without a trap.
struct RunResult {
    uint64_t r0 = 0;
    TrapCode trap = TrapCode::None;
    uint32_t slot = 0;     // where it trapped
    uint32_t program = 0;  // which program of a tail-call chain trapped: LoadedProgram::id()
    bool ok() const noexcept { return trap == TrapCode::None; }
};

// A trap for people: RunResult with the place in the source.
struct TrapInfo {
    TrapCode code = TrapCode::None;
    uint32_t slot = 0;
    std::string file;  // empty without line information
    uint32_t line = 0;
    std::string message;
};

// Where a redirect helper sent the packet of the last run. Filled by the run overloads that take
// it.
struct RedirectTarget {
    std::shared_ptr<Map> map;  // null: `key` is an interface index
    uint64_t key = 0;
    uint64_t flags = 0;
    SockContext* socket = nullptr;  // that bpf_sk_assign chose for the packet; borrowed
};

// What one Vm::run_timers did.
struct TimerRuns {
    uint64_t fired = 0;    // callbacks that ran
    uint64_t trapped = 0;  // of those
    RunResult first_trap;  // of the first one that trapped
};

struct LoadTimes {
    uint64_t verify_ns = 0, lower_ns = 0, compile_ns = 0;
};

class LoadedProgram {
public:
    LoadedProgram() = default;
    explicit operator bool() const noexcept { return impl_ != nullptr; }

    std::string_view name() const noexcept;
    uint32_t id() const noexcept;    // unique within the Vm
    Engine engine() const noexcept;  // the one that runs it
    Mode mode() const noexcept;
    uint64_t code_bytes() const noexcept;  // native code, 0 without
    // Where the program finds the synthetic task_struct of Services::task; 0 without kernel types.
    uint64_t task_address() const noexcept;
    // The same of another struct type of the kernel's ("file", "tcp_sock"); 0: there is none.
    uint64_t object_address(std::string_view type) const noexcept;
    // Programs whose context is arguments with types of the kernel's (tracing, lsm, struct_ops):
    // for each that points to a struct, up to the twelfth, where such an object is; else 0. A
    // context made of them is what the program would find, objects that say nothing included.
    std::vector<uint64_t> argument_objects() const;
    LoadTimes times() const noexcept;

    // One run. The context must be of the program's type (BytesContext for those whose context is
    // bytes; for type raw, r1 = its address and r2 = its length). Wrong kind, packet pointers out
    // of order, or an empty handle: Trap BadArgument.
    RunResult run(XdpContext& context, RedirectTarget* redirect = nullptr) const noexcept;
    RunResult run(SkbContext& context, RedirectTarget* redirect = nullptr) const noexcept;
    RunResult run(BytesContext& context) const noexcept;
    // One run for each context, in order, with the result of the n-th in results[n]; as many as the
    // shorter span has. For packets that come in bursts: what a run costs besides the program is
    // paid once for up to 64 of them. Elements that other threads delete from maps meanwhile are
    // reused after those.
    void run(std::span<XdpContext> contexts, std::span<RunResult> results) const noexcept;
    // Contexts of the other types: the host struct that the type's layout names.
    RunResult run_context(void* context, uint64_t size) const noexcept;

    TrapInfo describe(const RunResult& result) const;
    // The slot whose native code `pc` lies in, or ~0u; of use to profilers and crash handlers.
    uint32_t slot_at(const void* pc) const noexcept;

    // Makes running and future runs of this program stop with Trap::Interrupted until cleared. The
    // flag is polled where fuel is charged, every 64 Ki units; a verified program without fuel
    // (see VmOptions::fuel), whose runs end by themselves soon, stops at its next run.
    void interrupt() const noexcept;
    void clear_interrupt() const noexcept;

private:
    friend class Vm;
    struct Impl;
    std::shared_ptr<Impl> impl_;
};

class Vm {
public:
    static Result<Vm> create(VmOptions options = {});
    Vm(Vm&&) noexcept;
    Vm& operator=(Vm&&) noexcept;
    ~Vm();

    // Registers a helper of the host's under its number (make_helper<&f>(1000, "name")).
    Result<void> add(const Helper& helper);

    // Registers a kernel function of the host's own, which programs declare as
    // `extern int name(...) __ksym;` and call by `function.name` (make_kfunc<&f>("name")). It comes
    // before one of Linux's with that name. Error: no name or function, or the name is taken.
    Result<void> add_kfunc(const Helper& function);

    // Makes the object's maps (once per object), links, verifies (mode verified), lowers, compiles.
    // The Error of a refused program names slot and source line.
    Result<LoadedProgram> load(const Object& object, std::string_view program);
    // Raw slots with maps by index; `type` as `skep types` names it. raw_size: bytes behind r1.
    Result<LoadedProgram> load_raw(std::span<const uint64_t> slots, std::string_view type,
                                   std::span<const MapDef> maps = {}, bool gpl = true,
                                   uint32_t raw_size = 0);

    // The map of a loaded object by name; null if there is none.
    std::shared_ptr<Map> map(std::string_view name) const;
    std::vector<std::shared_ptr<Map>> maps() const;
    // From now on objects that are loaded use `map` instead of one of their own of that name, if
    // the shapes agree (else loading fails): how programs of several objects or Vms share a map,
    // and how a program is replaced while its maps live on. As libbpf's bpf_map__reuse_fd().
    Result<void> use_map(std::string_view name, std::shared_ptr<Map> map);
    // All maps together.
    MapMemory memory() const;

    // Runs the callbacks of timers (bpf_timer_start) that are due at `now_ns`, a time of the clock
    // that Services::ktime_ns tells programs, in the order in which they are due, on this thread.
    // Timers that callbacks start wait for the next call. Any number of threads may call it.
    // Nothing else fires timers. Errors: out_of_memory.
    Result<TimerRuns> run_timers(uint64_t now_ns);
    // When the next timer is due, if one waits.
    std::optional<uint64_t> next_timer() const;

    // Puts a loaded program into a program array.
    Result<void> set_program(Map& prog_array, uint32_t index, const LoadedProgram& program);
    // Puts a map into a map of maps; the shapes must agree.
    Result<void> set_inner_map(Map& outer, std::span<const std::byte> key,
                               std::shared_ptr<Map> inner);

private:
    struct Impl;
    explicit Vm(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace skep
