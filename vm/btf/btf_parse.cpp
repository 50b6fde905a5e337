// Parsing of .BTF: everything that accessors rely on is checked here, once (see btf.hpp).
//
// Three passes: the records are measured and their fields checked; then ids, which may point
// forward; then a depth-first walk over the edges that a value's size depends on, with an explicit
// stack, which finds cycles and computes how deep each type nests.

#include <algorithm>
#include <array>
#include <cstring>

#include "vm/base/try.hpp"
#include "vm/btf/btf.hpp"

namespace skep {
namespace {

constexpr uint16_t kMagic = 0xeb9f;
constexpr uint16_t kMagicSwapped = 0x9feb;
constexpr uint32_t kRecordBytes = 12;

struct Header {
    uint16_t magic;
    uint8_t version;
    uint8_t flags;
    uint32_t header_size;
    uint32_t types_off, types_size;  // from the end of the header
    uint32_t strings_off, strings_size;
};
static_assert(sizeof(Header) == 24);

// Bytes that follow a record: `fixed`, and `each` per element.
struct Extra {
    uint8_t fixed, each;
};
constexpr std::array<Extra, kBtfKinds> kExtra = {{
    {0, 0}, {4, 0}, {0, 0}, {12, 0}, {0, 12}, {0, 12}, {0, 8}, {0, 0}, {0, 0}, {0, 0},
    {0, 0}, {0, 0}, {0, 0}, {0, 8},  {4, 0},  {0, 12}, {0, 0}, {4, 0}, {0, 0}, {0, 12},
}};

std::unexpected<Error> bad(uint32_t id, std::string_view what) {
    return fail(ErrorCode::BadBtf, "BTF type " + std::to_string(id) + ": " + std::string(what));
}

bool refers(BtfKind kind) {
    switch (kind) {
        case BtfKind::Ptr:
        case BtfKind::Typedef:
        case BtfKind::Volatile:
        case BtfKind::Const:
        case BtfKind::Restrict:
        case BtfKind::Func:
        case BtfKind::FuncProto:
        case BtfKind::Var:
        case BtfKind::DeclTag:
        case BtfKind::TypeTag: return true;
        case BtfKind::Void:
        case BtfKind::Int:
        case BtfKind::Array:
        case BtfKind::Struct:
        case BtfKind::Union:
        case BtfKind::Enum:
        case BtfKind::Fwd:
        case BtfKind::Datasec:
        case BtfKind::Float:
        case BtfKind::Enum64: return false;
    }
    return false;
}

// Kinds that have no value: neither members, elements, parameters nor variables have these types.
bool is_valueless(BtfKind kind) {
    return kind == BtfKind::Func || kind == BtfKind::Var || kind == BtfKind::Datasec ||
           kind == BtfKind::DeclTag;
}

}  // namespace

class BtfParser {
public:
    BtfParser(std::string bytes, std::shared_ptr<const Btf> base) : btf_(new Btf) {
        btf_->bytes_ = std::move(bytes);
        btf_->base_ = std::move(base);
    }

    Result<std::shared_ptr<const Btf>> run() {
        SKEP_CHECK(header());
        SKEP_CHECK(records());
        const uint32_t end = btf_->type_count();
        const uint32_t begin = btf_->base_ ? btf_->first_id_ : 1;
        for (uint32_t id = begin; id < end; ++id) SKEP_CHECK(references(btf_->type(id)));
        height_.assign(end - btf_->first_id_, 0);
        for (uint32_t id = begin; id < end; ++id) SKEP_CHECK(nesting(id));
        for (uint32_t id = begin; id < end; ++id) SKEP_CHECK(sizes(btf_->type(id)));
        return std::shared_ptr<const Btf>(std::move(btf_));
    }

private:
    ByteView view() const { return ByteView(std::as_bytes(std::span(btf_->bytes_))); }

    Result<void> header() {
        if (btf_->bytes_.size() > kMaxBtfBytes)
            return fail(ErrorCode::LimitExceeded, "BTF of " + std::to_string(btf_->bytes_.size()) +
                                                      " bytes; at most " +
                                                      std::to_string(kMaxBtfBytes) + " are read");
        const auto head = view().read<Header>(0);
        if (!head) return fail(ErrorCode::BadBtf, "BTF is shorter than its header of 24 bytes");
        if (head->magic == kMagicSwapped) return fail(ErrorCode::BigEndian, "big-endian BTF");
        if (head->magic != kMagic) return fail(ErrorCode::BadBtf, "BTF without its magic 0xeb9f");
        if (head->version != 1)
            return fail(ErrorCode::BadBtf,
                        "BTF version " + std::to_string(head->version) + "; only 1 is known");
        if (head->header_size < sizeof(Header))
            return fail(ErrorCode::BadBtf, "BTF header of " + std::to_string(head->header_size) +
                                               " bytes; at least 24 are needed");
        const auto section = [&](uint32_t off, uint32_t size) {
            return view().contains(uint64_t{head->header_size} + off, size);
        };
        if (!section(head->types_off, head->types_size))
            return fail(ErrorCode::BadBtf, "the BTF type section lies outside of the BTF");
        if (!section(head->strings_off, head->strings_size))
            return fail(ErrorCode::BadBtf, "the BTF string section lies outside of the BTF");
        if (head->types_off % 4 != 0)
            return fail(ErrorCode::BadBtf, "the BTF type section is not aligned to 4 bytes");
        btf_->types_at_ = head->header_size + head->types_off;
        types_size_ = head->types_size;
        btf_->strings_at_ = head->header_size + head->strings_off;
        btf_->strings_size_ = head->strings_size;
        return strings();
    }

    Result<void> strings() {
        const char* begin = btf_->bytes_.data() + btf_->strings_at_;
        const uint32_t size = btf_->strings_size_;
        // A split BTF may have no strings of its own; a base starts with the empty one.
        if (size == 0 && !btf_->base_)
            return fail(ErrorCode::BadBtf, "the BTF string section is empty");
        if (size != 0 && begin[size - 1] != 0)
            return fail(ErrorCode::BadBtf, "the BTF string section does not end with a NUL");
        if (!btf_->base_ && begin[0] != 0)
            return fail(ErrorCode::BadBtf, "the first BTF string is not empty");
        if (btf_->base_) {
            btf_->first_id_ = btf_->base_->type_count();
            btf_->first_string_ = btf_->base_->first_string_ + btf_->base_->strings_size_;
            if (uint64_t{btf_->first_string_} + size > UINT32_MAX)
                return fail(ErrorCode::LimitExceeded, "base and split BTF have too many strings");
        }
        return {};
    }

    // Measures the records. Fills offsets_, so that ids can be looked up afterwards.
    Result<void> records() {
        auto& offsets = btf_->offsets_;
        offsets.reserve(types_size_ / 20 + 2);
        if (!btf_->base_) offsets.push_back(0);  // void
        uint64_t at = btf_->types_at_;
        const uint64_t end = at + types_size_;
        while (at < end) {
            const uint32_t id = btf_->type_count();
            if (id >= kMaxBtfTypes)
                return fail(ErrorCode::LimitExceeded,
                            "more than " + std::to_string(kMaxBtfTypes) + " BTF types");
            if (end - at < kRecordBytes) return bad(id, "ends after the type section");
            const uint32_t name = word(at), info = word(at + 4);
            const uint32_t kind = info >> 24 & 0x1f, count = info & 0xffff;
            if (kind == 0 || kind >= kBtfKinds)
                return bad(id, "unknown kind " + std::to_string(kind) + "; 1..19 are known");
            if ((info & 0x60ff0000) != 0) return bad(id, "reserved bits of its kind are not zero");
            const uint64_t size =
                kRecordBytes + kExtra[kind].fixed + uint64_t{kExtra[kind].each} * count;
            if (size > end - at) return bad(id, "ends after the type section");
            SKEP_CHECK(check_name(id, name));
            if (kExtra[kind].each != 0 && static_cast<BtfKind>(kind) != BtfKind::Datasec) {
                for (uint64_t e = at + kRecordBytes; e < at + size; e += kExtra[kind].each)
                    SKEP_CHECK(check_name(id, word(e)));
            }
            offsets.push_back(static_cast<uint32_t>(at));
            at += size;
        }
        offsets.shrink_to_fit();
        return {};
    }

    uint32_t word(uint64_t at) const {  // inside, by the caller's checks
        uint32_t value;
        std::memcpy(&value, btf_->bytes_.data() + at, sizeof value);
        return value;
    }

    Result<void> check_name(uint32_t id, uint32_t name) const {
        if (name >= btf_->first_string_ + btf_->strings_size_)
            return bad(id,
                       "name at offset " + std::to_string(name) + " lies outside of the strings");
        return {};
    }

    // A type id in a place that needs a value (or void, where the caller allows it).
    Result<void> value_type(uint32_t id, uint32_t ref, bool allow_void) const {
        if (!btf_->has(ref))
            return bad(id, "refers to type " + std::to_string(ref) + " of " +
                               std::to_string(btf_->type_count()));
        if ((ref == 0 && !allow_void) || is_valueless(btf_->type(ref).kind()))
            return bad(id, "refers to type " + std::to_string(ref) + ", a " +
                               std::string(name_of(btf_->type(ref).kind())) +
                               ", where a value is needed");
        return {};
    }

    Result<void> references(const BtfType& t) const {
        const uint32_t id = t.id();
        if (refers(t.kind())) {
            const uint32_t ref = t.type();
            if (!btf_->has(ref))
                return bad(id, "refers to type " + std::to_string(ref) + " of " +
                                   std::to_string(btf_->type_count()));
            if (t.is(BtfKind::Func)) {
                if (!btf_->type(ref).is(BtfKind::FuncProto))
                    return bad(id, "a function whose type is not a prototype");
            } else if (!t.is(BtfKind::DeclTag)) {
                SKEP_CHECK(value_type(id, ref, true));
            }
        }
        switch (t.kind()) {
            case BtfKind::Array:
                SKEP_CHECK(value_type(id, t.array().index, false));
                return value_type(id, t.array().element, false);
            case BtfKind::Struct:
            case BtfKind::Union:
                for (uint32_t i = 0; i < t.count(); ++i)
                    SKEP_CHECK(value_type(id, t.member(i).type, false));
                return {};
            case BtfKind::FuncProto:
                for (uint32_t i = 0; i < t.count(); ++i)
                    SKEP_CHECK(value_type(id, t.param(i).type, true));
                return {};
            case BtfKind::Datasec:
                for (uint32_t i = 0; i < t.count(); ++i) {
                    const uint32_t ref = t.section_var(i).type;
                    if (!btf_->has(ref) ||
                        (!btf_->type(ref).is(BtfKind::Var) && !btf_->type(ref).is(BtfKind::Func)))
                        return bad(id, "a section entry that is neither a variable nor a function");
                }
                return {};
            case BtfKind::Void:
            case BtfKind::Int:
            case BtfKind::Ptr:
            case BtfKind::Enum:
            case BtfKind::Fwd:
            case BtfKind::Typedef:
            case BtfKind::Volatile:
            case BtfKind::Const:
            case BtfKind::Restrict:
            case BtfKind::Func:
            case BtfKind::Var:
            case BtfKind::Float:
            case BtfKind::DeclTag:
            case BtfKind::TypeTag:
            case BtfKind::Enum64: return {};
        }
        return {};
    }

    // The types whose value is part of a value of `t`; `i` counts from 0, 0 ends the list.
    static uint32_t part(const BtfType& t, uint32_t i) {
        if (t.is_composite()) return i < t.count() ? t.member(i).type : 0;
        if (i != 0) return 0;
        if (t.is(BtfKind::Array)) return t.array().element;
        return t.is_modifier() || t.is(BtfKind::Var) ? t.type() : 0;
    }

    // Fills height_ for `root` and what it contains; height_ 255 marks a type on the stack.
    Result<void> nesting(uint32_t root) {
        const uint32_t first = btf_->first_id_;
        if (height_[root - first] != 0) return {};
        std::vector<Frame>& frames = frames_;
        frames.assign(1, Frame{root});
        height_[root - first] = kOnStack;
        while (!frames.empty()) {
            Frame& top = frames.back();
            const uint32_t child = part(btf_->type(top.id), top.next);
            if (child == 0) {
                const uint32_t height = top.height + 1;
                height_[top.id - first] = static_cast<uint8_t>(height);
                const uint32_t id = top.id;
                frames.pop_back();
                if (height > kMaxBtfDepth)
                    return bad(id,
                               "nests more than " + std::to_string(kMaxBtfDepth) + " types deep");
                if (!frames.empty()) frames.back().height = std::max(frames.back().height, height);
                continue;
            }
            ++top.next;
            if (child < first) continue;  // the base was checked by itself
            const uint8_t known = height_[child - first];
            if (known == kOnStack) return bad(child, "contains itself");
            if (known != 0) {
                top.height = std::max<uint32_t>(top.height, known);
            } else {
                if (frames.size() > kMaxBtfDepth)
                    return bad(root,
                               "nests more than " + std::to_string(kMaxBtfDepth) + " types deep");
                height_[child - first] = kOnStack;
                frames.push_back({child});
            }
        }
        return {};
    }

    Result<void> sizes(const BtfType& t) const {
        const uint32_t id = t.id();
        switch (t.kind()) {
            case BtfKind::Int: {
                const BtfInt info = t.int_info();
                if (t.size() > 16 || info.bits > 128 || info.bits + info.offset > t.size() * 8)
                    return bad(id, "an integer of " + std::to_string(info.bits) + " bits in " +
                                       std::to_string(t.size()) + " bytes");
                return {};
            }
            case BtfKind::Enum:
            case BtfKind::Enum64:
            case BtfKind::Float:
                if (t.size() == 0 || t.size() > 16 || (t.size() & (t.size() - 1)) != 0)
                    return bad(id, "a " + std::string(name_of(t.kind())) + " of " +
                                       std::to_string(t.size()) + " bytes");
                return {};
            case BtfKind::Array:
                if (!btf_->size_of(id) && btf_->size_of(btf_->flatten(id).element))
                    return bad(id, "an array of more than 4 GiB");
                return {};
            case BtfKind::Struct:
            case BtfKind::Union: return member_bounds(t);
            case BtfKind::DeclTag: return {};
            case BtfKind::Datasec:
            case BtfKind::Void:
            case BtfKind::Ptr:
            case BtfKind::Fwd:
            case BtfKind::Typedef:
            case BtfKind::Volatile:
            case BtfKind::Const:
            case BtfKind::Restrict:
            case BtfKind::Func:
            case BtfKind::FuncProto:
            case BtfKind::Var:
            case BtfKind::TypeTag: return {};
        }
        return {};
    }

    Result<void> member_bounds(const BtfType& t) const {
        const uint64_t bits = uint64_t{t.size()} * 8;
        for (uint32_t i = 0; i < t.count(); ++i) {
            const BtfMember m = t.member(i);
            const uint64_t size = btf_->bits_of(m);
            if (m.bit_offset + size > bits)
                return bad(t.id(), "member " + std::to_string(i) + " '" + std::string(m.name) +
                                       "' ends after its parent's " + std::to_string(t.size()) +
                                       " bytes");
        }
        return {};
    }

    struct Frame {
        uint32_t id;
        uint32_t next = 0;    // part to look at
        uint32_t height = 0;  // of the parts seen
    };
    static constexpr uint8_t kOnStack = 255;
    std::shared_ptr<Btf> btf_;
    uint32_t types_size_ = 0;
    std::vector<uint8_t> height_;  // by id - first_id_; 0 = not seen
    std::vector<Frame> frames_;
};

Result<std::shared_ptr<const Btf>> Btf::parse(std::string bytes, std::shared_ptr<const Btf> base) {
    return BtfParser(std::move(bytes), std::move(base)).run();
}

Result<std::shared_ptr<const Btf>> Btf::parse(Bytes bytes, std::shared_ptr<const Btf> base) {
    return parse(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()),
                 std::move(base));
}

}  // namespace skep
