// Checked context accesses: the one place that turns (offset, width) into a read or write of the
// host's struct, by the tables. The rules of CtxLayout::access are Linux's is_valid_access
// callbacks as data: alignment to the access's own size, whole elements for stores, narrow loads
// inside one element, 8-byte accesses over two elements where a field is `wide`.
#include <cstring>

#include <skep/context.hpp>

#include "vm/prog/ctx_layouts.hpp"

namespace skep {

namespace {

bool attach_allowed(uint64_t mask, uint32_t attach) {
    if (mask == 0 || attach == kAnyAttach) return true;
    return attach < 64 && (mask >> attach & 1) != 0;
}

bool is_pointer(CtxFieldKind kind) { return kind != CtxFieldKind::Scalar; }

// Bytes of the unit that narrow loads stay inside.
uint32_t unit_of(const CtxField& field) { return field.element != 0 ? field.element : field.size; }

bool width_allowed(const CtxField& field, uint32_t at, uint32_t width, bool store) {
    const uint32_t unit = unit_of(field);
    if (width == unit) return at % unit == 0;
    if (width > unit) return field.wide && width == 8;
    if (!(store ? field.narrow_store : field.narrow)) return false;
    if (!store && (width < field.narrow_from || at % unit >= field.narrow_below)) return false;
    return at / unit == (at + width - 1) / unit;
}

}  // namespace

const CtxField* CtxLayout::find(uint32_t off, uint32_t width) const {
    for (const CtxField& field : fields) {
        if (off < field.off) break;
        if (off - field.off < field.size && width <= field.size - (off - field.off)) return &field;
    }
    return nullptr;
}

const CtxField* CtxLayout::access(uint32_t off, uint32_t width, bool store, uint32_t attach) const {
    if (width == 0 || off % width != 0) return nullptr;
    const CtxField* field = find(off, width);
    if (field == nullptr) return nullptr;
    if (!(store ? field->writable : field->readable)) return nullptr;
    if (!attach_allowed(field->attach, attach)) return nullptr;
    if (store && !attach_allowed(field->attach_write, attach)) return nullptr;
    return width_allowed(*field, off - field->off, width, store) ? field : nullptr;
}

bool CtxLayout::allows(uint32_t off, uint32_t width, bool store, uint32_t attach) const {
    if (!is_bytes) return access(off, width, store, attach) != nullptr;
    if (store && !bytes_writable) return false;
    if (width == 0 || off < bytes_hidden || off > size || width > size - off) return false;
    if (bytes_width != 0 && width != bytes_width) return false;
    return unaligned || off % width == 0;
}

bool ctx_load(const CtxLayout& layout, const void* host, uint64_t off, unsigned width,
              uint64_t& out, CtxPointers pointers, uint32_t attach) {
    if (off > layout.size || width > 8) return false;
    const auto at = static_cast<uint32_t>(off);
    uint64_t value = 0;
    if (layout.is_bytes) {
        const auto& bytes = *static_cast<const BytesContext*>(host);
        if (!layout.allows(at, width, false, attach)) return false;
        if (off > bytes.size || width > bytes.size - off) return false;
        std::memcpy(&value, bytes.data + off, width);
        out = value;
        return true;
    }
    const CtxField* field = layout.access(at, width, false, attach);
    if (field == nullptr) return false;
    const auto* base = static_cast<const std::byte*>(host) + field->host_off;
    if (is_pointer(field->kind)) {
        const void* pointer = nullptr;
        if (field->host_size == sizeof(pointer)) std::memcpy(&pointer, base, sizeof(pointer));
        return pointers.resolve != nullptr && pointers.resolve(pointers.self, *field, pointer, out);
    }
    const uint32_t inside = at - field->off;
    // Fields that the host does not keep, and the part beyond what it keeps, read as zero.
    if (inside < field->host_size) {
        const unsigned kept = field->host_size - inside;
        std::memcpy(&value, base + inside, width < kept ? width : kept);
    }
    out = value;
    return true;
}

bool ctx_store(const CtxLayout& layout, void* host, uint64_t off, unsigned width, uint64_t value,
               uint32_t attach) {
    if (off > layout.size || width > 8) return false;
    const auto at = static_cast<uint32_t>(off);
    if (layout.is_bytes) {
        const auto& bytes = *static_cast<BytesContext*>(host);
        if (!layout.allows(at, width, true, attach)) return false;
        if (off > bytes.size || width > bytes.size - off) return false;
        std::memcpy(bytes.data + off, &value, width);
        return true;
    }
    const CtxField* field = layout.access(at, width, true, attach);
    if (field == nullptr || is_pointer(field->kind)) return false;
    const uint32_t inside = at - field->off;
    if (inside < field->host_size) {
        const unsigned kept = field->host_size - inside;
        std::memcpy(static_cast<std::byte*>(host) + field->host_off + inside, &value,
                    width < kept ? width : kept);
    }
    return true;
}

void ctx_import(const CtxLayout& layout, void* host, const void* uapi, uint64_t size) {
    for (const CtxField& field : layout.fields) {
        if (is_pointer(field.kind) || field.host_size == 0 || field.off >= size) continue;
        const uint64_t given = size - field.off;
        const uint64_t kept = field.size < field.host_size ? field.size : field.host_size;
        std::memcpy(static_cast<std::byte*>(host) + field.host_off,
                    static_cast<const std::byte*>(uapi) + field.off, given < kept ? given : kept);
    }
}

bool ctx_set(const CtxLayout& layout, void* host, std::string_view name, uint64_t value) {
    uint32_t index = 0;
    if (const size_t open = name.find('['); open != std::string_view::npos) {
        if (name.size() != open + 3 || name[open + 2] != ']') return false;
        if (name[open + 1] < '0' || name[open + 1] > '9') return false;
        index = static_cast<uint32_t>(name[open + 1] - '0');
        name = name.substr(0, open);
    }
    for (const CtxField& field : layout.fields) {
        if (field.name != name || is_pointer(field.kind) || field.host_size == 0) continue;
        const uint32_t unit = unit_of(field);
        if (uint64_t{index} * unit + unit > field.host_size) return false;
        std::memcpy(static_cast<std::byte*>(host) + field.host_off + index * unit, &value,
                    unit < 8 ? unit : 8);
        return true;
    }
    return false;
}

}  // namespace skep
