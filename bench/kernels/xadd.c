// 128 atomic additions without a result.
#include "kernel.h"
KERNEL(xadd) {
    u64* p = (u64*)(mem + HALF);
    p[0] = p[1] = p[2] = p[3] = 0;
    NO_UNROLL for (u32 i = 0; i < 128; i++) __sync_fetch_and_add(p + (i & 3), mem[i]);
    return p[0] ^ p[1] << 16 ^ p[2] << 32 ^ p[3] << 48;
}
