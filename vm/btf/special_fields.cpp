// See the header. Source of the rules: what BPF_MAP_CREATE and BPF_BTF_LOAD of Linux 6.18 refuse.
#include "vm/btf/special_fields.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "vm/base/try.hpp"

namespace skep {
namespace {

constexpr unsigned kMaxFieldDepth = 32;
constexpr unsigned kMaxSteps = 1u << 16;
constexpr uint64_t kMaxFields = 11;  // of one value
constexpr uint32_t kMaxUptrBytes = 4096;

constexpr uint32_t bit(FieldKind kind) { return 1u << static_cast<unsigned>(kind); }

struct KindInfo {
    std::string_view name;  // of the struct, or the type tag of a pointer
    FieldKind kind;
    uint32_t size, align;
    bool once;  // a value has at most one
};
using enum FieldKind;
constexpr std::array kStructs = {
    KindInfo{"bpf_spin_lock", SpinLock, 4, 4, true},
    KindInfo{"bpf_res_spin_lock", ResSpinLock, 4, 4, true},
    KindInfo{"bpf_timer", Timer, 16, 8, true},
    KindInfo{"bpf_wq", Workqueue, 16, 8, true},
    KindInfo{"bpf_task_work", TaskWork, 8, 8, true},
    KindInfo{"bpf_refcount", Refcount, 4, 4, true},
    KindInfo{"bpf_list_head", ListHead, 16, 8, false},
    KindInfo{"bpf_list_node", ListNode, 24, 8, false},
    KindInfo{"bpf_rb_root", RbRoot, 16, 8, false},
    KindInfo{"bpf_rb_node", RbNode, 32, 8, false},
};
constexpr std::array kPointers = {
    KindInfo{"kptr_untrusted", KptrUntrusted, 8, 8, false},
    KindInfo{"kptr", KptrRef, 8, 8, false},
    KindInfo{"percpu_kptr", KptrPercpu, 8, 8, false},
    KindInfo{"uptr", Uptr, 8, 8, false},
};
constexpr uint32_t kInValues = bit(SpinLock) | bit(ResSpinLock) | bit(Timer) | bit(Workqueue) |
                               bit(TaskWork) | bit(Refcount) | bit(ListHead) | bit(RbRoot) |
                               bit(KptrUntrusted) | bit(KptrRef) | bit(KptrPercpu) | bit(Uptr);
constexpr uint32_t kInObjects = bit(SpinLock) | bit(ResSpinLock) | bit(Refcount) | bit(ListHead) |
                                bit(ListNode) | bit(RbRoot) | bit(RbNode) | bit(KptrUntrusted) |
                                bit(KptrRef) | bit(KptrPercpu);

std::unexpected<Error> bad(std::string message) {
    return fail(ErrorCode::BadMapDef, std::move(message));
}

class FieldSearch {
public:
    FieldSearch(const Btf& btf, FieldScope scope)
        : btf_(btf), wanted_(scope == FieldScope::MapValue ? kInValues : kInObjects) {}

    // `parent` and `component` find the decl tags of the member or variable that holds the field.
    // Modifiers hide a field: a typedef of a lock is no lock.
    Result<void> visit(uint32_t type, uint64_t offset, uint32_t parent, int32_t component,
                       unsigned depth) {
        if (steps_ == 0 || depth == 0) return bad("the value's type is too large or nested");
        --steps_;
        const Btf::Flat flat = btf_.flatten(type);
        const BtfType t = btf_.type(flat.element);
        if (flat.count == 0) return {};
        if (t.is(BtfKind::Ptr)) return pointer(t, offset, flat.count);
        if (!t.is(BtfKind::Struct)) return {};
        for (const KindInfo& info : kStructs) {
            if (t.name() != info.name || (wanted_ & bit(info.kind)) == 0) continue;
            if (info.once && (seen_ & bit(info.kind)) != 0)
                return bad("more than one " + std::string(info.name) + " in a value");
            seen_ |= bit(info.kind);
            if (t.size() != info.size || offset % info.align != 0) return {};
            SpecialField field{info.kind, 0, info.size, 0};
            if (is_graph_root(info.kind)) SKEP_CHECK(contained(field, parent, component));
            return add(field, offset, flat.count, info.size);
        }
        return nested(t, offset, flat.count, depth);
    }

    Result<void> check() {
        std::stable_sort(fields.begin(), fields.end(),
                         [](const auto& a, const auto& b) { return a.offset < b.offset; });
        uint32_t kinds = 0, end = 0;
        for (const SpecialField& f : fields) {
            if (f.offset < end) return bad("special fields of a value overlap");
            end = f.offset + f.size;
            kinds |= bit(f.kind);
        }
        const uint32_t locks = kinds & (bit(SpinLock) | bit(ResSpinLock));
        if (locks == (bit(SpinLock) | bit(ResSpinLock)))
            return bad("two kinds of locks in a value");
        if ((kinds & (bit(ListHead) | bit(RbRoot))) != 0 && locks == 0)
            return bad("lists and trees need a lock beside them");
        if ((kinds & bit(ListNode)) != 0 && (kinds & bit(RbNode)) != 0 &&
            (kinds & bit(Refcount)) == 0)
            return bad("an object in lists and trees needs a bpf_refcount");
        return {};
    }

    std::vector<SpecialField> fields;

private:
    Result<void> nested(const BtfType& t, uint64_t offset, uint64_t count, unsigned depth) {
        const size_t before = fields.size();
        for (uint32_t i = 0; i < t.count(); ++i) {
            const BtfMember m = t.member(i);
            if (m.bit_size != 0 || m.bit_offset % 8 != 0) continue;
            SKEP_CHECK(
                visit(m.type, offset + m.offset(), t.id(), static_cast<int32_t>(i), depth - 1));
        }
        // The other elements of an array have the same fields, further on.
        const size_t found = fields.size() - before;
        if (found == 0) return {};
        if (count > 1)
            for (size_t i = 0; i < found; ++i)
                if (!repeats(fields[before + i].kind)) return once_only();
        if (found * std::min<uint64_t>(count, kMaxFields + 1) + before > kMaxFields)
            return too_many();
        for (uint64_t n = 1; n < count; ++n)
            for (size_t i = 0; i < found; ++i) {
                SpecialField copy = fields[before + i];
                copy.offset += static_cast<uint32_t>(n * t.size());
                fields.push_back(copy);
            }
        return {};
    }

    static bool repeats(FieldKind kind) {
        return is_kptr(kind) || is_graph_root(kind) || kind == Uptr;
    }
    static std::unexpected<Error> once_only() {
        return bad("arrays of locks, timers, nodes or reference counts in a value");
    }

    std::unexpected<Error> too_many() const {
        return bad("more than " + std::to_string(kMaxFields) +
                   " locks, timers and other special fields in a value");
    }

    Result<void> add(SpecialField field, uint64_t offset, uint64_t count, uint64_t each) {
        if (count > 1 && !repeats(field.kind)) return once_only();
        if (count > kMaxFields || fields.size() + count > kMaxFields) return too_many();
        for (uint64_t n = 0; n < count; ++n) {
            field.offset = static_cast<uint32_t>(offset + n * each);
            fields.push_back(field);
        }
        return {};
    }

    Result<void> pointer(const BtfType& t, uint64_t offset, uint64_t count) {
        const BtfType tag = btf_.type(t.type());
        if (!tag.is(BtfKind::TypeTag) || tag.kind_flag()) return {};
        if (btf_.type(tag.type()).is(BtfKind::TypeTag)) return bad("a pointer with several tags");
        const auto* info = std::ranges::find(kPointers, tag.name(), &KindInfo::name);
        if (info == kPointers.end())
            return bad("a pointer in a value is tagged '" + std::string(tag.name()) + "'");
        if ((wanted_ & bit(info->kind)) == 0 || offset % info->align != 0) return {};
        const BtfType target = btf_.resolved(tag.type());
        if (!target.is(BtfKind::Struct)) return bad("only pointers to structs can be kptrs");
        if (info->kind == Uptr && target.size() > kMaxUptrBytes)
            return bad("a uptr's struct is larger than a page");
        return add({info->kind, 0, 8, target.id()}, offset, count, 8);
    }

    // "contains:node_type:member" on a list head or tree root says what it holds.
    Result<void> contained(SpecialField& field, uint32_t parent, int32_t component) const {
        for (const BtfDeclTag& tag : btf_.decl_tags(parent)) {
            if (tag.component != component || !tag.value.starts_with("contains:")) continue;
            const std::string_view text = tag.value.substr(9);
            const size_t colon = text.find(':');
            if (colon == std::string_view::npos) break;
            const uint32_t id = btf_.find(text.substr(0, colon), BtfKind::Struct);
            if (id == 0) break;
            const std::string_view node = field.kind == ListHead ? "bpf_list_node" : "bpf_rb_node";
            const BtfType holds = btf_.type(id);
            for (uint32_t i = 0; i < holds.count(); ++i) {
                const BtfMember m = holds.member(i);
                const BtfType type = btf_.type(m.type);
                if (m.name != text.substr(colon + 1) || !type.is(BtfKind::Struct) ||
                    type.name() != node || m.bit_offset % 64 != 0)
                    continue;
                field.btf_id = id;
                field.node_offset = m.offset();
                return {};
            }
            break;
        }
        return bad("a list head or tree root does not say what it contains");
    }

    const Btf& btf_;
    const uint32_t wanted_;
    uint32_t seen_ = 0;
    unsigned steps_ = kMaxSteps;
};

}  // namespace

Result<std::vector<SpecialField>> special_fields(const Btf& btf, uint32_t type, FieldScope scope) {
    FieldSearch search(btf, scope);
    // A value is what the map stores: the outermost type alone may be a typedef.
    SKEP_CHECK(search.visit(btf.resolve(type), 0, 0, -1, kMaxFieldDepth));
    SKEP_CHECK(search.check());
    return std::move(search.fields);
}

Result<std::vector<SpecialField>> special_fields(const Btf& btf,
                                                 std::span<const PlacedVariable> variables) {
    FieldSearch search(btf, FieldScope::MapValue);
    for (const PlacedVariable& v : variables)
        SKEP_CHECK(search.visit(v.type, v.offset, v.variable, -1, kMaxFieldDepth));
    SKEP_CHECK(search.check());
    return std::move(search.fields);
}

std::string_view name_of(FieldKind kind) noexcept {
    if (is_kptr(kind)) return kind == KptrPercpu ? "percpu_kptr" : "kptr";
    for (const KindInfo& info : kStructs)
        if (info.kind == kind) return info.name;
    return "uptr";
}

const SpecialField* field_at(std::span<const SpecialField> fields, int64_t offset) noexcept {
    for (const SpecialField& f : fields)
        if (f.offset == offset) return &f;
    return nullptr;
}

}  // namespace skep
