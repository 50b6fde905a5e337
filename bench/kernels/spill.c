// Twenty live values: more than there are registers.
#include "kernel.h"
KERNEL(spill) {
    u64 v[20];
    UNROLL for (u32 i = 0; i < 20; i++) v[i] = get64(mem + 8 * i);
    NO_UNROLL for (u32 round = 0; round < 64; round++) {
        UNROLL for (u32 i = 0; i < 20; i++) v[i] = rotl64(v[i] + v[(i + 7) % 20], 11) ^ v[(i + 13) % 20];
    }
    u64 sum = 0;
    UNROLL for (u32 i = 0; i < 20; i++) sum = sum * 31 + v[i];
    return sum;
}
