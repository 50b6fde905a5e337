// Object arguments of sandboxed programs: see the header.
#include "helpers/guest_objects.hpp"

#include "helpers/guest.hpp"
#include "helpers/readable.hpp"
#include "helpers/sockets.hpp"

namespace skep::guest {

bool translate_object(HelperEnv& env, const ArgSpec& arg, uint64_t value, uint64_t& out) noexcept {
    switch (arg.kind) {
        case ArgKind::RingbufRecord: {
            // Which record it is, and whether it is reserved, the helper finds in the ledger: here
            // only that the address is memory of the run.
            std::byte* host = memory(env, value, 1, false);
            out = reinterpret_cast<uintptr_t>(host);
            return host != nullptr;
        }
        case ArgKind::Dynptr: {
            constexpr uint64_t kDynptrBytes = 16;
            // On the stack, or lent to a callback.
            const bool fresh = arg.has(arg_flag::kWrite);
            const uint64_t place = value >> 32;
            const bool allowed = place == region::kStack || (place == region::kScratch && !fresh);
            if (!allowed || value % 8 != 0) return false;
            std::byte* host = memory(env, value, kDynptrBytes, place == region::kStack);
            out = reinterpret_cast<uintptr_t>(host);
            return host != nullptr;
        }
        case ArgKind::StackObject: {
            if (value >> 32 != region::kStack || value % 8 != 0) return false;
            std::byte* host = memory(env, value, arg.size, true);
            out = reinterpret_cast<uintptr_t>(host);
            return host != nullptr;
        }
        case ArgKind::SpinLock:
        case ArgKind::Timer:
        case ArgKind::KptrSlot: {
            // The field's kind and place inside the value are the map's business.
            std::byte* host = memory(env, value, arg.kind == ArgKind::KptrSlot ? 8 : 4, true);
            out = reinterpret_cast<uintptr_t>(host);
            const uint64_t place = value >> 32;
            const bool in_object = place == region::kHeap && arg.kind != ArgKind::Timer;
            return host != nullptr && (place >= region::kFirstDynamic || in_object);
        }
        case ArgKind::PercpuBtf:
        case ArgKind::BtfObject:
            // Of objects, only those that programs allocate have a guest address.
            if ((arg.object == ObjectKind::Kptr || arg.kind == ArgKind::PercpuBtf) &&
                value >> 32 == region::kHeap) {
                std::byte* host = memory(env, value, 1, true);
                out = reinterpret_cast<uintptr_t>(host);
                return host != nullptr;
            }
            // An address in the kernel's half; whether an object is there, look-up decides.
            out = value;
            // Null too: a host's context may hold it where a kernel's never would.
            if (arg.object == ObjectKind::Kptr)
                return is_kernel_address(value) || (value == 0 && arg.has(arg_flag::kNullable));
            return is_kernel_address(value) || value == 0;
        case ArgKind::Socket:
        case ArgKind::SockCommon:
        case ArgKind::BtfSockCommon: {
            if (value == 0 && arg.has(arg_flag::kNullable)) return true;
            if (arg.kind == ArgKind::BtfSockCommon && is_kernel_address(value)) {
                out = value;
                return true;
            }
            const RunObject* object = object_at(env, value);
            out = object == nullptr ? 0 : reinterpret_cast<uintptr_t>(object->host);
            const bool part = object != nullptr && object->kind == RunObjectKind::TcpSock;
            return object != nullptr && !(part && arg.kind == ArgKind::Socket);
        }
        default: return false;
    }
}

uint64_t address_of_object(HelperEnv& env, const std::byte* pointer) noexcept {
    if (pointer == nullptr) return 0;
    for (uint32_t number = 0; number < env.region_count; ++number) {
        const Region& region = env.regions[number];
        if (region.kind != static_cast<uint32_t>(RegionKind::Memory)) continue;
        const auto base = reinterpret_cast<uintptr_t>(region.base);
        const auto at = reinterpret_cast<uintptr_t>(pointer);
        if (at < base || at - base >= region.readable) continue;
        return guest_address(number, region.lo + static_cast<uint32_t>(at - base));
    }
    env.fail(TrapCode::Unsupported);
    return 0;
}

}  // namespace skep::guest
