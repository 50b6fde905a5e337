// Shell sort of 128 words in scratch memory.
#include "kernel.h"
KERNEL(sort) {
    u32* a = (u32*)(mem + HALF);
    NO_UNROLL for (u32 i = 0; i < 128; i++) a[i] = get32(mem + 4 * i);
    NO_UNROLL for (u32 gap = 64; gap; gap >>= 1) {
        NO_UNROLL for (u32 i = gap; i < 128; i++) {
            const u32 x = a[i & 127];
            u32 j = i;
            NO_UNROLL while (j >= gap && a[(j - gap) & 127] > x) {
                a[j & 127] = a[(j - gap) & 127];
                j -= gap;
            }
            a[j & 127] = x;
        }
    }
    u64 sum = 0;
    NO_UNROLL for (u32 i = 0; i < 128; i++) sum = sum * 31 + a[i];
    return sum;
}
