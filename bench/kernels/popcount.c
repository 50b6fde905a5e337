// Bits set in 128 words, by the shifting and masking method.
#include "kernel.h"
KERNEL(popcount) {
    u64 total = 0;
    NO_UNROLL for (u32 i = 0; i < 1024; i += 8) {
        u64 x = get64(mem + i);
        x -= x >> 1 & 0x5555555555555555;
        x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
        x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
        total += x * 0x0101010101010101 >> 56;
    }
    return total;
}
