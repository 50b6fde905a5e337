// Ethernet, VLAN, IPv4 or IPv6, TCP or UDP of 32 packets of 64 bytes, with all bounds checks.
#include "kernel.h"
INLINE u32 parse(const u8* p, const u8* end, u32 kind) {
    if (p + 14 > end) return 0;
    u32 type = (swap16(get16(p + 12)) & 3) | kind << 2;
    p += 14;
    if (type & 4) {
        if (p + 4 > end) return 1;
        type ^= swap16(get16(p + 2)) & 3;
        p += 4;
    }
    u32 proto;
    if (type & 1) {
        if (p + 20 > end) return 2;
        const u32 ihl = 20 + (p[0] & 3) * 4;
        proto = p[9];
        if (p + ihl > end) return 3;
        p += ihl;
    } else {
        if (p + 40 > end) return 4;
        proto = p[6];
        p += 40;
    }
    if (proto & 1) {
        if (p + 8 > end) return 5;
        return swap16(get16(p)) ^ swap16(get16(p + 2));
    }
    if (p + 20 > end) return 6;
    return swap16(get16(p)) + (p[13] & 0x12);
}
KERNEL(pkt_parse) {
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 32; i++) {
        const u8* p = mem + i * 64;
        sum = sum * 7 + parse(p, p + 40 + (p[1] & 15), p[0] & 3);
    }
    return sum;
}
