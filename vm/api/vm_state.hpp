// What a Vm and the programs loaded into it share.
//
// Ownership: Vm and LoadedProgram handles hold the VmState; it holds the maps; a loaded program's
// body holds its image, which holds the maps that it uses. Program arrays hold bodies. That circle
// is opened when the last handle is gone: the state's destructor empties the program arrays.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include <skep/vm.hpp>

#include "maps/timers.hpp"
#include "vm/prog/program.hpp"
#include "vm/run/image.hpp"
#include "vm/run/lower.hpp"
#include "vm/run/run_area.hpp"

namespace skep {

class KernelWorld;
namespace jit {
class CodeArena;
}

inline constexpr unsigned kMaxRunDepth = 4;  // runs inside helpers of runs
inline constexpr uint32_t kFirstHostHelper = 1000;

// Which host struct a program's runs take.
enum class ContextKind : uint8_t { Xdp, Skb, Bytes, Other };

// A loaded program without the handles' share. What program arrays lead to.
struct ProgramBody final : TailTarget {
    std::shared_ptr<const Program> source;
    std::shared_ptr<Image> owned_image;
    std::shared_ptr<const Code> owned_code;
    std::string object;  // name, for messages
    Engine engine = Engine::Interpreter;
    Mode mode = Mode::Sandbox;
    uint64_t fuel = kDefaultFuel;
    ContextKind context = ContextKind::Other;
    int32_t packet_offset = -1;  // of the PacketBuffer in the host struct, -1 = has none
    LoadTimes times;
    // Synthetic kernel objects for programs that use kernel types; else null.
    std::shared_ptr<const KernelWorld> world;
    uint32_t number = 0;
    mutable std::atomic<uint32_t> interrupted{0};

    uint32_t id() const noexcept override { return number; }
};

struct VmState {
    explicit VmState(VmOptions given);
    ~VmState();
    VmState(const VmState&) = delete;
    VmState& operator=(const VmState&) = delete;

    // The run area of a CPU slot at a nesting depth (from 0), made on its first use; null when
    // there is no memory for it. Called by the thread that holds the slot.
    RunArea* area(unsigned slot, unsigned depth) noexcept {
        // Only the thread that holds the slot comes here; its hand-over orders earlier stores.
        RunArea* area = areas_[size_t{slot} * kMaxRunDepth + depth].load(std::memory_order_acquire);
        if (area != nullptr) [[likely]]
            return area;
        return make_area(slot, depth);
    }
    std::shared_ptr<Map> map_handle(const Map* map) const;
    const Helper* host_helper(uint32_t id) const;
    const Helper* host_kfunc(std::string_view name) const;
    // Null if there is none, or no more.
    std::shared_ptr<const ProgramBody> program(uint32_t number) const;
    TimerRuns run_timers(uint64_t now);
#ifdef SKEP_HAS_JIT
    Result<std::shared_ptr<const Code>> native_code(const Image& image);
#endif

    struct HostHelper {
        Helper helper;
        std::string name, summary;
    };

    const VmOptions options;
    mutable std::mutex mutex;  // load, and the tables below
    std::vector<std::shared_ptr<Map>> maps;
    // The map made for a definition of an object. Definitions are kept: their addresses are keys.
    std::unordered_map<const MapDef*, std::shared_ptr<Map>> map_of_def;
    std::vector<std::shared_ptr<const MapDef>> defs;
    std::unordered_map<std::string, std::shared_ptr<Map>> pinned;  // by name
    std::shared_ptr<ObjectHeap> objects;  // made by the first program that allocates
    std::unordered_map<std::string, std::shared_ptr<Map>> lent;  // by name: Vm::use_map
    const std::shared_ptr<TimerWheel> timers;
    uint64_t map_bytes = 0;  // reserved so far
    std::vector<std::unique_ptr<HostHelper>> helpers;
    std::vector<std::unique_ptr<HostHelper>> kfuncs;
    std::unordered_map<uint32_t, std::weak_ptr<const ProgramBody>> programs;
    uint32_t next_program = 1;
    // The system's types, asked of the host once, and the synthetic objects by the types that they
    // follow.
    const std::shared_ptr<const Btf>& system_types();
    std::shared_ptr<const KernelWorld> world_of(const std::shared_ptr<const Btf>& types);

private:
    RunArea* make_area(unsigned slot, unsigned depth) noexcept;

    bool types_asked_ = false;
    std::shared_ptr<const Btf> system_types_;
    std::vector<std::shared_ptr<const KernelWorld>> worlds_;
#ifdef SKEP_HAS_JIT
    std::shared_ptr<jit::CodeArena> arena_;  // made by the first program
#endif
    unsigned slots_;
    std::unique_ptr<std::atomic<RunArea*>[]> areas_;  // by slot * kMaxRunDepth + depth
};

struct LoadedProgram::Impl {
    std::shared_ptr<VmState> state;
    std::shared_ptr<const ProgramBody> body;
};

struct Vm::Impl {
    std::shared_ptr<VmState> state;
};

// Loading, with VmState::mutex held.
class Loader {
public:
    explicit Loader(VmState& state) : state_(state) {}

    Result<std::shared_ptr<const ProgramBody>> load(const Object& object, std::string_view program);
    Result<std::shared_ptr<const ProgramBody>> load_program(std::shared_ptr<const Program> program,
                                                            std::string object);

private:
    // Entries of maps that were made by this load, to be wired once the program exists.
    struct Pending {
        std::shared_ptr<Map> map;
        MapInit init;
        bool used = false;  // by the program that is being loaded
    };
    Result<std::vector<std::shared_ptr<Map>>> bind_maps(const Program& program);
    Result<std::shared_ptr<ObjectHeap>> objects_for(const Program& program,
                                                    const std::vector<std::shared_ptr<Map>>& maps);
    Result<std::shared_ptr<Map>> map_for(const std::shared_ptr<const MapDef>& def);
    Result<void> account(const Map& map);
    Result<void> wire_inner_maps();
    Result<void> wire_programs(const Object& object,
                               const std::shared_ptr<const ProgramBody>& loaded);
    Result<std::shared_ptr<const ProgramBody>> load_target(const Object& object,
                                                           std::string_view name,
                                                           const std::string& label);
    Result<std::shared_ptr<Image>> bind(ProgramBody& body, Binding binding);
    Result<std::shared_ptr<const Code>> compile(ProgramBody& body);

    VmState& state_;
    std::vector<Pending> inner_maps_, programs_;
    std::shared_ptr<const Btf> types_;  // of the kernel, for the program that is being loaded
};

// One run of a loaded program; `packet` is null for contexts without one. `instead`: what runs in
// place of the program's own code.
RunResult run_body(VmState& state, const ProgramBody& body, void* ctx, PacketBuffer* packet,
                   RedirectTarget* redirect, const Code* instead = nullptr) noexcept;

}  // namespace skep
