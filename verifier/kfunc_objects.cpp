// Kernel functions on objects that programs allocate, on lists and trees of them, and on arenas:
// the rules that their prototypes do not say.
//
// A program owns an object that it allocated, or took out of a list, a tree or a kptr: its pointer
// carries a reference. Putting it into a list or tree gives the reference up; what is left are
// pointers that do not own, good until the lock that guards the list is given back.
#include <algorithm>

#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"
#include "verifier/each_cell.hpp"
#include "verifier/kfunc_call.hpp"
#include "vm/btf/special_fields.hpp"

namespace skep::verifier {
namespace {

constexpr uint32_t kMaxPercpuObject = 512;  // bytes

bool is_allocated(const Cell& cell) {
    return cell.type == CellType::Btf && (cell.flags & flag::kAlloc) != 0;
}

// An allocated object as it was allocated: not shared, not on loan.
bool is_own_object(const Cell& cell) {
    constexpr uint8_t kOthers = flag::kNonOwn | flag::kRcu | flag::kUntrusted | flag::kPercpu;
    return is_allocated(cell) && !cell.maybe_null() && (cell.flags & kOthers) == 0;
}

bool adds(KfuncSpecial special) {
    return special == KfuncSpecial::ListPush || special == KfuncSpecial::RbtreeAdd;
}

bool scalars_only(const Btf& btf, uint32_t id, unsigned depth) {
    const BtfType type = btf.resolved(id);
    if (depth > 3) return false;
    for (uint32_t i = 0; i < type.count(); ++i) {
        BtfType member = btf.resolved(btf.flatten(type.member(i).type).element);
        if (member.is(BtfKind::Struct)) {
            if (!scalars_only(btf, member.id(), depth + 1)) return false;
        } else if (!member.is(BtfKind::Int) && !member.is_any_enum()) {
            return false;
        }
    }
    return true;
}

}  // namespace

// --- arguments ----------------------------------------------------------------------------------

// Called for arguments of these types and suffixes; the others never get here.
bool Analyzer::object_argument(KfuncCall& call, unsigned index) {
    const KfuncParam& param = call.ref.proto.params[index];
    if (param.has_suffix("__alloc")) return allocated_argument(call, index);
    if (param.has_suffix("__refcounted_kptr")) return refcounted_argument(call, index);
    if (param.is_pointer_to("bpf_list_head"))
        return graph_root_argument(call, index, FieldKind::ListHead);
    if (param.is_pointer_to("bpf_rb_root"))
        return graph_root_argument(call, index, FieldKind::RbRoot);
    return graph_node_argument(
        call, index,
        param.is_pointer_to("bpf_list_node") ? FieldKind::ListNode : FieldKind::RbNode);
}

bool Analyzer::allocated_argument(KfuncCall& call, unsigned index) {
    const Cell cell = st().reg(index + 1);
    constexpr uint8_t kOthers = flag::kNonOwn | flag::kRcu | flag::kUntrusted | flag::kMaybeNull;
    if (!is_allocated(cell) || (cell.flags & kOthers) != 0)
        return reject(ErrorCode::BadArgumentType,
                      "arg#%u expected pointer to allocated object: r%u is %s", index, index + 1,
                      name_of_cell(cell).c_str());
    const bool percpu = (cell.flags & flag::kPercpu) != 0;
    if (percpu != call.is(KfuncSpecial::PercpuObjDrop))
        return reject(ErrorCode::BadArgumentType, "arg#%u expected for %s()", index,
                      percpu ? "bpf_percpu_obj_drop_impl" : "bpf_obj_drop_impl");
    if (cell.ref == 0 || !st().holds_reference(cell.ref))
        return reject(ErrorCode::BadRelease, "allocated object must be referenced: arg#%u", index);
    if (cell.off != 0 || !num(cell).is_const(0))
        return reject(ErrorCode::BadRelease,
                      "R%u must have zero offset when passed to release func or trusted arg to "
                      "kfunc: off=%d",
                      index + 1, cell.off);
    return true;
}

bool Analyzer::refcounted_argument(KfuncCall& call, unsigned index) {
    const Cell cell = st().reg(index + 1);
    if (!is_allocated(cell) || cell.maybe_null() ||
        (cell.flags & (flag::kUntrusted | flag::kPercpu)) != 0)
        return reject(ErrorCode::BadArgumentType,
                      "arg#%u is neither owning or non-owning ref: r%u is %s", index, index + 1,
                      name_of_cell(cell).c_str());
    const auto& fields = object_fields(objects_[cell.object]);
    if (std::ranges::find(fields, FieldKind::Refcount, &SpecialField::kind) == fields.end())
        return reject(ErrorCode::BadArgumentType,
                      "arg#%u doesn't point to a type with bpf_refcount field", index);
    call.never_null = (cell.flags & flag::kNonOwn) == 0;
    call.graph.node = pointer(CellType::Btf, flag::kAlloc, cell.object);
    return true;
}

// A list head or tree root, whose lock is held.
bool Analyzer::graph_root_argument(KfuncCall& call, unsigned index, FieldKind kind) {
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    const char* name = name_of_field(kind);
    const bool in_value = cell.type == CellType::MapValue && !cell.maybe_null();
    if (!in_value && !is_own_object(cell))
        return reject(ErrorCode::BadArgumentType,
                      "arg#%u expected pointer to map value or allocated object: r%u is %s", index,
                      reg, name_of_cell(cell).c_str());
    if (!in_value && cell.ref == 0)
        return reject(ErrorCode::BadArgumentType, "allocated object must be referenced: arg#%u",
                      index);
    if (!num(cell).is_const())
        return reject(ErrorCode::SpecialFieldAccess,
                      "R%u doesn't have constant offset. %s has to be at the constant offset", reg,
                      name);
    const std::vector<SpecialField>& fields = *fields_of(cell);
    const int64_t at = int64_t{cell.off} + static_cast<int64_t>(num(cell).value());
    const SpecialField* field = field_at(fields, at);
    if (field == nullptr || field->kind != kind)
        return reject(ErrorCode::SpecialFieldAccess, "%s not found at offset=%lld", name,
                      static_cast<long long>(at));
    const bool locked = std::ranges::any_of(st().holds, [&](const Hold& h) {
        return (h.kind == HoldKind::SpinLock || h.kind == HoldKind::ResLock) &&
               h.lock_id == cell.id && h.lock_object == cell.object && h.lock_type == cell.type;
    });
    if (!locked)
        return reject(ErrorCode::LockDiscipline,
                      st().find_lock() != nullptr
                          ? "held lock and object are not in the same allocation: the lock beside "
                            "the %s must be held"
                          : "bpf_spin_lock must be held for %s",
                      name);
    const Btf* btf = in_value ? map_of(cell).btf.get() : objects_[cell.object].btf;
    if (btf == nullptr || !btf->has(field->btf_id))
        return reject(ErrorCode::SpecialFieldAccess,
                      "the map has to have BTF: it says what the %s "
                      "contains",
                      name);
    call.graph.root = field;
    call.graph.node = pointer(
        CellType::Btf, flag::kAlloc,
        object_index(
            {.size = btf->type(field->btf_id).size(), .btf_id = field->btf_id, .btf = btf}));
    call.graph.node.off = static_cast<int32_t>(field->node_offset);
    return true;
}

bool Analyzer::graph_node_argument(KfuncCall& call, unsigned index, FieldKind kind) {
    const unsigned reg = index + 1;
    const Cell cell = st().reg(reg);
    if (adds(call.kfunc.special)) {
        if (!is_own_object(cell))
            return reject(ErrorCode::BadArgumentType,
                          "arg#%u expected pointer to allocated object: r%u is %s", index, reg,
                          name_of_cell(cell).c_str());
        if (cell.ref == 0)
            return reject(ErrorCode::BadArgumentType, "allocated object must be referenced: arg#%u",
                          index);
        call.graph.given = cell.ref;
    } else {
        const bool usable = is_allocated(cell) && !cell.maybe_null() &&
                            ((cell.flags & flag::kNonOwn) != 0 || cell.ref != 0);
        if (!usable)
            return reject(ErrorCode::BadArgumentType,
                          "%s can only take non-owning or refcounted bpf_rb_node pointer: r%u is "
                          "%s",
                          call.ref.name.c_str(), reg, name_of_cell(cell).c_str());
        if (in_tree_callback())
            return reject(ErrorCode::LockDiscipline, "%s not allowed in rbtree cb",
                          call.ref.name.c_str());
    }
    const char* name = name_of_field(kind);
    if (!num(cell).is_const())
        return reject(ErrorCode::SpecialFieldAccess,
                      "R%u doesn't have constant offset. %s has to be at the constant offset", reg,
                      name);
    const int64_t at = int64_t{cell.off} + static_cast<int64_t>(num(cell).value());
    const SpecialField* field = field_at(*fields_of(cell), at);
    if (field == nullptr || field->kind != kind)
        return reject(ErrorCode::SpecialFieldAccess, "%s not found at offset=%lld", name,
                      static_cast<long long>(at));
    const ObjectDesc& wanted = objects_[call.graph.node.object];
    if (call.graph.root == nullptr || !is_or_contains(objects_[cell.object], 0, wanted, true))
        return reject(ErrorCode::BadArgumentType,
                      "operation on %s expects arg#1 %s at offset=%d in struct %s, but arg is at "
                      "offset=%lld in another struct",
                      name, name, call.graph.node.off,
                      std::string(wanted.btf->type(wanted.btf_id).name()).c_str(),
                      static_cast<long long>(at));
    if (at != call.graph.node.off)
        return reject(ErrorCode::BadArgumentType,
                      "arg#1 offset=%lld, but expected %s at offset=%d in struct %s",
                      static_cast<long long>(at), name, call.graph.node.off,
                      std::string(wanted.btf->type(wanted.btf_id).name()).c_str());
    return true;
}

bool Analyzer::in_tree_callback() const {
    for (unsigned f = 0; f < current_.depth(); ++f)
        if (current_.frame(f).role == FrameRole::Callback &&
            current_.frame(f).callback_kind == static_cast<uint8_t>(CallbackKind::Less))
            return true;
    return false;
}

// --- results ------------------------------------------------------------------------------------

// Sets `handled` to false where the result follows from the prototype.
bool Analyzer::object_result(KfuncCall& call, Cell& r0, bool& handled) {
    handled = true;
    switch (call.kfunc.special) {
        case KfuncSpecial::ObjNew:
        case KfuncSpecial::PercpuObjNew: return new_object(call, r0);
        case KfuncSpecial::RefcountAcquire:
        case KfuncSpecial::ListPop:
        case KfuncSpecial::RbtreeRemove: r0 = call.graph.node; return true;
        case KfuncSpecial::ListPeek:
        case KfuncSpecial::RbtreeRoot:
        case KfuncSpecial::RbtreeChild:
            r0 = call.graph.node;
            make_non_owning(r0);
            return true;
        case KfuncSpecial::ListPush:
        case KfuncSpecial::RbtreeAdd: handled = false; return give_to_graph(call.graph.given);
        default: handled = false; return true;
    }
}

bool Analyzer::new_object(const KfuncCall& call, Cell& r0) {
    const uint64_t id = call.constant.value_or(0);
    const bool percpu = call.is(KfuncSpecial::PercpuObjNew);
    if (id > UINT32_MAX)
        return reject(ErrorCode::BadArgumentType,
                      "local type ID argument must be in range [0, U32_MAX]");
    const Btf* btf = program_.btf.get();
    if (btf == nullptr)
        return reject(ErrorCode::BtfNeeded, "bpf_obj_new/bpf_percpu_obj_new requires prog BTF");
    const auto type_id = static_cast<uint32_t>(id);
    const BtfType type = btf->has(type_id) ? btf->type(type_id) : BtfType();
    if (!type.is(BtfKind::Struct))
        return reject(ErrorCode::BadArgumentType,
                      "bpf_obj_new/bpf_percpu_obj_new type ID argument must be of a struct");
    const ObjectDesc desc{.size = type.size(), .btf_id = type_id, .btf = btf};
    if (percpu && type.size() > kMaxPercpuObject)
        return reject(ErrorCode::BadArgumentType,
                      "bpf_percpu_obj_new type size (%u) is greater than %u", type.size(),
                      kMaxPercpuObject);
    if (percpu && !scalars_only(*btf, type_id, 0))
        return reject(ErrorCode::BadArgumentType,
                      "bpf_percpu_obj_new type ID argument must be of a struct of scalars");
    if (percpu && !object_fields(desc).empty())
        return reject(ErrorCode::BadArgumentType,
                      "bpf_percpu_obj_new type ID argument must not contain special fields");
    r0 = pointer(CellType::Btf, percpu ? flag::kAlloc | flag::kPercpu : flag::kAlloc,
                 object_index(desc));
    return true;
}

// What others own may go when its lock is given back, or, counted, when RCU allows.
void Analyzer::make_non_owning(Cell& cell) {
    cell.ref = 0;
    cell.flags |= flag::kNonOwn;
    const auto& fields = object_fields(objects_[cell.object]);
    if (std::ranges::find(fields, FieldKind::Refcount, &SpecialField::kind) != fields.end())
        cell.flags |= flag::kRcu;
}

// The list or tree owns the object now; the program's pointers to it are on loan.
bool Analyzer::give_to_graph(uint32_t ref) {
    update_cells(
        st(), [&](const Cell& c) { return c.type == CellType::Btf && c.ref == ref; },
        [&](Cell& c) { make_non_owning(c); });
    return release_reference(ref);
}

// Behind its lock, nothing on loan from a list or tree is good any more.
void Analyzer::end_loans() {
    update_cells(
        st(),
        [](const Cell& c) { return c.type == CellType::Btf && (c.flags & flag::kNonOwn) != 0; },
        [](Cell& c) { c = Cell{}; });
}

bool Analyzer::start_object_callback(KfuncCall& call) {
    CallInfo info;
    info.callback_subprogram = call.callback;
    info.callback = CallbackKind::Less;
    info.graph_node = call.graph.node;
    make_non_owning(info.graph_node);
    return start_callback(info);
}

}  // namespace skep::verifier
