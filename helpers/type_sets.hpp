// Sets of program types, for the `types` column of helpers.def.
#pragma once

#include <cstdint>

#include "vm/prog/prog_type.hpp"

namespace skep::type_set {

constexpr uint64_t kAny = ~uint64_t{0};
constexpr uint64_t kSocketFilter = type_bit(ProgKind::SocketFilter);
constexpr uint64_t kKprobe = type_bit(ProgKind::Kprobe);
constexpr uint64_t kTc = type_bit(ProgKind::SchedCls) | type_bit(ProgKind::SchedAct);
constexpr uint64_t kXdp = type_bit(ProgKind::Xdp);
constexpr uint64_t kPerfEvent = type_bit(ProgKind::PerfEvent);
constexpr uint64_t kCgroupSkb = type_bit(ProgKind::CgroupSkb);
constexpr uint64_t kCgroupSock = type_bit(ProgKind::CgroupSock);
constexpr uint64_t kLwtIn = type_bit(ProgKind::LwtIn);
constexpr uint64_t kLwtXmit = type_bit(ProgKind::LwtXmit);
constexpr uint64_t kLwtSeg6local = type_bit(ProgKind::LwtSeg6local);
constexpr uint64_t kLwt = kLwtIn | type_bit(ProgKind::LwtOut) | kLwtXmit | kLwtSeg6local;
constexpr uint64_t kSockOps = type_bit(ProgKind::SockOps);
constexpr uint64_t kSkSkb = type_bit(ProgKind::SkSkb);
constexpr uint64_t kCgroupDevice = type_bit(ProgKind::CgroupDevice);
constexpr uint64_t kSkMsg = type_bit(ProgKind::SkMsg);
constexpr uint64_t kCgroupSockAddr = type_bit(ProgKind::CgroupSockAddr);
constexpr uint64_t kLircMode2 = type_bit(ProgKind::LircMode2);
constexpr uint64_t kSkReuseport = type_bit(ProgKind::SkReuseport);
constexpr uint64_t kFlowDissector = type_bit(ProgKind::FlowDissector);
constexpr uint64_t kCgroupSysctl = type_bit(ProgKind::CgroupSysctl);
constexpr uint64_t kCgroupSockopt = type_bit(ProgKind::CgroupSockopt);
constexpr uint64_t kTracing = type_bit(ProgKind::Tracing);
constexpr uint64_t kStructOps = type_bit(ProgKind::StructOps);
constexpr uint64_t kLsm = type_bit(ProgKind::Lsm);
constexpr uint64_t kSkLookup = type_bit(ProgKind::SkLookup);
constexpr uint64_t kSyscall = type_bit(ProgKind::Syscall);
constexpr uint64_t kNetfilter = type_bit(ProgKind::Netfilter);
constexpr uint64_t kRaw = type_bit(ProgKind::Raw);

// Programs on probes and tracepoints, and with them those that may do the same.
constexpr uint64_t kTraceOld = kKprobe | kPerfEvent | type_bit(ProgKind::Tracepoint) |
                               type_bit(ProgKind::RawTracepoint) |
                               type_bit(ProgKind::RawTracepointWritable);
constexpr uint64_t kTrace = kTraceOld | kTracing | kLsm | kSyscall | kRaw;
// Programs that may look at a socket as the kernel's own type.
constexpr uint64_t kSkcTo = kSocketFilter | kTc | kXdp | kCgroupSkb | kLwt | kSockOps | kSkSkb |
                            kSkMsg | kCgroupSockAddr | kFlowDissector | kSkLookup | kTracing |
                            kLsm | kSyscall;

}  // namespace skep::type_set
