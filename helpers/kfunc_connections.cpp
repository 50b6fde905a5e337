// Connection tracking (bpf_skb_ct_*, bpf_xdp_ct_*, bpf_ct_*): connections that programs make, and
// those that they put into the Vm's table, where they are found again from either side until they
// time out. Nothing else is tracked: no packet makes a connection by itself.
//
// A connection is an object of the heap with the layout that the kernel's BTF gives struct nf_conn.
// The numbers of struct bpf_ct_opts, and which mistakes have which errno, are Linux's.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

#include "helpers/impl.hpp"
#include "helpers/kernel_world.hpp"
#include "helpers/kfunc_impl.hpp"
#include "helpers/objects.hpp"
#include "maps/connections.hpp"
#include "vm/btf/btf.hpp"

namespace skep::kfunc {

namespace {

using helper::kEbusy;
using helper::kEinval;
constexpr int32_t kEnoent = -2, kEnomem = -12, kEnonet = -64, kEproto = -71, kEafnosupport = -97;
constexpr uint8_t kTcp = 6, kUdp = 17;
constexpr uint16_t kInet = 2, kInet6 = 10;

struct Options {  // struct bpf_ct_opts
    int32_t netns = 0;
    int32_t error = 0;
    uint8_t protocol = 0;
    uint8_t direction = 0;
    uint16_t zone = 0;
    uint8_t zone_direction = 0;
    uint8_t reserved[3] = {};
};
static_assert(sizeof(Options) == 16);
constexpr uint64_t kOldOptions = 12;

struct Tuple {  // struct nf_conntrack_tuple
    std::byte source[16] = {};
    uint16_t source_port = 0;
    uint16_t family = 0;
    std::byte dest[16] = {};
    uint16_t dest_port = 0;
    uint8_t protocol = 0;
    uint8_t direction = 0;

    Tuple reversed() const {
        Tuple other = *this;
        std::swap_ranges(other.source, other.source + 16, other.dest);
        std::swap(other.source_port, other.dest_port);
        other.direction = 1 - direction;
        return other;
    }
    ConnectionKey key(uint32_t zone) const {
        ConnectionKey key{.zone = zone};
        Tuple plain = *this;
        plain.direction = 0;
        std::memcpy(key.tuple.data(), &plain, sizeof plain);
        return key;
    }
};
static_assert(sizeof(Tuple) == 40);

enum Status : uint64_t {  // IPS_*
    kExpected = 1 << 0,
    kSeenReply = 1 << 1,
    kAssured = 1 << 2,
    kConfirmed = 1 << 3,
    kSourceNat = 1 << 4,
    kDestNat = 1 << 5,
    kSourceNatDone = 1 << 7,
    kDestNatDone = 1 << 8,
    kDying = 1 << 9,
    kTemplate = 1 << 11,
    kUntracked = 1 << 12,
    kOffload = 1 << 14,
};
constexpr uint64_t kUnchangeable = kExpected | kSourceNat | kDestNat | kSourceNatDone |
                                   kDestNatDone | kConfirmed | kDying | kTemplate | kUntracked |
                                   kOffload;

// Where struct nf_conn keeps what is used here.
struct Layout {
    uint32_t bytes = 0;
    uint32_t status = 0, timeout = 0, tuples = 0, tuple_stride = 0, tuple_start = 0, zone = 0;
    bool valid = false;
};
Layout layout_of(const HelperEnv& env) noexcept {
    Layout out;
    if (env.world == nullptr) return out;
    const Btf& btf = env.world->btf();
    const uint32_t conn = btf.find("nf_conn", BtfKind::Struct);
    const uint32_t hash = btf.find("nf_conntrack_tuple_hash", BtfKind::Struct);
    const uint32_t tuple = btf.find("nf_conntrack_tuple", BtfKind::Struct);
    if (conn == 0 || hash == 0 || tuple == 0 || btf.type(tuple).size() != sizeof(Tuple)) return out;
    const auto status = btf.find_member(conn, "status"), timeout = btf.find_member(conn, "timeout"),
               tuples = btf.find_member(conn, "tuplehash"), inner = btf.find_member(hash, "tuple");
    if (!status || !timeout || !tuples || !inner) return out;
    out.bytes = btf.type(conn).size();
    out.status = status->offset();
    out.timeout = timeout->offset();
    out.tuples = tuples->offset();
    out.tuple_stride = btf.type(hash).size();
    out.tuple_start = inner->offset();
    // The zone lies behind the kernel's struct: programs have no use for it.
    out.zone = (out.bytes + 7) / 8 * 8;
    const auto fits = [&](uint64_t at, uint64_t size) { return at + size <= out.bytes; };
    out.valid = out.bytes <= ObjectHeap::kLargest - 16 && fits(out.status, 8) &&
                fits(out.timeout, 4) && out.tuple_start + sizeof(Tuple) <= out.tuple_stride &&
                fits(out.tuples, uint64_t{out.tuple_stride} * 2);
    return out;
}

// A connection as its fields. Programs of other threads may have it at the same time, as in Linux.
class Connection {
public:
    Connection(const Layout& layout, std::byte* object) : layout_(layout), object_(object) {}
    std::byte* object() const { return object_; }
    uint64_t status() const { return get<uint64_t>(layout_.status); }
    void set_status(uint64_t value) { set(layout_.status, value); }
    uint32_t timeout() const { return get<uint32_t>(layout_.timeout); }
    void set_timeout(uint32_t value) { set(layout_.timeout, value); }
    Tuple tuple(unsigned direction) const { return get<Tuple>(tuple_at(direction)); }
    void set_tuple(unsigned direction, const Tuple& value) { set(tuple_at(direction), value); }
    uint32_t zone() const { return get<uint32_t>(layout_.zone); }
    void set_zone(uint32_t value) { set(layout_.zone, value); }

private:
    uint32_t tuple_at(unsigned direction) const {
        return layout_.tuples + direction * layout_.tuple_stride + layout_.tuple_start;
    }
    template <class T>
    T get(uint32_t at) const {
        T value;
        std::memcpy(&value, object_ + at, sizeof value);
        return value;
    }
    template <class T>
    void set(uint32_t at, const T& value) {
        std::memcpy(object_ + at, &value, sizeof value);
    }
    Layout layout_;
    std::byte* object_;
};

uint32_t now(HelperEnv& env) noexcept { return static_cast<uint32_t>(helper::jiffies64(env)); }
uint32_t ticks(HelperEnv&, uint64_t milliseconds) noexcept {
    constexpr uint64_t kTickMs = 4;  // helper::jiffies64
    return static_cast<uint32_t>(
        std::min<uint64_t>((milliseconds + kTickMs - 1) / kTickMs, INT32_MAX));
}

// The connection that the program names; nothing and a trap if it is none.
std::optional<Connection> named(HelperEnv& env, uint64_t value) noexcept {
    ObjectHeap* heap = objects::heap_of(env);
    if (heap == nullptr) return std::nullopt;
    const Layout layout = layout_of(env);
    std::byte* at = objects::in_object(env, value);
    if (layout.valid && at != nullptr && heap->object_of(at) == at &&
        heap->object_bytes(at) >= layout.zone + 4)
        return Connection(layout, at);
    objects::refused(env);
    return std::nullopt;
}

// What a program asks for; or an errno.
struct Query {
    int64_t error = 0;
    Tuple tuple;
    uint32_t zone = 0;
};
Query parse(ReadMemOrEmpty bytes, const Options& options, uint64_t options_size) noexcept {
    Query query;
    const auto wrong = [&](int64_t error) {
        query.error = error;
        return query;
    };
    if (options_size != sizeof options && options_size != kOldOptions) return wrong(kEinval);
    if (options_size == sizeof options) {
        if (std::ranges::any_of(options.reserved, [](uint8_t byte) { return byte != 0; }))
            return wrong(kEinval);
    } else if (options.zone != 0) {
        return wrong(kEinval);
    }
    if (options.protocol != kTcp && options.protocol != kUdp) return wrong(kEproto);
    if (options.netns < -1) return wrong(kEinval);
    // struct bpf_sock_tuple: addresses, then ports.
    const size_t address = bytes.size == 12 ? 4 : bytes.size == 36 ? 16 : 0;
    if (address == 0) return wrong(kEafnosupport);
    if (options.netns >= 0) return wrong(kEnonet);
    Tuple& tuple = query.tuple;
    std::memcpy(tuple.source, bytes.data, address);
    std::memcpy(tuple.dest, bytes.data + address, address);
    std::memcpy(&tuple.source_port, bytes.data + 2 * address, 2);
    std::memcpy(&tuple.dest_port, bytes.data + 2 * address + 2, 2);
    tuple.family = address == 4 ? kInet : kInet6;
    tuple.protocol = options.protocol;
    query.zone = options_size == sizeof options ? options.zone : 0;
    return query;
}

// What both kinds of calls do around their work, which returns an object or an errno.
template <class Work>
uint64_t answer(HelperEnv& env, ReadMemOrEmpty tuple, ReadWriteMemOrEmpty memory,
                Work work) noexcept {
    ObjectHeap* heap = objects::heap_of(env);
    if (heap == nullptr) return 0;
    Options options;
    std::memcpy(&options, memory.data, std::min<uint64_t>(memory.size, sizeof options));
    const Query query = parse(tuple, options, memory.size);
    int64_t error = query.error;
    std::byte* object = error == 0 ? work(*heap, query, options, error) : nullptr;
    if (object == nullptr) {
        constexpr uint64_t kErrorEnd = 8;
        options.error = static_cast<int32_t>(error);
        if (memory.size >= kErrorEnd) std::memcpy(memory.data + 4, &options.error, 4);
        return 0;
    }
    if (memory.size > 9) std::memcpy(memory.data + 9, &options.direction, 1);
    return objects::hold(env, object) ? objects::shown(env, object) : 0;
}

uint64_t find(HelperEnv& env, ReadMemOrEmpty tuple, ReadWriteMemOrEmpty memory) noexcept {
    return answer(env, tuple, memory,
                  [&](ObjectHeap& heap, const Query& query, Options& options, int64_t& error) {
                      const auto found = heap.connections().find(query.tuple.key(query.zone));
                      error = kEnoent;
                      if (found.object == nullptr) return found.object;
                      const Connection connection(layout_of(env), found.object);
                      if (static_cast<int32_t>(connection.timeout() - now(env)) <= 0) {
                          heap.connections().erase(found.object);
                          heap.release(found.object);
                          return static_cast<std::byte*>(nullptr);
                      }
                      options.direction = found.reply ? 1 : 0;
                      return found.object;
                  });
}

uint64_t make(HelperEnv& env, ReadMemOrEmpty tuple, ReadWriteMemOrEmpty memory) noexcept {
    return answer(
        env, tuple, memory,
        [&](ObjectHeap& heap, const Query& query, Options& options, int64_t& error) -> std::byte* {
            constexpr uint64_t kFirstTimeoutMs = 10'000;
            const Layout layout = layout_of(env);
            error = kEnomem;
            if (!layout.valid) return nullptr;
            try {
                auto form = std::make_shared<ObjectLayout>();
                form->size = layout.zone + 8;
                form->refcounted = true;
                std::byte* object = heap.allocate(std::move(form));
                if (object == nullptr) return nullptr;
                Connection connection(layout, object);
                connection.set_tuple(0, query.tuple);
                connection.set_tuple(1, query.tuple.reversed());
                connection.set_timeout(ticks(env, kFirstTimeoutMs));
                connection.set_zone(query.zone);
                options.direction = 0;
                return object;
            } catch (const std::bad_alloc&) {
                return nullptr;
            }
        });
}

int32_t change_status(HelperEnv& env, uint64_t object, uint32_t wanted) noexcept {
    auto connection = named(env, object);
    if (!connection) return 0;
    const uint64_t status = connection->status(), changed = status ^ wanted;
    if ((changed & (kExpected | kConfirmed | kDying)) != 0) return kEbusy;
    for (const uint64_t kept : {uint64_t{kSeenReply}, uint64_t{kAssured}})
        if ((changed & kept) != 0 && (wanted & kept) == 0) return kEbusy;
    connection->set_status(status | (wanted & ~kUnchangeable));
    return 0;
}

}  // namespace

uint64_t bpf_skb_ct_lookup(HelperEnv& env, CtxArg, ReadMemOrEmpty tuple,
                           ReadWriteMemOrEmpty options) noexcept {
    return find(env, tuple, options);
}
uint64_t bpf_xdp_ct_lookup(HelperEnv& env, CtxArg, ReadMemOrEmpty tuple,
                           ReadWriteMemOrEmpty options) noexcept {
    return find(env, tuple, options);
}
uint64_t bpf_skb_ct_alloc(HelperEnv& env, CtxArg, ReadMemOrEmpty tuple,
                          ReadWriteMemOrEmpty options) noexcept {
    return make(env, tuple, options);
}
uint64_t bpf_xdp_ct_alloc(HelperEnv& env, CtxArg, ReadMemOrEmpty tuple,
                          ReadWriteMemOrEmpty options) noexcept {
    return make(env, tuple, options);
}

// Gives up the program's reference; the result is a new one.
uint64_t bpf_ct_insert_entry(HelperEnv& env, uint64_t object) noexcept {
    auto connection = named(env, object);
    if (!connection) return 0;
    if (!objects::give_up(env, connection->object())) return objects::refused(env);
    ObjectHeap& heap = *env.heap;
    if ((connection->status() & kConfirmed) == 0)
        connection->set_timeout(connection->timeout() + now(env));
    const uint32_t zone = connection->zone();
    // The table's reference, and the program's.
    const bool known =
        heap.retain(connection->object()) &&
        heap.connections().insert(connection->tuple(0).key(zone), connection->tuple(1).key(zone),
                                  connection->object());
    if (!known) {
        heap.release(connection->object());
        heap.release(connection->object());
        return 0;
    }
    connection->set_status(connection->status() | kConfirmed);
    return objects::hold(env, connection->object()) ? object : 0;
}
void bpf_ct_release(HelperEnv& env, uint64_t object) noexcept { objects::release(env, object); }

void bpf_ct_set_timeout(HelperEnv& env, uint64_t object, uint32_t milliseconds) noexcept {
    if (auto connection = named(env, object)) connection->set_timeout(ticks(env, milliseconds));
}
int32_t bpf_ct_change_timeout(HelperEnv& env, uint64_t object, uint32_t milliseconds) noexcept {
    if (auto connection = named(env, object))
        connection->set_timeout(now(env) + ticks(env, milliseconds));
    return 0;
}
int32_t bpf_ct_set_status(HelperEnv& env, uint64_t object, uint32_t status) noexcept {
    return change_status(env, object, status);
}
int32_t bpf_ct_change_status(HelperEnv& env, uint64_t object, uint32_t status) noexcept {
    return change_status(env, object, status);
}

// Answers go to another address than the original's source, or come from another than its
// destination.
int32_t bpf_ct_set_nat_info(HelperEnv& env, uint64_t object, FixedIn<16> address, int32_t port,
                            uint32_t manipulated) noexcept {
    constexpr uint32_t kSource = 0, kDest = 1;
    auto connection = named(env, object);
    if (!connection) return 0;
    if (manipulated != kSource && manipulated != kDest) return kEinval;
    Tuple reply = connection->tuple(1);
    const bool source = manipulated == kSource;
    std::memcpy(source ? reply.dest : reply.source, address.data, reply.family == kInet ? 4 : 16);
    if (port > 0) {
        const auto wire = static_cast<uint16_t>((port & 0xff) << 8 | (port >> 8 & 0xff));
        (source ? reply.dest_port : reply.source_port) = wire;
    }
    connection->set_tuple(1, reply);
    connection->set_status(connection->status() |
                           (source ? kSourceNat | kSourceNatDone : kDestNat | kDestNatDone));
    return 0;
}

// --- what else a kernel keeps about flows: none of it is here
// -------------------------------------

namespace {

// Linux reports through the first field of the options.
uint64_t no_answer(ReadWriteMemOrEmpty options, int32_t error) noexcept {
    if (options.size >= sizeof error) std::memcpy(options.data, &error, sizeof error);
    return 0;
}

}  // namespace

uint64_t bpf_xdp_get_xfrm_state(HelperEnv&, CtxArg, ReadWriteMemOrEmpty options) noexcept {
    constexpr uint64_t kOptions = 36;  // struct bpf_xfrm_state_opts
    int32_t netns = 0;
    if (options.size >= 8) std::memcpy(&netns, options.data + 4, sizeof netns);
    const bool valid = options.size == kOptions && netns >= -1;
    return no_answer(options, !valid       ? static_cast<int32_t>(kEinval)
                              : netns >= 0 ? kEnonet
                                           : kEnoent);
}
void bpf_xdp_xfrm_state_release(HelperEnv& env, uint64_t) noexcept { objects::refused(env); }

uint64_t bpf_xdp_flow_lookup(HelperEnv&, CtxArg, FixedIn<64> flow,
                             ReadWriteMemOrEmpty options) noexcept {
    const auto family = static_cast<uint16_t>(flow.data[0]);  // struct bpf_fib_lookup
    const bool valid = options.size == 4 && (family == kInet || family == kInet6);
    return no_answer(options, valid ? kEnoent : static_cast<int32_t>(kEinval));
}

}  // namespace skep::kfunc
