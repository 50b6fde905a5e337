// SipHash-2-4 over 1 KiB.
#include "kernel.h"
#define ROUND                                                     \
    do {                                                          \
        v0 += v1; v1 = rotl64(v1, 13) ^ v0; v0 = rotl64(v0, 32);  \
        v2 += v3; v3 = rotl64(v3, 16) ^ v2;                       \
        v0 += v3; v3 = rotl64(v3, 21) ^ v0;                       \
        v2 += v1; v1 = rotl64(v1, 17) ^ v2; v2 = rotl64(v2, 32);  \
    } while (0)
KERNEL(siphash) {
    const u64 k0 = 0x0706050403020100, k1 = 0x0f0e0d0c0b0a0908;
    u64 v0 = k0 ^ 0x736f6d6570736575, v1 = k1 ^ 0x646f72616e646f6d;
    u64 v2 = k0 ^ 0x6c7967656e657261, v3 = k1 ^ 0x7465646279746573;
    NO_UNROLL for (u32 i = 0; i < 1024; i += 8) {
        const u64 m = get64(mem + i);
        v3 ^= m;
        ROUND;
        ROUND;
        v0 ^= m;
    }
    v2 ^= 0xff;
    ROUND;
    ROUND;
    ROUND;
    ROUND;
    return v0 ^ v1 ^ v2 ^ v3;
}
