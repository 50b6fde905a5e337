// One analysis of one program: the abstract machine, its checks, and the search over its paths.
//
// The class is split over files by concern:
//   structure.cpp   what can be seen without running: control flow, calls
//   stack_depth.cpp frames and stack that chains of calls need, after the search
//   attach.cpp      what tracing programs may attach to; tracing_args.cpp their contexts
//   explore.cpp     the search: branches that wait, kept states, pruning, budgets
//   subsume.cpp     when one state covers another
//   step.cpp        one instruction: dispatch, numbers, moves
//   pointer.cpp     arithmetic on pointers
//   branch.cpp      conditional jumps and what they teach
//   relations.cpp   orders between numbers
//   memory.cpp      loads, stores and atomics, by kind of memory
//   stack.cpp       the stack frame, byte by byte
//   kptr.cpp        kptr fields, and objects that programs allocate
//   call.cpp        helpers, subprograms, callbacks; args.cpp their arguments
//   kfunc.cpp       kernel functions; kfunc_args.cpp, iterator.cpp, dynptr.cpp, kfunc_locks.cpp and
//                   kfunc_objects.cpp kinds of them
//   report.cpp      errors, the log, names of things
//   facts.cpp       what engines may rely on
// Transfer and checks work on the current state `st()` and do not know why it is being looked at.
// Functions that return bool return false after reject(): the analysis ends there.
#pragma once

#include <cstdarg>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "verifier/cell.hpp"
#include "verifier/liveness.hpp"
#include "verifier/pool.hpp"
#include "verifier/provenance.hpp"
#include "verifier/scalar.hpp"
#include "verifier/shape.hpp"
#include "verifier/state.hpp"
#include "verifier/verifier.hpp"
#include "vm/btf/btf.hpp"
#include "vm/prog/cfg.hpp"

namespace skep {
struct ArgSpec;
struct Helper;
struct KfuncType;
}  // namespace skep

namespace skep::verifier {

// Limits of Linux 6.18 that are the same for every policy.
inline constexpr int64_t kMaxVarOff = int64_t{1} << 29;  // of a pointer's offset, either way
inline constexpr uint32_t kMaxPacketOff = 0xffff;
inline constexpr uint64_t kMaxPacketLength = uint64_t{1} << 30;  // of a packet that hosts may give
inline constexpr uint64_t kLinuxInsns = 1'000'000;
inline constexpr uint32_t kLinuxPendingJumps = 8192;
inline constexpr size_t kMaxPathSteps = 32;  // of Analysis::path

struct BtfStep;
struct CallInfo;
struct KfuncCall;
struct KfuncRef;
class StackDepth;
class Subsumption;

// What Mem and Btf cells point to.
struct ObjectDesc {
    uint32_t size = 0;
    uint32_t btf_id = 0;
    const Btf* btf = nullptr;
    std::string name{};  // of a kernel type, where no BTF has it
    bool operator==(const ObjectDesc&) const = default;
};

// A map as the analysis knows it: one of the program's, or the inner one of such.
struct MapRef {
    const MapDef* def = nullptr;
    int32_t program_index = -1;
};

// A state kept at a slot, to prune later visits.
struct Checkpoint {
    State state;
    Checkpoint* parent = nullptr;
    uint32_t branches = 1;  // paths from here that have not ended
    // A path from here ended in a state that was still open: what is known to be imprecise may
    // change until that one is done.
    Checkpoint* waits_for = nullptr;
    uint32_t serial = 0;
    bool reads_packet_start = false;  // a path from here gets a second witness of where it is
    bool dropped = false;             // no longer in its slot's list
    std::vector<uint32_t> trail;
    uint64_t from_parent = 0;  // instructions between the parent and this
    uint64_t longest = 0;      // instructions of the longest path from here that ended
};

// A checkpoint in its slot's list.
struct Kept {
    Shape shape;
    Checkpoint* checkpoint = nullptr;
    uint32_t hits = 0, misses = 0;
    bool forced = false;
};

enum class Compare : uint8_t {
    Normal,  // scalars that no proof used may differ
    Range,   // every live scalar must be covered
    Exact,   // nothing may differ
};

class Analyzer {
public:
    Analyzer(const Program& program, const AnalyzeOptions& options);
    ~Analyzer();
    Analyzer(const Analyzer&) = delete;
    Analyzer& operator=(const Analyzer&) = delete;

    Analysis run();
    // The next run records the branches that it takes, for Analysis::path.
    void record_trail() { record_trail_ = true; }
    const ScalarPool& pool() const { return pool_; }
    const Provenance& provenance() const { return provenance_; }

private:
    friend class Subsumption;
    friend class Printer;

    // --- structure.cpp
    bool check_program();
    bool check_control_flow();
    bool check_calls();
    bool check_map_use();
    bool check_map_and_program(const MapDef& map);
    uint32_t subprogram_index(uint32_t slot) const;

    // --- stack_depth.cpp
    bool check_stack_depth();
    bool reject_recursion(uint32_t subprogram);
    bool check_stack_below(StackDepth& depth, uint32_t root);
    bool check_throws();

    // --- attach.cpp
    bool check_attach_target();
    bool check_lsm_target();

    // --- tracing_args.cpp
    Cell context_argument(uint32_t off, unsigned size);
    std::optional<BtfType> traced_prototype() const;
    bool is_typed_tracepoint() const;
    bool is_iterator() const;
    bool sees_result() const;
    uint8_t argument_trust() const;
    bool typed_argument(uint32_t off, unsigned size, Cell& out);
    bool typed_value(uint32_t type_id, uint32_t index, unsigned size, Cell& out);
    bool argument_result(const BtfType& proto, unsigned size, Cell& out);
    void iter_argument(uint32_t index, Cell& out);

    // --- explore.cpp
    bool explore_all();
    bool explore(State start);
    bool run_path();
    enum class Visit : uint8_t { Continue, Pruned, Failed };
    Visit visit(uint32_t slot);
    Visit compare_with(const Kept& kept, bool forced);
    Visit covered_by(Checkpoint& kept, Checkpoint* open);
    bool push_branch(State state);
    void path_ends(uint64_t more);
    void release(Checkpoint* checkpoint);
    void clean(State& state);
    bool over_budget();
    Checkpoint* keep(bool forced, const Shape& shape);
    State entry_state(uint32_t subprogram);
    bool global_entry(uint32_t subprogram, State& state);
    void widen(const State& before, State& now);
    Checkpoint* previous_round();
    Checkpoint* previous_visit(Checkpoint* from, uint32_t slot);

    void clean_stack(State& state, unsigned frame, const StackMask& live);
    void drop_single_links(State& state);
    bool waits(Checkpoint* checkpoint);
    void note_packet_start();
    bool has_packet_pointer() const;
    void wait_for(Checkpoint* open);
    bool entry_arguments(State& state);
    void find_prune_points();
    const Helper* helper_with(uint32_t number) const;
    CallReads call_reads(uint32_t slot) const;
    void observe();

    // --- step.cpp
    bool step();
    bool step_alu(const Insn& insn);
    bool step_mov(const Insn& insn);
    bool step_unary(const Insn& insn);
    bool step_imm64(const Insn& insn);
    bool step_load_packet(const Insn& insn);
    bool step_exit();
    bool step_addr_space_cast(const Insn& insn);
    bool read_reg(unsigned reg);
    bool write_reg(unsigned reg);

    // --- numbers
    const Scalar& num(const Cell& cell) const { return pool_[cell.scalar]; }
    uint32_t intern(const Scalar& s) { return pool_.intern(s); }
    Cell number(const Scalar& s, uint32_t from = 0, uint32_t from2 = 0);
    Cell interned(uint32_t index, uint32_t from = 0, uint32_t from2 = 0);
    Cell unknown() { return interned(ScalarPool::kUnknown); }
    Cell constant(uint64_t v) { return interned(pool_.constant(v)); }
    uint32_t const_index(uint64_t v) { return pool_.constant(v); }
    void need(const Cell& cell) {
        if (cell.is_scalar()) provenance_.mark(cell.ref);
    }
    uint32_t fresh_id() { return next_id_++; }
    void link_ids(Cell& from, Cell& to);
    bool scalar_alu(const Insn& insn, Cell& dst, const Cell& src);
    void keep_link(const Insn& insn, Cell& dst, int64_t c, Cell& out);
    void name_anew(const Cell& cell);

    // --- pointer.cpp
    bool pointer_alu(const Insn& insn, AluOp op, Cell& dst, const Cell& pointer, const Cell& offset,
                     unsigned pointer_reg, bool dst_is_pointer);
    bool sane_offset(const Cell& cell, const Scalar& s, const Cell& named);
    bool pointer_difference(Cell& dst, const Cell& src);

    // --- branch.cpp
    bool step_branch(const Insn& insn);
    bool step_may_goto(const Insn& insn);
    int decide(const Insn& insn, const Cell& dst, const Cell& src);
    bool known_nonnull(const Cell& cell) const;
    bool refine_numbers(State& state, const Insn& insn, bool taken);
    void sync_links(State& state, const Cell& known, uint32_t node);
    void resolve_null(State& state, uint32_t id, bool is_null, uint32_t ref);
    void make_nonnull(Cell& cell);
    void learn_packet_length(const Insn& insn, State& state);
    void learn_packet_range(const Insn& insn, State& taken, State& next);
    void set_packet_range(State& state, const Cell& pointer, bool open);

    // --- relations.cpp
    void learn_order(State& state, const Insn& insn, bool taken);
    bool ordered_value(const State& state, uint32_t id, int32_t off, Cell& value);
    void apply_orders(State& state);
    bool ordered_difference(const Cell& a, const Cell& b, Cell& out);
    uint16_t readable_from(const Cell& offset);

    // --- memory.cpp
    bool step_load(const Insn& insn);
    bool step_store(const Insn& insn);
    bool step_atomic(const Insn& insn);
    // An access of `size` bytes through register `reg` at `off`. Loads fill `out`, stores take
    // `value` (null: a number of which nothing is known).
    bool access(unsigned reg, int32_t off, unsigned size, bool store, const Cell* value, Cell* out,
                bool sign, bool atomic = false);
    bool access_context(const Cell& cell, unsigned reg, int32_t off, unsigned size, bool store,
                        const Cell* value, Cell* out);
    bool access_map_value(const Cell& cell, unsigned reg, int32_t off, unsigned size, bool store,
                          const Cell* value, Cell* out, const SpecialField** kptr);
    Cell context_value(const CtxField& field, unsigned size);
    bool access_buffer(const Cell& cell, unsigned reg, int64_t at, unsigned size, bool store,
                       Cell* out);
    bool check_same_kind(const Cell& cell);
    bool check_atomic_target(const Cell& target, unsigned reg);
    bool access_socket(const Cell& cell, unsigned reg, int32_t off, unsigned size, bool store,
                       Cell* out);
    bool access_btf(const Cell& cell, unsigned reg, int32_t off, unsigned size, bool store,
                    Cell* out);
    // Bounds of [off + variable part, + size) against `limit` bytes, both ends.
    bool check_region(const Cell& cell, unsigned reg, int64_t off, uint64_t size, uint64_t limit,
                      bool zero_size, const char* what);
    bool check_packet(const Cell& cell, unsigned reg, int64_t off, uint64_t size, bool zero_size);
    bool check_map_fields(const Cell& cell, unsigned reg, int64_t off, uint64_t size);
    bool check_alignment(const Cell& cell, unsigned reg, int32_t off, unsigned size);
    bool check_constant_offset(const Cell& cell, unsigned reg, const char* what, bool allow_fixed);
    bool frozen_load(const Cell& cell, int32_t off, unsigned size, Cell* out);
    Cell loaded(unsigned size);
    Cell pointer(CellType type, uint8_t flags = 0, uint16_t object = 0);

    // --- stack.cpp
    bool access_stack(const Cell& cell, unsigned reg, int32_t off, unsigned size, bool store,
                      const Cell* value, Cell* out);
    bool stack_bounds(const Cell& cell, unsigned reg, int64_t off, uint64_t size, bool store,
                      int64_t& low, int64_t& high);
    bool stack_read(unsigned frame, int off, unsigned size, Cell& out);
    bool stack_write(unsigned frame, int off, unsigned size, const Cell* value);
    bool stack_write_variable(unsigned frame, int low, int end, const Cell* value, bool certain);
    bool stack_read_variable(unsigned frame, int low, int high, Cell& out);
    bool spoil(unsigned frame, int low, int high);  // special slots that a write destroys
    // A helper's read or write of [off, off + size) bytes.
    bool stack_range(const Cell& cell, unsigned reg, uint64_t size, bool writes, bool uninit,
                     bool zero_size);
    Tag tag_at(const State& state, unsigned frame, int off) const;
    bool stack_number(unsigned frame, int off, unsigned size, std::optional<uint64_t>& value,
                      bool precise);
    const Cell* number_below(unsigned frame, int off) const;

    // --- call.cpp
    bool step_call(const Insn& insn);
    bool step_call_local(const Insn& insn);
    bool enter_subprogram(State& state, uint32_t subprogram, uint32_t call_slot, FrameRole role);
    bool leave_subprogram();
    bool call_global(const Insn& insn, uint32_t subprogram);
    void clear_packet_pointers(State& state);
    Cell dead_pointer();
    void clobber_caller_saved(State& state);
    bool release_reference(uint32_t ref);
    uint32_t acquire(uint32_t slot);
    bool check_holds_at_exit(const char* what, bool program_end);
    bool check_return_value();
    bool target_allows(const Helper& helper) const;
    bool check_helper_allowed(const Helper& helper);
    bool finish_call(CallInfo& call);
    bool set_result(CallInfo& call);
    bool acquires(const CallInfo& call) const;
    Cell scalar_result(const CallInfo& call);
    bool start_callback(CallInfo& call);
    void callback_arguments(const CallInfo& call, Frame& frame);
    void lsm_return_range(ReturnRange& range) const;

    // --- args.cpp
    bool check_argument(CallInfo& call, unsigned index);
    bool bad_argument(const CallInfo& call, unsigned index, const Cell& cell, const char* expected);
    bool memory_argument(const CallInfo& call, unsigned index, bool writes);
    bool helper_memory(CallInfo& call, unsigned reg, uint64_t size, bool writes, bool uninit,
                       bool zero_size);
    bool write_stack_from_helper(const Cell& target, unsigned reg, uint64_t size);
    bool size_argument(CallInfo& call, unsigned index);
    bool key_argument(CallInfo& call, unsigned index);
    bool const_string(CallInfo& call, unsigned index);
    bool constant_string(unsigned reg);
    bool unmoved(unsigned reg);
    bool check_map_helper(const CallInfo& call);
    bool check_special(CallInfo& call);
    bool check_snprintf(CallInfo& call);
    bool is_read_only(const MapDef& map) const;
    bool packet_readable_by_helpers() const;
    bool packet_writable() const;

    // --- global_call.cpp
    struct Parameter {
        enum Kind : uint8_t {
            Number,
            Context,
            Memory,
            Dynptr,
            Trusted,
            Untrusted,
            UntrustedMemory,
            Arena
        };
        Kind kind = Number;
        bool known = false;     // the function has a prototype
        bool present = false;   // and this parameter
        bool nonnull = false;   // Memory
        bool nullable = false;  // Trusted
        uint32_t size = 0;
        const char* wrong = nullptr;   // "has ...": what the kernel refuses it for
        std::string_view type_name{};  // Trusted, Untrusted: the kernel's
    };
    Parameter parameter(uint32_t subprogram, uint32_t index) const;
    void pointer_parameter(const Btf& btf, const BtfType& type, unsigned tags,
                           Parameter& out) const;
    bool check_prototype(uint32_t subprogram);
    Cell parameter_object(const Parameter& wanted, uint8_t flags);
    bool pass_object(const Parameter& wanted, unsigned reg, const char* function);
    bool pass_dynptr(unsigned reg);
    bool is_context_name(std::string_view name) const;
    bool global_memory(const Cell& cell, unsigned reg, uint32_t size);
    template <class Predicate>
    bool reaches(uint32_t subprogram, Predicate holds);
    bool changes_packet(uint32_t subprogram);
    bool may_sleep(uint32_t subprogram);
    bool throws_below(uint32_t subprogram);
    bool may_sleep_here() const;
    bool wants_exception_callback();
    bool is_exception_callback(uint32_t subprogram) const {
        return program_.exception_callback == static_cast<int32_t>(subprogram);
    }
    bool helper_changes_packet(uint32_t slot);

    // --- protocol.cpp
    const char* name_of_field(FieldKind kind) const;
    bool field_argument(const Cell& cell, unsigned reg, FieldKind kind);
    bool spin_lock_argument(CallInfo& call, unsigned reg);
    bool timer_argument(CallInfo& call, unsigned reg);
    bool dynptr_argument(CallInfo& call, unsigned index);
    bool special_slot(const Cell& cell, unsigned reg, const char* what, int& off);
    bool put_special(unsigned frame, int off, unsigned slots, Tag tag, const Cell& cell);
    void drop_special(unsigned frame, int off, unsigned slots);
    const Cell* special_at(unsigned frame, int off, Tag tag);
    bool spoil_special(unsigned frame, int off, Tag tag);

    // --- kfunc.cpp: calls of kernel functions
    const KfuncRef& kfunc_at(uint32_t slot);
    void resolve_kfunc(uint32_t slot, KfuncRef& out) const;
    bool kfunc_unresolved(const KfuncRef& ref);
    bool is_iter_next(uint32_t slot);
    bool kfunc_calls_back(uint32_t slot);
    bool calls_throw(uint32_t slot);
    bool in_rcu_section() const;
    bool may_call_kfunc(const KfuncCall& call);
    bool step_kfunc(const Insn& insn);
    bool call_host_kfunc(const KfuncRef& ref);
    bool kfunc_effects(KfuncCall& call);
    bool leave_rcu();
    bool throws();
    bool start_kfunc_callback(KfuncCall& call);
    bool kfunc_result(KfuncCall& call, Cell& r0);
    bool pointer_result(KfuncCall& call, Cell& r0);
    uint8_t kfunc_result_flags(const KfuncCall& call) const;
    Cell kernel_object(const KfuncType& type, uint8_t flags);
    bool special_result(KfuncCall& call, Cell& r0, bool& handled);
    bool cast_to_kern_ctx(Cell& r0);
    bool rdonly_cast(const KfuncCall& call, Cell& r0);

    // --- kfunc_args.cpp
    bool kfunc_arguments(KfuncCall& call);
    bool kfunc_scalar(KfuncCall& call, unsigned index);
    bool kfunc_pointer(KfuncCall& call, unsigned index, bool& with_size);
    bool kfunc_context(unsigned index);
    bool kfunc_string(KfuncCall& call, unsigned index);
    bool kfunc_map(KfuncCall& call, unsigned index);
    bool kfunc_field(KfuncCall& call, unsigned index, FieldKind kind);
    bool is_trusted(const Cell& cell) const;
    bool kfunc_object(KfuncCall& call, unsigned index);
    bool fits_object(const Cell& cell, const KfuncType& wanted, bool exact) const;
    bool plain_data(const KfuncType& type, uint32_t& size) const;
    bool plain_struct(const Btf& btf, uint32_t id, unsigned depth, uint32_t& budget) const;
    bool kfunc_memory(KfuncCall& call, unsigned index);
    bool kfunc_sized_memory(KfuncCall& call, unsigned index);
    bool sized_access(const Cell& cell, unsigned reg, uint64_t size);

    // --- kfunc_objects.cpp: objects that programs allocate
    bool object_argument(KfuncCall& call, unsigned index);
    bool allocated_argument(KfuncCall& call, unsigned index);
    bool refcounted_argument(KfuncCall& call, unsigned index);
    bool graph_root_argument(KfuncCall& call, unsigned index, FieldKind kind);
    bool graph_node_argument(KfuncCall& call, unsigned index, FieldKind kind);
    bool in_tree_callback() const;
    bool new_object(const KfuncCall& call, Cell& r0);
    void make_non_owning(Cell& cell);
    bool give_to_graph(uint32_t ref);
    void end_loans();
    bool object_result(KfuncCall& call, Cell& r0, bool& handled);
    bool start_object_callback(KfuncCall& call);

    // --- kfunc_locks.cpp
    bool irq_flag(KfuncCall& call, unsigned index);
    bool save_irq(const KfuncCall& call);
    bool restore_irq(const KfuncCall& call);
    bool res_lock_argument(KfuncCall& call, unsigned index);
    bool take_res_lock(KfuncCall& call);
    bool drop_res_lock(KfuncCall& call);

    // --- dynptr.cpp
    bool kfunc_dynptr(KfuncCall& call, unsigned index);
    bool new_dynptr(KfuncCall& call, unsigned index);
    bool slice_result(KfuncCall& call, Cell& r0);
    void drop_dynptrs(uint32_t ref);

    // --- iterator.cpp
    bool kfunc_iterator(KfuncCall& call, unsigned index);
    unsigned iterator_slots(int kind) const;
    bool iterator_new(KfuncCall& call);
    bool iterator_next(KfuncCall& call);
    bool iterator_destroy(KfuncCall& call);
    bool converges(const Checkpoint& kept) const;
    bool same_iterator_depths(const State& a, const State& b) const;

    // --- btf_access.cpp
    bool socket_field_allowed(CellType type, int64_t off, unsigned size) const;
    bool context_pointer_maybe_null(const CtxField& field) const;
    Cell btf_object(std::string_view name, uint8_t flags);
    uint8_t walked_flags(const Cell& from, const BtfStep& step) const;
    bool btf_argument(CallInfo& call, unsigned index, const ArgSpec& spec);
    bool same_or_first_member(const Btf& btf, uint32_t id, std::string_view wanted,
                              int32_t off) const;
    bool btf_result(CallInfo& call, Cell& r0);
    bool percpu_result(CallInfo& call, Cell& r0);
    bool step_kernel_variable(const Insn& insn);
    bool kfunc_address(const Insn& insn);
    bool is_percpu_variable(const Btf& btf, uint32_t var) const;
    bool access_map_handle(const Cell& cell, unsigned reg, int64_t off, unsigned size, bool store,
                           Cell* out);

    // --- kptr.cpp
    bool is_kernel(const ObjectDesc& desc) const { return desc.btf == options_.kernel_btf.get(); }
    const std::vector<SpecialField>& object_fields(const ObjectDesc& desc);
    const std::vector<SpecialField>* fields_of(const Cell& holder);
    bool holds_locks(const Cell& cell) const;
    // Whether the cell points to what holds a lock, so that its identity matters.
    bool has_lock(const Cell& cell);
    bool kptr_target(const Cell& holder, const SpecialField& field, ObjectDesc& out);
    bool access_kptr(const Cell& cell, unsigned reg, const SpecialField& field, bool store,
                     const Cell* value, Cell* out);
    bool kptr_matches(const SpecialField& field, const ObjectDesc& wanted, const Cell& cell,
                      unsigned reg);
    bool kptr_slot_argument(CallInfo& call, unsigned reg);
    bool kptr_value_argument(CallInfo& call, unsigned reg);
    bool give_to_kptr(const CallInfo& call);
    Cell kptr_result(const CallInfo& call);
    bool is_or_contains(const ObjectDesc& object, int64_t off, const ObjectDesc& wanted,
                        bool exact) const;
    bool access_allocated(const Cell& cell, unsigned reg, int64_t off, unsigned size, bool store,
                          Cell* out);

    // --- struct_ops.cpp
    bool check_struct_ops();
    Cell struct_ops_argument(uint32_t index, const BtfType& target);
    // Whether a program of this type may write [off, off + size) of an object of the kernel's.
    bool may_write_kernel_object(const ObjectDesc& desc, uint64_t off, unsigned size) const;

    // --- arena.cpp
    bool check_arena(const MapDef& map);
    bool arena_alu(Cell& dst, const Cell& src);

    // --- report.cpp
    bool reject(ErrorCode code, const char* format, ...) __attribute__((format(printf, 3, 4)));
    bool unsupported(ErrorCode code, const char* format, ...) __attribute__((format(printf, 3, 4)));
    void end(Verdict verdict, ErrorCode code, const char* format, va_list args);
    std::string name_of_cell(const Cell& cell) const;
    std::string print_cell(const Cell& cell) const;
    void log_line(const char* format, ...) __attribute__((format(printf, 2, 3)));
    void log_state(const State& state);
    void log_insn(uint32_t slot);
    void relax(const char* what);
    void beyond(const char* what);
    void fill_error();

    // --- facts.cpp
    void fact_access(Memory memory, const Cell& cell, int64_t off);
    void note_call_facts(const CallInfo& call);
    void finish_facts(Analysis& analysis);

    State& st() { return current_; }
    const State& st() const { return current_; }
    const Insn& insn_at(uint32_t slot) const { return program_.insns[slot]; }
    Cell& own_reg(unsigned r) { return current_.own_top().regs[r]; }
    void set_reg(unsigned r, const Cell& cell) { current_.own_top().regs[r] = cell; }
    uint16_t map_index(const MapDef* def, int32_t program_index);
    const MapDef& map_of(const Cell& cell) const { return *maps_[cell.object].def; }
    uint16_t object_index(const ObjectDesc& desc);
    bool strict() const { return options_.policy >= Policy::Strict; }
    bool extended() const { return options_.policy >= Policy::Extended; }

    const Program& program_;
    const AnalyzeOptions& options_;
    Analysis result_;
    std::unique_ptr<Cfg> cfg_;
    std::unique_ptr<Liveness> liveness_;
    ScalarPool pool_;
    Provenance provenance_;
    Arena arena_;
    std::vector<MapRef> maps_;
    std::vector<ObjectDesc> objects_;
    std::unordered_map<uint32_t, std::unique_ptr<KfuncRef>> kfuncs_;  // by slot
    std::vector<std::pair<ObjectDesc, std::vector<SpecialField>>> object_fields_;
    uint32_t next_id_ = 1;
    uint32_t zero_ = 0;  // pool index of the constant

    State current_;
    Checkpoint* parent_ = nullptr;
    struct Pending {
        State state;
        Checkpoint* parent;
        uint32_t from;  // slot of the branch
        std::vector<uint32_t> trail;
        uint64_t length = 0;  // instructions since `parent`
    };
    std::vector<Pending> pending_;
    std::vector<std::vector<Kept>> kept_;  // by slot, oldest first
    std::unique_ptr<Subsumption> subsumption_;
    std::vector<Checkpoint*> all_checkpoints_;
    uint64_t checkpoints_ = 0;
    uint32_t serial_ = 0;
    uint64_t jumps_ = 0, jumps_at_keep_ = 0, insns_at_keep_ = 0;
    uint64_t started_ns_ = 0;
    bool path_over_ = false;  // the current path ended, or was pruned

    uint32_t slot_ = 0;  // being processed
    bool failed_ = false;
    std::vector<uint8_t> prune_points_;  // by slot
    std::vector<uint8_t> force_points_;  // by slot: kept at every visit
    std::vector<uint8_t> access_kind_;   // by slot: CellType of earlier visits + 1
    std::vector<uint8_t> branch_seen_;   // by slot: bit 0 taken, bit 1 not taken
    std::vector<uint8_t> reached_;       // by slot
    std::vector<SlotFact> facts_;
    std::vector<uint16_t> frame_bytes_;  // by subprogram: deepest stack byte
    std::vector<uint8_t> global_state_;  // by subprogram: 1 wanted, 2 verified
    std::vector<uint8_t> call_seen_;     // by slot: a call or an access was looked at
    std::vector<uint8_t> is_callback_;   // by subprogram: something calls it back
    std::vector<std::pair<uint32_t, uint16_t>> async_started_;  // callback and map
    std::vector<std::pair<uint32_t, uint32_t>> link_counts_;
    std::vector<uint32_t> trail_;  // branches since the last kept state: slot * 2 + taken
    bool record_trail_ = false;
    uint64_t length_ = 0;             // instructions since parent_
    uint64_t rest_ = 0;               // of the state that pruned the path
    uint64_t longest_ = 0;            // path of the entry function
    bool unbounded_ = false;          // rounds converged: paths have no longest one
    bool packet_steps_back_ = false;  // a packet pointer was moved towards the start, or read there
    bool verifying_global_ = false;
    bool helper_access_ = false;
    const MapDef* arena_map_ = nullptr;  // the program's one arena
};

}  // namespace skep::verifier
