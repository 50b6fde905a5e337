// 64 binary searches among 256 sorted words.
#include "kernel.h"
KERNEL(bsearch) {
    u32* sorted = (u32*)(mem + HALF);
    u32 value = 0;
    NO_UNROLL for (u32 i = 0; i < 256; i++) {
        value += mem[i] + 1;
        sorted[i] = value;
    }
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 64; i++) {
        const u32 wanted = get16(mem + 512 + 2 * i) & 0x7fff;
        u32 low = 0;
        NO_UNROLL for (u32 step = 128; step; step >>= 1) {
            if (sorted[(low + step) & 255] <= wanted) low += step;
        }
        sum = sum * 31 + low;
    }
    return sum;
}
