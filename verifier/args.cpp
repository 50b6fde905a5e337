// Arguments of helpers: what each register must hold, by the helper's prototype.
#include <algorithm>
#include <array>

#include "helpers/table.hpp"
#include "verifier/analyzer.hpp"
#include "verifier/call_info.hpp"

namespace skep::verifier {
namespace {

// Which helpers work on maps that have helpers of their own, and the other way round.
struct MapRule {
    MapType type;
    std::array<uint16_t, 8> helpers;  // 0: end
};
constexpr MapRule kMapRules[] = {
    {MapType::ProgArray, {12}},
    {MapType::PerfEventArray, {22, 25, 111, 55, 121}},
    {MapType::Ringbuf, {130, 131, 134, 198, 199, 200}},
    {MapType::UserRingbuf, {209}},
    {MapType::StackTrace, {27}},
    {MapType::CgroupArray, {33, 37}},
    {MapType::CgroupStorage, {81}},
    {MapType::PercpuCgroupStorage, {81}},
    {MapType::Devmap, {51, 1}},
    {MapType::DevmapHash, {51, 1}},
    {MapType::Cpumap, {51}},
    {MapType::Xskmap, {51, 1}},
    {MapType::ArrayOfMaps, {1}},
    {MapType::HashOfMaps, {1}},
    {MapType::Sockmap, {52, 53, 60, 82, 1}},
    {MapType::Sockhash, {72, 70, 71, 82, 1}},
    {MapType::ReuseportSockarray, {82}},
    {MapType::Queue, {89, 88, 87}},
    {MapType::Stack, {89, 88, 87}},
    {MapType::SkStorage, {107, 108, 194}},
    {MapType::InodeStorage, {145, 146, 194}},
    {MapType::TaskStorage, {156, 157, 194}},
    {MapType::CgrpStorage, {210, 211, 194}},
    {MapType::BloomFilter, {89, 87}},
};
// Helpers that need one of these map types.
struct HelperRule {
    uint16_t helper;
    std::array<MapType, 4> types;
};
using enum MapType;
constexpr HelperRule kHelperRules[] = {
    {12, {ProgArray}},
    {22, {PerfEventArray}},
    {25, {PerfEventArray}},
    {55, {PerfEventArray}},
    {111, {PerfEventArray}},
    {121, {PerfEventArray}},
    {130, {Ringbuf}},
    {131, {Ringbuf}},
    {134, {Ringbuf}},
    {198, {Ringbuf}},
    {199, {Ringbuf}},
    {200, {Ringbuf}},
    {209, {UserRingbuf}},
    {27, {StackTrace}},
    {33, {CgroupArray}},
    {37, {CgroupArray}},
    {51, {Devmap, DevmapHash, Cpumap, Xskmap}},
    {52, {Sockmap}},
    {60, {Sockmap}},
    {53, {Sockmap}},
    {72, {Sockhash}},
    {71, {Sockhash}},
    {70, {Sockhash}},
    {81, {CgroupStorage, PercpuCgroupStorage}},
    {82, {ReuseportSockarray, Sockmap, Sockhash}},
    {88, {Queue, MapType::Stack}},
    {89, {Queue, MapType::Stack, BloomFilter}},
    {87, {Queue, MapType::Stack, BloomFilter}},
    {195, {PercpuArray, PercpuHash, LruPercpuHash}},
    {107, {SkStorage}},
    {108, {SkStorage}},
    {145, {InodeStorage}},
    {146, {InodeStorage}},
    {156, {TaskStorage}},
    {157, {TaskStorage}},
    {210, {CgrpStorage}},
    {211, {CgrpStorage}},
};

// Where no socket of such a map can be locked by who runs the program.
bool may_update_sockmap(const Program& program, uint32_t helper) {
    if (helper != helper_id::kMapUpdate && helper != helper_id::kMapDelete) return false;
    switch (program.type->kind) {
        case ProgKind::SocketFilter:
        case ProgKind::SchedCls:
        case ProgKind::SchedAct:
        case ProgKind::Xdp:
        case ProgKind::SkReuseport:
        case ProgKind::FlowDissector:
        case ProgKind::SkLookup: return true;
        case ProgKind::SockOps: return helper == helper_id::kMapDelete;
        case ProgKind::Tracing:
            return program.attach_type == static_cast<uint32_t>(AttachType::TraceIter);
        default: return false;
    }
}

bool is_socket(CellType t) {
    return t == CellType::Socket || t == CellType::SockCommon || t == CellType::TcpSock ||
           t == CellType::XdpSock;
}

}  // namespace

// Linux itself makes device maps read-only for programs: their values name devices.
bool Analyzer::is_read_only(const MapDef& map) const {
    return (map.flags & map_flags::kRdonlyProg) != 0 || map.type == MapType::Devmap ||
           map.type == MapType::DevmapHash;
}

bool Analyzer::packet_readable_by_helpers() const {
    switch (program_.type->kind) {
        case ProgKind::LwtIn:
        case ProgKind::LwtOut:
        case ProgKind::LwtSeg6local:
        case ProgKind::SkReuseport:
        case ProgKind::FlowDissector:
        case ProgKind::CgroupSkb:
        case ProgKind::SchedCls:
        case ProgKind::SchedAct:
        case ProgKind::Xdp:
        case ProgKind::LwtXmit:
        case ProgKind::SkSkb:
        case ProgKind::SkMsg:
        case ProgKind::CgroupSockopt: return true;
        default: return false;
    }
}

bool Analyzer::packet_writable() const {
    switch (program_.type->kind) {
        case ProgKind::SchedCls:
        case ProgKind::SchedAct:
        case ProgKind::Xdp:
        case ProgKind::LwtXmit:
        case ProgKind::SkSkb:
        case ProgKind::SkMsg:
        case ProgKind::CgroupSockopt: return true;
        default: return false;
    }
}

bool Analyzer::bad_argument(const CallInfo& call, unsigned index, const Cell& cell,
                            const char* expected) {
    const unsigned reg = index + 1;
    return reject(cell.maybe_null() ? ErrorCode::PossiblyNull : ErrorCode::BadArgumentType,
                  "R%u type=%s expected=%s: argument %u of bpf_%s", reg, name_of_cell(cell).c_str(),
                  expected, reg, std::string(call.helper->name).c_str());
}

// Memory of `size` bytes that the helper reads or writes through argument `reg`.
bool Analyzer::helper_memory(CallInfo& call, unsigned reg, uint64_t size, bool writes, bool uninit,
                             bool zero_size) {
    const Cell cell = st().reg(reg);
    const int64_t at = cell.off;
    switch (cell.type) {
        case CellType::Packet:
        case CellType::PacketMeta:
            if (writes && !packet_writable())
                return reject(ErrorCode::ReadOnlyMemory, "helper write to packet is not allowed");
            return check_packet(cell, reg, at, size, zero_size);
        case CellType::MapKey:
            if (writes)
                return reject(ErrorCode::ReadOnlyMemory, "R%u cannot write into %s", reg,
                              name_of_cell(cell).c_str());
            return check_region(cell, reg, at, size, map_of(cell).key_size, zero_size, "map key");
        case CellType::MapValue: {
            const MapDef& map = map_of(cell);
            if (writes && is_read_only(map) && !SKEP_MUTANT(HelpersWriteReadOnlyMaps))
                return reject(ErrorCode::ReadOnlyMemory,
                              "write into map forbidden, value_size=%u off=%d size=%llu",
                              map.value_size, cell.off, static_cast<unsigned long long>(size));
            if (!writes && (map.flags & map_flags::kWronlyProg) != 0)
                return reject(ErrorCode::WriteOnlyMemory,
                              "read from map forbidden, value_size=%u off=%d size=%llu",
                              map.value_size, cell.off, static_cast<unsigned long long>(size));
            if (!check_region(cell, reg, at, size, map.value_size, zero_size, "map value"))
                return false;
            helper_access_ = true;
            const bool fields_ok = check_map_fields(cell, reg, at, size);
            helper_access_ = false;
            return fields_ok;
        }
        case CellType::Mem:
            if (writes && (cell.flags & flag::kReadOnly) != 0)
                return reject(ErrorCode::ReadOnlyMemory, "R%u cannot write into %s", reg,
                              name_of_cell(cell).c_str());
            return check_region(cell, reg, at, size, objects_[cell.object].size, zero_size,
                                "memory");
        case CellType::Buffer:
        case CellType::TpBuffer:
            return access_buffer(cell, reg, at, static_cast<unsigned>(size), writes, nullptr);
        case CellType::Stack: {
            if (!stack_range(cell, reg, size, writes, uninit, zero_size)) return false;
            if (writes && size != 0) {
                call.uninit_reg = reg;
                call.uninit_size = size;
            }
            return true;
        }
        case CellType::Btf:
            return access_btf(cell, reg, 0, static_cast<unsigned>(size), writes, nullptr);
        default: break;
    }
    if (zero_size && size == 0 && cell.is_scalar() && num(cell).is_const(0)) {
        need(cell);
        return true;
    }
    return reject(
        cell.maybe_null() ? ErrorCode::PossiblyNull : ErrorCode::BadArgumentType,
        "R%u type=%s expected=fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf: "
        "argument %u of bpf_%s",
        reg, name_of_cell(cell).c_str(), reg, std::string(call.helper->name).c_str());
}

bool Analyzer::write_stack_from_helper(const Cell& target, unsigned reg, uint64_t size) {
    int64_t low = 0, high = 0;
    if (!stack_bounds(target, reg, 0, size, true, low, high)) return false;
    return stack_write_variable(target.object, static_cast<int>(low),
                                static_cast<int>(high) + static_cast<int>(size), nullptr,
                                low == high);
}

// Pointers to plain memory; `nullable` lets the constant 0 pass before.
bool Analyzer::memory_argument(const CallInfo& call, unsigned index, bool writes) {
    const Cell& cell = st().reg(index + 1);
    constexpr const char* kExpected =
        "fp, pkt, pkt_meta, map_key, map_value, mem, ringbuf_mem, buf";
    const ArgSpec& spec = call.helper->proto.args[index];
    if (cell.maybe_null()) {
        if (!spec.has(arg_flag::kNullable)) return bad_argument(call, index, cell, kExpected);
    }
    switch (cell.type) {
        case CellType::Packet:
        case CellType::PacketMeta:
            if (!packet_readable_by_helpers() ||
                (call.helper->flags & helper_flag::kPacketArgs) == 0)
                return reject(ErrorCode::BadArgumentType,
                              "helper access to the packet is not allowed: "
                              "argument %u of bpf_%s",
                              index + 1, std::string(call.helper->name).c_str());
            return true;
        case CellType::Stack:
        case CellType::MapKey:
        case CellType::MapValue: return true;
        case CellType::Mem:
        case CellType::Buffer:
            if (writes && (cell.flags & flag::kReadOnly) != 0)
                return bad_argument(call, index, cell, kExpected);
            return true;
        case CellType::Btf:
            // Only what the helper's prototype says to be read, and not as a key or value of a map.
            if ((cell.flags & flag::kTrusted) != 0 && spec.kind != ArgKind::MapKey &&
                spec.kind != ArgKind::MapValue)
                return true;
            break;
        default: break;
    }
    return bad_argument(call, index, cell, kExpected);
}

// Only the pointer itself may be passed, not one that was moved.
bool Analyzer::unmoved(unsigned reg) {
    if (SKEP_MUTANT(MovedObjectsAreReleased)) return true;
    return check_constant_offset(st().reg(reg), reg, name_of_cell(st().reg(reg)).c_str(), false);
}

bool Analyzer::size_argument(CallInfo& call, unsigned index) {
    const ArgSpec& spec = call.helper->proto.args[index];
    const ArgSpec& memory = call.helper->proto.args[index - 1];
    const unsigned reg = index + 1;
    const Cell size_cell = st().reg(reg);
    if (!size_cell.is_scalar()) return bad_argument(call, index, size_cell, "scalar");
    const Scalar size = num(size_cell);
    const bool zero_allowed = spec.has(arg_flag::kZeroAllowed);
    call.size_reg = reg;
    call.size_max = size.umax;
    const bool constant_size = size.is_const();
    const bool uninit = memory.has(arg_flag::kUninit) && constant_size;
    need(size_cell);
    if (size.smin < 0)
        return reject(ErrorCode::BadArgumentSize,
                      "R%u min value is negative, either use unsigned or "
                      "'var &= const': the size is %s",
                      reg, to_string(size).c_str());
    if (size.umin == 0 && !zero_allowed)
        return reject(
            ErrorCode::BadArgumentSize,
            "R%u invalid zero-sized read: u64=[%llu,%llu]: bpf_%s needs at least one byte", reg,
            static_cast<unsigned long long>(size.umin), static_cast<unsigned long long>(size.umax),
            std::string(call.helper->name).c_str());
    if (size.umax >= static_cast<uint64_t>(kMaxVarOff))
        return reject(ErrorCode::BadArgumentSize,
                      "R%u unbounded memory access, use 'var &= const' or "
                      "'if (var < const)': the size is %s",
                      reg, to_string(size).c_str());
    return helper_memory(call, reg - 1, size.umax, memory.has(arg_flag::kWrite), uninit,
                         zero_allowed);
}

bool Analyzer::key_argument(CallInfo& call, unsigned index) {
    if (call.map.type != CellType::MapHandle)
        return reject(ErrorCode::BadArgumentType, "invalid map_ptr to access map->key");
    if (!memory_argument(call, index, false)) return false;
    const MapDef& map = *maps_[call.map.object].def;
    const unsigned reg = index + 1;
    if (!helper_memory(call, reg, map.key_size, false, false, false)) return false;
    call.uninit_reg = 0;
    const Cell& cell = st().reg(reg);
    if (cell.type != CellType::Stack || !num(cell).is_const() || map.key_size != 4) return true;
    const bool array = map.type == MapType::Array || map.type == MapType::PercpuArray;
    if (!array) return true;
    const int off = cell.off + static_cast<int>(static_cast<int64_t>(num(cell).value()));
    std::optional<uint64_t> key;
    const bool lookup =
        call.helper->id == helper_id::kMapLookup || call.helper->id == helper_id::kMapLookupPercpu;
    if (!stack_number(cell.object, off, 4, key, lookup)) return false;
    if (const Cell* whole = key ? nullptr : number_below(cell.object, off);
        whole != nullptr && call.helper->id == helper_id::kMapLookup && num(*whole).is_const() &&
        num(*whole).value() < map.max_entries) {
        // Linux takes the number for the key, which is its upper half: both are in bounds.
        need(*whole);
        call.key_in_bounds = true;
    }
    if (!key) return true;
    call.key_const = lookup;
    call.key = *key;
    call.key_in_bounds = call.helper->id == helper_id::kMapLookup &&
                         (*key < map.max_entries || SKEP_MUTANT(KeysReachTheEnd));
    return true;
}

bool Analyzer::check_argument(CallInfo& call, unsigned index) {
    const ArgSpec& spec = call.helper->proto.args[index];
    const unsigned reg = index + 1;
    if (spec.kind == ArgKind::None) return true;
    if (!read_reg(reg)) return false;
    const Cell cell = st().reg(reg);
    if (spec.kind == ArgKind::Anything) {
        // A kernel object's address is what the probe_read family takes.
        const bool probed =
            cell.type == CellType::Btf && (call.helper->flags & helper_flag::kGplOnly) != 0;
        if (strict() && cell.is_pointer() && !probed)
            return reject(ErrorCode::PointerLeak, "R%u leaks addr into helper function", reg);
        return true;
    }
    const bool is_null = cell.is_scalar() && num(cell).is_const(0);
    if (is_null && spec.has(arg_flag::kNullable)) {
        need(cell);
        return true;
    }
    if (cell.is_pointer() && cell.ref != 0 && spec.kind != ArgKind::KptrSlot &&
        st().holds_reference(cell.ref)) {
        if (call.ref != 0 && !(extended() && call.ref == cell.ref))
            return reject(ErrorCode::BadRelease, "more than one arg with ref_obj_id R%u %u %u", reg,
                          cell.ref, call.ref);
        call.ref = cell.ref;
    }
    if (spec.has(arg_flag::kRelease) && spec.kind != ArgKind::Dynptr) {
        if (cell.is_pointer() && cell.ref == 0)
            return reject(ErrorCode::BadRelease,
                          "R%u must be referenced when passed to release "
                          "function bpf_%s",
                          reg, std::string(call.helper->name).c_str());
        if (cell.is_pointer() && (cell.off != 0 || !num(cell).is_const(0)))
            return reject(ErrorCode::BadRelease,
                          "R%u must have zero offset when passed to release "
                          "func: off=%d",
                          reg, cell.off);
        call.release_ref = cell.ref;
    }
    const bool nullable = spec.has(arg_flag::kNullable);
    const auto wrong = [&](const char* expected) {
        return bad_argument(call, index, cell, expected);
    };
    const bool null_ok = !cell.maybe_null() || nullable;
    switch (spec.kind) {
        case ArgKind::None:
        case ArgKind::Anything: return true;
        case ArgKind::Map:
            if (cell.type != CellType::MapHandle) return wrong("map_ptr");
            if (!unmoved(reg)) return false;
            if (call.map.type == CellType::MapHandle && call.map.object != cell.object)
                return reject(ErrorCode::WrongMapType,
                              "timer pointer in R1 doesn't match map pointer in R%u", reg);
            call.map = cell;
            return check_map_helper(call);
        case ArgKind::MapKey: return key_argument(call, index);
        case ArgKind::MapValue: {
            if (call.map.type != CellType::MapHandle)
                return reject(ErrorCode::BadArgumentType, "invalid map_ptr to access map->value");
            const MapDef& map = *maps_[call.map.object].def;
            if (map.type == MapType::Sockmap || map.type == MapType::Sockhash) {
                constexpr ArgSpec kValue{ArgKind::BtfSockCommon};
                if (cell.type == CellType::Btf) return btf_argument(call, index, kValue);
                if (!is_socket(cell.type) || cell.maybe_null())
                    return wrong("sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_");
                return true;
            }
            const bool writes = spec.has(arg_flag::kWrite) && !(map.type == MapType::BloomFilter);
            if (!memory_argument(call, index, writes)) return false;
            return helper_memory(call, reg, map.value_size, writes,
                                 spec.has(arg_flag::kUninit) && writes, false);
        }
        case ArgKind::Memory: return memory_argument(call, index, spec.has(arg_flag::kWrite));
        case ArgKind::Size: return size_argument(call, index);
        case ArgKind::FixedMemory:
            if (!memory_argument(call, index, spec.has(arg_flag::kWrite))) return false;
            if (!helper_memory(call, reg, spec.size, spec.has(arg_flag::kWrite),
                               spec.has(arg_flag::kUninit), false))
                return false;
            return !spec.has(arg_flag::kAligned) || check_alignment(cell, reg, 0, spec.size);
        case ArgKind::AllocSize:
            if (!cell.is_scalar()) return wrong("scalar");
            if (!num(cell).is_const())
                return reject(ErrorCode::BadArgumentSize,
                              "R%u is not a known constant: the size of the "
                              "record must be one",
                              reg);
            need(cell);
            // As Linux does: the helper gives null for sizes of more than 32 bits.
            call.alloc_size = static_cast<uint32_t>(num(cell).value());
            return true;
        case ArgKind::Ctx:
            if (cell.type != CellType::Context || !null_ok) return wrong("ctx");
            return unmoved(reg);
        case ArgKind::Callback:
            if (cell.type != CellType::Function) return wrong("func");
            if (!unmoved(reg)) return false;
            call.callback = spec.callback;
            call.callback_subprogram = cell.object;
            return true;
        case ArgKind::CallbackCtx:
            if (cell.type != CellType::Stack) return wrong("fp");
            return true;
        case ArgKind::ConstString: return const_string(call, index);
        case ArgKind::SpinLock: return spin_lock_argument(call, reg);
        case ArgKind::Timer: return timer_argument(call, reg);
        case ArgKind::KptrSlot: return kptr_slot_argument(call, reg);
        case ArgKind::SockCommon:
            if (!is_socket(cell.type) || !null_ok)
                return wrong("sock_common, sock, tcp_sock, xdp_sock");
            return unmoved(reg);
        case ArgKind::Socket:
            if (cell.type != CellType::Socket || !null_ok) return wrong("sock");
            return unmoved(reg);
        case ArgKind::BtfSockCommon:
            if (!(is_socket(cell.type) || cell.type == CellType::Btf) || !null_ok)
                return wrong("sock_common, sock, tcp_sock, xdp_sock, ptr_, trusted_ptr_");
            if (cell.type == CellType::Btf) return btf_argument(call, index, spec);
            return unmoved(reg);
        case ArgKind::BtfObject:
            if (call.kptr != nullptr) return kptr_value_argument(call, reg);
            return btf_argument(call, index, spec);
        case ArgKind::PercpuBtf:
            if (cell.type != CellType::Btf || (cell.flags & flag::kPercpu) == 0 ||
                (cell.flags & (flag::kUntrusted | flag::kMaybeNull)) != 0)
                return wrong("percpu_ptr_");
            call.percpu = cell;
            return true;
        case ArgKind::RingbufRecord:
            if (cell.type != CellType::Mem || (cell.flags & flag::kRingbuf) == 0 || !null_ok)
                return wrong("ringbuf_mem");
            return true;
        case ArgKind::Dynptr: return dynptr_argument(call, index);
        case ArgKind::StackObject:
            return reject(ErrorCode::BadArgumentType,
                          "argument %u is an object that only kernel functions work on", reg);
    }
    return true;
}

// Whether helper and map go together.
bool Analyzer::check_map_helper(const CallInfo& call) {
    const MapDef& map = *maps_[call.map.object].def;
    const uint32_t id = call.helper->id;
    const auto wrong = [&] {
        return reject(ErrorCode::WrongMapType, "cannot pass map_type %u into func bpf_%s#%u",
                      static_cast<unsigned>(map.type), std::string(call.helper->name).c_str(), id);
    };
    for (const MapRule& rule : kMapRules) {
        if (rule.type != map.type) continue;
        if (std::ranges::find(rule.helpers, id) != rule.helpers.end()) break;
        const bool sock = map.type == MapType::Sockmap || map.type == MapType::Sockhash;
        if (sock && may_update_sockmap(program_, id)) break;
        return wrong();
    }
    for (const HelperRule& rule : kHelperRules)
        if (rule.helper == id && std::ranges::find(rule.types, map.type) == rule.types.end())
            return wrong();
    if (id == helper_id::kForEachMapElem) {
        switch (map.type) {
            case MapType::Hash:
            case MapType::PercpuHash:
            case MapType::LruHash:
            case MapType::LruPercpuHash:
            case MapType::Array:
            case MapType::PercpuArray: break;
            default:
                return reject(ErrorCode::WrongMapType, "callback function not allowed for map");
        }
    }
    // What a program may do with a map's entries also depends on the map's flags.
    const bool reads = id == helper_id::kMapLookup || id == helper_id::kMapLookupPercpu ||
                       id == 89 || id == helper_id::kForEachMapElem;
    const bool writes =
        id == helper_id::kMapUpdate || id == helper_id::kMapDelete || id == 87 || id == 88;
    if (writes && is_read_only(map))
        return reject(ErrorCode::ReadOnlyMemory,
                      "write into map forbidden: map '%s' is read-only for "
                      "programs",
                      map.name.c_str());
    (void)reads;
    return true;
}

// Rules that tie several arguments, or the call and its surroundings, together.
bool Analyzer::check_special(CallInfo& call) {
    const uint32_t id = call.helper->id;
    if (id == helper_id::kTailCall) {
        if (!check_holds_at_exit("tail_call", true)) return false;
        if (st().depth() > 1 && st().top().role != FrameRole::Call)
            return reject(ErrorCode::TailCallContext, "tail_call inside a callback is not allowed");
        need(st().reg(3));
    }
    if (id == helper_id::kGetLocalStorage) {
        const Cell& flags = st().reg(2);
        if (!flags.is_scalar() || !num(flags).is_const(0))
            return reject(ErrorCode::BadArgumentType,
                          "get_local_storage() doesn't support non-zero flags");
        need(flags);
    }
    if (id == helper_id::kLoop && !st().reg(1).is_scalar())
        return bad_argument(call, 0, st().reg(1), "scalar");
    if (id == helper_id::kSnprintf) return check_snprintf(call);
    return true;
}

bool Analyzer::const_string(CallInfo& call, unsigned index) {
    const unsigned reg = index + 1;
    const Cell& cell = st().reg(reg);
    if (cell.type != CellType::MapValue || cell.maybe_null())
        return bad_argument(call, index, cell, "map_value");
    return constant_string(reg);
}

// A NUL-terminated string at a constant place of a frozen map.
bool Analyzer::constant_string(unsigned reg) {
    const Cell& cell = st().reg(reg);
    const MapDef& map = map_of(cell);
    if (!map.frozen)
        return reject(ErrorCode::BadArgumentType, "R%u does not point to a readonly map'", reg);
    if (!num(cell).is_const())
        return reject(ErrorCode::BadArgumentType, "R%u is not a constant address'", reg);
    const int64_t at = int64_t{cell.off} + static_cast<int64_t>(num(cell).value());
    if (!check_region(cell, reg, cell.off,
                      map.value_size - static_cast<uint64_t>(std::max<int64_t>(
                                           0, std::min<int64_t>(at, map.value_size))),
                      map.value_size, false, "map value"))
        return false;
    for (uint64_t i = static_cast<uint64_t>(at); i < map.value_size; ++i)
        if (i >= map.contents.size() || map.contents[i] == std::byte{0}) return true;
    return reject(ErrorCode::BadArgumentType, "string is not zero-terminated");
}

}  // namespace skep::verifier
