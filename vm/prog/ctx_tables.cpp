// Context tables of packet and tracing programs.
//
// Offsets and sizes are those of linux/bpf.h; who may read and store what was asked of Linux 6.18,
// access by access (tests/prog/layout_kernel_test.cpp repeats the question).
#include <skep/context.hpp>

#include "vm/prog/ctx_fields.hpp"
#include "vm/prog/ctx_layouts.hpp"

namespace skep {

namespace {

using enum CtxFieldKind;
using namespace ctx;  // NOLINT: the vocabulary of the tables

constexpr std::array kXdpFields = {
    pointer("data", PacketStart, 0, 4, offsetof(XdpContext, packet.data)),
    pointer("data_end", PacketEnd, 4, 4, offsetof(XdpContext, packet.data_end)),
    pointer("data_meta", PacketMeta, 8, 4, offsetof(XdpContext, packet.data_meta)),
    whole(scalar("ingress_ifindex", 12, 4, offsetof(XdpContext, ingress_ifindex))),
    whole(scalar("rx_queue_index", 16, 4, offsetof(XdpContext, rx_queue_index))),
    // Only a devmap program has an egress device.
    only_for(whole(scalar("egress_ifindex", 20, 4, offsetof(XdpContext, egress_ifindex))),
             {AttachType::XdpDevmap}),
};

#define SKB(name) #name
#define SKB_U32(name, off) scalar(#name, off, 4, offsetof(SkbContext, name))
constexpr CtxField cb_field() {
    CtxField field = wide(words("cb", 48, 5, offsetof(SkbContext, cb)));
    field.narrow_store = true;
    return field;
}
constexpr std::array kSkbFields = {
    SKB_U32(len, 0),
    SKB_U32(pkt_type, 4),
    SKB_U32(mark, 8),
    SKB_U32(queue_mapping, 12),
    SKB_U32(protocol, 16),
    SKB_U32(vlan_present, 20),
    SKB_U32(vlan_tci, 24),
    SKB_U32(vlan_proto, 28),
    SKB_U32(priority, 32),
    SKB_U32(ingress_ifindex, 36),
    SKB_U32(ifindex, 40),
    SKB_U32(tc_index, 44),
    cb_field(),
    SKB_U32(hash, 68),
    SKB_U32(tc_classid, 72),
    pointer("data", PacketStart, 76, 4, offsetof(SkbContext, packet.data)),
    pointer("data_end", PacketEnd, 80, 4, offsetof(SkbContext, packet.data_end)),
    SKB_U32(napi_id, 84),
    SKB_U32(family, 88),
    whole(SKB_U32(remote_ip4, 92)),
    whole(SKB_U32(local_ip4, 96)),
    whole(words("remote_ip6", 100, 4, offsetof(SkbContext, remote_ip6))),
    whole(words("local_ip6", 116, 4, offsetof(SkbContext, local_ip6))),
    SKB_U32(remote_port, 132),
    SKB_U32(local_port, 136),
    pointer("data_meta", PacketMeta, 140, 4, offsetof(SkbContext, packet.data_meta)),
    pointer("flow_keys", FlowKeysPtr, 144, 8, offsetof(SkbContext, flow_keys)),
    whole(scalar("tstamp", 152, 8, offsetof(SkbContext, tstamp))),
    SKB_U32(wire_len, 160),
    SKB_U32(gso_segs, 164),
    pointer("sk", SockCommonPtr, 168, 8, offsetof(SkbContext, sk)),
    SKB_U32(gso_size, 176),
    scalar("tstamp_type", 180, 1, offsetof(SkbContext, tstamp_type)),
    whole(scalar("hwtstamp", 184, 8, offsetof(SkbContext, hwtstamp))),
};
#undef SKB_U32
#undef SKB

constexpr auto kSocketFilterFields =
    restrict_fields(kSkbFields,
                    {"tc_classid", "data", "data_end", "family", "remote_ip4", "local_ip4",
                     "remote_ip6", "local_ip6", "remote_port", "local_port", "data_meta",
                     "flow_keys", "tstamp", "wire_len", "tstamp_type", "hwtstamp"},
                    {"cb"});
constexpr auto kTcFields = restrict_fields(
    kSkbFields,
    {"family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port", "local_port",
     "flow_keys"},
    {"mark", "queue_mapping", "priority", "tc_index", "cb", "tc_classid", "tstamp"});
constexpr auto kCgroupSkbFields =
    restrict_fields(kSkbFields, {"tc_classid", "data_meta", "flow_keys", "wire_len", "tstamp_type"},
                    {"mark", "priority", "cb", "tstamp"});
constexpr auto kLwtFields = restrict_fields(
    kSkbFields,
    {"tc_classid", "family", "remote_ip4", "local_ip4", "remote_ip6", "local_ip6", "remote_port",
     "local_port", "data_meta", "flow_keys", "tstamp", "wire_len", "tstamp_type", "hwtstamp"},
    {"mark", "priority", "cb"});
constexpr auto kSkSkbFields = restrict_fields(kSkbFields,
                                              {"mark", "tc_classid", "data_meta", "flow_keys",
                                               "tstamp", "wire_len", "tstamp_type", "hwtstamp"},
                                              {"priority", "tc_index"});

// Flow dissectors see the packet and the keys that they fill in, nothing else.
constexpr std::array kFlowDissectorFields = {
    pointer("data", PacketStart, 76, 4, offsetof(SkbContext, packet.data)),
    pointer("data_end", PacketEnd, 80, 4, offsetof(SkbContext, packet.data_end)),
    pointer("flow_keys", FlowKeysPtr, 144, 8, offsetof(SkbContext, flow_keys)),
};

constexpr CtxLayout skb(std::span<const CtxField> fields) {
    return layout("__sk_buff", 192, fields, sizeof(SkbContext));
}

constexpr std::array kPerfEventFields = {
    CtxField{.off = 0,
             .size = 168,
             .narrow = false,
             .element = 8,
             .host_off = offsetof(PerfEventContext, regs),
             .host_size = 168,
             .name = "regs"},
    scalar("sample_period", 168, 8, offsetof(PerfEventContext, sample_period)),
    scalar("addr", 176, 8, offsetof(PerfEventContext, addr)),
};

}  // namespace

// Type raw: the host's memory as it is. Linux bounds the context of syscall programs at 64 KiB.
constexpr CtxLayout kNoCtx = bytes("none", 0, false, 0);
constexpr CtxLayout kRawCtx = bytes("bytes", 1u << 30, true, 0, true);
constexpr CtxLayout kSyscallCtx = bytes("syscall", 0xffff, true, 0, true);

constexpr CtxLayout kXdpCtx = layout("xdp_md", 24, kXdpFields, sizeof(XdpContext));
constexpr CtxLayout kSocketFilterCtx = skb(kSocketFilterFields);
constexpr CtxLayout kTcCtx = skb(kTcFields);
constexpr CtxLayout kCgroupSkbCtx = skb(kCgroupSkbFields);
constexpr CtxLayout kLwtCtx = skb(kLwtFields);
constexpr CtxLayout kSkSkbCtx = skb(kSkSkbFields);
constexpr CtxLayout kFlowDissectorCtx = skb(kFlowDissectorFields);

// struct pt_regs of x86-64.
constexpr CtxLayout kPtRegsCtx = bytes("pt_regs", 168, false, 0);
// Where a tracepoint's record starts, Linux has an address of its own.
constexpr CtxLayout kTracepointCtx = [] {
    CtxLayout result = bytes("tracepoint", 8192, false, 0);
    result.bytes_hidden = 8;
    return result;
}();
// Up to twelve u64 arguments.
constexpr CtxLayout kRawTracepointCtx = bytes("raw_tracepoint", 96, false, 0);
constexpr CtxLayout kRawTracepointWritableCtx = bytes("raw_tracepoint", 96, false, 0);
constexpr CtxLayout kBtfCtx = bytes("btf_args", 96, false, 0);
constexpr CtxLayout kPerfEventCtx =
    layout("bpf_perf_event_data", 184, kPerfEventFields, sizeof(PerfEventContext));
constexpr CtxLayout kLircCtx = bytes("lirc_sample", 4, false, 4);

}  // namespace skep
