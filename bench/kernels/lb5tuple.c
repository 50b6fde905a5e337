// A load balancer's choice for 32 flows: Jenkins hash of the 5-tuple, then a ring of 256 back ends.
#include "kernel.h"
KERNEL(lb5tuple) {
    const u8* ring = mem + 1024;
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 32; i++) {
        const u8* f = mem + i * 16;
        u32 a = get32(f) + 0xdeadbeef, b = get32(f + 4) + 0xdeadbeef;
        u32 c = ((u32)get16(f + 8) << 16 | get16(f + 10)) + f[12];
        c ^= b; c -= rotl32(b, 14);
        a ^= c; a -= rotl32(c, 11);
        b ^= a; b -= rotl32(a, 25);
        c ^= b; c -= rotl32(b, 16);
        a ^= c; a -= rotl32(c, 4);
        b ^= a; b -= rotl32(a, 14);
        c ^= b; c -= rotl32(b, 24);
        sum = sum * 13 + ring[c & 255];
    }
    return sum;
}
