// 12 x 12 matrices of 32-bit numbers, multiplied.
#include "kernel.h"
KERNEL(matmul) {
    const u32* a = (const u32*)mem;
    const u32* b = (const u32*)(mem + 1024);
    u32* c = (u32*)(mem + HALF);
    u64 trace = 0;
    NO_UNROLL for (u32 i = 0; i < 12; i++) {
        NO_UNROLL for (u32 j = 0; j < 12; j++) {
            u32 sum = 0;
            NO_UNROLL for (u32 k = 0; k < 12; k++) sum += a[i * 12 + k] * b[k * 12 + j];
            c[i * 12 + j] = sum;
        }
        trace = trace * 31 + c[i * 12 + i];
    }
    return trace;
}
