// What the checks of a call's arguments found out, for the effects of the call.
#pragma once

#include <cstdint>

#include <skep/helper.hpp>
#include <skep/map.hpp>

#include "verifier/cell.hpp"

namespace skep::verifier {

// Helpers whose rules go beyond their prototype.
namespace helper_id {
inline constexpr uint32_t kMapLookup = 1, kMapUpdate = 2, kMapDelete = 3, kTracePrintk = 6,
                          kSmpProcessorId = 8, kTailCall = 12, kSetsockopt = 49, kGetsockopt = 57,
                          kDPath = 147, kGetFuncIp = 173, kGetLocalStorage = 81, kSpinLock = 93,
                          kSpinUnlock = 94, kSkFullsock = 95, kTcpSock = 96, kSkcToTcp6Sock = 136,
                          kSkcToTcpReqSock = 139, kSkcToUdp6Sock = 140, kPerCpuPtr = 153,
                          kThisCpuPtr = 154, kForEachMapElem = 164, kSnprintf = 165,
                          kTimerInit = 169, kTimerSetCallback = 170, kGetBranchSnapshot = 176,
                          kSkcToUnixSock = 178, kLoop = 181, kKptrXchg = 194,
                          kMapLookupPercpu = 195, kSkcToMptcpSock = 196, kDynptrFromMem = 197,
                          kRingbufReserveDynptr = 198, kRingbufSubmitDynptr = 199,
                          kRingbufDiscardDynptr = 200, kDynptrRead = 201, kDynptrWrite = 202,
                          kDynptrData = 203, kUserRingbufDrain = 209;
}  // namespace helper_id

// Cell::object of dynptrs.
namespace dynptr_kind {
inline constexpr uint16_t kLocal = 1, kRingbuf = 2, kSkb = 3, kXdp = 4, kSkbMeta = 5;
constexpr bool is_packet(uint16_t kind) { return kind >= kSkb; }
}  // namespace dynptr_kind

struct CallInfo {
    const Helper* helper = nullptr;
    Cell map;                    // MapHandle argument
    bool key_in_bounds = false;  // the key is a constant index of an array
    bool key_const = false;
    uint64_t key = 0;
    uint64_t size_max = 0;  // largest value of the size argument
    unsigned size_reg = 0;
    unsigned uninit_reg = 0;  // memory that the helper writes without reading it
    uint64_t uninit_size = 0;
    uint64_t alloc_size = 0;
    uint32_t release_ref = 0;  // reference that the call gives up
    uint32_t ref = 0;          // reference that an argument carries
    uint32_t result_ref = 0;
    uint8_t result_flags = 0;
    int32_t callback_subprogram = -1;
    CallbackKind callback = CallbackKind::None;
    Cell percpu;                         // PercpuBtf argument
    Cell graph_node;                     // what a tree's callback compares
    const SpecialField* kptr = nullptr;  // kptr_xchg: the field, and what it holds
    uint16_t kptr_object = 0;
    unsigned dynptr_reg = 0;
    bool changes_packet = false;  // a write through a packet's dynptr
};

}  // namespace skep::verifier
