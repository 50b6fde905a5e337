// Ten double rounds of ChaCha on 16 words, twice: additions, xors and 32-bit rotations, with spills.
#include "kernel.h"
#define QUARTER(a, b, c, d)                          \
    do {                                             \
        x[a] += x[b]; x[d] = rotl32(x[d] ^ x[a], 16); \
        x[c] += x[d]; x[b] = rotl32(x[b] ^ x[c], 12); \
        x[a] += x[b]; x[d] = rotl32(x[d] ^ x[a], 8);  \
        x[c] += x[d]; x[b] = rotl32(x[b] ^ x[c], 7);  \
    } while (0)
KERNEL(rotates) {
    u32 x[16];
    UNROLL for (u32 i = 0; i < 16; i++) x[i] = get32(mem + 4 * i);
    NO_UNROLL for (u32 i = 0; i < 20; i++) {
        QUARTER(0, 4, 8, 12);
        QUARTER(1, 5, 9, 13);
        QUARTER(2, 6, 10, 14);
        QUARTER(3, 7, 11, 15);
        QUARTER(0, 5, 10, 15);
        QUARTER(1, 6, 11, 12);
        QUARTER(2, 7, 8, 13);
        QUARTER(3, 4, 9, 14);
    }
    u64 out = 0;
    UNROLL for (u32 i = 0; i < 16; i++) out = out * 31 + x[i];
    return out;
}
