// Cells: what is known about one register or one spilled value.
//
// A cell is small and trivially copyable, because states are copied at every branch. Numbers live
// in the analysis's pool of interned scalars and are named by index, so equal knowledge is equal
// bytes.
#pragma once

#include <cstdint>

namespace skep::verifier {

enum class CellType : uint8_t {
    NotInit,
    Scalar,
    Context,
    MapHandle,  // a map itself
    MapValue,
    MapKey,
    Stack,
    PacketMeta,
    Packet,
    PacketEnd,
    FlowKeys,
    Socket,  // full socket
    SockCommon,
    TcpSock,
    XdpSock,
    TpBuffer,  // writable raw tracepoint buffer
    Btf,       // object of a BTF type
    Mem,       // memory of known size
    Buffer,    // memory whose size is checked when it is attached
    Function,
    DynptrHandle,  // dynptr that is not on this program's stack
    Arena,
    DynptrSlot,    // stack only: first half of a dynptr
    IteratorSlot,  // stack only: first slot of an iterator
    IrqSlot,       // stack only: saved interrupt state
};

// What qualifies a pointer.
namespace flag {
inline constexpr uint8_t kMaybeNull = 1 << 0, kReadOnly = 1 << 1, kRingbuf = 1 << 2,
                         kUntrusted = 1 << 3, kTrusted = 1 << 4, kRcu = 1 << 5, kPercpu = 1 << 6,
                         kUser = 1 << 7;
// Btf: an object that programs allocate, and its fields; a reference that does not own its object.
inline constexpr uint8_t kAlloc = 1 << 2, kNonOwn = 1 << 1;
// Packet pointers: a comparison proved the pointer to be at, or beyond, data_end.
inline constexpr uint8_t kAtEnd = 1 << 4, kBeyondEnd = 1 << 5;
// Mem: a slice of a packet's dynptr, gone when the packet changes.
inline constexpr uint8_t kPacketSlice = kPercpu;
// Linked scalars are the link's value plus Cell::off; of that the low 32 bits, zero-extended, or
// shifted up by 32.
inline constexpr uint8_t kLinkZext = 1 << 0, kLinkShifted = 1 << 1;
// Scalars: the number is data_end - data of the packet as it is now.
inline constexpr uint8_t kPacketLength = 1 << 7;
// Dynptr slots and handles.
inline constexpr uint8_t kDynptrRdonly = 1 << 1;
}  // namespace flag

// `object` by type: MapValue, MapKey, MapHandle: map of the analysis; Stack: frame; Packet*: bytes
// proven to be readable from the base; Mem, Btf: descriptor; Function: subprogram; Dynptr*: kind;
// IteratorSlot: iterator_cell
// (kfunc_call.hpp); IrqSlot: which functions restore it.
struct Cell {
    CellType type = CellType::NotInit;
    uint8_t flags = 0;
    uint16_t object = 0;
    int32_t off = 0;      // pointers: fixed offset; linked scalars: distance from the link's base
    uint32_t id = 0;      // null id, packet id, link id, lock identity
    uint32_t scalar = 0;  // pool index: the number, or the variable part of a pointer's offset
    uint32_t ref = 0;     // pointers: reference held; scalars: provenance (provenance.hpp)

    bool operator==(const Cell&) const = default;
    bool is_scalar() const { return type == CellType::Scalar; }
    bool is_pointer() const { return type > CellType::Scalar; }
    bool maybe_null() const { return is_pointer() && (flags & flag::kMaybeNull) != 0; }
    bool is_packet() const { return type == CellType::Packet || type == CellType::PacketMeta; }
};
static_assert(sizeof(Cell) == 20);

}  // namespace skep::verifier
