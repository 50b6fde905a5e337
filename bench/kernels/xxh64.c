// The shape of xxHash64 over 2 KiB: four lanes of multiply and rotate.
#include "kernel.h"
#define P1 0x9e3779b185ebca87ull
#define P2 0xc2b2ae3d27d4eb4full
#define P3 0x165667b19e3779f9ull
#define P4 0x85ebca77c2b2ae63ull
INLINE u64 mix(u64 lane, u64 in) { return rotl64(lane + in * P2, 31) * P1; }
INLINE u64 merge(u64 hash, u64 lane) { return (hash ^ mix(0, lane)) * P1 + P4; }
KERNEL(xxh64) {
    u64 a = P1 + P2, b = P2, c = 0, d = 0 - P1;
    NO_UNROLL for (u32 i = 0; i < HALF; i += 32) {
        a = mix(a, get64(mem + i));
        b = mix(b, get64(mem + i + 8));
        c = mix(c, get64(mem + i + 16));
        d = mix(d, get64(mem + i + 24));
    }
    u64 hash = rotl64(a, 1) + rotl64(b, 7) + rotl64(c, 12) + rotl64(d, 18);
    hash = merge(merge(merge(merge(hash, a), b), c), d) + HALF;
    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}
