// How the context tables are written: constexpr rows and small edits of them.
#pragma once

#include <array>
#include <cstddef>
#include <initializer_list>
#include <string_view>

#include "vm/prog/prog_type.hpp"

namespace skep::ctx {

// A u32, u64 or u16 scalar that the host keeps at `host_off`.
constexpr CtxField scalar(std::string_view name, uint16_t off, uint16_t size, size_t host_off) {
    CtxField field;
    field.name = name;
    field.off = off;
    field.size = size;
    field.host_off = static_cast<uint16_t>(host_off);
    field.host_size = size;
    return field;
}

// An array of `count` u32.
constexpr CtxField words(std::string_view name, uint16_t off, uint16_t count, size_t host_off) {
    CtxField field = scalar(name, off, static_cast<uint16_t>(count * 4), host_off);
    field.element = 4;
    return field;
}

// A pointer: `size` bytes for the program, a host pointer in the host's struct.
constexpr CtxField pointer(std::string_view name, CtxFieldKind kind, uint16_t off, uint16_t size,
                           size_t host_off) {
    CtxField field = scalar(name, off, size, host_off);
    field.kind = kind;
    field.host_size = sizeof(void*);
    field.narrow = false;
    return field;
}

constexpr CtxField read_write(CtxField field) {
    field.writable = true;
    return field;
}

constexpr CtxField whole(CtxField field) {
    field.narrow = false;
    return field;
}

// Narrow loads only from the field's own offset (Linux compares with offsetof there).
constexpr CtxField narrow_at_start(CtxField field) {
    field.narrow_below = 1;
    return field;
}

constexpr CtxField wide(CtxField field) {
    field.wide = true;
    return field;
}

constexpr uint64_t bit(AttachType type) { return uint64_t{1} << static_cast<uint32_t>(type); }

constexpr CtxField only_for(CtxField field, std::initializer_list<AttachType> types) {
    for (const AttachType type : types) field.attach |= bit(type);
    return field;
}

constexpr CtxField stored_by(CtxField field, std::initializer_list<AttachType> types) {
    field.writable = true;
    for (const AttachType type : types) field.attach_write |= bit(type);
    return field;
}

// A copy of `fields` in which the named ones may not be accessed / may be stored to.
template <size_t N>
constexpr std::array<CtxField, N> restrict_fields(std::array<CtxField, N> fields,
                                                  std::initializer_list<std::string_view> denied,
                                                  std::initializer_list<std::string_view> written) {
    for (CtxField& field : fields) {
        for (const std::string_view name : denied) {
            if (field.name == name) field.readable = false;
        }
        field.writable = false;
        for (const std::string_view name : written) {
            if (field.name == name) field.writable = true;
        }
    }
    return fields;
}

constexpr CtxLayout layout(std::string_view name, uint32_t size, std::span<const CtxField> fields,
                           size_t host_size) {
    CtxLayout result;
    result.name = name;
    result.size = size;
    result.fields = fields;
    result.host_size = static_cast<uint32_t>(host_size);
    return result;
}

// Memory of the host's, at most `size` bytes; `width` as CtxLayout::bytes_width.
constexpr CtxLayout bytes(std::string_view name, uint32_t size, bool writable, uint8_t width,
                          bool unaligned = false) {
    CtxLayout result;
    result.name = name;
    result.size = size;
    result.is_bytes = true;
    result.bytes_writable = writable;
    result.bytes_width = width;
    result.unaligned = unaligned;
    result.host_size = 16;  // sizeof(BytesContext)
    return result;
}

}  // namespace skep::ctx
