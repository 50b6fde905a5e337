// A copy of 1 KiB by 8-byte words. Apart in the averages, as memcpy8.
#include "kernel.h"
KERNEL(memcpy64) {
    u64* to = (u64*)(mem + HALF);
    NO_UNROLL for (u32 i = 0; i < 128; i++) to[i] = get64(mem + 8 * i);
    return to[127];
}
