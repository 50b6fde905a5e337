// Special fields of map values: locks, timers, kptrs, lists and trees, found by the names and tags
// that the kernel knows them by, in nested structs and arrays too.

#include <algorithm>
#include <array>

#include "vm/base/try.hpp"
#include "vm/elf/object_impl.hpp"

namespace skep {
namespace {

constexpr unsigned kMaxFieldDepth = 8;
constexpr unsigned kMaxSteps = 1u << 16;
constexpr uint64_t kMaxFields = 64;  // of one value; Linux takes 11 of most kinds

struct NamedField {
    std::string_view type;
    FieldKind kind;
};
constexpr std::array kNamedFields = {
    NamedField{"bpf_spin_lock", FieldKind::SpinLock},
    NamedField{"bpf_res_spin_lock", FieldKind::ResSpinLock},
    NamedField{"bpf_timer", FieldKind::Timer},
    NamedField{"bpf_wq", FieldKind::Workqueue},
    NamedField{"bpf_task_work", FieldKind::TaskWork},
    NamedField{"bpf_refcount", FieldKind::Refcount},
    NamedField{"bpf_list_head", FieldKind::ListHead},
    NamedField{"bpf_list_node", FieldKind::ListNode},
    NamedField{"bpf_rb_root", FieldKind::RbRoot},
    NamedField{"bpf_rb_node", FieldKind::RbNode},
};
constexpr std::array kTaggedPointers = {
    NamedField{"kptr_untrusted", FieldKind::KptrUntrusted},
    NamedField{"kptr", FieldKind::KptrRef},
    NamedField{"kptr_ref", FieldKind::KptrRef},
    NamedField{"percpu_kptr", FieldKind::KptrPercpu},
    NamedField{"uptr", FieldKind::Uptr},
};

class FieldSearch {
public:
    explicit FieldSearch(const Btf& btf) : btf_(btf) {}

    // `parent` and `component` find the decl tags of the member or variable that holds the field.
    Result<void> visit(uint32_t type, uint64_t offset, uint32_t parent, int32_t component,
                       unsigned depth) {
        if (steps_ == 0) return {};
        --steps_;
        const Btf::Flat flat = btf_.flatten(type);
        const BtfType t = btf_.resolved(flat.element);
        const uint64_t each = btf_.size_of(t.id()).value_or(0);
        if (each == 0 || depth == 0) return {};
        if (t.is(BtfKind::Ptr)) return pointer(t, offset, flat.count);
        if (!t.is_composite()) return {};
        for (const NamedField& named : kNamedFields) {
            if (!t.is(BtfKind::Struct) || t.name() != named.type) continue;
            const uint32_t holds = contained(named.kind, parent, component);
            return add(named.kind, offset, each, flat.count, holds);
        }
        const size_t before = fields.size();
        for (uint32_t i = 0; i < t.count() && steps_ != 0; ++i) {
            const BtfMember m = t.member(i);
            if (m.bit_size != 0 || m.bit_offset % 8 != 0) continue;
            SKEP_CHECK(
                visit(m.type, offset + m.offset(), t.id(), static_cast<int32_t>(i), depth - 1));
        }
        // The other elements of an array have the same fields, further on.
        const size_t found = fields.size() - before;
        if (found == 0) return {};
        for (uint64_t n = 1; n < flat.count; ++n) {
            for (size_t i = 0; i < found; ++i) {
                SpecialField copy = fields[before + i];
                SKEP_CHECK(add(copy.kind, copy.offset + n * each, copy.size, 1, copy.btf_id));
            }
        }
        return {};
    }

    std::vector<SpecialField> fields;

private:
    Result<void> add(FieldKind kind, uint64_t offset, uint64_t size, uint64_t count,
                     uint32_t holds) {
        if (fields.size() + count > kMaxFields)
            return fail(ErrorCode::BadMapDef,
                        "more than " + std::to_string(kMaxFields) +
                            " locks, timers and other special fields in a value");
        for (uint64_t n = 0; n < count; ++n)
            fields.push_back({kind, static_cast<uint32_t>(offset + n * size),
                              static_cast<uint32_t>(size), holds});
        return {};
    }

    Result<void> pointer(const BtfType& t, uint64_t offset, uint64_t count) {
        for (const std::string_view tag : btf_.type_tags(t.type()))
            for (const NamedField& tagged : kTaggedPointers)
                if (tag == tagged.type)
                    return add(tagged.kind, offset, 8, count, btf_.resolve(t.type()));
        return {};
    }

    // "contains:node_type:member" on a list head or tree root says what it holds.
    uint32_t contained(FieldKind kind, uint32_t parent, int32_t component) const {
        if (kind != FieldKind::ListHead && kind != FieldKind::RbRoot) return 0;
        for (const BtfDeclTag& tag : btf_.decl_tags(parent)) {
            if (tag.component != component || !tag.value.starts_with("contains:")) continue;
            std::string_view name = tag.value.substr(9);
            return btf_.find(name.substr(0, name.find(':')), BtfKind::Struct);
        }
        return 0;
    }

    const Btf& btf_;
    unsigned steps_ = kMaxSteps;
};

}  // namespace

Result<std::vector<SpecialField>> special_fields(const Btf& btf, uint32_t value_type) {
    const PlacedVariable whole[] = {{value_type, 0, 0}};
    return special_fields(btf, whole);
}

Result<std::vector<SpecialField>> special_fields(const Btf& btf,
                                                 std::span<const PlacedVariable> variables) {
    FieldSearch search(btf);
    for (const PlacedVariable& v : variables)
        SKEP_CHECK(search.visit(v.type, v.offset, v.variable, -1, kMaxFieldDepth));
    std::stable_sort(search.fields.begin(), search.fields.end(),
                     [](const auto& a, const auto& b) { return a.offset < b.offset; });
    return std::move(search.fields);
}

}  // namespace skep
