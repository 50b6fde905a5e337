// MurmurHash3 for 32 bits over 2 KiB.
#include "kernel.h"
KERNEL(murmur3) {
    u32 hash = 42;
    NO_UNROLL for (u32 i = 0; i < HALF; i += 4) {
        hash ^= rotl32(get32(mem + i) * 0xcc9e2d51, 15) * 0x1b873593;
        hash = rotl32(hash, 13) * 5 + 0xe6546b64;
    }
    hash ^= HALF;
    hash = (hash ^ hash >> 16) * 0x85ebca6b;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35;
    return hash ^ hash >> 16;
}
