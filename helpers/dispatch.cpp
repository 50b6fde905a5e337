// Checks and translates helper arguments by their prototype (DESIGN: sandbox mode).
//
// Invariants: a pointer handed to a helper is null only where the prototype allows it; memory lies
// in one region with the permission that the prototype needs, over its whole size; a map is one of
// the program's; a key is a private copy whenever other threads could change it meanwhile. What has
// no guest form (kernel objects) never reaches a helper.
#include "helpers/dispatch.hpp"

#include <cstring>
#include <memory>
#include <new>

#include <skep/map.hpp>

#include "helpers/guest.hpp"
#include "helpers/guest_objects.hpp"
#include "helpers/readable.hpp"
#include "helpers/sockets.hpp"
#include "maps/object_heap.hpp"

namespace skep {

namespace {

constexpr uint64_t kMaxBuffer = uint64_t{1} << 30;
constexpr uint64_t kKeyCopy = 512;  // bytes of a key that is copied before use

struct Arguments {
    uint64_t host[5] = {};
    Map* map = nullptr;  // the last map argument
    alignas(8) std::byte key[kKeyCopy];
    std::unique_ptr<std::byte[]> large_key;  // one that is longer
};

uint64_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

bool translate_memory(const HelperEnv& env, const ArgSpec& arg, uint64_t value, uint64_t size,
                      uint64_t& out) noexcept {
    if (value == 0 && arg.has(arg_flag::kNullable)) {
        out = 0;
        return true;
    }
    if (size > kMaxBuffer) return false;
    // Nothing at all: whether that may be is the size's business.
    if (value == 0 && size == 0) {
        alignas(8) static const std::byte kNothing[8] = {};
        out = address(kNothing);
        return true;
    }
    std::byte* host = guest::memory(env, value, size, arg.has(arg_flag::kWrite));
    if (host == nullptr) return false;
    out = address(host);
    return true;
}

// Keys in memory that other threads can write are copied: a map must hash and store the same key.
bool translate_key(HelperEnv& env, Arguments& arguments, uint64_t value, uint64_t& out) noexcept {
    if (arguments.map == nullptr) return false;
    const uint64_t size = arguments.map->def().key_size;
    const std::byte* host = guest::memory(env, value, size, false);
    if (host == nullptr) return false;
    const bool shared = value >> 32 >= region::kFirstDynamic;
    if (shared) {
        std::byte* copy = arguments.key;
        if (size > kKeyCopy) {
            arguments.large_key.reset(new (std::nothrow) std::byte[size]);
            copy = arguments.large_key.get();
            if (copy == nullptr) env.fail(TrapCode::OutOfMemory);
            if (copy == nullptr || !env.charge(size / 4096)) return false;
        }
        std::memcpy(copy, host, size);
        host = copy;
    }
    out = address(host);
    return true;
}

bool translate_string(const HelperEnv& env, uint64_t value, uint64_t& out) noexcept {
    if (!guest::is_constant(env, value)) return false;
    const uint64_t size = guest::readable(env, value);
    const std::byte* host = guest::memory(env, value, size, false);
    if (host == nullptr || std::memchr(host, 0, size) == nullptr) return false;
    out = address(host);
    return true;
}

bool translate_callback(const HelperEnv& env, uint64_t value, uint64_t& out) noexcept {
    if (value >> 32 != region::kFunction || env.find_function == nullptr) return false;
    const Callable* target = env.find_function(env, static_cast<uint32_t>(value));
    out = address(target);
    return target != nullptr;
}

// One register; `next` is the register after it (the size of a memory argument).
bool translate(HelperEnv& env, const Helper& helper, unsigned index, const uint64_t* registers,
               Arguments& arguments) noexcept {
    const ArgSpec& arg = helper.proto.args[index];
    const uint64_t value = registers[index];
    uint64_t& out = arguments.host[index];
    switch (arg.kind) {
        case ArgKind::None: return true;
        case ArgKind::Anything:
        case ArgKind::AllocSize:
        case ArgKind::CallbackCtx: out = value; return true;
        case ArgKind::Size: out = value; return value != 0 || arg.has(arg_flag::kZeroAllowed);
        case ArgKind::Memory: return translate_memory(env, arg, value, registers[index + 1], out);
        case ArgKind::FixedMemory:
            if (!translate_memory(env, arg, value, arg.size, out)) return false;
            // Linux lays the stack out so that this holds; a sandbox checks it where it matters.
            return !arg.has(arg_flag::kAligned) || out % arg.size == 0;
        case ArgKind::Map:
            arguments.map = guest::map_of_handle(env, value);
            out = address(arguments.map);
            return arguments.map != nullptr;
        case ArgKind::MapKey: return translate_key(env, arguments, value, out);
        case ArgKind::MapValue:
            if (arguments.map != nullptr && holds_sockets(*arguments.map)) {
                // A socket of the kernel's is none that the host knows: the map refuses it.
                out = value;
                if (is_kernel_address(value)) return true;
                const RunObject* object = object_at(env, value);
                out = object == nullptr ? 0 : address(object->host);
                return object != nullptr;
            }
            return arguments.map != nullptr &&
                   translate_memory(env, arg, value, arguments.map->def().value_size, out);
        case ArgKind::ConstString: return translate_string(env, value, out);
        case ArgKind::Ctx:
            if (value == 0 && arg.has(arg_flag::kNullable)) return true;
            out = address(env.ctx);
            return value == guest_address(region::kContext, 0) && env.ctx != nullptr;
        case ArgKind::Callback: return translate_callback(env, value, out);
        case ArgKind::RingbufRecord:
        case ArgKind::Dynptr:
        case ArgKind::StackObject:
        case ArgKind::SpinLock:
        case ArgKind::Timer:
        case ArgKind::KptrSlot:
        case ArgKind::SockCommon:
        case ArgKind::Socket:
        case ArgKind::BtfSockCommon:
        case ArgKind::BtfObject:
        case ArgKind::PercpuBtf: return guest::translate_object(env, arg, value, out);
    }
    return false;
}

uint64_t translate_result(HelperEnv& env, const Helper& helper, const Arguments& arguments,
                          uint64_t result) noexcept {
    if (env.trap != TrapCode::None) return 0;
    const auto* pointer = reinterpret_cast<std::byte*>(static_cast<uintptr_t>(result));
    switch (helper.proto.ret) {
        case RetKind::Scalar: return result;
        case RetKind::Void: return 0;
        case RetKind::MapValue:
        case RetKind::MapValueOrNull: {
            if (pointer == nullptr || arguments.map == nullptr) return 0;
            const MapType type = arguments.map->def().type;
            if (holds_sockets(*arguments.map)) return object_address(env, pointer);
            // A value of a map of maps is a map.
            if (type == MapType::ArrayOfMaps || type == MapType::HashOfMaps) {
                return guest::handle_of_map(env,
                                            reinterpret_cast<Map*>(static_cast<uintptr_t>(result)));
            }
            return guest::address_of_value(env, arguments.map, pointer);
        }
        case RetKind::AllocMemOrNull: return guest::address_of_value(env, arguments.map, pointer);
        // Addresses of kernel objects are the same in both modes; those that programs allocate have
        // guest addresses.
        case RetKind::BtfObject:
        case RetKind::BtfObjectOrNull:
        case RetKind::PercpuMem:
        case RetKind::PercpuMemOrNull:
            return env.heap != nullptr && env.heap->contains(pointer)
                       ? guest::address_of_object(env, pointer)
                       : result;
        case RetKind::SocketOrNull:
        case RetKind::TcpSockOrNull:
        case RetKind::SockCommonOrNull: return object_address(env, pointer);
        case RetKind::DynptrMemOrNull: return guest::address_of_object(env, pointer);
    }
    return 0;
}

}  // namespace

uint64_t dispatch_helper(const Helper& helper, const uint64_t* registers, HelperEnv& env) noexcept {
    // Not initialised beyond the members' own values: the key is written before it is read.
    Arguments arguments;
    for (unsigned i = 0; i < helper.proto.count; ++i) {
        if (!translate(env, helper, i, registers, arguments)) {
            env.fail(TrapCode::BadArgument);
            return 0;
        }
    }
    const uint64_t result = helper.thunk(arguments.host[0], arguments.host[1], arguments.host[2],
                                         arguments.host[3], arguments.host[4], &env);
    return translate_result(env, helper, arguments, result);
}

}  // namespace skep
