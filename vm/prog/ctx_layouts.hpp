// The context tables, one per UAPI struct (or per set of program types that may touch the same
// fields of one), and the checked access through them that unproven loads and stores take.
#pragma once

#include <cstdint>

#include "vm/prog/prog_type.hpp"

namespace skep {

extern const CtxLayout kNoCtx, kRawCtx, kXdpCtx, kSocketFilterCtx, kTcCtx, kCgroupSkbCtx, kLwtCtx,
    kSkSkbCtx, kFlowDissectorCtx, kPtRegsCtx, kTracepointCtx, kRawTracepointCtx,
    kRawTracepointWritableCtx, kPerfEventCtx, kBtfCtx, kSyscallCtx, kLircCtx, kSockCtx,
    kSockAddrCtx, kSockOpsCtx, kSkMsgCtx, kSkReuseportCtx, kSkLookupCtx, kSockoptCtx, kSysctlCtx,
    kCgroupDeviceCtx, kNetfilterCtx;

// How pointer fields become register values. `pointer` is the host pointer that the host struct
// holds (may be null); the result goes into the register. A sandbox gives guest addresses, verified
// code the pointer itself. Returns false if the pointer cannot be named (the access then fails).
struct CtxPointers {
    bool (*resolve)(void* self, const CtxField& field, const void* pointer,
                    uint64_t& out) = nullptr;
    void* self = nullptr;
};

// Loads `width` bytes (1, 2, 4, 8; zero-extended) at `off` of the context that `host` holds.
// False: the layout does not allow the access; `out` is untouched. Bytes contexts: `host` is a
// BytesContext and its size bounds the access too.
bool ctx_load(const CtxLayout& layout, const void* host, uint64_t off, unsigned width,
              uint64_t& out, CtxPointers pointers, uint32_t attach = kAnyAttach);
// Stores the low `width` bytes of `value`.
bool ctx_store(const CtxLayout& layout, void* host, uint64_t off, unsigned width, uint64_t value,
               uint32_t attach = kAnyAttach);

// Fills a host struct from a context in UAPI layout (--ctx-hex): scalar fields are copied, pointer
// fields ignored, bytes beyond the UAPI struct too. Only for layouts with fields.
void ctx_import(const CtxLayout& layout, void* host, const void* uapi, uint64_t size);
// Sets one scalar field (--ctx FIELD=VALUE; "cb[2]" names an array element). False: no such field.
bool ctx_set(const CtxLayout& layout, void* host, std::string_view field, uint64_t value);

}  // namespace skep
